//! How much one address, and everybody together, may have under way. Pure counting; the numbers are in
//! [`limits`](crate::limits) and, where an operator needs it, in the configuration.

use std::collections::HashMap;
use std::net::IpAddr;

use super::expiring::Expiring;
use super::refusal::Reason;
use crate::limits::{ADDRESSES_MAX, REGISTRATIONS_PER_MINUTE, REOPEN_PERCENT, WINDOW};
use crate::moment::Moment;

/// The bounds that an operator can set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// Connections of one address at the same time.
    pub connections_per_address: usize,
    /// Registrations of one address in a minute. `None`: [`REGISTRATIONS_PER_MINUTE`], and none for this machine's own.
    pub registrations_per_minute: Option<u32>,
    /// Uploads whose content is arriving.
    pub uploads: usize,
    /// Those among them that have a file open.
    pub open_files: usize,
}

/// What is under way.
pub struct Admission {
    quotas: Quotas,
    addresses: HashMap<IpAddr, Address>,
    registrations: Expiring<IpAddr, u32>,
    uploads: usize,
    open_files: usize,
}

#[derive(Default)]
struct Address {
    connections: usize,
    /// At its limit, until enough of its connections are gone.
    full: bool,
}

impl Admission {
    pub(super) fn new(quotas: Quotas) -> Self {
        Self {
            quotas,
            addresses: HashMap::new(),
            registrations: Expiring::new(WINDOW, ADDRESSES_MAX),
            uploads: 0,
            open_files: 0,
        }
    }

    /// Counts a new connection; `false` if its address has too many. It is counted all the same.
    pub fn enter(&mut self, peer: IpAddr) -> bool {
        let limit = self.quotas.connections_per_address;
        let address = self.addresses.entry(peer).or_default();
        let room_below = if address.full { (limit * REOPEN_PERCENT).div_ceil(100) } else { limit };
        address.full = address.connections >= room_below;
        address.connections += 1;
        !address.full
    }

    /// A connection is gone.
    pub fn leave(&mut self, peer: IpAddr) {
        if let Some(address) = self.addresses.get_mut(&peer) {
            address.connections -= 1;
            if address.connections == 0 {
                self.addresses.remove(&peer);
            }
        }
    }

    /// Counts a registration.
    ///
    /// # Errors
    /// If this address had too many of them in a minute.
    pub fn register(&mut self, peer: IpAddr, now: Moment) -> Result<(), Reason> {
        let limit = match self.quotas.registrations_per_minute {
            Some(limit) => limit,
            None if peer.is_loopback() => return Ok(()),
            None => REGISTRATIONS_PER_MINUTE,
        };
        match self.registrations.get_mut(&peer, now) {
            Some(count) if *count >= limit => {
                return Err(Reason::Limit(
                    "too many registrations came from this address in a minute",
                ));
            }
            Some(count) => *count += 1,
            None => {
                self.registrations.insert(peer, 1, now);
            }
        }
        Ok(())
    }

    /// Counts an upload; `with_file` if its content goes to an open file.
    pub(super) fn begin_upload(&mut self, with_file: bool) -> Result<(), Reason> {
        if self.uploads >= self.quotas.uploads {
            return Err(Reason::Limit("too many uploads are under way"));
        }
        if with_file && self.open_files >= self.quotas.open_files {
            return Err(Reason::Limit(
                "too many large uploads are under way for the files that may be open",
            ));
        }
        self.uploads += 1;
        self.open_files += usize::from(with_file);
        Ok(())
    }

    /// Uploads, those with an open file, and connections.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        let connections = self.addresses.values().map(|address| address.connections).sum();
        (self.uploads, self.open_files, connections)
    }

    /// The content of an upload is complete, or will never be.
    pub(super) fn end_upload(&mut self, with_file: bool) {
        self.uploads -= 1;
        self.open_files -= usize::from(with_file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    fn admission(registrations_per_minute: Option<u32>) -> Admission {
        let quotas = Quotas {
            connections_per_address: 10,
            registrations_per_minute,
            uploads: 3,
            open_files: 1,
        };
        Admission::new(quotas)
    }

    #[test]
    fn an_address_at_its_limit_waits_until_it_is_at_nine_tenths() {
        let mut admission = admission(None);
        assert!((0..10).all(|_| admission.enter(THERE)));
        assert!(!admission.enter(THERE));
        assert!(admission.enter(HERE), "another address does not notice");
        admission.leave(THERE);
        admission.leave(THERE);
        assert!(!admission.enter(THERE), "nine of ten are too many yet");
        (0..3).for_each(|_| admission.leave(THERE));
        assert!(admission.enter(THERE));
    }

    #[test]
    fn addresses_without_connections_are_forgotten() {
        let mut admission = admission(None);
        admission.enter(THERE);
        admission.leave(THERE);
        assert!(admission.addresses.is_empty());
    }

    #[test]
    fn registrations_are_counted_by_address_and_minute() {
        let mut admission = admission(Some(2));
        for now in [Moment(0), Moment(10)] {
            assert!(admission.register(HERE, now).is_ok());
        }
        assert!(admission.register(HERE, Moment(20)).is_err());
        assert!(admission.register(THERE, Moment(20)).is_ok());
        assert!(admission.register(HERE, Moment(0) + WINDOW).is_ok(), "a minute later");
    }

    #[test]
    fn this_machine_registers_without_bound_unless_told_otherwise() {
        let mut admission = admission(None);
        let mut accepted =
            |peer| (0..10_000).filter(|_| admission.register(peer, Moment(0)).is_ok()).count();
        assert_eq!((accepted(HERE), accepted(THERE)), (10_000, REGISTRATIONS_PER_MINUTE as usize));
    }

    #[test]
    fn uploads_and_their_files_are_counted() {
        let mut admission = admission(None);
        assert!(admission.begin_upload(true).is_ok());
        assert!(admission.begin_upload(true).is_err(), "one file");
        assert!(admission.begin_upload(false).is_ok());
        assert!(admission.begin_upload(false).is_ok());
        assert!(admission.begin_upload(false).is_err(), "three uploads");
        admission.end_upload(true);
        assert!(admission.begin_upload(true).is_ok());
    }
}
