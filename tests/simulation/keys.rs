//! Prepared RSA keys: making one takes longer than a run.

use std::sync::LazyLock;

use coffer_protocol::Dialect;
use coffer_protocol::cipher::SessionKey;
use coffer_protocol::key::PrivateKey;

use crate::dice::Dice;

/// A pair.
pub(crate) struct Key {
    private: PrivateKey,
    /// SubjectPublicKeyInfo, DER.
    pub(crate) public: Vec<u8>,
}

/// All there are; the last is the one of hostile peers.
pub(crate) static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let files: [&[u8]; 4] = [
        include_bytes!("../classic/keys/a.der"),
        include_bytes!("../classic/keys/b.der"),
        include_bytes!("../classic/keys/f4.der"),
        include_bytes!("../classic/keys/c.der"),
    ];
    let private = files.map(|file| PrivateKey::from_pkcs8(file).expect("a prepared key"));
    private.map(|private| Key { public: private.public_der(), private }).into()
});

/// The pair of hostile peers, which no correct client has.
pub(crate) const HOSTILE: usize = 3;

impl Key {
    /// Opens a wrapped session key, as its owner would.
    pub(crate) fn unwrap(
        &self,
        dialect: Dialect,
        wrapped: &[u8],
        dice: &mut Dice,
    ) -> Option<SessionKey> {
        self.private.unwrap_key(dialect, wrapped, dice.rng()).ok()
    }
}
