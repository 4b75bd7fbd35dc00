//! What a test makes a server do wrong, beside the defects it has.

use std::time::Duration;

/// Injected faults. The default is none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// The first this many checksums answered are wrong.
    pub(crate) wrong_checksums: u32,
    /// The first this many requests, a file counting once, are answered with the general refusal, and not done.
    pub(crate) refuse_first: u32,
    /// In place of this answer (from 1, counted over all connections) the connection is closed. What was asked is
    /// done all the same.
    pub(crate) lose_answer: Option<u32>,
    /// After this many packets of content, counted over all connections, the connection is closed.
    pub(crate) drop_upload_after: Option<u32>,
    /// Connects are refused for this long after the start.
    pub(crate) refuse_for: Duration,
    /// Call `recv` once for every field or packet, as the existing servers do: what arrives in pieces is lost.
    pub(crate) recv_once: bool,
}

/// The faults, and how far their counts have come.
#[derive(Debug)]
pub(crate) struct Counted {
    faults: Faults,
    requests: u32,
    checksums: u32,
    answers: u32,
    packets: u32,
}

impl Counted {
    pub(crate) fn new(faults: &Faults) -> Self {
        Self { faults: faults.clone(), requests: 0, checksums: 0, answers: 0, packets: 0 }
    }

    /// Whether the next request is refused unseen.
    pub(crate) fn is_refused(&mut self) -> bool {
        self.requests += 1;
        self.requests <= self.faults.refuse_first
    }

    /// The checksum to answer with where `right` is right.
    pub(crate) fn checksum(&mut self, right: u32) -> u32 {
        self.checksums += 1;
        if self.checksums <= self.faults.wrong_checksums { !right } else { right }
    }

    /// Whether the next answer gets out.
    pub(crate) fn answer_passes(&mut self) -> bool {
        self.answers += 1;
        self.faults.lose_answer != Some(self.answers)
    }

    /// Whether the connection survives the packet of content that was just read.
    pub(crate) fn packet_passes(&mut self) -> bool {
        self.packets += 1;
        self.faults.drop_upload_after != Some(self.packets)
    }
}
