//! Coffer's server: everything behind the thin `cofferd` binary.

pub mod catalog;
pub mod limits;
pub mod queue;
pub mod storage;
