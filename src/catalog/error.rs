//! What can go wrong with the catalog, and whether the server may go on.

use std::path::PathBuf;

use rusqlite::ErrorCode;
use thiserror::Error;

/// Why the catalog could not do what it was asked.
#[derive(Debug, Error)]
pub enum CatalogError {
    /// The disk is full. Nothing of the batch was stored, nor can it come back.
    #[error("the disk of the catalog is full: free some space")]
    Full,
    /// Another process holds the write lock. Nothing of the batch was stored, nor can it come back.
    #[error(
        "another process keeps the catalog locked: end its transaction (is a database shell open on catalog.db?)"
    )]
    Busy,
    /// The database was made by a newer release.
    #[error(
        "{} has schema {found}, this release knows schemas up to {known}: start a release that is at least as new as the last one that used it",
        .path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The newest schema of this release.
        known: u32,
    },
    /// The database was made by an older release, and only the server may bring it up to date.
    #[error("{} was made by an older release: start the server once, it brings the catalog up to date", .0.display())]
    Older(PathBuf),
    /// The database is damaged.
    #[error("the catalog is damaged ({0})")]
    Corrupt(String),
    /// An earlier commit failed in a way that leaves open what a restart will find.
    #[error("the catalog stopped after an earlier failure: restart the server")]
    Stopped,
    /// All numbers for starts of the server are used up.
    #[error("the server was started too often for this data folder: begin a new one")]
    StartsExhausted,
    /// Anything else that SQLite or the disk says.
    #[error("the catalog failed while {doing}: {error}")]
    Failed {
        /// What was being done.
        doing: &'static str,
        /// What SQLite said.
        error: rusqlite::Error,
    },
}

impl CatalogError {
    /// Whether it is open what a restart will find. If so the server acknowledges nothing more, unlinks nothing, and
    /// stops; if not, the batch is known to have changed nothing and the next one may succeed.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        !matches!(self, Self::Full | Self::Busy)
    }

    /// Sorts an error of SQLite where another process may hold the write lock, and nothing was committed.
    pub(super) fn while_locking(doing: &'static str) -> impl Fn(rusqlite::Error) -> Self {
        move |error| match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy) => Self::Busy,
            _ => Self::while_doing(doing)(error),
        }
    }

    /// Sorts an error of SQLite.
    pub(super) fn while_doing(doing: &'static str) -> impl Fn(rusqlite::Error) -> Self {
        move |error| match error.sqlite_error_code() {
            // Only a write of the log that did not reach its commit record ends so; a failed sync does not.
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Corrupt(error.to_string())
            }
            _ => Self::Failed { doing, error },
        }
    }
}
