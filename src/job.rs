//! What session and workers say to each other: plain data, and the only thing they share.

use std::fmt;
use std::sync::Arc;

use coffer_protocol::cipher::SessionKey;
use coffer_protocol::decode::{Attempt, DecodeError, Finished, Sizes};
use coffer_protocol::key::KeyError;
use coffer_protocol::request::FILE_PACKET;
use coffer_protocol::{ClientId, Dialect, PACKET};

use coffer_protocol::v4::fingerprint::Pin;
use coffer_protocol::v4::invitation::Secret;
use rustls::ServerConnection;
use thiserror::Error;

use crate::buffer::Buffer;

/// A connection's slot and the generation of its use, so that an answer for a connection that is gone never reaches
/// the one that got its slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ConnectionId {
    /// Index in the reactor's slab.
    pub slot: u32,
    /// How often the slot had been used before.
    pub generation: u32,
}

/// An upload, from its first byte to its verdict. Never reused within a run of the server.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct UploadId {
    /// Counts all uploads of this run.
    pub number: u64,
    /// Whether its content goes to a file piece by piece. Such an upload has workers of its own, and
    /// lets smaller requests pass.
    pub is_large: bool,
}

/// Something heavy to be done off the reactor thread.
#[derive(Debug)]
pub struct Job {
    /// Whom the completion is for.
    pub connection: ConnectionId,
    /// What to do.
    pub work: Work,
}

/// The kinds of work. Those of one upload are done in the order in which they were given.
#[derive(Debug)]
pub enum Work {
    /// Look a name up, and make an id that nobody has in case it is free. Answered by [`Done::ClientFound`].
    FindClient {
        /// A checked client name.
        name: String,
    },
    /// Wrap a session key. Answered by [`Done::KeyWrapped`].
    WrapKey {
        /// Decides the length of a new key and the OAEP hash.
        dialect: Dialect,
        /// The client's key as it sent it or as the catalog has it.
        public_key: Vec<u8>,
        /// The key to wrap, where one is still valid; otherwise a new one is made.
        session_key: Option<Arc<SessionKey>>,
    },
    /// Make a client durable. Answered by [`Done::ClientAdded`].
    AddClient {
        /// Its id.
        id: ClientId,
        /// Its checked name.
        name: String,
        /// Its checked public key.
        public_key: Vec<u8>,
    },
    /// An upload starts. Answered by [`Done::Begun`], whatever is wrong with it: that comes out at its end.
    Begin(UploadId, Box<Begin>),
    /// A piece of an upload's ciphertext. Answered by [`Done::PieceTaken`].
    Piece(UploadId, Piece),
    /// An upload is complete: check it, and start making it durable. Answered by [`Done::Received`].
    Finish(UploadId),
    /// The client agreed with the checksum: make the file its newest version. Answered by [`Done::Published`].
    Publish(UploadId),
    /// Forget an upload and what was stored of it. Not answered.
    Discard(UploadId),
    /// Compute the next flight of a handshake. Answered by [`Done::Handshake`].
    Handshake(Box<Flight>),
    /// Let a key in that knows the secret of an invitation. Answered by [`Done::Enrolled`].
    Enroll {
        /// What the invitation holds.
        secret: Secret,
        /// The key that was proved.
        pin: Pin,
    },
    /// Count what a client stores. Answered by [`Done::Used`].
    Usage {
        /// The key that was proved.
        pin: Pin,
    },
}

/// A peer's flight of a TLS handshake, on its way to a worker.
#[derive(Default)]
pub struct Flight {
    /// The handshake so far; nothing before the first flight.
    pub tls: Option<Box<ServerConnection>>,
    /// Whole records.
    pub records: Vec<u8>,
}

/// What a worker made of a [`Flight`].
pub struct Handshaken {
    /// Our flight, or an alert.
    pub to_send: Vec<u8>,
    /// How it goes on.
    pub outcome: Result<Progress, HandshakeFailure>,
}

/// How a handshake goes on.
pub enum Progress {
    /// The peer's turn.
    Incomplete(Box<ServerConnection>),
    /// It is complete, and shows who it is.
    Complete(Box<ServerConnection>, Peer),
}

/// Why a handshake came to nothing.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// The peer's doing.
    #[error("the handshake failed: {0}")]
    Peer(String),
    /// Ours.
    #[error("{0}")]
    Ours(Failure),
}

/// Who proved which key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The key.
    pub pin: Pin,
    /// Whose it is, if it is anybody's.
    pub client: Option<SecureClient>,
    /// The time at which that was so, in milliseconds since 1970, UTC.
    pub now_ms: u64,
}

/// A client of the secure door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecureClient {
    /// Its name.
    pub name: String,
    /// When its key was let in, in milliseconds since 1970, UTC.
    pub enrolled_at: u64,
    /// Whether its key was revoked since.
    pub is_revoked: bool,
}

/// What became of an invitation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enrollment {
    /// The key is this client's.
    Done {
        /// The client.
        client: SecureClient,
        /// It was so before: the same secret with the same key.
        already: bool,
    },
    /// Nobody was invited with this secret, or too long ago, or somebody else came.
    BadCode,
    /// Somebody else has the name.
    NameTaken,
    /// The key is another client's already.
    KeyTaken,
}

/// What a client stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Versions of files.
    pub versions: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The bytes that it may store.
    pub quota: Option<u64>,
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flight({} bytes)", self.records.len())
    }
}

impl fmt::Debug for Handshaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = self.outcome.as_ref().map(|progress| match progress {
            Progress::Incomplete(_) => None,
            Progress::Complete(_, peer) => Some(peer),
        });
        write!(f, "Handshaken({outcome:?})")
    }
}

/// How an upload starts.
#[derive(Debug)]
pub struct Begin {
    /// Whose file it is.
    pub client: ClientId,
    /// The file's name as the client sent it.
    pub file: Vec<u8>,
    /// What was announced.
    pub sizes: Sizes,
    /// The client's session key.
    pub key: Arc<SessionKey>,
    /// Whether a verified file of this name stands in the way.
    pub refuse_existing: bool,
    /// The attempt at the same file that the client just called wrong.
    pub before: Option<Attempt>,
}

/// A run of ciphertext in a receive buffer.
#[derive(Debug)]
pub struct Piece {
    /// The buffer, which comes back in the answer.
    pub buffer: Buffer,
    /// Where the run starts in it, in bytes.
    pub at: usize,
    /// How it lies there.
    pub layout: Layout,
}

/// How a run of ciphertext lies in its buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// This many bytes, one after the other.
    Plain(usize),
    /// This many whole d825 file packets, each with its data at its end.
    Packets(usize),
}

impl Piece {
    /// The ciphertext in one run, moved together in place where packet headers lie between.
    pub fn ciphertext(&mut self) -> &mut [u8] {
        let at = self.at;
        let bytes = self.buffer.filled_mut();
        match self.layout {
            Layout::Plain(length) => &mut bytes[at..at + length],
            Layout::Packets(count) => {
                for number in 0..count {
                    let end = at + (number + 1) * FILE_PACKET;
                    bytes.copy_within(end - PACKET..end, at + number * PACKET);
                }
                &mut bytes[at..at + count * PACKET]
            }
        }
    }
}

/// A job's answer.
#[derive(Debug)]
pub struct Completion {
    /// Whom it is for.
    pub connection: ConnectionId,
    /// What came out.
    pub done: Done,
}

/// The answers to [`Work`].
#[derive(Debug)]
pub enum Done {
    /// To [`Work::FindClient`].
    ClientFound(Result<Lookup, Failure>),
    /// To [`Work::WrapKey`].
    KeyWrapped(Result<WrappedKey, KeyError>),
    /// To [`Work::AddClient`]: whether the name and the id were free.
    ClientAdded(Result<bool, Failure>),
    /// To [`Work::Begin`]: an upload costs its peer a turn, so that nobody can begin them faster than they are taken.
    Begun,
    /// To [`Work::Piece`]: the buffer back.
    PieceTaken(Buffer),
    /// To [`Work::Finish`].
    Received(UploadId, Result<Finished, UploadFailure>),
    /// To [`Work::Publish`]: the number of the new version.
    Published(UploadId, Result<u32, UploadFailure>),
    /// To [`Work::Handshake`].
    Handshake(Box<Handshaken>),
    /// To [`Work::Enroll`].
    Enrolled(Result<Enrollment, Failure>),
    /// To [`Work::Usage`]: nothing if the key was revoked meanwhile.
    Used(Result<Option<Usage>, Failure>),
}

/// What the catalog knows of a name.
#[derive(Debug)]
pub struct Lookup {
    /// The client of that name.
    pub client: Option<KnownClient>,
    /// An id for it in case it is free: safe on the wire and unknown to the catalog.
    pub fresh_id: ClientId,
}

/// A client in the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownClient {
    /// Its id.
    pub id: ClientId,
    /// Its public key; `None` after the operator reset it, when the name may be registered again.
    pub public_key: Option<Vec<u8>>,
    /// Whether its name belongs to the secure door: then it can neither be registered nor used by the classic one.
    pub is_secure: bool,
}

/// A session key and its wrapping for one client.
#[derive(Debug)]
pub struct WrappedKey {
    /// The key.
    pub key: Arc<SessionKey>,
    /// As long as the client's modulus.
    pub wrapped: Vec<u8>,
}

/// We failed; the reason is in the server's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why an upload came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadFailure {
    /// A verified file of this name exists, and the policy is to refuse.
    Exists,
    /// The client was removed meanwhile.
    NoClient,
    /// The content is not what was announced.
    Content(DecodeError),
    /// Nothing is known of this upload: too many were waiting for a verdict.
    Gone,
    /// We failed: the disk is full, say.
    Ours(Failure),
}
