//! The database file: how connections to it are made, and what its tables are.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::CatalogError;
use crate::limits::{
    CATALOG_BUSY_WAIT_MAX, CATALOG_STATEMENTS, CATALOG_WAL_BYTES_MAX, CATALOG_WAL_PAGES,
};

/// One step per schema version: `MIGRATIONS[n]` leads from version n to n + 1. Steps are added, never changed.
const MIGRATIONS: [&str; 3] = [SCHEMA_1, SCHEMA_2, SCHEMA_3];

const SCHEMA_1: &str = "
-- One row: how often a server was started on this folder.
CREATE TABLE starts (number INTEGER NOT NULL) STRICT;
INSERT INTO starts VALUES (0);

-- Without a name, a client is being removed; until that is done nobody else gets its folder.
-- Without a key, the name may be registered again. Numbers are not used twice: the view relies on it.
CREATE TABLE clients (
    client INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB UNIQUE CHECK (length(id) = 16),
    name TEXT UNIQUE,
    public_key BLOB,
    registered_at INTEGER NOT NULL,     -- ms since 1970, UTC
    folder TEXT NOT NULL,               -- in the view
    folder_key TEXT NOT NULL UNIQUE,    -- the folder as the least discerning file system sees it
    CHECK ((id IS NULL) = (name IS NULL))
) STRICT;

-- Every file has a version.
CREATE TABLE files (
    file INTEGER PRIMARY KEY,
    client INTEGER NOT NULL REFERENCES clients,
    newest INTEGER NOT NULL,            -- version
    name BLOB NOT NULL,                 -- as the client sent it
    path TEXT NOT NULL,                 -- in the view, below the client's folder
    UNIQUE (client, name)
) STRICT;

-- The row is the order in which versions came, never used twice. The content comes last so that the rest can be read
-- without it.
CREATE TABLE versions (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    file INTEGER NOT NULL REFERENCES files,
    version INTEGER NOT NULL CHECK (version >= 1),
    size INTEGER NOT NULL,              -- bytes
    cksum INTEGER NOT NULL,             -- POSIX
    dialect INTEGER NOT NULL,
    received_at INTEGER NOT NULL,       -- ms since 1970, UTC
    blob INTEGER,
    content BLOB,
    UNIQUE (file, version),
    CHECK ((blob IS NULL) != (content IS NULL))
) STRICT;
CREATE UNIQUE INDEX versions_by_blob ON versions (blob) WHERE blob IS NOT NULL;

-- Every file and folder of the view, by its path as the least discerning file system sees it.
CREATE TABLE view_nodes (
    client INTEGER NOT NULL REFERENCES clients,
    key TEXT NOT NULL,
    spelling TEXT NOT NULL,             -- of the last component
    is_file INTEGER NOT NULL,
    PRIMARY KEY (client, key)
) STRICT, WITHOUT ROWID;

-- Contents that no version refers to any more, to be unlinked after a second look.
CREATE TABLE doomed (blob INTEGER PRIMARY KEY) STRICT;
";

const SCHEMA_2: &str = "
-- The digest of a content, from the first check that found its size and cksum right; later checks go by it. A table of
-- its own, because a column behind the content could only be read through it.
CREATE TABLE digests (
    row INTEGER PRIMARY KEY REFERENCES versions ON DELETE CASCADE,
    blake3 BLOB NOT NULL CHECK (length(blake3) = 32)
) STRICT;

-- Versions whose content is not what was received, and could not be mended.
CREATE TABLE damaged (
    row INTEGER PRIMARY KEY REFERENCES versions ON DELETE CASCADE,
    found_at INTEGER NOT NULL,          -- ms since 1970, UTC
    fault TEXT NOT NULL
) STRICT;
";

const SCHEMA_3: &str = "
-- Whose name belongs to the secure door: the classic one is closed to it. Such a client has no public_key.
ALTER TABLE clients ADD COLUMN secure INTEGER NOT NULL DEFAULT 0 CHECK (secure IN (0, 1));
ALTER TABLE clients ADD COLUMN quota INTEGER CHECK (quota >= 0);    -- bytes that it may store; NULL: any number

-- The keys by which clients of the secure door are known. A revoked one stays, so that it is never let in again.
CREATE TABLE keys (
    pin BLOB PRIMARY KEY CHECK (length(pin) = 32),
    client INTEGER NOT NULL REFERENCES clients,
    enrolled_at INTEGER NOT NULL,       -- ms since 1970, UTC
    revoked_at INTEGER                  -- the same
) STRICT, WITHOUT ROWID;
CREATE INDEX keys_by_client ON keys (client);

-- The digest of a secret, never the secret. With a client the invitation is for one that there is.
CREATE TABLE invitations (
    secret BLOB PRIMARY KEY CHECK (length(secret) = 32),
    name TEXT NOT NULL,
    client INTEGER REFERENCES clients,
    created_at INTEGER NOT NULL,        -- ms since 1970, UTC
    expires_at INTEGER NOT NULL,        -- the same
    quota INTEGER CHECK (quota >= 0),   -- bytes
    used_at INTEGER,                    -- ms since 1970, UTC
    pin BLOB CHECK (length(pin) = 32),  -- of the key that used it
    CHECK ((used_at IS NULL) = (pin IS NULL))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX open_invitations ON invitations (name) WHERE used_at IS NULL;
CREATE INDEX invitations_by_client ON invitations (client) WHERE client IS NOT NULL;
";

/// A connection that writes, durably. The database must be there; it is brought into order first: its log copied
/// back, its structure checked, its schema up to date.
pub(super) fn open_for_server(path: &Path) -> Result<Connection, CatalogError> {
    let mut connection = open_writable(path)?;
    checkpoint(&connection)?;
    check(&connection)?;
    migrate(path, &mut connection)?;
    Ok(connection)
}

/// A connection that writes, durably, to the catalog of a server that may be running.
pub(super) fn open_beside_server(path: &Path) -> Result<Connection, CatalogError> {
    let connection = open_writable(path)?;
    check_schema(path, &connection)?;
    Ok(connection)
}

/// A connection that only reads.
pub(super) fn open_for_reading(path: &Path) -> Result<Connection, CatalogError> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    check_schema(path, &connection)?;
    Ok(connection)
}

/// Creates an empty database file that only its owner may read, whatever the process's umask; SQLite gives the files
/// beside it the same mode.
///
/// # Errors
/// Whatever the disk says, also if the file is there.
pub fn precreate(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map(drop)
}

/// Whether the database at `path` has no tables yet: a first start ended before it made them, or somebody emptied it.
///
/// # Errors
/// If it cannot be read or is no database.
pub fn is_blank(path: &Path) -> Result<bool, CatalogError> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    Ok(schema_version(&connection)? == 0)
}

fn open(path: &Path, access: OpenFlags) -> Result<Connection, CatalogError> {
    let failed = CatalogError::while_doing("opening it");
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(&failed)?;
    connection.busy_timeout(CATALOG_BUSY_WAIT_MAX).map_err(&failed)?;
    connection.set_prepared_statement_cache_capacity(CATALOG_STATEMENTS);
    connection.pragma_update(None, "trusted_schema", false).map_err(&failed)?;
    // Or SQLite makes a statement anew whenever a value is bound on which its plan might depend, a limit say.
    let one_plan = DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG;
    connection.set_db_config(one_plan, true).map_err(&failed)?;
    Ok(connection)
}

fn open_writable(path: &Path) -> Result<Connection, CatalogError> {
    let failed = CatalogError::while_doing("setting it up");
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let ignore = |_: &rusqlite::Row<'_>| Ok(());
    connection.pragma_update_and_check(None, "journal_mode", "wal", ignore).map_err(&failed)?;
    connection.pragma_update(None, "synchronous", "full").map_err(&failed)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(&failed)?;
    connection
        .pragma_update_and_check(None, "wal_autocheckpoint", CATALOG_WAL_PAGES, ignore)
        .map_err(&failed)?;
    connection
        .pragma_update_and_check(None, "journal_size_limit", CATALOG_WAL_BYTES_MAX, ignore)
        .map_err(&failed)?;
    Ok(connection)
}

/// Copies the write-ahead log back into the database and empties it.
pub(super) fn checkpoint(connection: &Connection) -> Result<(), CatalogError> {
    let failed = CatalogError::while_doing("copying back its log");
    let busy = connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
        .map_err(failed)?;
    if busy { Err(CatalogError::Busy) } else { Ok(()) }
}

fn check(connection: &Connection) -> Result<(), CatalogError> {
    let failed = CatalogError::while_doing("checking it");
    let verdict: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
    if verdict == "ok" { Ok(()) } else { Err(CatalogError::Corrupt(verdict)) }
}

/// The newest schema that this release knows.
const KNOWN: u32 = MIGRATIONS.len() as u32;

fn migrate(path: &Path, connection: &mut Connection) -> Result<(), CatalogError> {
    let found = schema_version(connection)?;
    if found > KNOWN {
        return Err(CatalogError::Newer { path: path.to_owned(), found, known: KNOWN });
    }
    let failed = CatalogError::while_doing("bringing its schema up to date");
    for (version, step) in (found + 1..).zip(&MIGRATIONS[found as usize..]) {
        let step_done = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(&failed)?;
        step_done.execute_batch(step).map_err(&failed)?;
        step_done.pragma_update(None, "user_version", version).map_err(&failed)?;
        step_done.commit().map_err(&failed)?;
    }
    Ok(())
}

fn check_schema(path: &Path, connection: &Connection) -> Result<(), CatalogError> {
    match schema_version(connection)? {
        KNOWN => Ok(()),
        found if found > KNOWN => {
            Err(CatalogError::Newer { path: path.to_owned(), found, known: KNOWN })
        }
        _ => Err(CatalogError::Older(path.to_owned())),
    }
}

fn schema_version(connection: &Connection) -> Result<u32, CatalogError> {
    let failed = CatalogError::while_doing("reading its schema version");
    connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::StatementStatus;

    #[test]
    fn a_statement_is_made_once_whatever_is_bound() {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let path = temp.path().join("catalog.db");
        precreate(&path).expect("a new file");
        let connection = open_for_server(&path).expect("the tables");
        let mut statement =
            connection.prepare("SELECT row FROM versions LIMIT ?1").expect("a statement");
        for limit in 1..4 {
            assert!(!statement.exists([limit]).expect("an empty table"));
        }
        assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
    }

    #[test]
    fn another_schema_is_refused() {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let path = temp.path().join("catalog.db");
        precreate(&path).expect("a new file");
        assert!(is_blank(&path).expect("an empty file is a blank database"));
        assert!(matches!(open_for_reading(&path), Err(CatalogError::Older(_))));
        let connection = open_for_server(&path).expect("the tables");
        assert!(!is_blank(&path).expect("a database"));
        open_for_reading(&path).expect("our schema");
        connection.pragma_update(None, "user_version", KNOWN + 1).expect("a write");
        for result in [open_for_server(&path), open_for_reading(&path), open_beside_server(&path)] {
            let error = result.expect_err("a newer schema");
            assert!(
                error.to_string().contains("start a release that is at least as new"),
                "{error}"
            );
        }
    }
}
