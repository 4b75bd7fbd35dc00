//! What one connection sends: requests, and contents at the pace that was ordered.

use coffer_protocol::ClientId;
use coffer_protocol::checksum::Sums;
use coffer_protocol::cipher::SessionKey;
use coffer_protocol::encode::{Encoder, TooLarge};

use crate::content::Content;
use crate::limits::PIECE_BYTES;

/// How contents are sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pace {
    /// As fast as the server takes them.
    Full,
    /// One byte at a time, as many of them as are allowed by now.
    Trickle { allowed: u64 },
    /// This many bytes more, and then nothing.
    Until { left: usize },
}

/// Bytes on their way: requests first, then the content.
pub(crate) struct Outgoing {
    requests: Vec<u8>,
    requests_sent: usize,
    content: Option<Sending>,
    pace: Pace,
    /// The checksum of a content that is out.
    finished: Option<u32>,
}

/// A content on its way.
pub(crate) enum Sending {
    /// Encrypted before.
    Ready(Encrypted),
    /// Encrypted now.
    Stream(Box<Stream>),
}

/// A content as it goes over the wire, whole.
pub(crate) struct Encrypted {
    wire: Vec<u8>,
    sent: usize,
    checksum: u32,
}

impl Default for Outgoing {
    fn default() -> Self {
        Self {
            requests: Vec::new(),
            requests_sent: 0,
            content: None,
            pace: Pace::Full,
            finished: None,
        }
    }
}

impl Outgoing {
    pub(crate) fn push_request(&mut self, bytes: &[u8]) {
        self.requests.extend_from_slice(bytes);
    }

    pub(crate) fn begin_content(&mut self, content: Sending, pace: Pace) {
        self.content = Some(content);
        self.pace = pace;
        self.finished = None;
    }

    /// The checksum of the content, once all of it is out.
    pub(crate) fn take_finished(&mut self) -> Option<u32> {
        self.finished.take()
    }

    /// Whether a content stopped in its middle, as ordered.
    pub(crate) fn is_stopped(&self) -> bool {
        self.content.is_some() && self.pace == Pace::Until { left: 0 }
    }

    /// Whether a trickling content waits to be allowed its next byte.
    pub(crate) fn is_held_back(&self) -> bool {
        self.content.is_some() && self.pace == Pace::Trickle { allowed: 0 }
    }

    /// Allows a trickling content one more byte.
    pub(crate) fn allow_one(&mut self) {
        if let Pace::Trickle { allowed } = &mut self.pace {
            *allowed += 1;
        }
    }

    /// What may be sent now.
    pub(crate) fn unsent(&mut self) -> &[u8] {
        if self.requests_sent < self.requests.len() {
            return &self.requests[self.requests_sent..];
        }
        let Some(content) = &mut self.content else { return &[] };
        let bytes = content.unsent();
        match self.pace {
            Pace::Full => bytes,
            Pace::Trickle { allowed } => &bytes[..bytes.len().min(allowed.min(1) as usize)],
            Pace::Until { left } => &bytes[..bytes.len().min(left)],
        }
    }

    pub(crate) fn sent(&mut self, count: usize) {
        if self.requests_sent < self.requests.len() {
            self.requests_sent += count;
            if self.requests_sent == self.requests.len() {
                (self.requests, self.requests_sent) = (Vec::new(), 0);
            }
            return;
        }
        let Some(content) = &mut self.content else { return };
        content.sent(count);
        match &mut self.pace {
            Pace::Full => {}
            Pace::Trickle { allowed } => *allowed -= count as u64,
            Pace::Until { left } => *left -= count,
        }
        if let Some(checksum) = content.finished() {
            self.finished = Some(checksum);
            self.content = None;
        }
    }
}

impl Sending {
    fn unsent(&mut self) -> &[u8] {
        match self {
            Self::Ready(encrypted) => &encrypted.wire[encrypted.sent..],
            Self::Stream(stream) => stream.unsent(),
        }
    }

    fn sent(&mut self, count: usize) {
        match self {
            Self::Ready(encrypted) => encrypted.sent += count,
            Self::Stream(stream) => stream.wire_sent += count,
        }
    }

    /// The checksum of the plain content, once everything is sent.
    fn finished(&self) -> Option<u32> {
        match self {
            Self::Ready(encrypted) => {
                (encrypted.sent == encrypted.wire.len()).then_some(encrypted.checksum)
            }
            Self::Stream(stream) => stream.finished(),
        }
    }
}

/// A content that is made and encrypted piece by piece.
pub(crate) struct Stream {
    content: Content,
    encoder: Encoder,
    /// The content is damaged on its way; then the checksum of the true one.
    true_sums: Option<Sums>,
    wire: Vec<u8>,
    wire_sent: usize,
    stage: Stage,
}

#[derive(PartialEq, Eq)]
enum Stage {
    Head,
    Content,
    Done,
}

impl Stream {
    /// A content under a file name, for a client and its session key. With `damaged`, one bit of it is wrong on the
    /// wire, and the checksum is the one of the true content; an empty content cannot be damaged.
    ///
    /// # Errors
    /// If it is too large for the key's dialect.
    pub(crate) fn new(
        content: Content,
        key: &SessionKey,
        client: ClientId,
        file: &[u8],
        damaged: bool,
    ) -> Result<Self, TooLarge> {
        let encoder = Encoder::new(key, client, file, content.size())?;
        let true_sums = (damaged && content.size() > 0).then(|| Sums::new(key.dialect()));
        Ok(Self { content, encoder, true_sums, wire: Vec::new(), wire_sent: 0, stage: Stage::Head })
    }

    /// All of it at once.
    pub(crate) fn into_encrypted(mut self) -> Encrypted {
        let mut wire = Vec::new();
        while self.stage != Stage::Done {
            self.push_piece(&mut wire);
        }
        // A copy, not a shrunk original: the system has a bound on mappings, and each large allocation keeps its own.
        Encrypted { wire: wire.as_slice().to_vec(), sent: 0, checksum: self.encoder.checksum() }
    }

    fn unsent(&mut self) -> &[u8] {
        while self.wire_sent == self.wire.len() && self.stage != Stage::Done {
            let mut wire = std::mem::take(&mut self.wire);
            wire.clear();
            self.push_piece(&mut wire);
            (self.wire, self.wire_sent) = (wire, 0);
        }
        &self.wire[self.wire_sent..]
    }

    fn finished(&self) -> Option<u32> {
        let all_sent = self.stage == Stage::Done && self.wire_sent == self.wire.len();
        let checksum =
            || self.true_sums.as_ref().map_or(self.encoder.checksum(), Sums::on_the_wire);
        all_sent.then(checksum)
    }

    fn push_piece(&mut self, wire: &mut Vec<u8>) {
        if self.stage == Stage::Head {
            self.encoder.push_head(wire);
            self.stage = Stage::Content;
        }
        let offset = self.content.size() - self.encoder.missing();
        let mut piece = [0; PIECE_BYTES];
        let piece = &mut piece[..self.encoder.missing().min(PIECE_BYTES as u64) as usize];
        self.content.fill(offset, piece);
        if let Some(sums) = &mut self.true_sums {
            sums.update(piece);
            if offset == 0 {
                piece[0] ^= 1;
            }
        }
        self.encoder.push(piece, wire);
        if self.encoder.missing() == 0 {
            self.encoder.finish(wire);
            self.stage = Stage::Done;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Sizes;
    use coffer_protocol::Dialect;

    const FILE: &[u8] = b"file-00000001";

    fn stream(dialect: Dialect, size: u64, damaged: bool) -> Stream {
        let key = SessionKey::from_bytes(dialect, &vec![7; dialect.key_len()]).expect("its length");
        let content = Content::new(1, Sizes { min: size, max: size }, 2, 3);
        Stream::new(content, &key, ClientId([1; 16]), FILE, damaged).expect("not too large")
    }

    fn drain(outgoing: &mut Outgoing, at_once: usize) -> Vec<u8> {
        let mut wire = Vec::new();
        loop {
            let bytes = outgoing.unsent();
            let bytes = &bytes[..bytes.len().min(at_once)];
            if bytes.is_empty() {
                return wire;
            }
            wire.extend_from_slice(bytes);
            let count = bytes.len();
            outgoing.sent(count);
        }
    }

    #[test]
    fn a_stream_is_what_was_encrypted_before() {
        for dialect in [Dialect::D825, Dialect::D1100] {
            for size in [0, 1, 1024, 100_000] {
                let ready = stream(dialect, size, false).into_encrypted();
                let (expected, checksum) = (ready.wire.clone(), ready.checksum);
                for sending in
                    [Sending::Ready(ready), Sending::Stream(Box::new(stream(dialect, size, false)))]
                {
                    let mut outgoing = Outgoing::default();
                    outgoing.push_request(b"request");
                    outgoing.begin_content(sending, Pace::Full);
                    let wire = drain(&mut outgoing, 1000);
                    assert_eq!(wire.strip_prefix(b"request"), Some(&expected[..]));
                    assert_eq!(outgoing.take_finished(), Some(checksum));
                }
            }
        }
    }

    #[test]
    fn damage_changes_the_wire_but_not_the_checksum() {
        let whole = stream(Dialect::D825, 5000, false).into_encrypted();
        let mut outgoing = Outgoing::default();
        let damaged = Box::new(stream(Dialect::D825, 5000, true));
        outgoing.begin_content(Sending::Stream(damaged), Pace::Full);
        let wire = drain(&mut outgoing, 10_000);
        assert_eq!(wire.len(), whole.wire.len());
        assert_ne!(wire, whole.wire);
        assert_eq!(outgoing.take_finished(), Some(whole.checksum));
    }

    #[test]
    fn a_content_stops_where_it_was_told_to() {
        let mut outgoing = Outgoing::default();
        let content = Sending::Stream(Box::new(stream(Dialect::D1100, 5000, false)));
        outgoing.begin_content(content, Pace::Until { left: 2500 });
        assert_eq!(drain(&mut outgoing, 1000).len(), 2500);
        assert!(outgoing.is_stopped());
        assert_eq!(outgoing.take_finished(), None);
    }

    #[test]
    fn a_trickle_goes_byte_by_byte() {
        let mut outgoing = Outgoing::default();
        let content = Sending::Stream(Box::new(stream(Dialect::D825, 10, false)));
        outgoing.begin_content(content, Pace::Trickle { allowed: 0 });
        assert!(outgoing.is_held_back() && outgoing.unsent().is_empty());
        outgoing.allow_one();
        assert_eq!(drain(&mut outgoing, 1000).len(), 1);
        assert!(outgoing.is_held_back());
        let mut outgoing = Outgoing::default();
        let content = Sending::Stream(Box::new(stream(Dialect::D825, 10, false)));
        outgoing.begin_content(content, Pace::Trickle { allowed: u64::MAX });
        assert_eq!(outgoing.unsent().len(), 1);
        assert_eq!(drain(&mut outgoing, 1000).len(), 1314);
        assert!(outgoing.take_finished().is_some());
    }
}
