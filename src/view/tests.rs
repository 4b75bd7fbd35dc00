//! The view of real folders, made in steps.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;
use std::time::Duration;

use coffer_protocol::ClientId;

use super::*;
use crate::catalog::{Change, Content, Marks, Retention};
use crate::freeing::{free_doomed, remove_retired};
use crate::recovery::{self, Opened};
use crate::storage::{BlobId, BlobStore};

const BOB: ClientId = ClientId([0xb0; 16]);

struct Server {
    temp: tempfile::TempDir,
    opened: Opened,
    now: i64,
}

impl Server {
    fn new() -> Self {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let opened =
            recovery::open(temp.path(), recovery::Options::default()).expect("a new folder");
        let mut server = Self { temp, opened, now: 1_700_000_000_123 };
        server.commit(Change::AddClient { id: BOB, name: "Bob".to_owned(), public_key: vec![1] });
        server
    }

    fn commit(&mut self, change: Change) {
        self.now += 1;
        self.opened.writer.commit(&[change], self.now).expect("a working catalog");
    }

    fn store(&mut self, file: &str, bytes: &[u8], content: Content) {
        let size = bytes.len() as u64;
        let file = file.as_bytes().to_vec();
        self.commit(Change::AddVersion {
            client: BOB,
            file,
            size,
            cksum: 0,
            dialect: 825,
            content,
            refuse_existing: false,
        });
    }

    fn store_small(&mut self, file: &str, bytes: &[u8]) {
        self.store(file, bytes, Content::Inline(bytes.to_vec()));
    }

    fn store_blob(&mut self, file: &str, bytes: &[u8]) -> BlobId {
        let mut blob = self.opened.store.create().expect("room");
        blob.write_at(0, bytes).expect("room");
        let id = blob.id();
        blob.seal().expect("a working disk");
        self.store(file, bytes, Content::Blob(id));
        id
    }

    fn follower(&self) -> Follower {
        let reader = Reader::open(&self.opened.dir.catalog()).expect("a catalog");
        Follower::new(self.opened.dir.clone(), reader, STAGING, Arc::default())
    }

    fn shown(&self, path: &str) -> PathBuf {
        self.temp.path().join("files").join(path)
    }

    fn check(&self, path: &str, content: &[u8]) {
        let file = self.shown(path);
        assert_eq!(fs::read(&file).expect(path), content, "{path}");
        assert_eq!(fs::symlink_metadata(&file).expect(path).mode(), 0o100_444, "{path}");
    }
}

#[test]
fn small_and_large_files_are_shown_and_replaced() {
    let mut server = Server::new();
    let first = server.store_blob("docs/large", &[1; 100_000]);
    server.store_small("docs/small.txt", b"small");
    server.store_small("empty", b"");
    let mut follower = server.follower();
    assert_eq!(follower.catch_up(), None);
    server.check("Bob/docs/large", &[1; 100_000]);
    server.check("Bob/docs/small.txt", b"small");
    server.check("Bob/empty", b"");
    let file = fs::metadata(server.shown("Bob/empty")).expect("shown");
    assert_eq!(
        file.mtime() * 1000 + file.mtime_nsec() / 1_000_000,
        server.now,
        "it has the time when it came"
    );
    server.store_blob("docs/small.txt", &[2; 50_000]);
    let second = server.store_blob("docs/large", &[3; 99]);
    assert_eq!(follower.catch_up(), None);
    server.check("Bob/docs/small.txt", &[2; 50_000]);
    server.check("Bob/docs/large", &[3; 99]);
    for blob in [first, second] {
        let file = fs::metadata(server.opened.dir.blobs().join(blob.path())).expect("stored");
        assert_eq!(file.mode() & 0o777, 0o444, "published");
    }
    assert_eq!(
        fs::read_dir(server.shown(".staging")).expect("ours").count(),
        0,
        "nothing is left behind"
    );
}

#[test]
fn versions_that_were_never_shown_are_published_too() {
    let mut server = Server::new();
    let old = server.store_blob("a", &[1; 10]);
    server.store_blob("a", &[2; 10]);
    assert_eq!(server.follower().catch_up(), None);
    server.check("Bob/a", &[2; 10]);
    let file = fs::metadata(server.opened.dir.blobs().join(old.path())).expect("stored");
    assert_eq!(file.mode() & 0o777, 0o444);
}

#[test]
fn every_way_shows_the_same() {
    for way in ["as the file system can", "link", "copy"] {
        let mut server = Server::new();
        let blob = server.store_blob("a", b"content");
        server.store_small("b", b"first");
        server.store_small("b", b"small");
        let mut follower = server.follower();
        let mut tree = Tree::open(&server.opened.dir, STAGING).expect("a view");
        match way {
            "link" => tree.way = tree::Way::HardLink,
            "copy" => (tree.way, tree.unnamed) = (tree::Way::Copy, false),
            _ => {}
        }
        follower.tree = Some(tree);
        assert_eq!(follower.catch_up(), None, "{way}");
        server.check("Bob/a", b"content");
        server.check("Bob/b", b"small");
        let inode = |path| fs::metadata(path).expect("there").ino();
        let is_linked =
            inode(server.shown("Bob/a")) == inode(server.opened.dir.blobs().join(blob.path()));
        match way {
            "link" => assert!(is_linked),
            "copy" => assert!(!is_linked),
            _ => {}
        }
    }
}

#[test]
fn what_was_deleted_or_changed_comes_back_with_a_new_start() {
    let mut server = Server::new();
    server.store_blob("docs/a", b"blob");
    server.store_small("docs/b", b"small");
    server.store_small("c", b"kept");
    assert_eq!(server.follower().catch_up(), None);
    let kept = fs::metadata(server.shown("Bob/c")).expect("shown").ino();
    fs::remove_dir_all(server.shown("Bob/docs")).expect("ours");
    assert_eq!(server.follower().catch_up(), None);
    server.check("Bob/docs/a", b"blob");
    server.check("Bob/docs/b", b"small");
    assert_eq!(
        fs::metadata(server.shown("Bob/c")).expect("shown").ino(),
        kept,
        "what was right is left alone"
    );
    fs::remove_file(server.shown("Bob/docs/b")).expect("ours");
    fs::write(server.shown("Bob/docs/b"), b"edited").expect("ours");
    fs::remove_dir_all(server.shown(".staging")).expect("ours");
    assert_eq!(server.follower().catch_up(), None);
    server.check("Bob/docs/b", b"small");
    fs::remove_dir_all(server.shown("")).expect("ours");
    assert_eq!(server.follower().catch_up(), None);
    server.check("Bob/docs/a", b"blob");
}

#[test]
fn no_symbolic_link_is_followed_out_of_the_view() {
    let mut server = Server::new();
    let outside = tempfile::tempdir().expect("a temporary folder");
    fs::write(outside.path().join("victim"), b"precious").expect("a file");
    fs::create_dir(server.shown("Bob")).expect("a folder");
    symlink(outside.path(), server.shown("Bob/docs")).expect("a link");
    symlink(outside.path().join("victim"), server.shown("Bob/victim")).expect("a link");
    server.store_small("docs/victim", b"evil");
    server.store_small("victim", b"fine");
    let mut follower = server.follower();
    assert_eq!(follower.catch_up(), Some(1), "the folder is refused");
    assert_eq!(fs::read(outside.path().join("victim")).expect("there"), b"precious");
    server.check("Bob/victim", b"fine");
    fs::remove_file(server.shown("Bob/docs")).expect("ours");
    follower.start_over_after(0);
    assert_eq!(follower.catch_up(), None, "tried again");
    server.check("Bob/docs/victim", b"evil");
}

#[test]
fn pruned_and_removed_versions_are_no_failures() {
    let mut server = Server::new();
    server.store_blob("a", b"old");
    server.store_blob("docs/a", b"new");
    let mut follower = server.follower();
    let page = follower.reader.view_after(0).expect("readable");
    let mut retention = Retention::open(&server.opened.dir.catalog()).expect("a catalog");
    retention.retire_client("Bob").expect("writable");
    let mut failures = Failures::default();
    follower.show_page(&page, &mut failures);
    assert_eq!(failures.count, 0);
    assert!(!server.shown("Bob").exists(), "an entry made too late is taken back");
    remove_retired(&server.opened.dir, &mut retention).expect("removable");
    free_doomed(&server.opened.dir, &mut retention).expect("removable");
    follower.show_page(&page, &mut failures);
    assert_eq!(failures.count, 0, "{:?}", failures.first);
    assert!(!server.shown("Bob").exists());
}

#[test]
fn the_thread_shows_what_is_announced() {
    let mut server = Server::new();
    server.store_small("before", b"1");
    let reader = Reader::open(&server.opened.dir.catalog()).expect("a catalog");
    let view = View::spawn(server.opened.dir.clone(), reader).expect("a thread");
    wait_for(&server.shown("Bob/before"));
    server.store_small("after", b"2");
    view.signal().wake();
    wait_for(&server.shown("Bob/after"));
    view.stop();
}

fn wait_for(path: &std::path::Path) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !path.exists() {
        assert!(Instant::now() < deadline, "{} was not shown", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn who_shows_an_old_version_puts_it_right() {
    let mut server = Server::new();
    server.store_small("a", b"first");
    server.store_blob("docs/b", b"first");
    let mut follower = server.follower();
    let page = follower.reader.view_after(0).expect("readable");
    server.store_blob("a", b"the second");
    let reader = Reader::open(&server.opened.dir.catalog()).expect("a catalog");
    let mut mender = Mender::new(server.opened.dir.clone(), reader);
    mender.make_anew(&page[0]).expect("shown");
    server.check("Bob/a", b"the second");
    let mut marks = Marks::open(&server.opened.dir.catalog()).expect("a catalog");
    marks.mark_damaged(page[1].row, "rotten", 0).expect("writable");
    mender.make_anew(&page[1]).expect("nothing to show");
    assert!(!server.shown("Bob/docs").exists());
    let mut failures = Failures::default();
    follower.show_page(&page, &mut failures);
    assert_eq!(failures.count, 0, "{:?}", failures.first);
    server.check("Bob/a", b"the second");
    assert!(!server.shown("Bob/docs").exists(), "a damaged version is not shown");
    marks.unmark(page[1].row).expect("writable");
    mender.make_anew(&page[1]).expect("shown");
    server.check("Bob/docs/b", b"first");
}

#[test]
fn a_damaged_version_gives_way_at_every_start() {
    let mut server = Server::new();
    server.store_small("a", b"first");
    server.store_blob("a", b"the second");
    server.store_small("b", b"only");
    assert_eq!(server.follower().catch_up(), None);
    let mut marks = Marks::open(&server.opened.dir.catalog()).expect("a catalog");
    for row in [2, 3] {
        marks.mark_damaged(row, "rotten", 0).expect("writable");
    }
    assert_eq!(server.follower().catch_up(), None);
    server.check("Bob/a", b"first");
    assert!(!server.shown("Bob/b").exists());
}
