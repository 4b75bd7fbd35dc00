//! Everything around the pure machines, in memory.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use coffer_protocol::cipher::SessionKey;
use coffer_protocol::decode::Decoder;
use coffer_protocol::encode::Encoder;
use coffer_protocol::key::{PrivateKey, PublicKey};
use coffer_protocol::reply::{REPLY_HEADER, Reply, ReplyHeader};
use coffer_protocol::request::{Request, Verdict};
use coffer_protocol::{ClientId, Dialect};

use super::super::{Connection, Surroundings};
use crate::buffer::Pool;
use crate::job::{
    Begin, Completion, ConnectionId, Done, Failure, Job, KnownClient, Lookup, UploadFailure,
    UploadId, Work, WrappedKey,
};
use crate::moment::Moment;
use crate::session::{Classic, Context, Existing, Quotas, Shared};

pub(super) static KEY: LazyLock<PrivateKey> =
    LazyLock::new(|| PrivateKey::generate(&mut rand::rng()).expect("a key"));

pub(super) const UNLIMITED: Quotas = Quotas {
    connections_per_address: usize::MAX,
    registrations_per_minute: None,
    uploads: usize::MAX,
    open_files: usize::MAX,
};

struct Staged {
    begin: Begin,
    decoder: Option<Decoder>,
    content: Vec<u8>,
}

/// Connections, what they share, and workers that are never late.
pub(super) struct World {
    pub(super) shared: Shared,
    pub(super) pool: Pool,
    pub(super) now: Moment,
    connections: HashMap<ConnectionId, Connection>,
    next_connection: u32,
    pub(super) clients: HashMap<String, KnownClient>,
    uploads: HashMap<UploadId, Staged>,
    /// Verified versions, oldest first.
    pub(super) files: HashMap<(ClientId, Vec<u8>), Vec<Vec<u8>>>,
    /// Makes every publication fail.
    pub(super) disk_full: bool,
    /// Jobs are kept here instead of being done, while set.
    pub(super) stalled: Option<Vec<Job>>,
}

impl World {
    pub(super) fn new(existing: Existing) -> Self {
        Self::limited(existing, UNLIMITED)
    }

    pub(super) fn limited(existing: Existing, quotas: Quotas) -> Self {
        Self {
            shared: Shared::new(existing, quotas, Classic::Everywhere),
            pool: Pool::default(),
            now: Moment(0),
            connections: HashMap::new(),
            next_connection: 0,
            clients: HashMap::new(),
            uploads: HashMap::new(),
            files: HashMap::new(),
            disk_full: false,
            stalled: None,
        }
    }

    pub(super) fn connect(&mut self) -> ConnectionId {
        self.next_connection += 1;
        let id = ConnectionId { slot: self.next_connection, generation: 1 };
        let peer: std::net::SocketAddr = ([127, 0, 0, 1], 9).into();
        let machine = match self.shared.admit(peer.ip()) {
            None => Connection::new(peer, self.now),
            Some(reason) => Connection::refused(peer, self.now, reason),
        };
        self.connections.insert(id, machine);
        id
    }

    pub(super) fn connection(&mut self, id: ConnectionId) -> &mut Connection {
        self.connections.get_mut(&id).expect("connected")
    }

    pub(super) fn is_connected(&self, id: ConnectionId) -> bool {
        self.connections.contains_key(&id)
    }

    /// Uploads of which something is still kept.
    pub(super) fn staged(&self) -> usize {
        self.uploads.len()
    }

    /// Calls a machine, does the jobs that come of it, and their jobs.
    pub(super) fn with(
        &mut self,
        id: ConnectionId,
        call: impl FnOnce(&mut Connection, &mut Surroundings),
    ) {
        let mut jobs = Vec::new();
        self.call(id, &mut jobs, call);
        while !jobs.is_empty() {
            if let Some(stalled) = &mut self.stalled {
                stalled.append(&mut jobs);
                break;
            }
            for Job { connection, work } in std::mem::take(&mut jobs) {
                if let Some(done) = self.work(work) {
                    let Completion { connection, done } = Completion { connection, done };
                    self.call(connection, &mut jobs, |machine, cx| machine.complete(cx, done));
                }
            }
        }
    }

    fn call(
        &mut self,
        id: ConnectionId,
        jobs: &mut Vec<Job>,
        call: impl FnOnce(&mut Connection, &mut Surroundings),
    ) {
        let Some(mut connection) = self.connections.remove(&id) else { return };
        let session = Context { shared: &mut self.shared, jobs, now: self.now, connection: id };
        let mut cx = Surroundings { session, pool: &mut self.pool };
        call(&mut connection, &mut cx);
        if connection.is_finished() {
            connection.close(&mut cx);
        } else {
            self.connections.insert(id, connection);
        }
    }

    /// The peer sends bytes; they arrive in reads of at most `step` bytes, and no faster than they are wanted.
    pub(super) fn send(&mut self, id: ConnectionId, bytes: &[u8], step: usize) {
        for read in bytes.chunks(step.max(1)) {
            if !self.is_connected(id) {
                return;
            }
            assert!(
                self.connection(id).wants_input() || self.stalled.is_some(),
                "nothing keeps it from reading"
            );
            self.with(id, |connection, cx| {
                let mut buffer = cx.pool.take().expect("a buffer");
                connection.prepare(&mut buffer);
                buffer.extend(read);
                connection.receive(cx, buffer, read.len());
            });
        }
    }

    /// What the peer was answered since it last looked.
    pub(super) fn replies(&mut self, id: ConnectionId, dialect: Dialect) -> Vec<Reply> {
        let Some(connection) = self.connections.get_mut(&id) else { return Vec::new() };
        let bytes = connection.outbox().unsent().to_vec();
        connection.outbox().clear();
        let mut rest = &bytes[..];
        let mut replies = Vec::new();
        while let Some(header) = rest.first_chunk().map(ReplyHeader::parse) {
            let length = Reply::payload_len(dialect, header).expect("a valid reply");
            let payload = &rest[REPLY_HEADER..REPLY_HEADER + length];
            replies.push(Reply::parse(dialect, header.code, payload).expect("a valid reply"));
            rest = &rest[dialect.padded_len(REPLY_HEADER + length)..];
        }
        assert!(rest.is_empty(), "nothing but whole replies");
        replies
    }

    /// One request, and its replies.
    pub(super) fn ask(
        &mut self,
        id: ConnectionId,
        dialect: Dialect,
        client: ClientId,
        request: Request,
    ) -> Vec<Reply> {
        let mut bytes = Vec::new();
        request.push(dialect, client, &mut bytes);
        self.send(id, &bytes, usize::MAX);
        self.replies(id, dialect)
    }

    /// One d1100 request on a connection of its own.
    pub(super) fn ask_1100(&mut self, client: ClientId, request: Request) -> Reply {
        let id = self.connect();
        let mut replies = self.ask(id, Dialect::D1100, client, request);
        self.with(id, Connection::end_of_input);
        assert!(!self.is_connected(id), "one request a connection");
        replies.pop().expect("an answer")
    }

    /// Time passes; deadlines are kept.
    pub(super) fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for id in ids {
            if self.connection(id).deadline().is_some_and(|deadline| deadline <= self.now) {
                self.with(id, Connection::expire);
            }
        }
        for upload in self.shared.expire(self.now) {
            self.work(Work::Discard(upload));
        }
    }

    pub(super) fn work(&mut self, work: Work) -> Option<Done> {
        Some(match work {
            Work::Handshake(_) | Work::Enroll { .. } | Work::Usage { .. } => {
                unreachable!("the classic door does not ask for this")
            }
            Work::FindClient { name } => {
                let fresh_id = std::iter::repeat_with(|| ClientId::from_random(rand::random()))
                    .flatten()
                    .next();
                let lookup = Lookup {
                    client: self.clients.get(&name).cloned(),
                    fresh_id: fresh_id.expect("endless"),
                };
                Done::ClientFound(Ok(lookup))
            }
            Work::WrapKey { dialect, public_key, session_key } => {
                Done::KeyWrapped(PublicKey::from_der(&public_key).map(|public_key| {
                    let mut rng = rand::rng();
                    let key = session_key
                        .unwrap_or_else(|| Arc::new(SessionKey::random(dialect, &mut rng)));
                    let wrapped = public_key.wrap(&key, &mut rng);
                    WrappedKey { key, wrapped }
                }))
            }
            Work::AddClient { id, name, public_key } => {
                let free = !matches!(
                    self.clients.get(&name),
                    Some(KnownClient { public_key: Some(_), .. })
                );
                if free {
                    let public_key = Some(public_key);
                    self.clients.insert(name, KnownClient { id, public_key, is_secure: false });
                }
                Done::ClientAdded(Ok(free))
            }
            Work::Begin(id, begin) => {
                let decoder = Some(Decoder::new(&begin.key, begin.sizes));
                self.uploads.insert(id, Staged { begin: *begin, decoder, content: Vec::new() });
                Done::Begun
            }
            Work::Piece(id, mut piece) => {
                let staged = self.uploads.get_mut(&id).expect("begun");
                let decoder = staged.decoder.as_mut().expect("not finished");
                staged.content.extend_from_slice(decoder.decrypt(piece.ciphertext()));
                Done::PieceTaken(piece.buffer)
            }
            Work::Finish(id) => Done::Received(id, self.finish(id)),
            Work::Publish(id) => Done::Published(id, self.publish(id)),
            Work::Discard(id) => {
                self.uploads.remove(&id).expect("discarded once");
                return None;
            }
        })
    }

    fn finish(&mut self, id: UploadId) -> Result<coffer_protocol::decode::Finished, UploadFailure> {
        let mut staged = self.uploads.remove(&id).expect("begun");
        let begin = &staged.begin;
        if begin.refuse_existing && self.files.contains_key(&(begin.client, begin.file.clone())) {
            return Err(UploadFailure::Exists);
        }
        let decoder = staged.decoder.take().expect("finished once");
        let finished = decoder.finish(begin.before.as_ref()).map_err(UploadFailure::Content)?;
        staged.content.extend_from_slice(&finished.tail);
        self.uploads.insert(id, staged);
        Ok(finished)
    }

    fn publish(&mut self, id: UploadId) -> Result<u32, UploadFailure> {
        let staged = self.uploads.remove(&id).ok_or(UploadFailure::Gone)?;
        if self.disk_full {
            return Err(UploadFailure::Ours(Failure("the disk is full".into())));
        }
        let versions = self.files.entry((staged.begin.client, staged.begin.file)).or_default();
        versions.push(staged.content);
        Ok(versions.len() as u32)
    }

    /// Registers over d825 on a new connection and returns what the client then knows.
    pub(super) fn register_825(&mut self, name: &str) -> Peer {
        let connection = self.connect();
        let replies = self.ask(
            connection,
            Dialect::D825,
            ClientId::NONE,
            Request::Register { name: name.as_bytes() },
        );
        let [Reply::Registered { id }] = replies[..] else { panic!("{replies:?}") };
        let replies = self.public_key(connection, id, name);
        let [Reply::Key { wrapped, .. }] = &replies[..] else { panic!("{replies:?}") };
        Peer { connection, id, key: unwrap(Dialect::D825, wrapped) }
    }

    pub(super) fn public_key(
        &mut self,
        connection: ConnectionId,
        id: ClientId,
        name: &str,
    ) -> Vec<Reply> {
        let request = Request::PublicKey { name: name.as_bytes(), key: &KEY.public_der() };
        self.ask(connection, Dialect::D825, id, request)
    }

    /// Registers over d1100 and returns the id and the key.
    pub(super) fn register_1100(&mut self, name: &str) -> (ClientId, SessionKey) {
        let reply = self.ask_1100(ClientId::NONE, Request::Register { name: name.as_bytes() });
        let Reply::Registered { id } = reply else { panic!("{reply:?}") };
        let request = Request::PublicKey { name: name.as_bytes(), key: &KEY.public_der() };
        let reply = self.ask_1100(id, request);
        let Reply::Key { wrapped, .. } = reply else { panic!("{reply:?}") };
        (id, unwrap(Dialect::D1100, &wrapped))
    }

    pub(super) fn send_file(&mut self, peer: &Peer, file: &[u8], content: &[u8]) -> Vec<Reply> {
        self.send(peer.connection, &encoded(&peer.key, peer.id, file, content).0, usize::MAX);
        self.replies(peer.connection, Dialect::D825)
    }

    pub(super) fn judge(&mut self, peer: &Peer, verdict: Verdict, file: &[u8]) -> Vec<Reply> {
        self.ask(peer.connection, Dialect::D825, peer.id, Request::Verdict { verdict, file })
    }

    pub(super) fn send_file_1100(
        &mut self,
        id: ClientId,
        key: &SessionKey,
        file: &[u8],
        content: &[u8],
    ) -> Reply {
        let connection = self.connect();
        self.send(connection, &encoded(key, id, file, content).0, usize::MAX);
        let mut replies = self.replies(connection, Dialect::D1100);
        self.with(connection, Connection::end_of_input);
        replies.pop().expect("an answer")
    }

    pub(super) fn versions(&self, id: ClientId, file: &[u8]) -> usize {
        self.files.get(&(id, file.to_vec())).map_or(0, Vec::len)
    }
}

/// A d825 client with its key.
pub(super) struct Peer {
    pub(super) connection: ConnectionId,
    pub(super) id: ClientId,
    pub(super) key: SessionKey,
}

pub(super) fn unwrap(dialect: Dialect, wrapped: &[u8]) -> SessionKey {
    KEY.unwrap_key(dialect, wrapped, &mut rand::rng()).expect("wrapped for us")
}

/// A file as it goes over the wire, and its checksum.
pub(super) fn encoded(
    key: &SessionKey,
    id: ClientId,
    file: &[u8],
    content: &[u8],
) -> (Vec<u8>, u32) {
    let mut encoder = Encoder::new(key, id, file, content.len() as u64).expect("small enough");
    let mut wire = Vec::new();
    encoder.push_head(&mut wire);
    encoder.push(content, &mut wire);
    encoder.finish(&mut wire);
    (wire, encoder.checksum())
}

pub(super) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 256) as u8).collect()
}
