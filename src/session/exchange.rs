//! Registration and reconnection, as far as the dialects agree: a name is looked up, a public key is taken, the client
//! is made durable, and only then a session key is wrapped for it and goes out.
//!
//! ```text
//!   Register ──> Registering ──free──> (reserved) ──key──> Wrapping ──> Storing ──durable──> (keyed)
//!   Reconnect ─> Reconnecting ──known─────────────────────> Wrapping ──────────────────────> (keyed)
//!                     └──unknown, d825──> (reserved)
//! ```

use std::net::IpAddr;
use std::sync::Arc;

use coffer_protocol::cipher::SessionKey;
use coffer_protocol::name::check_client_name;
use coffer_protocol::reply::Reply;
use coffer_protocol::{ClientId, Dialect};

use super::Context;
use super::refusal::{Reason, Refusal};
use crate::job::{Done, KnownClient, Lookup, Work, WrappedKey};

/// A name that is being registered, and the id that it will have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reservation {
    pub(super) id: ClientId,
    pub(super) name: String,
}

/// An exchange that waits for a worker.
#[derive(Debug)]
pub(super) enum Exchange {
    Registering { name: String },
    Reconnecting { peer: IpAddr, name: String, id: ClientId },
    Wrapping { client: Reservation, to_store: Option<Vec<u8>> },
    Storing { client: Reservation, wrapped: WrappedKey },
}

/// How far an exchange is after a worker answered.
pub(super) enum Progress {
    /// It waits for the next worker.
    Waiting(Exchange),
    /// The name is free and reserved. `reply` says so.
    Reserved { reservation: Reservation, reply: Reply },
    /// The client has its session key.
    Keyed { client: Reservation, key: Arc<SessionKey>, reply: Reply },
}

impl Exchange {
    /// 825 / 1100.
    pub(super) fn register(cx: &mut Context, peer: IpAddr, name: &[u8]) -> Result<Self, Refusal> {
        let refused = |reason: Reason| reason.with(Reply::RegistrationRefused);
        let name = check_client_name(name).map_err(|error| refused(error.into()))?.to_owned();
        cx.shared.admission.register(peer, cx.now).map_err(refused)?;
        if !cx.shared.reserve(&name, cx.connection, cx.now) {
            return Err(refused(Reason::NameTaken(name)));
        }
        cx.push(Work::FindClient { name: name.clone() });
        Ok(Self::Registering { name })
    }

    /// 827 / 1102.
    pub(super) fn reconnect(
        cx: &mut Context,
        peer: IpAddr,
        id: ClientId,
        name: &[u8],
    ) -> Result<Self, Refusal> {
        let name = check_client_name(name).map_err(|error| Reason::from(error).error())?.to_owned();
        cx.push(Work::FindClient { name: name.clone() });
        Ok(Self::Reconnecting { peer, name, id })
    }

    /// 826 / 1101, for a name that was reserved before.
    pub(super) fn public_key(
        cx: &mut Context,
        dialect: Dialect,
        client: Reservation,
        key: &[u8],
    ) -> Self {
        cx.push(Work::WrapKey { dialect, public_key: key.to_vec(), session_key: None });
        Self::Wrapping { client, to_store: Some(key.to_vec()) }
    }

    /// A worker answered.
    pub(super) fn complete(
        self,
        cx: &mut Context,
        dialect: Dialect,
        done: Done,
    ) -> Result<Progress, Refusal> {
        match (self, done) {
            (Self::Registering { name }, Done::ClientFound(found)) => {
                let lookup = found.map_err(|failure| {
                    cx.shared.release(&name, cx.connection);
                    Reason::Failed(failure).error()
                })?;
                Self::registered(cx, name, &lookup)
            }
            (Self::Reconnecting { peer, name, id }, Done::ClientFound(found)) => {
                let lookup = found.map_err(|failure| Reason::Failed(failure).error())?;
                Self::reconnected(cx, dialect, peer, Reservation { id, name }, lookup)
            }
            (Self::Wrapping { client, to_store }, Done::KeyWrapped(result)) => {
                let wrapped = result.map_err(|error| Reason::from(error).error())?;
                Ok(Self::wrapped(cx, client, to_store, wrapped))
            }
            (Self::Storing { client, wrapped }, Done::ClientAdded(result)) => match result {
                Ok(true) => Ok(Self::stored(cx, client, wrapped)),
                Ok(false) => Err(Reason::NameTaken(client.name).error()),
                Err(failure) => Err(Reason::Failed(failure).error()),
            },
            (exchange, done) => unreachable!("{exchange:?} is not answered with {done:?}"),
        }
    }

    fn registered(cx: &mut Context, name: String, lookup: &Lookup) -> Result<Progress, Refusal> {
        if lookup.client.as_ref().is_some_and(|known| known.is_secure || known.public_key.is_some())
        {
            cx.shared.release(&name, cx.connection);
            return Err(Reason::NameTaken(name).with(Reply::RegistrationRefused));
        }
        let id = lookup.fresh_id;
        Ok(Progress::Reserved {
            reservation: Reservation { id, name },
            reply: Reply::Registered { id },
        })
    }

    fn reconnected(
        cx: &mut Context,
        dialect: Dialect,
        peer: IpAddr,
        Reservation { id, name }: Reservation,
        lookup: Lookup,
    ) -> Result<Progress, Refusal> {
        let refused = |reason: Reason| match dialect {
            Dialect::D825 => reason.error(),
            Dialect::D1100 => reason.with(Reply::ReconnectRefused { id }),
        };
        match lookup.client {
            Some(KnownClient { is_secure: true, .. }) => Err(refused(Reason::SecureName(name))),
            Some(KnownClient { id: known, public_key: Some(public_key), .. }) if known == id => {
                let session_key = match dialect {
                    Dialect::D825 => None,
                    Dialect::D1100 => cx.shared.keys.get(&id, cx.now).cloned(),
                };
                cx.push(Work::WrapKey { dialect, public_key, session_key });
                Ok(Progress::Waiting(Self::Wrapping {
                    client: Reservation { id, name },
                    to_store: None,
                }))
            }
            Some(KnownClient { public_key: Some(_), .. }) => Err(refused(Reason::WrongId(name))),
            _ if dialect == Dialect::D1100 && cx.shared.reserved_id(&name, cx.now) == Some(id) => {
                Err(Reason::NoSessionKey.error())
            }
            _ if dialect == Dialect::D1100 => Err(refused(Reason::UnknownName(name))),
            _ => Self::registers_anew(cx, peer, name, lookup.fresh_id),
        }
    }

    /// 827 with a name that nobody has.
    fn registers_anew(
        cx: &mut Context,
        peer: IpAddr,
        name: String,
        id: ClientId,
    ) -> Result<Progress, Refusal> {
        cx.shared.admission.register(peer, cx.now).map_err(Reason::error)?;
        if !cx.shared.reserve(&name, cx.connection, cx.now) {
            return Err(Reason::NameTaken(name).error());
        }
        let reservation = Reservation { id, name };
        Ok(Progress::Reserved { reservation, reply: Reply::ReconnectRefused { id } })
    }

    fn wrapped(
        cx: &mut Context,
        client: Reservation,
        to_store: Option<Vec<u8>>,
        wrapped: WrappedKey,
    ) -> Progress {
        match to_store {
            Some(public_key) => {
                cx.push(Work::AddClient { id: client.id, name: client.name.clone(), public_key });
                Progress::Waiting(Self::Storing { client, wrapped })
            }
            None => {
                let reply = Reply::Reconnected { id: client.id, wrapped: wrapped.wrapped };
                Progress::Keyed { client, key: wrapped.key, reply }
            }
        }
    }

    fn stored(cx: &mut Context, client: Reservation, wrapped: WrappedKey) -> Progress {
        cx.shared.release(&client.name, cx.connection);
        cx.shared.reservation_over(&client.name);
        let reply = Reply::Key { id: client.id, wrapped: wrapped.wrapped };
        Progress::Keyed { client, key: wrapped.key, reply }
    }
}
