//! The event loop: carries out what the fleet wishes, on the server's own shell.

use std::cmp::Reverse;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use cofferd::moment::Moment;
use cofferd::reactor::shell::Shell;
use mio::{Events, Poll, Token, Waker};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::fleet::Fleet;
use crate::keys::{Keys, Openers};
use crate::limits::{CONNECTING_MAX, ERRORS_MAX, STUCK_MAX};
use crate::link::Link;
use crate::process::Usage;
use crate::progress::Progress;
use crate::server::Server;
use crate::socket::Connector;

const WAKE: Token = Token(0);
const FIRST_CONNECTION: usize = 1;
/// Events taken from the kernel at a time.
const EVENTS: usize = 1024;

/// The loop and everything that it drives.
pub(crate) struct Engine {
    pub(crate) fleet: Fleet,
    pub(crate) server: Option<Server>,
    poll: Poll,
    shell: Shell<Link>,
    openers: Openers,
    connector: Connector,
    progress: Progress,
    /// Somebody wants us to stop. Our server must not be left behind then.
    interrupted: Arc<AtomicBool>,
}

impl Engine {
    /// Over a fleet, to a server. `ours`: the server, if we started it.
    ///
    /// # Errors
    /// If the system refuses a poll.
    pub(crate) fn new(
        fleet: Fleet,
        keys: &Keys,
        address: SocketAddr,
        ours: Option<Server>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let interrupted = Arc::default();
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
        }
        let openers = Openers::start(keys, Waker::new(poll.registry(), WAKE)?);
        Ok(Self {
            fleet,
            server: ours,
            poll,
            shell: Shell::default(),
            openers,
            connector: Connector::new(address),
            progress: Progress::start(),
            interrupted,
        })
    }

    /// Runs until `done`. `what` stands before the progress line.
    ///
    /// # Errors
    /// If the system fails, the killed server does not start again, nothing is achieved for [`STUCK_MAX`], there are
    /// more than [`ERRORS_MAX`] errors, or a signal comes.
    pub(crate) fn run_until(
        &mut self,
        what: &'static str,
        done: impl Fn(&Fleet, Instant) -> bool,
    ) -> anyhow::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        self.fleet.achieved = Instant::now();
        loop {
            let now = Instant::now();
            if now >= self.fleet.stats.next_sample(now) {
                self.sample(what, now)?;
            }
            if done(&self.fleet, now) {
                self.progress.clear();
                return Ok(());
            }
            self.check(now)?;
            match self.poll.poll(&mut events, Some(self.timeout(now))) {
                Err(error) if error.kind() != ErrorKind::Interrupted => {
                    return Err(error).context("cannot wait for events");
                }
                _ => {}
            }
            for event in &events {
                if let Some(slot) = event.token().0.checked_sub(FIRST_CONNECTION) {
                    self.shell.note(slot, event, &mut self.fleet);
                }
            }
            self.turn();
        }
    }

    /// Calls the fleet about a client, with its connection if that stands.
    pub(crate) fn with_client(
        &mut self,
        slot: usize,
        call: impl FnOnce(&mut Fleet, Option<&mut Link>),
    ) {
        match self.fleet.clients[slot].connection {
            Some(connection) => self.shell.with(connection, &mut self.fleet, |link, cx| {
                call(cx.fleet, Some(link));
            }),
            None => call(&mut self.fleet, None),
        }
    }

    /// Takes a sample at once.
    pub(crate) fn sample_now(&mut self) -> Option<Usage> {
        let usage = self.server.as_ref().and_then(Server::usage);
        self.fleet.stats.sample(Instant::now(), self.fleet.connections, usage);
        usage
    }

    /// Everything that is due, once.
    fn turn(&mut self) {
        for opened in self.openers.take() {
            self.with_client(opened.slot, |fleet, link| fleet.opened(opened, link));
        }
        self.shell.read_ready(&mut self.fleet);
        let now = Instant::now();
        let moment = Moment(now.saturating_duration_since(self.fleet.start).as_millis() as u64);
        self.shell.expire(moment, &mut self.fleet);
        while let Some((slot, intended)) = self.fleet.next_starter(now) {
            self.with_client(slot, |fleet, link| fleet.begin(slot, intended, link));
        }
        while let Some(Reverse((at, slot))) = self.fleet.wishes.pauses.peek().copied()
            && at <= now
        {
            self.fleet.wishes.pauses.pop();
            self.with_client(slot, |fleet, link| fleet.go_on(slot, now, link));
        }
        self.connect();
        for sealed in self.fleet.wishes.keys.drain(..) {
            self.openers.open(sealed);
        }
    }

    /// Begins connections that are wanted, as many as may be under way.
    fn connect(&mut self) {
        for _ in 0..self.fleet.wishes.connects.len() {
            if self.fleet.making >= CONNECTING_MAX {
                return;
            }
            let Some(slot) = self.fleet.wishes.connects.pop_front() else { return };
            let resets = self.fleet.wants_reset(slot);
            let now = Instant::now();
            let moment = Moment(now.saturating_duration_since(self.fleet.start).as_millis() as u64);
            let link = Link::new(slot, resets, self.fleet.plan.trickle_pause, moment);
            let registry = self.poll.registry();
            let added = self.connector.connect(resets).and_then(|stream| {
                self.shell.add_connecting(registry, FIRST_CONNECTION, stream, link)
            });
            match added {
                Ok(connection) => self.fleet.connecting(slot, connection, now),
                Err(error) => self.fleet.cannot_connect(slot, &error),
            }
        }
    }

    fn timeout(&self, now: Instant) -> Duration {
        let connects = !self.fleet.wishes.connects.is_empty() && self.fleet.making < CONNECTING_MAX;
        if self.shell.is_ready() || connects {
            return Duration::ZERO;
        }
        let pause = self.fleet.wishes.pauses.peek().map(|Reverse((at, _))| *at);
        // A millisecond more than the clock's grain, so that the timer has come when we wake.
        let timer = self
            .shell
            .next_timer()
            .map(|Moment(ms)| self.fleet.start + Duration::from_millis(ms + 1));
        let sample = Some(self.fleet.stats.next_sample(now));
        let next = [pause, timer, self.fleet.next_arrival(), sample].into_iter().flatten().min();
        next.map_or(Duration::ZERO, |next| next.saturating_duration_since(now))
    }

    fn sample(&mut self, what: &str, now: Instant) -> anyhow::Result<()> {
        if let Some(server) = &mut self.server {
            server.check()?;
        }
        self.sample_now();
        self.progress.show(what, &self.fleet, now);
        Ok(())
    }

    fn check(&self, now: Instant) -> anyhow::Result<()> {
        let fleet = &self.fleet;
        let first_error = || {
            let first = fleet.stats.errors().keys().next();
            first.map_or_else(String::new, |error| format!("; for example: {error}"))
        };
        if self.interrupted.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        if fleet.stats.counters.errors > ERRORS_MAX {
            bail!("more than {ERRORS_MAX} errors{}", first_error());
        }
        if now.saturating_duration_since(fleet.achieved) > STUCK_MAX {
            bail!("nothing was achieved for {} s{}", STUCK_MAX.as_secs(), first_error());
        }
        Ok(())
    }
}
