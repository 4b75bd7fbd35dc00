//! Power losses at many points of a record: whatever was promised by then must be there afterwards.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::time::Instant;

use cofferd::recovery::{self, Options};

use tempfile::TempDir;

use crate::dice::Dice;
use crate::disk::{Disk, Unsynced};
use crate::load::{Recorded, no_strace, record};
use crate::promises::{Promise, Told, promises};
use crate::server::stored::Store;
use crate::strace::Call;

/// Power losses beside those at each promise.
const RANDOM_POINTS: usize = 200;
/// Power losses after the last call, each with other changes kept.
const DRAWS_AT_THE_END: usize = 30;

#[test]
#[ignore = "needs strace: cargo xtask powerloss"]
fn whatever_was_acknowledged_survives_a_power_loss() {
    if let Some(why) = no_strace() {
        return println!("skipped: {why}");
    }
    let start = Instant::now();
    let recorded = record();
    let promises = promises(&recorded.calls, &recorded.ledgers);
    let stored = promises.iter().filter(|p| matches!(p.told, Told::Stored { .. })).count();
    println!(
        "{} calls, {stored} files acknowledged in {:.1?}",
        recorded.calls.len(),
        start.elapsed()
    );
    let scene = Scene { recorded: &recorded, promises };

    let mut points = scene.all_lost();
    points.extend(scene.some_kept());
    let losses = scene.replay(points, |_| false).unwrap_or_else(|Fault { what, folder }| {
        panic!("{what} (see {})", folder.keep().display())
    });
    println!("{losses} power losses, nothing lost, in {:.1?}", start.elapsed());

    // It can fail: with any kind of sync forgotten, something promised is lost.
    for (what, is_forgotten) in FORGOTTEN {
        let fault = scene.replay(scene.all_lost(), is_forgotten);
        let fault =
            fault.err().unwrap_or_else(|| panic!("it was not noticed that {what} are not synced"));
        println!("if {what} were not synced: {}", fault.what);
    }
}

/// Whether a call is to be left out.
type IsForgotten = fn(&Call) -> bool;

/// Kinds of syncs, by what they are of.
const FORGOTTEN: [(&str, IsForgotten); 6] = [
    ("groups of contents", |call| call.name == "syncfs"),
    ("contents", |call| is_sync_of(call, |path| path.contains("/blobs/") && ends_in_file(path))),
    ("folders of contents", |call| {
        is_sync_of(call, |path| path.contains("/blobs/") && !ends_in_file(path))
    }),
    ("the folder of all contents", |call| is_sync_of(call, |path| path.ends_with("/blobs"))),
    ("the catalog's log", |call| is_sync_of(call, |path| path.ends_with("-wal"))),
    ("the data folder's entries", |call| is_sync_of(call, |path| path.ends_with("/data"))),
];

fn is_sync_of(call: &Call, matches: fn(&str) -> bool) -> bool {
    let is_sync = matches!(&call.name[..], "fsync" | "fdatasync");
    is_sync && call.file(0).is_some_and(|path| matches(&path.to_string_lossy()))
}

/// A content's name has four digits, its folders' eight.
fn ends_in_file(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.len() == 4)
}

/// What was lost, and the data folder in which it should be.
struct Fault {
    what: String,
    folder: TempDir,
}

struct Scene<'a> {
    recorded: &'a Recorded,
    promises: Vec<Promise<'a>>,
}

impl Scene<'_> {
    /// Everything unsynced is lost when something was promised that has to last.
    fn all_lost(&self) -> Vec<(usize, Unsynced)> {
        let lasting = |p: &&Promise<'_>| matches!(p.told, Told::Registered | Told::Stored { .. });
        self.promises.iter().filter(lasting).map(|promise| (promise.from, Unsynced::Lost)).collect()
    }

    /// Some of what is unsynced is kept: at the same points, at random ones, and at all where old versions are removed.
    fn some_kept(&self) -> Vec<(usize, Unsynced)> {
        let (mut dice, end) = (Dice::new(1), self.recorded.calls.len());
        let random = (0..RANDOM_POINTS).map(|_| dice.below(end + 1));
        let points = self.all_lost().into_iter().map(|(at, _)| at).chain(random);
        let points = points.chain(self.recorded.pruned_from..=end).chain([end; DRAWS_AT_THE_END]);
        points.zip(0..).map(|(at, seed)| (at, Unsynced::Drawn(seed))).collect()
    }

    /// Lets the power fail after so many calls, with this becoming of what was not synced. Returns how often it failed,
    /// or the first fault.
    fn replay(
        &self,
        mut points: Vec<(usize, Unsynced)>,
        is_forgotten: IsForgotten,
    ) -> Result<usize, Fault> {
        points.sort_by_key(|(at, _)| *at);
        let root = &self.recorded.root;
        let mut disk = Disk::new(root, &root.join(Recorded::DATA).join("files"));
        let mut calls = self.recorded.calls.iter().enumerate().peekable();
        for (at, unsynced) in &points {
            while let Some((_, call)) = calls.next_if(|(number, _)| number < at) {
                if is_forgotten(call) { disk.pass_over() } else { disk.apply(call) }
            }
            self.power_loss(&disk, *at, *unsynced)?;
        }
        Ok(points.len())
    }

    /// After `at` calls.
    fn power_loss(&self, disk: &Disk, at: usize, unsynced: Unsynced) -> Result<(), Fault> {
        let folder = in_memory();
        disk.after_power_loss(folder.path(), unsynced);
        self.look_at(&folder.path().join(Recorded::DATA), at).map_err(|what| {
            let what =
                format!("a power loss after {at} calls, what was not synced {unsynced:?}: {what}");
            Fault { what, folder }
        })
    }

    /// Starts on what is left, as a server would, and compares it with what was promised.
    fn look_at(&self, data: &Path, at: usize) -> Result<(), String> {
        let opened = recovery::open(data, Options::default()).map_err(|error| error.to_string())?;
        if opened.report.missing > 0 {
            return Err(format!("{} rows without a content", opened.report.missing));
        }
        drop(opened);
        let store = Store::new(data);
        let integrity = store.integrity();
        if integrity != "ok" {
            return Err(integrity);
        }
        let mut found = HashSet::new();
        for client in store.clients() {
            for row in store.rows(&client) {
                let content = match row.blob {
                    // Of any length: a wrong one is found out when it is compared.
                    Some(id) => fs::read(data.join("blobs").join(id.path())).unwrap_or_default(),
                    None => {
                        store.content(&client, &row.file, Some(row.version)).unwrap_or_default()
                    }
                };
                found.insert((client.clone(), row.file, content));
            }
            found.insert((client, vec![], vec![]));
        }
        self.compare(&found, at)
    }

    /// `found` has every client, with an empty name of a file, and every version.
    fn compare(
        &self,
        found: &HashSet<(String, Vec<u8>, Vec<u8>)>,
        at: usize,
    ) -> Result<(), String> {
        let mut called_right = HashSet::new();
        for (number, promise) in self.promises.iter().enumerate() {
            let client = promise.client.to_owned();
            let thing = match promise.told {
                Told::Registered => (client, vec![], vec![]),
                Told::Stored { file, content } => {
                    (client, file.clone().into_bytes(), content.clone())
                }
                Told::Id | Told::Checksum | Told::Dropped => continue,
            };
            let is_due =
                promise.from <= at && !(at > self.recorded.pruned_from && self.is_replaced(number));
            if is_due && !found.contains(&thing) {
                let file = String::from_utf8_lossy(&thing.1).into_owned();
                return Err(format!("{:?} of {} was acknowledged and is lost", file, thing.0));
            }
            called_right.insert(thing);
        }
        match found.difference(&called_right).next() {
            None => Ok(()),
            Some((client, file, _)) => {
                let file = String::from_utf8_lossy(file);
                Err(format!("{client} never called {file:?} right like this"))
            }
        }
    }

    /// Whether a later promise is about the same file.
    fn is_replaced(&self, number: usize) -> bool {
        let Promise { client, told: Told::Stored { file, .. }, .. } = &self.promises[number] else {
            return false;
        };
        self.promises[number + 1..].iter().any(|later| {
            later.client == *client
                && matches!(later.told, Told::Stored { file: other, .. } if other == file)
        })
    }
}

/// A folder in memory, where the system has one, since nothing has to last here.
fn in_memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder")
}
