//! The commands on the folder of a server that is running.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use coffer_protocol::ClientId;
use coffer_protocol::checksum::Cksum;
use serde_json::Value;

mod check;
mod invite;
mod view;

use super::*;
use crate::catalog::{Change, Content, Outcome};
use crate::recovery::{self, Opened};
use crate::storage::BlobStore;
use crate::view::View;

const BOB: ClientId = ClientId([0xb0; 16]);
const EVE: ClientId = ClientId([0xe5; 16]);

/// 2023-11-14T22:13:20Z, by `date -ud @1700000000`.
const NOW_MS: i64 = 1_700_000_000_000;

struct Server {
    temp: tempfile::TempDir,
    opened: Opened,
}

impl Server {
    fn new() -> Self {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let opened =
            recovery::open(temp.path(), recovery::Options::default()).expect("a new folder");
        let mut server = Self { temp, opened };
        server.commit(Change::AddClient { id: BOB, name: "Bob".to_owned(), public_key: vec![1] });
        server.commit(Change::AddClient { id: EVE, name: "Eve".to_owned(), public_key: vec![1] });
        server
    }

    fn commit(&mut self, change: Change) -> Outcome {
        self.opened.writer.commit(&[change], NOW_MS + 7).expect("a working catalog").remove(0)
    }

    fn store(&mut self, client: ClientId, file: &[u8], bytes: &[u8]) {
        let mut sum = Cksum::new();
        sum.update(bytes);
        let content = if bytes.len() < 1000 {
            Content::Inline(bytes.to_vec())
        } else {
            let mut blob = self.opened.store.create().expect("room");
            blob.write_at(0, bytes).expect("room");
            let id = blob.id();
            blob.seal().expect("a working disk");
            Content::Blob(id)
        };
        let outcome = self.commit(Change::AddVersion {
            client,
            file: file.to_vec(),
            size: bytes.len() as u64,
            cksum: sum.value(),
            dialect: 825,
            content,
            refuse_existing: false,
        });
        assert!(matches!(outcome, Outcome::VersionAdded { .. }));
    }

    /// Makes the view of all that is stored.
    fn show(&self) {
        let reader = Reader::open(&self.opened.dir.catalog()).expect("a catalog");
        let view = View::spawn(self.opened.dir.clone(), reader).expect("a thread");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while self
            .list()
            .iter()
            .rev()
            .find(|line| line["damage"].is_null())
            .is_some_and(|line| !line["path"].as_str().unwrap_or("").starts_with("files/"))
        {
            assert!(std::time::Instant::now() < deadline, "the view is not made");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        view.stop();
    }

    /// The same folder after a stop and another start.
    fn restarted(self) -> Self {
        let Self { temp, opened } = self;
        drop(opened);
        let opened = recovery::open(temp.path(), recovery::Options::default()).expect("in order");
        Self { temp, opened }
    }

    fn list(&self) -> Vec<Value> {
        let text = output(|out| list::list(&self.opened.dir, true, out)).expect("a list");
        text.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect()
    }

    fn cat(&self, client: &str, file: &str, version: Option<u32>) -> Result<Vec<u8>, CommandError> {
        let args = cat::Args {
            client: client.to_owned(),
            file: file.to_owned(),
            version,
            folder: FolderArgs { data: Some(self.temp.path().to_owned()) },
        };
        let mut out = Vec::new();
        cat::cat(&self.opened.dir, &args, &mut out).map(|()| out)
    }
}

fn output(
    write: impl FnOnce(&mut dyn Write) -> Result<(), CommandError>,
) -> Result<String, CommandError> {
    let mut out = Vec::new();
    write(&mut out)?;
    Ok(String::from_utf8(out).expect("text"))
}

#[test]
fn versions_are_listed_with_a_path_to_their_bytes() {
    let mut server = Server::new();
    server.store(BOB, br"docs\a", b"123456789");
    server.store(BOB, b"large", &[1; 5000]);
    server.store(BOB, b"large", &[2; 6000]);
    server.store(EVE, b"caf\xe9", b"");
    let before = server.list();
    let fields: Vec<_> =
        before[0].as_object().expect("an object").keys().map(String::as_str).collect();
    let mut expected = [
        "client",
        "client_id",
        "file",
        "size",
        "cksum",
        "verified",
        "version",
        "received_at",
        "damage",
        "path",
    ]
    .to_vec();
    expected.sort_unstable();
    assert_eq!(fields, expected);
    assert_eq!(before[0]["client"], "Bob");
    assert_eq!(before[0]["client_id"], "b0".repeat(16));
    assert_eq!((&before[0]["size"], &before[0]["cksum"]), (&9.into(), &930_766_865_u32.into()));
    assert_eq!((&before[0]["verified"], &before[0]["path"]), (&true.into(), &Value::Null));
    assert_eq!(before[0]["received_at"], "2023-11-14T22:13:20.007Z");
    assert_eq!(before[2]["path"], "blobs/00000001/00000000/0001");
    assert_eq!(before[3]["file"], r"caf\xe9");
    server.show();
    let after = server.list();
    let row = |n: usize| {
        (after[n]["file"].as_str(), after[n]["version"].as_u64(), after[n]["path"].as_str())
    };
    assert_eq!(row(1), (Some("large"), Some(1), Some("blobs/00000001/00000000/0000")));
    assert_eq!(row(2), (Some("large"), Some(2), Some("files/Bob/large")));
    assert_eq!(row(3), (Some(r"caf\xe9"), Some(1), Some("files/Eve/caf%E9")));
    assert_eq!(fs::read(server.temp.path().join("files/Bob/large")).expect("shown"), [2; 6000]);
    let text = output(|out| list::list(&server.opened.dir, false, out)).expect("a list");
    assert!(
        text.lines().nth(3).expect("a line").contains("2023-11-14T22:13:20.008Z           6000"),
        "{text}"
    );
}

#[test]
fn files_are_found_by_the_names_that_are_listed() {
    let mut server = Server::new();
    let names: [&[u8]; 6] = [b"a", br"docs\a", br"\x41", b"A", b"caf\xe9", br"C:\x"];
    for (n, name) in names.iter().enumerate() {
        server.store(BOB, name, format!("content {n}").as_bytes());
    }
    let mut contents: Vec<Vec<u8>> = server
        .list()
        .iter()
        .map(|line| server.cat("Bob", line["file"].as_str().expect("text"), None).expect("stored"))
        .collect();
    contents.sort_unstable();
    let expected: Vec<Vec<u8>> =
        (0..names.len()).map(|n| format!("content {n}").into_bytes()).collect();
    assert_eq!(contents, expected);
}

#[test]
fn what_is_not_there_is_said_clearly() {
    let mut server = Server::new();
    server.store(BOB, b"a", b"one");
    server.store(BOB, b"a", b"two");
    assert_eq!(server.cat("Bob", "a", None).expect("stored"), b"two");
    assert_eq!(server.cat("Bob", "a", Some(1)).expect("stored"), b"one");
    for (client, file, version, expected) in [
        ("Ann", "a", None, "there is no client Ann: `cofferd clients` lists"),
        ("Bob", "b", None, "client Bob has no file b: `cofferd list` lists"),
        ("Bob", "a", Some(3), "file a of client Bob has no version 3: `cofferd list` lists"),
    ] {
        let error = server.cat(client, file, version).expect_err("not there");
        assert!(error.to_string().starts_with(expected), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
    let folder = FolderArgs { data: Some("/nonexistent".into()) };
    let error = list::run(&list::Args { json: true, folder }).expect_err("no folder");
    assert_eq!(
        (error.to_string().contains("/nonexistent is no data folder"), error.exit_code()),
        (true, 2)
    );
}

#[test]
fn damaged_contents_are_noticed() {
    let mut server = Server::new();
    server.store(BOB, b"large", &[1; 5000]);
    let blob = server.temp.path().join("blobs/00000001/00000000/0000");
    for bad in [vec![1; 4999], vec![3; 5000]] {
        fs::write(&blob, bad).expect("ours");
        let error = server.cat("Bob", "large", None).expect_err("damaged");
        assert!(error.to_string().contains("large of client Bob is damaged"), "{error}");
        assert_eq!(error.exit_code(), 1);
    }
    fs::remove_file(&blob).expect("ours");
    let error = server.cat("Bob", "large", None).expect_err("missing").to_string();
    assert!(error.contains("blobs/00000001/00000000/0000"), "{error}");
}

#[test]
fn pruning_frees_old_versions_beside_a_running_server() {
    let mut server = Server::new();
    for n in 0..4 {
        server.store(BOB, b"large", &[n; 5000]);
        server.store(EVE, b"small", &[n; 10]);
    }
    server.show();
    let text = output(|out| prune::prune(&server.opened.dir, 2, out)).expect("pruned");
    assert_eq!(text, "removed 4 old versions, 10020 bytes\n");
    let versions: Vec<_> =
        server.list().iter().map(|line| line["version"].as_u64().expect("a number")).collect();
    assert_eq!(versions, [3, 4, 3, 4]);
    let blobs = fs::read_dir(server.temp.path().join("blobs/00000001/00000000")).expect("there");
    assert_eq!(blobs.count(), 2);
    assert_eq!(server.cat("Bob", "large", Some(3)).expect("kept"), [2; 5000]);
    server.store(BOB, b"large", &[9; 5000]);
    assert_eq!(server.cat("Bob", "large", Some(5)).expect("the server goes on"), [9; 5000]);
    let text = output(|out| prune::prune(&server.opened.dir, 9, out)).expect("nothing to do");
    assert_eq!(text, "removed 0 old versions, 0 bytes\n");
}

#[test]
fn a_removed_client_leaves_nothing_behind() {
    let mut server = Server::new();
    server.store(BOB, b"docs/large", &[1; 5000]);
    server.store(BOB, b"small", b"1");
    server.store(EVE, b"kept", b"2");
    server.show();
    let text = output(|out| remove_client::remove_client(&server.opened.dir, "Bob", out))
        .expect("removed");
    assert_eq!(text, "removed Bob: 2 stored versions, 5001 bytes\n");
    assert_eq!(server.list().len(), 1);
    assert!(!server.temp.path().join("files/Bob").exists());
    assert!(!server.temp.path().join("blobs/00000001/00000000/0000").exists());
    let error = output(|out| remove_client::remove_client(&server.opened.dir, "Bob", out))
        .expect_err("gone");
    assert!(matches!(error, CommandError::NoClient(_)));
    let again =
        server.commit(Change::AddClient { id: BOB, name: "Bob".to_owned(), public_key: vec![2] });
    assert_eq!(again, Outcome::ClientAdded);
    server.store(BOB, b"docs", b"new");
    assert_eq!(server.cat("Bob", "docs", None).expect("stored"), b"new");
}

#[test]
fn clients_and_their_keys() {
    let mut server = Server::new();
    server.store(BOB, b"a", b"12345");
    server.store(BOB, b"a", b"123");
    let done = output(|out| reset_key::reset_key(&server.opened.dir, "Eve", out)).expect("reset");
    assert!(done.starts_with("the key of Eve is forgotten"), "{done}");
    let text = output(|out| clients::clients(&server.opened.dir, true, out)).expect("a list");
    let rows: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((&rows[0]["client"], &rows[0]["has_key"]), (&"Bob".into(), &true.into()));
    let totals =
        ["files", "versions", "bytes"].map(|field| rows[0][field].as_u64().expect("a number"));
    assert_eq!(totals, [1, 2, 8]);
    assert_eq!((&rows[1]["client"], &rows[1]["has_key"]), (&"Eve".into(), &false.into()));
    let text = output(|out| clients::clients(&server.opened.dir, false, out)).expect("a list");
    assert!(text.lines().nth(2).expect("Eve's line").contains(" classic reset "), "{text}");
}

#[test]
fn the_exported_catalog_can_be_put_back() {
    let mut server = Server::new();
    server.store(BOB, b"a", b"before");
    let copy = server.temp.path().join("copy.db");
    let bytes = export_catalog::export(&server.opened.dir, &copy).expect("exported");
    let metadata = fs::metadata(&copy).expect("there");
    assert_eq!((metadata.len(), metadata.permissions().mode() & 0o7777), (bytes, 0o600));
    let error = export_catalog::export(&server.opened.dir, &copy).expect_err("there already");
    assert!(error.to_string().contains("it is there already") && error.exit_code() == 2, "{error}");
    server.store(BOB, b"b", b"after");
    let reader = Reader::open(&copy).expect("a catalog");
    assert!(reader.file_exists(&BOB, b"a").expect("readable"));
    assert!(!reader.file_exists(&BOB, b"b").expect("readable"));
    drop(reader);
    let Server { temp, opened } = server;
    drop(opened);
    for name in ["catalog.db-wal", "catalog.db-shm"] {
        let _ = fs::remove_file(temp.path().join(name));
    }
    fs::rename(copy, temp.path().join("catalog.db")).expect("put back");
    let opened = recovery::open(temp.path(), recovery::Options::default()).expect("in order");
    let server = Server { temp, opened };
    assert_eq!(server.cat("Bob", "a", None).expect("stored"), b"before");
}
