//! The session of a d1100 connection: one request. What lasts longer is in [`Shared`](super::Shared).
//!
//! ```text
//!  ExpectRequest ──1100|1101|1102──> AwaitExchange ──2100|2102|2105──> Closed
//!       ├──────1103──> Receiving ──last chunk──> AwaitSum ──2103──> Closed, the upload is held for its verdict
//!       ├──────1104──> AwaitPublish ──2104──> Closed
//!       └──1105|1106──2104──> Closed
//! ```
//! Anything else is answered with 2107.

use std::net::IpAddr;

use coffer_protocol::decode::Finished;
use coffer_protocol::reply::Reply;
use coffer_protocol::request::{Request, Verdict};
use coffer_protocol::{ClientId, Dialect};

use super::exchange::{Exchange, Progress, Reservation};
use super::refusal::{Reason, Refusal};
use super::shared::{FileKey, Held};
use super::upload::Open;
use super::{Context, Offer, Outcome, Step, Waiting};
use crate::job::{Done, UploadFailure, UploadId, Work};

/// One d1100 connection's session.
pub struct Session {
    peer: IpAddr,
    state: State,
}

enum State {
    ExpectRequest,
    AwaitExchange(Exchange),
    Receiving(ClientId, Open),
    AwaitSum(ClientId, Open),
    AwaitPublish(FileKey),
    /// 2103 is on its way.
    Answered(FileKey, UploadId),
    /// Over, or in the middle of a transition.
    Closed,
}

impl Session {
    pub(super) fn new(peer: IpAddr) -> Self {
        Self { peer, state: State::ExpectRequest }
    }

    pub(super) fn waiting(&self) -> Waiting {
        match self.state {
            State::ExpectRequest => Waiting::First,
            State::Receiving(..) | State::Answered(..) | State::Closed => Waiting::Next,
            State::AwaitExchange(_) | State::AwaitSum(..) | State::AwaitPublish(_) => {
                Waiting::Worker
            }
        }
    }

    pub(super) fn request(&mut self, cx: &mut Context, id: ClientId, request: &Request) -> Outcome {
        match *request {
            Request::Register { name } => {
                self.state = State::AwaitExchange(Exchange::register(cx, self.peer, name)?);
                Ok(Step::Await)
            }
            Request::Reconnect { name } => {
                self.state = State::AwaitExchange(Exchange::reconnect(cx, self.peer, id, name)?);
                Ok(Step::Await)
            }
            Request::PublicKey { name, key } => self.public_key(cx, id, name, key),
            Request::Verdict { verdict, file } => self.verdict(cx, id, verdict, file),
            Request::Packet(_) | Request::Upload { .. } => Err(Reason::OutOfTurn.error()),
        }
    }

    fn public_key(&mut self, cx: &mut Context, id: ClientId, name: &[u8], key: &[u8]) -> Outcome {
        let no_reservation = || Reason::NoReservation.error();
        let name = std::str::from_utf8(name).map_err(|_| no_reservation())?;
        if cx.shared.reserved_id(name, cx.now) != Some(id) {
            return Err(no_reservation());
        }
        let reservation = Reservation { id, name: name.to_owned() };
        let exchange = Exchange::public_key(cx, Dialect::D1100, reservation, key);
        self.state = State::AwaitExchange(exchange);
        Ok(Step::Await)
    }

    fn verdict(
        &mut self,
        cx: &mut Context,
        id: ClientId,
        verdict: Verdict,
        file: &[u8],
    ) -> Outcome {
        if cx.shared.keys.get(&id, cx.now).is_none() {
            return Err(Reason::NoSessionKey.error());
        }
        let key = (id, file.to_vec());
        let Some(held) = cx.shared.held.get_mut(&key, cx.now) else {
            return Err(Reason::UnknownFile.error());
        };
        let acknowledged = Ok(Step::Reply(Reply::Acknowledged { id }));
        match (&*held, verdict) {
            (Held::Waiting(received), Verdict::Right) => {
                let upload = received.upload;
                *held = Held::Publishing(upload);
                cx.push(Work::Publish(upload));
                self.state = State::AwaitPublish(key);
                Ok(Step::Await)
            }
            (Held::Waiting(received), Verdict::SendingAgain | Verdict::GivingUp) => {
                let (upload, attempt) = (received.upload, received.attempt);
                *held = Held::Wrong(attempt);
                cx.push(Work::Discard(upload));
                acknowledged
            }
            (Held::Published, Verdict::Right)
            | (Held::Wrong(_), Verdict::SendingAgain | Verdict::GivingUp) => acknowledged,
            _ => Err(Reason::UnknownFile.error()),
        }
    }

    pub(super) fn begin(&mut self, cx: &mut Context, offer: &Offer) -> Result<UploadId, Refusal> {
        let Some(key) = cx.shared.keys.get(&offer.client, cx.now).cloned() else {
            return Err(Reason::NoSessionKey.error());
        };
        let before = match cx.shared.held.get(&(offer.client, offer.file.to_vec()), cx.now) {
            Some(Held::Wrong(attempt)) => *attempt,
            _ => None,
        };
        let open = Open::begin(cx, Dialect::D1100, offer.client, &key, offer, before)?;
        let upload = open.upload;
        self.state = State::Receiving(offer.client, open);
        Ok(upload)
    }

    pub(super) fn content_complete(&mut self, cx: &mut Context) {
        self.state = match std::mem::replace(&mut self.state, State::Closed) {
            State::Receiving(client, open) => {
                open.finish(cx);
                State::AwaitSum(client, open)
            }
            state => state,
        };
    }

    pub(super) fn complete(&mut self, cx: &mut Context, done: Done) -> Outcome {
        match (std::mem::replace(&mut self.state, State::Closed), done) {
            (State::AwaitExchange(exchange), done) => self.exchanged(cx, exchange, done),
            (State::AwaitSum(client, open), Done::Received(_, result)) => {
                self.summed(cx, client, open, result)
            }
            (State::AwaitPublish(key), Done::Published(upload, result)) => {
                published(cx, &key, upload, result)
            }
            (_, done) => unreachable!("nobody asked for {done:?}"),
        }
    }

    fn exchanged(&mut self, cx: &mut Context, exchange: Exchange, done: Done) -> Outcome {
        match exchange.complete(cx, Dialect::D1100, done)? {
            Progress::Waiting(exchange) => {
                self.state = State::AwaitExchange(exchange);
                Ok(Step::Await)
            }
            Progress::Reserved { reservation, reply } => {
                let Reservation { id, name } = reservation;
                if !cx.shared.keep_reserved(&name, id, cx.connection, cx.now) {
                    let reason = Reason::Limit("too many registrations wait for their key");
                    return Err(reason.with(Reply::RegistrationRefused));
                }
                Ok(Step::Reply(reply))
            }
            Progress::Keyed { client, key, reply } => {
                cx.shared.keys.insert(client.id, key, cx.now);
                Ok(Step::Reply(reply))
            }
        }
    }

    /// A whole file arrived: it is held for a verdict, in the place of an earlier attempt at the same name.
    fn summed(
        &mut self,
        cx: &mut Context,
        client: ClientId,
        open: Open,
        result: Result<Finished, UploadFailure>,
    ) -> Outcome {
        let finished = result.map_err(|failure| Reason::from(failure).error())?;
        let received = open.received(&finished);
        let reply = received.reply(client);
        let key = (client, received.file.clone());
        self.state = State::Answered(key.clone(), received.upload);
        for gone in cx.shared.held.insert(key, Held::Waiting(received), cx.now) {
            if let Some(upload) = gone.unjudged() {
                cx.push(Work::Discard(upload));
            }
        }
        Ok(Step::Reply(reply))
    }

    pub(super) fn close(&mut self, cx: &mut Context, broken: bool) {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Receiving(_, open) => open.break_off(cx),
            // Who did not get the checksum cannot mean that it is wrong: the same ciphertext is read the same way again.
            State::Answered(key, upload) if broken => {
                if let Some(Held::Waiting(received)) = cx.shared.held.get_mut(&key, cx.now)
                    && received.upload == upload
                {
                    received.attempt = None;
                }
            }
            _ => {}
        }
    }
}

fn published(
    cx: &mut Context,
    key: &FileKey,
    upload: UploadId,
    result: Result<u32, UploadFailure>,
) -> Outcome {
    let id = key.0;
    // Another attempt at the same name may have taken the place meanwhile; it is not ours to change.
    let ours = matches!(cx.shared.held.get_mut(key, cx.now), Some(Held::Publishing(publishing)) if *publishing == upload);
    match result {
        Ok(_version) => {
            if ours && let Some(held) = cx.shared.held.get_mut(key, cx.now) {
                *held = Held::Published;
            }
            Ok(Step::Reply(Reply::Acknowledged { id }))
        }
        Err(failure) => {
            if ours {
                cx.shared.held.remove(key);
            }
            Err(Reason::from(failure).error())
        }
    }
}
