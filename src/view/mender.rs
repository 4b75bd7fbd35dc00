//! Looks at single entries of the view, and makes them anew, beside the thread that follows the catalog.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, FileType, Mode, OFlags, openat};
use rustix::io::Errno;

use super::folders::{FOLDER, Folders};
use super::tree::{CHECK_STAGING, Entry};
use super::{Follower, ShowError};
use crate::catalog::{Reader, ViewRow};
use crate::storage::DataDir;

/// What stands in the view where a version should.
#[derive(Debug)]
pub enum Seen {
    /// Nothing.
    Nothing,
    /// A file of another mode, size or time, or, without one, something that is no file.
    Other(Option<File>),
    /// A file that is the entry as far as can be seen without reading it.
    Entry(File),
}

/// Looks at entries, and makes them what the catalog says. There may be one at a time, besides the server.
#[derive(Debug)]
pub struct Mender {
    dir: DataDir,
    follower: Follower,
}

impl Mender {
    /// For the view of `dir`. It touches nothing until it is asked to.
    #[must_use]
    pub fn new(dir: DataDir, reader: Reader) -> Self {
        let follower = Follower::new(dir.clone(), reader, CHECK_STAGING, Arc::default());
        Self { dir, follower }
    }

    /// Looks at what stands where the version `row` should.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub fn look(&self, row: &ViewRow) -> io::Result<Seen> {
        let entry = Entry::of(row);
        let Some(folders) = self.folders()? else { return Ok(Seen::Nothing) };
        let stat = match folders.stat(&entry.place()) {
            // Something that is no folder, or a symbolic link, stands on the way.
            Err(error)
                if matches!(Errno::from_io_error(&error), Some(Errno::NOTDIR | Errno::LOOP)) =>
            {
                return Ok(Seen::Other(None));
            }
            stat => stat?,
        };
        let Some(stat) = stat else { return Ok(Seen::Nothing) };
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(Seen::Other(None));
        }
        match folders.open_file(&entry.place()) {
            Ok(file) if entry.has(&stat) => Ok(Seen::Entry(file)),
            Ok(file) => Ok(Seen::Other(Some(file))),
            // Replaced just now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Seen::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Makes the entry of the file of `row` what the catalog says now, whatever stands there: its newest good version,
    /// or nothing.
    ///
    /// # Errors
    /// If the catalog or the disk fails.
    pub fn make_anew(&mut self, row: &ViewRow) -> Result<(), ShowError> {
        let now = self.follower.reader.shown(row.client, row.file)?;
        match &now {
            Some(now) => drop(self.follower.place(now, true)?),
            None => self.follower.tree()?.take_back(&row.folder, &row.path)?,
        }
        self.follower.settle(row, now.map(|now| now.row))
    }

    /// Moves what stands at `path` of the view into the folder `lost`, as `name`, which is free. False if nothing stood
    /// there.
    ///
    /// # Errors
    /// Whatever the disk says, also if both are not on the same file system.
    pub fn set_aside(&self, path: &Path, name: &str) -> io::Result<bool> {
        let Some(folders) = self.folders()? else { return Ok(false) };
        let lost: OwnedFd =
            openat(CWD, self.dir.lost(), FOLDER.difference(OFlags::NOFOLLOW), Mode::empty())?;
        match folders.move_out(path, &lost, name) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The view; none if somebody removed it.
    fn folders(&self) -> io::Result<Option<Folders>> {
        match Folders::open(&self.dir) {
            Ok(folders) => Ok(Some(folders)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
