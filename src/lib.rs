//! Coffer's server: everything behind the thin `cofferd` binary.
//!
//! From the wire to the disk: [`reactor`] (sockets) drives a [`door`]: the classic [`connection`] (framing), which drives
//! [`session`] (meaning), or the [`secure`] one, which does both through TLS;
//! what is heavy goes as a [`job`] to a [`worker`], and from there to [`storage`] and the [`catalog`]. [`server`] puts
//! them together, [`recovery`] brings a data folder in order first, [`view`] shows what is stored as plain files, and
//! [`scrub`] reads it all again.
//! `docs/ARCHITECTURE.md` explains the shape and what must always hold.

pub mod buffer;
pub mod catalog;
pub mod cli;
pub mod commands;
pub mod config;
pub mod connection;
pub mod demo;
pub mod door;
pub mod freeing;
pub mod job;
pub mod limits;
pub mod log;
pub mod moment;
pub mod outbox;
pub mod queue;
pub mod reactor;
pub mod recovery;
pub mod scrub;
pub mod secure;
pub mod server;
pub mod session;
pub mod storage;
mod sync;
pub mod view;
pub mod worker;

/// The data folder when no other is named.
pub const DATA_DIR: &str = "coffer-data";
