//! From a data folder in whatever state a crash, or an operator, left it to one that a server can use.
//!
//! What was promised is rolled forward, what was not is swept. Nothing is unlinked that might be somebody's data: what
//! nobody refers to is set aside, and when that is more than a crash leaves behind, the start is refused.

pub(crate) mod sweep;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use coffer_protocol::name::escape;
use thiserror::Error;

use crate::catalog::{self, CatalogError, Reader, Retention, Writer};
use crate::freeing::{FreeError, free_doomed, remove_retired};
use crate::limits::FILE_WARNINGS_MAX;
use crate::storage::{
    DataDir, DataDirError, DataLock, DiskStore, holds_files, newest_start, remove_empty_folders,
    sync_folder,
};

/// Folders between `blobs` and a content.
const BLOBS_DEPTH: u32 = 2;

/// What the operator decided beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Set aside contents that the catalog does not know, even if they were acknowledged once.
    pub set_aside_orphans: bool,
}

/// A data folder in order, ready for one server.
#[derive(Debug)]
pub struct Opened {
    /// Its paths.
    pub dir: DataDir,
    /// To be held as long as the server uses the folder.
    pub lock: DataLock,
    /// The catalog, for [`catalog::spawn`].
    pub writer: Writer,
    /// The contents; new ones are those of this start.
    pub store: DiskStore,
    /// What was found and done.
    pub report: Report,
}

/// What a start found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// The number of this start.
    pub start: u64,
    /// Contents in the store that versions refer to.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Contents that versions refer to and that are not there.
    pub missing: u64,
    /// Versions that a check has marked as damaged.
    pub damaged: u64,
    /// Contents that nothing refers to, moved to `lost`.
    pub set_aside: u64,
    /// Their bytes.
    pub set_aside_bytes: u64,
    /// Contents of removed versions, unlinked.
    pub freed: u64,
    /// Clients whose removal was finished.
    pub removed_clients: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "start {}: {} blobs of {} bytes", self.start, self.blobs, self.bytes)?;
        for (count, what) in [
            (self.missing, "missing"),
            (self.damaged, "marked as damaged (see `cofferd list`)"),
            (self.set_aside, "set aside in lost/ (may be deleted)"),
            (self.freed, "freed"),
            (self.removed_clients, "clients finally removed"),
        ] {
            if count > 0 {
                write!(f, "; {count} {what}")?;
            }
        }
        Ok(())
    }
}

/// Why a server must not use the data folder as it is.
#[derive(Debug, Error)]
pub enum RecoveryError {
    /// The folder is in use, or cannot be used.
    #[error(transparent)]
    Dir(#[from] DataDirError),
    /// There are stored files but nothing says whose they are.
    #[error(
        "{} holds stored files but its catalog.db is missing or empty: put the catalog back from a backup, or, to begin anew, move blobs/ and files/ (and catalog.db-wal, if it is there) out of the folder",
        .0.display()
    )]
    NoCatalog(PathBuf),
    /// The catalog is damaged.
    #[error(
        "{} is damaged ({detail}): put a good copy in its place and remove catalog.db-wal and catalog.db-shm; the blobs were not touched",
        .path.display()
    )]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// The first fault.
        detail: String,
    },
    /// The catalog cannot be used for another reason.
    #[error(transparent)]
    Catalog(CatalogError),
    /// Contents that were acknowledged once are unknown to the catalog.
    #[error(
        "{blobs} blobs ({bytes} of {total_bytes} bytes) in {} were acknowledged once but are unknown to the catalog, which seems to be an older copy: put the newest catalog back, or start once with --set-aside-orphans to move them to lost/",
        .path.display()
    )]
    Orphans {
        /// The folder of the contents.
        path: PathBuf,
        /// How many there are.
        blobs: u64,
        /// Their bytes.
        bytes: u64,
        /// Bytes of all contents.
        total_bytes: u64,
    },
    /// Something let go of earlier could not be freed.
    #[error(transparent)]
    Free(#[from] FreeError),
    /// The disk refused.
    #[error("cannot read or change {}: {error}", .path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the disk said.
        error: io::Error,
    },
}

/// Locks the data folder at `root`, makes it if it is not there, and brings it in order.
///
/// # Errors
/// If it is in use, or something is wrong with it that only the operator can decide. Nothing was set aside then.
pub fn open(root: &Path, options: Options) -> Result<Opened, RecoveryError> {
    let (dir, lock) = DataDir::open(root)?;
    let writer = open_catalog(&dir)?;
    let mut report = Report::default();
    finish_removals(&dir, &mut report)?;
    let found = on_blobs(&dir, newest_start(&dir.blobs()))?;
    let reader = Reader::open(&dir.catalog()).map_err(RecoveryError::Catalog)?;
    let known = reader.starts().map_err(RecoveryError::Catalog)?;
    sweep::sweep(&dir, &reader, known, options, &mut report)?;
    report.damaged = log_damaged(&reader).map_err(RecoveryError::Catalog)?;
    // Only now: it makes every folder that is there one of a known start.
    report.start = known.max(found) + 1;
    writer.begin_start(report.start).map_err(RecoveryError::Catalog)?;
    remove_empty_folders(&dir.blobs());
    let store = DiskStore::new(dir.blobs(), report.start);
    Ok(Opened { dir, lock, writer, store, report })
}

/// Says which clients must send which files again. Returns how many versions are marked as damaged.
fn log_damaged(reader: &Reader) -> Result<u64, CatalogError> {
    for (client, file, version) in reader.to_send_again(FILE_WARNINGS_MAX)? {
        let (client, file) = (escape(client.as_bytes()), escape(&file));
        tracing::warn!(%client, %file, version, "the newest version of a file is damaged: its client must send it again");
    }
    reader.damaged_versions()
}

/// Opens the catalog; makes one only in a folder that holds no files yet.
fn open_catalog(dir: &DataDir) -> Result<Writer, RecoveryError> {
    let path = dir.catalog();
    let damaged = |error| match error {
        CatalogError::Corrupt(detail) => RecoveryError::Corrupt { path: dir.catalog(), detail },
        error => RecoveryError::Catalog(error),
    };
    let exists = path.is_file();
    if !exists && on_blobs(dir, has_leftovers(dir))? {
        return Err(RecoveryError::NoCatalog(dir.root().to_owned()));
    }
    if !exists {
        let made = catalog::precreate(&path).and_then(|()| sync_folder(dir.root()));
        made.map_err(|error| RecoveryError::Io { path: path.clone(), error })?;
    } else if catalog::is_blank(&path).map_err(damaged)? && on_blobs(dir, has_stored_files(dir))? {
        return Err(RecoveryError::NoCatalog(dir.root().to_owned()));
    }
    Writer::open(&path).map_err(damaged)
}

/// Whether there is anything that only a catalog can make sense of.
fn has_leftovers(dir: &DataDir) -> io::Result<bool> {
    Ok(dir.root().join("catalog.db-wal").exists() || has_stored_files(dir)?)
}

fn has_stored_files(dir: &DataDir) -> io::Result<bool> {
    // A folder of a client in the view says enough; what it holds need not be looked for.
    let viewed = std::fs::read_dir(dir.files())?.flatten();
    let viewed =
        viewed.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.')).count();
    Ok(viewed > 0 || holds_files(&dir.blobs(), BLOBS_DEPTH)?)
}

fn finish_removals(dir: &DataDir, report: &mut Report) -> Result<(), RecoveryError> {
    let mut retention = Retention::open(&dir.catalog()).map_err(RecoveryError::Catalog)?;
    report.removed_clients = remove_retired(dir, &mut retention)?.0;
    report.freed = free_doomed(dir, &mut retention)?;
    Ok(())
}

fn on_blobs<T>(dir: &DataDir, result: io::Result<T>) -> Result<T, RecoveryError> {
    result.map_err(|error| RecoveryError::Io { path: dir.blobs(), error })
}

#[cfg(test)]
mod tests;
