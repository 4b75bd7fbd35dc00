//! Threads that only wait for the disk, so that a sync never stalls decryption.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crate::job::UploadId;
use crate::queue::Queue;
use crate::storage::{BlobId, BlobStore, BlobWriter};

/// A finished content that is to survive power loss.
pub(super) enum Unsynced {
    /// Written already, piece by piece.
    Written(Box<dyn BlobWriter>),
    /// Collected in memory.
    Collected(Vec<u8>),
}

/// A content for the syncers, and whom to tell.
pub(super) struct ToSync {
    pub(super) upload: UploadId,
    pub(super) what: Unsynced,
    pub(super) reply: Box<dyn FnOnce(Synced) + Send>,
}

/// What became of it: the blob, durable with its name, or why not. After a failure it is removed, never trusted.
pub(super) struct Synced {
    pub(super) upload: UploadId,
    pub(super) result: io::Result<BlobId>,
}

pub(super) fn start(
    number: usize,
    store: &Arc<dyn BlobStore>,
    queue: &Arc<Queue<ToSync>>,
) -> io::Result<JoinHandle<()>> {
    let (store, queue) = (Arc::clone(store), Arc::clone(queue));
    Builder::new().name(format!("syncer-{number}")).spawn(move || {
        while let Some(to_sync) = queue.pop() {
            to_sync.perform(&*store);
        }
    })
}

impl ToSync {
    /// Syncs, and tells who waits for it.
    pub(super) fn perform(self, store: &dyn BlobStore) {
        let Self { upload, what, reply } = self;
        reply(Synced { upload, result: sync(store, what) });
    }
}

fn sync(store: &dyn BlobStore, what: Unsynced) -> io::Result<BlobId> {
    let writer = match what {
        Unsynced::Written(writer) => writer,
        Unsynced::Collected(bytes) => {
            let mut writer = store.create()?;
            writer.write_at(0, &bytes)?;
            writer
        }
    };
    let id = writer.id();
    writer.seal()?;
    Ok(id)
}
