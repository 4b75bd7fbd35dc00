//! Answers on their way to a peer.

/// Bytes to be sent, in order. Holds no memory while empty.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outbox {
    /// Lets `append` append what is to be sent next.
    pub fn push_with<T>(&mut self, append: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        append(&mut self.bytes)
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
