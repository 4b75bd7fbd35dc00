//! Answers of workers on their way back to the reactor.

use std::io;
use std::sync::PoisonError;

use crate::job::Completion;
use crate::sync::{Mutex, MutexGuard};

/// A list that many threads append to and one takes whole. The reactor is woken once per list, not once per answer.
pub struct Completions {
    list: Mutex<Vec<Completion>>,
    fatal: Mutex<Option<String>>,
    wake: Box<dyn Fn() -> io::Result<()> + Send + Sync>,
}

impl Completions {
    /// An empty list. `wake` makes the reactor look at it, now or at its next turn.
    #[must_use]
    pub fn new(wake: impl Fn() -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self { list: Mutex::default(), fatal: Mutex::default(), wake: Box::new(wake) }
    }

    /// Appends an answer.
    pub fn push(&self, completion: Completion) {
        self.extend([completion]);
    }

    /// Appends answers.
    pub fn extend(&self, completions: impl IntoIterator<Item = Completion>) {
        let mut list = self.list();
        let was_empty = list.is_empty();
        list.extend(completions);
        let wake = was_empty && !list.is_empty();
        drop(list);
        if wake {
            self.wake();
        }
    }

    /// Stops the server: nothing may be acknowledged any more.
    pub fn fail(&self, why: String) {
        *self.failure() = Some(why);
        self.wake();
    }

    /// Why the server must stop, if it must.
    pub(super) fn fatal(&self) -> Option<String> {
        self.failure().clone()
    }

    /// Takes all.
    pub fn take(&self) -> Vec<Completion> {
        std::mem::take(&mut self.list())
    }

    fn wake(&self) {
        if let Err(error) = (self.wake)() {
            // The loop still wakes for its timers; nothing is lost, only late.
            tracing::error!("cannot wake the event loop: {error}");
        }
    }

    fn list(&self) -> MutexGuard<'_, Vec<Completion>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failure(&self) -> MutexGuard<'_, Option<String>> {
        self.fatal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What holds in every order in which workers and the reactor can meet.
#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::job::{ConnectionId, Done};
    use loom::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use loom::sync::{Arc, Notify};
    use loom::thread;

    /// A list, what stands in for the poll, and how often it was woken.
    fn list() -> (Arc<Completions>, Arc<Notify>, Arc<AtomicUsize>) {
        let (poll, wakes) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let wake = {
            let (poll, wakes) = (Arc::clone(&poll), Arc::clone(&wakes));
            move || {
                wakes.fetch_add(1, SeqCst);
                poll.notify();
                Ok(())
            }
        };
        (Arc::new(Completions::new(wake)), poll, wakes)
    }

    fn answer(slot: u32) -> Completion {
        Completion { connection: ConnectionId { slot, generation: 0 }, done: Done::Begun }
    }

    #[test]
    fn every_answer_arrives_and_one_wake_a_list_suffices() {
        loom::model(|| {
            let (completions, poll, wakes) = list();
            let workers = [0, 2].map(|first| {
                let completions = Arc::clone(&completions);
                thread::spawn(move || completions.extend([answer(first), answer(first + 1)]))
            });
            let (mut taken, mut lists) = (Vec::new(), 0);
            while taken.len() < 4 {
                poll.wait();
                let list = completions.take();
                lists += usize::from(!list.is_empty());
                taken.extend(list.into_iter().map(|completion| completion.connection.slot));
            }
            workers.into_iter().for_each(|worker| worker.join().expect("a worker"));
            assert_eq!(wakes.load(SeqCst), lists, "one wake a list");
            taken.sort_unstable();
            assert_eq!(taken, [0, 1, 2, 3]);
        });
    }

    #[test]
    fn answers_of_one_worker_stay_in_order() {
        loom::model(|| {
            let (completions, poll, _) = list();
            let worker = {
                let completions = Arc::clone(&completions);
                thread::spawn(move || (0..3).for_each(|slot| completions.push(answer(slot))))
            };
            let mut taken = Vec::new();
            while taken.len() < 3 {
                poll.wait();
                taken
                    .extend(completions.take().iter().map(|completion| completion.connection.slot));
            }
            worker.join().expect("a worker");
            assert_eq!(taken, [0, 1, 2]);
        });
    }

    #[test]
    fn a_failure_is_seen_beside_answers() {
        loom::model(|| {
            let (completions, poll, _) = list();
            let failing = {
                let completions = Arc::clone(&completions);
                thread::spawn(move || completions.fail("the disk".to_owned()))
            };
            let answering = {
                let completions = Arc::clone(&completions);
                thread::spawn(move || completions.push(answer(0)))
            };
            while completions.fatal().is_none() {
                poll.wait();
                completions.take();
            }
            failing.join().expect("the catalog");
            answering.join().expect("a worker");
        });
    }
}
