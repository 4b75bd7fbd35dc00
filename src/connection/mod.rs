//! One connection: bytes in, requests to the session, jobs and answers out. Pure: no socket, no clock.
//!
//! ```text
//!   Open ──answered (d1100) | fatal refusal | too slow──> Lingering ──peer closed | deadline──┐
//!    └──peer closed and nothing to do | connection lost──────────────────────────────> Closing ──jobs done──> freed
//! ```
//! What is here is a connection's life: stages, deadlines, answers. How its bytes are consumed is in `input`.

mod input;
mod packets;

use std::net::SocketAddr;

use coffer_protocol::Dialect;
use coffer_protocol::reply::Reply;

use crate::buffer::{Buffer, Pool};
use crate::job::Done;
use crate::limits::{
    CONTENT_JOBS_MAX, FIRST_REQUEST_MAX, IDLE_MAX, LEFTOVER_MAX, LINGER_BYTES_MAX, LINGER_MAX,
    OUTBOX_MAX, PROGRESS_BYTES, PROGRESS_INTERVAL, VERDICT_MAX,
};
use crate::moment::Moment;
use crate::outbox::Outbox;
use crate::session::{Blame, Context, Outcome, Reason, Refusal, Session, Step, Waiting};

use input::{Content, Input};

/// One peer's connection.
pub struct Connection {
    peer: SocketAddr,
    /// Why its first request will be refused, if it was refused when it was accepted.
    refused: Option<Reason>,
    stage: Stage,
    session: Option<(Dialect, Session)>,
    content: Content,
    /// Received and not yet consumed: small, unless a worker's answer is awaited.
    leftover: Input,
    outbox: Outbox,
    /// Uploads begun and pieces passed on that no worker has answered yet.
    jobs_in_flight: usize,
    peer_closed: bool,
    /// The connection broke, so that the last answer may not have arrived.
    broken: bool,
    /// When the connection last changed what it waits for.
    since: Moment,
    progress: Progress,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Open,
    Lingering { since: Moment, discarded: usize },
    Closing,
}

/// Bytes received since a moment.
#[derive(Clone, Copy, Default)]
struct Progress {
    since: Moment,
    bytes: u64,
}

/// What a connection needs from outside while it decides.
pub struct Surroundings<'a> {
    /// For its session.
    pub session: Context<'a>,
    /// Where buffers go back to.
    pub pool: &'a mut Pool,
}

impl Connection {
    /// A connection that was just accepted.
    #[must_use]
    pub fn new(peer: SocketAddr, now: Moment) -> Self {
        Self {
            peer,
            refused: None,
            stage: Stage::Open,
            session: None,
            content: Content::None,
            leftover: Input::default(),
            outbox: Outbox::default(),
            jobs_in_flight: 0,
            peer_closed: false,
            broken: false,
            since: now,
            progress: Progress { since: now, bytes: 0 },
        }
    }

    /// The same, refused already: its first request is answered with an error.
    #[must_use]
    pub fn refused(peer: SocketAddr, now: Moment, reason: Reason) -> Self {
        Self { refused: Some(reason), ..Self::new(peer, now) }
    }

    /// Why its first request will be refused, if it will be.
    #[must_use]
    pub fn refusal(&self) -> Option<&Reason> {
        self.refused.as_ref()
    }

    /// Whether no request has come, whole or in part.
    #[must_use]
    pub fn has_heard_nothing(&self) -> bool {
        self.stage == Stage::Open && self.session.is_none()
    }

    /// Whose it is.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// When it last changed what it waits for; at first, when it was accepted.
    #[must_use]
    pub fn since(&self) -> Moment {
        self.since
    }

    /// Makes room for others if nobody has said here who they are.
    pub fn give_way(&mut self, cx: &mut Surroundings) {
        let is_stranger = self.session.as_ref().is_none_or(|(_, session)| session.is_stranger());
        if self.stage == Stage::Open && is_stranger {
            let reason = Reason::Limit("too many connections have not said who they are");
            self.refuse_and_close(cx, reason.error());
        }
    }

    /// Whether more bytes may come.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        match self.stage {
            Stage::Open => {
                !self.peer_closed
                    && self.may_advance()
                    && self.leftover.rest().len() <= LEFTOVER_MAX
            }
            Stage::Lingering { .. } => !self.peer_closed,
            Stage::Closing => false,
        }
    }

    /// Whether it is in the middle of a large upload, which lets smaller requests pass.
    #[must_use]
    pub fn is_patient(&self) -> bool {
        match &self.content {
            Content::Packets(upload, _) | Content::Chunks { upload, .. } => upload.is_large,
            _ => false,
        }
    }

    /// Puts what is left over in front of a fresh buffer, before it is filled.
    pub fn prepare(&mut self, buffer: &mut Buffer) {
        buffer.extend(self.leftover.rest());
        self.leftover = Input::default();
    }

    /// Takes a buffer that was [prepared](Self::prepare) and then got `received` more bytes.
    pub fn receive(&mut self, cx: &mut Surroundings, buffer: Buffer, received: usize) {
        if let Stage::Lingering { discarded, .. } = &mut self.stage {
            *discarded += received;
            let too_much = *discarded > LINGER_BYTES_MAX;
            cx.pool.give(buffer);
            if too_much {
                self.lost();
            }
            return;
        }
        self.progress.bytes += received as u64;
        if self.progress.bytes >= PROGRESS_BYTES {
            self.restart_progress(cx.session.now);
        }
        self.advance(cx, Input { buffer, at: 0 });
    }

    /// The peer will send no more. What it asked for before is still answered.
    pub fn end_of_input(&mut self, cx: &mut Surroundings) {
        self.peer_closed = true;
        self.close_if_done(cx);
    }

    /// The connection is broken: nothing can be answered any more.
    pub fn lost(&mut self) {
        self.broken = true;
        self.outbox.clear();
        self.stage = Stage::Closing;
    }

    /// A worker answered.
    pub fn complete(&mut self, cx: &mut Surroundings, done: Done) {
        self.restart_progress(cx.session.now);
        match done {
            Done::Begun => self.jobs_in_flight -= 1,
            Done::PieceTaken(buffer) => {
                self.jobs_in_flight -= 1;
                cx.pool.give(buffer);
            }
            done => self.session_complete(cx, done),
        }
        let leftover = std::mem::take(&mut self.leftover);
        self.advance(cx, leftover);
        self.close_if_done(cx);
    }

    fn session_complete(&mut self, cx: &mut Surroundings, done: Done) {
        let Some((_, session)) = &mut self.session else { return };
        let outcome = session.complete(&mut cx.session, done);
        if outcome.is_err() {
            self.content = Content::None;
        }
        self.conclude(cx, outcome);
    }

    /// When the peer will have been too slow.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        match self.stage {
            Stage::Lingering { since, .. } => Some(since + LINGER_MAX),
            Stage::Closing => (!self.outbox.is_empty()).then_some(self.since + LINGER_MAX),
            Stage::Open if !self.may_advance() => None,
            Stage::Open => Some(match self.waiting() {
                Waiting::First if matches!(self.content, Content::None) => {
                    self.since + FIRST_REQUEST_MAX
                }
                _ if self.is_mid_request() => self.progress.since + PROGRESS_INTERVAL,
                Waiting::Verdict => self.since + VERDICT_MAX,
                _ => self.since + IDLE_MAX,
            }),
        }
    }

    /// The [deadline](Self::deadline) has come.
    pub fn expire(&mut self, cx: &mut Surroundings) {
        if self.stage != Stage::Open {
            return self.hang_up();
        }
        let why = match self.waiting() {
            _ if self.is_mid_request() => {
                "the peer stopped sending in the middle of a request or file"
            }
            Waiting::First => "the peer did not send a request",
            Waiting::Verdict => "the peer did not say whether the checksum is right",
            Waiting::Next | Waiting::Worker => "the peer was silent for too long",
        };
        self.refuse_and_close(cx, Reason::TooSlow(why).error());
    }

    /// Stops waiting for a peer that does not close. What the network took of the last answer is as good as received:
    /// only what is still unsent did not arrive.
    fn hang_up(&mut self) {
        if self.outbox.is_empty() {
            self.stage = Stage::Closing;
        } else {
            self.lost();
        }
    }

    /// The server stops: a connection with nothing under way is closed.
    pub fn drain(&mut self) {
        let idle =
            matches!(self.waiting(), Waiting::First | Waiting::Next) && !self.is_mid_request();
        if self.stage == Stage::Open && idle {
            self.stage = Stage::Closing;
        }
    }

    /// Answers on their way.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Whether the sending side is to be shut once everything is sent.
    #[must_use]
    pub fn ends_output(&self) -> bool {
        matches!(self.stage, Stage::Lingering { .. })
    }

    /// Whether nothing remains to be done or awaited.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.stage == Stage::Closing
            && self.outbox.is_empty()
            && self.jobs_in_flight == 0
            && self.waiting() != Waiting::Worker
    }

    /// The connection's slot is about to be freed: gives back what ends with it.
    pub fn close(&mut self, cx: &mut Surroundings) {
        cx.pool.give(std::mem::take(&mut self.leftover).buffer);
        if let Some((_, session)) = &mut self.session {
            session.close(&mut cx.session, self.broken);
        }
        cx.session.shared.admission.leave(self.peer.ip());
    }

    fn waiting(&self) -> Waiting {
        self.session.as_ref().map_or(Waiting::First, |(_, session)| session.waiting())
    }

    fn is_mid_request(&self) -> bool {
        let mid_content = matches!(
            self.content,
            Content::Packets(..) | Content::Chunks { .. } | Content::RefusedChunks { .. }
        );
        mid_content || !self.leftover.rest().is_empty()
    }

    fn may_advance(&self) -> bool {
        self.stage == Stage::Open
            && self.waiting() != Waiting::Worker
            && self.jobs_in_flight < CONTENT_JOBS_MAX
    }

    fn restart_progress(&mut self, now: Moment) {
        self.progress = Progress { since: now, bytes: 0 };
    }

    /// Answers, or not, as was decided.
    fn conclude(&mut self, cx: &mut Surroundings, outcome: Outcome) {
        self.since = cx.session.now;
        if self.stage == Stage::Closing {
            return;
        }
        let reply = match outcome {
            Ok(Step::Reply(reply)) => reply,
            Ok(Step::Silent | Step::Await) => return,
            Err(refusal) => {
                self.log(cx, &refusal.reason);
                refusal.reply
            }
        };
        self.answer(cx, &reply);
    }

    fn answer(&mut self, cx: &mut Surroundings, reply: &Reply) {
        let dialect = self.session.as_ref().map_or(Dialect::D825, |(dialect, _)| *dialect);
        self.outbox.push_with(|bytes| reply.push(dialect, bytes));
        if dialect == Dialect::D1100 {
            self.linger(cx.session.now);
        } else if self.outbox.unsent().len() > OUTBOX_MAX {
            self.log(cx, &Reason::TooSlow("the peer does not read its answers"));
            self.lost();
        }
    }

    /// Answers and then hangs up, politely: the peer can read the answer first.
    fn refuse_and_close(&mut self, cx: &mut Surroundings, refusal: Refusal) {
        self.conclude(cx, Err(refusal));
        if self.stage == Stage::Open {
            self.linger(cx.session.now);
        }
    }

    fn linger(&mut self, now: Moment) {
        self.stage = Stage::Lingering { since: now, discarded: 0 };
    }

    /// A peer that will send no more, and whose requests are all answered, is done. While a worker is to answer, that
    /// answer brings us back here.
    fn close_if_done(&mut self, cx: &mut Surroundings) {
        let awaits_worker = self.stage == Stage::Open && !self.may_advance();
        if self.peer_closed && self.stage != Stage::Closing && !awaits_worker {
            self.since = cx.session.now;
            self.stage = Stage::Closing;
        }
    }

    fn log(&self, cx: &mut Surroundings, reason: &Reason) {
        if !cx.session.shared.may_log(cx.session.now) {
            return;
        }
        let (peer, slot) = (self.peer, cx.session.connection.slot);
        match reason.blame() {
            Blame::Ours => tracing::warn!(%peer, slot, "{reason}"),
            Blame::Protocol | Blame::Request => tracing::info!(%peer, slot, "{reason}"),
        }
    }
}

#[cfg(test)]
mod tests;
