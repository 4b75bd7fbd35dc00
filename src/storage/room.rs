//! What the disk has left for contents, and what of it is kept for everything else.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{StatVfs, statvfs};

use crate::limits::{KEEP_FREE_BYTES, KEEP_FREE_SHARE};

/// The room for contents on one file system. A full disk would stop verdicts, removals and the view, too; so uploads
/// are refused before it is full.
#[derive(Debug)]
pub struct Room {
    folder: PathBuf,
    /// Bytes that contents may not take; with 0 nobody looks.
    kept: u64,
    /// Bytes that contents under way may still take.
    promised: AtomicU64,
}

/// Room for one content, given back when it is dropped.
#[derive(Debug, Default)]
pub struct Reserved {
    room: Option<Arc<Room>>,
    bytes: u64,
}

impl Room {
    /// The room on the file system of `folder`, of which `kept` bytes stay free, unless that is 0; by default
    /// [`KEEP_FREE_BYTES`], or less on a small file system.
    ///
    /// # Errors
    /// If the file system does not say how large it is.
    pub fn new(folder: &Path, kept: Option<u64>) -> io::Result<Self> {
        let size = |stat: StatVfs| stat.f_blocks.saturating_mul(stat.f_frsize);
        let kept = match kept {
            Some(kept) => kept,
            None => KEEP_FREE_BYTES.min(size(statvfs(folder)?) / KEEP_FREE_SHARE),
        };
        Ok(Self { folder: folder.to_owned(), kept, promised: AtomicU64::new(0) })
    }

    /// Room for a content of up to `bytes`. It looks at the file system: a microsecond.
    ///
    /// # Errors
    /// [`ErrorKind::StorageFull`] if there would not be enough left, and whatever else the disk says.
    pub fn reserve(self: &Arc<Self>, bytes: u64) -> io::Result<Reserved> {
        if self.kept == 0 {
            return Ok(Reserved::default());
        }
        let before = self.promised.fetch_add(bytes, Ordering::Relaxed);
        let reserved = Reserved { room: Some(Arc::clone(self)), bytes };
        let stat = statvfs(&self.folder)?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free.saturating_sub(before).saturating_sub(bytes) < self.kept {
            let text = format!(
                "{free} bytes are free, of which {} stay free and {before} are promised: free some space",
                self.kept
            );
            return Err(io::Error::new(ErrorKind::StorageFull, text));
        }
        Ok(reserved)
    }
}

impl Reserved {
    /// So many bytes were written, and are no longer free.
    pub fn taken(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        if let Some(room) = &self.room {
            room.promised.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.taken(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(folder: &Path) -> u64 {
        let stat = statvfs(folder).expect("a file system");
        stat.f_bavail * stat.f_frsize
    }

    #[test]
    fn what_is_promised_is_not_promised_twice() {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let free = free(temp.path());
        // Others may use the same disk meanwhile, so that the shares are large ones.
        let room = Arc::new(Room::new(temp.path(), Some(free / 4)).expect("a file system"));
        let mut half = room.reserve(free / 2).expect("half of it");
        let error = room.reserve(free / 2).expect_err("more than is left");
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert!(error.to_string().contains("free some space"), "{error}");
        room.reserve(free / 8).expect("and given back at once");
        half.taken(free / 4);
        assert_eq!(room.promised.load(Ordering::Relaxed), half.bytes);
        drop(half);
        assert_eq!(room.promised.load(Ordering::Relaxed), 0);
        room.reserve(free / 2).expect("half of it, again");
        room.reserve(free).expect_err("some is kept");
    }

    #[test]
    fn nobody_looks_if_nothing_is_kept() {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let room = Arc::new(Room::new(temp.path(), Some(0)).expect("a file system"));
        room.reserve(u64::MAX).expect("it will be seen");
    }

    #[test]
    fn of_a_file_system_no_more_than_a_share_is_kept() {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let room = Room::new(temp.path(), None).expect("a file system");
        assert!(room.kept > 0 && room.kept <= KEEP_FREE_BYTES);
    }
}
