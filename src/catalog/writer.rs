//! Commits changes in groups: all of a group in one transaction, or none.

use std::path::Path;

use coffer_protocol::ClientId;
use rusqlite::{Connection, OptionalExtension, Result as SqlResult, params};

use super::paths::Numbers;
use super::schema::{checkpoint, open_for_server};
use super::{CatalogError, Change, Content, Outcome};
use crate::storage::START_MAX;

/// The one connection that adds clients and versions.
#[derive(Debug)]
pub struct Writer {
    pub(super) connection: Connection,
    pub(super) numbers: Numbers,
    /// After a fatal error nothing is committed any more.
    failed: bool,
}

impl Writer {
    /// Opens the database at `path`, which is there, perhaps blank. First of all its write-ahead log is copied back
    /// and emptied, which decides what an earlier start left undecided; then the whole database is read and checked,
    /// and its schema brought up to date.
    ///
    /// # Errors
    /// If it is damaged, was made by a newer release, or cannot be read and written.
    pub fn open(path: &Path) -> Result<Self, CatalogError> {
        Ok(Self { connection: open_for_server(path)?, numbers: Numbers::default(), failed: false })
    }

    /// Makes `changes` true, in their order and durably, as of `now_ms` (milliseconds since 1970, UTC). When it
    /// returns outcomes, one for each change, they survive power loss.
    ///
    /// # Errors
    /// Then no change of the batch may be acknowledged. [`CatalogError::is_fatal`] says whether there can be another
    /// batch; after a fatal error there is only [`CatalogError::Stopped`].
    pub fn commit(
        &mut self,
        changes: &[Change],
        now_ms: i64,
    ) -> Result<Vec<Outcome>, CatalogError> {
        if self.failed {
            return Err(CatalogError::Stopped);
        }
        let result = self.begin().and_then(|()| self.apply_and_commit(changes, now_ms));
        if result.is_err()
            && !self.connection.is_autocommit()
            && self.connection.execute_batch("ROLLBACK").is_err()
        {
            self.failed = true;
        }
        self.failed |= result.as_ref().is_err_and(CatalogError::is_fatal);
        result
    }

    /// Ends writing. The write-ahead log is copied back, so that the database file is whole without it; if that cannot
    /// be done now, the next start does it.
    pub fn close(self) {
        if !self.failed
            && let Err(error) = checkpoint(&self.connection)
        {
            tracing::warn!(%error, "the catalog's log stays for the next start");
        }
    }

    fn begin(&self) -> Result<(), CatalogError> {
        let begun = self.connection.execute_batch("BEGIN IMMEDIATE");
        begun.map_err(CatalogError::while_locking("beginning a transaction"))
    }

    fn apply_and_commit(
        &self,
        changes: &[Change],
        now_ms: i64,
    ) -> Result<Vec<Outcome>, CatalogError> {
        let outcomes: SqlResult<Vec<_>> =
            changes.iter().map(|change| self.apply(change, now_ms)).collect();
        let outcomes = outcomes.map_err(CatalogError::while_doing("storing changes"))?;
        self.connection.execute_batch("COMMIT").map_err(CatalogError::while_doing("committing"))?;
        Ok(outcomes)
    }

    fn apply(&self, change: &Change, now_ms: i64) -> SqlResult<Outcome> {
        match change {
            Change::AddClient { id, name, public_key } => {
                self.add_client(id, name, public_key, now_ms)
            }
            Change::AddVersion { client, file, size, cksum, dialect, content, refuse_existing } => {
                let version = Version {
                    size: *size,
                    cksum: *cksum,
                    dialect: *dialect,
                    content,
                    received_at: now_ms,
                };
                self.add_version(client, file, &version, *refuse_existing)
            }
            Change::Enroll { secret, pin, fresh_id } => self.enroll(secret, pin, fresh_id, now_ms),
        }
    }

    fn add_client(
        &self,
        id: &ClientId,
        name: &str,
        public_key: &[u8],
        now_ms: i64,
    ) -> SqlResult<Outcome> {
        let mut by_name = self.connection.prepare_cached(
            "SELECT client, public_key IS NULL AND NOT secure FROM clients WHERE name = ?1",
        )?;
        let there: Option<(i64, bool)> =
            by_name.query_row([name], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        if let Some((_, false)) = there {
            return Ok(Outcome::NameTaken);
        }
        let known = self.id_owner(id)?;
        if known.is_some() && known != there.map(|(client, _)| client) {
            return Ok(Outcome::IdTaken);
        }
        if let Some((client, true)) = there {
            let sql = "UPDATE clients SET id = ?2, public_key = ?3 WHERE client = ?1";
            self.connection.prepare_cached(sql)?.execute(params![client, id.0, public_key])?;
        } else {
            let (folder, key) = self.numbers.client_folder(&self.connection, name)?;
            let sql =
                "INSERT INTO clients (id, name, public_key, registered_at, folder, folder_key)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            self.connection
                .prepare_cached(sql)?
                .execute(params![id.0, name, public_key, now_ms, folder, key])?;
        }
        Ok(Outcome::ClientAdded)
    }

    fn add_version(
        &self,
        id: &ClientId,
        name: &[u8],
        new: &Version<'_>,
        refuse_existing: bool,
    ) -> SqlResult<Outcome> {
        let Some(client) = self.classic_client(id)? else { return Ok(Outcome::ClientUnknown) };
        let (file, version, received_at) = match self.newest(client, name)? {
            Some(newest) if refuse_existing && !newest.is_damaged => {
                return Ok(Outcome::FileExists);
            }
            Some(Newest { file, version, received_at, .. }) => {
                let sql = "UPDATE files SET newest = ?2 WHERE file = ?1";
                self.connection.prepare_cached(sql)?.execute(params![file, version + 1])?;
                // The view tells a version from the one before by its size and time.
                let tie = i64::from(received_at == new.received_at);
                (file, version + 1, new.received_at + tie)
            }
            None => (self.add_file(client, name)?, 1, new.received_at),
        };
        self.insert_version(file, version, &Version { received_at, ..*new })?;
        Ok(Outcome::VersionAdded { version })
    }

    fn newest(&self, client: i64, name: &[u8]) -> SqlResult<Option<Newest>> {
        let sql = "SELECT file, version, received_at, EXISTS (
                       SELECT 1 FROM damaged WHERE damaged.row = versions.row)
                   FROM files JOIN versions USING (file)
                   WHERE client = ?1 AND name = ?2 AND version = newest";
        let mut by_name = self.connection.prepare_cached(sql)?;
        let newest = |row: &rusqlite::Row<'_>| {
            let (file, version) = (row.get(0)?, row.get(1)?);
            Ok(Newest { file, version, received_at: row.get(2)?, is_damaged: row.get(3)? })
        };
        by_name.query_row(params![client, name], newest).optional()
    }

    fn add_file(&self, client: i64, name: &[u8]) -> SqlResult<i64> {
        let path = self.numbers.take_path(&self.connection, client, name)?;
        let sql = "INSERT INTO files (client, newest, name, path) VALUES (?1, 1, ?2, ?3)";
        self.connection.prepare_cached(sql)?.execute(params![client, name, path])?;
        Ok(self.connection.last_insert_rowid())
    }

    fn insert_version(&self, file: i64, version: u32, new: &Version<'_>) -> SqlResult<()> {
        let (blob, content) = match new.content {
            Content::Inline(bytes) => (None, Some(bytes)),
            Content::Blob(id) => (Some(id.to_row()), None),
        };
        let sql =
            "INSERT INTO versions (file, version, size, cksum, dialect, received_at, blob, content)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let row = params![
            file,
            version,
            new.size.cast_signed(),
            new.cksum,
            new.dialect,
            new.received_at,
            blob,
            content
        ];
        self.connection.prepare_cached(sql)?.execute(row).map(drop)
    }

    pub(super) fn id_owner(&self, id: &ClientId) -> SqlResult<Option<i64>> {
        let mut by_id =
            self.connection.prepare_cached("SELECT client FROM clients WHERE id = ?1")?;
        by_id.query_row([id.0], |row| row.get(0)).optional()
    }

    /// One that was adopted into the secure door is none any more, though a classic session of it may be open.
    fn classic_client(&self, id: &ClientId) -> SqlResult<Option<i64>> {
        let sql = "SELECT client FROM clients WHERE id = ?1 AND NOT secure";
        self.connection.prepare_cached(sql)?.query_row([id.0], |row| row.get(0)).optional()
    }
}

/// The newest version of a file.
struct Newest {
    file: i64,
    version: u32,
    received_at: i64,
    is_damaged: bool,
}

/// What a version is besides its number.
struct Version<'a> {
    size: u64,
    cksum: u32,
    dialect: u16,
    content: &'a Content,
    received_at: i64,
}

impl Writer {
    /// Begins start `number`, durably.
    ///
    /// # Errors
    /// If the number is too large, or the catalog cannot be written.
    pub fn begin_start(&self, number: u64) -> Result<(), CatalogError> {
        if number > START_MAX {
            return Err(CatalogError::StartsExhausted);
        }
        let done = self.connection.execute("UPDATE starts SET number = ?1", [number.cast_signed()]);
        done.map(drop).map_err(CatalogError::while_doing("counting the start"))
    }
}

#[cfg(test)]
impl Writer {
    /// Pages that the database has.
    pub(super) fn page_count(&self) -> i64 {
        self.connection.pragma_query_value(None, "page_count", |row| row.get(0)).expect("readable")
    }

    /// Makes SQLite say that the disk is full beyond `pages`.
    pub(super) fn limit_pages(&self, pages: i64) {
        self.connection
            .pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
            .expect("settable");
    }
}
