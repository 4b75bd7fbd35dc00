//! AES-CBC as each dialect uses it: IV all zero, PKCS#7, and a key that the server makes.
//!
//! d825 encrypts a file as one CBC stream. d1100 encrypts every 1024 bytes alone and starts each with the zero IV.

use std::fmt;

use aes::{Aes128, Aes256};
use cbc::cipher::{Array, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit, SetIvState};
use rsa::rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{BLOCK, Dialect, PACKET};

/// An AES session key; zeroed when dropped, never printed.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct SessionKey {
    bytes: [u8; 32],
    #[zeroize(skip)]
    dialect: Dialect,
}

impl SessionKey {
    /// A new random key of the dialect's length.
    pub fn random<R: CryptoRng + ?Sized>(dialect: Dialect, rng: &mut R) -> Self {
        let mut key = Self { bytes: [0; 32], dialect };
        rng.fill_bytes(&mut key.bytes[..dialect.key_len()]);
        key
    }

    /// A key from its bytes; `None` if they are not the dialect's length.
    #[must_use]
    pub fn from_bytes(dialect: Dialect, bytes: &[u8]) -> Option<Self> {
        let mut key = Self { bytes: [0; 32], dialect };
        (bytes.len() == dialect.key_len())
            .then(|| key.bytes[..bytes.len()].copy_from_slice(bytes))?;
        Some(key)
    }

    /// The key's bytes, to be wrapped.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.bytes[..self.dialect.key_len()]
    }

    /// The dialect that the key was made for.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    fn aes128(&self) -> Aes128 {
        Aes128::new_from_slice(self.expose()).expect("a d1100 key has 16 bytes")
    }

    fn aes256(&self) -> Aes256 {
        Aes256::new_from_slice(self.expose()).expect("a d825 key has 32 bytes")
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionKey({}, secret)", self.dialect)
    }
}

/// Decrypts a file's ciphertext in place, piece by piece.
pub enum Decryptor {
    /// One CBC stream through the whole file.
    D825(Box<cbc::Decryptor<Aes256>>),
    /// A new CBC stream for every chunk.
    D1100(Box<cbc::Decryptor<Aes128>>),
}

impl Decryptor {
    /// At the beginning of a file.
    #[must_use]
    pub fn new(key: &SessionKey) -> Self {
        let iv = &Array::default();
        match key.dialect {
            Dialect::D825 => Self::D825(Box::new(cbc::Decryptor::inner_iv_init(key.aes256(), iv))),
            Dialect::D1100 => {
                Self::D1100(Box::new(cbc::Decryptor::inner_iv_init(key.aes128(), iv)))
            }
        }
    }

    /// Decrypts the next piece: whole blocks, and in d1100 whole chunks unless it is the file's last piece.
    pub fn decrypt(&mut self, piece: &mut [u8]) {
        debug_assert!(piece.len().is_multiple_of(BLOCK));
        match self {
            Self::D825(cbc) => cbc.decrypt_blocks(Array::slice_as_chunks_mut(piece).0),
            Self::D1100(cbc) => {
                for chunk in piece.chunks_mut(PACKET) {
                    cbc.set_iv(&Array::default());
                    cbc.decrypt_blocks(Array::slice_as_chunks_mut(chunk).0);
                }
            }
        }
    }
}

/// Encrypts a file in place, piece by piece. Padding is the caller's.
pub enum Encryptor {
    /// One CBC stream through the whole file.
    D825(Box<cbc::Encryptor<Aes256>>),
    /// A new CBC stream for every chunk.
    D1100(Box<cbc::Encryptor<Aes128>>),
}

impl Encryptor {
    /// At the beginning of a file.
    #[must_use]
    pub fn new(key: &SessionKey) -> Self {
        let iv = &Array::default();
        match key.dialect {
            Dialect::D825 => Self::D825(Box::new(cbc::Encryptor::inner_iv_init(key.aes256(), iv))),
            Dialect::D1100 => {
                Self::D1100(Box::new(cbc::Encryptor::inner_iv_init(key.aes128(), iv)))
            }
        }
    }

    /// Encrypts the next piece: whole blocks, and in d1100 whole chunks unless it is the file's last piece.
    pub fn encrypt(&mut self, piece: &mut [u8]) {
        debug_assert!(piece.len().is_multiple_of(BLOCK));
        match self {
            Self::D825(cbc) => cbc.encrypt_blocks(Array::slice_as_chunks_mut(piece).0),
            Self::D1100(cbc) => {
                for chunk in piece.chunks_mut(PACKET) {
                    cbc.set_iv(&Array::default());
                    cbc.encrypt_blocks(Array::slice_as_chunks_mut(chunk).0);
                }
            }
        }
    }
}

/// The length of the PKCS#7 padding at the end of `plain`, in bytes; `None` if it does not end like one.
#[must_use]
pub fn padding_len(plain: &[u8]) -> Option<usize> {
    let length = usize::from(*plain.last()?);
    let start = plain.len().checked_sub(length)?;
    let valid = (1..=BLOCK).contains(&length)
        && plain[start..].iter().all(|&byte| usize::from(byte) == length);
    valid.then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_recognised() {
        assert_eq!(padding_len(&[16; 16]), Some(16));
        assert_eq!(padding_len(b"abc\x01"), Some(1));
        assert_eq!(padding_len(b"ab\x02\x02"), Some(2));
        for bad in [&b""[..], b"abc\x00", b"a\x02", b"\x03\x03", &[17; 32]] {
            assert_eq!(padding_len(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn keys_are_of_the_dialects_length_and_not_printed() {
        let key = SessionKey::from_bytes(Dialect::D1100, &[0xab; 16]).expect("16 bytes");
        assert_eq!(key.expose(), [0xab; 16]);
        assert_eq!(format!("{key:?}"), "SessionKey(1100, secret)");
        assert!(SessionKey::from_bytes(Dialect::D825, &[1; 16]).is_none());
        assert!(SessionKey::from_bytes(Dialect::D1100, &[1; 32]).is_none());
    }
}
