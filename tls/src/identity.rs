//! A key pair: who one side of a connection is.

use std::fmt;
use std::sync::Arc;

use coffer_protocol::v4::fingerprint::Pin;
use rustls::crypto::aws_lc_rs::{default_provider, sign::any_eddsa_type};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::config;

/// Bytes of an Ed25519 secret.
const SECRET: usize = 32;

/// An Ed25519 private key in PKCS#8, up to the secret itself (RFC 8410, section 7).
const PKCS8_HEAD: [u8; 16] = *b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";

/// An Ed25519 key pair. The secret is zeroed when it is dropped, and never printed.
///
/// Ed25519, because a handshake costs each side one signature and one verification, and with aws-lc these take 17 and
/// 63 us, against 24 and 78 us for P-256 (measured on one core). Besides, its signatures need no random numbers that
/// could be bad, and its keys have one encoding, of 44 bytes.
pub struct Identity {
    pkcs8: Zeroizing<Vec<u8>>,
    key: Arc<CertifiedKey>,
    pin: Pin,
}

/// Not a private key of ours.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
#[error("this is no Ed25519 private key in PKCS#8")]
pub struct IdentityError;

impl Identity {
    /// A new key.
    ///
    /// # Panics
    /// If the system gives no random numbers, without which nothing can be secure.
    #[must_use]
    pub fn generate() -> Self {
        let mut pkcs8 = Zeroizing::new(vec![0; PKCS8_HEAD.len() + SECRET]);
        let (head, secret) = pkcs8.split_at_mut(PKCS8_HEAD.len());
        head.copy_from_slice(&PKCS8_HEAD);
        default_provider().secure_random.fill(secret).expect("the system gives random numbers");
        Self::new(pkcs8).expect("any 32 bytes are an Ed25519 key")
    }

    /// The key with this PKCS#8 encoding (DER).
    ///
    /// # Errors
    /// If it is none, or not one for Ed25519.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, IdentityError> {
        Self::new(Zeroizing::new(der.to_vec()))
    }

    fn new(pkcs8: Zeroizing<Vec<u8>>) -> Result<Self, IdentityError> {
        let key =
            any_eddsa_type(&PrivatePkcs8KeyDer::from(&pkcs8[..])).map_err(|_| IdentityError)?;
        let spki = key.public_key().ok_or(IdentityError)?.to_vec();
        let pin = Pin::of_public_key(&spki);
        let key = Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki)], key));
        Ok(Self { pkcs8, key, pin })
    }

    /// Its PKCS#8 encoding (DER), which holds the secret.
    #[must_use]
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// What the other side knows it by.
    #[must_use]
    pub fn pin(&self) -> Pin {
        self.pin
    }

    /// How a server with this key accepts connections: from whoever has a key of their own, [`peer_pin`](crate::peer_pin)
    /// says which. For all connections of a server; making it is not cheap.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        config::server(Arc::clone(&self.key))
    }

    /// How a client with this key connects: to the one server whose key has the pin `server`, and nobody else; see
    /// [`wrong_pin`](crate::wrong_pin).
    #[must_use]
    pub fn client_config(&self, server: Pin) -> Arc<ClientConfig> {
        config::client(Arc::clone(&self.key), server)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.pin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `openssl genpkey -algorithm ed25519 -outform DER`
    const KNOWN: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20\
        \x5d\x38\x17\xdd\x19\x6b\xd0\x97\x5e\x9f\x1c\xa6\x7f\x6a\xad\xd4\
        \x02\xa0\x9d\x17\xcd\x1b\x8c\xdd\xda\xa3\xb7\x2f\xfc\x28\x48\x8f";

    /// `openssl pkey -pubout -outform DER | sha256sum`
    const KNOWN_PIN: Pin =
        Pin(*b"\x04\xb8\xf6\xcd\xaa\xdc\x64\x0b\xb3\xd8\xe2\x6e\x92\x8b\x83\x37\
        \x1c\xbb\x93\x7b\x48\xf0\xdd\xf0\x53\xdf\xf1\x6c\xcf\x9c\x44\x5b");

    /// `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 | openssl pkcs8 -topk8 -nocrypt -outform DER`
    const P256: &[u8] = include_bytes!("testdata/p256.der");

    #[test]
    fn a_key_of_another_tool_has_the_pin_that_it_computes() {
        let known = Identity::from_pkcs8(KNOWN).expect("a key");
        assert_eq!((known.pin(), known.pkcs8()), (KNOWN_PIN, KNOWN));
    }

    #[test]
    fn every_new_key_is_another_and_can_be_kept() {
        let (one, other) = (Identity::generate(), Identity::generate());
        assert_ne!(one.pin(), other.pin());
        let again = Identity::from_pkcs8(one.pkcs8()).expect("our own");
        assert_eq!(again.pin(), one.pin());
    }

    #[test]
    fn what_is_no_key_of_ours_is_refused() {
        for wrong in [&b""[..], &KNOWN[1..], &KNOWN[..47], P256, &[0x30; 4096]] {
            assert_eq!(Identity::from_pkcs8(wrong).expect_err("no key"), IdentityError);
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let known = Identity::from_pkcs8(KNOWN).expect("a key");
        assert_eq!(format!("{known:?}"), format!("Identity({KNOWN_PIN})"));
        let server = format!("{:?}", known.server_config());
        let client = format!("{:?}", known.client_config(KNOWN_PIN));
        for text in [server, client] {
            for secret in ["93, 56, 23, 221", "5d, 38, 17, dd", "5d3817dd", "5D3817DD"] {
                assert!(!text.contains(secret), "{text}");
            }
        }
    }
}
