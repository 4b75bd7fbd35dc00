//! `cofferd check` beside a running server: it finds what is wrong and nothing else, and touches nothing that somebody
//! is just writing.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use coffer_protocol::Dialect;

use crate::content::noise;
use crate::own::{BOTH, Own, assert_stored};
use crate::peer::{CHECKSUM, ERROR, Peer, Verdict};
use crate::server::{Server, cofferd, wait_for};

/// Rounds of a check, a repair and a prune beside uploads.
const ROUNDS: usize = 8;

fn command(server: &Server, arguments: &[&str]) -> Output {
    let mut command = cofferd(server.folder());
    command.args(arguments).arg("--data").arg(server.data()).output().expect("it runs")
}

/// Runs a check and returns what it says but for the summary, and its exit code.
fn check(server: &Server, flags: &[&str]) -> (Vec<String>, i32) {
    let output = command(server, &[&["check", "--rate", "100000"], flags].concat());
    let text = String::from_utf8(output.stdout).expect("text");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let last = lines.pop().unwrap_or_else(|| panic!("{output:?}", output = output.stderr));
    assert!(last.starts_with("checked "), "{text}");
    (lines, output.status.code().expect("no signal"))
}

fn assert_well(server: &Server, flags: &[&str]) {
    let (lines, code) = check(server, flags);
    assert_eq!((lines, code), (vec![], 0), "{flags:?}; the server: {}", server.log());
}

fn lost(server: &Server) -> usize {
    fs::read_dir(server.data().join("lost")).expect("there").count()
}

/// All blobs, of whatever start.
fn blobs(server: &Server) -> Vec<PathBuf> {
    let (mut folders, mut files) = (vec![server.data().join("blobs")], vec![]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("readable").path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}

/// Sends files again and again until it is over. Clients of d825 send the same names, so that versions come and go;
/// clients of d1100 new ones. Returns how many runs there were.
fn upload(own: &Own, server: SocketAddr, over: &AtomicBool) -> u64 {
    for run in 0.. {
        if over.load(Ordering::SeqCst) {
            return run;
        }
        let files: Vec<_> = [100, 17_000, 90_000, 300_000]
            .iter()
            .enumerate()
            .map(|(number, size)| {
                let name = match own.dialect {
                    Dialect::D825 => format!("docs/{number}"),
                    Dialect::D1100 => format!("run {run}/{number}"),
                };
                own.file(name.as_bytes(), &noise(run * 31 + number as u64, size + number))
            })
            .collect();
        let report = own.send(server, files, &mut ()).expect("the server is well");
        report.files.iter().for_each(assert_stored);
    }
    unreachable!("it is over at some time")
}

#[test]
fn beside_a_busy_server_nothing_is_found_and_nothing_is_touched() {
    let server = Server::start();
    let owns: Vec<Own> = (0..4).map(|n| Own::new(&format!("client {n}"), BOTH[n % 2])).collect();
    let over = AtomicBool::new(false);
    let (address, runs) = (server.address(), {
        thread::scope(|scope| {
            let clients: Vec<_> = owns
                .iter()
                .map(|own| scope.spawn(|| upload(own, server.address(), &over)))
                .collect();
            let comes_and_goes = scope.spawn(|| come_and_go(&server, &over));
            let end = End(&over);
            for _ in 0..ROUNDS {
                assert_well(&server, &[]);
                assert_well(&server, &["--repair"]);
                let pruned = command(&server, &["prune", "--keep", "1"]);
                assert!(pruned.status.success(), "{pruned:?}");
            }
            drop(end);
            comes_and_goes.join().expect("no panic");
            clients.into_iter().map(|client| client.join().expect("no panic")).collect::<Vec<_>>()
        })
    });
    assert!(runs.iter().all(|&runs| runs > 0), "all got something done: {runs:?}");
    assert_eq!(address, server.address());
    for (own, runs) in owns.iter().zip(runs) {
        server.store().wait_for_view(&own.name);
        let files = if own.dialect == Dialect::D825 { 4 } else { 4 * runs };
        let versions = server.store().versions(&own.name);
        assert!(versions.len() as u64 >= files, "{}: {} of {files}", own.name, versions.len());
    }
    assert_well(&server, &["--repair"]);
    assert_eq!(lost(&server), 0);
    assert!(!server.log().contains(" WARN "), "{}", server.log());
    server.stop();
}

/// A client that registers, stores and is removed, again and again: its folder in the view is nobody's at times.
fn come_and_go(server: &Server, over: &AtomicBool) {
    while !over.load(Ordering::SeqCst) {
        let own = Own::new("passer-by", Dialect::D825);
        own.store(server.address(), b"a/b", &noise(3, 50_000));
        let removed = command(server, &["remove-client", "passer-by", "--yes"]);
        assert!(removed.status.success(), "{removed:?}");
    }
}

/// Ends the clients, whatever happens.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn an_upload_in_the_middle_is_left_alone() {
    for dialect in BOTH {
        let server = Server::start();
        let content = noise(7, 200_000);
        let mut peer = Peer::new(server.address(), dialect, "alice");
        peer.introduce();
        if dialect == Dialect::D1100 {
            peer.hang_up();
        }
        let request = peer.upload_request(b"large", &content);
        let (first, rest) = request.split_at(request.len() / 2);
        std::io::Write::write_all(peer.link(), first).expect("the server reads");
        wait_for("a blob", || blobs(&server).first().cloned());
        assert_well(&server, &[]);
        assert_well(&server, &["--repair"]);
        std::io::Write::write_all(peer.link(), rest).expect("the server reads");
        let (code, _) = crate::peer::answer(peer.link()).expect("the server answers");
        assert_eq!(code % 100, CHECKSUM);
        // Complete, and waiting for its verdict.
        assert_well(&server, &["--repair"]);
        assert_eq!(peer.verdict(Verdict::Right, b"large"), peer.acknowledged());
        assert_eq!(server.store().content("alice", b"large", None), Some(content));
        server.store().wait_for_view("alice");
        assert_well(&server, &["--repair"]);
        assert_eq!(lost(&server), 0);
        server.stop();
    }
}

/// Changes a byte of a file in place, without a trace.
fn rot(path: &Path) {
    let before = fs::metadata(path).expect("there");
    let mut bytes = fs::read(path).expect("readable");
    bytes[10] ^= 1;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("ours");
    fs::write(path, bytes).expect("ours");
    let file = fs::File::options().append(true).open(path).expect("ours");
    file.set_modified(before.modified().expect("known")).expect("ours");
    fs::set_permissions(path, before.permissions()).expect("ours");
}

#[test]
fn a_damaged_file_is_asked_for_again() {
    let server = Server::start();
    let content = noise(9, 100_000);
    let mut peer = Peer::new(server.address(), Dialect::D1100, "alice");
    peer.introduce();
    let store = |peer: &mut Peer| {
        assert_eq!(peer.upload(b"large", &content), CHECKSUM);
        assert_eq!(peer.verdict(Verdict::Right, b"large"), peer.acknowledged());
    };
    store(&mut peer);
    server.store().wait_for_view("alice");
    assert_well(&server, &[]);
    assert_eq!(peer.upload(b"large", &content), ERROR, "it is there");
    let [blob] = &blobs(&server)[..] else { panic!("{:?}", blobs(&server)) };
    // Where the view shares only the bytes, it would be mended from there.
    fs::remove_file(server.store().folder_of("alice").join("large")).expect("ours");
    rot(blob);
    let subject = "client alice, file large, version 1: its BLAKE3 digest is not";
    let (lines, code) = check(&server, &[]);
    assert!(lines.len() == 1 && lines[0].starts_with(subject) && code == 1, "{lines:?}");
    assert_eq!(peer.upload(b"large", &content), ERROR, "nobody repaired yet");
    let (lines, code) = check(&server, &["--repair"]);
    assert!(lines[0].ends_with("alice must send it again, there is no good version"), "{lines:?}");
    assert_eq!((lines.len(), code), (1, 1));
    let cat = command(&server, &["cat", "alice", "large"]);
    let text = String::from_utf8_lossy(&cat.stderr);
    assert!(text.contains("its client must send it again"), "{text}");
    assert_eq!((cat.status.code(), cat.stdout.len()), (Some(1), 0));
    assert!(String::from_utf8_lossy(&command(&server, &["list"]).stdout).contains(" damaged "));
    store(&mut peer);
    assert_eq!(peer.upload(b"large", &content), ERROR, "it is there again");
    server.store().wait_for_view("alice");
    let (lines, code) = check(&server, &[]);
    assert!(lines[0].contains("version 2 counts") && lines.len() == 1 && code == 1, "{lines:?}");
    assert!(command(&server, &["prune", "--keep", "1"]).status.success());
    assert_well(&server, &[]);
    assert_eq!(command(&server, &["cat", "alice", "large"]).stdout, content);
    server.stop();
}

#[test]
fn a_check_takes_its_time() {
    let server = Server::start();
    Own::new("alice", Dialect::D825).store(server.address(), b"large", &noise(1, 2 << 20));
    let start = Instant::now();
    let output = command(&server, &["check", "--rate", "1"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(start.elapsed() >= Duration::from_millis(1700), "{:?}", start.elapsed());
    assert!(output.stderr.is_empty(), "progress is for terminals: {output:?}");
    for arguments in [&["check", "--rate", "0"][..], &["check", "--rate", "fast"], &["check", "x"]]
    {
        assert_eq!(command(&server, arguments).status.code(), Some(2), "{arguments:?}");
    }
    let nowhere = cofferd(server.folder()).args(["check", "--data", "nowhere"]).output();
    assert_eq!(nowhere.expect("it runs").status.code(), Some(2));
    server.stop();
}
