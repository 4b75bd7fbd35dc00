//! Long lists, a page at a time, so that nobody holds an old snapshot of the catalog for long.

use coffer_protocol::ClientId;
use rusqlite::{Result as SqlResult, Row, params};

use super::{CatalogError, Reader};
use crate::limits::CATALOG_PAGE_ROWS;
use crate::storage::BlobId;

/// A client, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientRow {
    /// Its id on the wire.
    pub id: ClientId,
    /// Its name.
    pub name: String,
    /// Its folder in the view.
    pub folder: String,
    /// How it may connect.
    pub access: Access,
    /// Milliseconds since 1970, UTC.
    pub registered_at: i64,
}

/// By which door a client comes in, and whether it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The classic one.
    Classic {
        /// False after an operator reset its key, until the name is registered again.
        has_key: bool,
    },
    /// The secure one.
    Secure {
        /// The pin of its key; none after an operator revoked it, until it is invited again.
        pin: Option<[u8; 32]>,
        /// How many bytes it may store.
        quota: Option<u64>,
    },
}

/// A version of a client's file, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRow {
    /// The file's name as the client sent it.
    pub file: Vec<u8>,
    /// The file's path in the view, below the client's folder.
    pub path: String,
    /// From 1.
    pub version: u32,
    /// Whether it is the newest version of its file.
    pub is_newest: bool,
    /// Whether it is the newest one that is not damaged, which the view shows.
    pub is_shown: bool,
    /// Bytes of content.
    pub size: u64,
    /// POSIX checksum of the content.
    pub cksum: u32,
    /// Milliseconds since 1970, UTC.
    pub received_at: i64,
    /// Where the content is, unless in the catalog.
    pub blob: Option<BlobId>,
    /// What a check found wrong with the content and could not mend.
    pub damage: Option<String>,
}

/// What a version is to the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The newest version that is not damaged: the view shows it.
    Shown,
    /// There is a newer one that is not damaged.
    Older,
    /// It is damaged; the view shows another one.
    Damaged,
    /// It is damaged like all versions of its file: the view shows nothing.
    Withdrawn,
}

/// A version of some client's file, as the view needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewRow {
    /// Its place in the order in which versions came.
    pub row: i64,
    /// The catalog's number for the client, which no other gets later.
    pub client: i64,
    /// The catalog's number for the file, for [`Reader::shown`].
    pub file: i64,
    /// The client's folder in the view.
    pub folder: String,
    /// The file's path below it.
    pub path: String,
    /// Whether it is the one that the view shows.
    pub standing: Standing,
    /// Bytes of content.
    pub size: u64,
    /// Milliseconds since 1970, UTC.
    pub received_at: i64,
    /// Where the content is, unless in the catalog.
    pub blob: Option<BlobId>,
}

impl Reader {
    /// The next clients in the order of their names, after the name `after`. An empty page is the end.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn clients_after(&self, after: Option<&str>) -> Result<Vec<ClientRow>, CatalogError> {
        let sql =
            "SELECT id, name, folder, registered_at, secure, public_key IS NOT NULL, quota, (
                       SELECT pin FROM keys WHERE keys.client = clients.client AND revoked_at IS NULL)
                   FROM clients WHERE name > ifnull(?1, '') ORDER BY name LIMIT ?2";
        self.page(sql, params![after, CATALOG_PAGE_ROWS as i64], client_row, "listing clients")
    }

    /// How many files and versions a client has, and how many bytes of content those hold.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn totals(&self, client: &ClientId) -> Result<(u64, u64, u64), CatalogError> {
        let sql = "SELECT count(DISTINCT file), count(*), ifnull(sum(size), 0) FROM clients
                   CROSS JOIN files USING (client) CROSS JOIN versions USING (file) WHERE clients.id = ?1";
        let count = |row: &Row<'_>, column| row.get::<_, i64>(column).map(i64::cast_unsigned);
        let read = |row: &Row<'_>| Ok((count(row, 0)?, count(row, 1)?, count(row, 2)?));
        let totals = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut query| query.query_row([client.0], read));
        totals.map_err(CatalogError::while_doing("counting files"))
    }

    /// How many files of a client have a damaged newest version: it must send them again.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn files_to_send_again(&self, client: &ClientId) -> Result<u64, CatalogError> {
        let sql = "SELECT count(*) FROM damaged CROSS JOIN versions USING (row) CROSS JOIN files USING (file)
                   CROSS JOIN clients USING (client) WHERE version = newest AND clients.id = ?1";
        let found = self.connection.prepare_cached(sql).and_then(|mut query| {
            query.query_row([client.0], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
        });
        found.map_err(CatalogError::while_doing("counting damaged files"))
    }

    /// The next versions of a client's files, in the order of file names and versions, after that version of that
    /// file. An empty page is the end.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn versions_after(
        &self,
        client: &ClientId,
        file: &[u8],
        version: u32,
    ) -> Result<Vec<VersionRow>, CatalogError> {
        let sql = concat!(
            "SELECT files.name, path, version, version = newest, size, cksum, received_at, blob, fault,
               ifnull(versions.row = ",
            newest_good!(),
            ", 0) FROM clients CROSS JOIN files USING (client) CROSS JOIN versions USING (file)
             LEFT JOIN damaged USING (row)
             WHERE clients.id = ?1 AND files.name >= ?2 AND (files.name > ?2 OR version > ?3)
             ORDER BY files.name, version LIMIT ?4"
        );
        self.page(
            sql,
            params![client.0, file, version, CATALOG_PAGE_ROWS as i64],
            version_row,
            "listing versions",
        )
    }

    /// The next versions in the order in which they came, after `row`. An empty page is the end, for now.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn view_after(&self, row: i64) -> Result<Vec<ViewRow>, CatalogError> {
        let sql = concat!(
            "SELECT ",
            view_columns!(),
            " FROM versions CROSS JOIN files USING (file) CROSS JOIN clients USING (client)
              WHERE row > ?1 AND clients.name IS NOT NULL ORDER BY row LIMIT ?2"
        );
        self.page(
            sql,
            params![row, CATALOG_PAGE_ROWS as i64],
            view_row,
            "listing what the view shows",
        )
    }

    /// The version that the view shows now of a file, by the catalog's numbers for client and file; none if the file is
    /// gone, has no good version, or its client is being removed.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn shown(&self, client: i64, file: i64) -> Result<Option<ViewRow>, CatalogError> {
        let sql = concat!(
            "SELECT ",
            view_columns!(),
            " FROM files CROSS JOIN clients USING (client) CROSS JOIN versions USING (file)
              WHERE files.file = ?1 AND client = ?2 AND clients.name IS NOT NULL AND row = ",
            newest_good!()
        );
        Ok(self.page(sql, [file, client], view_row, "looking for what the view shows")?.pop())
    }

    /// The small content of the version at `row`; none if there is no such version (any more).
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn small_content(&self, row: i64) -> Result<Option<Vec<u8>>, CatalogError> {
        let mut found = self.page(
            "SELECT content FROM versions WHERE row = ?1",
            [row],
            |row| row.get(0),
            "reading a content",
        )?;
        Ok(found.pop().flatten())
    }

    /// The next contents that a version refers to, or that are doomed, in the order of their ids, after the content
    /// `after`; with their sizes in bytes (0 for a doomed one). An empty page is the end.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn blobs_after(&self, after: Option<BlobId>) -> Result<Vec<(BlobId, u64)>, CatalogError> {
        let sql = "SELECT blob, size FROM versions WHERE blob > ?1
                   UNION ALL SELECT blob, 0 FROM doomed WHERE blob > ?1 ORDER BY blob LIMIT ?2";
        let read = |row: &Row<'_>| {
            Ok((BlobId::from_row(row.get(0)?), row.get::<_, i64>(1)?.cast_unsigned()))
        };
        let after = after.map_or(-1, BlobId::to_row);
        self.page(sql, params![after, CATALOG_PAGE_ROWS as i64], read, "listing contents")
    }

    /// Whose content it is: client, file name and version.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn owner(&self, blob: BlobId) -> Result<Option<(String, Vec<u8>, u32)>, CatalogError> {
        let sql = "SELECT ifnull(clients.name, '(removed)'), files.name, version FROM versions
                   JOIN files USING (file) JOIN clients USING (client) WHERE blob = ?1";
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        Ok(self.page(sql, [blob.to_row()], read, "looking for a content's owner")?.pop())
    }

    pub(super) fn page<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> SqlResult<T>,
        doing: &'static str,
    ) -> Result<Vec<T>, CatalogError> {
        let query = |sql| -> SqlResult<Vec<T>> {
            self.connection.prepare_cached(sql)?.query_map(params, read)?.collect()
        };
        query(sql).map_err(CatalogError::while_doing(doing))
    }
}

fn client_row(row: &Row<'_>) -> SqlResult<ClientRow> {
    let access = if row.get(4)? {
        let quota = row.get::<_, Option<i64>>(6)?.map(i64::cast_unsigned);
        Access::Secure { pin: row.get(7)?, quota }
    } else {
        Access::Classic { has_key: row.get(5)? }
    };
    Ok(ClientRow {
        id: ClientId(row.get(0)?),
        name: row.get(1)?,
        folder: row.get(2)?,
        access,
        registered_at: row.get(3)?,
    })
}

fn version_row(row: &Row<'_>) -> SqlResult<VersionRow> {
    Ok(VersionRow {
        file: row.get(0)?,
        path: row.get(1)?,
        version: row.get(2)?,
        is_newest: row.get(3)?,
        size: row.get::<_, i64>(4)?.cast_unsigned(),
        cksum: row.get(5)?,
        received_at: row.get(6)?,
        blob: row.get::<_, Option<i64>>(7)?.map(BlobId::from_row),
        damage: row.get(8)?,
        is_shown: row.get(9)?,
    })
}

/// Reads the columns of `view_columns`, which come first.
pub(super) fn view_row(row: &Row<'_>) -> SqlResult<ViewRow> {
    let (number, shown, is_damaged): (i64, Option<i64>, bool) =
        (row.get(0)?, row.get(8)?, row.get(9)?);
    let standing = match shown {
        Some(shown) if shown == number => Standing::Shown,
        Some(_) if is_damaged => Standing::Damaged,
        Some(_) => Standing::Older,
        None => Standing::Withdrawn,
    };
    Ok(ViewRow {
        row: number,
        client: row.get(1)?,
        file: row.get(2)?,
        folder: row.get(3)?,
        path: row.get(4)?,
        standing,
        size: row.get::<_, i64>(5)?.cast_unsigned(),
        received_at: row.get(6)?,
        blob: row.get::<_, Option<i64>>(7)?.map(BlobId::from_row),
    })
}
