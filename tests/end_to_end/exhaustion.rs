//! A process that runs out of what the system gives it: file descriptors, memory. And what it takes time from.

use std::ffi::OsString;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};
use std::{fs, thread};

use coffer_protocol::Dialect;
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

use crate::content::noise;
use crate::own::{BOTH, Own, assert_stored};
use crate::peer::{CHECKSUM, ERROR, Peer, Verdict, connect};
use crate::server::{Down, Server, Setup, wait_for};

/// Large enough for a file of its own.
const LARGE: usize = 300 << 10;
/// How long the server is watched while it can accept nobody.
const WATCHED: Duration = Duration::from_secs(2);
/// How often it may try again in that time: five times a second, and as much again for a slow machine's sake.
const TRIES_MAX: usize = 20;
/// How often Linux counts a process's time in a second.
const TICKS: f64 = 100.0;

/// A limit of a running process, until it is dropped.
struct Limited {
    pid: Pid,
    resource: Resource,
    before: Rlimit,
}

impl Limited {
    fn new(pid: Pid, resource: Resource, limit: u64) -> Self {
        let before = rustix::process::getrlimit(resource);
        let new = Rlimit { current: Some(limit), maximum: before.maximum };
        let before = prlimit(Some(pid), resource, new).expect("the process is ours");
        Self { pid, resource, before }
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        // The process may have ended.
        let _ = prlimit(Some(self.pid), self.resource, self.before);
    }
}

/// The same once nothing is going on, such as the view's look at a file.
fn lasting_free_descriptor(pid: Pid) -> u64 {
    wait_for("an idle server", || {
        let free = free_descriptor(pid);
        thread::sleep(WATCHED / 8);
        (free_descriptor(pid) == free).then_some(free)
    })
}

/// The lowest number that no open file of the process has: with it as the limit there is none left.
fn free_descriptor(pid: Pid) -> u64 {
    let open = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_pid())).expect("the process runs");
    let names = open.map(|entry| entry.expect("it is ours").file_name());
    let open: Vec<u64> =
        names.map(|name| name.to_string_lossy().parse().expect("a number")).collect();
    (0..).find(|number| !open.contains(number)).expect("some number")
}

/// The processor time that a process has used.
fn cpu_time(pid: Pid) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).expect("it runs");
    let (_, fields) = stat.rsplit_once(')').expect("behind the program's name");
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |index: usize| fields[index].parse::<u64>().expect("a number");
    Duration::from_secs_f64((ticks(11) + ticks(12)) as f64 / TICKS)
}

#[test]
fn without_file_descriptors_it_waits_does_not_spin_and_recovers() {
    let mut server = Server::start();
    let mut inside = Peer::new(server.address(), Dialect::D825, "inside");
    inside.introduce();
    assert_eq!(inside.upload(b"before", &noise(1, LARGE)), CHECKSUM);
    assert_eq!(inside.verdict(Verdict::Right, b"before"), inside.acknowledged());
    let pid = server.process().pid();
    let limited = Limited::new(pid, Resource::Nofile, lasting_free_descriptor(pid));

    let mut outside = Peer::new(server.address(), Dialect::D825, "outside");
    let request = outside.request(0, &outside.name_field());
    let link = outside.link();
    link.write_all(&request).expect("the system has taken the connection");
    server.process().wait_for_log("cannot accept connections for a moment");
    let before = cpu_time(pid);
    thread::sleep(WATCHED);
    let used = cpu_time(pid) - before;
    assert!(used < WATCHED / 10, "{used:?} of the processor in {WATCHED:?}");
    let tries = server.log().matches("cannot accept connections for a moment").count();
    assert!(tries <= TRIES_MAX, "{tries} tries in {WATCHED:?}");
    link.set_nonblocking(true).expect("a socket");
    let nothing = link.read(&mut [0]).expect_err("nobody has accepted it");
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
    // Who is connected is served, with what needs no file of its own.
    assert_eq!(inside.upload(b"small", b"abc"), CHECKSUM);
    assert_eq!(inside.verdict(Verdict::Right, b"small"), inside.acknowledged());
    assert_eq!(inside.upload(b"large", &noise(2, LARGE)), ERROR);

    drop(limited);
    wait_for("an answer", || outside.link().peek(&mut [0]).ok());
    outside.hang_up();
    let own = Own::new("after", Dialect::D1100);
    own.store(server.address(), b"a", &noise(3, LARGE));
    server.take_down(Down::Kill9);
    server.start_again();
    assert_eq!(server.store().rows("inside").len(), 2);
    assert_eq!(server.store().content("after", b"a", None), Some(noise(3, LARGE)));
}

#[test]
fn a_low_limit_on_open_files_only_makes_clients_wait() {
    // 128 are kept back and 4 for each worker, and of the rest a sixteenth for uploads.
    let limited = ["sh", "-c", "ulimit -n 168; exec \"$0\" \"$@\""].map(OsString::from);
    let mut server = Setup::new().arguments(&["--workers", "2"]).under(limited.to_vec()).start();
    server.process().wait_for_log("the limit of 168 open files allows 30 connections");
    let address = server.address();
    let silent: Vec<_> = (0..40).map(|_| connect(address)).collect();
    server.process().wait_for_log("at the limit of connections: new ones wait");
    let owns: Vec<Own> = (0..20).map(|n| Own::new(&format!("client {n}"), BOTH[n % 2])).collect();
    thread::scope(|scope| {
        for own in &owns {
            scope.spawn(|| own.store(address, b"a", &noise(1, 10 << 10)));
        }
        drop(silent);
    });
    server.stop();
}

/// Sends contents from many clients at once. Returns the names of those whose file was acknowledged.
fn load(server: &Server, size: usize) -> Vec<String> {
    let address = server.address();
    let content = noise(1, size);
    let upload = |number: usize| {
        let own = Own::new(&format!("client {number} {size}"), BOTH[number % 2]).impatient();
        let file = own.file(b"a", &content);
        let report = own.send(address, vec![file], &mut ()).ok()?;
        report.files[0].result.is_ok().then(|| {
            assert_stored(&report.files[0]);
            own.name
        })
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..16).map(|number| scope.spawn(move || upload(number))).collect();
        clients.into_iter().filter_map(|client| client.join().expect("no panic")).collect()
    })
}

#[test]
fn a_heavy_load_stays_within_bounded_memory() {
    let mut server = Server::start();
    let limit = (server.process().memory_kib("VmSize") + (300 << 10)) << 10;
    let _limited = Limited::new(server.process().pid(), Resource::As, limit);
    for size in [10 << 10, 60 << 10, 5 << 20] {
        assert_eq!(load(&server, size).len(), 16, "{size}");
    }
    server.stop();
}

#[test]
fn without_memory_it_dies_and_nothing_acknowledged_is_lost() {
    let mut server = Server::start();
    let mut acknowledged = load(&server, 60 << 10);
    assert_eq!(acknowledged.len(), 16);
    // One that has no buffers yet, so that the first must be had from the system.
    server.restart(Down::Sigterm);
    // What it may write to, and no address space: of that the allocator has set a lot aside.
    let limit = server.process().memory_kib("VmData") << 10;
    let limited = Limited::new(server.process().pid(), Resource::Data, limit);
    let start = Instant::now();
    while server.process().is_alive() && start.elapsed() < crate::server::PATIENCE {
        acknowledged.extend(load(&server, 5 << 20));
    }
    drop(limited);
    assert!(!server.process().is_alive(), "it found memory, and the test has shown nothing");
    let ended = server.process().wait();
    assert_eq!(ended.status.signal(), Some(Signal::ABORT.as_raw()), "{}", ended.stderr);
    assert!(ended.stderr.contains("memory allocation of"), "{}", ended.stderr);
    server.start_again();
    let store = server.store();
    assert_eq!(store.integrity(), "ok");
    for name in acknowledged {
        assert!(store.content(&name, b"a", None).is_some(), "{name}");
    }
    assert_eq!(load(&server, 100 << 10).len(), 16);
    server.stop();
}

/// Deadlines are counted by a clock that nobody sets; what the catalog dates by the other one is in the order of its rows.
#[test]
fn only_the_catalog_and_the_log_look_at_the_wall_clock() {
    let source = |name: &str| format!("{}/src/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<_> =
        ["connection", "session", "reactor", "worker"].map(|name| source(name).into()).into();
    paths.extend(["server.rs", "queue.rs", "moment.rs", "buffer.rs"].map(|n| source(n).into()));
    let mut files = 0;
    while let Some(path) = paths.pop() {
        let path: std::path::PathBuf = path;
        if path.is_dir() {
            let entries = fs::read_dir(path).expect("sources");
            paths.extend(entries.map(|entry| entry.expect("sources").path()));
            continue;
        }
        files += 1;
        let text = fs::read_to_string(&path).expect("a source");
        for wall in ["SystemTime", "UNIX_EPOCH", "jiff"] {
            assert!(!text.contains(wall), "{}: {wall}", path.display());
        }
    }
    assert!(files > 20, "{files} sources");
}
