//! What a run tells whoever watches it.

use std::path::Path;
use std::time::Duration;

use coffer_protocol::ClientId;

use crate::Error;

/// Somebody who watches a run. Called on the thread that runs it, between its steps.
pub trait Observer {
    /// Something happened.
    fn notice(&mut self, event: &Event<'_>);
}

/// Watches nothing.
impl Observer for () {
    fn notice(&mut self, _: &Event<'_>) {}
}

/// What happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// The server gave the client an id, which is on disk now.
    Registered {
        /// The client's name.
        client: &'a str,
        /// Its id.
        id: ClientId,
        /// Since the identification began.
        elapsed: Duration,
    },
    /// A session key is agreed on, in a registration or a reconnection.
    KeyReceived {
        /// The client's name.
        client: &'a str,
        /// Its id.
        id: ClientId,
        /// The server knew the client before.
        reconnected: bool,
        /// Since the identification began.
        elapsed: Duration,
    },
    /// A file is being sent.
    FileStarted {
        /// The file.
        path: &'a Path,
        /// Its size, in bytes.
        size: u64,
        /// Which sending it is, from 1.
        attempt: u8,
    },
    /// More of a file was sent.
    FileProgress {
        /// The file.
        path: &'a Path,
        /// Plain bytes sent of this sending.
        sent: u64,
        /// Its size, in bytes.
        size: u64,
    },
    /// The server's checksum of a file was wrong.
    ChecksumWrong {
        /// The file.
        path: &'a Path,
        /// Which sending it was, from 1.
        attempt: u8,
        /// The checksum of what was sent.
        ours: u32,
        /// The server's.
        theirs: u32,
    },
    /// The server closed the connection between two sendings, and a new one is being made.
    Reconnecting {
        /// The file in hand.
        path: &'a Path,
    },
    /// The server has a file, with the right checksum.
    FileVerified {
        /// The file.
        path: &'a Path,
        /// What is known of it.
        verified: &'a Verified,
    },
    /// A file could not be sent, or not be verified.
    FileFailed {
        /// The file.
        path: &'a Path,
        /// Why.
        error: &'a Error,
        /// Since it was begun.
        elapsed: Duration,
    },
}

/// A file that the server has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verified {
    /// Plain bytes.
    pub size: u64,
    /// The checksum on which both sides agree: POSIX `cksum` in dialect 825, the sum of MD5 words in 1100.
    pub checksum: u32,
    /// How many sendings it took.
    pub attempts: u8,
    /// Whether the server acknowledged the verdict as the protocol says. The classic 825 server never does; from any
    /// other it means that the file is safe on its disk.
    pub acknowledged: bool,
    /// From the start of the file to the server's last answer.
    pub elapsed: Duration,
}
