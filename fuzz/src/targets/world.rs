//! Everything around the connection machines, in memory: workers that answer in any order, a disk that fails, a clock.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use coffer_protocol::cipher::SessionKey;
use coffer_protocol::decode::{Decoder, Finished};
use coffer_protocol::key::KeyError;
use coffer_protocol::reply::{REPLY_HEADER, Reply, ReplyHeader};
use coffer_protocol::{ClientId, Dialect};
use cofferd::buffer::Pool;
use cofferd::connection::{Connection, Surroundings};
use cofferd::job::{
    Begin, ConnectionId, Done, Failure, Job, KnownClient, Lookup, UploadFailure, UploadId, Work,
    WrappedKey,
};
use cofferd::limits::{CONTENT_JOBS_MAX, OUTBOX_MAX};
use cofferd::moment::Moment;
use cofferd::session::{Classic, Context, Existing, Quotas, Shared};

/// Bytes of the longest reply.
const REPLY_MAX: usize = 1024;

/// Bytes that a peer sends ahead, beyond which it sends no more.
const UNREAD_MAX: usize = 1 << 20;

/// An upload as workers know it.
struct Staged {
    begin: Begin,
    decoder: Option<Decoder>,
    content: Vec<u8>,
}

/// A machine, and what its peer has sent that it has not read.
struct Connected {
    machine: Connection,
    unread: Vec<u8>,
    /// How much of that it has read.
    read: usize,
    peer_closed: bool,
}

/// Connections, what they share, and the workers.
pub(crate) struct World {
    shared: Shared,
    pool: Pool,
    now: Moment,
    /// Bytes in one read.
    pub(crate) step: usize,
    /// Makes the catalog and the disk fail.
    pub(crate) failing: bool,
    connections: HashMap<ConnectionId, Connected>,
    connected: u32,
    jobs: Vec<Job>,
    pub(crate) clients: HashMap<String, KnownClient>,
    ids: u8,
    uploads: HashMap<UploadId, Staged>,
    files: HashMap<(ClientId, Vec<u8>), u32>,
}

impl World {
    pub(crate) fn new(existing: Existing, quotas: Quotas) -> Self {
        Self {
            shared: Shared::new(existing, quotas, Classic::Everywhere),
            pool: Pool::default(),
            now: Moment(0),
            step: usize::MAX,
            failing: false,
            connections: HashMap::new(),
            connected: 0,
            jobs: Vec::new(),
            clients: HashMap::new(),
            ids: 0,
            uploads: HashMap::new(),
            files: HashMap::new(),
        }
    }

    /// The session key that every client gets.
    pub(crate) fn key(dialect: Dialect) -> SessionKey {
        SessionKey::from_bytes(dialect, &vec![7; dialect.key_len()]).expect("its length")
    }

    pub(crate) fn connect(&mut self) -> ConnectionId {
        self.connected += 1;
        let id = ConnectionId { slot: self.connected % 4, generation: self.connected };
        let peer: SocketAddr = ([10, 0, 0, (self.connected % 2) as u8], 9).into();
        let machine = match self.shared.admit(peer.ip()) {
            None => Connection::new(peer, self.now),
            Some(reason) => Connection::refused(peer, self.now, reason),
        };
        let connected = Connected { machine, unread: Vec::new(), read: 0, peer_closed: false };
        self.connections.insert(id, connected);
        id
    }

    /// Calls a machine as the shell does, and frees it when it is finished.
    pub(crate) fn with(
        &mut self,
        id: ConnectionId,
        call: impl FnOnce(&mut Connection, &mut Surroundings),
    ) {
        let Some(mut connected) = self.connections.remove(&id) else { return };
        let jobs = &mut self.jobs;
        let session = Context { shared: &mut self.shared, jobs, now: self.now, connection: id };
        let mut cx = Surroundings { session, pool: &mut self.pool };
        call(&mut connected.machine, &mut cx);
        let machine = &mut connected.machine;
        assert!(machine.outbox().unsent().len() <= OUTBOX_MAX + REPLY_MAX, "answers are bounded");
        if machine.is_finished() {
            machine.close(&mut cx);
        } else {
            self.connections.insert(id, connected);
        }
        // One more than the limit: a packet that held others back is passed on with them.
        let mine = self.jobs.iter().filter(|job| job.connection == id);
        let content = mine.filter(|job| matches!(job.work, Work::Begin(..) | Work::Piece(..)));
        assert!(content.count() <= CONTENT_JOBS_MAX + 1, "content in flight is bounded");
    }

    /// The peer sends bytes, of which the machine reads what it wants.
    pub(crate) fn send(&mut self, id: ConnectionId, bytes: &[u8]) {
        let Some(connected) = self.connections.get_mut(&id) else { return };
        if !connected.peer_closed && connected.unread.len() < UNREAD_MAX {
            connected.unread.extend_from_slice(bytes);
        }
        self.read(id);
    }

    fn read(&mut self, id: ConnectionId) {
        while let Some(connected) = self.connections.get_mut(&id)
            && connected.machine.wants_input()
            && connected.read < connected.unread.len()
        {
            let mut buffer = self.pool.take().expect("a few connections do not use all buffers");
            connected.machine.prepare(&mut buffer);
            let unread = &connected.unread[connected.read..];
            let count = unread.len().min(self.step).min(buffer.spare_mut().len());
            buffer.extend(&unread[..count]);
            connected.read += count;
            if connected.read == connected.unread.len() {
                connected.unread.clear();
                connected.read = 0;
            }
            self.with(id, |machine, cx| machine.receive(cx, buffer, count));
        }
        // The end comes behind the last byte.
        if let Some(connected) = self.connections.get(&id)
            && connected.peer_closed
            && connected.unread.is_empty()
        {
            self.with(id, Connection::end_of_input);
        }
    }

    /// The peer will send no more.
    pub(crate) fn half_close(&mut self, id: ConnectionId) {
        if let Some(connected) = self.connections.get_mut(&id) {
            connected.peer_closed = true;
        }
        self.read(id);
    }

    /// The peer reads its answers, which must be whole.
    pub(crate) fn read_answers(&mut self, id: ConnectionId) {
        let Some(connected) = self.connections.get_mut(&id) else { return };
        let bytes = connected.machine.outbox().unsent().to_vec();
        connected.machine.outbox().clear();
        let mut rest = &bytes[..];
        while let Some(header) = rest.first_chunk().map(ReplyHeader::parse) {
            let dialect = if header.code < 2000 { Dialect::D825 } else { Dialect::D1100 };
            let length = Reply::payload_len(dialect, header).expect("a valid reply");
            let payload = &rest[REPLY_HEADER..REPLY_HEADER + length];
            Reply::parse(dialect, header.code, payload).expect("a valid reply");
            rest = &rest[dialect.padded_len(REPLY_HEADER + length)..];
        }
        assert!(rest.is_empty(), "nothing but whole replies");
        self.with(id, |_, _| {});
    }

    /// A worker does one of the jobs that wait; those of one upload are done in order.
    pub(crate) fn work(&mut self, choice: usize) {
        if self.jobs.is_empty() {
            return;
        }
        let chosen = choice % self.jobs.len();
        let upload = upload_of(&self.jobs[chosen].work);
        let first =
            self.jobs.iter().position(|job| upload.is_some() && upload_of(&job.work) == upload);
        let Job { connection, work } = self.jobs.remove(first.unwrap_or(chosen));
        if let Some(done) = self.done(work) {
            assert!(self.connections.contains_key(&connection), "closing waits for its jobs");
            self.with(connection, |machine, cx| machine.complete(cx, done));
            self.read(connection);
        }
    }

    /// Time passes; deadlines are kept.
    pub(crate) fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        let mut ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            let deadline =
                self.connections.get(&id).and_then(|connected| connected.machine.deadline());
            if deadline.is_some_and(|deadline| deadline <= self.now) {
                self.with(id, Connection::expire);
            }
        }
        let nobody = ConnectionId { slot: u32::MAX, generation: 0 };
        let gone = self.shared.expire(self.now);
        self.jobs
            .extend(gone.into_iter().map(|id| Job { connection: nobody, work: Work::Discard(id) }));
    }

    /// Everything comes to an end by itself: jobs are done, answers read, deadlines pass. Nothing may be left.
    pub(crate) fn quiesce(&mut self) {
        for _ in 0..8 {
            while !self.jobs.is_empty() {
                self.work(0);
            }
            let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
            ids.into_iter().for_each(|id| self.read_answers(id));
            self.wait(Duration::from_secs(4000));
        }
        assert!(self.connections.is_empty(), "a connection for ever");
        while !self.jobs.is_empty() {
            self.work(0);
        }
        assert!(self.uploads.is_empty(), "an upload for ever");
        assert_eq!(self.pool.in_use(), 0, "a receive buffer for ever");
    }

    fn done(&mut self, work: Work) -> Option<Done> {
        let failure = || Failure("the disk is full".to_owned());
        Some(match work {
            Work::FindClient { .. } if self.failing => Done::ClientFound(Err(failure())),
            Work::FindClient { name } => {
                self.ids = self.ids.wrapping_add(1);
                let fresh_id = ClientId([self.ids; 16]);
                Done::ClientFound(Ok(Lookup { client: self.clients.get(&name).cloned(), fresh_id }))
            }
            // Whether a key is one is for another target to ask.
            Work::WrapKey { public_key, .. } if public_key[0] != 0x30 => {
                Done::KeyWrapped(Err(KeyError::NoPublicKey))
            }
            Work::WrapKey { dialect, session_key, .. } => {
                let key = session_key.unwrap_or_else(|| Arc::new(Self::key(dialect)));
                Done::KeyWrapped(Ok(WrappedKey { key, wrapped: vec![1; 128] }))
            }
            Work::AddClient { .. } if self.failing => Done::ClientAdded(Err(failure())),
            Work::AddClient { id, name, public_key } => {
                Done::ClientAdded(Ok(self.add(id, name, public_key)))
            }
            Work::Begin(id, begin) => {
                let decoder = Some(Decoder::new(&begin.key, begin.sizes));
                let staged = Staged { begin: *begin, decoder, content: Vec::new() };
                assert!(self.uploads.insert(id, staged).is_none(), "begun once");
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
                self.uploads.remove(&id).expect("begun, and discarded once");
                return None;
            }
            other => unreachable!("the classic door does not ask for {other:?}"),
        })
    }

    fn add(&mut self, id: ClientId, name: String, public_key: Vec<u8>) -> bool {
        let known = KnownClient { id, public_key: Some(public_key), is_secure: false };
        let id_is_free = self.clients.values().all(|client| client.id != id);
        let is_free = id_is_free && !self.clients.contains_key(&name);
        if is_free {
            self.clients.insert(name, known);
        }
        is_free
    }

    fn finish(&mut self, id: UploadId) -> Result<Finished, UploadFailure> {
        let mut staged = self.uploads.remove(&id).expect("begun");
        let begin = &staged.begin;
        if begin.refuse_existing && self.files.contains_key(&(begin.client, begin.file.clone())) {
            return Err(UploadFailure::Exists);
        }
        let decoder = staged.decoder.take().expect("finished once");
        let finished = decoder.finish(begin.before.as_ref()).map_err(UploadFailure::Content)?;
        staged.content.extend_from_slice(&finished.tail);
        assert_eq!(staged.content.len() as u64, finished.size);
        self.uploads.insert(id, staged);
        Ok(finished)
    }

    fn publish(&mut self, id: UploadId) -> Result<u32, UploadFailure> {
        let staged = self.uploads.remove(&id).expect("published once");
        assert!(staged.decoder.is_none(), "what is published was complete");
        if self.failing {
            return Err(UploadFailure::Ours(Failure("the disk is full".to_owned())));
        }
        let versions = self.files.entry((staged.begin.client, staged.begin.file)).or_default();
        *versions += 1;
        Ok(*versions)
    }
}

fn upload_of(work: &Work) -> Option<UploadId> {
    match work {
        Work::Begin(id, _) | Work::Piece(id, _) => Some(*id),
        Work::Finish(id) | Work::Publish(id) | Work::Discard(id) => Some(*id),
        _ => None,
    }
}
