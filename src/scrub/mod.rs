//! The check of a data folder: compares catalog, contents and view, and reads every content again.
//!
//! It works beside a running server, so rows and files come and go while it looks: nothing is reported after one look.
//! It changes nothing but this: a content whose size and `cksum` are right gets its BLAKE3 digest stored, which later
//! checks go by. Told to repair, it puts right what it can, unlinks nothing that might be somebody's data, and marks the
//! versions whose contents are lost.
//!
//! It only finds and mends; the command puts findings into words.

mod content;
mod entries;
mod extras;
mod finding;
mod mend;
mod orphans;
mod pace;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::catalog::{CatalogError, ContentRow, Marks, Reader, ScrubTotals, Standing, now_ms};
use crate::limits::CATALOG_PAGE_ROWS;
use crate::recovery::RecoveryError;
use crate::storage::{BlobId, DataDir, DataDirError, open_blob};
use crate::view::Mender;

pub use finding::{EntryFault, Fault, Finding, Outcome, VersionName, Wrong};

use content::{Inode, Meter, Sums, fault_of, inode, judge};

/// What a check is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Whether to put right what can be.
    pub repair: bool,
    /// MiB of contents that may be read in a second, at least 1.
    pub mib_per_second: u32,
}

/// Who hears what a check finds.
pub trait Watcher {
    /// Something is wrong.
    ///
    /// # Errors
    /// If it cannot be told; the check ends then.
    fn found(&mut self, finding: &Finding) -> io::Result<()>;

    /// So much is done of so much.
    fn progress(&mut self, summary: &Summary, totals: &ScrubTotals);
}

/// What a check has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Versions whose contents were compared.
    pub versions: u64,
    /// Bytes that were read, of contents and of entries of the view.
    pub bytes: u64,
    /// Digests that were stored for later checks.
    pub digests: u64,
    /// Digests that the catalog had no room for, or no time.
    pub digests_unsaved: u64,
    /// Versions that came too short a while ago for the view to be wrong not to show them.
    pub not_yet_shown: u64,
    /// Things that are wrong, or were.
    pub findings: u64,
    /// Those of them that are as they should be again.
    pub mended: u64,
}

/// Why a check did not come to its end.
#[derive(Debug, Error)]
pub enum ScrubError {
    /// The folder is being repaired already, or cannot be used.
    #[error(transparent)]
    Folder(#[from] DataDirError),
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The contents could not be listed or set aside.
    #[error(transparent)]
    Contents(#[from] RecoveryError),
    /// The disk refused.
    #[error("cannot read or change {}: {error}", .path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the disk said.
        error: io::Error,
    },
    /// A finding could not be told.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
}

/// Checks the data folder `dir`, and repairs it if that was asked for.
///
/// # Errors
/// If the check could not be done to its end. That something is wrong is no error, see [`Summary`].
pub fn scrub(
    dir: &DataDir,
    options: Options,
    watcher: &mut dyn Watcher,
) -> Result<Summary, ScrubError> {
    let _lock = options.repair.then(|| dir.lock_for_repair()).transpose()?;
    let mut scrub = Scrub::new(dir, options, watcher)?;
    scrub.run()?;
    scrub.summary.bytes = scrub.meter.bytes;
    Ok(scrub.summary)
}

struct Scrub<'a> {
    dir: &'a DataDir,
    reader: Reader,
    marks: Marks,
    mender: Mender,
    repair: bool,
    meter: Meter,
    /// Digests that are not stored yet, by the rows of their versions; at most a page.
    digests: Vec<(i64, [u8; 32])>,
    summary: Summary,
    /// When the check began.
    now_ms: i64,
    watcher: &'a mut dyn Watcher,
}

/// What became of a content that was looked at.
enum Verdict {
    /// It is what was received. Its digest, and which file it is, if one.
    Good([u8; 32], Option<Inode>),
    Bad(Fault),
    /// Its version was removed meanwhile.
    Gone,
}

impl<'a> Scrub<'a> {
    fn new(
        dir: &'a DataDir,
        options: Options,
        watcher: &'a mut dyn Watcher,
    ) -> Result<Self, CatalogError> {
        let open = || Reader::open(&dir.catalog());
        Ok(Self {
            dir,
            reader: open()?,
            marks: Marks::open(&dir.catalog())?,
            mender: Mender::new(dir.clone(), open()?),
            repair: options.repair,
            meter: Meter::new(options.mib_per_second),
            digests: Vec::new(),
            summary: Summary::default(),
            now_ms: now_ms(),
            watcher,
        })
    }

    fn run(&mut self) -> Result<(), ScrubError> {
        let faults = self.reader.faults()?;
        if !faults.is_empty() {
            // What it says of contents cannot be trusted, and nothing should be written to it.
            let mut each = |fault| self.found(Wrong::Catalog(fault), Outcome::Found);
            return faults.into_iter().try_for_each(&mut each);
        }
        // What stands in the way of an entry goes before the entry is made.
        self.check_strangers()?;
        self.check_contents()?;
        self.check_orphans()
    }

    fn found(&mut self, what: Wrong, outcome: Outcome) -> Result<(), ScrubError> {
        let finding = Finding { what, outcome };
        self.summary.findings += 1;
        self.summary.mended += u64::from(finding.outcome == Outcome::Mended);
        self.watcher.found(&finding).map_err(ScrubError::Output)
    }

    /// Looks at every version that is there when it begins; what comes later is for the next check.
    fn check_contents(&mut self) -> Result<(), ScrubError> {
        let totals = self.reader.scrub_totals()?;
        let mut last = 0;
        loop {
            let page = self.reader.contents_after(last, totals.last_row)?;
            let Some(end) = page.last() else { break };
            last = end.view.row;
            for row in &page {
                self.check_version(row)?;
                self.summary.versions += 1;
                self.summary.bytes = self.meter.bytes;
                self.watcher.progress(&self.summary, &totals);
            }
            if self.digests.len() >= CATALOG_PAGE_ROWS {
                self.store_digests()?;
            }
        }
        self.store_digests()
    }

    fn check_version(&mut self, row: &ContentRow) -> Result<(), ScrubError> {
        match self.verify(row)? {
            Verdict::Good(digest, inode) => {
                if row.blake3.is_none() {
                    self.digests.push((row.view.row, digest));
                }
                if row.damage.is_some() {
                    return self.unmark(row);
                }
                if row.view.standing == Standing::Shown {
                    self.check_entry(row, &digest, inode)?;
                }
                Ok(())
            }
            Verdict::Bad(fault) => self.condemn(row, fault),
            Verdict::Gone => Ok(()),
        }
    }

    /// Reads a content and compares it. What seems wrong is looked at again: the version may just have been removed.
    fn verify(&mut self, row: &ContentRow) -> Result<Verdict, ScrubError> {
        let (read, inode) = match row.view.blob {
            Some(blob) => match open_blob(&self.dir.blobs(), blob) {
                Ok(file) => (self.read_blob(&file, row), inode(&file).ok()),
                Err(error) => (Err(unopened(blob, &error)), None),
            },
            None => match self.reader.small_content(row.view.row)? {
                Some(content) => (self.read_small(&content, row), None),
                None => return Ok(Verdict::Gone),
            },
        };
        match read.and_then(|sums| judge(row, &sums).map(|()| sums)) {
            Ok(sums) => Ok(Verdict::Good(sums.blake3, inode)),
            Err(_) if self.reader.content_at(row.view.row)?.is_none() => Ok(Verdict::Gone),
            Err(fault) => Ok(Verdict::Bad(fault)),
        }
    }

    fn read_blob(&mut self, file: &File, row: &ContentRow) -> Result<Sums, Fault> {
        let length = file.metadata().map_err(|error| fault_of(&error))?.len();
        if length != row.view.size {
            return Err(Fault::Length(length, row.view.size));
        }
        self.meter.read_file(file, row.view.size).map_err(|error| fault_of(&error))
    }

    fn read_small(&mut self, mut content: &[u8], row: &ContentRow) -> Result<Sums, Fault> {
        let read = self.meter.read(&mut content, row.view.size, |_| Ok(()));
        read.map_err(|error| fault_of(&error))
    }

    /// Stores the digests of good contents. Where there is no room for them the next check goes by `cksum` again.
    fn store_digests(&mut self) -> Result<(), ScrubError> {
        let digests = std::mem::take(&mut self.digests);
        if digests.is_empty() {
            return Ok(());
        }
        match self.marks.store_digests(&digests) {
            Ok(()) => self.summary.digests += digests.len() as u64,
            Err(CatalogError::Full | CatalogError::Busy) => {
                self.summary.digests_unsaved += digests.len() as u64;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

fn unopened(blob: BlobId, error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::NotFound => Fault::Missing(blob),
        _ => fault_of(error),
    }
}

fn name_of(row: &ContentRow) -> VersionName {
    VersionName { client: row.client.clone(), file: row.file.clone(), version: row.version }
}

fn failed_at(path: &Path) -> impl Fn(io::Error) -> ScrubError {
    move |error| ScrubError::Io { path: path.to_owned(), error }
}
