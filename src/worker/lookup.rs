//! Looking clients up.

use coffer_protocol::ClientId;
use coffer_protocol::v4::fingerprint::Pin;
use rand::{Rng, RngExt};

use super::unreadable;
use crate::catalog::Reader;
use crate::job::{Failure, KnownClient, Lookup, Usage};

/// What the catalog knows of a name, and an id that nobody has.
pub(super) fn find_client(
    reader: &Reader,
    name: &str,
    rng: &mut impl Rng,
) -> Result<Lookup, Failure> {
    let client = reader.client_by_name(name).map_err(|error| unreadable(&error))?;
    let client = client.map(|client| KnownClient {
        id: client.id,
        public_key: client.public_key,
        is_secure: client.is_secure,
    });
    Ok(Lookup { client, fresh_id: fresh_id(reader, rng)? })
}

/// Draws until an id is safe on the wire and unknown: almost always at the first or second try.
pub(super) fn fresh_id(reader: &Reader, rng: &mut impl Rng) -> Result<ClientId, Failure> {
    loop {
        if let Some(id) = ClientId::from_random(rng.random())
            && reader.client_by_id(&id).map_err(|error| unreadable(&error))?.is_none()
        {
            return Ok(id);
        }
    }
}

/// What the client of this key stores; nothing if the key is nobody's, or not any more.
pub(super) fn usage(reader: &Reader, pin: &Pin) -> Result<Option<Usage>, Failure> {
    let client = reader.client_by_pin(&pin.0).map_err(|error| unreadable(&error))?;
    let Some(client) = client.filter(|client| !client.is_revoked) else { return Ok(None) };
    let stored = reader.usage(client.client).map_err(|error| unreadable(&error))?;
    let quota = client.quota;
    Ok(Some(Usage { versions: stored.versions, bytes: stored.bytes, quota }))
}
