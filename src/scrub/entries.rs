//! Compares the entries of the view with the contents that they should show.

use std::fs::File;

use super::content::Inode;
use super::{EntryFault, Outcome, Scrub, ScrubError, Wrong, inode, name_of};
use crate::catalog::{ContentRow, Standing};
use crate::limits::SCRUB_VIEW_LAG_MAX;
use crate::view::Seen;

impl Scrub<'_> {
    /// Compares the entry of a version that the view should show. `digest` is that of its good content, `blob` which
    /// file that is. What seems wrong is looked at again: another version may have come, and its entry be in place.
    pub(super) fn check_entry(
        &mut self,
        row: &ContentRow,
        digest: &[u8; 32],
        blob: Option<Inode>,
    ) -> Result<(), ScrubError> {
        if self.entry_fault(row, digest, blob).is_none() {
            return Ok(());
        }
        let again = self.reader.content_at(row.view.row)?;
        if again.is_none_or(|again| again.view.standing != Standing::Shown) {
            return Ok(());
        }
        let Some(fault) = self.entry_fault(row, digest, blob) else { return Ok(()) };
        if fault != EntryFault::Edited && self.is_recent(row) {
            self.summary.not_yet_shown += 1;
            if self.repair {
                // Without a server nobody else would. If it fails, a later check says so.
                let _ = self.make_anew(row, digest);
            }
            return Ok(());
        }
        let outcome = match self.repair {
            false => Outcome::Found,
            true => self.make_anew(row, digest),
        };
        self.found(Wrong::Entry(name_of(row), fault), outcome)
    }

    fn make_anew(&mut self, row: &ContentRow, digest: &[u8; 32]) -> Outcome {
        if let Err(error) = self.mender.make_anew(&row.view) {
            return Outcome::Failed(error.to_string());
        }
        let is_current = self.reader.shown(row.view.client, row.view.file);
        match is_current.map(|now| now.is_some_and(|now| now.row == row.view.row)) {
            Ok(true) if self.entry_fault(row, digest, None).is_some() => {
                Outcome::Failed("it is wrong again at once".to_owned())
            }
            Ok(_) => Outcome::Mended,
            Err(error) => Outcome::Failed(error.to_string()),
        }
    }

    fn entry_fault(
        &mut self,
        row: &ContentRow,
        digest: &[u8; 32],
        blob: Option<Inode>,
    ) -> Option<EntryFault> {
        match self.mender.look(&row.view) {
            Ok(Seen::Nothing) => Some(EntryFault::Missing),
            Ok(Seen::Other(_)) => Some(EntryFault::Other),
            Ok(Seen::Entry(file)) if self.has_bytes(&file, row, digest, blob) => None,
            Ok(Seen::Entry(_)) | Err(_) => Some(EntryFault::Edited),
        }
    }

    /// Whether an entry has the bytes of the content: it is the same file, or they are read.
    fn has_bytes(
        &mut self,
        entry: &File,
        row: &ContentRow,
        digest: &[u8; 32],
        blob: Option<Inode>,
    ) -> bool {
        if blob.is_some() && inode(entry).ok() == blob {
            return true;
        }
        let read = self.meter.read_file(entry, row.view.size);
        read.is_ok_and(|sums| sums.size == row.view.size && sums.blake3 == *digest)
    }

    /// Whether a version came so short a while ago that the view of a busy server may not show it yet; or so short a
    /// while from now, because the clock was set back.
    fn is_recent(&self, row: &ContentRow) -> bool {
        let age_ms = crate::catalog::now_ms().abs_diff(row.view.received_at);
        u128::from(age_ms) < SCRUB_VIEW_LAG_MAX.as_millis()
    }
}
