//! One connection of a client, as the shell drives it.

use std::time::Duration;

use cofferd::buffer::{Buffer, Pool};
use cofferd::moment::Moment;
use cofferd::reactor::shell::Machine;

use crate::fleet::Fleet;
use crate::limits::PATIENCE;
use crate::outgoing::Outgoing;

/// What a link is lent while it decides.
pub(crate) struct Surroundings<'a> {
    pub(crate) fleet: &'a mut Fleet,
    pub(crate) pool: &'a mut Pool,
    pub(crate) now: Moment,
}

/// One connection. What the bytes mean is decided by its client's session, in the [`Fleet`].
pub(crate) struct Link {
    /// The client's slot.
    pub(crate) slot: usize,
    pub(crate) out: Outgoing,
    /// A content that stops in its middle ends with a reset.
    resets: bool,
    trickle_pause: Duration,
    /// When the next byte of a trickling content may go.
    trickle_next: Moment,
    /// Since when nothing was received.
    silent_since: Moment,
    /// Something was sent since then.
    progressed: bool,
    now: Moment,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    Open,
    /// Its client is through with it.
    Detached,
    /// The connection is gone, and its client does not know yet.
    Broken,
}

impl Link {
    pub(crate) fn new(slot: usize, resets: bool, trickle_pause: Duration, now: Moment) -> Self {
        Self {
            slot,
            out: Outgoing::default(),
            resets,
            trickle_pause,
            trickle_next: now,
            silent_since: now,
            progressed: false,
            now,
            state: State::Open,
        }
    }

    /// The client is through with this connection: it is closed, and its end is no news. False if that was so before.
    pub(crate) fn detach(&mut self) -> bool {
        self.out = Outgoing::default();
        std::mem::replace(&mut self.state, State::Detached) != State::Detached
    }

    fn is_cut(&self) -> bool {
        self.resets && self.out.is_stopped()
    }

    fn heard(&mut self, now: Moment) {
        (self.now, self.silent_since, self.progressed) = (now, now, false);
    }
}

impl Machine for Link {
    type Context<'a> = Surroundings<'a>;

    fn connected(&mut self, cx: &mut Surroundings<'_>) {
        self.heard(cx.now);
        cx.fleet.connected(self);
    }

    fn wants_input(&self) -> bool {
        self.state == State::Open
    }

    fn prepare(&mut self, _: &mut Buffer) {}

    fn receive(&mut self, cx: &mut Surroundings<'_>, buffer: Buffer, received: usize) {
        if received > 0 && self.state == State::Open {
            self.heard(cx.now);
            cx.fleet.received(self, buffer.filled());
        }
        cx.pool.give(buffer);
    }

    fn end_of_input(&mut self, _: &mut Surroundings<'_>) {
        self.lost();
    }

    fn lost(&mut self) {
        if self.state == State::Open {
            self.state = State::Broken;
        }
    }

    fn unsent(&mut self) -> &[u8] {
        if self.state == State::Open { self.out.unsent() } else { &[] }
    }

    fn sent(&mut self, count: usize) {
        self.out.sent(count);
        self.progressed = true;
        self.trickle_next = self.now + self.trickle_pause;
    }

    fn ends_output(&self) -> bool {
        false
    }

    fn is_finished(&self) -> bool {
        self.state != State::Open || self.is_cut()
    }

    fn close(&mut self, cx: &mut Surroundings<'_>) {
        if self.state != State::Detached {
            cx.fleet.lost(self);
        }
    }

    fn deadline(&self) -> Option<Moment> {
        if self.out.is_held_back() {
            return Some(self.trickle_next);
        }
        // Who stopped sending on purpose waits for the server to lose its patience.
        (!self.out.is_stopped()).then(|| self.silent_since + PATIENCE)
    }

    fn expire(&mut self, cx: &mut Surroundings<'_>) {
        self.now = cx.now;
        if self.out.is_held_back() {
            self.out.allow_one();
        } else if self.progressed || !cx.fleet.awaits_answer(self.slot) {
            self.heard(cx.now);
        } else {
            self.lost();
        }
    }
}
