//! Received bytes to answers: the framing of replies in both dialects.

use coffer_protocol::reply::{REPLY_HEADER, Reply, ReplyHeader};
use coffer_protocol::{ClientId, Dialect, PACKET};

use super::state::Answer;

/// The most bytes held: several of the longest replies. A server that sends more was not asked for it.
const INBOX_MAX: usize = 8 * PACKET;

/// Bytes received and not yet understood.
#[derive(Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
}

impl Inbox {
    /// Takes more bytes, unless they are too many.
    pub(super) fn push(&mut self, bytes: &[u8]) -> bool {
        let fits = self.bytes.len() + bytes.len() <= INBOX_MAX;
        if fits {
            self.bytes.extend_from_slice(bytes);
        }
        fits
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// The next answer, once it is whole. A d1100 reply is whole with its packet; a server that closed before the end
    /// of the packet said enough with its payload.
    pub(super) fn next(&mut self, dialect: Dialect, ended: bool) -> Option<Answer> {
        let header = self.header()?;
        let payload_len = match Reply::payload_len(dialect, header) {
            Ok(payload_len) => payload_len,
            Err(error) => return Some(Answer::Garbage(error)),
        };
        let length = REPLY_HEADER + payload_len;
        let packet = dialect.padded_len(length);
        if self.bytes.len() < if ended { length } else { packet } {
            return None;
        }
        let answer = Reply::parse(dialect, header.code, &self.bytes[REPLY_HEADER..length])
            .map_or_else(Answer::Garbage, Answer::Reply);
        self.bytes.drain(..packet.min(self.bytes.len()));
        Some(answer)
    }

    /// The next answer, if it is a refusal: all that is of interest before an upload is complete.
    pub(super) fn next_error(&mut self, dialect: Dialect) -> Option<Answer> {
        let refusal = Reply::Error.code(dialect);
        if self.header()?.code == refusal { self.next(dialect, true) } else { None }
    }

    /// The next answer, where it may be the classic d825 server's acknowledgement: its header announces 255 bytes and
    /// only the 16 of the id follow.
    pub(super) fn next_ack(&mut self, dialect: Dialect, ended: bool) -> Option<Answer> {
        let ReplyHeader { code, payload_len, .. } = self.header()?;
        let acknowledged = Reply::Acknowledged { id: ClientId::NONE }.code(Dialect::D825);
        if code != acknowledged || payload_len == 16 {
            return self.next(dialect, ended);
        }
        let &id = self.bytes[REPLY_HEADER..].first_chunk()?;
        self.bytes.clear();
        Some(Answer::MalformedAck(ClientId(id)))
    }

    fn header(&self) -> Option<ReplyHeader> {
        self.bytes.first_chunk().map(ReplyHeader::parse)
    }
}
