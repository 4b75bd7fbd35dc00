//! Digests and marks: what they say, how long they stay, and what they change for everybody else.

use super::*;
use rusqlite::Connection;

fn stored(catalog: &Catalog, version: Option<u32>) -> Stored {
    catalog.reader().stored(&BOB, b"a", version).expect("readable").expect("stored")
}

/// Bob's file `a` in that many versions, whose rows are their numbers.
fn versions(count: u32) -> Catalog {
    let mut catalog = Catalog::with_bob();
    for number in 1..=count {
        assert_eq!(catalog.commit(&[small(BOB, "a")]), [added(number)]);
    }
    catalog
}

fn marks(catalog: &Catalog) -> Marks {
    Marks::open(&catalog.path).expect("a database")
}

fn standings(catalog: &Catalog) -> Vec<Standing> {
    catalog.reader().view_after(0).expect("readable").iter().map(|row| row.standing).collect()
}

#[test]
fn a_damaged_version_does_not_count() {
    let catalog = versions(3);
    assert_eq!(standings(&catalog), [Standing::Older, Standing::Older, Standing::Shown]);
    let mut marks = marks(&catalog);
    marks.mark_damaged(3, "rotten", 7).expect("writable");
    assert_eq!(standings(&catalog), [Standing::Older, Standing::Shown, Standing::Damaged]);
    assert_eq!(stored(&catalog, None).version, 3);
    assert_eq!(stored(&catalog, None).damage.as_deref(), Some("rotten"));
    assert_eq!(stored(&catalog, Some(2)).damage, None);
    let reader = catalog.reader();
    assert_eq!(reader.newest_good(&BOB, b"a").expect("readable"), Some(2));
    assert_eq!(reader.files_to_send_again(&BOB).expect("readable"), 1);
    assert_eq!(reader.to_send_again(9).expect("readable"), [("Bob".to_owned(), b"a".to_vec(), 3)]);
    let rows = all_versions(&reader, &BOB);
    let states: Vec<_> = rows.iter().map(|row| (row.damage.is_some(), row.is_shown)).collect();
    assert_eq!(states, [(false, false), (false, true), (true, false)]);
    for row in [1, 2] {
        marks.mark_damaged(row, "rotten", 7).expect("writable");
    }
    assert_eq!(standings(&catalog), [Standing::Withdrawn; 3]);
    assert_eq!(catalog.reader().newest_good(&BOB, b"a").expect("readable"), None);
    marks.unmark(1).expect("writable");
    assert_eq!(standings(&catalog), [Standing::Shown, Standing::Damaged, Standing::Damaged]);
}

#[test]
fn a_damaged_file_may_be_sent_again_even_where_files_stay() {
    let mut catalog = versions(1);
    let again = Change::AddVersion {
        client: BOB,
        file: b"a".to_vec(),
        size: 3,
        cksum: 7,
        dialect: 1100,
        content: Content::Inline(b"abc".to_vec()),
        refuse_existing: true,
    };
    let in_the_way =
        |catalog: &Catalog| catalog.reader().stands_in_the_way(&BOB, b"a").expect("readable");
    assert_eq!(catalog.commit(std::slice::from_ref(&again)), [Outcome::FileExists]);
    assert!(in_the_way(&catalog));
    marks(&catalog).mark_damaged(1, "rotten", 7).expect("writable");
    assert!(!in_the_way(&catalog));
    assert_eq!(catalog.commit(std::slice::from_ref(&again)), [added(2)]);
    assert_eq!(catalog.commit(std::slice::from_ref(&again)), [Outcome::FileExists], "only once");
    assert!(in_the_way(&catalog));
    assert_eq!(catalog.reader().files_to_send_again(&BOB).expect("readable"), 0);
    marks(&catalog).mark_damaged(1, "an old one", 7).expect("writable");
    assert!(in_the_way(&catalog), "an old version is nothing to send again");
}

#[test]
fn digests_stay_with_their_versions() {
    let mut catalog = versions(2);
    let (good, other) = (*blake3::hash(b"abc").as_bytes(), [7; 32]);
    marks(&catalog).store_digests(&[(1, good), (2, other), (99, other)]).expect("writable");
    marks(&catalog).store_digests(&[(2, good)]).expect("writable");
    marks(&catalog).mark_damaged(99, "gone meanwhile", 7).expect("writable");
    let rows = catalog.reader().contents_after(0, 99).expect("readable");
    let digests: Vec<_> = rows.iter().map(|row| row.blake3).collect();
    assert_eq!(digests, [Some(good), Some(other)], "the first digest counts");
    marks(&catalog).mark_damaged(1, "rotten", 7).expect("writable");
    let mut retention = catalog.retention();
    assert_eq!(retention.prune_step(1, 0).expect("writable").0.versions, 1);
    let connection = Connection::open(&catalog.path).expect("a database");
    for (table, expected) in [("digests", 1), ("damaged", 0)] {
        let sql = format!("SELECT count(*) FROM {table}");
        let count: i64 = connection.query_row(&sql, [], |row| row.get(0)).expect("readable");
        assert_eq!(count, expected, "{table}");
    }
    assert_eq!(catalog.reader().faults().expect("readable"), Vec::<String>::new());
    assert_eq!(catalog.commit(&[small(BOB, "a")]), [added(3)]);
    assert_eq!(catalog.reader().content_at(3).expect("readable").expect("there").blake3, None);
}

#[test]
fn pruning_keeps_the_newest_good_versions() {
    let kept = |catalog: &Catalog| -> Vec<u32> {
        all_versions(&catalog.reader(), &BOB).iter().map(|row| row.version).collect()
    };
    let prune =
        |catalog: &Catalog, keep| catalog.retention().prune_step(keep, 0).expect("writable");
    let catalog = versions(6);
    for row in [5, 6] {
        marks(&catalog).mark_damaged(row, "rotten", 7).expect("writable");
    }
    prune(&catalog, 2);
    assert_eq!(kept(&catalog), [3, 4, 5, 6], "what must be sent again does not count");
    marks(&catalog).mark_damaged(3, "rotten", 7).expect("writable");
    prune(&catalog, 9);
    assert_eq!(kept(&catalog), [4, 5, 6], "a damaged version with a newer good one is of no use");
    marks(&catalog).mark_damaged(4, "rotten", 7).expect("writable");
    prune(&catalog, 1);
    assert_eq!(kept(&catalog), [4, 5, 6], "without a good version all stay");
}

#[test]
fn a_catalog_of_the_first_release_is_brought_up_to_date() {
    let temp = tempfile::tempdir().expect("a temporary folder");
    let path = temp.path().join("catalog.db");
    let old = Connection::open(&path).expect("a new file");
    old.execute_batch(include_str!("../testdata/schema_1.sql")).expect("a catalog of schema 1");
    drop(old);
    for error in [Reader::open(&path).map(drop), Marks::open(&path).map(drop)] {
        assert!(matches!(error, Err(CatalogError::Older(_))), "{error:?}");
    }
    drop(Writer::open(&path).expect("brought up to date"));
    let reader = Reader::open(&path).expect("this release's schema");
    assert_eq!(reader.faults().expect("readable"), Vec::<String>::new());
    let rows = reader.contents_after(0, i64::MAX).expect("readable");
    let found: Vec<_> =
        rows.iter().map(|row| (row.client.as_str(), row.version, row.view.size)).collect();
    let expected: Vec<_> = ["demo-825", "demo-1100"]
        .into_iter()
        .flat_map(|client| {
            [(client, 1, 30_000), (client, 1, 5), (client, 2, 30_000), (client, 2, 5)]
        })
        .collect();
    assert_eq!(found, expected);
    assert!(rows.iter().all(|row| row.blake3.is_none() && row.damage.is_none()));
    let mut marks = Marks::open(&path).expect("this release's schema");
    marks.store_digests(&[(8, [1; 32])]).expect("writable");
    marks.mark_damaged(7, "rotten", 7).expect("writable");
    let row = reader.content_at(7).expect("readable").expect("there");
    assert_eq!((row.damage.as_deref(), row.view.standing), (Some("rotten"), Standing::Damaged));
}

#[test]
fn faults_of_the_database_are_found() {
    let catalog = versions(2);
    assert_eq!(catalog.reader().faults().expect("readable"), Vec::<String>::new());
    let shell = Connection::open(&catalog.path).expect("a database");
    shell.pragma_update(None, "foreign_keys", false).expect("settable");
    shell.execute("UPDATE files SET newest = 5", []).expect("writable");
    shell.execute("INSERT INTO damaged VALUES (77, 0, 'of nothing')", []).expect("writable");
    let faults = catalog.reader().faults().expect("readable");
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert_eq!(faults[0], "row 77 of damaged refers to a row of versions that is not there");
    assert_eq!(faults[1], "file 1: version 5 is called the newest, 2 is");
}
