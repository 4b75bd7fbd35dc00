//! Second looks, one at a time: what comes or goes between two of them is nothing to report.

use std::fs;

use coffer_protocol::ClientId;

use super::*;
use crate::catalog::{Change, Content, Retention};
use crate::freeing::{free_doomed, remove_retired};
use crate::recovery::{self, Opened};
use crate::storage::BlobStore;

const BOB: ClientId = ClientId([0xb0; 16]);

/// Notes what is found.
#[derive(Default)]
struct Noted(Vec<Finding>);

impl Watcher for Noted {
    fn found(&mut self, finding: &Finding) -> io::Result<()> {
        self.0.push(finding.clone());
        Ok(())
    }

    fn progress(&mut self, _: &Summary, _: &ScrubTotals) {}
}

fn server() -> (tempfile::TempDir, Opened) {
    let temp = tempfile::tempdir().expect("a temporary folder");
    let mut opened =
        recovery::open(temp.path(), recovery::Options::default()).expect("a new folder");
    let bob = Change::AddClient { id: BOB, name: "Bob".to_owned(), public_key: vec![1] };
    opened.writer.commit(&[bob], 0).expect("a working catalog");
    (temp, opened)
}

fn store(opened: &mut Opened, file: &str) -> BlobId {
    let mut writer = opened.store.create().expect("room");
    writer.write_at(0, b"content").expect("room");
    let blob = writer.id();
    writer.seal().expect("a working disk");
    let version = Change::AddVersion {
        client: BOB,
        file: file.as_bytes().to_vec(),
        size: 7,
        cksum: 0,
        dialect: 825,
        content: Content::Blob(blob),
        refuse_existing: false,
    };
    opened.writer.commit(&[version], 0).expect("a working catalog");
    blob
}

fn options(repair: bool) -> Options {
    Options { repair, mib_per_second: 1000 }
}

#[test]
fn a_version_that_goes_while_it_is_read_is_no_rot() {
    let (_temp, mut opened) = server();
    store(&mut opened, "a");
    let mut noted = Noted::default();
    let mut scrub = Scrub::new(&opened.dir, options(true), &mut noted).expect("a catalog");
    let rows = scrub.reader.contents_after(0, 9).expect("readable");
    let wrong = scrub.verify(&rows[0]).expect("readable");
    assert!(matches!(wrong, Verdict::Bad(Fault::Cksum(..))), "while it is there");
    let mut retention = Retention::open(&opened.dir.catalog()).expect("a catalog");
    retention.retire_client("Bob").expect("writable");
    remove_retired(&opened.dir, &mut retention).expect("removable");
    free_doomed(&opened.dir, &mut retention).expect("removable");
    assert!(matches!(scrub.verify(&rows[0]).expect("readable"), Verdict::Gone));
    scrub.condemn(&rows[0], Fault::Digest).expect("nothing to do");
    assert_eq!(noted.0, []);
}

#[test]
fn what_the_view_takes_back_is_nobodys_business() {
    let (temp, mut opened) = server();
    store(&mut opened, "docs/a");
    let files = temp.path().join("files");
    fs::create_dir_all(files.join("Bob/docs")).expect("ours");
    for name in ["Bob/docs/a", "Bob/docs/gone", "Bob/docs/b", "Bob/stays"] {
        fs::write(files.join(name), b"x").expect("ours");
    }
    let dir = opened.dir.clone();
    let mut noted = Noted::default();
    let scrub = Scrub::new(&dir, options(false), &mut noted).expect("a catalog");
    let mut suspects = scrub.suspects().expect("readable");
    suspects.sort_unstable();
    let expected = ["Bob/docs/b", "Bob/docs/gone", "Bob/stays"].map(PathBuf::from);
    assert_eq!(suspects, expected);
    fs::remove_file(files.join("Bob/docs/gone")).expect("ours");
    store(&mut opened, "docs/b");
    let strangers: Vec<bool> =
        suspects.iter().map(|path| scrub.is_stranger(path).expect("readable")).collect();
    assert_eq!(strangers, [false, false, true]);
}

#[test]
fn the_disks_own_word_is_rot_and_ours_is_not() {
    for (errno, is_rot) in [(5, true), (117, true), (74, true), (13, false), (24, false)] {
        let fault = fault_of(&io::Error::from_raw_os_error(errno));
        assert_eq!(fault.is_rot(), is_rot, "{fault}");
    }
    assert!(unopened(BlobId::new(1, 1), &io::Error::from_raw_os_error(2)).is_rot());
    assert!(!unopened(BlobId::new(1, 1), &io::Error::from_raw_os_error(13)).is_rot());
}
