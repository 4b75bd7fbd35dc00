//! What happens to a version whose content is damaged, or good again after all.

use std::fs::{self, File, Permissions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use super::content::{Sums, inode, judge};
use super::{Fault, Outcome, Scrub, ScrubError, Wrong, failed_at, name_of};
use crate::catalog::{CatalogError, ContentRow, Standing};
use crate::storage::{BlobId, DataDir, open_blob, sync_folder};
use crate::view::Seen;

impl Scrub<'_> {
    /// A content is damaged, or cannot be read. When repairing, a good copy in the view is put in its place; without one
    /// the version is marked, and the view shows the newest good one instead.
    pub(super) fn condemn(&mut self, row: &ContentRow, fault: Fault) -> Result<(), ScrubError> {
        let outcome = match self.repair && fault.is_rot() {
            false => Outcome::Found,
            true => match self.put_back(row) {
                Ok(true) => self.remake_entry(row, Outcome::Mended),
                Ok(false) => self.mark(row, &fault)?,
                Err(error) => Outcome::Failed(format!("the good copy in the view: {error}")),
            },
        };
        // It may have been removed while it was looked after.
        let Some(now) = self.reader.content_at(row.view.row)? else { return Ok(()) };
        let good = self.good_version(&now)?;
        let version = name_of(row);
        let (is_newest, is_marked) = (row.is_newest, row.damage.is_some());
        let what = Wrong::Content { version, fault, is_newest, is_marked, good };
        self.found(what, outcome)
    }

    /// The newest version of the same file that is not marked, unless it is the same.
    fn good_version(&self, row: &ContentRow) -> Result<Option<u32>, CatalogError> {
        let Some(shown) = self.reader.shown(row.view.client, row.view.file)? else {
            return Ok(None);
        };
        if shown.row == row.view.row {
            return Ok(None);
        }
        Ok(self.reader.content_at(shown.row)?.map(|good| good.version))
    }

    fn mark(&mut self, row: &ContentRow, fault: &Fault) -> Result<Outcome, ScrubError> {
        if matches!(row.view.standing, Standing::Shown | Standing::Withdrawn)
            && let Err(error) = self.set_entry_aside(row)
        {
            let why = format!("what the view has of it cannot be moved to lost/: {error}");
            return Ok(Outcome::Failed(why));
        }
        let text = fault.to_string();
        if row.damage.as_ref() != Some(&text) {
            self.marks.mark_damaged(row.view.row, &text, self.now_ms)?;
        }
        Ok(self.remake_entry(row, Outcome::Marked))
    }

    /// Lets the view show what now counts of the file. The outcome is `done` if it does.
    fn remake_entry(&mut self, row: &ContentRow, done: Outcome) -> Outcome {
        match self.mender.make_anew(&row.view) {
            Ok(()) => done,
            Err(error) => Outcome::Failed(format!("the view cannot show what now counts: {error}")),
        }
    }

    /// What the view has of a damaged version may be the best there is of it: it is kept, unless it is the very file.
    fn set_entry_aside(&self, row: &ContentRow) -> io::Result<()> {
        let place = Path::new(&row.view.folder).join(&row.view.path);
        let there = match self.mender.look(&row.view)? {
            Seen::Nothing => return Ok(()),
            Seen::Entry(file) | Seen::Other(Some(file)) => Some(inode(&file)?),
            Seen::Other(None) => None,
        };
        if let Some(blob) = row.view.blob
            && let Ok(file) = open_blob(&self.dir.blobs(), blob)
            && there == Some(inode(&file)?)
        {
            return Ok(());
        }
        let name = format!("view-{}-{}", self.now_ms, row.view.row);
        self.mender.set_aside(&place, &name).map(drop)
    }

    /// Puts the bytes that the view has of a damaged version in the place of its content, if they are right. True if so.
    fn put_back(&mut self, row: &ContentRow) -> Result<bool, ScrubError> {
        let Some(mut entry) = self.good_entry(row)? else { return Ok(false) };
        let Some(blob) = row.view.blob else {
            let mut bytes = Vec::new();
            let copied = self.copy_checked(row, &mut entry, &mut bytes);
            copied.map_err(failed_at(&self.dir.files()))?;
            self.marks.replace_content(row.view.row, &bytes)?;
            return Ok(true);
        };
        let staged = self.dir.lost().join(format!("{blob}-{}.good", self.now_ms));
        let placed = self
            .stage(row, &mut entry, &staged)
            .and_then(|()| put_in_place(self.dir, blob, &staged, self.now_ms));
        if placed.is_err() {
            let _ = fs::remove_file(&staged);
        }
        placed.map(|()| true).map_err(failed_at(&staged))
    }

    /// What the view has of a damaged version, if its bytes are right, whatever its mode and time are.
    fn good_entry(&mut self, row: &ContentRow) -> Result<Option<File>, ScrubError> {
        if row.view.standing != Standing::Shown {
            return Ok(None);
        }
        let seen = self.mender.look(&row.view).map_err(failed_at(&self.dir.files()))?;
        let (Seen::Entry(mut entry) | Seen::Other(Some(mut entry))) = seen else {
            return Ok(None);
        };
        // One that cannot be read is no help, but no failure either.
        let sums = self.meter.read_file(&entry, row.view.size);
        let is_good = sums.is_ok_and(|sums| judge(row, &sums).is_ok());
        Ok((is_good && entry.rewind().is_ok()).then_some(entry))
    }

    /// Writes a durable copy of a good entry, which looks like a published content.
    fn stage(&mut self, row: &ContentRow, entry: &mut File, staged: &Path) -> io::Result<()> {
        let mut copy = File::options().write(true).create_new(true).mode(0o600).open(staged)?;
        self.copy_checked(row, entry, &mut copy)?;
        let received_at = Duration::from_millis(row.view.received_at.try_into().unwrap_or(0));
        copy.set_modified(UNIX_EPOCH + received_at)?;
        copy.set_permissions(Permissions::from_mode(0o444))?;
        copy.sync_all()
    }

    /// Copies an entry, which may be changed while it is copied.
    fn copy_checked(
        &mut self,
        row: &ContentRow,
        entry: &mut File,
        copy: &mut dyn Write,
    ) -> io::Result<Sums> {
        let sums = self.meter.read(entry, row.view.size, |piece| copy.write_all(piece))?;
        judge(row, &sums).map(|()| sums).map_err(|fault| io::Error::other(fault.to_string()))
    }

    /// A version is marked, but its content is good: a disk came back, or somebody put back a copy.
    pub(super) fn unmark(&mut self, row: &ContentRow) -> Result<(), ScrubError> {
        let outcome = match self.repair {
            false => Outcome::Found,
            true => {
                self.marks.unmark(row.view.row)?;
                self.remake_entry(row, Outcome::Mended)
            }
        };
        self.found(Wrong::Mark(name_of(row)), outcome)
    }
}

/// Moves `staged`, a durable file in `lost`, to where content `blob` should be. What is there is kept in `lost`.
fn put_in_place(dir: &DataDir, blob: BlobId, staged: &Path, now_ms: i64) -> io::Result<()> {
    let target = dir.blobs().join(blob.path());
    let folder = target.parent().unwrap_or(&target);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    match fs::rename(&target, dir.lost().join(format!("{blob}-{now_ms}"))) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(staged, &target)?;
    // The folders may be new.
    let above = folder.parent().unwrap_or(folder);
    [folder, above, &dir.blobs(), &dir.lost()].iter().try_for_each(|folder| sync_folder(folder))
}
