//! Who the clients are, which files and versions they have, and where the contents lie: SQLite on one thread.
//!
//! [`Writer`] commits changes in groups, on the thread that [`spawn`] starts. [`Reader`]s see the last commit and
//! never wait for it. [`Retention`] lets go of clients and old versions, [`Marks`] keeps what a check found out about
//! contents, [`Invitations`] says whose key may come in; all three also work beside a running server.
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
mod enroll;
mod error;
mod invitations;
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
pub use invitations::{Door, Invitations, Issued, NewInvitation, Revoked};
pub use listing::{Access, ClientRow, Standing, VersionRow, ViewRow};
pub use marks::Marks;
pub use reader::{Client, Reader, SecureClient, Stored, Usage};
pub use retention::{Doomed, LetGo, Retention, RetiredClient};
pub use schema::{is_blank, precreate};
pub use scrub::{ContentRow, ScrubTotals};
pub use thread::{Delivery, now_ms, spawn};
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
    /// Somebody showed the secret of an invitation, and a key of their own.
    Enroll {
        /// The digest of the secret.
        secret: [u8; 32],
        /// The pin of the key, which was proved.
        pin: [u8; 32],
        /// The id that a new client gets.
        fresh_id: ClientId,
    },
}

impl Change {
    /// Bytes of content that the change carries.
    pub(crate) fn content_bytes(&self) -> usize {
        match self {
            Self::AddVersion { content: Content::Inline(bytes), .. } => bytes.len(),
            Self::AddVersion { .. } | Self::AddClient { .. } | Self::Enroll { .. } => 0,
        }
    }
}

/// What became of a [`Change`] whose batch was committed. All but the first three kinds changed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The client is known from now on.
    ClientAdded,
    /// The version is there, and it is the newest of its file.
    VersionAdded {
        /// Its number, from 1.
        version: u32,
    },
    /// The key is a client's from now on, and the only one of it.
    Enrolled {
        /// The client's name.
        name: String,
        /// Since when, in milliseconds since 1970, UTC.
        enrolled_at: i64,
        /// The same secret has let the same key in before.
        already: bool,
    },
    /// There is no such invitation (any more), somebody else has used it, or the key was revoked once.
    BadCode,
    /// The key is another client's.
    KeyTaken,
    /// A client with this name has a key, or the name belongs to the secure door.
    NameTaken,
    /// Another client has this id.
    IdTaken,
    /// No client of the classic door has this id (any more).
    ClientUnknown,
    /// The file is there, its newest version is not damaged, and it was not to be replaced.
    FileExists,
}
