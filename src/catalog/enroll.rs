//! What becomes of the secret of an invitation when somebody shows it. All checks are made in the writer's transaction,
//! so that no two can use the same invitation.
//!
//! ```text
//!   open ──in time, by a key that is nobody's or the client's own──> used ──by the same key──> used (already)
//!     └──too late, by a revoked key────> BadCode                       └──by any other────────> BadCode
//! ```

use coffer_protocol::ClientId;
use rusqlite::{OptionalExtension, Result as SqlResult, Row, params};

use super::{Outcome, Writer};

/// An invitation as far as enrolment goes by it.
struct Invitation {
    name: String,
    /// The client that it is for, if it is not for a new one.
    client: Option<i64>,
    expires_at: i64,
    quota: Option<i64>,
    /// Who has used it.
    pin: Option<[u8; 32]>,
}

/// A key that was enrolled once.
struct Key {
    client: i64,
    is_revoked: bool,
}

impl Writer {
    /// Lets the key `pin` in for the invitation with this (digest of a) secret. All other keys of the client are revoked
    /// by that.
    pub(super) fn enroll(
        &self,
        secret: &[u8; 32],
        pin: &[u8; 32],
        fresh_id: &ClientId,
        now_ms: i64,
    ) -> SqlResult<Outcome> {
        let Some(invitation) = self.invitation(secret)? else { return Ok(Outcome::BadCode) };
        match invitation.pin {
            Some(user) if user == *pin => return self.enrolled(pin, true),
            Some(_) => return Ok(Outcome::BadCode),
            None if invitation.expires_at <= now_ms => return Ok(Outcome::BadCode),
            None => {}
        }
        match self.key(pin)? {
            Some(Key { is_revoked: true, .. }) => return Ok(Outcome::BadCode),
            Some(key) if invitation.client != Some(key.client) => return Ok(Outcome::KeyTaken),
            _ => {}
        }
        let client = match invitation.client {
            Some(client) => self.take_in(client, &invitation)?,
            None => match self.add_secure_client(&invitation, fresh_id, now_ms)? {
                Ok(client) => client,
                Err(taken) => return Ok(taken),
            },
        };
        self.use_invitation(secret, client, pin, now_ms)?;
        self.enrolled(pin, false)
    }

    fn invitation(&self, secret: &[u8; 32]) -> SqlResult<Option<Invitation>> {
        let sql = "SELECT name, client, expires_at, quota, pin FROM invitations WHERE secret = ?1";
        let read = |row: &Row<'_>| {
            let (name, client, expires_at) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(Invitation { name, client, expires_at, quota: row.get(3)?, pin: row.get(4)? })
        };
        self.connection.prepare_cached(sql)?.query_row([secret], read).optional()
    }

    fn key(&self, pin: &[u8; 32]) -> SqlResult<Option<Key>> {
        let sql = "SELECT client, revoked_at IS NOT NULL FROM keys WHERE pin = ?1";
        let read = |row: &Row<'_>| Ok(Key { client: row.get(0)?, is_revoked: row.get(1)? });
        self.connection.prepare_cached(sql)?.query_row([pin], read).optional()
    }

    /// A client that there is: from the classic door, which is closed behind it, or of the secure one already.
    fn take_in(&self, client: i64, invitation: &Invitation) -> SqlResult<i64> {
        let sql = "UPDATE clients SET secure = 1, public_key = NULL, quota = ifnull(?2, quota)
                   WHERE client = ?1";
        self.connection.prepare_cached(sql)?.execute(params![client, invitation.quota])?;
        Ok(client)
    }

    /// A new client's number, or why there cannot be one.
    fn add_secure_client(
        &self,
        invitation: &Invitation,
        id: &ClientId,
        now_ms: i64,
    ) -> SqlResult<Result<i64, Outcome>> {
        let name = &invitation.name;
        let mut by_name =
            self.connection.prepare_cached("SELECT 1 FROM clients WHERE name = ?1")?;
        if by_name.exists([name])? {
            return Ok(Err(Outcome::NameTaken));
        }
        if self.id_owner(id)?.is_some() {
            return Ok(Err(Outcome::IdTaken));
        }
        let (folder, key) = self.numbers.client_folder(&self.connection, name)?;
        let sql = "INSERT INTO clients (id, name, registered_at, folder, folder_key, secure, quota)
                   VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6)";
        let row = params![id.0, name, now_ms, folder, key, invitation.quota];
        self.connection.prepare_cached(sql)?.insert(row).map(Ok)
    }

    fn use_invitation(
        &self,
        secret: &[u8; 32],
        client: i64,
        pin: &[u8; 32],
        now_ms: i64,
    ) -> SqlResult<()> {
        let params = params![client, pin, now_ms];
        for sql in [
            "UPDATE keys SET revoked_at = ?3 WHERE client = ?1 AND pin != ?2 AND revoked_at IS NULL",
            "INSERT INTO keys (pin, client, enrolled_at) VALUES (?2, ?1, ?3) ON CONFLICT (pin) DO NOTHING",
        ] {
            self.connection.prepare_cached(sql)?.execute(params)?;
        }
        let sql = "UPDATE invitations SET client = ?2, pin = ?3, used_at = ?4 WHERE secret = ?1";
        self.connection.prepare_cached(sql)?.execute(params![secret, client, pin, now_ms]).map(drop)
    }

    /// The outcome for a key that is let in, unless it was revoked since.
    fn enrolled(&self, pin: &[u8; 32], already: bool) -> SqlResult<Outcome> {
        let sql = "SELECT name, enrolled_at FROM keys CROSS JOIN clients USING (client)
                   WHERE pin = ?1 AND revoked_at IS NULL";
        let read = |row: &Row<'_>| {
            Ok(Outcome::Enrolled { name: row.get(0)?, enrolled_at: row.get(1)?, already })
        };
        let found = self.connection.prepare_cached(sql)?.query_row([pin], read).optional()?;
        Ok(found.unwrap_or(Outcome::BadCode))
    }
}
