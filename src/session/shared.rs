//! What all connections share: names that are being registered, and for d1100, where every request is a connection of
//! its own, session keys and uploads that wait for a verdict.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use coffer_protocol::cipher::SessionKey;
use coffer_protocol::decode::Attempt;
use coffer_protocol::{ClientId, Dialect};

use super::admission::{Admission, Quotas};
use super::expiring::Expiring;
use super::penalties::Penalties;
use super::refusal::Reason;
use super::upload::Received;
use crate::job::{ConnectionId, UploadId};
use crate::limits::{
    HELD_UPLOADS_MAX, REFUSALS_LOGGED_MAX, RESERVATION_TTL, RESERVATIONS_MAX, SESSION_KEY_TTL,
    SESSION_KEYS_MAX, VERDICT_TTL,
};
use crate::moment::Moment;

/// What happens to a file whose name a verified file of the same client has.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Default,
    serde::Serialize,
    serde::Deserialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Existing {
    /// As the dialect's own server does: d825 stores a new version, d1100 refuses.
    #[default]
    Dialect,
    /// Refuse in both dialects.
    Refuse,
    /// Store a new version in both dialects; the old one stays.
    Version,
}

impl Existing {
    pub(super) fn refuses(self, dialect: Dialect) -> bool {
        match self {
            Self::Dialect => dialect == Dialect::D1100,
            Self::Refuse => true,
            Self::Version => false,
        }
    }
}

/// Who may speak the classic dialects, which authenticate neither side.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Default,
    serde::Serialize,
    serde::Deserialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Classic {
    /// Peers on this machine.
    #[default]
    Loopback,
    /// Everybody.
    Everywhere,
    /// Nobody.
    Off,
}

impl Classic {
    fn admits(self, peer: IpAddr) -> bool {
        match self {
            Self::Loopback => peer.is_loopback(),
            Self::Everywhere => true,
            Self::Off => false,
        }
    }
}

/// A file of a client, by its name as sent.
pub(super) type FileKey = (ClientId, Vec<u8>);

/// A d1100 upload that is complete, and how far its verdict is.
#[derive(Debug)]
pub(super) enum Held {
    /// No verdict yet.
    Waiting(Received),
    /// "Right", and the catalog is writing.
    Publishing(UploadId),
    /// Durable: asked again, the same answer is given again.
    Published,
    /// "Wrong": how it was read, so that the same ciphertext is read the other way.
    Wrong(Option<Attempt>),
}

/// State that outlives a connection, in memory only and bounded.
pub struct Shared {
    pub(super) existing: Existing,
    classic: Classic,
    /// Names that a connection is registering right now.
    connected: HashMap<String, ConnectionId>,
    /// d1100 names that wait for their key on another connection.
    waiting: Expiring<String, ClientId>,
    pub(super) keys: Expiring<ClientId, Arc<SessionKey>>,
    pub(super) held: Expiring<FileKey, Held>,
    /// How much is under way.
    pub admission: Admission,
    /// Who misbehaved at the secure door.
    pub penalties: Penalties,
    next_upload: u64,
    refusals: Refusals,
}

/// How much [`Shared`] holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Load {
    /// Names that are being registered.
    pub reservations: usize,
    /// d1100 session keys.
    pub keys: usize,
    /// d1100 uploads that wait for a verdict, or have just had it.
    pub held: usize,
    /// Uploads whose content is arriving.
    pub uploads: usize,
    /// Those among them that have a file open.
    pub open_files: usize,
    /// Connections.
    pub connections: usize,
}

/// Refusals in the current second.
#[derive(Default)]
struct Refusals {
    second: u64,
    count: u32,
}

impl Shared {
    /// Nothing known.
    #[must_use]
    pub fn new(existing: Existing, quotas: Quotas, classic: Classic) -> Self {
        Self {
            existing,
            classic,
            connected: HashMap::new(),
            waiting: Expiring::new(RESERVATION_TTL, RESERVATIONS_MAX),
            keys: Expiring::new(SESSION_KEY_TTL, SESSION_KEYS_MAX),
            held: Expiring::new(VERDICT_TTL, HELD_UPLOADS_MAX),
            admission: Admission::new(quotas),
            penalties: Penalties::default(),
            next_upload: 0,
            refusals: Refusals::default(),
        }
    }

    /// Counts a new connection. It is told why its classic requests are refused, if they are.
    pub fn admit(&mut self, peer: IpAddr) -> Option<Reason> {
        if !self.admission.enter(peer) {
            return Some(Reason::Limit("this address has too many connections"));
        }
        (!self.classic.admits(peer)).then_some(Reason::ClassicClosed)
    }

    pub(super) fn new_upload(&mut self, is_large: bool) -> UploadId {
        self.next_upload += 1;
        UploadId { number: self.next_upload, is_large }
    }

    /// Whether one more refusal may be logged: a bounded number in a second. The rest is counted, and the count logged.
    pub fn may_log(&mut self, now: Moment) -> bool {
        let second = now.0 / 1000;
        if second != self.refusals.second {
            let left_out = self.refusals.count.saturating_sub(REFUSALS_LOGGED_MAX);
            if left_out > 0 {
                tracing::info!(left_out, "refusals came faster than they are logged");
            }
            self.refusals = Refusals { second, count: 0 };
        }
        self.refusals.count = self.refusals.count.saturating_add(1);
        self.refusals.count <= REFUSALS_LOGGED_MAX
    }

    /// Reserves a name for as long as a connection lives; `false` if somebody else has it reserved.
    pub(super) fn reserve(&mut self, name: &str, connection: ConnectionId, now: Moment) -> bool {
        if self.waiting.get(&name.to_owned(), now).is_some() {
            return false;
        }
        match self.connected.get(name) {
            Some(holder) => *holder == connection,
            None if self.connected.len() >= RESERVATIONS_MAX => false,
            None => {
                self.connected.insert(name.to_owned(), connection);
                true
            }
        }
    }

    /// Lets a name go that this connection reserved.
    pub(super) fn release(&mut self, name: &str, connection: ConnectionId) {
        if self.connected.get(name) == Some(&connection) {
            self.connected.remove(name);
        }
    }

    /// Keeps a name reserved beyond its connection, for this id. `false` if too many wait.
    pub(super) fn keep_reserved(
        &mut self,
        name: &str,
        id: ClientId,
        connection: ConnectionId,
        now: Moment,
    ) -> bool {
        self.release(name, connection);
        self.waiting.expire(now);
        if self.waiting.is_full() {
            return false;
        }
        self.waiting.insert(name.to_owned(), id, now);
        true
    }

    /// The id that a name is reserved for beyond its connection.
    pub(super) fn reserved_id(&self, name: &str, now: Moment) -> Option<ClientId> {
        self.waiting.get(&name.to_owned(), now).copied()
    }

    /// The registration of this name is over: it is in the catalog, or will never be.
    pub(super) fn reservation_over(&mut self, name: &str) {
        self.waiting.remove(&name.to_owned());
    }

    /// Takes out what has expired; returns the uploads that nobody will judge any more.
    pub fn expire(&mut self, now: Moment) -> Vec<UploadId> {
        self.waiting.expire(now);
        self.keys.expire(now);
        let gone = self.held.expire(now);
        gone.iter().filter_map(Held::unjudged).collect()
    }

    /// How much there is of everything.
    #[must_use]
    pub fn load(&self) -> Load {
        let (uploads, open_files, connections) = self.admission.counts();
        Load {
            reservations: self.connected.len() + self.waiting.len(),
            keys: self.keys.len(),
            held: self.held.len(),
            uploads,
            open_files,
            connections,
        }
    }

    /// When [`Shared::expire`] should be called next.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Moment> {
        [self.waiting.next_expiry(), self.keys.next_expiry(), self.held.next_expiry()]
            .into_iter()
            .flatten()
            .min()
    }
}

impl Held {
    /// The upload whose stored content nobody else will clean up.
    pub(super) fn unjudged(&self) -> Option<UploadId> {
        match self {
            Self::Waiting(received) => Some(received.upload),
            Self::Publishing(_) | Self::Published | Self::Wrong(_) => None,
        }
    }
}
