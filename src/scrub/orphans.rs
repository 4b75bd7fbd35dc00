//! Looks for contents that no version refers to.
//!
//! Such a content may be one that a running upload writes, or whose commit is on its way. Its id tells which start of
//! the server made it: only the newest start has uploads. So of its contents only that can be said to be nobody's which
//! is there while no server runs, and none can start, because the check holds the server's lock.

use std::io;

use super::{Outcome, Scrub, ScrubError, Wrong};
use crate::recovery::RecoveryError;
use crate::recovery::sweep::{Found, Orphan, compare, judge, look_at, rows_in_order, set_aside};
use crate::storage::{BlobId, blobs_in_order};

impl Scrub<'_> {
    /// Compares the contents on the disk with those that versions refer to. That some are missing was found before.
    pub(super) fn check_orphans(&mut self) -> Result<(), ScrubError> {
        let mut suspects = Vec::new();
        let mut stored_bytes = 0;
        let blobs = self.dir.blobs();
        // A server that starts removes empty folders.
        let files = blobs_in_order(&blobs)
            .filter(|id| !is_gone(id))
            .map(|id| id.map_err(|error| RecoveryError::Io { path: blobs.clone(), error }));
        compare(rows_in_order(&self.reader), files, |found| {
            match found {
                Found::Stored(bytes) => stored_bytes += bytes,
                Found::Orphan(id) => suspects.push(id),
                Found::Missing(_) => {}
            }
            Ok(())
        })?;
        // Held until they are set aside.
        let idle = if self.repair { self.dir.lock_if_idle()? } else { None };
        let newest = self.reader.starts()?;
        suspects.retain(|id| idle.is_some() || id.start() < newest);
        let orphans = self.look_again(&suspects)?;
        // Contents that were acknowledged once may be those of a newer catalog that the operator is looking for.
        let refusal = judge(&orphans, stored_bytes, newest, &blobs).err();
        for orphan in orphans {
            let outcome = match &refusal {
                _ if !self.repair => Outcome::Found,
                Some(_) if orphan.is_published => Outcome::Found,
                _ => set_aside(self.dir, &[orphan])
                    .map_or_else(|error| Outcome::Failed(error.to_string()), |()| Outcome::Mended),
            };
            let Orphan { id: blob, bytes, is_published } = orphan;
            self.found(Wrong::Orphan { blob, bytes, is_published }, outcome)?;
        }
        Ok(())
    }

    /// Those that are still there although no row refers to them: a removed version's content is unlinked before the
    /// catalog forgets it.
    fn look_again(&self, suspects: &[BlobId]) -> Result<Vec<Orphan>, ScrubError> {
        let mut orphans = Vec::new();
        for &id in suspects {
            if self.reader.refers_to(id)? {
                continue;
            }
            match look_at(self.dir, id) {
                Err(RecoveryError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                }
                orphan => orphans.push(orphan?),
            }
        }
        Ok(orphans)
    }
}

fn is_gone(id: &io::Result<BlobId>) -> bool {
    id.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}
