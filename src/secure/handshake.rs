//! The part of a TLS handshake that needs no cryptography: whole records are collected, and a worker does the rest.

use rustls::ServerConnection;

use crate::job::Flight;
use crate::limits::HANDSHAKE_BYTES_MAX;

/// Bytes of a TLS record's header: type, version, length (RFC 8446, 5.1).
const RECORD_HEADER: usize = 5;

/// The first bytes of a connection that tell the doors apart: those of a record of type handshake (22), of a version 3,
/// whose message is a `ClientHello` (1).
const CLIENT_HELLO: usize = RECORD_HEADER + 1;

/// What the first bytes of a connection say about the door that it wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knock {
    /// It begins a TLS handshake.
    Secure,
    /// It does not.
    Classic,
    /// More bytes are needed.
    Open,
}

impl Knock {
    /// Looks at the first bytes. No id that we give out begins with hex 16.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let is_hello = |(at, &byte): (usize, &u8)| match at {
            0 => byte == 22,
            1 => byte == 3,
            5 => byte == 1,
            _ => true,
        };
        if !bytes.iter().enumerate().take(CLIENT_HELLO).all(is_hello) {
            Self::Classic
        } else if bytes.len() < CLIENT_HELLO {
            Self::Open
        } else {
            Self::Secure
        }
    }
}

/// A handshake that is not complete.
pub(super) enum Handshake {
    /// The peer's turn.
    Receiving(Receiving),
    /// A worker computes our next flight. So many bytes came before.
    Computing { bytes: usize },
}

/// What has come of the peer's flight.
#[derive(Default)]
pub(super) struct Receiving {
    /// Nothing before the first flight: a worker makes it.
    tls: Option<Box<ServerConnection>>,
    records: Vec<u8>,
    /// All bytes of the handshake so far.
    bytes: usize,
}

/// The peer sent more than any handshake needs.
#[derive(Debug)]
pub(super) struct TooLong;

impl Default for Handshake {
    fn default() -> Self {
        Self::Receiving(Receiving::default())
    }
}

impl Handshake {
    /// The peer's turn again.
    pub(super) fn goes_on(&mut self, tls: Box<ServerConnection>) {
        if let Self::Computing { bytes } = *self {
            *self = Self::Receiving(Receiving { tls: Some(tls), records: Vec::new(), bytes });
        }
    }

    pub(super) fn is_computing(&self) -> bool {
        matches!(self, Self::Computing { .. })
    }

    /// Whether the peer's flight is not whole yet.
    pub(super) fn wants_bytes(&self) -> bool {
        matches!(self, Self::Receiving(_)) && !self.is_whole()
    }

    /// Whether [`Handshake::take`] would give whole records, and only those.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Self::Receiving(Receiving { records, .. }) => {
                !records.is_empty() && whole_records(records) == records.len()
            }
            Self::Computing { .. } => false,
        }
    }

    /// Takes bytes.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        let Self::Receiving(receiving) = self else { return Ok(()) };
        receiving.bytes += bytes.len();
        if receiving.bytes > HANDSHAKE_BYTES_MAX {
            return Err(TooLong);
        }
        receiving.records.extend_from_slice(bytes);
        Ok(())
    }

    /// The flight, for a worker, which is then awaited.
    pub(super) fn take(&mut self) -> Flight {
        let Self::Receiving(receiving) = std::mem::take(self) else { return Flight::default() };
        *self = Self::Computing { bytes: receiving.bytes };
        Flight { tls: receiving.tls, records: receiving.records }
    }
}

/// Bytes of the whole records at the front.
fn whole_records(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some([_, _, _, high, low]) = bytes.get(at..at + RECORD_HEADER) {
        let end = at + RECORD_HEADER + usize::from(u16::from_be_bytes([*high, *low]));
        if end > bytes.len() {
            break;
        }
        at = end;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_the_door() {
        let hello = [0x16, 3, 1, 0, 200, 1, 0, 0];
        for length in 0..CLIENT_HELLO {
            assert_eq!(Knock::of(&hello[..length]), Knock::Open, "{length} bytes");
        }
        assert_eq!(Knock::of(&hello), Knock::Secure);
        for at in [0, 1, 5] {
            let mut other = hello;
            other[at] ^= 0x40;
            assert_eq!(Knock::of(&other), Knock::Classic, "byte {at}");
        }
        assert_eq!(Knock::of(&[0; 23]), Knock::Classic, "a first registration");
    }

    #[test]
    fn only_whole_records_go_to_a_worker() {
        let flight = [[22, 3, 1, 0, 2, 1, 0].as_slice(), &[20, 3, 3, 0, 1, 1]].concat();
        for cut in 0..flight.len() {
            let mut handshake = Handshake::default();
            handshake.receive(&flight[..cut]).expect("short");
            assert_eq!(handshake.is_whole(), cut == 7, "{cut}");
            handshake.receive(&flight[cut..]).expect("short");
            assert!(handshake.is_whole() && !handshake.wants_bytes());
            assert_eq!(handshake.take().records, flight);
            assert!(handshake.is_computing() && !handshake.is_whole());
        }
    }

    #[test]
    fn a_handshake_without_end_is_refused() {
        let mut handshake = Handshake::default();
        let record = [[22, 3, 3, 0xff, 0xff].as_slice(), &[0; 1000]].concat();
        let refused = (0..20).any(|_| handshake.receive(&record).is_err());
        assert!(refused);
    }
}
