//! `cofferd check`: every kind of damage to catalog and contents, found, repaired, and what it exits with.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::super::check::check;
use super::*;
use crate::catalog::{ContentRow, Marks};
use crate::scrub::Options;

/// What a check said, and whether all is well after it.
pub(super) fn run(server: &Server, repair: bool) -> (String, bool) {
    let options = Options { repair, mib_per_second: 1 << 20 };
    let mut out = Vec::new();
    let result = check(&server.opened.dir, options, &mut out, None);
    let text = String::from_utf8(out).expect("text");
    match &result {
        Ok(()) => {}
        Err(error @ CommandError::Wrong(_)) => assert_eq!(error.exit_code(), 1),
        Err(error) => panic!("{error}\n{text}"),
    }
    (text, result.is_ok())
}

/// A check finds exactly this and changes nothing: a second one finds the same.
pub(super) fn finds(server: &Server, expected: &[&str]) {
    for _ in 0..2 {
        let (text, is_well) = run(server, false);
        assert_lines(&text, expected);
        assert_eq!(is_well, expected.is_empty(), "{text}");
    }
}

/// Repairing says exactly this, and all is well after it or not.
pub(super) fn repairs(server: &Server, expected: &[&str], is_well: bool) {
    let (text, well) = run(server, true);
    assert_lines(&text, expected);
    assert_eq!(well, is_well, "{text}");
}

/// Each line holds each part (between ` .. `) of what is expected, in order; then comes the summary.
fn assert_lines(text: &str, expected: &[&str]) {
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), expected.len() + 1, "{text}");
    for (line, expected) in lines.iter().zip(expected) {
        for part in expected.split(" .. ") {
            assert!(line.contains(part), "{part:?} is not in {line:?}");
        }
    }
    assert!(lines.last().expect("a summary").starts_with("checked "), "{text}");
}

pub(super) fn blob(server: &Server, number: u64) -> PathBuf {
    server.temp.path().join(format!("blobs/00000001/00000000/{number:04x}"))
}

pub(super) fn lost(server: &Server) -> Vec<String> {
    let entries = fs::read_dir(server.temp.path().join("lost")).expect("there");
    let names = entries.map(|entry| entry.expect("readable").file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().expect("text")).collect();
    names.sort_unstable();
    names
}

fn rows(server: &Server) -> Vec<ContentRow> {
    let reader = Reader::open(&server.opened.dir.catalog()).expect("a catalog");
    reader.contents_after(0, i64::MAX).expect("readable")
}

/// Puts `bytes` in the place of a file's, as rot does: the same file, the same mode and time.
pub(super) fn rot(path: &Path, bytes: &[u8]) {
    let before = fs::metadata(path).expect("there");
    fs::write(path, bytes).expect("ours");
    let file = fs::File::options().append(true).open(path).expect("ours");
    file.set_modified(before.modified().expect("known")).expect("ours");
    assert_eq!(fs::metadata(path).expect("there").permissions(), before.permissions());
}

#[test]
fn good_contents_get_their_digests() {
    let mut server = Server::new();
    server.store(BOB, b"empty", b"");
    server.store(BOB, b"abc", b"abc");
    server.store(EVE, b"large", &[0; 5000]);
    server.show();
    let (text, is_well) = run(&server, false);
    assert!(is_well, "{text}");
    assert_eq!(text, "checked 3 versions, read 5006 bytes, 3 new BLAKE3 digests: all is well\n");
    let hex = |digest: [u8; 32]| digest.map(|byte| format!("{byte:02x}")).concat();
    let digests: Vec<_> =
        rows(&server).iter().map(|row| hex(row.blake3.expect("stored"))).collect();
    // The first two as published for BLAKE3.
    assert_eq!(digests[0], "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
    assert_eq!(digests[1], "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85");
    let (text, _) = run(&server, false);
    assert_eq!(text, "checked 3 versions, read 5006 bytes: all is well\n");
}

#[test]
fn rot_is_found_whatever_it_is() {
    let mut server = Server::new();
    for name in ["missing", "short", "long", "other", "link"] {
        server.store(BOB, name.as_bytes(), &[7; 5000]);
    }
    server.store(EVE, b"small", b"abc");
    server.show();
    fs::remove_file(blob(&server, 0)).expect("ours");
    fs::remove_file(server.temp.path().join("files/Bob/missing")).expect("ours");
    rot(&blob(&server, 1), &[7; 4999]);
    rot(&blob(&server, 2), &[7; 5001]);
    rot(&blob(&server, 3), &[8; 5000]);
    fs::remove_file(blob(&server, 4)).expect("ours");
    std::os::unix::fs::symlink("/etc/passwd", blob(&server, 4)).expect("ours");
    let shell = Connection::open(server.opened.dir.catalog()).expect("a database");
    shell.execute("UPDATE versions SET content = X'616264' WHERE size = 3", []).expect("writable");
    finds(
        &server,
        &[
            "client Bob, file missing, version 1: its content is missing (blobs/00000001/00000000/0000): put it back",
            "file short, version 1: it has 4999 bytes instead of 5000: put it back",
            "file long, version 1: it has 5001 bytes instead of 5000: put it back",
            "file other, version 1: its cksum is .. instead of",
            "file link, version 1: it could not be read and is not checked .. see that this user may read it",
            "client Eve, file small, version 1: its cksum is .. instead of",
        ],
    );
    assert!(server.list().iter().all(|line| line["damage"].is_null()), "it only looked");
    repairs(
        &server,
        &[
            "file missing, version 1 .. it is marked: Bob must send it again, there is no good version",
            "file short .. it is marked",
            "file long .. it is marked",
            "file other .. it is marked",
            "file link .. is not checked",
            "file small .. it was put back from the view",
        ],
        false,
    );
    let damaged: Vec<_> = server.list().iter().map(|line| !line["damage"].is_null()).collect();
    assert_eq!(damaged, [false, true, true, true, true, false], "in the order of names");
    assert_eq!(server.cat("Eve", "small", None).expect("mended"), b"abc");
}

#[test]
fn the_digest_finds_what_cksum_does_not() {
    let mut server = Server::new();
    server.store(BOB, b"a", &[7; 5000]);
    server.show();
    finds(&server, &[]);
    let mut bytes = vec![7; 5000];
    // A multiple of the polynomial of `cksum`.
    for (byte, change) in bytes[100..].iter_mut().zip([0x01, 0x04, 0xc1, 0x1d, 0xb7]) {
        *byte ^= change;
    }
    let sum = |bytes: &[u8]| {
        let mut sum = Cksum::new();
        sum.update(bytes);
        sum.value()
    };
    assert_eq!(sum(&bytes), sum(&[7; 5000]));
    rot(&blob(&server, 0), &bytes);
    finds(&server, &["file a, version 1: its BLAKE3 digest is not that of an earlier check"]);
}

#[test]
fn a_rotten_version_gives_way_until_it_is_sent_again() {
    let mut server = Server::new();
    for byte in 1..=3 {
        server.store(BOB, b"a", &[byte; 5000]);
    }
    server.show();
    let shown = server.temp.path().join("files/Bob/a");
    rot(&blob(&server, 2), &[9; 5000]);
    repairs(&server, &["version 3 .. Bob must send it again, version 2 counts until then"], false);
    assert!(fs::read(&shown).expect("shown") == [2; 5000]);
    assert_eq!(lost(&server), [""; 0]);
    assert!(fs::read(blob(&server, 2)).expect("nothing is removed") == [9; 5000]);
    let list = server.list();
    let row = |n: usize| (list[n]["damage"].is_null(), list[n]["path"].as_str());
    assert_eq!(row(1), (true, Some("files/Bob/a")));
    assert_eq!(row(2), (false, None));
    for version in [None, Some(3)] {
        let error = server.cat("Bob", "a", version).expect_err("damaged");
        assert_eq!(error.exit_code(), 1);
        let text = error.to_string();
        assert!(text.contains("version 3 of a of client Bob is damaged: its cksum is"), "{text}");
        assert!(text.ends_with("version 2 is the newest good one: --version 2"), "{text}");
    }
    assert!(server.cat("Bob", "a", Some(2)).expect("good") == [2; 5000]);
    let text = output(|out| clients::clients(&server.opened.dir, true, out)).expect("a list");
    assert!(text.contains(r#""damaged":1"#), "{text}");
    let text = output(|out| list::list(&server.opened.dir, false, out)).expect("a list");
    assert!(text.lines().nth(3).expect("a line").contains(" 3 damaged  Bob "), "{text}");
    // A server that starts leaves it so, and says whom it waits for.
    server = server.restarted();
    assert_eq!(server.opened.report.damaged, 1);
    server.show();
    assert!(fs::read(&shown).expect("shown") == [2; 5000]);
    finds(&server, &["version 3 .. it is marked: Bob must send it again, version 2 counts"]);
    server.store(BOB, b"a", &[4; 5001]);
    server.show();
    assert!(fs::read(&shown).expect("shown") == [4; 5001]);
    finds(&server, &["version 3 .. it is marked: version 4 counts, `cofferd prune` removes this"]);
    let text = output(|out| prune::prune(&server.opened.dir, 9, out)).expect("pruned");
    assert_eq!(text, "removed 1 old version, 5000 bytes\n");
    finds(&server, &[]);
}

#[test]
fn what_turns_out_good_counts_again() {
    let mut server = Server::new();
    server.store(BOB, b"a", &[1; 5000]);
    server.store(BOB, b"a", &[2; 5000]);
    server.show();
    let shown = server.temp.path().join("files/Bob/a");
    let away = server.temp.path().join("away");
    fs::rename(blob(&server, 1), &away).expect("ours");
    fs::remove_file(&shown).expect("ours");
    repairs(&server, &["version 2: its content is missing .. version 1 counts"], false);
    assert!(fs::read(&shown).expect("shown") == [1; 5000]);
    fs::rename(&away, blob(&server, 1)).expect("ours");
    finds(&server, &["version 2: it is marked as damaged, but its content is good: run"]);
    repairs(&server, &["version 2: it is marked as damaged .. it counts again"], true);
    assert!(fs::read(&shown).expect("shown") == [2; 5000]);
    assert!(server.cat("Bob", "a", None).expect("good") == [2; 5000]);
    finds(&server, &[]);
}

#[test]
fn a_lost_content_is_put_back_from_the_view() {
    let mut server = Server::new();
    server.store(BOB, b"docs/linked", &[1; 5000]);
    server.store(BOB, b"copied", &[2; 5000]);
    server.show();
    let view = server.temp.path().join("files/Bob");
    fs::remove_dir_all(server.temp.path().join("blobs/00000001")).expect("ours");
    // Another mode and time: the bytes decide.
    fs::write(view.join("new"), [2; 5000]).expect("ours");
    fs::rename(view.join("new"), view.join("copied")).expect("ours");
    finds(&server, &["file docs/linked .. is missing", "file copied .. is missing"]);
    repairs(
        &server,
        &[
            "file docs/linked .. it was put back from the view",
            "file copied .. it was put back from the view",
        ],
        true,
    );
    finds(&server, &[]);
    assert!(server.cat("Bob", "docs/linked", None).expect("back") == [1; 5000]);
    assert!(server.cat("Bob", "copied", None).expect("back") == [2; 5000]);
    for number in [0, 1] {
        let mode = fs::metadata(blob(&server, number)).expect("back").permissions().mode();
        assert_eq!(mode & 0o7777, 0o444, "as acknowledged");
    }
    let server = server.restarted();
    assert_eq!((server.opened.report.missing, server.opened.report.set_aside), (0, 0));
}

#[test]
fn what_the_view_has_of_a_rotten_version_is_kept() {
    let mut server = Server::new();
    server.store(BOB, b"a", &[1; 5000]);
    server.show();
    let shown = server.temp.path().join("files/Bob/a");
    fs::remove_file(&shown).expect("ours");
    fs::write(&shown, [2; 5000]).expect("ours");
    rot(&blob(&server, 0), &[3; 5000]);
    repairs(&server, &["Bob must send it again, there is no good version"], false);
    assert!(!shown.exists());
    let [kept] = &lost(&server)[..] else { panic!("{:?}", lost(&server)) };
    assert!(kept.starts_with("view-"), "{kept}");
    assert!(fs::read(server.temp.path().join("lost").join(kept)).expect("kept") == [2; 5000]);
    repairs(&server, &["it is marked: Bob must send it again"], false);
    assert_eq!(lost(&server).len(), 1);
}

/// A content of start `start` that no row refers to.
fn orphan(server: &Server, start: u64, bytes: &[u8], mode: u32) -> PathBuf {
    let path = server.temp.path().join(format!("blobs/{start:08x}/00000000/0abc"));
    fs::create_dir_all(path.parent().expect("has a parent")).expect("ours");
    fs::write(&path, bytes).expect("ours");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("ours");
    path
}

#[test]
fn nothing_that_a_running_server_may_write_is_an_orphan() {
    let mut server = Server::new().restarted();
    server.store(BOB, b"a", &[1; 5000]);
    server.show();
    let written = orphan(&server, 2, b"being uploaded", 0o600);
    let old = orphan(&server, 1, b"left over", 0o600);
    let line =
        "blobs/00000001/00000000/0abc: no version refers to it, 9 bytes .. interrupted upload";
    finds(&server, &[line]);
    repairs(&server, &["blobs/00000001/00000000/0abc .. it was moved to lost/"], true);
    assert!(written.exists() && !old.exists());
    let Server { temp, opened } = server;
    let dir = opened.dir.clone();
    drop(opened);
    let mut out = Vec::new();
    let options = Options { repair: true, mib_per_second: 1 };
    check(&dir, options, &mut out, None).expect("all is well now");
    let text = String::from_utf8(out).expect("text");
    assert!(text.starts_with("blobs/00000002/00000000/0abc: no version"), "{text}");
    assert!(!temp.path().join("blobs/00000002/00000000/0abc").exists());
    assert!(temp.path().join("lost/00000001-0000000abc").exists());
    assert!(temp.path().join("lost/00000002-0000000abc").exists());
}

#[test]
fn acknowledged_contents_that_the_catalog_does_not_know_are_left_to_the_operator() {
    let mut server = Server::new().restarted();
    server.store(BOB, b"a", &[1; 5000]);
    server.show();
    let known = orphan(&server, 1, &[0; 400], 0o444);
    let line = "blobs/00000001/00000000/0abc .. it was acknowledged once .. an older copy";
    finds(&server, &[line]);
    repairs(&server, &[line], false);
    assert!(known.exists());
}

#[test]
fn a_damaged_catalog_is_all_that_is_said() {
    let mut server = Server::new();
    server.store(BOB, b"a", &[1; 5000]);
    fs::remove_file(blob(&server, 0)).expect("ours");
    let shell = Connection::open(server.opened.dir.catalog()).expect("a database");
    shell.execute("UPDATE files SET newest = 7", []).expect("writable");
    let line = "catalog.db: file 1: version 7 is called the newest, 1 is: put a good copy";
    finds(&server, &[line]);
    repairs(&server, &[line], false);
    assert!(rows(&server)[0].damage.is_none());
}

#[test]
fn one_repairs_at_a_time() {
    let server = Server::new();
    let _lock = server.opened.dir.lock_for_repair().expect("nobody else");
    let options = Options { repair: true, mib_per_second: 1 };
    let error = check(&server.opened.dir, options, &mut Vec::new(), None).expect_err("locked");
    assert!(error.to_string().contains("another `cofferd check --repair` works on"), "{error}");
    finds(&server, &[]);
}

#[test]
fn marks_of_versions_that_are_gone_do_no_harm() {
    let server = Server::new();
    let mut marks = Marks::open(&server.opened.dir.catalog()).expect("a catalog");
    marks.mark_damaged(1, "rotten", 0).expect("writable");
    marks.unmark(1).expect("writable");
    finds(&server, &[]);
}
