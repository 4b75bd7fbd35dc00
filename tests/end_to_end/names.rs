//! Names that a peer chooses: whatever they are, a file stays in its client's own folder, apart from all others.

use std::collections::HashSet;
use std::fs;

use coffer_protocol::Dialect;

use crate::classic::{Client825, End};
use crate::own::{BOTH, Own, assert_stored};
use crate::server::{Server, Setup};

/// Ways out of the folder, and to nowhere.
const WAYS: [&str; 17] = [
    "..",
    ".",
    "../../evil",
    "/etc/passwd",
    "a/../../../evil",
    "./x",
    "a//b",
    "a/b",
    "a/./b",
    r"..\..\evil",
    r"C:\Windows\win.ini",
    "C:docs",
    "C:",
    r"\\host\share\x",
    "/",
    "//",
    r"\",
];

/// What some system takes for a device, a stream, or for something to be obeyed.
const SPECIAL: [&str; 16] = [
    "CON",
    "con.txt",
    "NUL",
    "aux/aux",
    "LPT1.dat",
    "com1.",
    "con ",
    "aux .txt",
    "a:b",
    "*?<>|\"",
    "line\nbreak",
    "tab\t",
    "\u{1b}[2J\u{1b}]0;x\u{7}",
    "\r",
    "\u{202e}gpj.exe",
    "\u{85}",
];

/// Names that some system takes for the same, and files where others need a folder.
const ALIKE: [&str; 15] = [
    "docs",
    "docs/a.txt",
    "docs/A.TXT",
    "DOCS/a.txt",
    "Docs",
    "docs/a.txt/b",
    "caf\u{e9}",
    "cafe\u{301}",
    "CAF\u{c9}",
    "\u{fb01}le",
    "file",
    "FILE",
    "\u{17f}",
    "s",
    "S",
];

/// What we, or others, might mean something else by.
const TAKEN: [&str; 17] = [
    "trailing.",
    "trailing ",
    "trailing",
    ".hidden",
    "-rf",
    "~",
    "%2e%2e",
    "%2E%2E",
    "a~2",
    "a",
    "A",
    "A~2",
    "lost",
    "catalog.db",
    "unnamed",
    "unnamed~2",
    " ",
];

/// Names of files that would go wrong somewhere.
fn bad_names() -> Vec<Vec<u8>> {
    let texts = [&WAYS[..], &SPECIAL, &ALIKE, &TAKEN].concat();
    let mut names: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    names.extend([
        vec![b'x'; 254],
        [vec![b'x'; 250], b".txt".to_vec()].concat(),
        [vec![b'X'; 250], b".txt".to_vec()].concat(),
        "\u{e4}".repeat(127).into_bytes(),
        b"a/".repeat(127),
        vec![0xff; 254],
        vec![1; 254],
        b"a\0b".to_vec(),
        b"a\0\0../b".to_vec(),
        b"caf\xe9.txt".to_vec(),
        b"\xff\xfe".to_vec(),
        b"\x80/..".to_vec(),
    ]);
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    names
}

/// What the file of this name holds for this client: different for every two of them.
fn content(client: &str, name: &[u8]) -> Vec<u8> {
    [b"content of ", client.as_bytes(), b": ", name].concat()
}

/// Everything that a client has is in its own folder, in a place of its own, and right.
fn check(server: &Server, client: &str, names: &[Vec<u8>]) {
    let store = server.store();
    store.wait_for_view(client);
    let folder = fs::canonicalize(store.folder_of(client)).expect("the client's folder");
    let view = fs::canonicalize(server.data().join("files")).expect("the view");
    assert_eq!(folder.parent(), Some(&*view), "{client:?}");
    let versions = store.versions(client);
    let stored: HashSet<&[u8]> = versions.iter().map(|v| &v.row.file[..]).collect();
    assert_eq!(stored, names.iter().map(|name| &name[..]).collect());
    let mut places = HashSet::new();
    for version in &versions {
        assert_eq!(version.content, content(client, &version.row.file));
        let place = fs::canonicalize(&version.shown).expect("it is there");
        assert!(place.starts_with(&folder), "{}", place.display());
        assert!(fs::symlink_metadata(&version.shown).expect("it is there").is_file());
        // Neither case nor a control character may be all that tells two files apart.
        let text = place.to_str().expect("the view's paths are text");
        assert!(!text.chars().any(char::is_control), "{text:?}");
        assert!(places.insert(text.to_lowercase()), "{text:?} is there twice");
    }
}

#[test]
fn two_clients_with_the_same_bad_names_do_not_meet() {
    let server = Server::start();
    let names = bad_names();
    for dialect in BOTH {
        let own = Own::new(&format!("own {dialect}"), dialect);
        let files = names.iter().map(|name| own.file(name, &content(&own.name, name))).collect();
        // The client compares the name in every answer with the one that it sent.
        let report = own.send(server.address(), files, &mut ()).expect("a run");
        report.files.iter().for_each(assert_stored);
    }
    // The classic client compares it, too.
    let first = Client825::new(server.address(), "classic", "..", &content("classic", b".."));
    let identity = first.run().identity;
    for name in &names {
        let content = content("classic", name);
        let client = Client825 { file_name: name.clone(), content, ..first.clone() };
        let run = Client825 { identity: identity.clone(), ..client }.run();
        assert_eq!((run.end, run.error_lines()), (End::Success, 0), "{name:?}: {}", run.dialogue());
    }
    for client in ["own 825", "own 1100"] {
        check(&server, client, &names);
    }
    assert_eq!(server.store().view_files().len(), 3 * names.len());
    // Nothing beside the data folder, and nothing in it but what the server puts there.
    let beside: Vec<_> = fs::read_dir(server.folder()).expect("a folder").collect();
    assert_eq!(beside.len(), 1, "{beside:?}");
    let inside = fs::read_dir(server.data()).expect("a folder").map(|entry| {
        entry.expect("read").file_name().into_string().expect("the server's names are text")
    });
    let known = [
        "blobs",
        "catalog.db",
        "catalog.db-shm",
        "catalog.db-wal",
        "files",
        "identity.pem",
        "lock",
        "lost",
    ];
    inside.for_each(|name| assert!(known.contains(&&*name), "{name}"));
    server.stop();
}

#[test]
fn clients_with_bad_names_have_folders_of_their_own() {
    let server = Setup::new().arguments(&["--existing", "version"]).start();
    let long = "n".repeat(254);
    let names = [
        "..",
        ".",
        "/",
        "../../x",
        "a/b",
        r"a\b",
        "CON",
        "con",
        "Bob",
        "bob",
        "BOB",
        ".hidden",
        "%2E",
        "caf\u{e9}",
        "cafe\u{301}",
        "lost",
        "files",
        " ",
        "trailing.",
        "C:",
        "\u{202e}x",
        &long,
    ];
    for name in names {
        let own = Own::new(name, Dialect::D825);
        own.store(server.address(), b"a", &content(name, b"a"));
    }
    let mut folders = HashSet::new();
    for name in names {
        check(&server, name, &[b"a".to_vec()]);
        let folder = server.store().folder_of(name);
        let text = folder.to_str().expect("the view's paths are text").to_lowercase();
        assert!(folders.insert(text), "{name:?} shares a folder");
    }
    server.stop();
}
