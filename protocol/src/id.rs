//! The 16 bytes by which a client is known on the wire.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use uuid::{Builder, Uuid};

/// A client's id: the 16 raw bytes of a version 4 UUID, as they stand in every header.
///
/// Printed and parsed as 32 lower-case hex digits, the form that `me.info` and the listings use.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ClientId(pub [u8; 16]);

impl ClientId {
    /// What a client that has no id yet puts in its registration request. Servers accept any value there.
    pub const NONE: Self = Self([0; 16]);

    /// Makes an id from 16 random bytes, or nothing if the result could not be given to a classic client.
    /// About one draw in eight is refused; draw again.
    #[must_use]
    pub fn from_random(bytes: [u8; 16]) -> Option<Self> {
        let id = Self(Builder::from_random_bytes(bytes).into_uuid().into_bytes());
        id.is_safe_on_the_wire().then_some(id)
    }

    /// Whether this id survives every classic client and every door of the server.
    ///
    /// * A byte `00` cuts the id short in the d1100 client, which then reads stray memory.
    /// * A byte `0a` ends the id's line in the `me.info` of the d1100 client.
    /// * A first byte of hex 16 would look like the first byte of a TLS handshake.
    #[must_use]
    pub fn is_safe_on_the_wire(&self) -> bool {
        self.0[0] != 0x16 && !self.0.iter().any(|&byte| byte == 0x00 || byte == 0x0a)
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes(self.0).as_simple().fmt(f)
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientId({self})")
    }
}

/// The text is not 32 hex digits.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("a client id is 32 hex digits")]
pub struct ParseClientIdError;

impl FromStr for ClientId {
    type Err = ParseClientIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 32 {
            return Err(ParseClientIdError);
        }
        Uuid::try_parse(text).map(|id| Self(id.into_bytes())).map_err(|_| ParseClientIdError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_are_version_4_and_safe() {
        let id = ClientId::from_random([0xff; 16]).expect("no forbidden byte");
        assert_eq!(id.to_string(), "ffffffffffff4fffbfffffffffffffff");
        assert_eq!(ClientId::from_random([0x16; 16]), None, "looks like TLS");
        for forbidden in [0x00, 0x0a] {
            let mut bytes = [0x77; 16];
            bytes[15] = forbidden;
            assert_eq!(ClientId::from_random(bytes), None);
        }
        let mut inside = [0x77; 16];
        inside[5] = 0x16;
        assert!(ClientId::from_random(inside).is_some(), "hex 16 is only refused in front");
    }

    #[test]
    fn text_form_goes_both_ways() {
        let text = "0123456789abcdef0123456789abcdef";
        assert_eq!(text.parse::<ClientId>().expect("32 hex digits").to_string(), text);
        for bad in ["", "0123", "01234567-89ab-cdef-0123-456789abcdef", &"g".repeat(32)] {
            assert_eq!(bad.parse::<ClientId>(), Err(ParseClientIdError), "{bad}");
        }
    }
}
