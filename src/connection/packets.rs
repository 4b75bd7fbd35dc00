//! The packets of one d825 upload: in order on the fast path, and up to 64 ahead of a missing one.

use std::collections::BTreeMap;

use coffer_protocol::PACKET;
use coffer_protocol::request::{FILE_PACKET, FilePacket, PACKET_NUMBER_AT};

use crate::limits::PACKETS_AHEAD_MAX;

/// Everything of a packet that the packets of one upload share: its bytes before the data, without its number.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Template {
    head: Box<[u8; HEAD]>,
}

const HEAD: usize = FILE_PACKET - PACKET;

impl Template {
    /// The template of a whole packet.
    pub(super) fn of(packet: &[u8]) -> Self {
        let head = packet.first_chunk().expect("a whole packet");
        Self { head: Box::new(*head) }
    }

    /// Whether a whole packet belongs to the same upload.
    pub(super) fn matches(&self, packet: &[u8]) -> bool {
        let number = PACKET_NUMBER_AT;
        packet[..number.start] == self.head[..number.start]
            && packet[number.end..HEAD] == self.head[number.end..]
    }
}

/// What becomes of a packet that is not the next one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OutOfOrder {
    /// It waits for those before it.
    Held,
    /// It was here before.
    Repeated,
    /// Too far ahead of what is missing, or beyond the last.
    TooFarAhead,
}

/// An upload whose packets are arriving.
pub(super) struct PacketStream {
    template: Template,
    next: u32,
    count: u32,
    ahead: BTreeMap<u32, Box<[u8; PACKET]>>,
}

impl PacketStream {
    /// No packet has arrived; `first` shows what they all look like.
    pub(super) fn new(first: &[u8], count: u16) -> Self {
        Self { template: Template::of(first), next: 0, count: count.into(), ahead: BTreeMap::new() }
    }

    pub(super) fn template(&self) -> &Template {
        &self.template
    }

    pub(super) fn into_template(self) -> Template {
        self.template
    }

    /// The first packet that is missing.
    pub(super) fn next(&self) -> u32 {
        self.next
    }

    pub(super) fn is_complete(&self) -> bool {
        self.next == self.count
    }

    /// How many whole packets at the front of `bytes` are the next ones of this upload.
    pub(super) fn run(&self, bytes: &[u8]) -> usize {
        let left = (self.count - self.next) as usize;
        let in_order = |(index, packet): &(usize, &[u8])| {
            let number = (self.next as usize + index) as u16;
            packet[PACKET_NUMBER_AT] == number.to_le_bytes() && self.template.matches(packet)
        };
        bytes.chunks_exact(FILE_PACKET).take(left).enumerate().take_while(in_order).count()
    }

    /// Says that the next `count` packets have been passed on.
    pub(super) fn advance(&mut self, count: usize) {
        self.next += count as u32;
        assert!(self.next <= self.count);
        self.ahead = self.ahead.split_off(&self.next);
    }

    /// Takes a packet that is not the next one.
    pub(super) fn hold(&mut self, packet: &FilePacket) -> OutOfOrder {
        let number = u32::from(packet.number);
        if number >= self.count || number > self.next + PACKETS_AHEAD_MAX as u32 {
            return OutOfOrder::TooFarAhead;
        }
        if number < self.next || self.ahead.contains_key(&number) {
            return OutOfOrder::Repeated;
        }
        self.ahead.insert(number, Box::new(*packet.data));
        OutOfOrder::Held
    }

    /// The data of held packets whose turn has come, in order.
    pub(super) fn take_held(&mut self) -> Vec<u8> {
        let mut data = Vec::new();
        while let Some(packet) = self.ahead.remove(&self.next) {
            data.extend_from_slice(&packet[..]);
            self.next += 1;
        }
        data
    }
}
