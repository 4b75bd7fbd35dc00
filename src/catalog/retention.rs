//! Letting go: of a client's key, of a client, of old versions. Done by commands, also beside a running server, and
//! finished by the next start if they were interrupted.
//!
//! Every step is a transaction of a bounded number of rows, so that uploads hardly wait. Contents that lose their last
//! row become doomed in the same transaction; unlinking them is not done here.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Result as SqlResult, Transaction, params};

use super::CatalogError;
use super::beside::in_transaction;
use super::schema::open_beside_server;
use crate::limits::CATALOG_PAGE_ROWS;
use crate::storage::BlobId;

/// A connection that lets go.
#[derive(Debug)]
pub struct Retention {
    connection: Connection,
}

/// A client that is being removed: nobody finds it any more, but its folder is still its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetiredClient {
    /// The catalog's number for it.
    pub client: i64,
    /// Its folder in the view.
    pub folder: String,
}

/// What one step let go of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LetGo {
    /// Versions whose rows are gone.
    pub versions: u64,
    /// Bytes of content that those versions had.
    pub bytes: u64,
}

/// A content that no version should refer to any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doomed {
    /// Which.
    pub blob: BlobId,
    /// Whether, at a second look, a version does refer to it. It must stay then.
    pub is_needed: bool,
}

impl Retention {
    /// Opens the database at `path`, which a server has made.
    ///
    /// # Errors
    /// If its schema is not the one of this release, or it cannot be read and written.
    pub fn open(path: &Path) -> Result<Self, CatalogError> {
        Ok(Self { connection: open_beside_server(path)? })
    }

    /// Forgets the public key of the classic client `name`, so that the name may be registered again. False if there is
    /// no such client.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn reset_key(&mut self, name: &str) -> Result<bool, CatalogError> {
        let sql = "UPDATE clients SET public_key = NULL WHERE name = ?1 AND NOT secure";
        let done = self.connection.execute(sql, [name]);
        Ok(done.map_err(CatalogError::while_doing("resetting a key"))? > 0)
    }

    /// Begins the removal of the client `name`: from now on nobody finds it, its name is free, its keys and invitations
    /// are gone, and uploads of its sessions are refused. False if there is no such client.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn retire_client(&mut self, name: &str) -> Result<bool, CatalogError> {
        in_transaction(&mut self.connection, "removing a client", |catalog| {
            for table in ["keys", "invitations"] {
                let sql = format!(
                    "DELETE FROM {table} WHERE client = (SELECT client FROM clients WHERE name = ?1)"
                );
                catalog.execute(&sql, [name])?;
            }
            let sql =
                "UPDATE clients SET name = NULL, id = NULL, public_key = NULL WHERE name = ?1";
            Ok(catalog.execute(sql, [name])? > 0)
        })
    }

    /// A client whose removal was begun and not finished.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn retired_client(&self) -> Result<Option<RetiredClient>, CatalogError> {
        let sql = "SELECT client, folder FROM clients WHERE name IS NULL LIMIT 1";
        let read = |row: &rusqlite::Row<'_>| {
            Ok(RetiredClient { client: row.get(0)?, folder: row.get(1)? })
        };
        let found = self.connection.query_row(sql, [], read).optional();
        found.map_err(CatalogError::while_doing("looking for removed clients"))
    }

    /// Lets go of some versions of a retired client. Nothing is left once a step lets go of none.
    ///
    /// # Errors
    /// If the catalog cannot be written; the step then did nothing.
    pub fn drop_versions(&mut self, client: &RetiredClient) -> Result<LetGo, CatalogError> {
        let sql = "SELECT row, file, size, blob FROM files CROSS JOIN versions USING (file) WHERE client = ?1 LIMIT ?2";
        let victims = self.victims(sql, params![client.client, CATALOG_PAGE_ROWS as i64])?;
        self.drop_rows(&victims)
    }

    /// Forgets a retired client, all of whose versions are gone; its folder may go to another one from now on.
    ///
    /// # Errors
    /// If the catalog cannot be written; the client is still a retired one then.
    pub fn forget_client(&mut self, client: &RetiredClient) -> Result<(), CatalogError> {
        for sql in [
            "DELETE FROM view_nodes WHERE (client, key) IN (SELECT client, key FROM view_nodes WHERE client = ?1 LIMIT ?2)",
            "DELETE FROM clients WHERE client = ?1 AND ?2",
        ] {
            let step = |catalog: &Transaction<'_>| {
                catalog.execute(sql, params![client.client, CATALOG_PAGE_ROWS as i64])
            };
            while in_transaction(&mut self.connection, "removing a client", step)? > 0 {}
        }
        Ok(())
    }

    /// Lets go of some versions, among those that came after `after`, that have at least `keep` newer good ones, and of
    /// damaged ones that have a newer good one. Returns where to go on, or none at the end.
    ///
    /// # Errors
    /// If the catalog cannot be written; the step then did nothing.
    pub fn prune_step(
        &mut self,
        keep: u32,
        after: i64,
    ) -> Result<(LetGo, Option<i64>), CatalogError> {
        let sql = "SELECT row, file, size, blob FROM versions CROSS JOIN files USING (file)
                   WHERE row > ?1 AND (
                       version <= newest - ?2 AND version < (
                           SELECT good.version FROM versions AS good WHERE good.file = files.file
                           AND NOT EXISTS (SELECT 1 FROM damaged WHERE damaged.row = good.row)
                           ORDER BY good.version DESC LIMIT 1 OFFSET ?2 - 1)
                       OR EXISTS (SELECT 1 FROM damaged WHERE damaged.row = versions.row) AND version < (
                           SELECT max(good.version) FROM versions AS good WHERE good.file = files.file
                           AND NOT EXISTS (SELECT 1 FROM damaged WHERE damaged.row = good.row)))
                   ORDER BY row LIMIT ?3";
        let victims = self.victims(sql, params![after, keep.max(1), CATALOG_PAGE_ROWS as i64])?;
        Ok((self.drop_rows(&victims)?, victims.last().map(|victim| victim.row)))
    }

    /// The next doomed contents, in the order of their ids, after the content `after`. An empty page is the end.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn doomed_after(&self, after: Option<BlobId>) -> Result<Vec<Doomed>, CatalogError> {
        let sql = "SELECT blob, EXISTS (SELECT 1 FROM versions WHERE versions.blob = doomed.blob) FROM doomed
                   WHERE blob > ?1 ORDER BY blob LIMIT ?2";
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Doomed { blob: BlobId::from_row(row.get(0)?), is_needed: row.get(1)? })
        };
        let query = || -> SqlResult<Vec<Doomed>> {
            let mut statement = self.connection.prepare_cached(sql)?;
            let after = after.map_or(-1, BlobId::to_row);
            statement.query_map(params![after, CATALOG_PAGE_ROWS as i64], read)?.collect()
        };
        query().map_err(CatalogError::while_doing("listing contents to remove"))
    }

    /// Forgets that `blobs` were doomed: they are unlinked, or needed after all.
    ///
    /// # Errors
    /// If the catalog cannot be written; they stay doomed then.
    pub fn settle(&mut self, blobs: &[BlobId]) -> Result<(), CatalogError> {
        in_transaction(&mut self.connection, "forgetting removed contents", |step| {
            let mut delete = step.prepare_cached("DELETE FROM doomed WHERE blob = ?1")?;
            blobs.iter().try_for_each(|blob| delete.execute([blob.to_row()]).map(drop))
        })
    }

    /// Writes a consistent copy of the whole catalog into the empty file at `target`.
    ///
    /// # Errors
    /// If the catalog cannot be read or the copy not be written.
    pub fn export(&self, target: &str) -> Result<(), CatalogError> {
        let done = self.connection.execute("VACUUM INTO ?1", [target]);
        done.map(drop).map_err(CatalogError::while_doing("copying it"))
    }

    /// Looks for versions to let go of, without keeping anybody from writing: once a version is to go, that stays so.
    fn victims(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
    ) -> Result<Vec<Victim>, CatalogError> {
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Victim { row: row.get(0)?, file: row.get(1)?, size: row.get(2)?, blob: row.get(3)? })
        };
        let query = |sql| -> SqlResult<Vec<Victim>> {
            self.connection.prepare_cached(sql)?.query_map(params, read)?.collect()
        };
        query(sql).map_err(CatalogError::while_doing("looking for versions to remove"))
    }

    /// Deletes the rows, dooms their contents, and deletes the files that lost their last version.
    fn drop_rows(&mut self, victims: &[Victim]) -> Result<LetGo, CatalogError> {
        in_transaction(&mut self.connection, "removing versions", |catalog| {
            let mut delete = catalog.prepare_cached("DELETE FROM versions WHERE row = ?1")?;
            let mut doom = catalog.prepare_cached("INSERT INTO doomed (blob) VALUES (?1)")?;
            let mut gone = LetGo::default();
            for victim in victims {
                if delete.execute([victim.row])? == 0 {
                    continue; // Another command was faster.
                }
                if let Some(blob) = victim.blob {
                    doom.execute([blob])?;
                }
                gone.versions += 1;
                gone.bytes += victim.size.cast_unsigned();
            }
            let sql = "DELETE FROM files WHERE file = ?1 AND NOT EXISTS (SELECT 1 FROM versions WHERE file = ?1)";
            let mut delete_empty = catalog.prepare_cached(sql)?;
            for file in victims.iter().map(|victim| victim.file).collect::<BTreeSet<_>>() {
                delete_empty.execute([file])?;
            }
            Ok(gone)
        })
    }
}

/// A version that is to go.
struct Victim {
    row: i64,
    file: i64,
    size: i64,
    blob: Option<i64>,
}
