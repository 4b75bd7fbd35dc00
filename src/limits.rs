//! Every bound of the server: its name, its unit and its reason.

use std::time::Duration;

use coffer_protocol::request::FILE_PACKET;

// ---- Connections ----

/// Connections at the same time, unless the operator says otherwise. Each costs a few hundred bytes while idle.
pub const CONNECTIONS_MAX: usize = 16_384;

/// Connections, out of those that there may be, which are kept from peers that have not said yet who they are: when
/// only these are left, the peer that has been silent for longest goes, so that silence cannot shut others out.
pub const KEPT_FROM_STRANGERS: usize = 256;

/// Registrations from one address in a [`WINDOW`], unless the operator says otherwise; other machines than this one do
/// not come with more.
pub const REGISTRATIONS_PER_MINUTE: u32 = 600;

/// The time in which registrations are counted.
pub const WINDOW: Duration = Duration::from_secs(60);

/// Addresses whose registrations are counted; beyond that the oldest count is forgotten.
pub const ADDRESSES_MAX: usize = 65_536;

/// Uploads whose content is arriving at the same time, up to [`COLLECTED_BYTES_MAX`] of memory each.
pub const UPLOADS_MAX: usize = 16_384;

/// At a limit the listener stops; it goes on when the number is back at this share of it, in percent, so that it does
/// not flap.
pub const REOPEN_PERCENT: usize = 90;

/// File descriptors that are kept for the catalog, blobs, listeners and the log when connections are admitted, and
/// [`FILES_PER_WORKER`] besides.
pub const RESERVED_FILES: u64 = 128;

/// File descriptors that one configured worker costs: two threads with a reader each, which has the catalog and its
/// write-ahead log open.
pub const FILES_PER_WORKER: u64 = 4;

/// Connections that the kernel completes while the loop is busy; the system's own bound may be lower.
pub const LISTEN_BACKLOG: i32 = 4096;

/// Connections accepted in one turn of the loop, so that a storm of them does not hold up who is connected.
pub const ACCEPTS_PER_TICK: usize = 64;

/// One of this many file descriptors at least is kept for large uploads; the rest may become connections.
pub const OPEN_UPLOADS_SHARE: usize = 16;

/// How long accepting rests after the process ran out of file descriptors.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

// ---- Buffers ----

/// Bytes of a receive buffer: one system call's worth. Half of it made no difference beyond the noise.
pub const POOL_BUFFER_BYTES: usize = 256 << 10;

/// Receive buffers in all: 32 MiB. When all are in use the reactor stops reading until workers give some back.
pub const POOL_BUFFERS_MAX: usize = 128;

/// Receive buffers that large uploads leave to everybody else, so that a small request never waits for a large one.
pub const POOL_RESERVE: usize = 32;

/// Reads for large uploads in one turn of the loop, a buffer's worth each: 2 MiB, about a millisecond, after which
/// small requests and answers have their turn again.
pub const PATIENT_READS_PER_TICK: usize = 8;

/// Uploads begun and pieces passed on by one connection that a worker has not taken yet: enough to keep one worker busy
/// while the next piece arrives.
pub const CONTENT_JOBS_MAX: usize = 4;

/// Bytes that may be left over behind a run of content: at most one request that is not complete, and a few small
/// ones that a client sends ahead. Where more stands behind content, the content is copied out instead.
pub const LEFTOVER_MAX: usize = 4 << 10;

/// Bytes of answers that wait for a peer which does not read them; beyond that it is cut off.
pub const OUTBOX_MAX: usize = 16 << 10;

/// Refusals that are logged in a second. What comes beyond them is only counted, so that no peer can fill the log.
pub const REFUSALS_LOGGED_MAX: u32 = 50;

/// Bytes sent to one peer in one turn of the loop. Answers are far smaller; who sends more takes turns.
pub const FLUSH_BYTES_MAX: usize = 256 << 10;

/// d825 packets that may come before one that is missing; each holds 1 KiB.
pub const PACKETS_AHEAD_MAX: usize = 64;

// ---- Sessions ----

/// How long a d1100 registration waits for its public key.
pub const RESERVATION_TTL: Duration = Duration::from_secs(600);

/// Registrations that wait for their public key, in all.
pub const RESERVATIONS_MAX: usize = 16_384;

/// How long a d1100 session key lives.
pub const SESSION_KEY_TTL: Duration = Duration::from_secs(3600);

/// d1100 session keys in memory, about 200 bytes each; beyond that the oldest goes and its client reconnects.
pub const SESSION_KEYS_MAX: usize = 65_536;

/// How long a d1100 upload waits for a verdict on another connection.
pub const VERDICT_TTL: Duration = Duration::from_secs(600);

/// d1100 uploads that wait for a verdict, up to [`INLINE_BYTES_MAX`] of memory each; beyond that the oldest goes. As
/// many as there may be connections: every client that has just sent a file has one.
pub const HELD_UPLOADS_MAX: usize = CONNECTIONS_MAX;

/// Bytes of a TLS handshake that a peer may send: its two flights are some 600, or 2,000 with the largest extensions.
pub const HANDSHAKE_BYTES_MAX: usize = 16 << 10;

// ---- Deadlines ----

/// How long a new connection may take to its first whole request.
pub const FIRST_REQUEST_MAX: Duration = Duration::from_secs(30);

/// How long a connection in the middle of a request or of a file may take for [`PROGRESS_BYTES`].
pub const PROGRESS_INTERVAL: Duration = Duration::from_secs(30);

/// What must arrive in a [`PROGRESS_INTERVAL`]: 273 bytes a second keep a connection, one byte now and then does not.
pub const PROGRESS_BYTES: u64 = 8 << 10;

/// How long a d825 client may take for its verdict. Classic clients give it at once.
pub const VERDICT_MAX: Duration = Duration::from_secs(120);

/// How long a d825 connection may be silent between files.
pub const IDLE_MAX: Duration = Duration::from_secs(600);

/// A source of connections that misbehaves at the secure door is penalised while its penalty is at least this long: an
/// honest slip now and then costs nothing.
pub const PENALTY_MIN: Duration = Duration::from_secs(15);

/// The longest penalty.
pub const PENALTY_MAX: Duration = Duration::from_secs(600);

/// Handshakes of all penalised sources together that are computed at the same time.
pub const PENALISED_HANDSHAKES_MAX: usize = 2;

/// How long a penalised source waits before its handshake is tried again, while others of its kind are computed.
pub const PENALISED_RETRY: Duration = Duration::from_millis(200);

/// How long a peer may take to read its last answer, and to close.
pub const LINGER_MAX: Duration = Duration::from_secs(10);

/// Bytes that are read and thrown away while a connection lingers.
pub const LINGER_BYTES_MAX: usize = 4 << 20;

/// How long a stop waits for uploads that are under way.
pub const DRAIN_MAX: Duration = Duration::from_secs(10);

// ---- Workers ----

/// Jobs that wait for one worker. Bounded below by what connections can have in flight, so it is never the bound that
/// is met first; meeting it is a fault of ours and stops the server.
pub const WORKER_QUEUE_MAX: usize = 1 << 20;

/// Threads that wait for the disk until a large content is synced.
pub const SYNCERS: usize = 8;

/// Threads that write and sync collected contents, a group of them at a time: while one waits for the disk, the next
/// group gathers behind the other.
pub const GROUP_SYNCERS: usize = 2;

/// Contents in such a group: 8 MiB at most, so that the first of them does not wait long.
pub const SYNC_GROUP_MAX: usize = 128;

/// Finished contents that wait for a syncer, at most one per upload.
pub const SYNC_QUEUE_MAX: usize = 1 << 16;

/// Changes that wait for the catalog, at most one per connection.
pub const CATALOG_QUEUE_MAX: usize = 1 << 17;

/// Contents up to this many bytes live in the catalog for good: one sync covers hundreds of them.
pub const INLINE_BYTES_MAX: u64 = 16 << 10;

/// Ciphertext up to this many bytes is collected in memory and written to its blob at the end, by a syncer, so that
/// ten thousand small uploads at once do not need ten thousand open files.
pub const COLLECTED_BYTES_MAX: u64 = 65 << 10;

// ---- Invitations ----

/// How long an invitation is good unless the operator says otherwise.
pub const INVITATION_TTL: Duration = Duration::from_secs(24 * 3600);

/// The longest that an invitation may be good: who holds a code needs nothing else to come in.
pub const INVITATION_TTL_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long an invitation is good that gives a client's history to another key.
pub const REINVITATION_TTL: Duration = Duration::from_secs(3600);

/// How long the catalog remembers an invitation beyond its end: so long may a client that was not told that it is
/// enrolled ask again.
pub const INVITATION_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

// ---- Catalog, view and start ----

/// Bytes of the disk that uploads leave free unless the operator says otherwise, so that verdicts, removals and the
/// view go on when there is no room for contents: as much as [`CATALOG_WAL_BYTES_MAX`].
pub const KEEP_FREE_BYTES: u64 = 64 << 20;

/// Of a smaller file system at most one of this many bytes is kept free, unless the operator says otherwise.
pub const KEEP_FREE_SHARE: u64 = 16;

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

/// How far the view's thread stands back behind the others of the server, as `nice` counts it: on a core that is wanted
/// all the time it gets a tenth.
pub const VIEW_NICENESS: i32 = 10;

/// The first pause before the view tries again what failed. It doubles with every failure.
pub const VIEW_RETRY_MIN: Duration = Duration::from_secs(15);

/// The longest pause before the view tries again what failed.
pub const VIEW_RETRY_MAX: Duration = Duration::from_secs(3600);

/// How often the view looks again at what it should show of a file that changes while it is shown. Whatever comes later
/// is announced, and shown, by itself.
pub const VIEW_LOOKS_MAX: usize = 16;

/// The share of all stored bytes, in percent, that a start sets aside without being asked.
pub const ORPHAN_PERCENT_MAX: u64 = 1;

// ---- Checks ----

/// MiB of contents that a check reads in a second unless told otherwise: a third of what a single disk reads, so that
/// uploads and their syncs hardly notice; a TiB takes four and a half hours.
pub const SCRUB_MIB_PER_SECOND: u32 = 64;

/// Bytes that a check reads at a time: its memory, and the largest burst beyond its rate.
pub const SCRUB_BUFFER_BYTES: usize = 256 << 10;

/// Faults of the database itself that a check lists: the first few say what there is to do.
pub const SCRUB_CATALOG_FAULTS_MAX: usize = 20;

/// How long after a version came a check allows the view not to show it: far longer than the view of a busy server
/// lags behind, so that only what stays wrong is reported.
pub const SCRUB_VIEW_LAG_MAX: Duration = Duration::from_secs(600);

/// How long a check waits before it looks a second time at what should not be in the view: a server that shows a file
/// while its client is being removed takes it back within milliseconds.
pub const SCRUB_SECOND_LOOK: Duration = Duration::from_secs(1);

/// Between two lines of progress.
pub const SCRUB_PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

const _: () = assert!(CATALOG_BATCH_ROWS_MAX >= 1 && CATALOG_PAGE_ROWS >= 1);
const _: () = assert!(VIEW_RETRY_MIN.as_millis() < VIEW_RETRY_MAX.as_millis());
const _: () = assert!(LEFTOVER_MAX >= FILE_PACKET && POOL_BUFFER_BYTES > 2 * LEFTOVER_MAX);
const _: () = assert!(INLINE_BYTES_MAX < COLLECTED_BYTES_MAX);
const _: () = assert!(PROGRESS_BYTES > 0 && REOPEN_PERCENT < 100);
/// The worst case of what the reactor holds: its buffers. Everything else is counted where it is held.
const _: () = assert!(POOL_BUFFER_BYTES * POOL_BUFFERS_MAX <= 32 << 20);
const _: () = assert!(0 < POOL_RESERVE && POOL_RESERVE < POOL_BUFFERS_MAX);
