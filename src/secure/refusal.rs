//! Why a request is refused: what the log says, what the peer is told, and whether that is the end.

use std::fmt;
use std::time::Duration;

use coffer_protocol::v4::VERSION;
use coffer_protocol::v4::message::{ErrorCode, ErrorMessage};

use crate::job::Failure;
use crate::limits::WINDOW;
use crate::session::{Blame, Offence};

/// A refused request.
#[derive(Debug)]
pub(super) struct Refusal {
    code: ErrorCode,
    text: String,
    retry_after: Option<Duration>,
    /// Whose fault it is.
    pub(super) blame: Blame,
    /// What the peer is penalised for.
    pub(super) offence: Option<Offence>,
    /// What only the log says.
    pub(super) detail: Option<Failure>,
    /// Whether the connection ends with it.
    pub(super) is_final: bool,
}

impl Refusal {
    fn of_request(code: ErrorCode, text: &str) -> Self {
        Self {
            code,
            text: text.to_owned(),
            retry_after: None,
            blame: Blame::Request,
            offence: None,
            detail: None,
            is_final: true,
        }
    }

    /// The peer does not speak the protocol.
    pub(super) fn protocol(text: &(impl fmt::Display + ?Sized)) -> Self {
        Self {
            blame: Blame::Protocol,
            offence: Some(Offence::Protocol),
            ..Self::of_request(ErrorCode::BadRequest, &text.to_string())
        }
    }

    /// None of its versions is ours.
    pub(super) fn version(min: u16, max: u16) -> Self {
        let text = format!("this server speaks version {}, not {min} to {max}", VERSION);
        Self::of_request(ErrorCode::UnsupportedVersion, &text)
    }

    pub(super) fn not_enrolled() -> Self {
        Self {
            is_final: false,
            ..Self::of_request(ErrorCode::NotEnrolled, "this key is not enrolled")
        }
    }

    /// Unknown, used or expired: not told apart, so that nothing can be learnt by trying.
    pub(super) fn bad_code() -> Self {
        let text = "the invitation is unknown, used or expired: ask for a new one";
        Self { offence: Some(Offence::BadCode), ..Self::of_request(ErrorCode::BadCode, text) }
    }

    pub(super) fn name_taken() -> Self {
        let text = "the name of this invitation has been taken meanwhile: ask for a new one";
        Self::of_request(ErrorCode::NameTaken, text)
    }

    pub(super) fn key_taken() -> Self {
        let text = "this key is another client's: an invitation is for a machine that has none";
        Self::of_request(ErrorCode::NameTaken, text)
    }

    pub(super) fn revoked() -> Self {
        Self::of_request(ErrorCode::Revoked, "this key was revoked by the server's operator")
    }

    pub(super) fn too_many(text: &str) -> Self {
        Self { retry_after: Some(WINDOW), ..Self::of_request(ErrorCode::TooMany, text) }
    }

    pub(super) fn too_slow(text: &str) -> Self {
        Self { blame: Blame::Protocol, ..Self::of_request(ErrorCode::TooSlow, text) }
    }

    /// A handshake took too long.
    pub(super) fn unfinished() -> Self {
        let offence = Some(Offence::Handshake);
        Self { offence, ..Self::too_slow("the peer did not finish its handshake") }
    }

    pub(super) fn stopping() -> Self {
        let retry_after = Some(Duration::from_secs(1));
        Self { retry_after, ..Self::of_request(ErrorCode::ShuttingDown, "the server is stopping") }
    }

    /// We failed: the peer learns that, the log why.
    pub(super) fn failed(failure: Failure) -> Self {
        let text = "the server failed; its log says why";
        Self {
            blame: Blame::Ours,
            detail: Some(failure),
            is_final: false,
            ..Self::of_request(ErrorCode::Internal, text)
        }
    }

    /// For the log.
    pub(super) fn reason(&self) -> &str {
        self.detail.as_ref().map_or(&self.text, |failure| &failure.0)
    }

    /// For the peer.
    pub(super) fn message(&self) -> ErrorMessage {
        ErrorMessage {
            code: self.code,
            text: self.text.clone(),
            retry_after_ms: self.retry_after.map(|wait| wait.as_millis() as u64),
        }
    }
}
