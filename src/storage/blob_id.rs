//! The id of a content, and the path that follows from it.

use std::fmt;
use std::path::PathBuf;

/// Bits of an id that count the contents of one start.
const NUMBER_BITS: u32 = 40;

/// Contents in one folder: few enough to list, enough that folders are rarely made.
pub(super) const BLOBS_PER_FOLDER: u64 = 4096;

/// The last number that a start of the server may have; ids stay positive in SQLite's signed integers.
pub const START_MAX: u64 = (1 << (63 - NUMBER_BITS)) - 1;

/// The id of a content: which start of the server made it, and the how-manieth it was. Never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId(u64);

impl BlobId {
    /// The id of content `number` (counted from 0) of start `start`.
    ///
    /// # Panics
    /// If a part is too large: starts are checked when they are given out, and 2^40 contents of one start would
    /// take years.
    #[must_use]
    pub fn new(start: u64, number: u64) -> Self {
        assert!(start <= START_MAX && number >> NUMBER_BITS == 0, "blob {number} of start {start}");
        Self(start << NUMBER_BITS | number)
    }

    /// The start of the server that made it.
    #[must_use]
    pub fn start(self) -> u64 {
        self.0 >> NUMBER_BITS
    }

    /// Its number within that start, from 0.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0 & ((1 << NUMBER_BITS) - 1)
    }

    /// The form that the catalog keeps.
    #[must_use]
    pub fn to_row(self) -> i64 {
        self.0.cast_signed()
    }

    /// The id that the catalog keeps as `row`.
    #[must_use]
    pub fn from_row(row: i64) -> Self {
        Self(row.cast_unsigned())
    }

    /// Where it lies, relative to the folder `blobs`: `<start>/<folder>/<file>`, in hex.
    #[must_use]
    pub fn path(self) -> PathBuf {
        [start_name(self.start()), folder_name(self.folder()), self.file_name()].iter().collect()
    }

    /// The id of the file `file` in the folder `folder` of the folder `start`, if names of ours.
    #[must_use]
    pub fn from_names(start: &str, folder: &str, file: &str) -> Option<Self> {
        let (start, folder) = (parse_hex(start, 8)?, parse_hex(folder, 8)?);
        let number = folder * BLOBS_PER_FOLDER + parse_hex(file, 4)?;
        let id =
            (start <= START_MAX && number >> NUMBER_BITS == 0).then(|| Self::new(start, number))?;
        (id.folder() == folder).then_some(id)
    }

    pub(super) fn folder(self) -> u64 {
        self.number() / BLOBS_PER_FOLDER
    }

    pub(super) fn file_name(self) -> String {
        format!("{:04x}", self.number() % BLOBS_PER_FOLDER)
    }
}

/// The name of the folder that holds all contents of a start.
pub(super) fn start_name(start: u64) -> String {
    format!("{start:08x}")
}

/// The name of one of the folders of a start.
pub(super) fn folder_name(folder: u64) -> String {
    format!("{folder:08x}")
}

/// The start whose folder has this name, if it is one of ours.
pub(super) fn parse_start(name: &str) -> Option<u64> {
    parse_hex(name, 8).filter(|&start| start <= START_MAX)
}

/// Exactly `digits` lower-case hex digits.
fn parse_hex(text: &str, digits: usize) -> Option<u64> {
    let ours = text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    ours.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{:010x}", self.start(), self.number())
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_its_path() {
        let id = BlobId::new(0x1a2b, 4096 * 3 + 0xfff);
        assert_eq!(id.path(), PathBuf::from("00001a2b/00000003/0fff"));
        assert_eq!(id.to_string(), "00001a2b-0000003fff");
        assert_eq!(BlobId::from_names("00001a2b", "00000003", "0fff"), Some(id));
        assert_eq!(BlobId::from_row(id.to_row()), id);
    }

    #[test]
    fn only_names_of_ours_are_ids() {
        for (start, folder, file) in [
            ("1a2b", "00000003", "0fff"),
            ("00001A2B", "00000003", "0fff"),
            ("00001a2b", "00000003", "1000"),
            ("00001a2b", "00000003", "+fff"),
            ("ffffffff", "00000003", "0fff"),
            ("00001a2b", "f0000003", "0fff"),
        ] {
            assert_eq!(BlobId::from_names(start, folder, file), None, "{start}/{folder}/{file}");
        }
    }

    #[test]
    fn ids_of_later_starts_are_greater() {
        assert!(BlobId::new(1, (1 << 40) - 1) < BlobId::new(2, 0));
        assert!(BlobId::new(START_MAX, 0).to_row() > 0);
    }
}
