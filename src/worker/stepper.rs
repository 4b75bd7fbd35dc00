//! The pool without its threads: who owns it says which worker, or which sync, comes next.

use rand::CryptoRng;

use super::{Job, Queues, Tools, Worker};
use crate::catalog::CatalogError;
use crate::limits::SYNCERS;
use crate::worker::syncer::ToSync;

/// The same workers and queues as [`Workers`](super::Workers), one step at a time and with randomness that is handed
/// in, so that a simulation can try any order of events and repeat it.
pub struct Stepper {
    queues: Queues,
    workers: Vec<Worker>,
    /// What the syncers have taken: as many at once as there are syncers, done in any order.
    syncing: Vec<ToSync>,
    tools: Tools,
}

impl Stepper {
    /// `count` workers with nothing to do.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn new(count: usize, tools: &Tools) -> Result<Self, CatalogError> {
        let queues = Queues::new(count);
        let workers = queues.workers(tools)?;
        Ok(Self { queues, workers, syncing: Vec::new(), tools: tools.clone() })
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
        while self.syncing.len() < SYNCERS && !self.queues.sync.is_empty() {
            self.syncing.extend(self.queues.sync.pop());
        }
        self.syncing.len()
    }

    /// Ends sync `index` of those under way.
    ///
    /// # Panics
    /// If fewer are under way.
    pub fn sync(&mut self, index: usize) {
        self.syncing.swap_remove(index).perform(&*self.tools.store);
    }

    /// Uploads that workers keep something of.
    #[must_use]
    pub fn uploads(&self) -> usize {
        self.workers.iter().map(|worker| worker.uploads.len()).sum()
    }
}
