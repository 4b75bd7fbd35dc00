//! A connection as the network sees it: bytes on their way, in both directions.

use std::collections::VecDeque;
use std::net::IpAddr;

/// Bytes that the network holds for a peer which does not read.
pub(crate) const DOWN_MAX: usize = 4 << 10;

/// A connection between a peer and the server.
pub(crate) struct Link {
    /// Whose it is.
    pub(crate) address: IpAddr,
    /// From the peer to the server.
    pub(crate) up: VecDeque<u8>,
    /// The peer will send no more.
    pub(crate) up_ended: bool,
    /// From the server to the peer.
    pub(crate) down: VecDeque<u8>,
    /// The server will send no more.
    pub(crate) down_ended: bool,
    /// Broken: both sides find out when they next touch it.
    pub(crate) cut: bool,
    /// The peer is gone.
    pub(crate) abandoned: bool,
    /// The server has freed its side.
    pub(crate) freed: bool,
}

/// All connections of a run, by number. None is used twice.
#[derive(Default)]
pub(crate) struct Links {
    all: Vec<Link>,
    /// Not yet accepted, oldest first.
    pub(crate) arriving: VecDeque<usize>,
}

impl Links {
    pub(crate) fn connect(&mut self, address: IpAddr) -> usize {
        self.all.push(Link {
            address,
            up: VecDeque::new(),
            up_ended: false,
            down: VecDeque::new(),
            down_ended: false,
            cut: false,
            abandoned: false,
            freed: false,
        });
        let number = self.all.len() - 1;
        self.arriving.push_back(number);
        number
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// The machine of the server is gone: every connection breaks.
    pub(crate) fn cut_all(&mut self) {
        self.arriving.clear();
        for link in &mut self.all {
            link.cut = true;
            link.freed = true;
        }
    }
}

impl std::ops::Index<usize> for Links {
    type Output = Link;

    fn index(&self, number: usize) -> &Link {
        &self.all[number]
    }
}

impl std::ops::IndexMut<usize> for Links {
    fn index_mut(&mut self, number: usize) -> &mut Link {
        &mut self.all[number]
    }
}

impl Link {
    /// The peer sends. Nobody takes it once the connection is broken or the server's side freed.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        if self.freed && !self.cut {
            // The server's system answers with a reset, which may overtake what the server had sent.
            self.cut = true;
            self.down.clear();
        }
        if !self.cut && !self.up_ended {
            self.up.extend(bytes);
        }
    }

    /// The peer is done with the connection, whatever is still on its way.
    pub(crate) fn close(&mut self) {
        self.up_ended = true;
        self.abandoned = true;
        // Closing with something unread is a reset.
        self.cut |= !self.down.is_empty();
    }

    /// Whether the peer would see something if it looked.
    pub(crate) fn has_news(&self) -> bool {
        self.cut || self.down_ended || !self.down.is_empty()
    }

    /// Whether nothing will come any more.
    pub(crate) fn is_over(&self) -> bool {
        self.cut || (self.down_ended && self.down.is_empty())
    }
}
