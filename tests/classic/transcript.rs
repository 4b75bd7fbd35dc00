//! What a client said, what it was answered, and how it ended.

use std::fmt::Write as _;

/// How a run ended, by what the real client prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// d825: `Correct checksum` and no `Fatal:`. d1100: `successfully with CRC` in every phase.
    Success,
    Failure,
    /// It waits for an answer that does not come; the real client has no timeout.
    Hangs,
    /// d1100 exits 255.
    CannotConnect,
}

/// One thing seen on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A new connection.
    Connected,
    /// A request; a file with all of its packets counts once.
    Sent(u16),
    Got {
        code: u16,
        /// What the header claims, in bytes.
        size: usize,
    },
    /// The connection was closed or reset before a whole answer.
    Closed,
    /// No whole answer, and the connection open.
    Silence,
    /// A wrong or missing answer: one line on the real client's terminal.
    ErrorLine,
    /// The checksum in the answer is that of the content.
    ChecksumRight,
    ChecksumWrong,
}

/// Everything about one run.
#[derive(Clone, Debug)]
pub(crate) struct Transcript {
    pub(crate) events: Vec<Event>,
    pub(crate) end: End,
    /// What `me.info` would hold now, from the first answer with an id on.
    pub(crate) identity: Option<super::Identity>,
    /// The last session key received.
    pub(crate) aes_key: Option<Vec<u8>>,
}

impl Transcript {
    /// The run as the protocol text writes it: `825 1600 826 1602 828 1603 900 1604`, with ` | ` between connections
    /// and the words `closed` and `silence` in place of answers.
    pub(crate) fn dialogue(&self) -> String {
        let mut text = String::new();
        for event in &self.events {
            let space = if text.is_empty() { "" } else { " " };
            let written = match event {
                Event::Connected if text.is_empty() => Ok(()),
                Event::Connected => write!(text, " |"),
                Event::Sent(code) | Event::Got { code, .. } => write!(text, "{space}{code}"),
                Event::Closed => write!(text, "{space}closed"),
                Event::Silence => write!(text, "{space}silence"),
                Event::ErrorLine | Event::ChecksumRight | Event::ChecksumWrong => Ok(()),
            };
            written.expect("writing to a string cannot fail");
        }
        text
    }

    /// How many times `code` was asked.
    pub(crate) fn asks(&self, code: u16) -> usize {
        self.count(|event| *event == Event::Sent(code))
    }

    /// Lines of error that the real client would print.
    pub(crate) fn error_lines(&self) -> usize {
        self.count(|event| *event == Event::ErrorLine)
    }

    /// The payload size that the header of the `n`-th answer (from 0) with this code claimed.
    pub(crate) fn size_of(&self, wanted: u16, n: usize) -> Option<usize> {
        let sizes = self.events.iter().filter_map(|event| match *event {
            Event::Got { code, size } if code == wanted => Some(size),
            _ => None,
        });
        sizes.into_iter().nth(n)
    }

    fn count(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|event| wanted(event)).count()
    }
}
