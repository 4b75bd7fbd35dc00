//! What a check found out about contents: digests of good ones, marks on damaged ones.

use std::path::Path;

use rusqlite::{Connection, params};

use super::CatalogError;
use super::beside::in_transaction;
use super::schema::open_beside_server;

/// A connection that writes down what a check found out, also beside a running server. Every step is a transaction of
/// its own; what it says of a version that is gone meanwhile is no error and changes nothing.
#[derive(Debug)]
pub struct Marks {
    connection: Connection,
}

impl Marks {
    /// Opens the database at `path`, which a server has made.
    ///
    /// # Errors
    /// If its schema is not the one of this release, or it cannot be read and written.
    pub fn open(path: &Path) -> Result<Self, CatalogError> {
        Ok(Self { connection: open_beside_server(path)? })
    }

    /// Stores the BLAKE3 digests of contents, by the rows of their versions. One that is there already stays.
    ///
    /// # Errors
    /// [`CatalogError::Full`] or [`CatalogError::Busy`] if there is no room, or somebody writes for too long, and
    /// whatever else the catalog says; then none is stored.
    pub fn store_digests(&mut self, digests: &[(i64, [u8; 32])]) -> Result<(), CatalogError> {
        in_transaction(&mut self.connection, "storing digests", |catalog| {
            let sql = "INSERT OR IGNORE INTO digests (row, blake3)
                       SELECT row, ?2 FROM versions WHERE row = ?1";
            let mut store = catalog.prepare_cached(sql)?;
            digests
                .iter()
                .try_for_each(|(row, blake3)| store.execute(params![row, blake3]).map(drop))
        })
    }

    /// Marks the version at `row` as damaged, as of `now_ms` (milliseconds since 1970, UTC): it does not count any
    /// more, and its file may be sent again.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn mark_damaged(&mut self, row: i64, fault: &str, now_ms: i64) -> Result<(), CatalogError> {
        in_transaction(&mut self.connection, "marking a damaged version", |catalog| {
            let sql = "INSERT OR REPLACE INTO damaged (row, found_at, fault)
                       SELECT row, ?2, ?3 FROM versions WHERE row = ?1";
            catalog.prepare_cached(sql)?.execute(params![row, now_ms, fault]).map(drop)
        })
    }

    /// Takes the mark from the version at `row`: its content is what was received.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn unmark(&mut self, row: i64) -> Result<(), CatalogError> {
        in_transaction(&mut self.connection, "unmarking a version", |catalog| {
            catalog.prepare_cached("DELETE FROM damaged WHERE row = ?1")?.execute([row]).map(drop)
        })
    }

    /// Puts `bytes` in the place of the damaged small content of the version at `row`.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn replace_content(&mut self, row: i64, bytes: &[u8]) -> Result<(), CatalogError> {
        in_transaction(&mut self.connection, "mending a small content", |catalog| {
            let sql = "UPDATE versions SET content = ?2 WHERE row = ?1 AND content IS NOT NULL";
            catalog.prepare_cached(sql)?.execute(params![row, bytes]).map(drop)
        })
    }
}
