//! All clients of a run: what each has in hand, what its connection says, and what begins next.
//!
//! The fleet is the host of the shell's machines. It does no IO of its own: connections that are wanted, session keys
//! that are to be opened and pauses are [`Wishes`], which the engine carries out.

mod client;
mod outcome;
mod plan;
mod turns;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Instant;

use coffer::flow::{Input, Output, Session};
use cofferd::buffer::Pool;
use cofferd::job::ConnectionId;
use cofferd::moment::Moment;
use cofferd::reactor::shell::Host;

use crate::args::Speech;
use crate::keys::{Keys, Opened, Sealed};
use crate::ledger::{Ledger, file_name};
use crate::link::{Link, Surroundings};
use crate::outgoing::{Pace, Sending, Stream};
use crate::server::Outages;
use crate::stats::Stats;
pub(crate) use client::{Client, Role, Work};
use client::{Since, Upload};
pub(crate) use plan::{Arrivals, Plan};

/// What the engine is to do.
#[derive(Default)]
pub(crate) struct Wishes {
    /// Clients that want a connection, in order.
    pub(crate) connects: VecDeque<usize>,
    /// Session keys to be opened.
    pub(crate) keys: Vec<Sealed>,
    /// Clients that are to go on at a moment.
    pub(crate) pauses: BinaryHeap<Reverse<(Instant, usize)>>,
}

/// All clients.
pub(crate) struct Fleet {
    pub(crate) clients: Vec<Client>,
    pub(crate) ledger: Ledger,
    pub(crate) stats: Stats,
    pub(crate) wishes: Wishes,
    pub(crate) plan: Plan,
    pub(crate) start: Instant,
    pub(crate) outages: Outages,
    speech: Speech,
    keys: Keys,
    key_serials: u64,
    /// When nothing new begins any more.
    end: Option<Instant>,
    arrivals: Option<Arrivals>,
    /// Clients without work, while starts come by rate.
    free: VecDeque<usize>,
    /// Whether there is any client of that role.
    has_good: bool,
    /// Clients that registered or reconnected because they were told to.
    pub(crate) identified: usize,
    /// Connections that are being made.
    pub(crate) making: usize,
    /// Clients that must be through before the run is.
    pub(crate) pending: usize,
    /// Connections that stand.
    pub(crate) connections: usize,
    /// When something was last achieved.
    pub(crate) achieved: Instant,
    /// When the last file was acknowledged.
    pub(crate) last_file: Instant,
}

impl Fleet {
    pub(crate) fn new(
        ledger: Ledger,
        plan: Plan,
        roles: impl IntoIterator<Item = Role>,
        speech: Speech,
        keys: Keys,
        outages: Outages,
    ) -> Self {
        let now = Instant::now();
        let mut fleet = Self {
            clients: Vec::new(),
            ledger,
            stats: Stats::new(),
            wishes: Wishes::default(),
            plan,
            start: now,
            outages,
            speech,
            keys,
            key_serials: 0,
            end: None,
            arrivals: None,
            free: VecDeque::new(),
            has_good: false,
            identified: 0,
            making: 0,
            pending: 0,
            connections: 0,
            achieved: now,
            last_file: now,
        };
        for role in roles {
            fleet.has_good |= role == Role::Good;
            let client = fleet.new_client(role, now);
            fleet.clients.push(client);
        }
        fleet
    }

    /// A client that the server does not know yet.
    fn new_client(&mut self, role: Role, now: Instant) -> Client {
        let dialect = self.speech.dialect(self.ledger.accounts().len());
        let account = self.ledger.open();
        let key = self.keys.of(account).public_der.clone();
        Client {
            account,
            role,
            session: Session::new(dialect, &self.ledger.name(account), key, None),
            key: None,
            work: Work::Idle,
            connection: None,
            connected_in: 0,
            keyed_in: 0,
            files: 0,
            session_intended: now,
            ready: VecDeque::new(),
            key_serial: 0,
            since: Since::default(),
        }
    }

    /// Whether a client waits for the server.
    pub(crate) fn awaits_answer(&self, slot: usize) -> bool {
        matches!(self.clients[slot].work, Work::Identify | Work::Upload(_))
    }

    /// Whether the connection that a client wants now is to be reset.
    pub(crate) fn wants_reset(&self, slot: usize) -> bool {
        matches!(self.clients[slot].work, Work::Upload(Upload { reset: true, .. }))
    }

    /// A connection is being made.
    pub(crate) fn connecting(&mut self, slot: usize, connection: ConnectionId, now: Instant) {
        self.making += 1;
        let client = &mut self.clients[slot];
        client.connection = Some(connection);
        client.connected_in = self.outages.now();
        client.since.connect = Some(now);
    }

    /// A connection could not even be begun.
    pub(crate) fn cannot_connect(&mut self, slot: usize, error: &std::io::Error) {
        self.stats.error(format!("this machine cannot open a connection: {error}"));
        self.clients[slot].session.handle(Input::Lost);
        self.pump(slot, None);
    }

    /// A connection stands.
    pub(crate) fn connected(&mut self, link: &mut Link) {
        let now = Instant::now();
        self.making -= 1;
        self.connections += 1;
        let client = &mut self.clients[link.slot];
        client.since.connected(now, &mut self.stats);
        client.session.handle(Input::Connected);
        self.pump(link.slot, Some(link));
    }

    /// Bytes came.
    pub(crate) fn received(&mut self, link: &mut Link, bytes: &[u8]) {
        let client = &mut self.clients[link.slot];
        client.since.heard = Some(Instant::now());
        if let Some(checksum) = link.out.take_finished() {
            client.session.handle(Input::ContentSent { checksum });
        }
        client.session.handle(Input::Received(bytes));
        self.pump(link.slot, Some(link));
    }

    /// A connection is gone, or did not come about.
    pub(crate) fn lost(&mut self, link: &mut Link) {
        let stood = self.forget_connection(link.slot);
        let client = &mut self.clients[link.slot];
        if let Some(checksum) = link.out.take_finished() {
            client.session.handle(Input::ContentSent { checksum });
        }
        client.session.handle(Input::Lost);
        if matches!(client.work, Work::Idle | Work::Retired)
            && !self.outages.touch(client.connected_in)
        {
            let what = if stood { "closed an idle connection" } else { "refused a connection" };
            self.stats.error(format!("the server {what}"));
        }
        self.pump(link.slot, None);
    }

    /// A session key was opened.
    pub(crate) fn opened(&mut self, opened: Opened, link: Option<&mut Link>) {
        let Opened { slot, serial, key } = opened;
        let client = &mut self.clients[slot];
        if client.key_serial != serial {
            return; // its exchange is over
        }
        let opened = key.is_some();
        client.key = key;
        client.ready.clear(); // they were encrypted with the key before
        self.stats.counters.key_exchanges += u64::from(opened);
        client.session.handle(Input::SessionKey { opened });
        self.pump(slot, link);
    }

    /// Carries out what a client's session wants. `link`: its connection, if it stands.
    fn pump(&mut self, slot: usize, mut link: Option<&mut Link>) {
        while let Some(output) = self.clients[slot].session.poll_output() {
            self.carry_out(slot, output, link.as_deref_mut());
        }
    }

    fn carry_out(&mut self, slot: usize, output: Output, link: Option<&mut Link>) {
        let now = Instant::now();
        let client = &mut self.clients[slot];
        match output {
            Output::Connect => self.wishes.connects.push_back(slot),
            Output::Send(bytes) => {
                client.since.sending(&client.session, &bytes, now, &mut self.stats);
                link.expect("a session sends over a connection").out.push_request(&bytes);
            }
            Output::Content { attempt } => {
                client.since.content_begins(now);
                self.send_content(slot, attempt, link.expect("a session sends over a connection"));
            }
            Output::Unwrap { wrapped } => {
                client.since.key_received(now, &mut self.stats);
                client.keyed_in = client.connected_in;
                self.key_serials += 1;
                client.key_serial = self.key_serials;
                let (account, dialect) = (client.account, client.session.dialect());
                let serial = self.key_serials;
                self.wishes.keys.push(Sealed { slot, serial, account, dialect, wrapped });
            }
            Output::SaveId(id) => {
                client.since.registered(now, &mut self.stats);
                self.ledger.account_mut(client.account).id = Some(id);
            }
            Output::Close => self.leave(slot, link),
            Output::Mismatch { .. } => self.mismatched(slot),
            Output::Reconnecting => self.reconnecting(slot),
            Output::Identified => self.identified(slot),
            Output::Stored { .. } => self.stored(slot, now, link),
            Output::Failed(failure) => self.failed(slot, failure, now),
        }
    }

    /// A client is through with its connection.
    fn leave(&mut self, slot: usize, link: Option<&mut Link>) {
        if link.is_some_and(Link::detach) {
            self.forget_connection(slot);
        }
    }

    /// A client's connection ends. Whether it ever stood.
    fn forget_connection(&mut self, slot: usize) -> bool {
        let client = &mut self.clients[slot];
        client.connection = None;
        let stood = client.since.connect.take().is_none();
        *(if stood { &mut self.connections } else { &mut self.making }) -= 1;
        stood
    }

    fn send_content(&mut self, slot: usize, attempt: u8, link: &mut Link) {
        let client = &mut self.clients[slot];
        let Work::Upload(upload) = client.work else { return };
        let content = self.ledger.content(client.account, upload.file);
        if client.ready.front().is_some_and(|(file, _)| *file == upload.file)
            && let Some((_, ready)) = client.ready.pop_front()
        {
            return link.out.begin_content(Sending::Ready(ready), Pace::Full);
        }
        let key = client.key.as_ref().expect("content is asked for with a session key only");
        let id = client.session.id().expect("and with an id");
        let damaged = upload.corrupt && attempt == 1;
        let stream = Stream::new(content, key, id, &file_name(upload.file), damaged)
            .expect("sizes were checked when the run began");
        let middle = Pace::Until { left: (content.size() / 2) as usize };
        let pace = match client.role {
            Role::Staller => middle,
            Role::Good if upload.reset => middle,
            Role::Good => Pace::Full,
            Role::Trickler if self.plan.trickle_pause.is_zero() => {
                Pace::Trickle { allowed: u64::MAX }
            }
            Role::Trickler => Pace::Trickle { allowed: 0 },
        };
        link.out.begin_content(Sending::Stream(Box::new(stream)), pace);
    }
}

impl Host<Link> for Fleet {
    fn context<'a>(&'a mut self, _: ConnectionId, pool: &'a mut Pool) -> Surroundings<'a> {
        let now = Moment(self.start.elapsed().as_millis() as u64);
        Surroundings { fleet: self, pool, now }
    }
}
