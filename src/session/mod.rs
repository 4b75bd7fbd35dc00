//! What requests mean: who is this, what may they do, which upload is open, what is answered.
//!
//! Pure: time and answers of workers are handed in, jobs and replies come out. Nothing here knows how bytes are framed
//! (that is `connection`) or how work is done (that is `worker`).

mod admission;
mod d1100;
mod d825;
mod exchange;
mod expiring;
mod penalties;
mod refusal;
mod shared;
mod upload;

use std::net::IpAddr;

use coffer_protocol::decode::{Sizes, SizesError};
use coffer_protocol::reply::Reply;
use coffer_protocol::request::Request;
use coffer_protocol::{ClientId, Dialect};

use crate::job::{ConnectionId, Done, Job, UploadId, Work};
use crate::moment::Moment;

pub use admission::{Admission, Quotas};
pub use penalties::{Offence, Turn};
pub use refusal::{Blame, Reason, Refusal};
pub use shared::{Classic, Existing, Load, Shared};

/// What a session needs from outside while it decides.
pub struct Context<'a> {
    /// What all connections share.
    pub shared: &'a mut Shared,
    /// Where jobs go, in order.
    pub jobs: &'a mut Vec<Job>,
    /// Now.
    pub now: Moment,
    /// The connection that this is about.
    pub connection: ConnectionId,
}

impl Context<'_> {
    /// Asks for something heavy.
    pub fn push(&mut self, work: Work) {
        self.jobs.push(Job { connection: self.connection, work });
    }
}

/// What comes of a request or of a worker's answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// This is the answer.
    Reply(Reply),
    /// There is no answer, and the peer expects none.
    Silent,
    /// A worker has been asked; nothing more is read until it answers.
    Await,
}

/// A step, or why not.
pub type Outcome = Result<Step, Refusal>;

/// A request for an upload, with the sizes it announces.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// The id in the request's header.
    pub client: ClientId,
    /// The file's name as sent.
    pub file: &'a [u8],
    /// The announced sizes.
    pub sizes: Result<Sizes, SizesError>,
}

/// What a connection waits for, as far as it matters to its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// Its first request.
    First,
    /// Its next request, whatever it is.
    Next,
    /// A verdict.
    Verdict,
    /// Us.
    Worker,
}

/// One connection's session.
pub enum Session {
    /// One for the whole connection.
    D825(d825::Session),
    /// One request.
    D1100(d1100::Session),
}

impl Session {
    /// A session that has not heard anything yet.
    #[must_use]
    pub fn new(dialect: Dialect, peer: IpAddr) -> Self {
        match dialect {
            Dialect::D825 => Self::D825(d825::Session::new(peer)),
            Dialect::D1100 => Self::D1100(d1100::Session::new(peer)),
        }
    }

    /// A whole request other than a file's.
    ///
    /// # Errors
    /// Why it is refused, and with which reply.
    pub fn request(&mut self, cx: &mut Context, client: ClientId, request: &Request) -> Outcome {
        match self {
            Self::D825(session) => session.request(cx, client, request),
            Self::D1100(session) => session.request(cx, client, request),
        }
    }

    /// A file is announced. Its content goes to the upload that is returned.
    ///
    /// # Errors
    /// Why it is refused; the content still has to be read.
    pub fn begin(&mut self, cx: &mut Context, offer: &Offer) -> Result<UploadId, Refusal> {
        match self {
            Self::D825(session) => session.begin(cx, offer),
            Self::D1100(session) => session.begin(cx, offer),
        }
    }

    /// All of the content has been passed on.
    pub fn content_complete(&mut self, cx: &mut Context) {
        match self {
            Self::D825(session) => session.content_complete(cx),
            Self::D1100(session) => session.content_complete(cx),
        }
    }

    /// The upload broke off in the middle.
    pub fn abandon(&mut self, cx: &mut Context) {
        match self {
            Self::D825(session) => session.abandon(cx),
            Self::D1100(session) => session.close(cx, false),
        }
    }

    /// A worker answered.
    ///
    /// # Errors
    /// Why the request that it was asked for is refused, and with which reply.
    pub fn complete(&mut self, cx: &mut Context, done: Done) -> Outcome {
        match self {
            Self::D825(session) => session.complete(cx, done),
            Self::D1100(session) => session.complete(cx, done),
        }
    }

    /// Whether nobody has said who they are, and nothing is being done about it.
    #[must_use]
    pub fn is_stranger(&self) -> bool {
        match self {
            Self::D825(session) => session.is_stranger(),
            Self::D1100(session) => session.waiting() == Waiting::First,
        }
    }

    /// What the session waits for.
    #[must_use]
    pub fn waiting(&self) -> Waiting {
        match self {
            Self::D825(session) => session.waiting(),
            Self::D1100(session) => session.waiting(),
        }
    }

    /// The connection is over: gives back what ends with it. Not while a worker is still to answer. `broken` says that
    /// the last answer may not have arrived.
    pub fn close(&mut self, cx: &mut Context, broken: bool) {
        debug_assert_ne!(self.waiting(), Waiting::Worker, "closing waits for its jobs");
        match self {
            Self::D825(session) => session.close(cx),
            Self::D1100(session) => session.close(cx, broken),
        }
    }
}
