//! What a client does next, and when.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use coffer::flow::Input;
use coffer_protocol::encode::encrypted_size;

use super::client::Upload;
use super::{Arrivals, Fleet, Role, Work};
use crate::content::{Draw, is_drawn};
use crate::ledger::file_name;
use crate::limits::RETRY_PAUSE;
use crate::link::Link;

impl Fleet {
    /// Has a client register, or reconnect if it is registered.
    pub(crate) fn identify(&mut self, slot: usize, link: Option<&mut Link>) {
        let client = &mut self.clients[slot];
        client.work = Work::Identify;
        client.session.handle(Input::Identify);
        self.pump(slot, link);
    }

    /// Has a client connect and say nothing.
    pub(crate) fn connect_only(&mut self, slot: usize) {
        self.wishes.connects.push_back(slot);
    }

    /// Has a client close its connection; it will reconnect for what comes next.
    pub(crate) fn hang_up(&mut self, slot: usize, link: Option<&mut Link>) {
        self.clients[slot].session.handle(Input::Abandon);
        self.pump(slot, link);
    }

    /// The clock starts: clients begin, or starts begin to come.
    pub(crate) fn start_clock(&mut self, now: Instant) {
        self.stats.start_clock();
        (self.achieved, self.last_file) = (now, now);
        self.end = self.plan.duration.map(|duration| now + duration);
        if let Some(rate) = self.plan.rate {
            let each = if self.plan.sessions { 1 } else { self.plan.files.unwrap_or(1) };
            let total = self.clients.len() as u64 * u64::from(each);
            let total =
                (self.plan.duration.is_none() || self.plan.files.is_some()).then_some(total);
            let total = total.filter(|_| !(self.plan.sessions && self.plan.duration.is_some()));
            self.arrivals = Some(Arrivals::new(now, rate, total, self.plan.duration));
        }
        let count = self.clients.len() as u32;
        for slot in 0..self.clients.len() {
            let by_rate = self.arrivals.is_some() && self.clients[slot].role == Role::Good;
            if by_rate {
                self.free.push_back(slot);
                continue;
            }
            self.pending += usize::from(self.is_waited_for(slot));
            self.pause(slot, now + self.plan.ramp * slot as u32 / count);
        }
    }

    /// Whether the run waits for this client: for the good ones, or else for the trickling ones.
    fn is_waited_for(&self, slot: usize) -> bool {
        match self.clients[slot].role {
            Role::Good => true,
            Role::Trickler => !self.has_good,
            Role::Staller => false,
        }
    }

    /// Whether everything that was ordered is done.
    pub(crate) fn is_done(&self) -> bool {
        self.pending == 0 && self.arrivals.as_ref().is_none_or(Arrivals::is_over)
    }

    /// When the next start is due.
    pub(crate) fn next_arrival(&self) -> Option<Instant> {
        self.arrivals.as_ref()?.next()
    }

    /// Takes note of the starts that are due and returns a client for the oldest one, if one is free.
    pub(crate) fn next_starter(&mut self, now: Instant) -> Option<(usize, Instant)> {
        let arrivals = self.arrivals.as_mut()?;
        arrivals.advance(now);
        if !arrivals.is_waiting() {
            return None;
        }
        // Who was free longest goes first, so that all of them get their turn.
        let slot = self.free.pop_front()?;
        let intended = arrivals.take()?;
        self.pending += 1;
        Some((slot, intended))
    }

    /// Lets a client go on at a moment.
    pub(super) fn pause(&mut self, slot: usize, until: Instant) {
        self.wishes.pauses.push(Reverse((until, slot)));
    }

    /// Lets a client try again in a while.
    pub(super) fn retry_later(&mut self, slot: usize, now: Instant) {
        let spread = Duration::from_millis(slot as u64 % RETRY_PAUSE.as_millis() as u64);
        self.pause(slot, now + RETRY_PAUSE + spread);
    }

    /// A client's pause is over.
    pub(crate) fn go_on(&mut self, slot: usize, now: Instant, link: Option<&mut Link>) {
        match self.clients[slot].work {
            Work::Idle => self.next_turn(slot, now, link),
            Work::Identify => self.identify(slot, link),
            Work::Upload(_) => self.send_file(slot, link),
            Work::Retired => {}
        }
    }

    /// A client has nothing in hand: gives it the next thing to do.
    pub(super) fn next_turn(&mut self, slot: usize, now: Instant, link: Option<&mut Link>) {
        let client = &self.clients[slot];
        let good = client.role == Role::Good;
        let files_left = self.plan.files.is_none_or(|files| client.files < files);
        if self.plan.sessions && good && client.files > 0 && files_left {
            return self.begin_file(slot, now, link); // of the same session
        }
        if good && self.arrivals.is_some() {
            self.pending -= 1;
            self.free.push_back(slot);
            return;
        }
        let over = self.end.is_some_and(|end| now >= end);
        // Without a duration, each place has one session.
        let another = !self.plan.sessions || self.plan.duration.is_some() || client.files == 0;
        // Whom nobody waits for goes on until the others are done.
        let through = self.is_waited_for(slot) && !(another && (self.plan.sessions || files_left));
        if over || through {
            self.retire(slot);
        } else {
            self.begin(slot, now, link);
        }
    }

    /// A client is through. Its connection stays: idle ones are part of the load.
    fn retire(&mut self, slot: usize) {
        self.pending -= usize::from(self.is_waited_for(slot));
        self.clients[slot].work = Work::Retired;
    }

    /// Begins a file, or a session with its first file.
    pub(crate) fn begin(&mut self, slot: usize, intended: Instant, link: Option<&mut Link>) {
        let role = self.clients[slot].role;
        if self.plan.sessions && self.clients[slot].files > 0 && role == Role::Good {
            self.clients[slot] = self.new_client(role, intended);
        }
        self.clients[slot].session_intended = intended;
        self.begin_file(slot, intended, link);
    }

    /// Begins a client's next file.
    pub(super) fn begin_file(&mut self, slot: usize, intended: Instant, link: Option<&mut Link>) {
        let seed = self.ledger.seed;
        let client = &mut self.clients[slot];
        let (account, file) = (client.account, client.files);
        client.files += 1;
        let drawn = |what, fraction| is_drawn(seed, account, file, what, fraction);
        let good = client.role == Role::Good;
        let reset = good && drawn(Draw::Reset, self.plan.reset);
        let upload = Upload {
            file,
            intended,
            corrupt: good && drawn(Draw::Corrupt, self.plan.corrupt),
            reset,
            tries: 0,
        };
        client.work = Work::Upload(upload);
        if reset || drawn(Draw::Reconnect, self.plan.reconnect) {
            client.session.handle(Input::Abandon);
        }
        self.send_file(slot, link);
    }

    /// Sends the file that a client has in hand, for the first time or again.
    fn send_file(&mut self, slot: usize, link: Option<&mut Link>) {
        let client = &mut self.clients[slot];
        let Work::Upload(upload) = &mut client.work else { return };
        upload.tries += 1;
        let size = self.ledger.content(client.account, upload.file).size();
        let encrypted_size = encrypted_size(client.session.dialect(), size)
            .expect("sizes were checked when the run began");
        let file = file_name(upload.file);
        client.session.handle(Input::Upload(coffer::flow::Upload { file, encrypted_size }));
        self.pump(slot, link);
    }
}
