//! The data folder: what lies where in it, and who may use it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::disk::sync_folder;

/// The paths of a data folder:
///
/// ```text
/// lock         held by the server that uses the folder
/// identity.pem the private key that clients of the secure door know this server by
/// catalog.db   clients, keys, files, versions, small contents (beside it SQLite's -wal and -shm)
/// blobs/       the truth: immutable contents
/// files/       the view: the newest version of each file, to be read without us
/// lost/        what a start, or a check, set aside
/// check.lock   held by the check that repairs the folder
/// ```
#[derive(Debug, Clone)]
pub struct DataDir {
    root: PathBuf,
}

/// The right to run a server on a data folder, or to repair it, held until it is dropped.
#[derive(Debug)]
pub struct DataLock(#[expect(dead_code, reason = "held, never read")] File);

/// Why a data folder cannot be used.
#[derive(Debug, Error)]
pub enum DataDirError {
    /// Another server holds its lock.
    #[error(
        "the data folder {} is in use by another server: stop that one, or give this one a folder of its own with --data",
        .0.display()
    )]
    InUse(PathBuf),
    /// Another check repairs it.
    #[error("another `cofferd check --repair` works on {}: wait for its end", .0.display())]
    InRepair(PathBuf),
    /// A command was given a folder that no server has used.
    #[error("{} is no data folder (it has no catalog.db): name the server's folder with --data", .0.display())]
    Missing(PathBuf),
    /// The disk refused.
    #[error("cannot use {}: {error}; check that it is a folder and that this user may write to it", .path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the disk said.
        error: io::Error,
    },
}

impl DataDir {
    /// Makes what is missing of the folder at `root` (everything 0700, durable) and takes its lock.
    ///
    /// # Errors
    /// If another server holds the lock, or the disk refuses.
    pub fn open(root: &Path) -> Result<(Self, DataLock), DataDirError> {
        let dir = Self { root: root.to_owned() };
        make_folder(root)?;
        let lock = take_lock(&dir, "lock")?.ok_or_else(|| DataDirError::InUse(root.to_owned()))?;
        for folder in [dir.blobs(), dir.files(), dir.lost()] {
            make_folder(&folder)?;
        }
        Ok((dir, lock))
    }

    /// The folder at `root` that a server uses or has used, for work beside it.
    ///
    /// # Errors
    /// If it has no catalog.
    pub fn existing(root: &Path) -> Result<Self, DataDirError> {
        let dir = Self { root: root.to_owned() };
        if dir.catalog().is_file() { Ok(dir) } else { Err(DataDirError::Missing(dir.root)) }
    }

    /// The server's lock if no server holds it; none can start then until it is dropped.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn lock_if_idle(&self) -> Result<Option<DataLock>, DataDirError> {
        take_lock(self, "lock")
    }

    /// The right to repair the folder, which one process at a time has, beside a server or without.
    ///
    /// # Errors
    /// If another process has it, or the disk refuses.
    pub fn lock_for_repair(&self) -> Result<DataLock, DataDirError> {
        take_lock(self, "check.lock")?.ok_or_else(|| DataDirError::InRepair(self.root.clone()))
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The catalog's database.
    #[must_use]
    pub fn catalog(&self) -> PathBuf {
        self.root.join("catalog.db")
    }

    /// The server's private key.
    #[must_use]
    pub fn identity(&self) -> PathBuf {
        self.root.join("identity.pem")
    }

    /// The folder of the contents.
    #[must_use]
    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// The folder of the view.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        self.root.join("files")
    }

    /// The folder for what was set aside.
    #[must_use]
    pub fn lost(&self) -> PathBuf {
        self.root.join("lost")
    }
}

fn make_folder(path: &Path) -> Result<(), DataDirError> {
    let failed = |error| DataDirError::Io { path: path.to_owned(), error };
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(failed)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    sync_folder(parent).map_err(failed)
}

/// The lock on the file `name`; none if another process holds it.
fn take_lock(dir: &DataDir, name: &str) -> Result<Option<DataLock>, DataDirError> {
    let path = dir.root.join(name);
    let file = OpenOptions::new().create(true).write(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(|error| DataDirError::Io { path: path.clone(), error })?;
    match file.try_lock() {
        Ok(()) => Ok(Some(DataLock(file))),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(DataDirError::Io { path, error }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_new_folder_is_for_its_owner_only() {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let root = temp.path().join("deep/data");
        let (dir, _lock) = DataDir::open(&root).expect("a new folder");
        for folder in [dir.root().to_owned(), dir.blobs(), dir.files(), dir.lost()] {
            let mode = fs::metadata(&folder).expect("made").permissions().mode();
            assert_eq!(mode & 0o7777, 0o700, "{}", folder.display());
        }
    }

    #[test]
    fn one_server_at_a_time() {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let (_, lock) = DataDir::open(temp.path()).expect("the first server");
        let error = DataDir::open(temp.path()).expect_err("the second server");
        assert!(error.to_string().contains(&temp.path().display().to_string()), "{error}");
        assert!(error.to_string().contains("in use by another server"), "{error}");
        drop(lock);
        DataDir::open(temp.path()).expect("after the first has ended");
    }

    #[test]
    fn errors_name_the_path() {
        let temp = tempfile::NamedTempFile::new().expect("a temporary file");
        let error = DataDir::open(temp.path()).expect_err("a file is no folder").to_string();
        assert!(error.contains(&temp.path().display().to_string()), "{error}");
        let error =
            DataDir::existing(Path::new("/nonexistent")).expect_err("no folder").to_string();
        assert!(error.contains("/nonexistent is no data folder"), "{error}");
    }
}
