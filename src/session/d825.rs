//! The session of a d825 connection: from the hello to the last file, all on one connection.
//!
//! ```text
//!  ExpectHello ──825|827──> AwaitExchange ──1600|1606──> ExpectKey ──826──> AwaitExchange ──1602──┐
//!                                └────────────────────────1605────────────────────────────────────┤
//!        ┌────────────────────────────────────────────────────────────────────────────────────────┘
//!        v
//!  ┌─> Ready ──828──> Receiving ──last packet──> AwaitSum ──1603──> ExpectVerdict ──900──> AwaitPublish ─┐
//!  │                      ^                                             │    └────901|902────┐           │
//!  │                      └──────────────────828, another file──────────┘                    │           │
//!  └──────────────────────────────────────────1603, or nothing to 901────────────────────────┴───────────┘
//! ```
//! Anything else is answered with 1607 and changes nothing.

use std::net::IpAddr;
use std::sync::Arc;

use coffer_protocol::cipher::SessionKey;
use coffer_protocol::decode::Finished;
use coffer_protocol::request::{Request, Verdict};
use coffer_protocol::{ClientId, Dialect};

use super::exchange::{Exchange, Progress, Reservation};
use super::refusal::{Reason, Refusal};
use super::upload::{Judged, Open, Received};
use super::{Context, Offer, Outcome, Step, Waiting};
use crate::job::{Done, UploadFailure, UploadId, Work};

/// One d825 connection's session.
pub struct Session {
    peer: IpAddr,
    state: State,
}

enum State {
    ExpectHello,
    ExpectKey(Reservation),
    AwaitExchange {
        exchange: Exchange,
        reserved: Option<Reservation>,
    },
    Ready(Client, Option<Judged>),
    Receiving(Client, Open),
    AwaitSum(Client, Open),
    ExpectVerdict(Client, Received),
    AwaitPublish(Client, Received),
    /// Over, or in the middle of a transition.
    Closed,
}

/// Who has proven to be somebody, by knowing a name and its id.
struct Client {
    id: ClientId,
    key: Arc<SessionKey>,
}

impl Session {
    pub(super) fn new(peer: IpAddr) -> Self {
        Self { peer, state: State::ExpectHello }
    }

    pub(super) fn waiting(&self) -> Waiting {
        match self.state {
            State::ExpectHello => Waiting::First,
            State::ExpectKey(_) | State::Ready(..) | State::Receiving(..) | State::Closed => {
                Waiting::Next
            }
            State::ExpectVerdict(..) => Waiting::Verdict,
            State::AwaitExchange { .. } | State::AwaitSum(..) | State::AwaitPublish(..) => {
                Waiting::Worker
            }
        }
    }

    pub(super) fn is_stranger(&self) -> bool {
        matches!(self.state, State::ExpectHello | State::ExpectKey(_))
    }

    pub(super) fn request(&mut self, cx: &mut Context, id: ClientId, request: &Request) -> Outcome {
        let peer = self.peer;
        match *request {
            Request::Register { name } => self.hello(|| Exchange::register(cx, peer, name)),
            Request::Reconnect { name } => self.hello(|| Exchange::reconnect(cx, peer, id, name)),
            Request::PublicKey { name, key } => self.public_key(cx, id, name, key),
            Request::Verdict { verdict, file } => self.verdict(cx, id, verdict, file),
            Request::Packet(_) | Request::Upload { .. } => Err(Reason::OutOfTurn.error()),
        }
    }

    fn hello(&mut self, start: impl FnOnce() -> Result<Exchange, Refusal>) -> Outcome {
        if !matches!(self.state, State::ExpectHello) {
            return Err(Reason::OutOfTurn.error());
        }
        self.state = State::AwaitExchange { exchange: start()?, reserved: None };
        Ok(Step::Await)
    }

    fn public_key(&mut self, cx: &mut Context, id: ClientId, name: &[u8], key: &[u8]) -> Outcome {
        let State::ExpectKey(reservation) = &self.state else {
            return Err(Reason::OutOfTurn.error());
        };
        if reservation.id != id || reservation.name.as_bytes() != name {
            return Err(Reason::NoReservation.error());
        }
        let reservation = reservation.clone();
        let exchange = Exchange::public_key(cx, Dialect::D825, reservation.clone(), key);
        self.state = State::AwaitExchange { exchange, reserved: Some(reservation) };
        Ok(Step::Await)
    }

    fn verdict(
        &mut self,
        cx: &mut Context,
        id: ClientId,
        verdict: Verdict,
        file: &[u8],
    ) -> Outcome {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::ExpectVerdict(client, received) if client.id == id && received.file == file => {
                Ok(self.judge(cx, client, received, verdict))
            }
            State::Ready(client, Some(judged))
                if client.id == id && judged.received.file == file =>
            {
                let outcome = judge_again(&client, &judged, verdict);
                self.state = State::Ready(client, Some(judged));
                outcome
            }
            state => {
                self.state = state;
                Err(Reason::UnknownFile.error())
            }
        }
    }

    fn judge(
        &mut self,
        cx: &mut Context,
        client: Client,
        received: Received,
        verdict: Verdict,
    ) -> Step {
        if verdict == Verdict::Right {
            cx.push(Work::Publish(received.upload));
            self.state = State::AwaitPublish(client, received);
            return Step::Await;
        }
        cx.push(Work::Discard(received.upload));
        let reply = received.reply(client.id);
        self.state = State::Ready(client, Some(Judged { received, verdict }));
        // The real client reads no answer to 901, and takes 1603 for the answer to 902.
        if verdict == Verdict::SendingAgain { Step::Silent } else { Step::Reply(reply) }
    }

    pub(super) fn begin(&mut self, cx: &mut Context, offer: &Offer) -> Result<UploadId, Refusal> {
        let client = match std::mem::replace(&mut self.state, State::Closed) {
            State::Ready(client, _) => client,
            State::ExpectVerdict(client, received) => {
                cx.push(Work::Discard(received.upload));
                client
            }
            state => {
                self.state = state;
                return Err(Reason::OutOfTurn.error());
            }
        };
        match Open::begin(cx, Dialect::D825, client.id, &client.key, offer, None) {
            Ok(open) => {
                let upload = open.upload;
                self.state = State::Receiving(client, open);
                Ok(upload)
            }
            Err(refusal) => {
                self.state = State::Ready(client, None);
                Err(refusal)
            }
        }
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

    pub(super) fn abandon(&mut self, cx: &mut Context) {
        self.state = match std::mem::replace(&mut self.state, State::Closed) {
            State::Receiving(client, open) => {
                open.break_off(cx);
                State::Ready(client, None)
            }
            state => state,
        };
    }

    pub(super) fn complete(&mut self, cx: &mut Context, done: Done) -> Outcome {
        match (std::mem::replace(&mut self.state, State::Closed), done) {
            (State::AwaitExchange { exchange, reserved }, done) => {
                self.exchanged(cx, exchange, reserved, done)
            }
            (State::AwaitSum(client, open), Done::Received(_, result)) => {
                self.summed(client, open, result)
            }
            (State::AwaitPublish(client, received), Done::Published(_, result)) => {
                self.published(client, received, result)
            }
            (_, done) => unreachable!("nobody asked for {done:?}"),
        }
    }

    fn exchanged(
        &mut self,
        cx: &mut Context,
        exchange: Exchange,
        reserved: Option<Reservation>,
        done: Done,
    ) -> Outcome {
        match exchange.complete(cx, Dialect::D825, done) {
            Ok(Progress::Waiting(exchange)) => {
                self.state = State::AwaitExchange { exchange, reserved };
                Ok(Step::Await)
            }
            Ok(Progress::Reserved { reservation, reply }) => {
                self.state = State::ExpectKey(reservation);
                Ok(Step::Reply(reply))
            }
            Ok(Progress::Keyed { client, key, reply }) => {
                self.state = State::Ready(Client { id: client.id, key }, None);
                Ok(Step::Reply(reply))
            }
            Err(refusal) => {
                self.state = reserved.map_or(State::ExpectHello, State::ExpectKey);
                Err(refusal)
            }
        }
    }

    fn summed(
        &mut self,
        client: Client,
        open: Open,
        result: Result<Finished, UploadFailure>,
    ) -> Outcome {
        match result {
            Ok(finished) => {
                let received = open.received(&finished);
                let reply = received.reply(client.id);
                self.state = State::ExpectVerdict(client, received);
                Ok(Step::Reply(reply))
            }
            Err(failure) => {
                self.state = State::Ready(client, None);
                Err(Reason::from(failure).error())
            }
        }
    }

    fn published(
        &mut self,
        client: Client,
        received: Received,
        result: Result<u32, UploadFailure>,
    ) -> Outcome {
        match result {
            Ok(_version) => {
                let reply = received.reply(client.id);
                self.state =
                    State::Ready(client, Some(Judged { received, verdict: Verdict::Right }));
                Ok(Step::Reply(reply))
            }
            Err(failure) => {
                self.state = State::Ready(client, None);
                Err(Reason::from(failure).error())
            }
        }
    }

    pub(super) fn close(&mut self, cx: &mut Context) {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::ExpectKey(reservation) => cx.shared.release(&reservation.name, cx.connection),
            State::Receiving(_, open) => open.break_off(cx),
            State::ExpectVerdict(_, received) => cx.push(Work::Discard(received.upload)),
            _ => {}
        }
    }
}

/// A verdict that comes again, or the 902 that the real client sends right behind its third 901.
fn judge_again(client: &Client, judged: &Judged, verdict: Verdict) -> Outcome {
    match (judged.verdict, verdict) {
        (Verdict::Right, Verdict::Right)
        | (Verdict::SendingAgain | Verdict::GivingUp, Verdict::GivingUp) => {
            Ok(Step::Reply(judged.received.reply(client.id)))
        }
        (Verdict::SendingAgain, Verdict::SendingAgain) => Ok(Step::Silent),
        _ => Err(Reason::UnknownFile.error()),
    }
}
