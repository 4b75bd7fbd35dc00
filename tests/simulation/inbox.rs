//! What a peer reads.

use coffer_protocol::Dialect;
use coffer_protocol::reply::{REPLY_HEADER, Reply, ReplyHeader};

use crate::dice::Dice;
use crate::link::Link;

/// Bytes received and not yet understood.
#[derive(Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
}

/// What a look at a connection shows.
pub(crate) enum News {
    None,
    Reply(Dialect, Reply),
    /// There will be no more.
    Over,
}

impl Inbox {
    /// Reads some of what is there, and understands the first whole reply.
    pub(crate) fn look(&mut self, link: &mut Link, dice: &mut Dice) -> News {
        if let Some((dialect, reply)) = self.take() {
            return News::Reply(dialect, reply);
        }
        if link.is_over() {
            return News::Over;
        }
        let there = link.down.len();
        let count = if there > 1 && dice.once_in(4) { 1 + dice.below(there) } else { there };
        self.bytes.extend(link.down.drain(..count));
        self.take().map_or(News::None, |(dialect, reply)| News::Reply(dialect, reply))
    }

    fn take(&mut self) -> Option<(Dialect, Reply)> {
        let header = self.bytes.first_chunk::<REPLY_HEADER>().map(ReplyHeader::parse)?;
        let dialect = if header.code < 2000 { Dialect::D825 } else { Dialect::D1100 };
        let length = Reply::payload_len(dialect, header).expect("a valid reply");
        let whole = dialect.padded_len(REPLY_HEADER + length);
        let message: Vec<u8> =
            (self.bytes.len() >= whole).then(|| self.bytes.drain(..whole))?.collect();
        let payload = &message[REPLY_HEADER..REPLY_HEADER + length];
        Some((dialect, Reply::parse(dialect, header.code, payload).expect("a valid reply")))
    }
}
