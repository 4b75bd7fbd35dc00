//! A client's side of a connection: writing with injected faults, reading with a deadline.

use super::transcript::Event;
use super::wire;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Largest claimed payload that is read; more counts as one that never arrives whole.
const PAYLOAD_MAX: usize = 1 << 20;

/// How long a client waits after a wrong answer to see whether the peer closes. The originals do not wait; without
/// it, whether a retry still counts as sent would depend on the scheduler.
const CLOSE_GRACE: Duration = Duration::from_millis(60);

/// What a test makes go wrong. The default is nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// The sendings of a content (from 1, counted over the whole run) in which one byte is changed before encryption,
    /// each in another way.
    pub(crate) corrupt: Vec<u32>,
    /// Close for good after this many bytes, counted over all connections.
    pub(crate) cut_after: Option<usize>,
    /// Write at most this many bytes at once, without waiting for the kernel to join them.
    pub(crate) write_size: Option<usize>,
    /// Wait this long after every write.
    pub(crate) write_pause: Duration,
}

impl Faults {
    /// The content as the `sending`-th sending carries it.
    pub(crate) fn content(&self, sending: u32, content: &[u8]) -> Vec<u8> {
        let mut content = content.to_vec();
        if self.corrupt.contains(&sending) {
            let middle = content.len() / 2;
            let byte = content.get_mut(middle).expect("an empty file has no byte to corrupt");
            *byte ^= u8::try_from(sending).expect("few sendings are corrupted");
        }
        content
    }
}

/// An answer, or why there is none.
#[derive(Debug)]
pub(crate) enum Answer {
    Reply { code: u16, size: usize, payload: Vec<u8> },
    Closed,
    Silence,
}

impl Answer {
    pub(crate) fn event(&self) -> Event {
        match *self {
            Self::Reply { code, size, .. } => Event::Got { code, size },
            Self::Closed => Event::Closed,
            Self::Silence => Event::Silence,
        }
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Link {
    stream: TcpStream,
    faults: Faults,
    patience: Duration,
    /// Bytes left until the cut.
    left: usize,
    /// The peer has closed, or we have cut.
    dead: bool,
}

impl Link {
    /// Connects. `written` is what earlier connections of the run have written.
    pub(crate) fn connect(
        server: SocketAddr,
        faults: &Faults,
        patience: Duration,
        written: usize,
    ) -> std::io::Result<Self> {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(patience))?;
        let left = faults.cut_after.map_or(usize::MAX, |cut| cut.saturating_sub(written));
        Ok(Self { stream, faults: faults.clone(), patience, left, dead: false })
    }

    /// Whether anything said here can still reach the peer.
    pub(crate) fn is_dead(&self) -> bool {
        self.dead
    }

    /// Writes `bytes`; an error is kept silent, as the originals do: the missing answer tells. Returns what was
    /// written.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> usize {
        let allowed = bytes.len().min(self.left);
        let piece_size = self.faults.write_size.unwrap_or(usize::MAX).min(allowed.max(1));
        for piece in bytes[..allowed].chunks(piece_size) {
            if self.stream.write_all(piece).is_err() {
                return allowed;
            }
            if !self.faults.write_pause.is_zero() {
                thread::sleep(self.faults.write_pause);
            }
        }
        self.left -= allowed;
        if allowed < bytes.len() {
            self.dead = true;
            // The peer may have closed before us; then there is nothing left to shut.
            let _ = self.stream.shutdown(Shutdown::Both);
        }
        allowed
    }

    /// d825: a header and then as many bytes as it claims, whatever its code.
    pub(crate) fn receive(&mut self) -> Answer {
        let deadline = Instant::now() + self.patience;
        let mut header = [0; wire::REPLY_HEADER];
        if let Err(end) = self.fill(&mut header, deadline) {
            return end;
        }
        let (code, size) = wire::reply_header(&header);
        let mut payload = vec![0; size.min(PAYLOAD_MAX)];
        match self.fill(&mut payload, deadline) {
            Ok(()) if size <= PAYLOAD_MAX => Answer::Reply { code, size, payload },
            Ok(()) => Answer::Silence,
            Err(end) => end,
        }
    }

    /// d1100: exactly one packet, whatever its header claims; the payload is all the rest of it.
    pub(crate) fn receive_packet(&mut self) -> Answer {
        let mut packet = [0; wire::CHUNK];
        if let Err(end) = self.fill(&mut packet, Instant::now() + self.patience) {
            return end;
        }
        let (code, size) = wire::reply_header(&packet);
        Answer::Reply { code, size, payload: packet[wire::REPLY_HEADER..].to_vec() }
    }

    /// After a wrong answer: notices a peer that closes behind it.
    pub(crate) fn notice_close(&mut self) {
        if self.dead || self.stream.set_read_timeout(Some(CLOSE_GRACE)).is_err() {
            return;
        }
        match self.stream.peek(&mut [0]) {
            Ok(0) => self.dead = true,
            Ok(_) => {}
            Err(error) => self.dead = !is_timeout(error.kind()),
        }
    }

    fn fill(&mut self, mut buffer: &mut [u8], deadline: Instant) -> Result<(), Answer> {
        while !buffer.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Answer::Silence);
            }
            self.stream.set_read_timeout(Some(left)).expect("the timeout is not zero");
            match self.stream.read(buffer) {
                Ok(0) => return Err(self.closed()),
                Ok(read) => buffer = &mut buffer[read..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_timeout(error.kind()) => return Err(Answer::Silence),
                Err(_) => return Err(self.closed()),
            }
        }
        Ok(())
    }

    fn closed(&mut self) -> Answer {
        self.dead = true;
        Answer::Closed
    }
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
