//! Why a session did not reach what it was asked for.

use std::fmt;

use coffer_protocol::reply::ReplyError;
use thiserror::Error;

use super::TRIES_MAX;

/// What the client was doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Asking for a name: 825 / 1100.
    Registering,
    /// Sending the public key: 826 / 1101.
    SendingKey,
    /// Reconnecting: 827 / 1102.
    Reconnecting,
    /// Opening the session key.
    OpeningKey,
    /// Sending the content for the first time: 828 / 1103.
    Sending,
    /// Sending the content again after a wrong checksum: 828 / 1103.
    SendingAgain,
    /// Confirming the checksum: 900 / 1104.
    Confirming,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Registering => "registering the name",
            Self::SendingKey => "sending the public key",
            Self::Reconnecting => "reconnecting",
            Self::OpeningKey => "agreeing on a session key",
            Self::Sending => "sending the file",
            Self::SendingAgain => "sending the file again after a wrong checksum",
            Self::Confirming => "confirming the checksum",
        })
    }
}

/// Why an identification or an upload failed. Says what happened; whose file it was and what to do is for the caller
/// to add.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum Failure {
    /// 1601 / 2101.
    #[error("the server refused the name: it is taken, or not allowed there")]
    NameRefused,
    /// 1607 / 2107.
    #[error("the server refused it while {0}")]
    Refused(Step),
    /// Three sendings, three wrong checksums.
    #[error("the checksums differ after {TRIES_MAX} tries (sent {ours}, the server got {theirs})")]
    Mismatch {
        /// The checksum of what was sent last.
        ours: u32,
        /// The checksum that the server answered last.
        theirs: u32,
    },
    /// The connection ended, or never was, or the server was silent for too long.
    #[error("no answer while {0}")]
    Lost(Step),
    /// Bytes that are no reply.
    #[error("{error}, while {step}")]
    Garbage {
        /// What was being done.
        step: Step,
        /// What is wrong with them.
        error: ReplyError,
    },
    /// A reply that is none to what was asked.
    #[error("the server answered {code}, which is no answer to {step}")]
    Unexpected {
        /// What was being done.
        step: Step,
        /// The reply's code.
        code: u16,
    },
    /// A reply about somebody or something else.
    #[error("the server answered {step} with another {what} than the one sent")]
    Foreign {
        /// What was being done.
        step: Step,
        /// What is different in the reply.
        what: &'static str,
    },
    /// The wrapped session key does not open.
    #[error("the server's session key cannot be opened with this client's private key")]
    Key,
    /// More bytes than all answers together can have.
    #[error("the server sent more than it was asked for")]
    Flood,
}
