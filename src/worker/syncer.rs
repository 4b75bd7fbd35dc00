//! Threads that only wait for the disk, so that a sync never stalls decryption.
//!
//! A large content was written while it arrived, and is synced by itself. Collected ones are written here, as many as
//! wait, and share one sync.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crate::job::UploadId;
use crate::limits::{GROUP_SYNCERS, SYNC_GROUP_MAX, SYNC_QUEUE_MAX, SYNCERS};
use crate::queue::Queue;
use crate::storage::{BlobId, BlobStore, BlobWriter};

/// A finished content that is to survive power loss.
pub(super) enum Unsynced {
    /// Written already, piece by piece.
    Written(Box<dyn BlobWriter>),
    /// Collected in memory.
    Collected(Vec<u8>),
}

/// Tells who waits for a sync.
pub(super) type Reply = Box<dyn FnOnce(Synced) + Send>;

/// A content for the syncers, and whom to tell.
pub(super) struct ToSync<C> {
    upload: UploadId,
    content: C,
    reply: Reply,
}

/// What became of it: the blob, durable with its name, or why not. After a failure it is removed, never trusted.
pub(super) struct Synced {
    pub(super) upload: UploadId,
    pub(super) result: io::Result<BlobId>,
}

/// What waits for the syncers.
pub(super) struct SyncQueues {
    pub(super) written: Queue<ToSync<Box<dyn BlobWriter>>>,
    pub(super) collected: Queue<ToSync<Vec<u8>>>,
}

impl SyncQueues {
    pub(super) fn new() -> Self {
        Self { written: Queue::new(SYNC_QUEUE_MAX), collected: Queue::new(SYNC_QUEUE_MAX) }
    }

    /// Hands a content over.
    ///
    /// # Panics
    /// If a queue is full, which the limit on uploads rules out.
    pub(super) fn push(&self, upload: UploadId, content: Unsynced, reply: Reply) {
        let pushed = match content {
            Unsynced::Written(content) => {
                self.written.push(ToSync { upload, content, reply }).is_ok()
            }
            Unsynced::Collected(content) => {
                self.collected.push(ToSync { upload, content, reply }).is_ok()
            }
        };
        assert!(pushed, "the syncers' queues hold every upload");
    }

    pub(super) fn close(&self) {
        self.written.close();
        self.collected.close();
    }
}

/// Starts the threads. They end when the queues are closed and empty.
pub(super) fn start(
    store: &Arc<dyn BlobStore>,
    queues: &Arc<SyncQueues>,
) -> io::Result<Vec<JoinHandle<()>>> {
    let single = (0..SYNCERS).map(|number| {
        let queues = Arc::clone(queues);
        Builder::new().name(format!("syncer-{number}")).spawn(move || sync_each(&queues))
    });
    let group = (0..GROUP_SYNCERS).map(|number| {
        let (store, queues) = (Arc::clone(store), Arc::clone(queues));
        Builder::new().name(format!("group-{number}")).spawn(move || sync_groups(&*store, &queues))
    });
    single.chain(group).collect()
}

fn sync_each(queues: &SyncQueues) {
    while let Some(one) = queues.written.pop() {
        one.perform();
    }
}

fn sync_groups(store: &dyn BlobStore, queues: &SyncQueues) {
    let mut group = Vec::new();
    while queues.collected.take_all(SYNC_GROUP_MAX, &mut group) {
        perform_group(store, std::mem::take(&mut group));
    }
}

impl ToSync<Box<dyn BlobWriter>> {
    /// Syncs, and tells who waits for it.
    pub(super) fn perform(self) {
        let id = self.content.id();
        let result = self.content.seal().map(|()| id);
        (self.reply)(Synced { upload: self.upload, result });
    }
}

/// Writes and syncs a group, and tells who waits for it.
pub(super) fn perform_group(store: &dyn BlobStore, group: Vec<ToSync<Vec<u8>>>) {
    let mut contents = Vec::with_capacity(group.len());
    let mut waiting = Vec::with_capacity(group.len());
    for ToSync { upload, content, reply } in group {
        contents.push(content);
        waiting.push((upload, reply));
    }
    let results = store.store(&contents);
    assert_eq!(results.len(), waiting.len(), "every content has a result");
    for ((upload, reply), result) in waiting.into_iter().zip(results) {
        reply(Synced { upload, result });
    }
}
