//! Sources that misbehave at the secure door. They are never refused: behind one address there may be neighbours, and an
//! enrolled client among them. They only share a small number of handshakes that are computed at the same time, so that
//! whoever floods the door with bad ones slows down itself and its neighbours, not everybody.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::expiring::Expiring;
use crate::limits::{ADDRESSES_MAX, PENALISED_HANDSHAKES_MAX, PENALTY_MAX, PENALTY_MIN};
use crate::moment::Moment;

/// What a source did. Each adds to its penalty, as OpenSSH's `PerSourcePenalties` do by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offence {
    /// A handshake that failed, or was not finished in time.
    Handshake,
    /// A code that nobody was given.
    BadCode,
    /// Frames that are none.
    Protocol,
}

impl Offence {
    fn penalty(self) -> Duration {
        Duration::from_secs(match self {
            Self::Handshake => 1,
            Self::BadCode | Self::Protocol => 5,
        })
    }
}

/// The right to have a handshake computed. It has to be given back.
#[derive(Debug, PartialEq, Eq)]
pub struct Turn {
    is_penalised: bool,
}

/// Who is penalised until when.
pub struct Penalties {
    sources: Expiring<IpAddr, Moment>,
    computing: usize,
}

impl Default for Penalties {
    fn default() -> Self {
        Self { sources: Expiring::new(PENALTY_MAX, ADDRESSES_MAX), computing: 0 }
    }
}

impl Penalties {
    /// Remembers an offence.
    pub fn penalise(&mut self, peer: IpAddr, offence: Offence, now: Moment) {
        let source = source(peer);
        let until = self.sources.get(&source, now).copied().unwrap_or(now).max(now);
        let until = (until + offence.penalty()).min(now + PENALTY_MAX);
        self.sources.insert(source, until, now);
    }

    /// A turn, if there is one: always for whom is not penalised.
    pub fn begin_handshake(&mut self, peer: IpAddr, now: Moment) -> Option<Turn> {
        let until = self.sources.get(&source(peer), now).copied().unwrap_or(now);
        let is_penalised = until.since(now) >= PENALTY_MIN;
        if is_penalised {
            if self.computing >= PENALISED_HANDSHAKES_MAX {
                return None;
            }
            self.computing += 1;
        }
        Some(Turn { is_penalised })
    }

    /// Takes a turn back.
    #[expect(clippy::needless_pass_by_value, reason = "a turn can be given back once")]
    pub fn end_handshake(&mut self, turn: Turn) {
        self.computing -= usize::from(turn.is_penalised);
    }
}

/// What counts as one source: an address, or the network of 64 bits that an IPv6 host chooses its addresses from.
fn source(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THERE: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 2, 3, 4, 5));
    const NEIGHBOUR: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 9));
    const ELSEWHERE: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 2, 2, 3, 4, 5));

    fn after(offences: usize) -> Penalties {
        let mut penalties = Penalties::default();
        (0..offences).for_each(|_| penalties.penalise(THERE, Offence::BadCode, Moment(0)));
        penalties
    }

    /// Turns that a source gets at the same time, of a hundred that it asks for.
    fn turns(penalties: &mut Penalties, peer: IpAddr, now: Moment) -> usize {
        let turns: Vec<Turn> =
            (0..100).filter_map(|_| penalties.begin_handshake(peer, now)).collect();
        let count = turns.len();
        turns.into_iter().for_each(|turn| penalties.end_handshake(turn));
        count
    }

    #[test]
    fn a_source_that_goes_on_misbehaving_shares_few_turns_with_its_network() {
        assert_eq!(turns(&mut after(1), THERE, Moment(0)), 100, "one slip is free");
        let mut penalties = after(3);
        for peer in [THERE, NEIGHBOUR] {
            assert_eq!(turns(&mut penalties, peer, Moment(0)), PENALISED_HANDSHAKES_MAX);
        }
        assert_eq!(turns(&mut penalties, ELSEWHERE, Moment(0)), 100);
    }

    #[test]
    fn penalties_end() {
        let mut penalties = after(1000);
        let almost = Moment(0) + (PENALTY_MAX - PENALTY_MIN);
        assert_eq!(turns(&mut penalties, THERE, almost), PENALISED_HANDSHAKES_MAX);
        assert_eq!(turns(&mut penalties, THERE, Moment(0) + PENALTY_MAX), 100);
    }
}
