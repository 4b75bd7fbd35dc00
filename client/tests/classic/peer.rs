//! A server's side of a connection.

use super::clients::wire;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// Longest silence of a client; the originals wait for ever.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// How long the rest of a request's packet may lag behind its payload before it counts as left out.
const PADDING_WAIT: Duration = Duration::from_millis(30);
/// How long a polite server reads on after its answer, so that a reset does not swallow it.
const LINGER: Duration = Duration::from_secs(2);

/// One connection. Where a function returns `None`, the connection is over.
#[derive(Debug)]
pub(crate) struct Peer {
    stream: TcpStream,
    recv_once: bool,
}

impl Peer {
    pub(crate) fn new(stream: TcpStream, recv_once: bool) -> Self {
        stream.set_nodelay(true).expect("a TCP stream");
        stream.set_write_timeout(Some(SILENCE_MAX)).expect("the timeout is not zero");
        Self { stream, recv_once }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Option<()> {
        self.stream.write_all(bytes).ok()
    }

    /// Exactly `size` bytes.
    pub(crate) fn take(&mut self, size: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; size];
        let filled = self.fill(&mut bytes, 0, size, SILENCE_MAX);
        (filled == size).then_some(bytes)
    }

    /// d1100: the packet of a request, 1024 bytes with zeros for what a client left out. Without the whole header,
    /// as with the originals when it comes in pieces, all of it is zeros.
    pub(crate) fn request_packet(&mut self) -> Option<Vec<u8>> {
        let mut packet = vec![0; wire::CHUNK];
        let mut filled = self.fill(&mut packet, 0, wire::REQUEST_HEADER, SILENCE_MAX);
        if filled == 0 {
            return None;
        }
        if filled < wire::REQUEST_HEADER {
            return Some(vec![0; wire::CHUNK]);
        }
        if !self.recv_once {
            let (_, code, size) = wire::request_header(&packet);
            let whole = if code == 1103 { wire::CHUNK } else { wire::REQUEST_HEADER + size };
            filled = self.fill(&mut packet, filled, whole.min(wire::CHUNK), SILENCE_MAX);
            self.fill(&mut packet, filled, wire::CHUNK, PADDING_WAIT);
        }
        Some(packet)
    }

    /// Says that no more comes, and reads until the client has closed too.
    pub(crate) fn close_gently(mut self) {
        let deadline = Instant::now() + LINGER;
        let mut rest = [0; 4096];
        if self.stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        while Instant::now() < deadline {
            self.stream.set_read_timeout(Some(LINGER)).expect("the timeout is not zero");
            match self.stream.read(&mut rest) {
                Ok(read) if read > 0 => {}
                _ => return,
            }
        }
    }

    /// Waits until the client closes, without a word.
    pub(crate) fn stay_silent(&mut self) {
        self.stream.set_read_timeout(Some(SILENCE_MAX)).expect("the timeout is not zero");
        let mut rest = [0; 4096];
        while self.stream.read(&mut rest).is_ok_and(|read| read > 0) {}
    }

    /// Reads from `filled` on until at least `least` bytes are there, or with one `recv`. Returns how many are.
    fn fill(&mut self, bytes: &mut [u8], filled: usize, least: usize, wait: Duration) -> usize {
        let mut filled = filled;
        self.stream.set_read_timeout(Some(wait)).expect("the timeout is not zero");
        while filled < least {
            match self.stream.read(&mut bytes[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
            if self.recv_once {
                break;
            }
        }
        filled
    }
}
