//! RSA keys: what a client owns and what a server wraps session keys with.

use std::fmt;

use rsa::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey};
use rsa::rand_core::CryptoRng;
use rsa::traits::PublicKeyParts;
use rsa::{BoxedUint, Oaep, RsaPrivateKey, RsaPublicKey};
use sha1::Sha1;
use sha2::Sha256;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::Dialect;
use crate::cipher::SessionKey;

/// Bits of the modulus of a key that this client makes: the only size that the classic servers take.
pub const CLASSIC_BITS: usize = 1024;

/// The exponent of a key that this client makes: with one byte of exponent the public key has the 160 bytes that
/// the d825 server demands.
pub const CLASSIC_EXPONENT: u8 = 17;

/// Bits of the moduli that the server takes.
pub const ACCEPTED_BITS: std::ops::RangeInclusive<u32> = 1024..=4096;

/// Why a key was refused.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum KeyError {
    /// No SubjectPublicKeyInfo with a usable RSA key.
    #[error("it is no valid RSA public key in X.509 SubjectPublicKeyInfo form")]
    NoPublicKey,
    /// A modulus outside of [`ACCEPTED_BITS`].
    #[error("its modulus has {0} bits, and 1024 to 4096 are accepted")]
    Bits(u32),
    /// No PKCS#8 with a usable RSA key.
    #[error("it is no valid RSA private key in PKCS#8 form")]
    NoPrivateKey,
    /// A wrapped key that does not open. Deliberately says no more.
    #[error("the session key cannot be opened with this private key")]
    Unwrap,
    /// The key generator failed, which no input causes.
    #[error("no RSA key could be generated")]
    Generate,
}

/// A client's public key, checked.
#[derive(Debug)]
pub struct PublicKey(RsaPublicKey);

impl PublicKey {
    /// Reads an X.509 SubjectPublicKeyInfo in DER.
    ///
    /// # Errors
    /// Anything but an RSA key with 1024 to 4096 bits, an odd modulus and an odd exponent over 2.
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let key = RsaPublicKey::from_public_key_der(der).map_err(|_| KeyError::NoPublicKey)?;
        let bits = key.n().bit_width_vartime();
        if ACCEPTED_BITS.contains(&bits) { Ok(Self(key)) } else { Err(KeyError::Bits(bits)) }
    }

    /// Wraps a session key with OAEP: SHA-1 in d825, SHA-256 in d1100, for the mask too. As long as the modulus.
    ///
    /// # Panics
    /// Never: the shortest accepted modulus holds the longest session key.
    #[must_use]
    pub fn wrap<R: CryptoRng + ?Sized>(&self, key: &SessionKey, rng: &mut R) -> Vec<u8> {
        let wrapped = match key.dialect() {
            Dialect::D825 => self.0.encrypt(rng, Oaep::<Sha1>::new(), key.expose()),
            Dialect::D1100 => self.0.encrypt(rng, Oaep::<Sha256>::new(), key.expose()),
        };
        wrapped.expect("1024 bits hold 32 bytes and their padding")
    }
}

/// A client's private key; zeroed when dropped, never printed.
pub struct PrivateKey(RsaPrivateKey);

impl PrivateKey {
    /// Makes a key that both classic servers take.
    ///
    /// # Errors
    /// If the generator fails.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Result<Self, KeyError> {
        RsaPrivateKey::new_with_exp(rng, CLASSIC_BITS, BoxedUint::from(CLASSIC_EXPONENT))
            .map(Self)
            .map_err(|_| KeyError::Generate)
    }

    /// Reads PKCS#8 in DER. Bytes behind it are ignored: the d1100 client writes 64 bytes of filler there.
    ///
    /// # Errors
    /// Anything but an RSA key.
    pub fn from_pkcs8(bytes: &[u8]) -> Result<Self, KeyError> {
        let der = first_der_value(bytes).ok_or(KeyError::NoPrivateKey)?;
        RsaPrivateKey::from_pkcs8_der(der).map(Self).map_err(|_| KeyError::NoPrivateKey)
    }

    /// The key as PKCS#8 in DER.
    ///
    /// # Panics
    /// Never: a valid key can be encoded.
    #[must_use]
    pub fn to_pkcs8(&self) -> Zeroizing<Vec<u8>> {
        let document = self.0.to_pkcs8_der().expect("a valid key can be encoded");
        Zeroizing::new(document.as_bytes().to_vec())
    }

    /// The public key as X.509 SubjectPublicKeyInfo in DER; 160 bytes for a key that we made.
    ///
    /// # Panics
    /// Never: a valid key can be encoded.
    #[must_use]
    pub fn public_der(&self) -> Vec<u8> {
        let key = self.0.to_public_key();
        key.to_public_key_der().expect("a valid key can be encoded").into_vec()
    }

    /// Opens a wrapped session key, blinded against timing.
    ///
    /// # Errors
    /// One and the same for whatever is wrong with it.
    pub fn unwrap_key<R: CryptoRng + ?Sized>(
        &self,
        dialect: Dialect,
        wrapped: &[u8],
        rng: &mut R,
    ) -> Result<SessionKey, KeyError> {
        let opened = match dialect {
            Dialect::D825 => self.0.decrypt_blinded(rng, Oaep::<Sha1>::new(), wrapped),
            Dialect::D1100 => self.0.decrypt_blinded(rng, Oaep::<Sha256>::new(), wrapped),
        };
        let opened = Zeroizing::new(opened.map_err(|_| KeyError::Unwrap)?);
        SessionKey::from_bytes(dialect, &opened).ok_or(KeyError::Unwrap)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(secret)")
    }
}

/// The first DER SEQUENCE in `bytes`, without what stands behind it.
fn first_der_value(bytes: &[u8]) -> Option<&[u8]> {
    let (head, length) = match *bytes {
        [0x30, short @ 0..=0x7f, ..] => (2, usize::from(short)),
        [0x30, 0x81, length, ..] => (3, usize::from(length)),
        [0x30, 0x82, high, low, ..] => (4, usize::from(u16::from_be_bytes([high, low]))),
        _ => return None,
    };
    bytes.get(..head + length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn our_keys_are_what_the_classic_servers_take() {
        let mut rng = rand::rng();
        let key = PrivateKey::generate(&mut rng).expect("a key");
        let public = key.public_der();
        assert_eq!(public.len(), 160);
        let mut filled = key.to_pkcs8().to_vec();
        filled.extend([0xee; 64]);
        let again = PrivateKey::from_pkcs8(&filled).expect("filler is ignored");
        assert_eq!(again.public_der(), public);
        for dialect in [Dialect::D825, Dialect::D1100] {
            let session = SessionKey::random(dialect, &mut rng);
            let wrapped =
                PublicKey::from_der(&public).expect("our own key").wrap(&session, &mut rng);
            assert_eq!(wrapped.len(), 128);
            let opened = again.unwrap_key(dialect, &wrapped, &mut rng).expect("our own wrap");
            assert_eq!(opened.expose(), session.expose());
            let other = if dialect == Dialect::D825 { Dialect::D1100 } else { Dialect::D825 };
            assert_eq!(again.unwrap_key(other, &wrapped, &mut rng).err(), Some(KeyError::Unwrap));
        }
        assert_eq!(format!("{key:?}"), "PrivateKey(secret)");
    }

    #[test]
    fn hostile_public_keys_are_refused() {
        let key = PrivateKey::generate(&mut rand::rng()).expect("a key");
        let good = key.public_der();
        let mut even = good.clone();
        even[good.len() - 4] &= 0xfe; // the last byte of the modulus: 02 01 11 stands behind it
        let mut exponent_one = good.clone();
        exponent_one[good.len() - 1] = 1;
        let mut exponent_even = good.clone();
        exponent_even[good.len() - 1] = 16;
        let mut trailing = good.clone();
        trailing.push(0);
        for (what, bad) in [
            ("nothing", &[][..]),
            ("zeros", &[0; 160]),
            ("cut short", &good[..159]),
            ("trailing byte", &trailing),
            ("even modulus", &even),
            ("exponent 1", &exponent_one),
            ("even exponent", &exponent_even),
        ] {
            assert!(PublicKey::from_der(bad).is_err(), "{what}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = PublicKey::from_der(&bytes);
            let _ = PrivateKey::from_pkcs8(&bytes);
        }
    }
}
