//! One client: its session, what it has in hand, and when each step of it began.

use std::collections::VecDeque;
use std::time::Instant;

use coffer::flow::Session;
use coffer_protocol::cipher::SessionKey;
use coffer_protocol::request::{Kind, REQUEST_HEADER, RequestHeader, Verdict};
use cofferd::job::ConnectionId;

use crate::outgoing::Encrypted;
use crate::stats::{Stats, Wait};

/// What a client is there for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// To be measured.
    Good,
    /// To stop in the middle of each content.
    Staller,
    /// To send its contents one byte at a time.
    Trickler,
}

/// What a client has in hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Work {
    /// Nothing, for now.
    Idle,
    /// Nothing, and it is not to get anything.
    Retired,
    /// A registration or reconnection.
    Identify,
    /// A file.
    Upload(Upload),
}

/// A file on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Upload {
    pub(crate) file: u32,
    /// When it was to start, which may be long before it could.
    pub(crate) intended: Instant,
    /// Damaged when first sent, as ordered.
    pub(crate) corrupt: bool,
    /// Its connection is to be reset in the middle, once.
    pub(crate) reset: bool,
    pub(crate) tries: u32,
}

/// One client.
pub(crate) struct Client {
    /// Its number in the ledger.
    pub(crate) account: usize,
    pub(crate) role: Role,
    pub(crate) session: Session,
    pub(crate) key: Option<SessionKey>,
    pub(crate) work: Work,
    /// The connection that stands, or is being made.
    pub(crate) connection: Option<ConnectionId>,
    /// Which outage of the server the connection, and the session key, came after.
    pub(crate) connected_in: u32,
    pub(crate) keyed_in: u32,
    /// Files begun, which is the number of the next one.
    pub(crate) files: u32,
    /// When the session was to start.
    pub(crate) session_intended: Instant,
    /// The next files, encrypted before the clock started.
    pub(crate) ready: VecDeque<(u32, Encrypted)>,
    /// Which of all wrapped keys it waits for.
    pub(crate) key_serial: u64,
    pub(crate) since: Since,
}

/// When steps began.
#[derive(Clone, Copy, Default)]
pub(crate) struct Since {
    pub(crate) connect: Option<Instant>,
    register: Option<Instant>,
    key: Option<Instant>,
    transfer: Option<Instant>,
    verdict: Option<Instant>,
    /// When the server was last heard.
    pub(crate) heard: Option<Instant>,
}

impl Since {
    /// A request goes out.
    pub(crate) fn sending(
        &mut self,
        session: &Session,
        bytes: &[u8],
        now: Instant,
        stats: &mut Stats,
    ) {
        let header = bytes.first_chunk::<REQUEST_HEADER>().map(RequestHeader::parse);
        match header.and_then(|header| session.dialect().kind(header.code)) {
            Some(Kind::Register) => self.register = Some(now),
            Some(Kind::PublicKey | Kind::Reconnect) => self.key = Some(now),
            Some(Kind::Verdict(verdict)) => {
                // The checksum came when the server was last heard; in d1100 a connect lies between.
                if let (Some(begun), Some(heard)) = (self.transfer.take(), self.heard) {
                    stats.record(Wait::Transfer, heard.saturating_duration_since(begun));
                }
                self.verdict = (verdict == Verdict::Right).then_some(now);
            }
            Some(Kind::File) | None => {}
        }
    }

    pub(crate) fn content_begins(&mut self, now: Instant) {
        self.transfer = Some(now);
    }

    pub(crate) fn connected(&mut self, now: Instant, stats: &mut Stats) {
        record(&mut self.connect, Wait::Connect, now, stats);
    }

    pub(crate) fn registered(&mut self, now: Instant, stats: &mut Stats) {
        record(&mut self.register, Wait::Register, now, stats);
    }

    pub(crate) fn key_received(&mut self, now: Instant, stats: &mut Stats) {
        record(&mut self.key, Wait::KeyExchange, now, stats);
    }

    pub(crate) fn acknowledged(&mut self, now: Instant, stats: &mut Stats) {
        record(&mut self.verdict, Wait::Verdict, now, stats);
    }

    /// Nothing is under way any more.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

fn record(since: &mut Option<Instant>, wait: Wait, now: Instant, stats: &mut Stats) {
    if let Some(begun) = since.take() {
        stats.record(wait, now.saturating_duration_since(begun));
    }
}
