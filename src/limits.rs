//! Every bound of the server: its name, its unit and its reason.

use std::time::Duration;

/// Rows that one catalog transaction takes at most. Beyond some 64 rows the shared sync is already paid for;
/// more only makes the first of them wait longer.
pub const CATALOG_BATCH_ROWS_MAX: usize = 256;

/// Bytes of small contents that one catalog transaction takes at most, so that its commit stays within some
/// tens of milliseconds. A single change larger than this is committed alone.
pub const CATALOG_BATCH_BYTES_MAX: usize = 4 << 20;

/// How long the catalog waits for another process that writes to it. Our own commands hold the lock for
/// milliseconds; whoever holds it longer has forgotten a transaction in a database shell.
pub const CATALOG_BUSY_WAIT_MAX: Duration = Duration::from_secs(30);

/// Pages (4 KiB) in the write-ahead log after which SQLite copies them back: 16 MiB. Every copy costs two syncs.
pub const CATALOG_WAL_PAGES: u32 = 4096;

/// Bytes to which the write-ahead log is cut after it was copied back.
pub const CATALOG_WAL_BYTES_MAX: u32 = 64 << 20;

/// Prepared statements that each connection keeps; more than any of them uses.
pub const CATALOG_STATEMENTS: usize = 64;

/// Rows that a listing, a clean-up or the view reads or changes at a time, so that nobody holds the catalog's
/// write lock, or an old snapshot, for long.
pub const CATALOG_PAGE_ROWS: usize = 256;

/// Log lines about single files (missing contents, entries of the view that failed) in one go. What comes after
/// them is only counted.
pub const FILE_WARNINGS_MAX: usize = 20;

/// The first pause before the view tries again what failed. It doubles with every failure.
pub const VIEW_RETRY_MIN: Duration = Duration::from_secs(15);

/// The longest pause before the view tries again what failed.
pub const VIEW_RETRY_MAX: Duration = Duration::from_secs(3600);

/// The share of all stored bytes, in percent, that a start sets aside without being asked.
pub const ORPHAN_PERCENT_MAX: u64 = 1;

const _: () = assert!(CATALOG_BATCH_ROWS_MAX >= 1 && CATALOG_PAGE_ROWS >= 1);
const _: () = assert!(VIEW_RETRY_MIN.as_millis() < VIEW_RETRY_MAX.as_millis());
