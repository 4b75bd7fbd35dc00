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
    /// Its public key of the classic protocol, DER; none after an operator reset it, until the name is registered again.
    pub public_key: Option<Vec<u8>>,
    /// Whether its name belongs to the secure door, and the classic one is closed to it.
    pub is_secure: bool,
}

/// A client of the secure door, by one of its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecureClient {
    /// The catalog's number for it, which no other gets later.
    pub client: i64,
    /// Its name.
    pub name: String,
    /// When the key was let in, in milliseconds since 1970, UTC.
    pub enrolled_at: i64,
    /// Whether the key was revoked since.
    pub is_revoked: bool,
    /// How many bytes it may store.
    pub quota: Option<u64>,
}

/// How much a client stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Versions of its files.
    pub versions: u64,
    /// Bytes of their contents.
    pub bytes: u64,
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
        let sql = "SELECT id, name, public_key, secure FROM clients WHERE name = ?1";
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
        let sql = "SELECT id, name, public_key, secure FROM clients WHERE id = ?1";
        let found = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut q| q.query_row([id.0], client).optional());
        found.map_err(CatalogError::while_doing("looking for a client"))
    }

    /// The client whose key has the pin `pin`, be it revoked.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn client_by_pin(&self, pin: &[u8; 32]) -> Result<Option<SecureClient>, CatalogError> {
        let sql = "SELECT client, name, enrolled_at, revoked_at IS NOT NULL, quota FROM keys
                   CROSS JOIN clients USING (client) WHERE pin = ?1";
        let found = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut query| query.query_row([pin], secure_client).optional());
        found.map_err(CatalogError::while_doing("looking for a key"))
    }

    /// How much the client with that number stores. The versions are added up, so it takes the longer the more there
    /// are: about a second for a million.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn usage(&self, client: i64) -> Result<Usage, CatalogError> {
        let sql =
            "SELECT count(*), ifnull(sum(size), 0) FROM files CROSS JOIN versions USING (file)
                   WHERE client = ?1";
        let count = |row: &Row<'_>, column| row.get::<_, i64>(column).map(i64::cast_unsigned);
        let read = |row: &Row<'_>| Ok(Usage { versions: count(row, 0)?, bytes: count(row, 1)? });
        let usage = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut query| query.query_row([client], read));
        usage.map_err(CatalogError::while_doing("counting what a client stores"))
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
    Ok(Client {
        id: ClientId(row.get(0)?),
        name: row.get(1)?,
        public_key: row.get(2)?,
        is_secure: row.get(3)?,
    })
}

fn secure_client(row: &Row<'_>) -> SqlResult<SecureClient> {
    Ok(SecureClient {
        client: row.get(0)?,
        name: row.get(1)?,
        enrolled_at: row.get(2)?,
        is_revoked: row.get(3)?,
        quota: row.get::<_, Option<i64>>(4)?.map(i64::cast_unsigned),
    })
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
