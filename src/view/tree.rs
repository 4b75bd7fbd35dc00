//! The folders and files of the view. Nothing here follows a symbolic link out of them.

use std::ffi::CStr;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, fchmod, futimens,
    ioctl_ficlone, linkat, mkdirat, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;

use crate::storage::{BlobId, DataDir};

/// Where entries are made before they are put in their places. No folder of a client begins with a dot.
const STAGING: &str = ".staging";

/// How folders are opened: only to reach what is in them, and only if they are no symbolic links.
const FOLDER: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

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
    files: OwnedFd,
    staging: OwnedFd,
    blobs: PathBuf,
    pub(super) way: Way,
}

impl Tree {
    /// Opens the view, and makes it if it is not there. What was left half made is removed.
    pub(super) fn open(dir: &DataDir) -> io::Result<Self> {
        if !dir.files().is_dir() {
            DirBuilder::new().mode(0o700).create(dir.files())?;
        }
        // The folder itself may be a symbolic link: the operator may keep it on another disk.
        let files = openat(CWD, dir.files(), FOLDER.difference(OFlags::NOFOLLOW), Mode::empty())?;
        let staging = open_or_make(&files, STAGING, Mode::RWXU)?;
        clear(&staging)?;
        Ok(Self { files, staging, blobs: dir.blobs(), way: Way::Reflink })
    }

    /// Whether the entry is in place: a read-only file of its size and time.
    pub(super) fn shows(&self, entry: &Entry<'_>) -> io::Result<bool> {
        let (folders, name) = split(entry.folder, entry.path);
        let folder =
            match self.walk(&folders, |above, name| openat(above, name, FOLDER, Mode::empty())) {
                Err(Errno::NOENT) => return Ok(false),
                folder => folder?,
            };
        match statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => {
                let modified = (stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(-1));
                Ok(entry.is_shown_by(stat.st_mode, stat.st_size.cast_unsigned(), modified))
            }
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Shows a small content. `row` is a number that no other entry has while it is made.
    pub(super) fn show_bytes(&self, entry: &Entry<'_>, row: i64, content: &[u8]) -> io::Result<()> {
        let staged = row.to_string();
        let stage = || {
            let mut file = self.create(&staged)?;
            file.write_all(content)?;
            publish(&file, entry.received_at)
        };
        let made = stage().and_then(|()| self.put_in_place(entry, &staged));
        self.remove_staged(&staged);
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
        let (folders, file) = split(folder, path);
        for depth in (0..=folders.len()).rev() {
            let above = match self
                .walk(&folders[..depth], |above, name| openat(above, name, FOLDER, Mode::empty()))
            {
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
        let (folders, name) = split(entry.folder, entry.path);
        let folder = self.walk(&folders, |above, name| open_or_make(above, name, FOLDER_MODE))?;
        let content = self.blobs.join(blob.path());
        Ok(linkat(CWD, content, &folder, name, AtFlags::empty()).is_ok())
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
        let (folders, name) = split(entry.folder, entry.path);
        let folder = self.walk(&folders, |above, name| open_or_make(above, name, FOLDER_MODE))?;
        Ok(renameat(&self.staging, staged, &folder, name)?)
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

    /// Follows `folders` from the view's own one, each opened by `step`.
    fn walk(
        &self,
        folders: &[&str],
        step: impl Fn(&OwnedFd, &str) -> Result<OwnedFd, Errno>,
    ) -> Result<OwnedFd, Errno> {
        let mut folder = None;
        for name in folders {
            folder = Some(step(folder.as_ref().unwrap_or(&self.files), name)?);
        }
        folder.map_or_else(|| openat(&self.files, c".", FOLDER, Mode::empty()), Ok)
    }
}

impl Entry<'_> {
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

/// The folders on the way to a file of a client, and its name.
fn split<'a>(folder: &'a str, path: &'a str) -> (Vec<&'a str>, &'a str) {
    let mut folders = vec![folder];
    folders.extend(path.split('/'));
    let name = folders.pop().unwrap_or_default();
    (folders, name)
}

fn open_or_make(above: &OwnedFd, name: &str, mode: Mode) -> Result<OwnedFd, Errno> {
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
