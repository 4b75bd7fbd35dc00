//! The entries of the view: how they are made, replaced and taken back.

use std::ffi::{CStr, OsStr};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT, fchmod,
    futimens, ioctl_ficlone, linkat, mkdirat, openat, renameat, unlinkat,
};
use rustix::io::Errno;

use super::folders::{FOLDER, Folders, open_folder, split};
use crate::catalog::ViewRow;
use crate::limits::VIEW_LOOKS_MAX;
use crate::storage::{BlobId, DataDir};

/// Where the server makes entries before they are put in their places. No folder of a client begins with a dot.
pub const STAGING: &str = ".staging";

/// Where a check does, so that it can work beside the server.
pub const CHECK_STAGING: &str = ".staging-check";

/// Published contents, and everything in the view, can only be read.
const READ_ONLY: Mode = Mode::RUSR.union(Mode::RGRP).union(Mode::ROTH);

/// Folders of the view can be read by all who may enter the data folder.
const FOLDER_MODE: Mode =
    Mode::RWXU.union(Mode::RGRP).union(Mode::XGRP).union(Mode::ROTH).union(Mode::XOTH);

/// A version that the view shows, or should.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    /// The client's folder.
    pub(super) folder: &'a str,
    /// The path below it.
    pub(super) path: &'a str,
    /// Bytes of content.
    pub(super) size: u64,
    /// Milliseconds since 1970, UTC: the time that the file gets.
    pub(super) received_at: i64,
}

/// How the bytes of a content get into the view. Each falls back to the next where the file system cannot do it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    /// Shares the bytes, not the file.
    Reflink,
    /// Another name of the same file.
    HardLink,
    /// Bytes of its own.
    Copy,
}

/// The open view.
#[derive(Debug)]
pub(super) struct Tree {
    folders: Folders,
    staging: OwnedFd,
    blobs: PathBuf,
    pub(super) way: Way,
    /// Whether files without a name can be made and given one later.
    pub(super) unnamed: bool,
}

impl Tree {
    /// Opens the view, and makes it if it is not there. Entries are made in the folder `staging`, which must be nobody
    /// else's; what was left half made there is removed.
    pub(super) fn open(dir: &DataDir, staging: &str) -> io::Result<Self> {
        if !dir.files().is_dir() {
            DirBuilder::new().mode(0o700).create(dir.files())?;
        }
        let folders = Folders::open(dir)?;
        let staging = open_or_make(folders.root(), staging.as_ref(), Mode::RWXU)?;
        clear(&staging)?;
        Ok(Self { folders, staging, blobs: dir.blobs(), way: Way::Reflink, unnamed: true })
    }

    /// Whether the entry is in place: a read-only file of its size and time.
    pub(super) fn shows(&self, entry: &Entry<'_>) -> io::Result<bool> {
        Ok(self.folders.stat(&entry.place())?.is_some_and(|stat| entry.has(&stat)))
    }

    /// Shows a small content. `row` is a number that no other entry has while it is made.
    pub(super) fn show_bytes(
        &mut self,
        entry: &Entry<'_>,
        row: i64,
        content: &[u8],
    ) -> io::Result<()> {
        if self.unnamed && self.create_new(entry, content)? {
            return Ok(());
        }
        let staged = row.to_string();
        let made = self
            .create(&staged)
            .and_then(|file| fill(file, entry, content))
            .and_then(|_| self.put_in_place(entry, &staged));
        if made.is_err() {
            self.remove_staged(&staged);
        }
        made
    }

    /// Shows the published content `blob`, which is open as `file`.
    pub(super) fn show_blob(
        &mut self,
        entry: &Entry<'_>,
        row: i64,
        blob: BlobId,
        file: &File,
    ) -> io::Result<()> {
        if matches!(self.way, Way::HardLink) && self.link_new(entry, blob)? {
            return Ok(());
        }
        let staged = row.to_string();
        let made = self
            .stage_blob(entry, &staged, blob, file)
            .and_then(|()| self.put_in_place(entry, &staged));
        self.remove_staged(&staged);
        made
    }

    /// Removes an entry and the folders that it leaves empty.
    pub(super) fn take_back(&self, folder: &str, path: &str) -> io::Result<()> {
        let place = Path::new(folder).join(path);
        let (folders, file) = split(&place);
        for depth in (0..=folders.len()).rev() {
            let above = match self.folders.walk(&folders[..depth], open_folder) {
                Err(Errno::NOENT) => continue,
                above => above?,
            };
            let removed = match folders.get(depth) {
                None => unlinkat(&above, file, AtFlags::empty()),
                Some(name) => unlinkat(&above, *name, AtFlags::REMOVEDIR),
            };
            match removed {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::NOTEMPTY | Errno::EXIST) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Links a content to where nothing is yet, which is the usual case. False if it must be staged.
    fn link_new(&self, entry: &Entry<'_>, blob: BlobId) -> io::Result<bool> {
        let content = self.blobs.join(blob.path());
        let linked = self.in_its_folder(entry, |folder, name| {
            linkat(CWD, &content, folder, name, AtFlags::empty())
        });
        Ok(linked.is_ok())
    }

    /// Makes a file without a name and gives it one where nothing is yet, which is the usual case and costs a sixth less
    /// than renaming. False if it must be staged.
    fn create_new(&mut self, entry: &Entry<'_>, content: &[u8]) -> io::Result<bool> {
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        let opened = self
            .in_its_folder(entry, |folder, _| openat(folder, c".", flags, Mode::RUSR | Mode::WUSR));
        let file = match opened {
            Ok(file) => fill(File::from(file), entry, content)?,
            Err(Errno::OPNOTSUPP | Errno::ISDIR) => {
                self.unnamed = false;
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        };
        let named = self.in_its_folder(entry, |folder, name| {
            linkat(&file, c"", folder, name, AtFlags::EMPTY_PATH)
        });
        match named {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            // Before Linux 6.10 it takes a capability that the server does not have.
            Err(Errno::NOENT | Errno::OPNOTSUPP | Errno::PERM) => {
                self.unnamed = false;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn stage_blob(
        &mut self,
        entry: &Entry<'_>,
        staged: &str,
        blob: BlobId,
        file: &File,
    ) -> io::Result<()> {
        if let Way::Reflink = self.way {
            let target = self.create(staged)?;
            match ioctl_ficlone(&target, file) {
                Ok(()) => return publish(&target, entry.received_at),
                Err(
                    Errno::OPNOTSUPP
                    | Errno::NOTTY
                    | Errno::XDEV
                    | Errno::INVAL
                    | Errno::NOSYS
                    | Errno::PERM,
                ) => {
                    self.way = Way::HardLink;
                    unlinkat(&self.staging, staged, AtFlags::empty())?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        if let Way::HardLink = self.way {
            match linkat(CWD, self.blobs.join(blob.path()), &self.staging, staged, AtFlags::empty())
            {
                Ok(()) => return Ok(()),
                Err(Errno::XDEV | Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => {
                    self.way = Way::Copy;
                }
                Err(error) => return Err(error.into()),
            }
        }
        let mut target = self.create(staged)?;
        let mut source = file;
        source.rewind()?;
        io::copy(&mut source.take(entry.size), &mut target)?;
        publish(&target, entry.received_at)
    }

    /// Moves what was staged to its place, over what may be there.
    fn put_in_place(&self, entry: &Entry<'_>, staged: &str) -> io::Result<()> {
        let put = |folder: &OwnedFd, name: &OsStr| renameat(&self.staging, staged, folder, name);
        Ok(self.in_its_folder(entry, put)?)
    }

    /// Does something in the folder of an entry, which is made if it is not there: again if somebody has just removed
    /// it, as happens to the folders of a client that is removed.
    fn in_its_folder<T>(
        &self,
        entry: &Entry<'_>,
        step: impl Fn(&OwnedFd, &OsStr) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let place = entry.place();
        let (folders, name) = split(&place);
        let mut done = Err(Errno::NOENT);
        for _ in 0..VIEW_LOOKS_MAX {
            done = self.folders.walk(&folders, make_folder).and_then(|folder| step(&folder, name));
            if !matches!(done, Err(Errno::NOENT)) {
                break;
            }
        }
        done
    }

    /// Removes what is still staged: after an error, or after a link was renamed over another link to the same file,
    /// which does nothing.
    fn remove_staged(&self, staged: &str) {
        let _ = unlinkat(&self.staging, staged, AtFlags::empty());
    }

    fn create(&self, staged: &str) -> io::Result<File> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(openat(&self.staging, staged, flags, Mode::RUSR | Mode::WUSR)?))
    }
}

impl<'a> Entry<'a> {
    pub(super) fn of(row: &'a ViewRow) -> Self {
        let ViewRow { folder, path, size, received_at, .. } = row;
        Self { folder, path, size: *size, received_at: *received_at }
    }

    /// Where it stands in the view.
    pub(super) fn place(&self) -> PathBuf {
        Path::new(self.folder).join(self.path)
    }

    /// Whether what stands there is the entry, as far as can be seen without reading it.
    pub(super) fn has(&self, stat: &Stat) -> bool {
        let modified = (stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(-1));
        self.is_shown_by(stat.st_mode, stat.st_size.cast_unsigned(), modified)
    }

    /// Whether a file of this mode, size and time is the entry.
    fn is_shown_by(&self, mode: u32, size: u64, modified: (i64, i64)) -> bool {
        let is_file = FileType::from_raw_mode(mode) == FileType::RegularFile;
        let is_read_only = mode & 0o7777 == READ_ONLY.bits();
        is_file && is_read_only && size == self.size && modified == time(self.received_at)
    }
}

/// Whether the view in `files` shows this version at `path`, which begins with the client's folder.
#[must_use]
pub fn is_shown(files: &Path, path: &str, size: u64, received_at: i64) -> bool {
    let entry = Entry { folder: "", path, size, received_at };
    fs::symlink_metadata(files.join(path)).is_ok_and(|file| {
        entry.is_shown_by(file.mode(), file.size(), (file.mtime(), file.mtime_nsec()))
    })
}

/// Writes a whole small content, and publishes it.
fn fill(mut file: File, entry: &Entry<'_>, content: &[u8]) -> io::Result<File> {
    file.write_all(content)?;
    publish(&file, entry.received_at)?;
    Ok(file)
}

/// Makes a file read-only, which says that it was acknowledged, and gives it the time when it was received.
pub(super) fn publish(file: &File, received_at: i64) -> io::Result<()> {
    let there = file.metadata()?;
    let (tv_sec, tv_nsec) = time(received_at);
    if (there.mtime(), there.mtime_nsec()) != (tv_sec, tv_nsec) {
        let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        futimens(
            file,
            &Timestamps { last_access, last_modification: Timespec { tv_sec, tv_nsec } },
        )?;
    }
    if there.mode() & 0o7777 != READ_ONLY.bits() {
        fchmod(file, READ_ONLY)?;
    }
    Ok(())
}

/// Seconds and nanoseconds of a time in milliseconds.
fn time(ms: i64) -> (i64, i64) {
    (ms.div_euclid(1000), ms.rem_euclid(1000) * 1_000_000)
}

/// A step that makes a folder of the view which is not there.
fn make_folder(above: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    open_or_make(above, name, FOLDER_MODE)
}

fn open_or_make(above: &OwnedFd, name: &OsStr, mode: Mode) -> Result<OwnedFd, Errno> {
    match openat(above, name, FOLDER, Mode::empty()) {
        Err(Errno::NOENT) => {}
        folder => return folder,
    }
    match mkdirat(above, name, mode) {
        Ok(()) | Err(Errno::EXIST) => openat(above, name, FOLDER, Mode::empty()),
        Err(error) => Err(error),
    }
}

fn clear(folder: &OwnedFd) -> io::Result<()> {
    let readable = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
    for entry in Dir::new(openat(folder, c".", readable, Mode::empty())?)? {
        let entry = entry?;
        let name: &CStr = entry.file_name();
        if name != c"." && name != c".." {
            unlinkat(folder, name, AtFlags::empty())?;
        }
    }
    Ok(())
}
