//! The two dialects of the classic protocol and what differs between them.

use std::fmt;

use crate::request::{Kind, Verdict};
use crate::{BLOCK, PACKET};

/// One of the two dialects, each named after its first request code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Dialect {
    /// One connection for a whole session, content in self-describing packets, AES-256, POSIX `cksum`.
    D825,
    /// One connection per request, messages padded to 1024 bytes, AES-128 chunk by chunk, a sum of MD5 words.
    D1100,
}

impl Dialect {
    /// The dialect that a request code belongs to, by which a server tells its clients apart.
    #[must_use]
    pub fn of_code(code: u16) -> Option<Self> {
        [Self::D825, Self::D1100].into_iter().find(|dialect| dialect.kind(code).is_some())
    }

    /// What a request code asks for in this dialect.
    #[must_use]
    pub fn kind(self, code: u16) -> Option<Kind> {
        let base = self.number();
        Some(match (self, code) {
            (_, code) if code == base => Kind::Register,
            (_, code) if code == base + 1 => Kind::PublicKey,
            (_, code) if code == base + 2 => Kind::Reconnect,
            (_, code) if code == base + 3 => Kind::File,
            (Self::D825, 900) | (Self::D1100, 1104) => Kind::Verdict(Verdict::Right),
            (Self::D825, 901) | (Self::D1100, 1105) => Kind::Verdict(Verdict::SendingAgain),
            (Self::D825, 902) | (Self::D1100, 1106) => Kind::Verdict(Verdict::GivingUp),
            _ => return None,
        })
    }

    /// The request code for `kind`; the inverse of [`Dialect::kind`].
    #[must_use]
    pub fn code(self, kind: Kind) -> u16 {
        let verdicts = match self {
            Self::D825 => 900,
            Self::D1100 => 1104,
        };
        match kind {
            Kind::Register => self.number(),
            Kind::PublicKey => self.number() + 1,
            Kind::Reconnect => self.number() + 2,
            Kind::File => self.number() + 3,
            Kind::Verdict(Verdict::Right) => verdicts,
            Kind::Verdict(Verdict::SendingAgain) => verdicts + 1,
            Kind::Verdict(Verdict::GivingUp) => verdicts + 2,
        }
    }

    /// The number in the dialect's name: its registration code.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::D825 => 825,
            Self::D1100 => 1100,
        }
    }

    /// The dialect with this number.
    #[must_use]
    pub const fn from_number(number: u16) -> Option<Self> {
        match number {
            825 => Some(Self::D825),
            1100 => Some(Self::D1100),
            _ => None,
        }
    }

    /// Length of the AES session key, in bytes.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::D825 => 32,
            Self::D1100 => 16,
        }
    }

    /// The largest file that can be sent, in bytes.
    ///
    /// d825 counts packets in 16 bits: 65,535 of them, less one byte of padding at least. Both programs of d1100 keep
    /// sizes in signed 32 bits, and the encrypted size is the next multiple of 16, or 16 more.
    #[must_use]
    pub const fn plain_size_max(self) -> u64 {
        match self {
            Self::D825 => (u16::MAX as usize * PACKET - 1) as u64,
            Self::D1100 => (i32::MAX as usize / PACKET * PACKET - BLOCK) as u64,
        }
    }

    /// `length` rounded up to what this dialect pads its messages to, in bytes.
    #[must_use]
    pub const fn padded_len(self, length: usize) -> usize {
        match self {
            Self::D825 => length,
            Self::D1100 => length.next_multiple_of(PACKET),
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_documented_ones() {
        let d825 = [825, 826, 827, 828, 900, 901, 902];
        let d1100 = [1100, 1101, 1102, 1103, 1104, 1105, 1106];
        for (dialect, codes) in [(Dialect::D825, d825), (Dialect::D1100, d1100)] {
            for code in codes {
                assert_eq!(Dialect::of_code(code), Some(dialect));
                assert_eq!(dialect.code(dialect.kind(code).expect("a known code")), code);
            }
        }
        let known = (0..=u16::MAX).filter(|&code| Dialect::of_code(code).is_some()).count();
        assert_eq!(known, 14, "and no others");
    }

    #[test]
    fn size_limits_are_the_documented_ones() {
        assert_eq!(Dialect::D825.plain_size_max(), 67_107_839);
        assert!(Dialect::D1100.plain_size_max() < 1 << 31);
    }
}
