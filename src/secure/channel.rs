//! A TLS connection after its handshake: records in, bytes out, and back.

use std::io::{self, Read, Write};

use rustls::{Error, ServerConnection};

use crate::outbox::Outbox;

/// The keys of a connection, and what is left of a record.
pub(super) struct Channel {
    tls: Box<ServerConnection>,
}

/// Why a channel is of no use any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChannelError {
    /// The peer broke TLS.
    #[error("{0}")]
    Tls(#[from] Error),
    /// More came than fits, which rustls' own order of calls rules out.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Channel {
    /// A channel whose handshake is complete. What it sends is bounded by the outbox.
    pub(super) fn new(mut tls: Box<ServerConnection>) -> Self {
        tls.set_buffer_limit(None);
        Self { tls }
    }

    /// Takes records, and appends what they say to `plain`. True if the peer said that it is done.
    pub(super) fn receive(
        &mut self,
        mut records: &[u8],
        plain: &mut Vec<u8>,
        outbox: &mut Outbox,
    ) -> Result<bool, ChannelError> {
        loop {
            let state = self.tls.process_new_packets()?;
            let length = state.plaintext_bytes_to_read();
            if length > 0 {
                let at = plain.len();
                plain.resize(at + length, 0);
                self.tls.reader().read_exact(&mut plain[at..])?;
            }
            if records.is_empty() || state.peer_has_closed() {
                self.flush(outbox);
                return Ok(state.peer_has_closed());
            }
            self.tls.read_tls(&mut records)?;
        }
    }

    /// Sends bytes.
    pub(super) fn send(&mut self, plain: &[u8], outbox: &mut Outbox) {
        // A vector without a bound takes everything.
        let _ = self.tls.writer().write_all(plain);
        self.flush(outbox);
    }

    /// Says that nothing more will be sent.
    pub(super) fn close(&mut self, outbox: &mut Outbox) {
        self.tls.send_close_notify();
        self.flush(outbox);
    }

    fn flush(&mut self, outbox: &mut Outbox) {
        while self.tls.wants_write() {
            let _ = outbox.push_with(|bytes| self.tls.write_tls(bytes));
        }
    }
}
