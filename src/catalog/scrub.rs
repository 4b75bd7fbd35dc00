//! What a check asks: every content with all that is known of it, and whether the database is sound.

use rusqlite::{Result as SqlResult, Row, params};

use super::listing::view_row;
use super::{CatalogError, Reader, ViewRow};
use crate::limits::{CATALOG_PAGE_ROWS, SCRUB_CATALOG_FAULTS_MAX};
use crate::storage::BlobId;

/// A version with all that is known of its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentRow {
    /// What the view needs of it.
    pub view: ViewRow,
    /// The name of its client.
    pub client: String,
    /// The file's name as the client sent it.
    pub file: Vec<u8>,
    /// From 1.
    pub version: u32,
    /// Whether it is the newest version of its file.
    pub is_newest: bool,
    /// POSIX checksum of the content.
    pub cksum: u32,
    /// Digest of the content, once a check has found it good.
    pub blake3: Option<[u8; 32]>,
    /// What a check found wrong with the content and could not mend.
    pub damage: Option<String>,
}

/// How much there is to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScrubTotals {
    /// The row of the version that came last.
    pub last_row: i64,
    /// Versions.
    pub versions: u64,
    /// Bytes of their contents.
    pub bytes: u64,
}

/// SQL for contents: [`content_row`] reads the columns.
macro_rules! contents {
    () => {
        concat!(
            "SELECT ",
            view_columns!(),
            ", clients.name, files.name, version, version = newest, cksum,
               (SELECT blake3 FROM digests WHERE digests.row = versions.row),
               (SELECT fault FROM damaged WHERE damaged.row = versions.row)
             FROM versions CROSS JOIN files USING (file) CROSS JOIN clients USING (client)
             WHERE clients.name IS NOT NULL AND "
        )
    };
}

impl Reader {
    /// How much there is to check. Versions of clients that are being removed do not count.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn scrub_totals(&self) -> Result<ScrubTotals, CatalogError> {
        let sql = "SELECT ifnull(max(row), 0), count(*), ifnull(sum(size), 0) FROM versions
                   CROSS JOIN files USING (file) CROSS JOIN clients USING (client) WHERE clients.name IS NOT NULL";
        let totals = self.connection.query_row(sql, [], |row| {
            let number = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
            Ok(ScrubTotals { last_row: row.get(0)?, versions: number(1)?, bytes: number(2)? })
        });
        totals.map_err(CatalogError::while_doing("counting versions"))
    }

    /// How many starts of the server the catalog knows of, which is the number of the newest: nobody writes contents of
    /// earlier ones any more.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn starts(&self) -> Result<u64, CatalogError> {
        let number =
            self.connection.query_row("SELECT number FROM starts", [], |row| row.get::<_, i64>(0));
        number
            .map(i64::cast_unsigned)
            .map_err(CatalogError::while_doing("reading the number of starts"))
    }

    /// The next versions in the order in which they came, after `row` and not after `last`. An empty page is the end.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn contents_after(&self, row: i64, last: i64) -> Result<Vec<ContentRow>, CatalogError> {
        let sql = concat!(contents!(), "row > ?1 AND row <= ?2 ORDER BY row LIMIT ?3");
        let params = params![row, last, CATALOG_PAGE_ROWS as i64];
        self.page(sql, params, content_row, "listing contents to check")
    }

    /// The version at `row` as it is now; none if it is gone.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn content_at(&self, row: i64) -> Result<Option<ContentRow>, CatalogError> {
        let sql = concat!(contents!(), "row = ?1");
        Ok(self.page(sql, [row], content_row, "looking at a version again")?.pop())
    }

    /// How many versions are marked as damaged.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn damaged_versions(&self) -> Result<u64, CatalogError> {
        let found = self.connection.query_row("SELECT count(*) FROM damaged", [], |row| row.get(0));
        found
            .map(i64::cast_unsigned)
            .map_err(CatalogError::while_doing("counting damaged versions"))
    }

    /// Files whose newest version is marked as damaged, so that their clients must send them again: client, file name,
    /// version; the first `count` of them.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn to_send_again(&self, count: usize) -> Result<Vec<(String, Vec<u8>, u32)>, CatalogError> {
        let sql =
            "SELECT clients.name, files.name, version FROM damaged CROSS JOIN versions USING (row)
                   CROSS JOIN files USING (file) CROSS JOIN clients USING (client)
                   WHERE version = newest AND clients.name IS NOT NULL LIMIT ?1";
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        self.page(sql, [count as i64], read, "listing damaged files")
    }

    /// Whether any version refers to `blob`, or did until a removal that is not finished.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn refers_to(&self, blob: BlobId) -> Result<bool, CatalogError> {
        let sql =
            "SELECT 1 FROM versions WHERE blob = ?1 UNION ALL SELECT 1 FROM doomed WHERE blob = ?1";
        let found =
            self.connection.prepare_cached(sql).and_then(|mut query| query.exists([blob.to_row()]));
        found.map_err(CatalogError::while_doing("looking for a content"))
    }

    /// The number of the client, be it a removed one, whose folder in the view is `folder`.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn client_of_folder(&self, folder: &str) -> Result<Option<i64>, CatalogError> {
        let sql = "SELECT client FROM clients WHERE folder = ?1";
        Ok(self.page(sql, [folder], |row| row.get(0), "looking for a folder of the view")?.pop())
    }

    /// The entry of the view that a client's files need at `key` (a path as [`fold_key`] makes it): how its last
    /// component is spelled, and whether it is a file.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    ///
    /// [`fold_key`]: crate::storage::view_name::fold_key
    pub fn view_node(
        &self,
        client: i64,
        key: &str,
    ) -> Result<Option<(String, bool)>, CatalogError> {
        let sql = "SELECT spelling, is_file FROM view_nodes WHERE client = ?1 AND key = ?2";
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        Ok(self.page(sql, params![client, key], read, "looking for an entry of the view")?.pop())
    }

    /// What is wrong with the database itself: its structure, its constraints, its references. Empty if nothing is;
    /// cut off after the first [`SCRUB_CATALOG_FAULTS_MAX`].
    ///
    /// # Errors
    /// If it cannot be read far enough to say even that.
    pub fn faults(&self) -> Result<Vec<String>, CatalogError> {
        let failed = CatalogError::while_doing("checking it");
        let integrity = format!("PRAGMA integrity_check({SCRUB_CATALOG_FAULTS_MAX})");
        let mut faults: Vec<String> = self.lines(&integrity, |row| row.get(0)).map_err(&failed)?;
        faults.retain(|line| line != "ok");
        let references = |row: &Row<'_>| {
            let (table, number, parent): (String, Option<i64>, String) =
                (row.get(0)?, row.get(1)?, row.get(2)?);
            let number = number.map_or_else(|| "?".to_owned(), |number| number.to_string());
            Ok(format!("row {number} of {table} refers to a row of {parent} that is not there"))
        };
        faults.extend(self.lines("PRAGMA foreign_key_check", references).map_err(&failed)?);
        let newest = "SELECT format('file %d: version %d is called the newest, %s is', file, newest,
                          ifnull((SELECT max(version) FROM versions WHERE versions.file = files.file), 'none'))
                      FROM files WHERE newest IS NOT (SELECT max(version) FROM versions WHERE versions.file = files.file)";
        faults.extend(self.lines(newest, |row| row.get(0)).map_err(&failed)?);
        faults.truncate(SCRUB_CATALOG_FAULTS_MAX);
        Ok(faults)
    }

    fn lines(
        &self,
        sql: &str,
        read: impl FnMut(&Row<'_>) -> SqlResult<String>,
    ) -> SqlResult<Vec<String>> {
        self.connection.prepare(sql)?.query_map([], read)?.take(SCRUB_CATALOG_FAULTS_MAX).collect()
    }
}

fn content_row(row: &Row<'_>) -> SqlResult<ContentRow> {
    Ok(ContentRow {
        view: view_row(row)?,
        client: row.get(10)?,
        file: row.get(11)?,
        version: row.get(12)?,
        is_newest: row.get(13)?,
        cksum: row.get(14)?,
        blake3: row.get(15)?,
        damage: row.get(16)?,
    })
}
