//! What can go wrong at the secure door, in one line each: what happened, to what, what to do.

use std::path::{Path, PathBuf};

use coffer_protocol::name::escape;
use coffer_protocol::v4::fingerprint::Pin;
use coffer_protocol::v4::invitation::InvitationError;
use coffer_protocol::v4::message::{ErrorCode, ErrorMessage};
use coffer_tls::key_file::KeyFileError;
use thiserror::Error;

use super::connection::Problem;
use super::converse::Tried;
use crate::Class;

/// Why this machine was not enrolled, or the server did not say how things are.
#[derive(Debug, Error)]
pub enum Failure {
    /// The code cannot be read.
    #[error("{0}")]
    Code(#[from] InvitationError),
    /// There is an earlier enrolment.
    #[error(
        "this machine is enrolled already, as '{name}' with {address} (fingerprint {server}): --force enrols it anew, and keeps what it has in a folder beside"
    )]
    EnrolledAlready {
        /// Its name there.
        name: String,
        /// The first address of the server.
        address: String,
        /// Who the server is.
        server: Pin,
    },
    /// There is none.
    #[error(
        "this machine is not enrolled with a server ({} holds nothing of it): ask the operator of one for an invitation, and use `coffer enroll` with it", shown(.0)
    )]
    NotEnrolled(PathBuf),
    /// There is one, but its key is gone.
    #[error("{} is missing: restore it from a copy, or ask the server's operator for a new invitation and use it with --force", shown(.0))]
    KeyMissing(PathBuf),
    /// No key can be had.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// Nobody answers.
    #[error("cannot reach the server: {0}; check that it runs, and the network to it")]
    Unreachable(String),
    /// Somebody else answers.
    #[error(
        "another server answers at {address}: its fingerprint is {found}, and should be {expected}. It was told nothing. Either another server has this address now, or this server has a new key, or somebody stands in between. Ask its operator: `cofferd invite` prints the fingerprint. If it is new, enrol anew with a new invitation"
    )]
    WrongServer {
        /// Where.
        address: String,
        /// Who was expected.
        expected: Pin,
        /// Who it was.
        found: Pin,
    },
    /// What answers does not speak the protocol.
    #[error(
        "no Coffer server with a secure door answers at {address} ({problem}): check the address, and that the server is as new as this program"
    )]
    NoSecureDoor {
        /// Where.
        address: String,
        /// What was wrong.
        problem: String,
    },
    /// The server's answer makes no sense.
    #[error(
        "the server at {address} gave no valid answer: {problem}; update the older of the two programs"
    )]
    Senseless {
        /// Where.
        address: String,
        /// What was wrong.
        problem: String,
    },
    /// The server does not know the key.
    #[error(
        "the server at {0} does not know this machine's key: its operator may have removed the client; ask for a new invitation and use it with --force"
    )]
    Unknown(String),
    /// The server said no.
    #[error("the server at {address} refuses: {}{}", escape(.message.text.as_bytes()), advice(.message))]
    Refused {
        /// Where.
        address: String,
        /// What it said.
        message: ErrorMessage,
    },
}

impl Failure {
    /// What all addresses together come to: the server's own answer if there is one, else the gravest.
    pub(super) fn of(server: Pin, mut tried: Vec<Tried>) -> Self {
        let gravest = (0..tried.len()).max_by_key(|&at| (tried[at].1.gravity(), at));
        let Some(at) = gravest else { return Self::Unreachable("it has no address".to_owned()) };
        if tried[at].1.may_pass() {
            let each = tried.iter().map(|(address, problem)| format!("{address} ({problem})"));
            return Self::Unreachable(each.collect::<Vec<_>>().join(", "));
        }
        let (address, problem) = tried.swap_remove(at);
        match problem {
            Problem::WrongServer(found) => Self::WrongServer { address, expected: server, found },
            Problem::Unknown => Self::Unknown(address),
            Problem::Refused(message) => Self::Refused { address, message },
            Problem::Tls(_) => Self::NoSecureDoor { address, problem: problem.to_string() },
            _ => Self::Senseless { address, problem: problem.to_string() },
        }
    }

    /// Whether the server says that this key will never be let in by this invitation.
    pub(super) fn is_final(&self) -> bool {
        let Self::Refused { message, .. } = self else { return false };
        matches!(message.code, ErrorCode::BadCode | ErrorCode::NameTaken | ErrorCode::Revoked)
    }

    /// Who is to blame.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Code(_)
            | Self::EnrolledAlready { .. }
            | Self::NotEnrolled(_)
            | Self::KeyMissing(_)
            | Self::Key(KeyFileError::Exposed { .. } | KeyFileError::NoKey(_)) => Class::BadInput,
            Self::Key(KeyFileError::Io { .. }) => Class::LocalIo,
            Self::Unreachable(_)
            | Self::WrongServer { .. }
            | Self::NoSecureDoor { .. }
            | Self::Senseless { .. } => Class::Connection,
            Self::Unknown(_) => Class::Refused,
            Self::Refused { message, .. } => match message.code {
                ErrorCode::TooSlow | ErrorCode::ShuttingDown => Class::Connection,
                _ => Class::Refused,
            },
        }
    }
}

impl Problem {
    /// Whether the server that was wanted has answered: no other address knows better.
    pub(super) fn is_answer(&self) -> bool {
        match self {
            Self::Io(_) | Self::WrongServer(_) | Self::Tls(_) => false,
            Self::Frame(_)
            | Self::Message(_)
            | Self::Unexpected { .. }
            | Self::Version(_)
            | Self::Unknown
            | Self::Refused(_) => true,
        }
    }

    /// Whether it may be over in a moment.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::Io(_))
    }

    fn gravity(&self) -> u8 {
        match self {
            Self::Io(_) => 0,
            Self::Tls(_) => 1,
            Self::WrongServer(_) => 2,
            _ => 3,
        }
    }
}

/// The end of a refusal's line, where the server's own words leave open what to do.
fn advice(message: &ErrorMessage) -> String {
    let seconds = message.retry_after_ms.map(|ms| ms.div_ceil(1000));
    match (message.code, seconds) {
        (ErrorCode::BadCode | ErrorCode::NameTaken, _) => String::new(),
        (_, Some(seconds)) => format!("; try again in {seconds} s"),
        (ErrorCode::Revoked, _) => {
            "; if this machine shall be let in again, ask for a new invitation and use it with --force".to_owned()
        }
        (ErrorCode::NotEnrolled, _) => {
            "; ask the server's operator for an invitation, and use `coffer enroll` with it".to_owned()
        }
        (ErrorCode::BadRequest | ErrorCode::UnsupportedVersion, _) => {
            "; update the older of the two programs".to_owned()
        }
        _ => "; try again later, or ask the server's operator".to_owned(),
    }
}

fn shown(path: &Path) -> String {
    escape(path.as_os_str().as_encoded_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    fn of(problems: Vec<Problem>) -> Failure {
        let name = |(number, problem)| (format!("host{number}:1256"), problem);
        Failure::of(Pin([0; 32]), problems.into_iter().enumerate().map(name).collect())
    }

    fn refused_connect() -> Problem {
        Problem::Io(io::ErrorKind::ConnectionRefused.into())
    }

    #[test]
    fn all_addresses_that_do_not_answer_are_named() {
        let failure = of(vec![refused_connect(), refused_connect()]);
        let text = failure.to_string();
        assert!(text.contains("host0:1256 (connection refused), host1:1256 ("), "{text}");
        assert_eq!(failure.class(), Class::Connection);
    }

    #[test]
    fn another_server_is_told_with_both_fingerprints() {
        let failure = of(vec![
            refused_connect(),
            Problem::WrongServer(Pin([1; 32])),
            Problem::Tls(rustls::Error::DecryptError),
            refused_connect(),
        ]);
        let text = failure.to_string();
        for needed in ["host1:1256", &Pin([0; 32]).to_string(), &Pin([1; 32]).to_string()] {
            assert!(text.contains(needed), "{needed} in {text}");
        }
        assert_eq!(failure.class(), Class::Connection);
    }

    #[test]
    fn refusals_have_the_class_of_their_code() {
        for (code, class) in [
            (ErrorCode::BadCode, Class::Refused),
            (ErrorCode::Revoked, Class::Refused),
            (ErrorCode::TooMany, Class::Refused),
            (ErrorCode::Internal, Class::Refused),
            (ErrorCode::ShuttingDown, Class::Connection),
            (ErrorCode::TooSlow, Class::Connection),
        ] {
            let message = ErrorMessage::new(code, "because \u{202e}");
            let failure = of(vec![refused_connect(), Problem::Refused(message)]);
            assert_eq!(failure.class(), class, "{code:?}");
            let text = failure.to_string();
            assert!(text.contains("host1:1256 refuses: because"), "{text}");
        }
    }
}
