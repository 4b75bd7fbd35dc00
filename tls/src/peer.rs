//! Who is at the other end.

use std::sync::Arc;

use coffer_protocol::v4::fingerprint::Pin;
use rustls::{CertificateError, CommonState, Error, OtherError};

use crate::ALPN;

/// The server that answered is not the one that was pinned: its key was changed, or somebody stands in between.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
#[error("the server has the key {found}, and not {expected}, the one that is pinned")]
pub struct WrongPin {
    /// The server that was wanted.
    pub expected: Pin,
    /// The one that answered. It was not let show that it has the key.
    pub found: Pin,
}

impl From<WrongPin> for Error {
    fn from(wrong: WrongPin) -> Self {
        CertificateError::Other(OtherError(Arc::new(wrong))).into()
    }
}

/// The pin of the server that answered in another's place, if that is what ended a client's handshake.
#[must_use]
pub fn wrong_pin(error: &Error) -> Option<Pin> {
    match error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(other))) => {
            other.downcast_ref().map(|wrong: &WrongPin| wrong.found)
        }
        _ => None,
    }
}

/// Whose key the other side has shown to have, in a handshake that is complete and for [`ALPN`]'s protocol. None
/// before that: then nothing that the other side says may be believed.
#[must_use]
pub fn peer_pin(connection: &CommonState) -> Option<Pin> {
    if connection.is_handshaking() || connection.alpn_protocol() != Some(ALPN) {
        return None;
    }
    match connection.peer_certificates()? {
        [key] => Some(Pin::of_public_key(key)),
        _ => None,
    }
}
