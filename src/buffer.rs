//! Receive buffers and the bounded pool that they come from.

use std::fmt;

use crate::limits::{POOL_BUFFER_BYTES, POOL_BUFFERS_MAX, POOL_RESERVE};

/// Bytes from a socket: filled from the front, given to a worker whole, and back to the pool.
#[derive(Default)]
pub struct Buffer {
    bytes: Box<[u8]>,
    filled: usize,
}

impl Buffer {
    fn pooled() -> Self {
        Self { bytes: vec![0; POOL_BUFFER_BYTES].into_boxed_slice(), filled: 0 }
    }

    /// A small buffer outside the pool, for bytes left over from a pooled one.
    #[must_use]
    pub fn copy_of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.into(), filled: bytes.len() }
    }

    /// The received bytes.
    #[must_use]
    pub fn filled(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    /// The received bytes, to be decrypted in place.
    pub fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.filled]
    }

    /// Room behind the received bytes.
    pub fn spare_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.filled..]
    }

    /// Says that `count` bytes were received into the front of the spare room.
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.bytes.len() - self.filled);
        self.filled += count;
    }

    /// Appends bytes.
    ///
    /// # Panics
    /// If there is no room for them.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.spare_mut()[..bytes.len()].copy_from_slice(bytes);
        self.advance(bytes.len());
    }

    fn is_pooled(&self) -> bool {
        self.bytes.len() == POOL_BUFFER_BYTES
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} of {} bytes)", self.filled, self.bytes.len())
    }
}

/// A bounded stock of large buffers. They are made when first needed and then kept; an idle connection holds none.
#[derive(Debug, Default)]
pub struct Pool {
    free: Vec<Buffer>,
    made: usize,
}

impl Pool {
    /// An empty buffer, or nothing while all are in use.
    pub fn take(&mut self) -> Option<Buffer> {
        if let Some(buffer) = self.free.pop() {
            return Some(buffer);
        }
        (self.made < POOL_BUFFERS_MAX).then(|| {
            self.made += 1;
            Buffer::pooled()
        })
    }

    /// Takes a buffer back; one that is not from the pool is dropped.
    pub fn give(&mut self, mut buffer: Buffer) {
        if buffer.is_pooled() {
            buffer.filled = 0;
            self.free.push(buffer);
        }
    }

    /// Buffers that were taken and have not come back.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.made - self.free.len()
    }

    /// Whether only the reserve is left, which is not for large uploads.
    #[must_use]
    pub fn is_low(&self) -> bool {
        self.in_use() + POOL_RESERVE >= POOL_BUFFERS_MAX
    }

    /// Whether [`Pool::take`] would give nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.in_use() == POOL_BUFFERS_MAX
    }
}
