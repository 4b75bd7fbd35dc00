//! The pool: everything heavy. Workers decrypt, checksum and write, and wrap keys; syncers only wait for the disk.
//!
//! An upload belongs to one worker, which does its jobs in order and keeps its state without a lock; different uploads
//! run in parallel. Large ones have workers of their own: these also wait where the disk is slow to take what is written,
//! and everything small must not wait with them. Nothing here decides who may do what (that is `session`).

mod handshake;
mod lookup;
mod stepper;
mod syncer;
mod upload;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{Builder, JoinHandle};

use coffer_protocol::cipher::SessionKey;
use coffer_protocol::key::{KeyError, PublicKey};
use coffer_protocol::v4::fingerprint::Pin;
use coffer_protocol::v4::invitation::Secret;
use coffer_protocol::{ClientId, Dialect};
use rand::CryptoRng;
use rustls::ServerConfig;

use crate::catalog::{CatalogError, Change, Reader};
use crate::job::{
    Completion, ConnectionId, Done, Failure, Job, UploadFailure, UploadId, Work, WrappedKey,
};
use crate::limits::WORKER_QUEUE_MAX;
use crate::queue::Queue;
use crate::storage::{BlobId, BlobStore};

pub use stepper::Stepper;
use syncer::{SyncQueues, Synced};
use upload::Upload;

/// Where workers put their answers.
pub trait Answers: Send + Sync {
    /// Takes an answer to the reactor.
    fn push(&self, completion: Completion);
}

/// What a change of the catalog was asked for, so that its outcome finds its way back.
#[derive(Debug)]
pub enum Tag {
    /// [`Work::AddClient`].
    Client(ConnectionId),
    /// [`Work::Enroll`].
    Enrollment(ConnectionId),
    /// [`Work::Publish`], and the blob that the change refers to.
    Version(ConnectionId, UploadId, Option<BlobId>),
}

/// The catalog's queue.
pub type CatalogQueue = Arc<Queue<(Tag, Change)>>;

/// What workers work with.
#[derive(Clone)]
pub struct Tools {
    /// Where contents go.
    pub store: Arc<dyn BlobStore>,
    /// Where changes go.
    pub catalog: CatalogQueue,
    /// Where answers go.
    pub answers: Arc<dyn Answers>,
    /// The catalog's file, which each worker reads through a connection of its own.
    pub catalog_path: PathBuf,
    /// For the handshakes of the secure door.
    pub tls: Arc<ServerConfig>,
}

/// Something for one worker.
enum Task {
    Job(Job),
    Synced(Synced),
}

/// The running pool.
pub struct Workers {
    queues: Queues,
    catalog: CatalogQueue,
    workers: Vec<JoinHandle<()>>,
    syncers: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts `count` workers for large uploads, as many for everything else, and the syncers.
    ///
    /// # Errors
    /// If the catalog cannot be read, or the system has no thread left.
    pub fn start(count: usize, tools: &Tools) -> anyhow::Result<Self> {
        let queues = Queues::new(count);
        let workers = queues.workers(tools)?.into_iter().enumerate().map(|(number, worker)| {
            let name = match number.checked_sub(count) {
                None => format!("worker-{number}"),
                Some(number) => format!("bulk-{number}"),
            };
            Ok(Builder::new().name(name).spawn(move || worker.run())?)
        });
        let workers = workers.collect::<anyhow::Result<_>>()?;
        let syncers = syncer::start(&tools.store, &queues.sync)?;
        Ok(Self { queues, catalog: Arc::clone(&tools.catalog), workers, syncers })
    }

    /// Gives a job to whom it belongs.
    ///
    /// # Panics
    /// If a queue is full, which the limits on connections rule out.
    pub fn dispatch(&self, job: Job) {
        self.queues.dispatch(&self.catalog, job);
    }

    /// Lets what was given be finished, and ends the threads. The catalog's queue stays open until the last worker is
    /// done, and is closed then.
    pub fn stop(self) {
        self.queues.tasks.iter().for_each(|queue| queue.close());
        join(self.workers);
        self.queues.sync.close();
        join(self.syncers);
        self.catalog.close();
    }
}

/// What waits for each worker, and for the syncers.
struct Queues {
    /// First the workers for small tasks, then as many for large uploads.
    tasks: Vec<Arc<Queue<Task>>>,
    sync: Arc<SyncQueues>,
    turn: AtomicUsize,
}

impl Queues {
    fn new(count: usize) -> Self {
        let tasks = (0..2 * count).map(|_| Arc::new(Queue::new(WORKER_QUEUE_MAX))).collect();
        Self { tasks, sync: Arc::new(SyncQueues::new()), turn: AtomicUsize::new(0) }
    }

    /// A worker for each queue of tasks.
    fn workers(&self, tools: &Tools) -> Result<Vec<Worker>, CatalogError> {
        let workers = self.tasks.iter().map(|queue| {
            Ok(Worker {
                reader: Reader::open(&tools.catalog_path)?,
                tools: tools.clone(),
                queue: Arc::clone(queue),
                sync_queues: Arc::clone(&self.sync),
                uploads: HashMap::new(),
            })
        });
        workers.collect()
    }

    fn dispatch(&self, catalog: &CatalogQueue, job: Job) {
        let queue = match job.work {
            Work::AddClient { id, name, public_key } => {
                let change = Change::AddClient { id, name, public_key };
                let pushed = catalog.push((Tag::Client(job.connection), change));
                return assert!(
                    pushed.is_ok(),
                    "the catalog's queue holds a change of every connection"
                );
            }
            Work::FindClient { .. }
            | Work::WrapKey { .. }
            | Work::Handshake(_)
            | Work::Enroll { .. }
            | Work::Usage { .. } => self.next(),
            Work::Begin(upload, _)
            | Work::Piece(upload, _)
            | Work::Finish(upload)
            | Work::Publish(upload)
            | Work::Discard(upload) => self.owner(upload),
        };
        let pushed = queue.push(Task::Job(job));
        assert!(pushed.is_ok(), "a worker's queue holds the jobs of every connection");
    }

    /// The worker that an upload belongs to: one of the second half if it is large.
    fn owner(&self, upload: UploadId) -> &Arc<Queue<Task>> {
        let (small, large) = self.tasks.split_at(self.tasks.len() / 2);
        let half = if upload.is_large { large } else { small };
        &half[(upload.number % half.len() as u64) as usize]
    }

    /// The workers for small tasks in turn, for what any of them can do.
    fn next(&self) -> &Arc<Queue<Task>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        &self.tasks[turn % (self.tasks.len() / 2)]
    }
}

fn join(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a worker thread panicked");
        }
    }
}

struct Worker {
    reader: Reader,
    tools: Tools,
    queue: Arc<Queue<Task>>,
    sync_queues: Arc<SyncQueues>,
    uploads: HashMap<UploadId, Upload>,
}

impl Worker {
    fn run(mut self) {
        let mut rng = rand::rng();
        let queue = Arc::clone(&self.queue);
        while let Some(task) = queue.pop() {
            self.perform(task, &mut rng);
        }
    }

    fn perform(&mut self, task: Task, rng: &mut impl CryptoRng) {
        match task {
            Task::Job(job) => self.work(job, rng),
            Task::Synced(synced) => self.synced(synced),
        }
    }

    fn work(&mut self, Job { connection, work }: Job, rng: &mut impl CryptoRng) {
        let done = match work {
            Work::FindClient { name } => {
                Done::ClientFound(lookup::find_client(&self.reader, &name, rng))
            }
            Work::WrapKey { dialect, public_key, session_key } => {
                Done::KeyWrapped(wrap_key(dialect, &public_key, session_key, rng))
            }
            Work::AddClient { .. } => unreachable!("goes to the catalog"),
            Work::Begin(id, begin) => {
                let upload = Upload::begin(*begin, id.is_large, &self.reader, &*self.tools.store);
                self.uploads.insert(id, upload);
                Done::Begun
            }
            Work::Piece(id, mut piece) => {
                if let Some(upload) = self.uploads.get_mut(&id) {
                    upload.write(piece.ciphertext());
                }
                Done::PieceTaken(piece.buffer)
            }
            Work::Finish(id) => self.finish(id),
            Work::Publish(id) => return self.publish(connection, id),
            Work::Discard(id) => return self.discard(id),
            Work::Handshake(flight) => {
                let handshaken = handshake::handshake(*flight, &self.tools.tls, &self.reader);
                Done::Handshake(Box::new(handshaken))
            }
            Work::Enroll { secret, pin } => match lookup::fresh_id(&self.reader, rng) {
                Ok(fresh_id) => return self.enroll(connection, &secret, pin, fresh_id),
                Err(failure) => Done::Enrolled(Err(failure)),
            },
            Work::Usage { pin } => Done::Used(lookup::usage(&self.reader, &pin)),
        };
        self.tools.answers.push(Completion { connection, done });
    }

    /// Checks a complete upload and starts making it durable, while the client still compares checksums.
    fn finish(&mut self, id: UploadId) -> Done {
        let result = match self.uploads.remove(&id) {
            Some(upload) => upload.finish(),
            None => Err(UploadFailure::Gone),
        };
        let (upload, to_sync, finished) = match result {
            Ok(parts) => parts,
            Err(failure) => return Done::Received(id, Err(failure)),
        };
        self.uploads.insert(id, upload);
        if let Some(what) = to_sync {
            let queue = Arc::clone(&self.queue);
            let reply = Box::new(move |synced| {
                // Only a stopping server has closed its queue; what was not published is swept at the next start.
                let _ = queue.push(Task::Synced(synced));
            });
            self.sync_queues.push(id, what, reply);
        }
        Done::Received(id, Ok(finished))
    }

    fn publish(&mut self, connection: ConnectionId, id: UploadId) {
        match self
            .uploads
            .remove(&id)
            .map_or(Err(UploadFailure::Gone), |upload| upload.publish(connection))
        {
            Ok(upload::Publish::Now(change)) => self.commit(connection, id, change),
            Ok(upload::Publish::WhenSynced(upload)) => {
                self.uploads.insert(id, upload);
            }
            Err(failure) => self.published(connection, id, failure),
        }
    }

    fn synced(&mut self, Synced { upload: id, result }: Synced) {
        let Some(upload) = self.uploads.remove(&id) else { return };
        match upload.synced(result) {
            upload::Synced::Wait(upload) => {
                self.uploads.insert(id, upload);
            }
            upload::Synced::Commit(connection, change) => self.commit(connection, id, change),
            upload::Synced::Fail(connection, failure) => self.published(connection, id, failure),
            upload::Synced::Remove(blob) => self.remove(blob),
            upload::Synced::Nothing => {}
        }
    }

    fn discard(&mut self, id: UploadId) {
        match self.uploads.remove(&id).map(Upload::discard) {
            Some(upload::Discard::WhenSynced(upload)) => {
                self.uploads.insert(id, upload);
            }
            Some(upload::Discard::Remove(blob)) => self.remove(blob),
            Some(upload::Discard::Nothing) | None => {}
        }
    }

    fn commit(&self, connection: ConnectionId, id: UploadId, change: Change) {
        let blob = match &change {
            Change::AddVersion { content: crate::catalog::Content::Blob(blob), .. } => Some(*blob),
            _ => None,
        };
        let pushed = self.tools.catalog.push((Tag::Version(connection, id, blob), change));
        assert!(pushed.is_ok(), "the catalog's queue holds a change of every connection");
    }

    fn enroll(&self, connection: ConnectionId, secret: &Secret, pin: Pin, fresh_id: ClientId) {
        let change = Change::Enroll { secret: secret.hash(), pin: pin.0, fresh_id };
        let pushed = self.tools.catalog.push((Tag::Enrollment(connection), change));
        assert!(pushed.is_ok(), "the catalog's queue holds a change of every connection");
    }

    fn published(&self, connection: ConnectionId, id: UploadId, failure: UploadFailure) {
        self.tools.answers.push(Completion { connection, done: Done::Published(id, Err(failure)) });
    }

    fn remove(&self, blob: BlobId) {
        remove_unpublished(&*self.tools.store, blob);
    }
}

/// Removes a blob that no row will refer to. What cannot be removed now is swept at a later start.
pub fn remove_unpublished(store: &dyn BlobStore, blob: BlobId) {
    if let Err(error) = store.remove(blob) {
        tracing::warn!(
            "cannot remove the unpublished blob {blob}: {error}; the next start sets it aside"
        );
    }
}

/// What is logged, and told to nobody else, when the catalog cannot be read.
fn unreadable(error: &CatalogError) -> Failure {
    Failure(format!("cannot read the catalog: {error}"))
}

fn wrap_key(
    dialect: Dialect,
    public_key: &[u8],
    session_key: Option<Arc<SessionKey>>,
    rng: &mut impl CryptoRng,
) -> Result<WrappedKey, KeyError> {
    let public_key = PublicKey::from_der(public_key)?;
    let key = session_key.unwrap_or_else(|| Arc::new(SessionKey::random(dialect, rng)));
    let wrapped = public_key.wrap(&key, rng);
    Ok(WrappedKey { key, wrapped })
}
