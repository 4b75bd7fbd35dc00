//! Starts on data folders in every state.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use coffer_protocol::ClientId;

use super::*;
use crate::catalog::{Change, Content, Outcome};
use crate::storage::{BlobId, BlobStore};

const BOB: ClientId = ClientId([0xb0; 16]);
const USUAL: Options = Options { set_aside_orphans: false };

struct Folder {
    temp: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        Self { temp: tempfile::tempdir().expect("a temporary folder") }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.temp.path().join(below)
    }

    fn open(&self) -> Opened {
        open(self.temp.path(), USUAL).expect("a folder in order")
    }

    fn refusal(&self) -> String {
        open(self.temp.path(), USUAL).expect_err("a folder that needs its operator").to_string()
    }

    fn blob(&self, id: BlobId) -> PathBuf {
        self.path("blobs").join(id.path())
    }

    fn publish(&self, id: BlobId) {
        fs::set_permissions(self.blob(id), Permissions::from_mode(0o444)).expect("our file");
    }
}

/// A sealed content of 100 bytes that no row refers to.
fn seal(opened: &Opened) -> BlobId {
    let mut blob = opened.store.create().expect("room");
    blob.write_at(0, &[b'x'; 100]).expect("room");
    let id = blob.id();
    blob.seal().expect("a working disk");
    id
}

/// A stored version of 100 bytes.
fn store(opened: &mut Opened, file: &str) -> BlobId {
    let id = seal(opened);
    let bob = Change::AddClient { id: BOB, name: "Bob".to_owned(), public_key: vec![1] };
    let version = Change::AddVersion {
        client: BOB,
        file: file.as_bytes().to_vec(),
        size: 100,
        cksum: 0,
        dialect: 825,
        content: Content::Blob(id),
        refuse_existing: false,
    };
    let outcomes = opened.writer.commit(&[bob, version], 1).expect("a working catalog");
    assert!(matches!(outcomes[1], Outcome::VersionAdded { .. }));
    id
}

#[test]
fn a_new_folder_and_the_next_starts() {
    let folder = Folder::new();
    let mut first = folder.open();
    assert_eq!(first.report, Report { start: 1, ..Report::default() });
    let mode = fs::metadata(folder.path("catalog.db")).expect("made").permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let mode = fs::metadata(folder.path("catalog.db-wal")).expect("made").permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let id = store(&mut first, "a");
    assert_eq!(id, BlobId::new(1, 0));
    drop(first);
    let second = folder.open();
    assert_eq!(second.report, Report { start: 2, blobs: 1, bytes: 100, ..Report::default() });
    assert_eq!(seal(&second), BlobId::new(2, 0));
}

#[test]
fn one_server_at_a_time() {
    let folder = Folder::new();
    let _first = folder.open();
    assert!(folder.refusal().contains("in use by another server"));
}

#[test]
fn leftovers_of_a_crash_are_set_aside() {
    let folder = Folder::new();
    let mut opened = folder.open();
    let kept = store(&mut opened, "a");
    let leftovers = [seal(&opened), seal(&opened)];
    drop(opened);
    let opened = folder.open();
    let expected = Report {
        start: 2,
        blobs: 1,
        bytes: 100,
        set_aside: 2,
        set_aside_bytes: 200,
        ..Report::default()
    };
    assert_eq!(opened.report, expected);
    assert!(folder.blob(kept).exists());
    for id in leftovers {
        assert!(!folder.blob(id).exists());
        assert_eq!(
            fs::read(folder.path("lost").join(id.to_string())).expect("set aside").len(),
            100
        );
    }
}

#[test]
fn a_content_that_a_power_loss_left_in_both_folders_is_kept_twice() {
    let folder = Folder::new();
    let id = seal(&folder.open());
    fs::copy(folder.blob(id), folder.path("lost").join(id.to_string())).expect("room");
    assert_eq!(folder.open().report.set_aside, 1);
    for name in [id.to_string(), format!("{id}~2")] {
        assert_eq!(fs::read(folder.path("lost").join(name)).expect("set aside").len(), 100);
    }
}

#[test]
fn acknowledged_contents_without_a_row_stop_the_start() {
    let folder = Folder::new();
    let mut opened = folder.open();
    let kept = store(&mut opened, "a");
    let orphan = seal(&opened);
    folder.publish(orphan);
    drop(opened);
    let error = folder.refusal();
    assert!(
        error.contains("1 blobs (100 of 200 bytes)") && error.contains("--set-aside-orphans"),
        "{error}"
    );
    assert!(folder.blob(orphan).exists(), "a refused start touches nothing");
    let opened = open(folder.temp.path(), Options { set_aside_orphans: true })
        .expect("the operator decided");
    assert_eq!(opened.report.set_aside, 1);
    assert!(folder.blob(kept).exists() && !folder.blob(orphan).exists());
    drop(opened);
    folder.open();
}

#[test]
fn an_older_catalog_is_noticed_however_little_it_lacks() {
    let folder = Folder::new();
    let mut opened = folder.open();
    for n in 0..200 {
        store(&mut opened, &n.to_string());
    }
    drop(opened);
    fs::copy(folder.path("catalog.db"), folder.path("older.db")).expect("a copy");
    let mut opened = folder.open();
    let lost = store(&mut opened, "later");
    folder.publish(lost);
    drop(opened);
    fs::copy(folder.path("catalog.db"), folder.path("newer.db")).expect("a copy");
    fs::rename(folder.path("older.db"), folder.path("catalog.db")).expect("put back");
    for _ in 0..2 {
        let error = folder.refusal();
        assert!(
            error.contains("1 blobs (100 of 20100 bytes)") && error.contains("older copy"),
            "{error}"
        );
    }
    fs::rename(folder.path("newer.db"), folder.path("catalog.db")).expect("put back");
    assert_eq!(folder.open().report.blobs, 201);
}

#[test]
fn a_start_number_is_not_used_twice_even_by_an_older_catalog() {
    let folder = Folder::new();
    let opened = folder.open();
    drop(opened);
    fs::copy(folder.path("catalog.db"), folder.path("older.db")).expect("a copy");
    for _ in 0..3 {
        seal(&folder.open());
    }
    fs::rename(folder.path("older.db"), folder.path("catalog.db")).expect("put back");
    // The last leftover, of start 4, is still in its folder.
    assert_eq!(folder.open().report.start, 5);
}

#[test]
fn blobs_without_a_catalog_stop_the_start() {
    let folder = Folder::new();
    let mut opened = folder.open();
    let id = store(&mut opened, "a");
    drop(opened);
    let catalog = fs::read(folder.path("catalog.db")).expect("readable");
    fs::remove_file(folder.path("catalog.db")).expect("ours");
    for _ in 0..2 {
        let error = folder.refusal();
        assert!(
            error.contains("catalog.db is missing") && error.contains("put the catalog back"),
            "{error}"
        );
        assert!(!folder.path("catalog.db").exists());
    }
    fs::write(folder.path("catalog.db"), b"").expect("ours");
    assert!(folder.refusal().contains("missing or empty"));
    fs::write(folder.path("catalog.db"), catalog).expect("ours");
    assert_eq!(folder.open().report.blobs, 1);
    assert!(folder.blob(id).exists());
}

#[test]
fn a_view_or_a_log_without_a_catalog_stops_the_start() {
    let folder = Folder::new();
    fs::create_dir_all(folder.path("files/Bob")).expect("a folder");
    assert!(folder.refusal().contains("catalog.db is missing"));
    let folder = Folder::new();
    fs::write(folder.path("catalog.db-wal"), b"log").expect("a file");
    assert!(folder.refusal().contains("catalog.db is missing"));
}

#[test]
fn a_damaged_catalog_stops_the_start() {
    let folder = Folder::new();
    let mut opened = folder.open();
    for n in 0..100 {
        store(&mut opened, &n.to_string());
    }
    drop(opened);
    let good = fs::read(folder.path("catalog.db")).expect("readable");
    let page = 4096;
    assert!(good.len() > 4 * page);
    let mut overwritten = good.clone();
    overwritten[page..].fill(0x5a);
    let cut = good[..page * 3].to_vec();
    for bad in [b"this is no database, but a text of some length".repeat(200), overwritten, cut] {
        fs::write(folder.path("catalog.db"), bad).expect("ours");
        let error = folder.refusal();
        assert!(
            error.contains("is damaged") && error.contains("put a good copy in its place"),
            "{error}"
        );
    }
    fs::write(folder.path("catalog.db"), good).expect("ours");
    assert_eq!(folder.open().report.blobs, 100);
}

#[test]
fn a_row_without_its_file_is_reported_and_nothing_else_suffers() {
    let folder = Folder::new();
    let mut opened = folder.open();
    let gone = store(&mut opened, "gone");
    store(&mut opened, "kept");
    drop(opened);
    fs::remove_file(folder.blob(gone)).expect("ours");
    let report = folder.open().report;
    assert_eq!((report.blobs, report.missing), (1, 1));
    assert_eq!(report.to_string(), "start 2: 1 blobs of 100 bytes; 1 missing");
}

#[test]
fn interrupted_removals_are_finished() {
    let folder = Folder::new();
    let mut opened = folder.open();
    let first = store(&mut opened, "a");
    let second = store(&mut opened, "a");
    folder.publish(first);
    let mut retention = Retention::open(&folder.path("catalog.db")).expect("a catalog");
    retention.prune_step(1, 0).expect("a working catalog");
    drop((opened, retention));
    let opened = folder.open();
    assert_eq!(opened.report.freed, 1);
    assert!(!folder.blob(first).exists() && folder.blob(second).exists());
    fs::create_dir_all(folder.path("files/Bob/docs")).expect("a folder");
    Retention::open(&folder.path("catalog.db"))
        .expect("a catalog")
        .retire_client("Bob")
        .expect("a working catalog");
    drop(opened);
    let opened = folder.open();
    assert_eq!(
        (opened.report.removed_clients, opened.report.freed, opened.report.set_aside),
        (1, 1, 0)
    );
    assert!(!folder.blob(second).exists() && !folder.path("files/Bob").exists());
    let left = Reader::open(&folder.path("catalog.db")).expect("a catalog").client_by_id(&BOB);
    assert_eq!(left.expect("readable"), None);
}
