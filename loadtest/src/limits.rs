//! Every bound of the load test: its name, its unit and its reason.

use std::time::Duration;

/// Clients in one process: more sockets than this no process may open here, and it bounds every list of clients.
pub(crate) const CLIENTS_MAX: usize = 100_000;

/// File descriptors kept for everything but connections.
pub(crate) const RESERVED_FILES: u64 = 64;

/// Connects under way at once. More would overflow the server's backlog, and the kernel would measure its own
/// retransmissions.
pub(crate) const CONNECTING_MAX: usize = 1024;

/// Loopback addresses to connect from, 127.0.0.2 and up: each has about 28,000 ports, and a closed connection holds
/// its port for a minute.
pub(crate) const SOURCE_ADDRESSES: u8 = 64;

/// RSA keys that all clients share. What is measured does not depend on who has which.
pub(crate) const RSA_KEYS: usize = 8;

/// Plain bytes encrypted at once while streaming; each active upload holds as many.
pub(crate) const PIECE_BYTES: usize = 16 << 10;

/// The share of the machine's free memory that encrypted contents may take, in percent: the rest is for the server
/// and for what it writes.
pub(crate) const PRELOAD_PERCENT_MAX: u64 = 50;

/// How long a server may be silent while a client waits for an answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The pause before a client tries again what failed, and what is added for some of them so that they do not come all
/// at once.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Sendings of one file, resets and killed servers included, before a client leaves it.
pub(crate) const TRIES_MAX: u32 = 100;

/// Unexpected errors after which a run ends: more would say nothing new.
pub(crate) const ERRORS_MAX: u64 = 1000;

/// Different error messages that are kept; the others are only counted.
pub(crate) const ERROR_KINDS_MAX: usize = 20;

/// How long a whole run may go without anything being achieved: longer than any deadline of the server.
pub(crate) const STUCK_MAX: Duration = Duration::from_secs(300);

/// Between two samples of the server and of the counters.
pub(crate) const SAMPLE_INTERVAL: Duration = Duration::from_millis(500);

/// Samples kept; after that every second one goes and the interval doubles.
pub(crate) const SAMPLES_MAX: usize = 2400;

/// How long a server may take to start, recovery included.
pub(crate) const START_MAX: Duration = Duration::from_secs(60);

/// How long a server may take to stop.
pub(crate) const STOP_MAX: Duration = Duration::from_secs(60);

/// How long the view of plain files may take to catch up after a run.
pub(crate) const VIEW_MAX: Duration = Duration::from_secs(60);

/// The longest latency that is told apart from longer ones, in microseconds.
pub(crate) const LATENCY_MICROS_MAX: u64 = 3_600_000_000;

/// Of the free memory, in percent, what is touched at most before the clock starts.
pub(crate) const WARM_PERCENT_MAX: u64 = 40;
