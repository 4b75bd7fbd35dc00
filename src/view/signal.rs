//! Wakes the view and stops it.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

const UNBROKEN: &str = "no holder of this lock panics";

/// How other threads tell the view that there is something to show, or that it should end.
#[derive(Debug, Default)]
pub struct ViewSignal {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_woken: bool,
    is_stopped: bool,
}

impl ViewSignal {
    /// Says that versions were committed. Cheap, and never waits for the view.
    pub fn wake(&self) {
        self.lock().is_woken = true;
        self.changed.notify_one();
    }

    pub(super) fn stop(&self) {
        self.lock().is_stopped = true;
        self.changed.notify_one();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.lock().is_stopped
    }

    /// Waits to be woken, at most for `limit` if there is one. False once it was stopped.
    pub(super) fn wait(&self, limit: Option<Duration>) -> bool {
        let is_idle = |state: &mut State| !state.is_woken && !state.is_stopped;
        let state = self.lock();
        let mut state = match limit {
            Some(limit) => {
                self.changed.wait_timeout_while(state, limit, is_idle).expect(UNBROKEN).0
            }
            None => self.changed.wait_while(state, is_idle).expect(UNBROKEN),
        };
        state.is_woken = false;
        !state.is_stopped
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(UNBROKEN)
    }
}
