//! The stable numbers of errors.

use minicbor::decode::{self, Decode, Decoder};
use minicbor::encode::{self, Encode, Encoder, Write};

/// What an ERROR is about. Numbers keep their meaning for ever; those that a program does not know are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorCode {
    /// 1: the bytes are no message, or one that is not allowed here.
    BadRequest,
    /// 2: no version is common to both.
    UnsupportedVersion,
    /// 3: the key is nobody's.
    NotEnrolled,
    /// 4: the invitation is unknown, used or expired; which of these is not told.
    BadCode,
    /// 5: the name belongs to somebody else by now.
    NameTaken,
    /// 6: the key was revoked.
    Revoked,
    /// 7: too many of something at once, or in a while.
    TooMany,
    /// 8: a deadline has passed.
    TooSlow,
    /// 9: the server's own fault.
    Internal,
    /// 10: the server is about to stop.
    ShuttingDown,
    /// Any other number.
    Other(u16),
}

impl ErrorCode {
    /// All codes that have a name.
    pub const NAMED: [Self; 10] = [
        Self::BadRequest,
        Self::UnsupportedVersion,
        Self::NotEnrolled,
        Self::BadCode,
        Self::NameTaken,
        Self::Revoked,
        Self::TooMany,
        Self::TooSlow,
        Self::Internal,
        Self::ShuttingDown,
    ];

    /// The code's number on the wire.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::BadRequest => 1,
            Self::UnsupportedVersion => 2,
            Self::NotEnrolled => 3,
            Self::BadCode => 4,
            Self::NameTaken => 5,
            Self::Revoked => 6,
            Self::TooMany => 7,
            Self::TooSlow => 8,
            Self::Internal => 9,
            Self::ShuttingDown => 10,
            Self::Other(number) => number,
        }
    }

    /// The code of a number.
    #[must_use]
    pub fn of_number(number: u16) -> Self {
        let named = Self::NAMED.into_iter().find(|code| code.number() == number);
        named.unwrap_or(Self::Other(number))
    }
}

impl<Ctx> Encode<Ctx> for ErrorCode {
    fn encode<W: Write>(
        &self,
        encoder: &mut Encoder<W>,
        _: &mut Ctx,
    ) -> Result<(), encode::Error<W::Error>> {
        encoder.u16(self.number())?.ok()
    }
}

impl<'b, Ctx> Decode<'b, Ctx> for ErrorCode {
    fn decode(decoder: &mut Decoder<'b>, _: &mut Ctx) -> Result<Self, decode::Error> {
        decoder.u16().map(Self::of_number)
    }
}
