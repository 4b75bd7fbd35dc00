//! Control messages: CBOR maps with integer keys. Keys that are not known are skipped, so that messages can grow.
//!
//! What is decoded is in bounds: no text is longer than its field allows, or holds a control character.

use minicbor::{Decode, Encode};
use thiserror::Error;

use super::field;
use super::frame::{CONTROL_MAX, FRAME_HEADER, FrameHeader, Kind};
use super::invitation::Secret;

pub use super::error_code::ErrorCode;

/// The longest name of a program, in bytes.
pub const SOFTWARE_MAX: usize = 64;

/// The longest name of a machine, in bytes.
pub const HOST_MAX: usize = 255;

/// The longest text of an error, in bytes.
pub const ERROR_TEXT_MAX: usize = 1024;

/// The client speaks these versions.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Hello {
    /// The lowest version.
    #[n(0)]
    pub version_min: u16,
    /// The highest version.
    #[n(1)]
    pub version_max: u16,
    /// Name and version of the program, at most [`SOFTWARE_MAX`] bytes. For logs alone.
    #[cbor(n(2), decode_with = "field::software")]
    pub software: String,
}

/// The version is agreed on, and the client's key is known or not.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Welcome {
    /// The version that is spoken from now on.
    #[n(0)]
    pub version: u16,
    /// Name and version of the program, at most [`SOFTWARE_MAX`] bytes. For logs alone.
    #[cbor(n(1), decode_with = "field::software")]
    pub software: String,
    /// The server's clock, in milliseconds since 1970.
    #[n(2)]
    pub server_time_ms: u64,
    /// Whose key the client has shown; `None` if it is nobody's, and then nothing but [`Enroll`] is allowed.
    #[n(3)]
    pub client: Option<ClientInfo>,
}

/// Who a client is.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct ClientInfo {
    /// Its name: 1 to 254 bytes.
    #[cbor(n(0), decode_with = "field::client_name")]
    pub name: String,
    /// When its key was enrolled, by the server's clock, in milliseconds since 1970.
    #[n(1)]
    pub enrolled_at_ms: u64,
}

/// The secret of an invitation, shown by a key that the server does not know.
#[derive(PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Enroll {
    /// The secret.
    #[cbor(n(0), encode_with = "field::push_secret", decode_with = "field::secret")]
    pub secret: Secret,
    /// What the client's machine calls itself, at most [`HOST_MAX`] bytes. For people alone.
    #[cbor(n(1), decode_with = "field::host")]
    pub host: String,
}

impl Enroll {
    /// With the machine's name made to fit.
    #[must_use]
    pub fn new(secret: Secret, host: &str) -> Self {
        Self { secret, host: field::fitting(host, HOST_MAX) }
    }
}

/// The key belongs to this client from now on.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Enrolled {
    /// The client's name: 1 to 254 bytes.
    #[cbor(n(0), decode_with = "field::client_name")]
    pub name: String,
    /// Whether the same secret had enrolled the same key before.
    #[n(1)]
    pub already: bool,
}

/// Is the other side there?
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Ping {
    /// Comes back as it is.
    #[n(0)]
    pub nonce: u64,
}

/// It is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Pong {
    /// What came.
    #[n(0)]
    pub nonce: u64,
}

/// How much the server holds of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Used {
    /// Versions of files.
    #[n(0)]
    pub versions: u64,
    /// Their bytes.
    #[n(1)]
    pub bytes: u64,
    /// How many bytes it may have; `None` is no limit.
    #[n(2)]
    pub quota_bytes: Option<u64>,
}

/// Something was refused or failed.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct ErrorMessage {
    /// What, for programs.
    #[n(0)]
    pub code: ErrorCode,
    /// What, for people: at most [`ERROR_TEXT_MAX`] bytes.
    #[cbor(n(1), decode_with = "field::error_text")]
    pub text: String,
    /// After how many milliseconds it may be tried again; `None` if that is of no use, or nobody knows.
    #[n(2)]
    pub retry_after_ms: Option<u64>,
}

impl ErrorMessage {
    /// With a text that is made to fit, for something that there is no use in trying again.
    #[must_use]
    pub fn new(code: ErrorCode, text: &str) -> Self {
        Self { code, text: field::fitting(text, ERROR_TEXT_MAX), retry_after_ms: None }
    }
}

/// A message without fields, which may get some.
#[derive(Encode, Decode)]
#[cbor(map)]
struct NoFields {}

/// What a client says.
#[derive(PartialEq, Eq, Debug)]
pub enum Request {
    /// HELLO.
    Hello(Hello),
    /// ENROLL.
    Enroll(Enroll),
    /// PING.
    Ping(Ping),
    /// USAGE.
    Usage,
}

/// What a server says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// WELCOME.
    Welcome(Welcome),
    /// ENROLLED.
    Enrolled(Enrolled),
    /// PONG.
    Pong(Pong),
    /// USED.
    Used(Used),
    /// ERROR.
    Error(ErrorMessage),
}

/// Why a payload is not what its frame says.
#[derive(Debug, Error, PartialEq, Eq, Clone)]
pub enum MessageError {
    /// The other side sends messages of this kind.
    #[error("{0} is not for this side to receive")]
    Direction(Kind),
    /// The payload is not the CBOR of this message, a field is missing, or one is out of bounds.
    #[error("{kind} cannot be read: {problem}")]
    Malformed {
        /// The message.
        kind: Kind,
        /// What is wrong, and with which field.
        problem: String,
    },
    /// There are bytes behind the message.
    #[error("{kind} has {bytes} bytes too many")]
    Trailing {
        /// The message.
        kind: Kind,
        /// How many bytes.
        bytes: usize,
    },
}

impl Request {
    /// Reads the payload of a frame that a client sent.
    ///
    /// # Errors
    /// Why it is no request.
    pub fn decode(kind: Kind, payload: &[u8]) -> Result<Self, MessageError> {
        match kind {
            Kind::Hello => read(kind, payload).map(Self::Hello),
            Kind::Enroll => read(kind, payload).map(Self::Enroll),
            Kind::Ping => read(kind, payload).map(Self::Ping),
            Kind::Usage => read(kind, payload).map(|NoFields {}| Self::Usage),
            Kind::Welcome | Kind::Enrolled | Kind::Pong | Kind::Used | Kind::Error => {
                Err(MessageError::Direction(kind))
            }
        }
    }

    /// The kind of its frame.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Hello(_) => Kind::Hello,
            Self::Enroll(_) => Kind::Enroll,
            Self::Ping(_) => Kind::Ping,
            Self::Usage => Kind::Usage,
        }
    }

    /// Appends the request's frame. That of [`Enroll`] holds a secret: its buffer is for the caller to clear.
    pub fn frame(&self, stream: u32, out: &mut Vec<u8>) {
        match self {
            Self::Hello(hello) => push(self.kind(), stream, hello, out),
            Self::Enroll(enroll) => push(self.kind(), stream, enroll, out),
            Self::Ping(ping) => push(self.kind(), stream, ping, out),
            Self::Usage => push(self.kind(), stream, &NoFields {}, out),
        }
    }
}

impl Answer {
    /// Reads the payload of a frame that a server sent.
    ///
    /// # Errors
    /// Why it is no answer.
    pub fn decode(kind: Kind, payload: &[u8]) -> Result<Self, MessageError> {
        match kind {
            Kind::Welcome => read(kind, payload).map(Self::Welcome),
            Kind::Enrolled => read(kind, payload).map(Self::Enrolled),
            Kind::Pong => read(kind, payload).map(Self::Pong),
            Kind::Used => read(kind, payload).map(Self::Used),
            Kind::Error => read(kind, payload).map(Self::Error),
            Kind::Hello | Kind::Enroll | Kind::Ping | Kind::Usage => {
                Err(MessageError::Direction(kind))
            }
        }
    }

    /// The kind of its frame.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Welcome(_) => Kind::Welcome,
            Self::Enrolled(_) => Kind::Enrolled,
            Self::Pong(_) => Kind::Pong,
            Self::Used(_) => Kind::Used,
            Self::Error(_) => Kind::Error,
        }
    }

    /// Appends the answer's frame.
    pub fn frame(&self, stream: u32, out: &mut Vec<u8>) {
        match self {
            Self::Welcome(welcome) => push(self.kind(), stream, welcome, out),
            Self::Enrolled(enrolled) => push(self.kind(), stream, enrolled, out),
            Self::Pong(pong) => push(self.kind(), stream, pong, out),
            Self::Used(used) => push(self.kind(), stream, used, out),
            Self::Error(error) => push(self.kind(), stream, error, out),
        }
    }
}

fn read<'b, T: Decode<'b, ()>>(kind: Kind, payload: &'b [u8]) -> Result<T, MessageError> {
    let mut decoder = minicbor::Decoder::new(payload);
    let message = decoder
        .decode()
        .map_err(|error| MessageError::Malformed { kind, problem: error.to_string() })?;
    match payload.len() - decoder.position() {
        0 => Ok(message),
        bytes => Err(MessageError::Trailing { kind, bytes }),
    }
}

fn push<T: Encode<()>>(kind: Kind, stream: u32, message: &T, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_HEADER]);
    minicbor::encode(message, &mut *out).expect("a vector takes every byte");
    let length = (out.len() - start - FRAME_HEADER) as u32;
    debug_assert!(length <= CONTROL_MAX, "{kind} of {length} bytes");
    let header = FrameHeader { length, kind, stream }.encode();
    out[start..start + FRAME_HEADER].copy_from_slice(&header);
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
