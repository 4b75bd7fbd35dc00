//! What the frames of one connection mean: who is this, what may they ask, what is answered. Pure.
//!
//! ```text
//!   Silent ──HELLO──> Ready <──answer── Awaiting
//!                       └──ENROLL | USAGE──^
//! ```

use std::net::IpAddr;

use coffer_protocol::v4::VERSION;
use coffer_protocol::v4::message::{
    Answer, ClientInfo, Enroll, Enrolled, Hello, Pong, Request, Used, Welcome,
};

use super::SOFTWARE;
use super::refusal::Refusal;
use crate::job::{Done, Enrollment, Failure, Peer, Work};
use crate::moment::Moment;
use crate::session::Context;

/// One connection's session: the key has been proved, whoever it belongs to.
pub(super) struct Session {
    address: IpAddr,
    peer: Peer,
    /// When [`Peer::now_ms`] was.
    at: Moment,
    state: State,
}

#[derive(Clone, PartialEq, Eq)]
enum State {
    /// Nothing was said.
    Silent,
    /// The next request may come.
    Ready,
    /// A worker or the catalog does what was asked for on this stream.
    Awaiting { stream: u32 },
    /// The catalog lets the key in, or not. The machine calls itself `host`.
    Enrolling { stream: u32, host: String },
}

/// What comes of a request.
pub(super) enum Step {
    /// This is the answer.
    Answer(Answer),
    /// It will come.
    Await,
}

impl Session {
    pub(super) fn new(address: IpAddr, peer: Peer, at: Moment) -> Self {
        Self { address, peer, at, state: State::Silent }
    }

    /// Whether the key is nobody's.
    pub(super) fn is_stranger(&self) -> bool {
        self.peer.client.is_none()
    }

    /// Whether it has not even said hello.
    pub(super) fn is_silent(&self) -> bool {
        self.state == State::Silent
    }

    pub(super) fn is_awaiting(&self) -> bool {
        matches!(self.state, State::Awaiting { .. } | State::Enrolling { .. })
    }

    /// Does what a frame asks for.
    pub(super) fn request(
        &mut self,
        cx: &mut Context,
        stream: u32,
        request: Request,
    ) -> Result<Step, Refusal> {
        match (&self.state, request) {
            (State::Silent, Request::Hello(hello)) => self.hello(cx, &hello).map(Step::Answer),
            (State::Silent, _) => Err(Refusal::protocol("the first frame must be HELLO")),
            (_, Request::Hello(_)) => Err(Refusal::protocol("HELLO can only be said once")),
            (_, Request::Ping(ping)) => Ok(Step::Answer(Answer::Pong(Pong { nonce: ping.nonce }))),
            (_, Request::Enroll(enroll)) => self.enroll(cx, stream, enroll),
            (_, Request::Usage) => self.usage(cx, stream),
        }
    }

    /// A worker or the catalog answered: the stream, and what is said on it.
    pub(super) fn complete(&mut self, done: Done) -> Option<(u32, Result<Answer, Refusal>)> {
        let (stream, host) = match std::mem::replace(&mut self.state, State::Ready) {
            State::Awaiting { stream } => (stream, String::new()),
            State::Enrolling { stream, host } => (stream, host),
            other => {
                self.state = other;
                return None;
            }
        };
        let answer = match done {
            Done::Enrolled(result) => self.enrolled(result, &host),
            Done::Used(Ok(Some(usage))) => Ok(Answer::Used(Used {
                versions: usage.versions,
                bytes: usage.bytes,
                quota_bytes: usage.quota,
            })),
            Done::Used(Ok(None)) => Err(Refusal::revoked()),
            Done::Used(Err(failure)) => Err(Refusal::failed(failure)),
            _ => return None,
        };
        Some((stream, answer))
    }

    fn hello(&mut self, cx: &Context, hello: &Hello) -> Result<Answer, Refusal> {
        if !(hello.version_min..=hello.version_max).contains(&VERSION) {
            return Err(Refusal::version(hello.version_min, hello.version_max));
        }
        let client = match &self.peer.client {
            Some(client) if client.is_revoked => return Err(Refusal::revoked()),
            Some(client) => {
                Some(ClientInfo { name: client.name.clone(), enrolled_at_ms: client.enrolled_at })
            }
            None => None,
        };
        self.state = State::Ready;
        let passed = cx.now.since(self.at).as_millis() as u64;
        Ok(Answer::Welcome(Welcome {
            version: VERSION,
            software: SOFTWARE.to_owned(),
            server_time_ms: self.peer.now_ms + passed,
            client,
        }))
    }

    fn enroll(&mut self, cx: &mut Context, stream: u32, enroll: Enroll) -> Result<Step, Refusal> {
        if cx.shared.admission.register(self.address, cx.now).is_err() {
            return Err(Refusal::too_many("too many machines were enrolled from this address"));
        }
        cx.push(Work::Enroll { secret: enroll.secret, pin: self.peer.pin });
        self.state = State::Enrolling { stream, host: enroll.host };
        Ok(Step::Await)
    }

    fn enrolled(
        &mut self,
        result: Result<Enrollment, Failure>,
        host: &str,
    ) -> Result<Answer, Refusal> {
        match result.map_err(Refusal::failed)? {
            Enrollment::Done { client, already } => {
                let name = client.name.clone();
                let (address, fingerprint) = (self.address, self.peer.pin);
                tracing::info!(client = ?name, %address, ?host, %fingerprint, again = already, "enrolled a key");
                self.peer.client = Some(client);
                Ok(Answer::Enrolled(Enrolled { name, already }))
            }
            Enrollment::BadCode => Err(Refusal::bad_code()),
            Enrollment::NameTaken => Err(Refusal::name_taken()),
            Enrollment::KeyTaken => Err(Refusal::key_taken()),
        }
    }

    fn usage(&mut self, cx: &mut Context, stream: u32) -> Result<Step, Refusal> {
        if self.is_stranger() {
            return Err(Refusal::not_enrolled());
        }
        cx.push(Work::Usage { pin: self.peer.pin });
        self.state = State::Awaiting { stream };
        Ok(Step::Await)
    }
}
