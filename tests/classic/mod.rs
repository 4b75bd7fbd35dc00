//! The two existing C++ clients of the classic protocol, as test peers.
//!
//! They do byte for byte what those programs do, defects included, and are written without `coffer-protocol`: they
//! are what it is tested against. Each client runs over real sockets, with a read timeout in place of the
//! originals' endless wait, and returns a [`Transcript`].
//!
//! `mod classic;` in an integration test brings all of it in.

// Each integration test uses a part of this, and the rest would be reported as unused there.
#![allow(dead_code, unused_imports)]

pub(crate) mod client1100;
pub(crate) mod client825;
pub(crate) mod keys;
pub(crate) mod link;
pub(crate) mod transcript;
pub(crate) mod wire;

pub(crate) use client825::Client825;
pub(crate) use client1100::Client1100;
pub(crate) use link::Faults;
pub(crate) use transcript::{End, Transcript};

use keys::Key;
use std::time::Duration;

/// Longest wait for an answer before a client that would wait for ever counts as hanging. Long enough for a debug
/// build on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What a client keeps in `me.info` and `priv.key` from one run to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The name it registered; a reconnect sends this one and not the name in `transfer.info`.
    pub(crate) name: Vec<u8>,
    pub(crate) id: [u8; 16],
    pub(crate) key: Key,
}
