//! The event loop: the only place with sockets. It accepts, drives every connection's machine through the [`shell`],
//! gives jobs to the workers and takes their answers back. It does no cryptography and no IO but the sockets'.

mod completions;
mod listeners;
mod machine;
pub mod shell;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};
use signal_hook_mio::v1_0::Signals;

use crate::buffer::Pool;
use crate::connection::Surroundings;
use crate::door::Door;
use crate::job::{Completion, ConnectionId, Job};
use crate::limits::{DRAIN_MAX, KEPT_FROM_STRANGERS};
use crate::moment::Moment;
use crate::session::{Context, Shared};
use crate::worker::{Answers, Workers};

pub use completions::Completions;
use listeners::Listeners;
use shell::{Host, Shell};

const WAKE: Token = Token(0);
const SIGNALS: Token = Token(1);
const FIRST_LISTENER: usize = 2;
/// Listeners at most; their tokens stand before the connections'.
pub const LISTENERS_MAX: usize = 64;
const FIRST_CONNECTION: usize = FIRST_LISTENER + LISTENERS_MAX;
/// Events taken from the kernel at a time.
const EVENTS: usize = 1024;

impl Answers for Completions {
    fn push(&self, completion: Completion) {
        Self::push(self, completion);
    }
}

/// Why the loop ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Asked to, and everything under way was finished.
    Drained,
    /// Asked to, and this many connections were cut off at the deadline, or at a second signal.
    CutOff(usize),
    /// The catalog failed in a way that forbids to go on.
    Fatal(String),
}

/// The event loop, before it runs.
pub struct Reactor {
    poll: Poll,
    signals: Signals,
    listeners: Listeners,
    shell: Shell<Door>,
    host: ServerHost,
    completions: Arc<Completions>,
    /// The newest connections, oldest first: among them are all that have not said who they are.
    strangers: VecDeque<ConnectionId>,
    strangers_max: usize,
    draining: Option<Moment>,
}

/// What the machines are lent.
struct ServerHost {
    start: Instant,
    now: Moment,
    shared: Shared,
    jobs: Vec<Job>,
}

impl Reactor {
    /// Takes bound sockets and the signals that end the server.
    ///
    /// # Errors
    /// If the system refuses a poll, a waker or a registration.
    pub fn new(
        sockets: Vec<std::net::TcpListener>,
        mut signals: Signals,
        shared: Shared,
        connections_max: usize,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let completions = Arc::new(Completions::new(move || waker.wake()));
        poll.registry().register(&mut signals, SIGNALS, mio::Interest::READABLE)?;
        let listeners = Listeners::new(sockets, poll.registry(), FIRST_LISTENER, connections_max)?;
        let host = ServerHost { start: Instant::now(), now: Moment(0), shared, jobs: Vec::new() };
        Ok(Self {
            poll,
            signals,
            listeners,
            shell: Shell::default(),
            host,
            completions,
            strangers: VecDeque::new(),
            strangers_max: connections_max - KEPT_FROM_STRANGERS.min(connections_max / 8),
            draining: None,
        })
    }

    /// Where workers put their answers.
    #[must_use]
    pub fn completions(&self) -> Arc<Completions> {
        Arc::clone(&self.completions)
    }

    /// Runs until a signal or a fatal error.
    ///
    /// # Errors
    /// If the poll fails, which no peer can cause.
    pub fn run(&mut self, workers: &Workers) -> io::Result<End> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            if let Err(error) = self.poll.poll(&mut events, self.timeout())
                && error.kind() != io::ErrorKind::Interrupted
            {
                return Err(error);
            }
            self.host.now = Moment(self.host.start.elapsed().as_millis() as u64);
            let mut signalled = false;
            for event in &events {
                match event.token() {
                    WAKE => {}
                    SIGNALS => signalled = true,
                    Token(token) if token < FIRST_CONNECTION => {
                        self.listeners.note_ready(token - FIRST_LISTENER);
                    }
                    Token(token) => {
                        self.shell.note(token - FIRST_CONNECTION, event, &mut self.host);
                    }
                }
            }
            if signalled && self.signals.pending().count() > 0 && self.begin_drain() {
                return Ok(End::CutOff(self.shell.len()));
            }
            if let Some(end) = self.turn(workers) {
                return Ok(end);
            }
        }
    }

    /// Everything that is due, once, in an order that lets answers out before new work comes in.
    fn turn(&mut self, workers: &Workers) -> Option<End> {
        for Completion { connection, done } in self.completions.take() {
            self.shell.with(connection, &mut self.host, |machine, cx| machine.complete(cx, done));
        }
        if let Some(error) = self.completions.fatal() {
            return Some(End::Fatal(error));
        }
        self.accept();
        self.shell.read_ready(&mut self.host);
        self.shell.expire(self.host.now, &mut self.host);
        self.host.expire();
        self.host.jobs.drain(..).for_each(|job| workers.dispatch(job));
        self.drained()
    }

    fn accept(&mut self) {
        let now = self.host.now;
        for (stream, peer) in self.listeners.accept(self.shell.len(), now) {
            // Answers are small and waited for.
            let _ = stream.set_nodelay(true);
            let refused = self.host.shared.admit(peer.ip());
            let door = Door::new(peer, now, refused);
            match self.shell.add(self.poll.registry(), FIRST_CONNECTION, stream, door) {
                Ok(id) => self.strangers.push_back(id),
                Err(error) => {
                    self.host.shared.admission.leave(peer.ip());
                    tracing::warn!(%peer, "cannot take the connection: {error}");
                }
            }
        }
        while self.strangers.len() > self.strangers_max
            && let Some(oldest) = self.strangers.pop_front()
        {
            self.shell.with(oldest, &mut self.host, Door::give_way);
        }
    }

    /// A signal: stops accepting and lets running work finish. `true` if that was asked for before.
    fn begin_drain(&mut self) -> bool {
        if self.draining.is_some() {
            return true;
        }
        tracing::info!(connections = self.shell.len(), "stopping: what is under way may finish");
        self.listeners.close(self.poll.registry());
        self.draining = Some(self.host.now + DRAIN_MAX);
        false
    }

    fn drained(&mut self) -> Option<End> {
        let deadline = self.draining?;
        self.shell.with_all(&mut self.host, Door::drain);
        if self.shell.is_empty() {
            return Some(End::Drained);
        }
        (self.host.now >= deadline).then(|| End::CutOff(self.shell.len()))
    }

    /// How long the poll may sleep.
    fn timeout(&self) -> Option<Duration> {
        if self.shell.is_ready() || self.listeners.is_ready(self.shell.len()) {
            return Some(Duration::ZERO);
        }
        let timers = [
            self.shell.next_timer(),
            self.host.shared.next_expiry(),
            self.listeners.next_try(),
            self.draining,
        ];
        let next = timers.into_iter().flatten().min()?;
        // A millisecond more than the clock's grain, so that the timer has come when we wake.
        let now = Moment(self.host.start.elapsed().as_millis() as u64);
        Some(next.since(now) + Duration::from_millis(1))
    }
}

impl ServerHost {
    /// Discards uploads that nobody will judge any more.
    fn expire(&mut self) {
        for upload in self.shared.expire(self.now) {
            let nobody = ConnectionId { slot: u32::MAX, generation: 0 };
            self.jobs.push(Job { connection: nobody, work: crate::job::Work::Discard(upload) });
        }
    }
}

impl Host<Door> for ServerHost {
    fn context<'a>(&'a mut self, connection: ConnectionId, pool: &'a mut Pool) -> Surroundings<'a> {
        let session =
            Context { shared: &mut self.shared, jobs: &mut self.jobs, now: self.now, connection };
        Surroundings { session, pool }
    }
}
