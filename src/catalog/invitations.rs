//! Whose key may come in: invitations, and keys that are revoked. Written by commands, also beside a running server;
//! what becomes of an invitation is decided in `enroll`.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Result as SqlResult, Transaction, params};

use super::CatalogError;
use super::beside::in_transaction;
use super::schema::open_beside_server;
use crate::limits::INVITATION_KEPT;

/// A connection that invites and revokes.
#[derive(Debug)]
pub struct Invitations {
    connection: Connection,
}

/// By which door the holder of a name comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Nobody has the name.
    None,
    /// The classic one.
    Classic,
    /// The secure one.
    Secure,
}

/// An invitation to be issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewInvitation<'a> {
    /// The digest of its secret.
    pub secret: [u8; 32],
    /// Who is invited: a checked name.
    pub name: &'a str,
    /// Which door the name must belong to: [`Door::None`] invites a new client, [`Door::Classic`] adopts one with its
    /// files, [`Door::Secure`] is for another key of one, which then is its only one.
    pub holder: Door,
    /// Now, in milliseconds since 1970, UTC.
    pub created_at: i64,
    /// When it ends, in the same way.
    pub expires_at: i64,
    /// How many bytes the client may store; of a client that there is, none leaves it as it is.
    pub quota: Option<u64>,
}

/// What became of a [`NewInvitation`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Issued {
    /// It is open.
    Open {
        /// An earlier one for the same name is void by that.
        replaced: bool,
    },
    /// Nothing: the name belongs to this door.
    NotFor(Door),
}

/// What a revocation found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revoked {
    /// The door of the name.
    pub door: Door,
    /// Keys that were good until now.
    pub keys: usize,
    /// Invitations that were open until now.
    pub invitations: usize,
}

impl Invitations {
    /// Opens the database at `path`, which a server has made.
    ///
    /// # Errors
    /// If its schema is not the one of this release, or it cannot be read and written.
    pub fn open(path: &Path) -> Result<Self, CatalogError> {
        Ok(Self { connection: open_beside_server(path)? })
    }

    /// Issues an invitation; an open one for the same name is void from now on. Those that ended long ago are
    /// forgotten.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn issue(&mut self, new: &NewInvitation<'_>) -> Result<Issued, CatalogError> {
        in_transaction(&mut self.connection, "issuing an invitation", |catalog| {
            let (door, client) = holder(catalog, new.name)?;
            if door != new.holder {
                return Ok(Issued::NotFor(door));
            }
            let kept_ms = INVITATION_KEPT.as_millis() as i64;
            let forgotten = new.created_at.saturating_sub(kept_ms);
            catalog.execute("DELETE FROM invitations WHERE expires_at < ?1", [forgotten])?;
            let replaced = withdraw(catalog, new.name, new.created_at)?;
            let sql =
                "INSERT INTO invitations (secret, name, client, created_at, expires_at, quota)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let quota = new.quota.map(u64::cast_signed);
            let row = params![new.secret, new.name, client, new.created_at, new.expires_at, quota];
            catalog.execute(sql, row)?;
            Ok(Issued::Open { replaced: replaced > 0 })
        })
    }

    /// Revokes all keys of the client `name` as of `now_ms` (milliseconds since 1970, UTC), for good, and withdraws
    /// the open invitation for the name. What is stored stays.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn revoke(&mut self, name: &str, now_ms: i64) -> Result<Revoked, CatalogError> {
        in_transaction(&mut self.connection, "revoking a key", |catalog| {
            let (door, client) = holder(catalog, name)?;
            let sql = "UPDATE keys SET revoked_at = ?2 WHERE client = ?1 AND revoked_at IS NULL";
            let keys = catalog.execute(sql, params![client, now_ms])?;
            Ok(Revoked { door, keys, invitations: withdraw(catalog, name, now_ms)? })
        })
    }
}

/// The door of the name, and the client that has it.
fn holder(catalog: &Transaction<'_>, name: &str) -> SqlResult<(Door, Option<i64>)> {
    let sql = "SELECT secure, client FROM clients WHERE name = ?1";
    let found = catalog.query_row(sql, [name], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    Ok(match found {
        None => (Door::None, None),
        Some((false, client)) => (Door::Classic, Some(client)),
        Some((true, client)) => (Door::Secure, Some(client)),
    })
}

/// Takes the open invitation for the name back. Returns how many could still have been used.
fn withdraw(catalog: &Transaction<'_>, name: &str, now_ms: i64) -> SqlResult<usize> {
    let ended = "DELETE FROM invitations WHERE name = ?1 AND used_at IS NULL AND expires_at <= ?2";
    catalog.execute(ended, params![name, now_ms])?;
    catalog.execute("DELETE FROM invitations WHERE name = ?1 AND used_at IS NULL", [name])
}
