//! Listening sockets: accepting within limits.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};

use crate::limits::{ACCEPT_PAUSE, ACCEPTS_PER_TICK, REOPEN_PERCENT};
use crate::moment::Moment;

/// All listening sockets and whether they may accept.
pub(super) struct Listeners {
    sockets: Vec<Listener>,
    connections_max: usize,
    /// At the limit, until enough connections are gone.
    full: bool,
    /// Out of file descriptors, until then.
    paused_until: Option<Moment>,
}

struct Listener {
    socket: TcpListener,
    ready: bool,
}

impl Listeners {
    pub(super) fn new(
        sockets: Vec<std::net::TcpListener>,
        registry: &Registry,
        first_token: usize,
        connections_max: usize,
    ) -> io::Result<Self> {
        let register = |(index, socket): (usize, std::net::TcpListener)| {
            socket.set_nonblocking(true)?;
            let mut socket = TcpListener::from_std(socket);
            registry.register(&mut socket, Token(first_token + index), Interest::READABLE)?;
            Ok(Listener { socket, ready: false })
        };
        let sockets = sockets.into_iter().enumerate().map(register).collect::<io::Result<_>>()?;
        Ok(Self { sockets, connections_max, full: false, paused_until: None })
    }

    pub(super) fn note_ready(&mut self, index: usize) {
        if let Some(listener) = self.sockets.get_mut(index) {
            listener.ready = true;
        }
    }

    /// Whether [`Listeners::accept`] has something to do now.
    pub(super) fn is_ready(&self, connections: usize) -> bool {
        let room = connections < self.room_below();
        room && self.paused_until.is_none() && self.sockets.iter().any(|listener| listener.ready)
    }

    /// When accepting goes on after it was paused.
    pub(super) fn next_try(&self) -> Option<Moment> {
        self.paused_until
    }

    /// Accepts a bounded number of connections.
    pub(super) fn accept(
        &mut self,
        connections: usize,
        now: Moment,
    ) -> Vec<(TcpStream, SocketAddr)> {
        let mut accepted = Vec::new();
        if self.paused_until.is_some_and(|until| now < until) {
            return accepted;
        }
        self.paused_until = None;
        for index in 0..self.sockets.len() {
            while self.sockets[index].ready && accepted.len() < ACCEPTS_PER_TICK {
                if !self.has_room(connections + accepted.len()) {
                    return accepted;
                }
                let listener = &mut self.sockets[index];
                match listener.socket.accept() {
                    Ok(connection) => accepted.push(connection),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => listener.ready = false,
                    Err(error) if is_about_the_peer(&error) => {}
                    Err(error) => {
                        tracing::warn!("cannot accept connections for a moment: {error}");
                        self.paused_until = Some(now + ACCEPT_PAUSE);
                        return accepted;
                    }
                }
            }
        }
        accepted
    }

    pub(super) fn close(&mut self, registry: &Registry) {
        for listener in &mut self.sockets {
            let _ = registry.deregister(&mut listener.socket);
        }
        self.sockets.clear();
    }

    fn has_room(&mut self, connections: usize) -> bool {
        let room = connections < self.room_below();
        if room == self.full {
            self.full = !room;
            if self.full {
                tracing::warn!(connections, "at the limit of connections: new ones wait");
            }
        }
        room
    }

    fn room_below(&self) -> usize {
        if self.full {
            (self.connections_max * REOPEN_PERCENT).div_ceil(100)
        } else {
            self.connections_max
        }
    }
}

/// Errors of `accept` that concern only the connection that would have been accepted.
fn is_about_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::Interrupted
            | ErrorKind::TimedOut
    )
}
