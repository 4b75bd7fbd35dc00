//! One connection, by whichever door it comes in: its first bytes decide.

use std::net::SocketAddr;

use crate::buffer::Buffer;
use crate::connection::{self, Surroundings};
use crate::job::Done;
use crate::moment::Moment;
use crate::outbox::Outbox;
use crate::secure::{self, Knock};
use crate::session::Reason;

/// One peer's connection. It is a classic one until its first bytes say otherwise.
pub enum Door {
    /// The classic dialects.
    Classic(Box<connection::Connection>),
    /// TLS.
    Secure(Box<secure::Connection>),
}

/// The same question to whichever it is.
macro_rules! through {
    ($door:expr, $connection:ident => $call:expr) => {
        match $door {
            Self::Classic($connection) => $call,
            Self::Secure($connection) => $call,
        }
    };
}

impl Door {
    /// A connection that was just accepted. If `refused` says why, its first classic request is answered with an error.
    #[must_use]
    pub fn new(peer: SocketAddr, now: Moment, refused: Option<Reason>) -> Self {
        let classic = match refused {
            None => connection::Connection::new(peer, now),
            Some(reason) => connection::Connection::refused(peer, now, reason),
        };
        Self::Classic(Box::new(classic))
    }

    /// Makes room for others if nobody has said here who they are.
    pub fn give_way(&mut self, cx: &mut Surroundings) {
        through!(self, connection => connection.give_way(cx));
    }

    /// Whether more bytes may come.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        through!(self, connection => connection.wants_input())
    }

    /// Whether it is in the middle of a large upload, which lets smaller requests pass.
    #[must_use]
    pub fn is_patient(&self) -> bool {
        match self {
            Self::Classic(connection) => connection.is_patient(),
            Self::Secure(_) => false,
        }
    }

    /// Puts what is left over in front of a fresh buffer, before it is filled.
    pub fn prepare(&mut self, buffer: &mut Buffer) {
        match self {
            Self::Classic(connection) => connection.prepare(buffer),
            Self::Secure(_) => {}
        }
    }

    /// Takes a buffer that was [prepared](Self::prepare) and then got `received` more bytes.
    pub fn receive(&mut self, cx: &mut Surroundings, buffer: Buffer, received: usize) {
        if let Self::Classic(classic) = self
            && classic.has_heard_nothing()
            && Knock::of(buffer.filled()) == Knock::Secure
        {
            *self = Self::Secure(Box::new(secure(classic)));
        }
        match self {
            Self::Classic(connection) => connection.receive(cx, buffer, received),
            Self::Secure(connection) => connection.receive(cx, buffer),
        }
    }

    /// The peer will send no more. What it asked for before is still answered.
    pub fn end_of_input(&mut self, cx: &mut Surroundings) {
        through!(self, connection => connection.end_of_input(cx));
    }

    /// The connection is broken: nothing can be answered any more.
    pub fn lost(&mut self) {
        through!(self, connection => connection.lost());
    }

    /// A worker answered.
    pub fn complete(&mut self, cx: &mut Surroundings, done: Done) {
        through!(self, connection => connection.complete(cx, done));
    }

    /// When the peer will have been too slow.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        through!(self, connection => connection.deadline())
    }

    /// The [deadline](Self::deadline) has come.
    pub fn expire(&mut self, cx: &mut Surroundings) {
        through!(self, connection => connection.expire(cx));
    }

    /// The server stops: a connection with nothing under way is closed.
    pub fn drain(&mut self, cx: &mut Surroundings) {
        match self {
            Self::Classic(connection) => connection.drain(),
            Self::Secure(connection) => connection.drain(cx),
        }
    }

    /// Answers on their way.
    pub fn outbox(&mut self) -> &mut Outbox {
        through!(self, connection => connection.outbox())
    }

    /// Whether the sending side is to be shut once everything is sent.
    #[must_use]
    pub fn ends_output(&self) -> bool {
        through!(self, connection => connection.ends_output())
    }

    /// Whether nothing remains to be done or awaited.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        through!(self, connection => connection.is_finished())
    }

    /// The connection's slot is about to be freed: gives back what ends with it.
    pub fn close(&mut self, cx: &mut Surroundings) {
        through!(self, connection => connection.close(cx));
    }
}

/// The same connection, which turned out to begin with TLS. That it may not speak the classic protocol does not matter
/// there.
fn secure(classic: &connection::Connection) -> secure::Connection {
    let mut secure = secure::Connection::new(classic.peer(), classic.since());
    if classic.refusal().is_some_and(|reason| *reason != Reason::ClassicClosed) {
        secure.lost();
    }
    secure
}
