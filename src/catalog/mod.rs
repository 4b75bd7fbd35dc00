//! Who the clients are, which files and versions they have, and where the contents lie: SQLite on one thread.
//!
//! [`Writer`] commits changes in groups, on the thread that [`spawn`] starts. [`Reader`]s see the last commit and
//! never wait for it. [`Retention`] lets go of clients and old versions, [`Marks`] keeps what a check found out about
//! contents; both also work beside a running server.
//!
//! The catalog decides where a file stands in the readable view, but neither makes the view nor touches contents.

/// SQL for the row of the newest version of `files.file` that is not damaged: the one that counts when nobody asks for
/// another, and that the view shows. NULL if there is none.
macro_rules! newest_good {
    () => {
        "(SELECT good.row FROM versions AS good WHERE good.file = files.file
          AND NOT EXISTS (SELECT 1 FROM damaged WHERE damaged.row = good.row)
          ORDER BY good.version DESC LIMIT 1)"
    };
}

/// SQL for what `listing::view_row` reads of a version, its file and its client.
macro_rules! view_columns {
    () => {
        concat!(
            "row, client, files.file, folder, path, size, received_at, blob, ",
            newest_good!(),
            ", EXISTS (SELECT 1 FROM damaged WHERE damaged.row = versions.row)"
        )
    };
}

mod beside;
mod error;
mod listing;
mod marks;
mod paths;
mod reader;
mod retention;
mod schema;
mod scrub;
#[cfg(test)]
mod tests;
mod thread;
mod writer;

use std::fmt;

use coffer_protocol::ClientId;

use crate::storage::BlobId;

pub use error::CatalogError;
pub use listing::{ClientRow, Standing, VersionRow, ViewRow};
pub use marks::Marks;
pub use reader::{Client, Reader, Stored};
pub use retention::{Doomed, LetGo, Retention, RetiredClient};
pub use schema::{is_blank, precreate};
pub use scrub::{ContentRow, ScrubTotals};
pub use thread::{Delivery, spawn};
pub use writer::Writer;

/// The bytes of a version, or where they are.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// A small content, kept in the catalog for good.
    Inline(Vec<u8>),
    /// A sealed content of the store.
    Blob(BlobId),
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(bytes) => write!(f, "Inline({} bytes)", bytes.len()),
            Self::Blob(id) => write!(f, "Blob({id})"),
        }
    }
}

/// Something that is to become true, wholly and durably or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A client gave its public key. A name whose key was reset gets the new id and key and keeps its files.
    AddClient {
        /// The id that the client was given.
        id: ClientId,
        /// Its checked name.
        name: String,
        /// Its public key, DER.
        public_key: Vec<u8>,
    },
    /// A client confirmed an upload.
    AddVersion {
        /// Whose file.
        client: ClientId,
        /// The file's name as the client sent it.
        file: Vec<u8>,
        /// Bytes of the plain content.
        size: u64,
        /// POSIX checksum of the plain content, whatever sum the dialect uses.
        cksum: u32,
        /// 825 or 1100.
        dialect: u16,
        /// The plain content.
        content: Content,
        /// Whether a file of that name that is there already stands in the way. One whose newest version is damaged
        /// never does.
        refuse_existing: bool,
    },
}

impl Change {
    /// Bytes of content that the change carries.
    pub(crate) fn content_bytes(&self) -> usize {
        match self {
            Self::AddVersion { content: Content::Inline(bytes), .. } => bytes.len(),
            Self::AddVersion { .. } | Self::AddClient { .. } => 0,
        }
    }
}

/// What became of a [`Change`] whose batch was committed. All but the first two kinds changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The client is known from now on.
    ClientAdded,
    /// The version is there, and it is the newest of its file.
    VersionAdded {
        /// Its number, from 1.
        version: u32,
    },
    /// A client with this name has a key.
    NameTaken,
    /// Another client has this id.
    IdTaken,
    /// No client has this id (any more).
    ClientUnknown,
    /// The file is there, its newest version is not damaged, and it was not to be replaced.
    FileExists,
}
