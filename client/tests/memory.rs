//! The largest file of dialect 825 goes through the program in little memory.

mod classic;

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use classic::{Options825, Server825, To900};

/// What the program may take, in KiB.
const MEMORY_MAX_KIB: u64 = 32 << 10;

/// The largest plain size, in bytes.
const SIZE: u64 = 67_107_839;

#[test]
fn the_largest_file_takes_less_than_32_mib() {
    let polite = Options825 { to_900: To900::Like1603, ..Options825::polite() };
    let server = Server825::start(polite);
    let dir = tempfile::tempdir().expect("a folder");
    let file = fs::File::create(dir.path().join("large")).expect("created");
    file.set_len(SIZE).expect("sparse");
    let mut child = Command::new(env!("CARGO_BIN_EXE_coffer"))
        .args(["put", "large", "--name", "bob", "--quiet", "--state", "state", "--server"])
        .arg(server.addr().to_string())
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .spawn()
        .expect("it runs");
    let mut peaks = Vec::new();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        peaks.extend(peak_kib(child.id()));
        thread::sleep(Duration::from_millis(5));
    };
    assert!(status.success());
    let peak = peaks.iter().max().expect("it ran for longer than a moment");
    assert!(*peak < MEMORY_MAX_KIB, "{peak} KiB");
    let stored = server.stored("bob", "large").expect("stored");
    assert!(stored.len() as u64 == SIZE && stored.iter().all(|&byte| byte == 0));
}

/// The most memory that a process had resident so far; `None` once it is gone.
fn peak_kib(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}
