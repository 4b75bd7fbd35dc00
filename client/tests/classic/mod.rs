//! The two existing Python servers of the classic protocol, as test peers.
//!
//! They do on the wire what those programs do, defects included, or, when [`Manners::Polite`], the same without the
//! defects. Written without `coffer-protocol`, as the clients are that they share their arithmetic with.
//! Files are kept in memory; nothing is written to a disk.

// Each integration test uses a part of this, and the rest would be reported as unused there.
#![allow(dead_code, unused_imports)]

#[path = "../../../tests/classic/mod.rs"]
pub(crate) mod clients;

pub(crate) mod chunks;
pub(crate) mod faults;
pub(crate) mod listening;
pub(crate) mod peer;
pub(crate) mod server1100;
pub(crate) mod server825;
mod users825;

pub(crate) use faults::Faults;
pub(crate) use server825::{Options825, Server825, To900};
pub(crate) use server1100::{Options1100, Server1100};

/// Whether a server has the defects of the existing one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manners {
    Real,
    Polite,
}

/// A random v4 UUID without the bytes 00 and 0a: the real servers avoid only 0a, which makes the real d1100 client
/// fail by chance; a test that wants a 00 gives the id itself.
fn random_id() -> [u8; 16] {
    loop {
        let mut id: [u8; 16] = rand::random();
        id[6] = id[6] & 0x0f | 0x40;
        id[8] = id[8] & 0x3f | 0x80;
        if !id.iter().any(|byte| matches!(byte, 0x00 | 0x0a)) {
            return id;
        }
    }
}
