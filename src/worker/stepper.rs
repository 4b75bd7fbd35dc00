//! The pool without its threads: who owns it says which worker, or which sync, comes next.

use rand::CryptoRng;

use super::{Job, Queues, Tools, Worker};
use crate::catalog::CatalogError;
use crate::limits::{GROUP_SYNCERS, SYNC_GROUP_MAX, SYNCERS};
use crate::storage::BlobWriter;
use crate::worker::syncer::{ToSync, perform_group};

/// The same workers and queues as [`Workers`](super::Workers), one step at a time and with randomness that is handed
/// in, so that a simulation can try any order of events and repeat it.
pub struct Stepper {
    queues: Queues,
    workers: Vec<Worker>,
    /// What the syncers have taken: as many at once as there are syncers, done in any order.
    syncing: Vec<ToSync<Box<dyn BlobWriter>>>,
    groups: Vec<Vec<ToSync<Vec<u8>>>>,
    tools: Tools,
}

impl Stepper {
    /// `count` workers of each kind with nothing to do.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn new(count: usize, tools: &Tools) -> Result<Self, CatalogError> {
        let queues = Queues::new(count);
        let workers = queues.workers(tools)?;
        Ok(Self { queues, workers, syncing: vec![], groups: vec![], tools: tools.clone() })
    }

    /// Gives a job to whom it belongs.
    ///
    /// # Panics
    /// As [`Workers::dispatch`](super::Workers::dispatch).
    pub fn dispatch(&self, job: Job) {
        self.queues.dispatch(&self.tools.catalog, job);
    }

    /// The workers that have something to do.
    pub fn busy(&self) -> impl Iterator<Item = usize> {
        let busy = self.queues.tasks.iter().enumerate().filter(|(_, queue)| !queue.is_empty());
        busy.map(|(worker, _)| worker)
    }

    /// Lets a busy worker do its next task; one that is not busy does nothing.
    pub fn step(&mut self, worker: usize, rng: &mut impl CryptoRng) {
        let queue = &self.queues.tasks[worker];
        if !queue.is_empty()
            && let Some(task) = queue.pop()
        {
            self.workers[worker].perform(task, rng);
        }
    }

    /// How many syncs are under way.
    pub fn syncs(&mut self) -> usize {
        let queues = &self.queues.sync;
        while self.syncing.len() < SYNCERS && !queues.written.is_empty() {
            self.syncing.extend(queues.written.pop());
        }
        while self.groups.len() < GROUP_SYNCERS && !queues.collected.is_empty() {
            let mut group = vec![];
            queues.collected.take_all(SYNC_GROUP_MAX, &mut group);
            self.groups.push(group);
        }
        self.syncing.len() + self.groups.len()
    }

    /// Ends sync `index` of those under way.
    ///
    /// # Panics
    /// If fewer are under way.
    pub fn sync(&mut self, index: usize) {
        match index.checked_sub(self.syncing.len()) {
            None => self.syncing.swap_remove(index).perform(),
            Some(index) => perform_group(&*self.tools.store, self.groups.swap_remove(index)),
        }
    }

    /// Uploads that workers keep something of.
    #[must_use]
    pub fn uploads(&self) -> usize {
        self.workers.iter().map(|worker| worker.uploads.len()).sum()
    }
}
