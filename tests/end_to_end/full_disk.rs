//! A disk without room: clear refusals, nothing lost, and on it goes once there is room again.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use coffer::Class;
use coffer_protocol::Dialect;

use crate::classic::{Client825, Client1100};
use crate::content::noise;
use crate::own::{BOTH, Own};
use crate::peer::{CHECKSUM, Peer, Verdict, connect};
use crate::server::{Down, Server, Setup, cofferd, wait_for};

/// A small file system in memory.
struct Mounted {
    folder: tempfile::TempDir,
}

impl Mounted {
    /// Of this many MiB; `None`, with the reason printed, where tests may not mount.
    fn new(mebibytes: u32) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let size = format!("size={mebibytes}m,mode=0700");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "coffer-test"])
            .arg(folder.path())
            .output();
        match mount {
            Ok(output) if output.status.success() => Some(Self { folder }),
            Ok(output) => {
                println!("skipped: cannot mount: {}", String::from_utf8_lossy(&output.stderr));
                None
            }
            Err(error) => {
                println!("skipped: cannot run mount: {error}");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Takes all the room that is left, but for some KiB. Returns the file to remove.
    fn fill_up(&self, left_kib: u64) -> PathBuf {
        let path = self.path().join("ballast");
        let mut ballast = File::create(&path).expect("room for a name");
        // The server may take some of it at the same time, so that only trying tells how much there is.
        while ballast.write_all(&[1; 64 << 10]).is_ok() {}
        let length = ballast.metadata().expect("it is open").len();
        ballast.set_len(length.saturating_sub(left_kib << 10)).expect("a shorter file");
        path
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily, for a server that is being killed may still be in it.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

/// Both of our clients with what each has stored.
struct Stored {
    owns: [Own; 2],
    files: Vec<(usize, String, Vec<u8>)>,
}

impl Stored {
    fn new() -> Self {
        Self {
            owns: BOTH.map(|dialect| Own::new(&format!("own {dialect}"), dialect)),
            files: vec![],
        }
    }

    fn store(&mut self, server: &Server, size: usize) {
        let name = format!("{}", self.files.len());
        for which in [0, 1] {
            let content = noise(self.files.len() as u64, size);
            self.owns[which].store(server.address(), name.as_bytes(), &content);
            self.files.push((which, name.clone(), content));
        }
    }

    fn check(&self, server: &Server) {
        for (which, name, content) in &self.files {
            let stored = server.store().content(&self.owns[*which].name, name.as_bytes(), None);
            assert!(stored.as_ref() == Some(content), "{name} of {}", self.owns[*which].name);
        }
    }
}

/// On a disk that may become really full.
fn keeping_nothing(disk: &Mounted) -> Setup {
    keeping("0", disk)
}

fn keeping(size: &str, disk: &Mounted) -> Setup {
    Setup::new().data(&disk.path().join("data")).arguments(&["--keep-free", size])
}

#[test]
fn no_room_for_a_large_content() {
    let Some(disk) = Mounted::new(24) else { return };
    let mut server = keeping_nothing(&disk).start();
    let mut stored = Stored::new();
    stored.store(&server, 1 << 20);
    let ballast = disk.fill_up(2 << 10);
    for size in [3 << 20, 5 << 20] {
        for own in &stored.owns {
            assert_eq!(own.fail(server.address(), b"large", &noise(1, size)), Class::Refused);
        }
    }
    server.process().wait_for_log("cannot store \"large\"");
    // What fits still goes, also for the classic clients.
    let content = noise(2, 100 << 10);
    let run = Client825::new(server.address(), "Bob", "a", &content).run();
    assert_eq!(run.dialogue(), "825 1600 826 1602 828 1603 900 1603");
    stored.store(&server, 100 << 10);
    stored.check(&server);

    fs::remove_file(ballast).expect("it is there");
    stored.store(&server, 3 << 20);
    stored.check(&server);
    let server = restarted(server);
    stored.check(&server);
    assert_eq!(server.store().content("Bob", b"a", None), Some(content));
    server.stop();
}

#[test]
fn no_room_in_the_catalog() {
    let Some(disk) = Mounted::new(24) else { return };
    let mut server = keeping_nothing(&disk).start();
    let mut stored = Stored::new();
    stored.store(&server, 10 << 10);
    let ballast = disk.fill_up(0);
    for own in &stored.owns {
        // Once might still fit into what the log has taken already.
        let refused = (0..40_u64).find(|n| {
            let report = own
                .put(server.address(), &[(format!("small {n}").as_bytes(), &noise(*n, 9 << 10))]);
            report.class().inspect(|class| assert_eq!(*class, Class::Refused)).is_some()
        });
        assert!(refused.is_some(), "a full disk takes no small content");
    }
    server.process().wait_for_log("full: free some space");
    // A registration has to be durable too.
    let run = Client825::new(server.address(), "Bob", "a", &noise(1, 9 << 10)).run();
    assert_eq!(run.dialogue(), "825 1600 826 1607 826 1607 826 1607");
    let run = Client1100::new(server.address(), "Eve", "a", &noise(1, 9 << 10)).run();
    assert_eq!(run.dialogue(), "1100 2100 | 1101 2107");
    stored.check(&server);

    fs::remove_file(ballast).expect("it is there");
    stored.store(&server, 10 << 10);
    let run = Client825::new(server.address(), "Bob", "a", &noise(1, 9 << 10)).run();
    assert_eq!(run.dialogue(), "825 1600 826 1602 828 1603 900 1603", "the name was not burnt");
    let server = restarted(server);
    stored.check(&server);
    server.stop();
}

#[test]
fn a_start_without_room_says_so_and_harms_nothing() {
    let Some(disk) = Mounted::new(24) else { return };
    let mut server = Setup::new().data(&disk.path().join("data")).start();
    let mut stored = Stored::new();
    stored.store(&server, 10 << 10);
    stored.store(&server, 1 << 20);
    server.take_down(Down::Kill9);
    let ballast = disk.fill_up(0);
    let ended = Setup::new().data(server.data()).run().expect_err("a start has to be noted");
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("full: free some space"), "{}", ended.stderr);
    fs::remove_file(ballast).expect("it is there");
    server.start_again();
    stored.check(&server);
    stored.store(&server, 1 << 20);
    server.stop();
}

fn restarted(mut server: Server) -> Server {
    server.restart(Down::Kill9);
    server
}

#[test]
fn what_is_kept_free_is_enough_for_verdicts_listing_and_removals() {
    let Some(disk) = Mounted::new(24) else { return };
    let mut server = keeping("4M", &disk).start();
    let mut stored = Stored::new();
    stored.store(&server, 2 << 20);
    // An older version, which may go later; and a client that nobody needs.
    stored.owns[0].store(server.address(), b"0", &stored.files[0].2);
    let mut other = Peer::new(server.address(), Dialect::D825, "Eve");
    other.introduce();
    // Contents that wait for their verdicts while the disk fills.
    let waiting = BOTH.map(|dialect| {
        let mut peer = Peer::new(server.address(), dialect, &format!("waiting {dialect}"));
        peer.introduce();
        assert_eq!(peer.upload(b"a", &noise(9, 200 << 10)), CHECKSUM);
        peer
    });
    let ballast = disk.fill_up(3 << 10);

    for size in [0, 10 << 10, 1 << 20] {
        for own in &stored.owns {
            assert_eq!(own.fail(server.address(), b"more", &noise(1, size)), Class::Refused);
        }
    }
    let log = server.process().wait_for_log("cannot store \"more\"");
    assert!(log.contains("free some space"), "{log}");
    for mut peer in waiting {
        assert_eq!(peer.verdict(Verdict::Right, b"a"), peer.acknowledged());
        let content = server.store().content(&peer.name, b"a", None);
        assert_eq!(content, Some(noise(9, 200 << 10)));
    }
    // Nor is anybody shut out.
    Peer::new(server.address(), Dialect::D1100, "Mallory").introduce();
    let listed = operate(&server, &["list"]);
    assert!(listed.contains("waiting"), "{listed}");
    assert!(operate(&server, &["remove-client", "Eve", "--yes"]).contains("Eve"));
    assert!(operate(&server, &["prune", "--keep", "1"]).contains("1 old version"));
    // What that has freed may be used.
    stored.store(&server, 100 << 10);
    stored.check(&server);

    fs::remove_file(ballast).expect("it is there");
    stored.store(&server, 1 << 20);
    let server = restarted(server);
    stored.check(&server);
    server.stop();
}

/// What is promised to uploads under way is not given to others.
#[test]
fn uploads_under_way_do_not_fill_the_disk_together() {
    let Some(disk) = Mounted::new(24) else { return };
    let mut server = keeping("4M", &disk).start();
    let mut begun = vec![];
    for number in 0..6 {
        let mut peer = Peer::new(server.address(), Dialect::D1100, &format!("half {number}"));
        peer.introduce();
        let request = peer.upload_request(b"large", &noise(number, 5 << 20));
        let mut link = connect(server.address());
        link.write_all(&request[..10 << 10]).expect("the server reads");
        begun.push(link);
    }
    // Three of them fit.
    wait_for("three contents", || (server.store().blob_count() == 3).then_some(()));
    let own = Own::new("Bob", Dialect::D825);
    own.store(server.address(), b"small", &noise(1, 100 << 10));
    assert_eq!(own.fail(server.address(), b"large", &noise(1, 5 << 20)), Class::Refused);
    drop(begun);
    wait_for("their removal", || (server.store().blob_count() == 1).then_some(()));
    own.store(server.address(), b"large", &noise(1, 5 << 20));
    server.process().wait_for_log("cannot store \"large\"");
    server.take_down(Down::Sigterm);
}

/// What a command says that has to succeed.
fn operate(server: &Server, arguments: &[&str]) -> String {
    let output = cofferd(server.folder()).args(arguments).arg("--data").arg(server.data()).output();
    let output = output.expect("the program runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}
