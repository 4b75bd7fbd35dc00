//! RSA for the test peers: a few keys made beforehand, and OAEP in both flavours.
//!
//! The keys protect nothing. Each was made with
//! `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -pkeyopt rsa_keygen_pubexp:17 -outform DER`
//! and `openssl pkcs8 -topk8 -nocrypt -inform DER -outform DER`; `f4.der` without the exponent.

use rsa::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePublicKey};
use rsa::{Oaep, RsaPrivateKey, RsaPublicKey};
use sha1::Sha1;
use sha2::Sha256;

/// One of the prepared key pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    A,
    B,
    C,
    /// With e = 65537, which makes its public key 162 bytes and not 160.
    F4,
}

impl Key {
    /// The private key as PKCS#8 DER.
    pub(crate) fn pkcs8(self) -> &'static [u8] {
        match self {
            Self::A => include_bytes!("keys/a.der"),
            Self::B => include_bytes!("keys/b.der"),
            Self::C => include_bytes!("keys/c.der"),
            Self::F4 => include_bytes!("keys/f4.der"),
        }
    }

    fn private(self) -> RsaPrivateKey {
        RsaPrivateKey::from_pkcs8_der(self.pkcs8()).expect("a prepared key is sound")
    }

    /// The public key as a SubjectPublicKeyInfo in DER.
    pub(crate) fn spki(self) -> Vec<u8> {
        self.private().to_public_key().to_public_key_der().expect("it has a DER form").into_vec()
    }

    /// d825: OAEP with SHA-1; `None` when the block is not for this key or not of this flavour.
    pub(crate) fn unwrap_sha1(self, wrapped: &[u8]) -> Option<Vec<u8>> {
        self.private().decrypt(Oaep::<Sha1>::new(), wrapped).ok()
    }

    /// d1100: OAEP with SHA-256.
    pub(crate) fn unwrap_sha256(self, wrapped: &[u8]) -> Option<Vec<u8>> {
        self.private().decrypt(Oaep::<Sha256>::new(), wrapped).ok()
    }
}

/// d825: `secret` for the owner of `spki`, OAEP with SHA-1; `None` when that is no public key.
pub(crate) fn wrap_sha1(spki: &[u8], secret: &[u8]) -> Option<Vec<u8>> {
    public(spki)?.encrypt(&mut rand::rng(), Oaep::<Sha1>::new(), secret).ok()
}

/// d1100: OAEP with SHA-256.
pub(crate) fn wrap_sha256(spki: &[u8], secret: &[u8]) -> Option<Vec<u8>> {
    public(spki)?.encrypt(&mut rand::rng(), Oaep::<Sha256>::new(), secret).ok()
}

fn public(spki: &[u8]) -> Option<RsaPublicKey> {
    RsaPublicKey::from_public_key_der(spki).ok()
}
