//! What the clients were promised, and when it was on its way to them.

use std::collections::HashMap;

use crate::classic::wire;
use crate::peer::{ACKNOWLEDGED, CHECKSUM, KEY, RECONNECTED, REGISTERED};
use crate::strace::Call;

/// What one client was told, in its order.
pub(crate) struct Ledger {
    pub(crate) name: String,
    pub(crate) id: [u8; 16],
    pub(crate) answers: Vec<Told>,
}

/// An answer that bears the client's id.
#[derive(Debug)]
pub(crate) enum Told {
    Id,
    /// A session key, which says that the client is registered.
    Registered,
    Checksum,
    Stored {
        file: String,
        content: Vec<u8>,
    },
    Dropped,
}

impl Told {
    /// The numbers that may stand in such an answer, in either dialect.
    fn numbers(&self) -> &'static [u16] {
        match self {
            Self::Id => &[REGISTERED],
            Self::Registered => &[KEY, RECONNECTED],
            Self::Checksum => &[CHECKSUM],
            Self::Stored { .. } | Self::Dropped => &[CHECKSUM, ACKNOWLEDGED],
        }
    }
}

/// Something that must be true once so many calls have ended: then the server began to say so.
pub(crate) struct Promise<'a> {
    pub(crate) from: usize,
    pub(crate) client: &'a str,
    pub(crate) told: &'a Told,
}

/// All answers, in the order in which they were sent.
pub(crate) fn promises<'a>(calls: &[Call], ledgers: &'a [Ledger]) -> Vec<Promise<'a>> {
    let mut sent = answers_sent(calls);
    let mut promises = vec![];
    for Ledger { name, id, answers } in ledgers {
        let sent = sent.remove(id).expect("answers to every client");
        assert_eq!(sent.len(), answers.len(), "the record has exactly what {name} was told");
        for ((from, number), told) in sent.into_iter().zip(answers) {
            assert!(told.numbers().contains(&number), "{number} is {told:.20?}");
            promises.push(Promise { from, client: name, told });
        }
    }
    promises.sort_by_key(|promise| promise.from);
    promises
}

/// By the client's id: how many calls had ended when an answer was sent, and its number. The clients wait for each
/// answer, so that each is sent by itself.
fn answers_sent(calls: &[Call]) -> HashMap<[u8; 16], Vec<(usize, u16)>> {
    let mut sent = HashMap::<_, Vec<_>>::new();
    for call in calls.iter().filter(|call| is_answer(call)) {
        let (code, size) = wire::reply_header(call.bytes(1));
        if size >= 16 {
            let id = call.bytes(1)[wire::REPLY_HEADER..][..16].try_into().expect("16 bytes");
            sent.entry(id).or_default().push((call.begun, code % 100));
        }
    }
    sent
}

fn is_answer(call: &Call) -> bool {
    let sends = matches!(&call.name[..], "sendto" | "write");
    sends && call.file(0).is_some_and(|path| path.to_string_lossy().starts_with("TCP:"))
}
