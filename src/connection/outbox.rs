//! Answers on their way to a peer.

use coffer_protocol::Dialect;
use coffer_protocol::reply::Reply;

/// Bytes to be sent, in order. Holds no memory while empty.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outbox {
    pub(super) fn push(&mut self, dialect: Dialect, reply: &Reply) {
        reply.push(dialect, &mut self.bytes);
    }

    /// What is still to be sent.
    #[must_use]
    pub fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Whether nothing is left to be sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// Says that `count` more bytes were sent.
    pub fn advance(&mut self, count: usize) {
        self.sent += count;
        debug_assert!(self.sent <= self.bytes.len());
        if self.is_empty() {
            self.clear();
        }
    }

    /// Forgets what was not sent.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}
