//! Why a request is refused, whose fault it is, and what is answered.

use coffer_protocol::decode::{DecodeError, SizesError};
use coffer_protocol::key::KeyError;
use coffer_protocol::name::NameError;
use coffer_protocol::reply::Reply;
use thiserror::Error;

use crate::job::{Failure, UploadFailure};

/// A refused request: what the log says and what the peer is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For the log.
    pub reason: Reason,
    /// For the peer.
    pub reply: Reply,
}

/// Whose fault a refusal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The peer broke the protocol.
    Protocol,
    /// The peer asked for what it may not have.
    Request,
    /// We failed.
    Ours,
}

/// Why a request is refused.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The name breaks a rule.
    #[error("refused a name: {0}")]
    Name(#[from] NameError),
    /// Somebody has the name, or is just registering it.
    #[error("the name {0:?} is taken")]
    NameTaken(String),
    /// Nobody has the name.
    #[error("no client is called {0:?}")]
    UnknownName(String),
    /// The name cannot be used by this door.
    #[error("the client called {0:?} uses the secure door")]
    SecureName(String),
    /// The name is another id's.
    #[error("the client called {0:?} has another id")]
    WrongId(String),
    /// The id in the header is not the one that this connection speaks for.
    #[error("the request bears an id that is not this session's")]
    ForeignId,
    /// The client has no session key: it must reconnect first.
    #[error("the client has no session key and must reconnect first")]
    NoSessionKey,
    /// A key for a name that is not being registered under this id.
    #[error("no registration waits for this public key")]
    NoReservation,
    /// Not in this state.
    #[error("the request does not fit the state of the session")]
    OutOfTurn,
    /// The public key is none.
    #[error("refused a public key: {0}")]
    PublicKey(#[from] KeyError),
    /// The announced sizes cannot be true.
    #[error("refused an upload: {0}")]
    Sizes(#[from] SizesError),
    /// The upload came to nothing.
    #[error("the upload is refused because a verified file of this name exists")]
    Exists,
    /// The client was removed while it was connected.
    #[error("the client is no longer in the catalog")]
    NoClient,
    /// The content is not what was announced.
    #[error("refused an upload: {0}")]
    Content(#[from] DecodeError),
    /// A verdict on a file that waits for none.
    #[error("a verdict on a file that waits for none")]
    UnknownFile,
    /// A packet too far ahead of one that is missing.
    #[error("packet {number} came while packet {missing} is missing")]
    TooFarAhead {
        /// The packet that came.
        number: u16,
        /// The first that is missing.
        missing: u32,
    },
    /// A packet that belongs to no upload that is open.
    #[error("a packet that does not belong to the file that is being sent")]
    ForeignPacket,
    /// A request code that nobody has.
    #[error("the unknown request code {0}")]
    UnknownCode(u16),
    /// A payload that no request of this code has.
    #[error("a request {code} with a payload of {payload_len} bytes")]
    PayloadLength {
        /// The code.
        code: u16,
        /// The announced length.
        payload_len: u32,
    },
    /// The peer did nothing for too long.
    #[error("{0}")]
    TooSlow(&'static str),
    /// A limit of ours is reached.
    #[error("refused because {0}")]
    Limit(&'static str),
    /// The classic door is not open to this peer.
    #[error(
        "refused because the classic protocol is not open to this peer (see `classic` in the configuration)"
    )]
    ClassicClosed,
    /// We failed.
    #[error("{0}")]
    Failed(Failure),
}

impl Reason {
    /// The refusal with the dialect's general error, 1607 / 2107.
    #[must_use]
    pub fn error(self) -> Refusal {
        self.with(Reply::Error)
    }

    /// The refusal with another reply.
    #[must_use]
    pub fn with(self, reply: Reply) -> Refusal {
        Refusal { reason: self, reply }
    }

    /// Whose fault it is.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::Failed(_) => Blame::Ours,
            Self::OutOfTurn
            | Self::Sizes(_)
            | Self::Content(_)
            | Self::TooFarAhead { .. }
            | Self::ForeignPacket
            | Self::UnknownCode(_)
            | Self::PayloadLength { .. }
            | Self::TooSlow(_) => Blame::Protocol,
            Self::Name(_)
            | Self::NameTaken(_)
            | Self::UnknownName(_)
            | Self::SecureName(_)
            | Self::WrongId(_)
            | Self::ForeignId
            | Self::NoSessionKey
            | Self::NoReservation
            | Self::PublicKey(_)
            | Self::Exists
            | Self::NoClient
            | Self::UnknownFile
            | Self::Limit(_)
            | Self::ClassicClosed => Blame::Request,
        }
    }
}

impl From<UploadFailure> for Reason {
    fn from(failure: UploadFailure) -> Self {
        match failure {
            UploadFailure::Exists => Self::Exists,
            UploadFailure::NoClient => Self::NoClient,
            UploadFailure::Content(error) => Self::Content(error),
            UploadFailure::Gone => Self::UnknownFile,
            UploadFailure::Ours(failure) => Self::Failed(failure),
        }
    }
}
