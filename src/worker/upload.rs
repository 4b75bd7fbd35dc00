//! One upload on its worker.
//!
//! ```text
//!   Receiving ──finish──> Syncing ──synced──> Staged ──publish──> (catalog)
//!       │                    │  └──────publish, then synced──────────^
//!       │                    └──discard, then synced──> (removed)
//!       └──error──> Failed ──finish──> (answered)
//! ```
//! Small contents go from `Receiving` straight to `Staged`. A discarded upload leaves nothing behind.

use std::io;

use coffer_protocol::decode::{Attempt, Decoder, Finished};
use coffer_protocol::name::escape;
use coffer_protocol::{ClientId, Dialect};

use super::syncer::Unsynced;
use super::unreadable;
use crate::catalog::{Change, Content, Reader};
use crate::job::{Begin, ConnectionId, Failure, UploadFailure};
use crate::limits::INLINE_BYTES_MAX;
use crate::storage::{BlobId, BlobStore, BlobWriter, Reserved};

/// An upload's state between two jobs.
pub(super) enum Upload {
    Receiving(Box<Receiving>),
    Syncing { version: Version, then: Then },
    Staged { version: Version, content: Content },
    Failed(UploadFailure),
}

pub(super) struct Receiving {
    client: ClientId,
    file: Vec<u8>,
    dialect: Dialect,
    refuse_existing: bool,
    before: Option<Attempt>,
    decoder: Decoder,
    target: Target,
    room: Reserved,
}

enum Target {
    Memory(Vec<u8>),
    Blob { writer: Box<dyn BlobWriter>, offset: u64 },
}

/// What the catalog will be told of the upload.
pub(super) struct Version {
    client: ClientId,
    file: Vec<u8>,
    dialect: Dialect,
    refuse_existing: bool,
    size: u64,
    cksum: u32,
}

/// What happens when the content is durable.
pub(super) enum Then {
    AwaitVerdict,
    Publish(ConnectionId),
    Remove,
}

pub(super) enum Publish {
    Now(Change),
    WhenSynced(Upload),
}

pub(super) enum Synced {
    Wait(Upload),
    Commit(ConnectionId, Change),
    Fail(ConnectionId, UploadFailure),
    Remove(BlobId),
    Nothing,
}

pub(super) enum Discard {
    WhenSynced(Upload),
    Remove(BlobId),
    Nothing,
}

impl Upload {
    pub(super) fn begin(
        begin: Begin,
        is_large: bool,
        reader: &Reader,
        store: &dyn BlobStore,
    ) -> Self {
        if begin.refuse_existing {
            match reader.stands_in_the_way(&begin.client, &begin.file) {
                Ok(false) => {}
                Ok(true) => return Self::Failed(UploadFailure::Exists),
                Err(error) => return Self::Failed(UploadFailure::Ours(unreadable(&error))),
            }
        }
        let size = begin.sizes.plain_max();
        let room = match store.reserve(size) {
            Ok(room) => room,
            Err(error) => return Self::Failed(storing(&begin.client, &begin.file, &error)),
        };
        let target = if is_large {
            match store.create() {
                Ok(writer) => Target::Blob { writer, offset: 0 },
                Err(error) => return Self::Failed(storing(&begin.client, &begin.file, &error)),
            }
        } else {
            Target::Memory(Vec::with_capacity(size as usize))
        };
        Self::Receiving(Box::new(Receiving {
            client: begin.client,
            file: begin.file,
            dialect: begin.key.dialect(),
            refuse_existing: begin.refuse_existing,
            before: begin.before,
            decoder: Decoder::new(&begin.key, begin.sizes),
            target,
            room,
        }))
    }

    /// Decrypts a piece in place and stores it. What goes wrong comes out in [`Upload::finish`].
    pub(super) fn write(&mut self, ciphertext: &mut [u8]) {
        if let Self::Receiving(receiving) = self {
            let plain = receiving.decoder.decrypt(ciphertext);
            if let Err(error) = receiving.target.write(plain, &mut receiving.room) {
                *self = Self::Failed(storing(&receiving.client, &receiving.file, &error));
            }
        }
    }

    /// The content is complete. Returns what the upload is now, and what the syncers have to do for it.
    pub(super) fn finish(self) -> Result<(Self, Option<Unsynced>, Finished), UploadFailure> {
        let receiving = match self {
            Self::Receiving(receiving) => *receiving,
            Self::Failed(failure) => return Err(failure),
            Self::Syncing { .. } | Self::Staged { .. } => {
                unreachable!("an upload is finished once")
            }
        };
        let Receiving {
            client,
            file,
            dialect,
            refuse_existing,
            before,
            decoder,
            mut target,
            mut room,
        } = receiving;
        let finished = decoder.finish(before.as_ref()).map_err(UploadFailure::Content)?;
        target.write(&finished.tail, &mut room).map_err(|error| storing(&client, &file, &error))?;
        let (size, cksum) = (finished.size, finished.cksum);
        let version = Version { client, file, dialect, refuse_existing, size, cksum };
        let (upload, to_sync) = match target {
            Target::Memory(bytes) if bytes.len() as u64 <= INLINE_BYTES_MAX => {
                (Self::Staged { version, content: Content::Inline(bytes) }, None)
            }
            Target::Memory(bytes) => (Self::syncing(version), Some(Unsynced::Collected(bytes))),
            Target::Blob { writer, .. } => {
                (Self::syncing(version), Some(Unsynced::Written(writer)))
            }
        };
        Ok((upload, to_sync, finished))
    }

    fn syncing(version: Version) -> Self {
        Self::Syncing { version, then: Then::AwaitVerdict }
    }

    /// The client agreed.
    pub(super) fn publish(self, connection: ConnectionId) -> Result<Publish, UploadFailure> {
        match self {
            Self::Staged { version, content } => Ok(Publish::Now(version.change(content))),
            Self::Syncing { version, .. } => {
                Ok(Publish::WhenSynced(Self::Syncing { version, then: Then::Publish(connection) }))
            }
            Self::Failed(failure) => Err(failure),
            Self::Receiving(_) => unreachable!("a verdict comes after the content"),
        }
    }

    /// A syncer answered.
    pub(super) fn synced(self, result: io::Result<BlobId>) -> Synced {
        let Self::Syncing { version, then } = self else {
            unreachable!("only a syncing upload is synced")
        };
        match (result, then) {
            (Ok(blob), Then::Publish(connection)) => {
                Synced::Commit(connection, version.change(Content::Blob(blob)))
            }
            (Ok(blob), Then::AwaitVerdict) => {
                Synced::Wait(Self::Staged { version, content: Content::Blob(blob) })
            }
            (Ok(blob), Then::Remove) => Synced::Remove(blob),
            (Err(_), Then::Remove) => Synced::Nothing,
            (Err(error), Then::Publish(connection)) => {
                Synced::Fail(connection, storing(&version.client, &version.file, &error))
            }
            (Err(error), Then::AwaitVerdict) => {
                Synced::Wait(Self::Failed(storing(&version.client, &version.file, &error)))
            }
        }
    }

    /// Nobody wants it any more.
    pub(super) fn discard(self) -> Discard {
        match self {
            Self::Syncing { version, .. } => {
                Discard::WhenSynced(Self::Syncing { version, then: Then::Remove })
            }
            Self::Staged { content: Content::Blob(blob), .. } => Discard::Remove(blob),
            // A writer that is dropped removes its file.
            Self::Staged { .. } | Self::Receiving(_) | Self::Failed(_) => Discard::Nothing,
        }
    }
}

impl Target {
    fn write(&mut self, bytes: &[u8], room: &mut Reserved) -> io::Result<()> {
        match self {
            Self::Memory(memory) => memory.extend_from_slice(bytes),
            Self::Blob { writer, offset } => {
                writer.write_at(*offset, bytes)?;
                *offset += bytes.len() as u64;
                room.taken(bytes.len() as u64);
            }
        }
        Ok(())
    }
}

impl Version {
    fn change(self, content: Content) -> Change {
        Change::AddVersion {
            client: self.client,
            file: self.file,
            size: self.size,
            cksum: self.cksum,
            dialect: self.dialect.number(),
            content,
            refuse_existing: self.refuse_existing,
        }
    }
}

/// The disk said no.
fn storing(client: &ClientId, file: &[u8], error: &io::Error) -> UploadFailure {
    UploadFailure::Ours(Failure(format!(
        "cannot store {:?} of client {client}: {error}",
        escape(file)
    )))
}
