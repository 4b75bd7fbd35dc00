//! Reads contents and compares them with what is known of them.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::{Duration, Instant};

use coffer_protocol::checksum::Cksum;
use rustix::fs::{Advice, fadvise};
use rustix::io::Errno;

use super::finding::Fault;
use super::pace::Pace;
use crate::catalog::ContentRow;
use crate::limits::SCRUB_BUFFER_BYTES;

/// The shortest sleep: the system's own are hardly shorter.
const NAP_MIN: Duration = Duration::from_millis(1);

/// Which file a file is, whatever its name.
pub(super) type Inode = (u64, u64);

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) size: u64,
    pub(super) cksum: u32,
    pub(super) blake3: [u8; 32],
}

/// Reads at a bounded rate.
pub(super) struct Meter {
    pace: Pace,
    start: Instant,
    buffer: Vec<u8>,
    /// Bytes that were read so far.
    pub(super) bytes: u64,
}

impl Meter {
    pub(super) fn new(mib_per_second: u32) -> Self {
        let pace = Pace::new(mib_per_second);
        Self { pace, start: Instant::now(), buffer: vec![0; SCRUB_BUFFER_BYTES], bytes: 0 }
    }

    /// Reads `content` to its end, but not much beyond `size_max` bytes. What it sums up goes to `copy`, too.
    pub(super) fn read(
        &mut self,
        content: &mut dyn Read,
        size_max: u64,
        mut copy: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<Sums> {
        let (mut size, mut cksum, mut blake3) = (0, Cksum::new(), blake3::Hasher::new());
        while size <= size_max {
            let length = match content.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let piece = &self.buffer[..length];
            cksum.update(piece);
            blake3.update(piece);
            copy(piece)?;
            size += length as u64;
            self.bytes += length as u64;
            let wait = self.pace.wait(self.start.elapsed(), length);
            // Shorter ones add up to it.
            if wait >= NAP_MIN {
                thread::sleep(wait);
            }
        }
        Ok(Sums { size, cksum: cksum.value(), blake3: *blake3.finalize().as_bytes() })
    }

    /// Reads a file from the disk rather than from the system's memory, which may still hold what the disk has lost,
    /// and leaves the memory to others.
    pub(super) fn read_file(&mut self, file: &File, size_max: u64) -> io::Result<Sums> {
        // Advice: where it is not taken the file is read all the same.
        let _ = fadvise(file, 0, None, Advice::DontNeed);
        let _ = fadvise(file, 0, None, Advice::Sequential);
        let mut content = file;
        let sums = self.read(&mut content, size_max, |_| Ok(()));
        let _ = fadvise(file, 0, None, Advice::DontNeed);
        sums
    }
}

/// Compares what was read with the strongest that is known of a content: its size and digest or, before the first
/// check, its size and `cksum`. Pure.
pub(super) fn judge(row: &ContentRow, read: &Sums) -> Result<(), Fault> {
    if read.size != row.view.size {
        return Err(Fault::Length(read.size, row.view.size));
    }
    match row.blake3 {
        Some(blake3) if blake3 == read.blake3 => Ok(()),
        Some(_) => Err(Fault::Digest),
        None if read.cksum == row.cksum => Ok(()),
        None => Err(Fault::Cksum(read.cksum, row.cksum)),
    }
}

/// What an error of the disk says of a content that is there.
pub(super) fn fault_of(error: &io::Error) -> Fault {
    match Errno::from_io_error(error) {
        // The disk's own word, and that of file systems which keep checksums.
        Some(Errno::IO | Errno::UCLEAN | Errno::BADMSG) => Fault::Rotten(error.to_string()),
        _ => Fault::Unread(error.to_string()),
    }
}

/// Which file it is.
pub(super) fn inode(file: &File) -> io::Result<Inode> {
    let file = file.metadata()?;
    Ok((file.dev(), file.ino()))
}
