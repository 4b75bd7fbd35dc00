//! The machine's disk: the real catalog and the real recovery in a folder of memory. The contents are with the
//! [`FaultyStore`] while the server runs and on the disk while it does not, so that recovery sees what it will see.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::LazyLock;

use cofferd::catalog::{Reader, Writer, precreate};
use cofferd::recovery::{self, Opened, Options};
use cofferd::storage::{BlobId, blobs_in_order};
use tempfile::TempDir;

use crate::dice::Dice;

/// A folder in memory, where the system has one: a sync costs nothing there.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    folder.expect("a temporary folder")
}

/// An empty catalog: making the tables takes longer than most runs.
static EMPTY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let temp = folder();
    let path = temp.path().join("catalog.db");
    precreate(&path).expect("a new file");
    Writer::open(&path).expect("the tables").close();
    fs::read(path).expect("just written")
});

/// What survives the process.
pub(crate) struct Disk {
    root: TempDir,
}

/// Contents by id.
pub(crate) type Blobs = BTreeMap<BlobId, Vec<u8>>;

impl Disk {
    pub(crate) fn new() -> Self {
        let root = folder();
        fs::write(root.path().join("catalog.db"), &*EMPTY).expect("room");
        Self { root }
    }

    /// What a start of the server makes of the catalog and of these contents. Panics where it loses or forgets one.
    pub(crate) fn recover(&self, mut survivors: Blobs, dice: &mut Dice) -> (Opened, Blobs) {
        let blobs = self.root.path().join("blobs");
        let referenced = self.referenced();
        for (id, bytes) in &survivors {
            let path = blobs.join(id.path());
            fs::create_dir_all(path.parent().expect("a folder")).expect("room");
            fs::write(&path, bytes).expect("room");
            // The view marks what was published, but later.
            let marked = referenced.contains(id) && dice.once_in(2);
            let mode = if marked { 0o444 } else { 0o600 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("ours");
        }
        let opened = recovery::open(self.root.path(), Options::default())
            .unwrap_or_else(|error| panic!("the server does not start: {error}"));
        assert_eq!(opened.report.missing, 0, "rows without their contents: {}", opened.report);
        let kept: Vec<BlobId> = blobs_in_order(&blobs).map(|id| id.expect("readable")).collect();
        assert_eq!(kept, referenced, "what recovery keeps is what the catalog refers to");
        let orphans = survivors.len() - kept.len();
        assert_eq!(opened.report.set_aside, orphans as u64, "set aside, not unlinked");
        survivors.retain(|id, _| kept.binary_search(id).is_ok());
        fs::remove_dir_all(&blobs).expect("ours");
        fs::remove_dir_all(self.root.path().join("lost")).expect("ours");
        (opened, survivors)
    }

    /// The contents that the catalog refers to, in order.
    pub(crate) fn referenced(&self) -> Vec<BlobId> {
        let reader = self.reader();
        let mut all: Vec<BlobId> = Vec::new();
        loop {
            let page = reader.blobs_after(all.last().copied()).expect("readable");
            if page.is_empty() {
                return all;
            }
            all.extend(page.into_iter().map(|(id, _)| id));
        }
    }

    pub(crate) fn reader(&self) -> Reader {
        Reader::open(&self.root.path().join("catalog.db")).expect("a catalog")
    }
}
