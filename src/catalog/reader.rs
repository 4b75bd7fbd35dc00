//! Questions about single clients and files, answered from the last commit.

use std::path::Path;

use coffer_protocol::ClientId;
use rusqlite::{Connection, OptionalExtension, Result as SqlResult, Row, params};

use super::schema::open_for_reading;
use super::{CatalogError, Content};
use crate::storage::BlobId;

/// A connection that only reads: one for each thread that asks. It never waits for the writer.
#[derive(Debug)]
pub struct Reader {
    pub(super) connection: Connection,
}

/// A client that is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its id on the wire.
    pub id: ClientId,
    /// Its name.
    pub name: String,
    /// Its public key, DER; none after an operator reset it, until the name is registered again.
    pub public_key: Option<Vec<u8>>,
}

/// A stored version of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its number, from 1.
    pub version: u32,
    /// Bytes of its content.
    pub size: u64,
    /// POSIX checksum of its content.
    pub cksum: u32,
    /// Its content, or where that is.
    pub content: Content,
    /// What a check found wrong with the content and could not mend.
    pub damage: Option<String>,
}

impl Reader {
    /// Opens the database at `path`, which a server has made.
    ///
    /// # Errors
    /// If its schema is not the one of this release, or it cannot be read.
    pub fn open(path: &Path) -> Result<Self, CatalogError> {
        Ok(Self { connection: open_for_reading(path)? })
    }

    /// The client of that name, exactly as spelled.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn client_by_name(&self, name: &str) -> Result<Option<Client>, CatalogError> {
        let sql = "SELECT id, name, public_key FROM clients WHERE name = ?1";
        let found = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut q| q.query_row([name], client).optional());
        found.map_err(CatalogError::while_doing("looking for a client"))
    }

    /// The client with that id.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn client_by_id(&self, id: &ClientId) -> Result<Option<Client>, CatalogError> {
        let sql = "SELECT id, name, public_key FROM clients WHERE id = ?1";
        let found = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut q| q.query_row([id.0], client).optional());
        found.map_err(CatalogError::while_doing("looking for a client"))
    }

    /// Whether the client has a file of that name, exactly as sent.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn file_exists(&self, client: &ClientId, name: &[u8]) -> Result<bool, CatalogError> {
        let sql = "SELECT 1 FROM clients CROSS JOIN files USING (client) WHERE clients.id = ?1 AND files.name = ?2";
        let found =
            self.connection.prepare_cached(sql).and_then(|mut q| q.exists(params![client.0, name]));
        found.map_err(CatalogError::while_doing("looking for a file"))
    }

    /// Whether the client has a file of that name that an upload may not replace if files may not be replaced: one whose
    /// newest version is not damaged.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn stands_in_the_way(&self, client: &ClientId, name: &[u8]) -> Result<bool, CatalogError> {
        let sql =
            "SELECT 1 FROM clients CROSS JOIN files USING (client) CROSS JOIN versions USING (file)
                   WHERE clients.id = ?1 AND files.name = ?2 AND version = newest
                   AND NOT EXISTS (SELECT 1 FROM damaged WHERE damaged.row = versions.row)";
        let found =
            self.connection.prepare_cached(sql).and_then(|mut q| q.exists(params![client.0, name]));
        found.map_err(CatalogError::while_doing("looking for a file"))
    }

    /// The newest version of a client's file that is not damaged; none if there is no such file or version.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn newest_good(&self, client: &ClientId, name: &[u8]) -> Result<Option<u32>, CatalogError> {
        let sql = concat!(
            "SELECT version FROM clients CROSS JOIN files USING (client) CROSS JOIN versions USING (file)
             WHERE clients.id = ?1 AND files.name = ?2 AND row = ",
            newest_good!()
        );
        let found = self.connection.prepare_cached(sql).and_then(|mut query| {
            query.query_row(params![client.0, name], |row| row.get(0)).optional()
        });
        found.map_err(CatalogError::while_doing("looking for a good version"))
    }

    /// Version `version` of a client's file, or the newest one, damaged or not.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn stored(
        &self,
        client: &ClientId,
        name: &[u8],
        version: Option<u32>,
    ) -> Result<Option<Stored>, CatalogError> {
        let sql = "SELECT version, size, cksum, blob, content, fault FROM clients
                   CROSS JOIN files USING (client) CROSS JOIN versions USING (file) LEFT JOIN damaged USING (row)
                   WHERE clients.id = ?1 AND files.name = ?2 AND version = ifnull(?3, newest)";
        let found = self.connection.prepare_cached(sql).and_then(|mut query| {
            query.query_row(params![client.0, name, version], stored).optional()
        });
        found.map_err(CatalogError::while_doing("looking for a version"))
    }
}

fn client(row: &Row<'_>) -> SqlResult<Client> {
    Ok(Client { id: ClientId(row.get(0)?), name: row.get(1)?, public_key: row.get(2)? })
}

fn stored(row: &Row<'_>) -> SqlResult<Stored> {
    let content = match row.get::<_, Option<i64>>(3)? {
        Some(blob) => Content::Blob(BlobId::from_row(blob)),
        None => Content::Inline(row.get(4)?),
    };
    Ok(Stored {
        version: row.get(0)?,
        size: row.get::<_, i64>(1)?.cast_unsigned(),
        cksum: row.get(2)?,
        content,
        damage: row.get(5)?,
    })
}
