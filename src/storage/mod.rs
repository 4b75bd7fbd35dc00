//! The truth on disk: immutable contents, each one file named by an id of ours, and the data folder they lie in.
//!
//! A content belongs to nobody until a row of the catalog says so. What is in the catalog, and the readable view of
//! it, are not this module's business; it only knows how a file's name becomes a safe path.

mod blob_id;
mod data_dir;
mod disk;
mod faulty;
mod folder_sync;
mod group_sync;
mod room;
pub mod view_name;
mod walk;

use std::io::{self, Read, Seek};

pub use blob_id::{BlobId, START_MAX};
pub use data_dir::{DataDir, DataDirError, DataLock};
pub use disk::{DiskStore, open_blob, remove_blob, sync_folder};
pub use faulty::{Fate, FaultyStore, Operation};
pub use room::{Reserved, Room};
pub use walk::{blobs_in_order, holds_files, newest_start, remove_empty_folders};

/// Immutable contents by id. The seam between the server and whatever keeps its bytes.
pub trait BlobStore: Send + Sync {
    /// Room for a content of up to `bytes`, so that it will not fill the disk. To be held until it is written.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] if there is not enough, and whatever else the disk says.
    fn reserve(&self, bytes: u64) -> io::Result<Reserved>;

    /// Begins a new content under a new id. Nothing of it counts until it is sealed.
    ///
    /// # Errors
    /// Whatever the disk says; no content was begun.
    fn create(&self) -> io::Result<Box<dyn BlobWriter>>;

    /// Stores whole contents and returns what became of each, in their order. What was stored survives power loss,
    /// name included; of what was not, nothing is left. It waits for the disk: several milliseconds, however many
    /// there are.
    fn store(&self, contents: &[Vec<u8>]) -> Vec<io::Result<BlobId>>;

    /// Opens a sealed content for reading.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is no such content, and whatever else the disk says.
    fn open(&self, id: BlobId) -> io::Result<Box<dyn BlobReader>>;

    /// Removes a content that no row of the catalog refers to. That it is gone already is no error.
    ///
    /// # Errors
    /// Whatever the disk says; the content may still be there.
    fn remove(&self, id: BlobId) -> io::Result<()>;
}

/// A content that is being written. Dropped before it was sealed, it removes what it wrote.
pub trait BlobWriter: Send {
    /// The id that a catalog row will refer to.
    fn id(&self) -> BlobId;

    /// Writes all of `bytes` at `offset` (in bytes from the beginning). Pieces may come in any order.
    ///
    /// # Errors
    /// Whatever the disk says; the content is then good for nothing but dropping.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Returns once the content and its name survive power loss. It waits for the disk: several milliseconds.
    ///
    /// # Errors
    /// Whatever the disk says; the content is then removed.
    fn seal(self: Box<Self>) -> io::Result<()>;
}

/// What a content is read through.
pub trait BlobReader: Read + Seek + Send {}

impl<R: Read + Seek + Send> BlobReader for R {}
