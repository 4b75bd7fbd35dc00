//! `cofferd check` and the view: what is missing, edited or nobody's.

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use super::check::{blob, finds, lost, repairs, rot, run};
use super::*;

/// A server that shows three files, the last of them small.
fn shown() -> (Server, PathBuf) {
    let mut server = Server::new();
    server.store(BOB, b"docs/a", &[1; 5000]);
    server.store(BOB, b"docs/b", b"small");
    server.store(BOB, b"z", &[3; 5000]);
    server.show();
    finds(&server, &[]);
    let view = server.temp.path().join("files/Bob");
    (server, view)
}

fn assert_shown(server: &Server, view: &Path) {
    finds(server, &[]);
    for (path, bytes) in
        [("docs/a", &[1; 5000][..]), ("docs/b", &b"small"[..]), ("z", &[3; 5000][..])]
    {
        assert!(fs::read(view.join(path)).expect(path) == bytes, "{path}");
    }
}

#[test]
fn what_is_missing_is_made_anew() {
    let (server, view) = shown();
    fs::remove_file(view.join("z")).expect("ours");
    finds(&server, &["client Bob, file z, version 1: the view does not show it: run"]);
    repairs(&server, &["file z, version 1: the view does not show it: it was made anew"], true);
    assert_shown(&server, &view);
    fs::remove_dir_all(view.join("..")).expect("ours");
    finds(&server, &["file docs/a", "file docs/b", "file z"]);
    assert!(!view.exists(), "it only looked");
    repairs(&server, &["file docs/a", "file docs/b", "file z"], true);
    assert_shown(&server, &view);
}

#[test]
fn what_was_edited_is_made_anew_even_if_it_looks_right() {
    let (server, view) = shown();
    for (path, bytes) in [("docs/a", &[9; 5000][..]), ("docs/b", &b"Small"[..])] {
        let time = fs::metadata(view.join(path)).expect("shown").modified().expect("known");
        fs::remove_file(view.join(path)).expect("ours");
        fs::write(view.join(path), bytes).expect("ours");
        fs::File::options()
            .append(true)
            .open(view.join(path))
            .and_then(|file| file.set_modified(time))
            .expect("ours");
        fs::set_permissions(view.join(path), fs::Permissions::from_mode(0o444)).expect("ours");
    }
    fs::set_permissions(view.join("z"), fs::Permissions::from_mode(0o644)).expect("ours");
    let lines = [
        "file docs/a, version 1: its file in the view has other bytes",
        "file docs/b, version 1: its file in the view has other bytes",
        "file z, version 1: the view shows something else",
    ];
    finds(&server, &lines);
    repairs(&server, &lines, true);
    assert_shown(&server, &view);
}

#[test]
fn a_copy_is_as_good_as_a_link() {
    let (server, view) = shown();
    let time = fs::metadata(view.join("z")).expect("shown").modified().expect("known");
    fs::copy(view.join("z"), view.join("copy")).expect("ours");
    fs::rename(view.join("copy"), view.join("z")).expect("ours");
    fs::set_permissions(view.join("z"), fs::Permissions::from_mode(0o644)).expect("ours");
    let file = fs::File::options().append(true).open(view.join("z")).expect("ours");
    file.set_modified(time).expect("ours");
    fs::set_permissions(view.join("z"), fs::Permissions::from_mode(0o444)).expect("ours");
    finds(&server, &[]);
}

#[test]
fn what_is_nobodys_is_set_aside() {
    let (server, view) = shown();
    let files = server.temp.path().join("files");
    fs::write(view.join("docs/notes\n"), b"mine").expect("ours");
    fs::create_dir_all(view.join("deep/er")).expect("ours");
    fs::write(view.join("deep/er/x"), b"mine").expect("ours");
    fs::create_dir(files.join("Carl")).expect("ours");
    fs::create_dir_all(files.join("lost+found")).expect("ours");
    fs::remove_file(view.join("docs/a")).expect("ours");
    fs::create_dir(view.join("docs/a")).expect("ours");
    fs::remove_file(view.join("z")).expect("ours");
    symlink("/etc/passwd", view.join("z")).expect("ours");
    let (text, is_well) = run(&server, false);
    assert!(!is_well);
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    let expected = [
        "checked 3 versions",
        "client Bob, file docs/a, version 1: the view shows something else",
        "client Bob, file z, version 1: the view shows something else",
        "files/Bob/deep: it is no client's file",
        "files/Bob/docs/a: it is no client's file",
        r"files/Bob/docs/notes\x0a: it is no client's file",
        "files/Carl: it is no client's file",
    ];
    assert_eq!(lines.len(), expected.len(), "{text}");
    assert!(lines.iter().zip(expected).all(|(line, start)| line.starts_with(start)), "{text}");
    let (text, is_well) = run(&server, true);
    assert!(is_well, "{text}");
    assert_shown(&server, &view);
    assert_eq!(lost(&server).len(), 4, "{:?}", lost(&server));
    let kept = lost(&server)
        .iter()
        .filter_map(|name| fs::read(server.temp.path().join("lost").join(name)).ok())
        .collect::<Vec<_>>();
    assert_eq!(kept, [b"mine"]);
    assert!(fs::metadata(view.join("z")).expect("made anew").is_file());
}

#[test]
fn a_rotten_link_is_no_edited_entry() {
    let (server, view) = shown();
    let linked = fs::metadata(view.join("z")).expect("shown").nlink() > 1;
    rot(&blob(&server, 1), &[9; 5000]);
    if linked {
        finds(&server, &["file z, version 1: its"]);
    }
}

#[test]
fn what_came_just_now_need_not_be_shown_yet() {
    let (mut server, view) = shown();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let new = |content: &[u8]| {
        let mut sum = Cksum::new();
        sum.update(content);
        Change::AddVersion {
            client: BOB,
            file: b"z".to_vec(),
            size: content.len() as u64,
            cksum: sum.value(),
            dialect: 825,
            content: Content::Inline(content.to_vec()),
            refuse_existing: false,
        }
    };
    let now = i64::try_from(now).expect("a while to go");
    server.opened.writer.commit(&[new(b"new")], now).expect("a working catalog");
    let (text, is_well) = run(&server, false);
    assert!(is_well, "{text}");
    assert!(text.contains("1 so new that the view need not show them yet"), "{text}");
    repairs(&server, &[], true);
    assert_eq!(fs::read(view.join("z")).expect("shown"), b"new");
    server.opened.writer.commit(&[new(b"newer")], now - 700_000).expect("a working catalog");
    finds(&server, &["file z, version 3: the view shows something else"]);
    repairs(&server, &["file z, version 3: the view shows something else"], true);
    assert_eq!(fs::read(view.join("z")).expect("shown"), b"newer");
}
