//! What a check finds: plain data, put into words by the command.

use std::fmt;
use std::path::PathBuf;

use crate::storage::BlobId;

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub what: Wrong,
    /// What was done about it.
    pub outcome: Outcome,
}

/// What may be wrong with a data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// The catalog's database.
    Catalog(String),
    /// A version's content.
    Content {
        /// Which.
        version: VersionName,
        /// How.
        fault: Fault,
        /// Whether it is the newest version of its file.
        is_newest: bool,
        /// Whether an earlier check has marked it.
        is_marked: bool,
        /// The newest version of the file that is not marked as damaged, unless it is this one.
        good: Option<u32>,
    },
    /// A version is marked as damaged, but its content is good.
    Mark(VersionName),
    /// The entry of a version in the view.
    Entry(VersionName, EntryFault),
    /// Something stands in the view that is no file of any client; its path below the data folder.
    Stranger(PathBuf),
    /// A content that no version refers to.
    Orphan {
        /// Which.
        blob: BlobId,
        /// Its bytes.
        bytes: u64,
        /// Whether it was acknowledged once; otherwise it is what an interrupted upload left.
        is_published: bool,
    },
}

/// Which version of whose file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionName {
    /// The client's name.
    pub client: String,
    /// The file's name as the client sent it.
    pub file: Vec<u8>,
    /// From 1.
    pub version: u32,
}

/// How a content is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is not there.
    Missing(BlobId),
    /// It has so many bytes instead of so many.
    Length(u64, u64),
    /// Its `cksum` is this instead of that.
    Cksum(u32, u32),
    /// Its BLAKE3 digest is not the one that an earlier check stored.
    Digest,
    /// The disk cannot read it any more.
    Rotten(String),
    /// It cannot be read for another reason, which says nothing about the content.
    Unread(String),
}

impl Fault {
    /// Whether the content is known not to be what was received.
    #[must_use]
    pub fn is_rot(&self) -> bool {
        !matches!(self, Self::Unread(_))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(blob) => {
                write!(f, "its content is missing (blobs/{})", blob.path().display())
            }
            Self::Length(found, right) => write!(f, "it has {found} bytes instead of {right}"),
            Self::Cksum(found, right) => write!(f, "its cksum is {found} instead of {right}"),
            Self::Digest => f.write_str("its BLAKE3 digest is not that of an earlier check"),
            Self::Rotten(error) => write!(f, "the disk cannot read it ({error})"),
            Self::Unread(error) => write!(f, "it could not be read and is not checked ({error})"),
        }
    }
}

/// How an entry of the view is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryFault {
    /// It is not there.
    Missing,
    /// It has another mode, size or time, or is no plain file.
    Other,
    /// It has other bytes, or they cannot be read.
    Edited,
}

/// What was done about something wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing: nobody asked for it, or nothing can be done.
    Found,
    /// It is as it should be again.
    Mended,
    /// The version is marked: it does not count any more, and its file may be sent again.
    Marked,
    /// It could not be mended.
    Failed(String),
}
