//! Answers of workers on their way back to the reactor.

use std::sync::{Arc, Mutex, PoisonError};

use mio::Waker;

use crate::job::Completion;

/// A list that many threads append to and one takes whole. The reactor is woken once per list, not once per answer.
#[derive(Clone)]
pub struct Completions {
    list: Arc<Mutex<Vec<Completion>>>,
    fatal: Arc<Mutex<Option<String>>>,
    waker: Arc<Waker>,
}

impl Completions {
    /// An empty list that wakes with `waker`.
    #[must_use]
    pub fn new(waker: Waker) -> Self {
        Self { list: Arc::default(), fatal: Arc::default(), waker: Arc::new(waker) }
    }

    /// Appends an answer.
    pub fn push(&self, completion: Completion) {
        self.extend([completion]);
    }

    /// Appends answers.
    pub fn extend(&self, completions: impl IntoIterator<Item = Completion>) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
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
        *self.fatal.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        self.wake();
    }

    /// Why the server must stop, if it must.
    pub(super) fn fatal(&self) -> Option<String> {
        self.fatal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            // The loop still wakes for its timers; nothing is lost, only late.
            tracing::error!("cannot wake the event loop: {error}");
        }
    }

    /// Takes all.
    pub fn take(&self) -> Vec<Completion> {
        std::mem::take(&mut self.list.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
