//! What writer, readers and retention promise each other, over real databases.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};

use coffer_protocol::ClientId;
use proptest::prelude::*;

mod invitations;
mod marks;

use super::*;
use crate::queue::Queue;
use crate::storage::view_name::fold_key;

const BOB: ClientId = ClientId([0xb0; 16]);
const EVE: ClientId = ClientId([0xe5; 16]);

struct Catalog {
    _temp: tempfile::TempDir,
    path: PathBuf,
    writer: Writer,
    now: i64,
}

impl Catalog {
    fn new() -> Self {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let path = temp.path().join("catalog.db");
        precreate(&path).expect("a new file");
        let writer = Writer::open(&path).expect("a new database");
        Self { _temp: temp, path, writer, now: 1000 }
    }

    fn with_bob() -> Self {
        let mut catalog = Self::new();
        assert_eq!(catalog.commit(&[client(BOB, "Bob")]), [Outcome::ClientAdded]);
        catalog
    }

    fn commit(&mut self, changes: &[Change]) -> Vec<Outcome> {
        self.now += 1;
        self.writer.commit(changes, self.now).expect("a working database")
    }

    fn reader(&self) -> Reader {
        Reader::open(&self.path).expect("a database")
    }

    fn retention(&self) -> Retention {
        Retention::open(&self.path).expect("a database")
    }

    /// Path in the view by file name, of all files of all clients.
    fn paths(&self) -> HashMap<(String, Vec<u8>), String> {
        let reader = self.reader();
        let mut paths = HashMap::new();
        for client in reader.clients_after(None).expect("readable") {
            for row in all_versions(&reader, &client.id) {
                paths.insert((client.folder.clone(), row.file), row.path);
            }
        }
        paths
    }
}

fn all_versions(reader: &Reader, client: &ClientId) -> Vec<VersionRow> {
    let mut all: Vec<VersionRow> = Vec::new();
    loop {
        let (file, version) = all.last().map_or((&[][..], 0), |last| (&last.file, last.version));
        let page = reader.versions_after(client, file, version).expect("readable");
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

fn client(id: ClientId, name: &str) -> Change {
    Change::AddClient { id, name: name.to_owned(), public_key: b"key".to_vec() }
}

fn version(client: ClientId, file: impl AsRef<[u8]>, content: Content) -> Change {
    let file = file.as_ref().to_vec();
    Change::AddVersion {
        client,
        file,
        size: 3,
        cksum: 7,
        dialect: 825,
        content,
        refuse_existing: false,
    }
}

fn small(client: ClientId, file: impl AsRef<[u8]>) -> Change {
    version(client, file, Content::Inline(b"abc".to_vec()))
}

fn added(version: u32) -> Outcome {
    Outcome::VersionAdded { version }
}

#[test]
fn names_and_ids_are_taken_once() {
    let mut catalog = Catalog::with_bob();
    let changes = [client(EVE, "Bob"), client(BOB, "Eve"), client(EVE, "bob"), client(BOB, "Bob")];
    let outcomes = catalog.commit(&changes);
    assert_eq!(
        outcomes,
        [Outcome::NameTaken, Outcome::IdTaken, Outcome::ClientAdded, Outcome::NameTaken]
    );
    let reader = catalog.reader();
    let bob = reader.client_by_name("Bob").expect("readable").expect("known");
    assert_eq!((bob.id, bob.public_key.as_deref()), (BOB, Some(&b"key"[..])));
    assert_eq!(reader.client_by_id(&EVE).expect("readable").expect("known").name, "bob");
    assert_eq!(reader.client_by_name("BOB").expect("readable"), None);
    let folders: Vec<_> =
        reader.clients_after(None).expect("readable").into_iter().map(|row| row.folder).collect();
    assert_eq!(folders, ["Bob", "bob~2"], "folders differ not only by case");
}

#[test]
fn versions_are_numbered_and_kept() {
    let mut catalog = Catalog::with_bob();
    let blob = BlobId::new(1, 2);
    let refused = Change::AddVersion {
        client: BOB,
        file: b"a".to_vec(),
        size: 3,
        cksum: 7,
        dialect: 1100,
        content: Content::Inline(Vec::new()),
        refuse_existing: true,
    };
    let empty = version(BOB, "empty", Content::Inline(Vec::new()));
    let changes = [
        small(BOB, "a"),
        version(BOB, "a", Content::Blob(blob)),
        refused.clone(),
        small(EVE, "a"),
        empty,
    ];
    let outcomes = catalog.commit(&changes);
    assert_eq!(
        outcomes,
        [added(1), added(2), Outcome::FileExists, Outcome::ClientUnknown, added(1)]
    );
    let reader = catalog.reader();
    let stored =
        |file: &str, version| reader.stored(&BOB, file.as_bytes(), version).expect("readable");
    assert_eq!(stored("a", None).expect("there").content, Content::Blob(blob));
    assert_eq!(stored("a", Some(1)).expect("there").content, Content::Inline(b"abc".to_vec()));
    assert_eq!(stored("a", Some(3)), None);
    assert_eq!(stored("empty", None).expect("there").content, Content::Inline(Vec::new()));
    assert!(reader.file_exists(&BOB, b"a").expect("readable"));
    assert!(!reader.file_exists(&BOB, b"A").expect("readable"));
    let listed: Vec<_> = all_versions(&reader, &BOB)
        .into_iter()
        .map(|row| (row.file, row.version, row.is_newest))
        .collect();
    assert_eq!(
        listed,
        [(b"a".to_vec(), 1, false), (b"a".to_vec(), 2, true), (b"empty".to_vec(), 1, true)]
    );
}

#[test]
fn versions_of_the_same_moment_can_be_told_apart() {
    let mut catalog = Catalog::with_bob();
    for _ in 0..3 {
        catalog.writer.commit(&[small(BOB, "a")], 1_000).expect("a working database");
    }
    let versions = all_versions(&catalog.reader(), &BOB);
    let times: Vec<i64> = versions.iter().map(|version| version.received_at).collect();
    assert_eq!(times, [1_000, 1_001, 1_000]);
}

#[test]
fn a_clock_that_is_set_back_changes_no_order() {
    let mut catalog = Catalog::with_bob();
    for (now, expected) in [(3_000, 1), (2_000, 2), (0, 3), (2_000, 4)] {
        let outcomes = catalog.writer.commit(&[small(BOB, "a")], now).expect("a working database");
        assert_eq!(outcomes, [added(expected)]);
    }
    let versions = all_versions(&catalog.reader(), &BOB);
    let listed: Vec<_> = versions.iter().map(|v| (v.version, v.received_at, v.is_newest)).collect();
    assert_eq!(listed, [(1, 3_000, false), (2, 2_000, false), (3, 0, false), (4, 2_000, true)]);
}

#[test]
fn long_lists_come_in_pages() {
    let mut catalog = Catalog::with_bob();
    let count = crate::limits::CATALOG_PAGE_ROWS * 2 + 10;
    let changes: Vec<_> = (0..count).map(|n| small(BOB, format!("{:03}", n / 3))).collect();
    catalog.commit(&changes);
    let reader = catalog.reader();
    let rows = all_versions(&reader, &BOB);
    assert_eq!(rows.len(), count);
    assert!(rows.is_sorted_by_key(|row| (row.file.clone(), row.version)));
    let mut cursor = 0;
    let mut seen = 0;
    while let Some(last) = reader.view_after(cursor).expect("readable").last() {
        cursor = last.row;
        seen += 1;
    }
    assert_eq!(seen, 3, "two full pages and a rest");
}

#[test]
fn a_blob_belongs_to_one_version_and_a_failed_batch_to_none() {
    let mut catalog = Catalog::with_bob();
    let blob = version(BOB, "a", Content::Blob(BlobId::new(1, 1)));
    let result = catalog.writer.commit(&[small(BOB, "b"), blob.clone(), blob], 1);
    let error = result.expect_err("the same content twice");
    assert!(error.is_fatal(), "{error}");
    assert!(
        !catalog.reader().file_exists(&BOB, b"b").expect("readable"),
        "the whole batch is gone"
    );
    let again = catalog.writer.commit(&[small(BOB, "b")], 1).expect_err("stays failed");
    assert!(matches!(again, CatalogError::Stopped));
}

#[test]
fn a_full_disk_fails_a_batch_but_not_the_catalog() {
    let mut catalog = Catalog::with_bob();
    let pages: i64 = catalog.writer.page_count();
    catalog.writer.limit_pages(pages + 4);
    let large = || version(BOB, "large", Content::Inline(vec![1; 1 << 20]));
    let error = catalog.writer.commit(&[small(BOB, "b"), large()], 1).expect_err("no room");
    assert!(matches!(error, CatalogError::Full) && !error.is_fatal(), "{error}");
    assert!(!catalog.reader().file_exists(&BOB, b"b").expect("readable"));
    catalog.writer.limit_pages(i64::from(u32::MAX) - 1);
    assert_eq!(catalog.commit(&[small(BOB, "b"), large()]), [added(1), added(1)]);
}

#[test]
fn a_client_that_lost_its_key_keeps_its_files() {
    let mut catalog = Catalog::with_bob();
    catalog.commit(&[small(BOB, "a")]);
    assert!(!catalog.retention().reset_key("Nobody").expect("writable"));
    assert!(catalog.retention().reset_key("Bob").expect("writable"));
    let bob = catalog.reader().client_by_id(&BOB).expect("readable").expect("known");
    assert_eq!(bob.public_key, None);
    assert_eq!(
        catalog.commit(&[client(EVE, "Bob"), client(BOB, "Bob")]),
        [Outcome::ClientAdded, Outcome::NameTaken]
    );
    let reader = catalog.reader();
    assert!(reader.file_exists(&EVE, b"a").expect("readable"));
    assert_eq!(reader.client_by_id(&BOB).expect("readable"), None);
}

#[test]
fn pruning_keeps_the_newest_and_dooms_the_rest() {
    let mut catalog = Catalog::with_bob();
    let blobs: Vec<_> = (0..5).map(|n| BlobId::new(1, n)).collect();
    let changes: Vec<_> =
        blobs.iter().map(|&blob| version(BOB, "a", Content::Blob(blob))).collect();
    catalog.commit(&changes);
    catalog.commit(&[small(BOB, "b")]);
    let mut retention = catalog.retention();
    let (gone, more) = retention.prune_step(2, 0).expect("writable");
    assert_eq!((gone, more), (LetGo { versions: 3, bytes: 9 }, Some(3)));
    assert_eq!(retention.prune_step(2, 3).expect("writable"), (LetGo::default(), None));
    let doomed: Vec<_> =
        retention.doomed_after(None).expect("readable").iter().map(|doomed| doomed.blob).collect();
    assert_eq!(doomed, blobs[..3]);
    retention.settle(&doomed[..2]).expect("writable");
    assert_eq!(
        retention.doomed_after(None).expect("readable"),
        [Doomed { blob: blobs[2], is_needed: false }]
    );
    assert_eq!(catalog.commit(&[small(BOB, "a")]), [added(6)], "numbers go on");
}

#[test]
fn a_removed_client_leaves_its_name_and_then_its_folder() {
    let mut catalog = Catalog::with_bob();
    catalog.commit(&[small(BOB, "docs/a"), version(BOB, "b", Content::Blob(BlobId::new(1, 1)))]);
    let mut retention = catalog.retention();
    assert!(retention.retire_client("Bob").expect("writable"));
    assert!(!retention.retire_client("Bob").expect("writable"));
    let changes = [small(BOB, "c"), client(EVE, "Bob"), small(EVE, "docs/a")];
    assert_eq!(catalog.commit(&changes), [Outcome::ClientUnknown, Outcome::ClientAdded, added(1)]);
    let retired = retention.retired_client().expect("readable").expect("begun");
    assert_eq!(retired.folder, "Bob");
    assert_eq!(catalog.reader().view_after(0).expect("readable").len(), 1, "only Eve's is shown");
    assert_eq!(
        retention.drop_versions(&retired).expect("writable"),
        LetGo { versions: 2, bytes: 6 }
    );
    assert_eq!(retention.drop_versions(&retired).expect("writable"), LetGo::default());
    retention.forget_client(&retired).expect("writable");
    assert_eq!(retention.retired_client().expect("readable"), None);
    assert_eq!(
        catalog.paths().into_iter().collect::<Vec<_>>(),
        [(("Bob~2".into(), b"docs/a".to_vec()), "docs/a".into())]
    );
    let third = ClientId([3; 16]);
    catalog.commit(&[client(third, "BOB")]);
    let folders: Vec<_> = catalog
        .reader()
        .clients_after(None)
        .expect("readable")
        .into_iter()
        .map(|c| c.folder)
        .collect();
    assert_eq!(folders, ["BOB", "Bob~2"], "the folder is free again");
}

#[test]
fn every_change_is_delivered_once_in_order_after_its_commit() {
    let catalog = Catalog::with_bob();
    let reader = catalog.reader();
    let queue = Arc::new(Queue::new(5000));
    for n in 0..2000_u32 {
        queue
            .push((n, version(BOB, format!("{n}"), Content::Inline(vec![7; 5000]))))
            .expect("room");
    }
    queue.close();
    let (tell, told) = mpsc::channel();
    let thread = spawn(catalog.writer, queue, move |batch: Vec<Delivery<u32>>| {
        for (n, outcome) in &batch {
            assert_eq!(*outcome.as_ref().expect("stored"), added(1));
            assert!(
                reader.file_exists(&BOB, n.to_string().as_bytes()).expect("readable"),
                "delivered before its commit"
            );
        }
        tell.send(batch.into_iter().map(|(n, _)| n).collect::<Vec<_>>()).expect("the test listens");
    });
    thread.expect("a thread").join().expect("no panic");
    let batches: Vec<Vec<u32>> = told.iter().collect();
    assert!(batches.len() >= 8, "no batch is larger than its bound");
    assert!(batches.into_iter().flatten().eq(0..2000));
    let log = std::fs::metadata(catalog.path.with_extension("db-wal")).map_or(0, |log| log.len());
    assert_eq!(log, 0, "the database is whole without its log");
}

#[test]
fn after_a_fatal_error_everything_is_delivered_as_failed() {
    let catalog = Catalog::with_bob();
    let queue = Arc::new(Queue::new(10));
    let twice = version(BOB, "a", Content::Blob(BlobId::new(1, 1)));
    for (n, change) in [twice.clone(), twice].into_iter().enumerate() {
        queue.push((n, change)).expect("room");
    }
    let (tell, told) = mpsc::channel();
    let thread = spawn(catalog.writer, Arc::clone(&queue), move |batch| {
        tell.send(batch).expect("the test listens");
    });
    let first = told.recv().expect("the first batch");
    assert!(first.iter().all(|(_, result)| result.as_ref().is_err_and(|error| error.is_fatal())));
    queue.push((9, small(BOB, "b"))).expect("room");
    let second = told.recv().expect("the second batch");
    assert!(matches!(second[0].1.as_deref_err(), Some(CatalogError::Stopped)));
    queue.close();
    thread.expect("a thread").join().expect("no panic");
}

trait AsDerefErr<E> {
    fn as_deref_err(&self) -> Option<&E>;
}

impl<T, E> AsDerefErr<E> for Result<T, Arc<E>> {
    fn as_deref_err(&self) -> Option<&E> {
        self.as_ref().err().map(|error| &**error)
    }
}

#[test]
fn conflicting_names_get_paths_of_their_own() {
    let mut catalog = Catalog::with_bob();
    let names = [
        "docs",
        "docs/a.txt",
        "DOCS/A.txt",
        "Docs/b.txt",
        "x/y",
        "x",
        r"x\y",
        "../x/y",
        "caf\u{e9}",
        "cafe\u{301}",
    ];
    let expected = [
        "docs",
        "docs~2/a.txt",
        "docs~2/A~2.txt",
        "docs~2/b.txt",
        "x/y",
        "x~2",
        "x/y~2",
        "x/y~3",
        "caf\u{e9}",
        "cafe\u{301}~2",
    ];
    catalog.commit(&names.map(|name| small(BOB, name)));
    let paths = catalog.paths();
    for (name, path) in names.into_iter().zip(expected) {
        assert_eq!(paths[&("Bob".to_owned(), name.as_bytes().to_vec())], path, "{name}");
    }
}

#[test]
fn many_colliding_names_stay_cheap() {
    let mut catalog = Catalog::with_bob();
    let spelling = |n: u32| -> String {
        ('a'..='p')
            .enumerate()
            .map(|(bit, c)| if n >> bit & 1 == 1 { c.to_ascii_uppercase() } else { c })
            .collect()
    };
    let changes: Vec<_> = (0..3000).map(|n| small(BOB, spelling(n))).collect();
    let begun = std::time::Instant::now();
    catalog.commit(&changes);
    // In order it would be 4.5 million searches.
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    let keys: HashSet<_> = catalog.paths().into_values().map(|path| fold_key(&path)).collect();
    assert_eq!(keys.len(), 3000);
}

/// Names that often collide: few letters, cases, forms, separators.
fn colliding() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "a", "A", "b", "/", "\\", "~2", ".", "..", "\u{e9}", "e\u{301}", "ß", "SS", "\u{1}", "C:",
    ]);
    prop::collection::vec(piece, 1..7).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn different_names_never_meet(names in prop::collection::hash_set(colliding(), 1..40)) {
        let mut catalog = Catalog::with_bob();
        let changes: Vec<_> = names.iter().map(|name| small(BOB, name)).collect();
        catalog.commit(&changes);
        let paths = catalog.paths();
        prop_assert_eq!(paths.len(), names.len());
        let files: HashSet<String> = paths.values().map(|path| fold_key(path)).collect();
        prop_assert_eq!(files.len(), names.len(), "two names share a path: {:?}", paths);
        let mut spellings = HashMap::new();
        for path in paths.values() {
            for (end, _) in path.match_indices('/') {
                let folder = &path[..end];
                prop_assert!(!files.contains(&fold_key(folder)), "{folder} is a file and a folder");
                let spelling = spellings.entry(fold_key(folder)).or_insert(folder);
                prop_assert_eq!(*spelling, folder, "two spellings of one folder");
            }
        }
    }
}
