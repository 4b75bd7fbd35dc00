//! The secure door: one connection through TLS. Bytes in; frames to the session; jobs and records out. Pure: no socket,
//! no clock; what a handshake computes, a worker does.
//!
//! ```text
//!   Handshaking ──worker: complete──> Open ──refused for good | too slow──> Lingering ──peer closed | deadline──┐
//!        │ └──refused: alert────────────────────────────────────────────────^                                  │
//!        └──connection lost | peer closed───────────────────────────────────────────────────────────> Closing <┘
//! ```

mod channel;
mod handshake;
mod refusal;
mod session;

use std::net::SocketAddr;

use coffer_protocol::v4::frame::{self, FRAME_HEADER, FrameHeader};
use coffer_protocol::v4::message::{Answer, Request};

use crate::buffer::Buffer;
use crate::connection::Surroundings;
use crate::job::{Done, HandshakeFailure, Handshaken, Progress, Work};
use crate::limits::{
    FIRST_REQUEST_MAX, IDLE_MAX, LINGER_BYTES_MAX, LINGER_MAX, OUTBOX_MAX, PENALISED_RETRY,
    PROGRESS_INTERVAL,
};
use crate::moment::Moment;
use crate::outbox::Outbox;
use crate::session::{Blame, Context, Offence, Turn};

use channel::Channel;
use handshake::Handshake;
pub use handshake::Knock;
use refusal::Refusal;
use session::{Session, Step};

/// Bytes of a request's payload at most.
const CONTROL_MAX: usize = frame::CONTROL_MAX as usize;

/// What the server calls itself.
const SOFTWARE: &str = concat!("cofferd ", env!("CARGO_PKG_VERSION"));

/// One peer's connection through the secure door.
pub struct Connection {
    peer: SocketAddr,
    stage: Stage,
    outbox: Outbox,
    peer_closed: bool,
    /// When it was accepted, until it has said hello; then when it was last answered.
    since: Moment,
    /// When the frame that is arriving began to.
    frame_since: Moment,
    /// While a worker computes a flight of the handshake.
    turn: Option<Turn>,
}

enum Stage {
    Handshaking(Handshake),
    Open(Open),
    Lingering { since: Moment, discarded: usize },
    Closing,
}

/// A connection whose handshake is complete.
struct Open {
    channel: Channel,
    /// Bytes of frames that are not complete, or wait for an answer to the one before.
    inbox: Vec<u8>,
    session: Session,
}

impl Connection {
    /// A connection whose first bytes are still to be handed in. It was accepted at `since`.
    #[must_use]
    pub fn new(peer: SocketAddr, since: Moment) -> Self {
        Self {
            peer,
            stage: Stage::Handshaking(Handshake::default()),
            outbox: Outbox::default(),
            peer_closed: false,
            since,
            frame_since: since,
            turn: None,
        }
    }

    /// Makes room for others if nobody has proved here who they are.
    pub fn give_way(&mut self, cx: &mut Surroundings) {
        let is_stranger = match &self.stage {
            Stage::Handshaking(_) => true,
            Stage::Open(open) => open.session.is_stranger() && !open.session.is_awaiting(),
            Stage::Lingering { .. } | Stage::Closing => false,
        };
        if is_stranger {
            self.end(cx, Refusal::too_many("too many connections have not said who they are"));
        }
    }

    /// Whether more bytes may come.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        !self.peer_closed
            && match &self.stage {
                Stage::Handshaking(handshake) => handshake.wants_bytes(),
                Stage::Open(open) => !open.session.is_awaiting(),
                Stage::Lingering { .. } => true,
                Stage::Closing => false,
            }
    }

    /// Takes a buffer with what was received.
    pub fn receive(&mut self, cx: &mut Surroundings, buffer: Buffer) {
        self.take(cx, buffer.filled());
        cx.pool.give(buffer);
    }

    fn take(&mut self, cx: &mut Surroundings, bytes: &[u8]) {
        match &mut self.stage {
            Stage::Handshaking(handshake) => match handshake.receive(bytes) {
                Ok(()) => self.compute(cx),
                Err(_) => self.end(cx, Refusal::protocol("the handshake does not end")),
            },
            Stage::Open(open) => {
                let was_empty = open.inbox.is_empty();
                let closed = open.channel.receive(bytes, &mut open.inbox, &mut self.outbox);
                if was_empty {
                    self.frame_since = cx.session.now;
                }
                self.taken(cx, closed);
            }
            Stage::Lingering { discarded, .. } => {
                *discarded += bytes.len();
                if *discarded > LINGER_BYTES_MAX {
                    self.lost();
                }
            }
            Stage::Closing => {}
        }
    }

    /// Has a flight computed, if it is whole and it is this peer's turn.
    fn compute(&mut self, cx: &mut Surroundings) {
        let Stage::Handshaking(handshake) = &mut self.stage else { return };
        if !handshake.is_whole() {
            return;
        }
        let (shared, now) = (&mut cx.session.shared, cx.session.now);
        match shared.penalties.begin_handshake(self.peer.ip(), now) {
            Some(turn) => {
                self.turn = Some(turn);
                let flight = handshake.take();
                cx.session.push(Work::Handshake(Box::new(flight)));
            }
            None => self.frame_since = now,
        }
    }

    /// Records were taken; or they were none, and an alert says so.
    fn taken(&mut self, cx: &mut Surroundings, closed: Result<bool, channel::ChannelError>) {
        match closed {
            Ok(closed) => {
                self.advance(cx);
                if closed {
                    self.end_of_input(cx);
                }
            }
            Err(error) => {
                self.penalise(cx, Offence::Protocol);
                self.log(&mut cx.session, Blame::Protocol, &format!("broke TLS: {error}"));
                self.linger(cx.session.now);
            }
        }
    }

    /// The peer will send no more. What it asked for before is still answered.
    pub fn end_of_input(&mut self, cx: &mut Surroundings) {
        self.peer_closed = true;
        self.close_if_done(cx.session.now);
    }

    /// The connection is broken: nothing can be answered any more.
    pub fn lost(&mut self) {
        self.outbox.clear();
        self.stage = Stage::Closing;
    }

    /// A worker answered.
    pub fn complete(&mut self, cx: &mut Surroundings, done: Done) {
        match done {
            Done::Handshake(handshaken) => self.handshaken(cx, *handshaken),
            done => {
                let Stage::Open(open) = &mut self.stage else { return };
                let Some((stream, result)) = open.session.complete(done) else { return };
                self.answer(cx, stream, result);
                self.advance(cx);
            }
        }
        self.close_if_done(cx.session.now);
    }

    fn handshaken(&mut self, cx: &mut Surroundings, handshaken: Handshaken) {
        if let Some(turn) = self.turn.take() {
            cx.session.shared.penalties.end_handshake(turn);
        }
        let Stage::Handshaking(handshake) = &mut self.stage else { return };
        self.outbox.push_with(|bytes| bytes.extend_from_slice(&handshaken.to_send));
        match handshaken.outcome {
            Ok(Progress::Incomplete(tls)) => handshake.goes_on(tls),
            Ok(Progress::Complete(tls, peer)) => {
                let session = Session::new(self.peer.ip(), peer, cx.session.now);
                let channel = Channel::new(tls);
                self.stage = Stage::Open(Open { channel, inbox: Vec::new(), session });
                // What came with the last flight.
                self.take(cx, &[]);
            }
            Err(failure) => {
                let blame = match failure {
                    HandshakeFailure::Peer(_) => Blame::Protocol,
                    HandshakeFailure::Ours(_) => Blame::Ours,
                };
                if blame == Blame::Protocol {
                    self.penalise(cx, Offence::Handshake);
                }
                self.log(&mut cx.session, blame, &failure.to_string());
                self.linger(cx.session.now);
            }
        }
    }

    /// Does what whole frames ask for, until one has to be waited for.
    fn advance(&mut self, cx: &mut Surroundings) {
        while let Stage::Open(open) = &mut self.stage
            && !open.session.is_awaiting()
        {
            match next_frame(&open.inbox) {
                Ok(None) => break,
                Ok(Some((header, request, length))) => {
                    open.inbox.drain(..length);
                    self.frame_since = cx.session.now;
                    match open.session.request(&mut cx.session, header.stream, request) {
                        Ok(Step::Answer(answer)) => self.answer(cx, header.stream, Ok(answer)),
                        Ok(Step::Await) => {}
                        Err(refusal) => self.answer(cx, header.stream, Err(refusal)),
                    }
                }
                Err(refusal) => self.answer(cx, 0, Err(refusal)),
            }
        }
        self.bound_memory(cx);
    }

    /// A peer that sends far ahead of answers, or does not read them, is cut off.
    fn bound_memory(&mut self, cx: &mut Surroundings) {
        let Stage::Open(open) = &mut self.stage else { return };
        if open.inbox.is_empty() {
            open.inbox = Vec::new();
        }
        if open.inbox.len() > FRAME_HEADER + CONTROL_MAX {
            self.end(cx, Refusal::protocol("more was sent than may wait for an answer"));
        } else if self.outbox.unsent().len() > OUTBOX_MAX {
            self.log(&mut cx.session, Blame::Protocol, "the peer does not read its answers");
            self.lost();
        }
    }

    fn answer(&mut self, cx: &mut Surroundings, stream: u32, result: Result<Answer, Refusal>) {
        let Stage::Open(open) = &mut self.stage else { return };
        self.since = cx.session.now;
        let (answer, refusal) = match result {
            Ok(answer) => (answer, None),
            Err(refusal) => (Answer::Error(refusal.message()), Some(refusal)),
        };
        let mut frame = Vec::new();
        answer.frame(stream, &mut frame);
        open.channel.send(&frame, &mut self.outbox);
        if let Some(refusal) = refusal {
            let is_final = refusal.is_final;
            if let Some(offence) = refusal.offence {
                cx.session.shared.penalties.penalise(self.peer.ip(), offence, cx.session.now);
            }
            if is_final {
                open.channel.close(&mut self.outbox);
            }
            self.log(&mut cx.session, refusal.blame, refusal.reason());
            if is_final {
                self.linger(cx.session.now);
            }
        }
    }

    /// Refuses to go on: said in a frame where there can be one.
    fn end(&mut self, cx: &mut Surroundings, refusal: Refusal) {
        match self.stage {
            Stage::Open(_) => self.answer(cx, 0, Err(refusal)),
            Stage::Handshaking(_) => {
                if let Some(offence) = refusal.offence {
                    self.penalise(cx, offence);
                }
                self.log(&mut cx.session, refusal.blame, refusal.reason());
                self.linger(cx.session.now);
            }
            Stage::Lingering { .. } | Stage::Closing => {}
        }
    }

    /// When the peer will have been too slow.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        match &self.stage {
            Stage::Handshaking(handshake) if handshake.is_computing() => None,
            Stage::Handshaking(handshake) if handshake.is_whole() => {
                Some((self.frame_since + PENALISED_RETRY).min(self.since + FIRST_REQUEST_MAX))
            }
            Stage::Handshaking(_) => Some(self.since + FIRST_REQUEST_MAX),
            Stage::Open(open) if open.session.is_awaiting() => None,
            Stage::Open(open) if open.session.is_silent() => Some(self.since + FIRST_REQUEST_MAX),
            Stage::Open(open) if !open.inbox.is_empty() => {
                Some(self.frame_since + PROGRESS_INTERVAL)
            }
            Stage::Open(_) => Some(self.since + IDLE_MAX),
            Stage::Lingering { since, .. } => Some(*since + LINGER_MAX),
            Stage::Closing => (!self.outbox.is_empty()).then_some(self.since + LINGER_MAX),
        }
    }

    /// The [deadline](Self::deadline) has come.
    pub fn expire(&mut self, cx: &mut Surroundings) {
        match &self.stage {
            Stage::Handshaking(handshake)
                if handshake.is_whole() && cx.session.now < self.since + FIRST_REQUEST_MAX =>
            {
                self.compute(cx);
            }
            Stage::Handshaking(_) => {
                self.end(cx, Refusal::unfinished());
            }
            Stage::Open(open) if !open.inbox.is_empty() => {
                self.end(cx, Refusal::too_slow("a frame did not arrive whole in time"));
            }
            Stage::Open(_) => self.end(cx, Refusal::too_slow("nothing was asked for too long")),
            Stage::Lingering { .. } | Stage::Closing => self.lost(),
        }
    }

    /// The server stops: a connection with nothing under way is closed.
    pub fn drain(&mut self, cx: &mut Surroundings) {
        match &self.stage {
            Stage::Open(open) if !open.session.is_awaiting() && open.inbox.is_empty() => {
                self.end(cx, Refusal::stopping());
            }
            Stage::Handshaking(handshake) if !handshake.is_computing() => self.lost(),
            _ => {}
        }
    }

    /// Records on their way.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Whether the sending side is to be shut once everything is sent.
    #[must_use]
    pub fn ends_output(&self) -> bool {
        matches!(self.stage, Stage::Lingering { .. })
    }

    /// Whether nothing remains to be sent or awaited.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        matches!(self.stage, Stage::Closing) && self.outbox.is_empty() && self.turn.is_none()
    }

    /// The connection's slot is about to be freed.
    pub fn close(&mut self, cx: &mut Surroundings) {
        cx.session.shared.admission.leave(self.peer.ip());
    }

    fn penalise(&self, cx: &mut Surroundings, offence: Offence) {
        cx.session.shared.penalties.penalise(self.peer.ip(), offence, cx.session.now);
    }

    fn linger(&mut self, now: Moment) {
        self.stage = Stage::Lingering { since: now, discarded: 0 };
    }

    /// A peer that will send no more, and has all answers, is done.
    fn close_if_done(&mut self, now: Moment) {
        let awaits_worker = match &self.stage {
            Stage::Handshaking(handshake) => handshake.is_computing(),
            Stage::Open(open) => open.session.is_awaiting(),
            Stage::Lingering { .. } | Stage::Closing => false,
        };
        if self.peer_closed && !awaits_worker && !matches!(self.stage, Stage::Closing) {
            self.since = now;
            self.stage = Stage::Closing;
        }
    }

    fn log(&self, cx: &mut Context, blame: Blame, reason: &str) {
        if !cx.shared.may_log(cx.now) {
            return;
        }
        let (peer, slot) = (self.peer, cx.connection.slot);
        match blame {
            Blame::Ours => tracing::warn!(%peer, slot, "{reason}"),
            Blame::Protocol | Blame::Request => tracing::info!(%peer, slot, "{reason}"),
        }
    }
}

/// The frame at the front, what it asks for and its length in all, if it is whole. Its header is checked before its
/// payload is awaited.
fn next_frame(inbox: &[u8]) -> Result<Option<(FrameHeader, Request, usize)>, Refusal> {
    let Some((header, rest)) = inbox.split_first_chunk() else { return Ok(None) };
    let header = FrameHeader::decode(header).map_err(|error| Refusal::protocol(&error))?;
    let length = header.length as usize;
    let Some(payload) = rest.get(..length) else { return Ok(None) };
    let request =
        Request::decode(header.kind, payload).map_err(|error| Refusal::protocol(&error))?;
    Ok(Some((header, request, FRAME_HEADER + length)))
}

#[cfg(test)]
mod tests;
