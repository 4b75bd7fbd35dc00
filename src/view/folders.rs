//! Ways into the view. Nothing here follows a symbolic link out of it.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Stat, openat, renameat, statat};
use rustix::io::Errno;

use crate::storage::DataDir;

/// How folders are opened: only to reach what is in them, and only if they are no symbolic links.
pub(super) const FOLDER: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The open folder `files`.
#[derive(Debug)]
pub(super) struct Folders {
    files: OwnedFd,
}

impl Folders {
    /// Opens the view, which is there.
    pub(super) fn open(dir: &DataDir) -> io::Result<Self> {
        // The folder itself may be a symbolic link: the operator may keep it on another disk.
        let files = openat(CWD, dir.files(), FOLDER.difference(OFlags::NOFOLLOW), Mode::empty())?;
        Ok(Self { files })
    }

    /// The view's own folder.
    pub(super) fn root(&self) -> &OwnedFd {
        &self.files
    }

    /// Follows `folders` from the view's own one, each opened by `step`.
    pub(super) fn walk(
        &self,
        folders: &[&OsStr],
        step: impl Fn(&OwnedFd, &OsStr) -> Result<OwnedFd, Errno>,
    ) -> Result<OwnedFd, Errno> {
        let mut folder = None;
        for name in folders {
            folder = Some(step(folder.as_ref().unwrap_or(&self.files), name)?);
        }
        folder.map_or_else(|| openat(&self.files, c".", FOLDER, Mode::empty()), Ok)
    }

    /// What stands at `path`, which begins with the client's folder; not what a symbolic link there points to.
    pub(super) fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        let (folders, name) = split(path);
        let found = self
            .walk(&folders, open_folder)
            .and_then(|folder| statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW));
        match found {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the file at `path` for reading.
    pub(super) fn open_file(&self, path: &Path) -> io::Result<File> {
        let (folders, name) = split(path);
        let folder = self.walk(&folders, open_folder)?;
        // A pipe that somebody put there must not hold us up.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(File::from(openat(&folder, name, flags, Mode::empty())?))
    }

    /// Moves what stands at `path` into the folder `target`, as `name`, which is free.
    pub(super) fn move_out(&self, path: &Path, target: &OwnedFd, name: &str) -> io::Result<()> {
        let (folders, from) = split(path);
        let folder = self.walk(&folders, open_folder)?;
        Ok(renameat(&folder, from, target, name)?)
    }
}

/// A step that makes nothing.
pub(super) fn open_folder(above: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    openat(above, name, FOLDER, Mode::empty())
}

/// The folders on the way to a file, and its name.
pub(super) fn split(path: &Path) -> (Vec<&OsStr>, &OsStr) {
    let mut folders: Vec<&OsStr> = path.iter().collect();
    let name = folders.pop().unwrap_or_default();
    (folders, name)
}
