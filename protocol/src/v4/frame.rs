//! Frames: a fixed header, and how many bytes of what follow it.

use std::fmt;

use thiserror::Error;

/// Bytes of a frame's header, all little-endian: payload length 4, kind 2, flags 2, stream 4.
pub const FRAME_HEADER: usize = 12;

/// The longest payload that any frame has, in bytes.
pub const PAYLOAD_MAX: u32 = 1 << 20;

/// The longest payload of a control message, in bytes: what is read as a whole before it is looked at.
pub const CONTROL_MAX: u32 = 64 << 10;

const _: () = assert!(CONTROL_MAX <= PAYLOAD_MAX);

/// What a frame is. All kinds below 32 are control messages; content has those from 32 on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum Kind {
    /// The client's first message.
    Hello = 1,
    /// Its answer.
    Welcome = 2,
    /// A key that the server does not know shows an invitation's secret.
    Enroll = 3,
    /// The key is known from now on.
    Enrolled = 4,
    /// Is the other side there?
    Ping = 5,
    /// It is.
    Pong = 6,
    /// How much does the server hold of this client?
    Usage = 7,
    /// So much.
    Used = 8,
    /// Something was refused or failed.
    Error = 9,
}

impl Kind {
    /// All kinds that there are.
    pub const ALL: [Self; 9] = [
        Self::Hello,
        Self::Welcome,
        Self::Enroll,
        Self::Enrolled,
        Self::Ping,
        Self::Pong,
        Self::Usage,
        Self::Used,
        Self::Error,
    ];

    /// The kind's number on the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The kind of a number; `None` if it has none.
    #[must_use]
    pub fn of_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Hello => "HELLO",
            Self::Welcome => "WELCOME",
            Self::Enroll => "ENROLL",
            Self::Enrolled => "ENROLLED",
            Self::Ping => "PING",
            Self::Pong => "PONG",
            Self::Usage => "USAGE",
            Self::Used => "USED",
            Self::Error => "ERROR",
        })
    }
}

/// Why a header is none. Whoever gets one cannot know where the next begins: the connection ends.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum FrameError {
    /// A kind that this version does not have.
    #[error("a frame of kind {0}, which version 4 does not have")]
    Kind(u16),
    /// No flag means anything yet.
    #[error("a {kind} frame with the flags {flags:#06x}, of which version 4 has none")]
    Flags {
        /// The frame's kind.
        kind: Kind,
        /// Its flags.
        flags: u16,
    },
    /// More than a frame of its kind may have.
    #[error("a {kind} frame with {length} bytes, of at most {max}")]
    Length {
        /// The frame's kind.
        kind: Kind,
        /// The announced length of its payload, in bytes.
        length: u32,
        /// The longest that it may have.
        max: u32,
    },
}

/// The header in front of every frame. One that was decoded is in bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHeader {
    /// Bytes of the payload behind it, at most [`CONTROL_MAX`].
    pub length: u32,
    /// What the payload is.
    pub kind: Kind,
    /// Which operation it belongs to; 0 is the connection itself.
    pub stream: u32,
}

impl FrameHeader {
    /// Reads a header, before anything behind it is waited for.
    ///
    /// # Errors
    /// What is not allowed about it.
    pub fn decode(bytes: &[u8; FRAME_HEADER]) -> Result<Self, FrameError> {
        let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3] = *bytes;
        let code = u16::from_le_bytes([k0, k1]);
        let kind = Kind::of_code(code).ok_or(FrameError::Kind(code))?;
        let flags = u16::from_le_bytes([f0, f1]);
        if flags != 0 {
            return Err(FrameError::Flags { kind, flags });
        }
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        if length > CONTROL_MAX {
            return Err(FrameError::Length { kind, length, max: CONTROL_MAX });
        }
        Ok(Self { length, kind, stream: u32::from_le_bytes([s0, s1, s2, s3]) })
    }

    /// The header's bytes.
    #[must_use]
    pub fn encode(self) -> [u8; FRAME_HEADER] {
        let [l0, l1, l2, l3] = self.length.to_le_bytes();
        let [k0, k1] = self.kind.code().to_le_bytes();
        let [s0, s1, s2, s3] = self.stream.to_le_bytes();
        [l0, l1, l2, l3, k0, k1, 0, 0, s0, s1, s2, s3]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_stand_where_they_should() {
        let header = FrameHeader { length: 0x0302, kind: Kind::Error, stream: 0x0d0c_0b0a };
        let bytes = [0x02, 0x03, 0, 0, 9, 0, 0, 0, 0x0a, 0x0b, 0x0c, 0x0d];
        assert_eq!(header.encode(), bytes);
        assert_eq!(FrameHeader::decode(&bytes), Ok(header));
    }

    #[test]
    fn what_is_out_of_bounds_is_told() {
        let length = CONTROL_MAX;
        let mut bytes = FrameHeader { length, kind: Kind::Ping, stream: 0 }.encode();
        assert!(FrameHeader::decode(&bytes).is_ok());
        bytes[0] = 1;
        let kind = Kind::Ping;
        let length = length + 1;
        let too_long = FrameError::Length { kind, length, max: CONTROL_MAX };
        assert_eq!(FrameHeader::decode(&bytes), Err(too_long));
        bytes[7] = 0x80;
        let flags = FrameError::Flags { kind, flags: 0x8000 };
        assert_eq!(FrameHeader::decode(&bytes), Err(flags));
        for kind in [0, 10, 32, u16::MAX] {
            bytes[4..6].copy_from_slice(&kind.to_le_bytes());
            assert_eq!(FrameHeader::decode(&bytes), Err(FrameError::Kind(kind)));
        }
    }

    #[test]
    fn errors_are_for_people() {
        let problem = FrameHeader::decode(&[255; FRAME_HEADER]).expect_err("no kind");
        assert_eq!(problem.to_string(), "a frame of kind 65535, which version 4 does not have");
        let flags = FrameError::Flags { kind: Kind::Used, flags: 1 };
        assert!(flags.to_string().starts_with("a USED frame with the flags 0x0001"));
    }

    proptest! {
        #[test]
        fn what_is_decoded_is_encoded_the_same(
            length in 0..2 * CONTROL_MAX, kind in 0..12_u16, flag: bool, stream: u32,
        ) {
            let mut bytes = FrameHeader { length, kind: Kind::Hello, stream }.encode();
            bytes[4..6].copy_from_slice(&kind.to_le_bytes());
            bytes[6] = u8::from(flag);
            match FrameHeader::decode(&bytes) {
                Ok(header) => prop_assert_eq!(header.encode(), bytes),
                Err(_) => prop_assert!(length > CONTROL_MAX || !(1..=9).contains(&kind) || flag),
            }
        }
    }
}
