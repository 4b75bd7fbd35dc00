//! Many connections of one client, on the server's own shell.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use coffer_protocol::v4::frame::{FRAME_HEADER, FrameHeader};
use coffer_protocol::v4::message::{Answer, Hello, Request};
use cofferd::buffer::{Buffer, Pool};
use cofferd::job::ConnectionId;
use cofferd::moment::Moment;
use cofferd::outbox::Outbox;
use cofferd::reactor::shell::{Host, Machine, Shell};
use mio::{Events, Poll};
use rustls::{ClientConfig, ClientConnection};

use crate::limits::{CONNECTING_MAX, ERROR_KINDS_MAX, PATIENCE, STUCK_MAX};
use crate::socket::Connector;

/// Events taken from the kernel at a time.
const EVENTS: usize = 1024;

/// The longest sleep of the loop.
const TICK: Duration = Duration::from_millis(50);

/// The connections, and the loop that drives them.
pub(super) struct Clients {
    poll: Poll,
    shell: Shell<Link>,
    connector: Connector,
    config: Arc<ClientConfig>,
    start: Instant,
    tally: Tally,
}

/// What came of the connections so far.
#[derive(Default)]
struct Tally {
    /// Connections stay after their welcome.
    keeps: bool,
    /// Connections that were begun and are not welcome yet.
    greeting: usize,
    /// Those that were welcomed and stay.
    standing: usize,
    welcomed: u64,
    errors: BTreeMap<String, u64>,
    now: Moment,
}

/// What a link is lent while it decides.
pub(super) struct Surroundings<'a> {
    tally: &'a mut Tally,
    pool: &'a mut Pool,
}

/// One connection.
struct Link {
    tls: Box<ClientConnection>,
    inbox: Vec<u8>,
    out: Outbox,
    /// Frames to be sent once it stands.
    requests: Vec<u8>,
    /// Answers to come.
    awaited: usize,
    state: State,
    /// The connection is gone.
    broken: bool,
    since: Moment,
}

#[derive(PartialEq, Eq, Clone, Copy)]
enum State {
    Greeting,
    Silent,
    Over,
}

/// The first frame of a client.
pub(super) fn hello() -> Request {
    let software = concat!("coffer-loadtest ", env!("CARGO_PKG_VERSION")).to_owned();
    Request::Hello(Hello { version_min: 4, version_max: 4, software })
}

impl Clients {
    /// # Errors
    /// If the system refuses a poll.
    pub(super) fn new(server: SocketAddr, config: Arc<ClientConfig>) -> anyhow::Result<Self> {
        Ok(Self {
            poll: Poll::new().context("cannot start the loop")?,
            shell: Shell::default(),
            connector: Connector::new(server),
            config,
            start: Instant::now(),
            tally: Tally::default(),
        })
    }

    /// Lets connections stay after their welcome.
    pub(super) fn keep(&mut self) {
        self.tally.keeps = true;
    }

    pub(super) fn welcomed(&self) -> u64 {
        self.tally.welcomed
    }

    pub(super) fn standing(&self) -> usize {
        self.tally.standing
    }

    pub(super) fn errors(&self) -> u64 {
        self.tally.errors.values().sum()
    }

    pub(super) fn error_texts(&self) -> Vec<String> {
        let errors = self.tally.errors.iter();
        errors.map(|(error, count)| format!("{error} ({count} times)")).collect()
    }

    /// One connection that says all this, has every answer, and leaves. It does not count.
    ///
    /// # Errors
    /// If it is refused.
    pub(super) fn introduce(&mut self, requests: &[Request]) -> anyhow::Result<()> {
        self.connect(requests)?;
        self.run(0, |clients| clients.shell.is_empty())?;
        if let Some(error) = self.error_texts().first() {
            bail!("the server does not let us in: {error}");
        }
        self.tally = Tally::default();
        Ok(())
    }

    /// Keeps `count` connections under way, or standing, until `done`.
    ///
    /// # Errors
    /// If the system fails, or nothing is achieved for too long.
    pub(super) fn run(&mut self, count: usize, done: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        let start = Instant::now();
        while !done(self) {
            if start.elapsed() > STUCK_MAX {
                bail!("the server has not answered for {} s", STUCK_MAX.as_secs());
            }
            while self.shell.len() < count && self.tally.greeting < CONNECTING_MAX {
                self.connect(&[hello()])?;
            }
            let sleep = if self.shell.is_ready() { Duration::ZERO } else { TICK };
            match self.poll.poll(&mut events, Some(sleep)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => {
                    return Err(error).context("cannot wait for events");
                }
                _ => {}
            }
            self.tally.now = Moment(self.start.elapsed().as_millis() as u64);
            for event in &events {
                self.shell.note(event.token().0, event, &mut self.tally);
            }
            self.shell.read_ready(&mut self.tally);
            self.shell.expire(self.tally.now, &mut self.tally);
        }
        Ok(())
    }

    fn connect(&mut self, requests: &[Request]) -> anyhow::Result<()> {
        let tls = coffer_tls::connect(Arc::clone(&self.config)).context("cannot begin TLS")?;
        let mut frames = Vec::new();
        requests.iter().for_each(|request| request.frame(0, &mut frames));
        let link = Link {
            tls: Box::new(tls),
            inbox: Vec::new(),
            out: Outbox::default(),
            requests: frames,
            awaited: requests.len(),
            state: State::Greeting,
            broken: false,
            since: self.tally.now,
        };
        let stream = self.connector.connect(false).context("cannot connect")?;
        self.shell.add_connecting(self.poll.registry(), 0, stream, link)?;
        self.tally.greeting += 1;
        Ok(())
    }
}

impl Host<Link> for Tally {
    fn context<'a>(&'a mut self, _: ConnectionId, pool: &'a mut Pool) -> Surroundings<'a> {
        Surroundings { tally: self, pool }
    }
}

impl Tally {
    fn error(&mut self, error: String) {
        if self.errors.contains_key(&error) || self.errors.len() < ERROR_KINDS_MAX {
            *self.errors.entry(error).or_default() += 1;
        }
    }
}

impl Link {
    fn take(&mut self, tally: &mut Tally, mut records: &[u8]) -> anyhow::Result<()> {
        while !records.is_empty() {
            self.tls.read_tls(&mut records)?;
            let state = self.tls.process_new_packets()?;
            let at = self.inbox.len();
            self.inbox.resize(at + state.plaintext_bytes_to_read(), 0);
            self.tls.reader().read_exact(&mut self.inbox[at..])?;
            if state.peer_has_closed() {
                break;
            }
        }
        self.flush();
        while let Some(answer) = self.next_answer()? {
            if let Answer::Error(error) = answer {
                bail!("{}", error.text);
            }
            self.awaited = self.awaited.saturating_sub(1);
        }
        if self.awaited == 0 && self.state == State::Greeting {
            tally.greeting -= 1;
            tally.welcomed += 1;
            tally.standing += usize::from(tally.keeps);
            self.state = if tally.keeps { State::Silent } else { State::Over };
        }
        Ok(())
    }

    /// The next whole answer.
    fn next_answer(&mut self) -> anyhow::Result<Option<Answer>> {
        let Some((header, rest)) = self.inbox.split_first_chunk() else { return Ok(None) };
        let header = FrameHeader::decode(header)?;
        let length = header.length as usize;
        let Some(payload) = rest.get(..length) else { return Ok(None) };
        let answer = Answer::decode(header.kind, payload)?;
        self.inbox.drain(..FRAME_HEADER + length);
        if self.inbox.is_empty() {
            self.inbox = Vec::new();
        }
        Ok(Some(answer))
    }

    fn flush(&mut self) {
        while self.tls.wants_write() {
            // A vector takes everything.
            let _ = self.out.push_with(|bytes| self.tls.write_tls(bytes));
        }
    }

    fn fail(&mut self, tally: &mut Tally, error: String) {
        match self.state {
            State::Greeting => tally.greeting -= 1,
            State::Silent => tally.standing -= 1,
            State::Over => return,
        }
        self.state = State::Over;
        tally.error(error);
    }
}

impl Machine for Link {
    type Context<'a> = Surroundings<'a>;

    fn connected(&mut self, _: &mut Surroundings<'_>) {
        // Kept by TLS until the handshake is complete.
        let _ = self.tls.writer().write_all(&std::mem::take(&mut self.requests));
        self.flush();
    }

    fn wants_input(&self) -> bool {
        self.state != State::Over
    }

    fn prepare(&mut self, _: &mut Buffer) {}

    fn receive(&mut self, cx: &mut Surroundings<'_>, buffer: Buffer, _: usize) {
        if let Err(error) = self.take(cx.tally, buffer.filled()) {
            self.fail(cx.tally, format!("{error:#}"));
        }
        cx.pool.give(buffer);
    }

    fn end_of_input(&mut self, cx: &mut Surroundings<'_>) {
        self.fail(cx.tally, "the server closed the connection".to_owned());
    }

    fn lost(&mut self) {
        self.out.clear();
        self.broken = true;
    }

    fn unsent(&mut self) -> &[u8] {
        self.out.unsent()
    }

    fn sent(&mut self, count: usize) {
        self.out.advance(count);
    }

    fn ends_output(&self) -> bool {
        false
    }

    fn is_finished(&self) -> bool {
        self.state == State::Over || self.broken
    }

    fn close(&mut self, cx: &mut Surroundings<'_>) {
        self.fail(cx.tally, "the connection broke".to_owned());
    }

    fn deadline(&self) -> Option<Moment> {
        (self.state == State::Greeting).then(|| self.since + PATIENCE)
    }

    fn expire(&mut self, cx: &mut Surroundings<'_>) {
        self.fail(cx.tally, format!("no answer for {} s", PATIENCE.as_secs()));
    }
}
