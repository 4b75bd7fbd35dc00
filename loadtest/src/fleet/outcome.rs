//! How things end, and whether that was to be expected.

use std::time::Instant;

use coffer::flow::{Failure, Step};
use coffer_protocol::Dialect;

use super::client::{Client, Upload};
use super::{Fleet, Role, Work};
use crate::limits::TRIES_MAX;
use crate::link::Link;
use crate::stats::Wait;

/// Why something failed.
enum Cause {
    /// The connection was reset by us.
    Reset,
    /// The server was killed by us.
    Outage,
    /// The server would not wait any longer for a client that was slow on purpose.
    CutOff,
    /// Nobody ordered it.
    Unexpected,
}

impl Fleet {
    /// A client has a session key, as it was told to get.
    pub(super) fn identified(&mut self, slot: usize) {
        self.identified += 1;
        self.achieved = Instant::now();
        self.clients[slot].work = Work::Idle;
    }

    /// A file is acknowledged.
    pub(super) fn stored(&mut self, slot: usize, now: Instant, link: Option<&mut Link>) {
        let client = &mut self.clients[slot];
        let Work::Upload(upload) = client.work else { return };
        let content = self.ledger.content(client.account, upload.file);
        self.ledger.account_mut(client.account).acknowledged.push(upload.file);
        client.since.acknowledged(now, &mut self.stats);
        self.achieved = now;
        if client.role == Role::Good {
            self.last_file = now;
            self.stats.counters.add_file(client.session.dialect(), content.size());
            self.stats.record(Wait::File, now.saturating_duration_since(upload.intended));
        } else {
            self.stats.counters.trickled += 1;
        }
        self.file_over(slot, now, link);
    }

    /// The server's checksum of what was sent differs from the content's.
    pub(super) fn mismatched(&mut self, slot: usize) {
        let client = &self.clients[slot];
        if matches!(client.work, Work::Upload(Upload { corrupt: true, .. })) {
            self.stats.counters.mismatches += 1;
        } else {
            let name = self.ledger.name(client.account);
            self.stats.error(format!("{name}: the server's checksum of a sound content was wrong"));
        }
    }

    /// The server closed a connection between two files, and the session makes another.
    pub(super) fn reconnecting(&mut self, slot: usize) {
        if self.outages.touch(self.clients[slot].connected_in) {
            self.stats.counters.interrupted += 1;
        } else {
            self.stats.error("the server closed a connection between two files".to_owned());
        }
    }

    /// What a client had in hand failed.
    pub(super) fn failed(&mut self, slot: usize, failure: Failure, now: Instant) {
        let client = &mut self.clients[slot];
        client.since.clear();
        let cause = cause(client, failure, |then| self.outages.touch(then));
        let counters = &mut self.stats.counters;
        match cause {
            Cause::Reset => counters.resets += 1,
            Cause::Outage => counters.interrupted += 1,
            Cause::CutOff => counters.cut_off += 1,
            Cause::Unexpected => self.stats.error(failure.to_string()),
        }
        let client = &mut self.clients[slot];
        let Work::Upload(upload) = &mut client.work else {
            return self.retry_later(slot, now);
        };
        upload.reset = false;
        let tries = upload.tries;
        if matches!(failure, Failure::Lost(Step::Confirming)) {
            // It may be stored: sending it again could only be refused for that.
            self.stats.counters.in_doubt += 1;
        } else if tries >= TRIES_MAX {
            self.stats.counters.abandoned += 1;
        } else if client.role == Role::Good {
            return self.retry_later(slot, now);
        }
        client.work = Work::Idle;
        self.retry_later(slot, now);
    }

    /// A file is through, well or not.
    fn file_over(&mut self, slot: usize, now: Instant, mut link: Option<&mut Link>) {
        let client = &mut self.clients[slot];
        client.work = Work::Idle;
        let last = self.plan.files.is_some_and(|files| client.files >= files);
        if self.plan.sessions && last && client.role == Role::Good {
            let all = self.ledger.accounts()[client.account].acknowledged.len() as u32;
            if all == client.files {
                let time = now.saturating_duration_since(client.session_intended);
                self.stats.record(Wait::Session, time);
                self.stats.counters.sessions += 1;
            }
            self.leave(slot, link.as_deref_mut());
            link = None;
        }
        if self.plan.think.is_zero() {
            self.next_turn(slot, now, link);
        } else {
            self.pause(slot, now + self.plan.think);
        }
    }
}

fn cause(client: &Client, failure: Failure, was_down: impl Fn(u32) -> bool) -> Cause {
    let lost = matches!(failure, Failure::Lost(_));
    let refused = matches!(failure, Failure::Refused(_));
    // Session keys of d1100 outlive a connection, but not the server.
    let key_gone = client.session.dialect() == Dialect::D1100 && was_down(client.keyed_in);
    match client.work {
        Work::Upload(Upload { reset: true, .. }) if lost => Cause::Reset,
        _ if lost && was_down(client.connected_in) => Cause::Outage,
        _ if refused && key_gone => Cause::Outage,
        Work::Upload(_) if client.role != Role::Good && (lost || refused) => Cause::CutOff,
        _ => Cause::Unexpected,
    }
}
