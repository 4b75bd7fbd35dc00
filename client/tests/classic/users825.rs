//! What the d825 server remembers, all of it in memory.

use super::clients::wire::{self, CHUNK};
use super::faults::Counted;
use std::collections::BTreeMap;

/// The real server recurses once per packet; with one more than this Python gives up.
const REAL_PACKETS_MAX: usize = 978;

/// The fields that every packet of a file repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) name: Vec<u8>,
    pub(crate) count: u16,
    pub(crate) encrypted_size: usize,
}

/// One 828, read.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) shape: Shape,
    pub(crate) number: u16,
    pub(crate) data: Vec<u8>,
}

impl Packet {
    /// `payload` has the 1291 bytes of every 828.
    pub(crate) fn read(payload: &[u8]) -> Self {
        let shape = Shape {
            name: wire::strip(&payload[12..267]).to_vec(),
            count: wire::u16_at(payload, 10),
            encrypted_size: wire::u32_at(payload, 0) as usize,
        };
        Self { shape, number: wire::u16_at(payload, 8), data: payload[267..].to_vec() }
    }
}

/// Who registered.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) name: Vec<u8>,
    pub(crate) id: [u8; 16],
    /// Kept for a reconnect.
    pub(crate) spki: Option<Vec<u8>>,
    /// Of the first file ever begun; the real server never lets go of it.
    pub(crate) first: Option<Shape>,
}

/// The server's memory.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) users: Vec<User>,
    /// By user and file name.
    pub(crate) files: BTreeMap<(Vec<u8>, Vec<u8>), Vec<u8>>,
    /// Ids to give out before random ones, last first.
    pub(crate) ids: Vec<[u8; 16]>,
    /// Codes of all requests, an 828 once for each packet.
    pub(crate) codes: Vec<u16>,
    pub(crate) counted: Counted,
}

impl Memory {
    pub(crate) fn by_name(&mut self, name: &[u8]) -> Option<&mut User> {
        self.users.iter_mut().find(|user| user.name == name)
    }

    pub(crate) fn by_id(&mut self, id: &[u8; 16]) -> Option<&mut User> {
        self.users.iter_mut().find(|user| user.id == *id)
    }

    /// A new user with an id of its own.
    pub(crate) fn add(&mut self, name: &[u8]) -> [u8; 16] {
        let id = self.ids.pop().unwrap_or_else(super::random_id);
        self.users.push(User { name: name.to_vec(), id, spki: None, first: None });
        id
    }
}

/// The packets of a file, as they come in.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    parts: BTreeMap<u16, Vec<u8>>,
    received: usize,
}

impl Assembly {
    /// Takes a packet; false when the real server would die of it.
    pub(crate) fn add(&mut self, packet: Packet, real: bool) -> bool {
        self.received += 1;
        self.parts.insert(packet.number, packet.data);
        !real || self.received <= REAL_PACKETS_MAX
    }

    pub(crate) fn is_complete(&self, shape: &Shape) -> bool {
        self.parts.len() >= usize::from(shape.count)
    }

    /// The ciphertext; `None` when numbers are missing or the size does not fit.
    pub(crate) fn join(self, shape: &Shape) -> Option<Vec<u8>> {
        let mut joined = Vec::with_capacity(self.parts.len() * CHUNK);
        for number in 0..shape.count {
            joined.extend_from_slice(self.parts.get(&number)?);
        }
        if shape.encrypted_size > joined.len() {
            return None;
        }
        joined.truncate(shape.encrypted_size);
        Some(joined)
    }
}
