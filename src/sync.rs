//! The locks that threads meet at: those of the standard library, or under `cfg(loom)` loom's, which try every order
//! in which threads can get there (`cargo xtask loom`).

#[cfg(all(loom, test))]
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
#[cfg(not(all(loom, test)))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
