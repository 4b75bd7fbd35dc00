//! The d1100 server.
//!
//! Where nobody looked at the real one, this is assumed of it: it answers 1105 for a known file like 1106, with 2104,
//! and a name whose registration was lost is free again.

use super::chunks::Ciphertext;
use super::clients::{keys, wire};
use super::faults::Counted;
use super::listening::{Listening, Style};
use super::peer::Peer;
use super::{Faults, Manners};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a server is to be.
#[derive(Clone, Debug)]
pub(crate) struct Options1100 {
    pub(crate) manners: Manners,
    /// Ids to give out before random ones.
    pub(crate) ids: Vec<[u8; 16]>,
    /// The real server does not listen between an accept and the end of the connection. With a gap this is so, and
    /// for that much longer; without, connects are queued, so that tests do not depend on the scheduler.
    pub(crate) gap: Option<Duration>,
    /// Close after a 1105 for a known file in place of an answer, which no client looks at.
    pub(crate) silent_1105: bool,
    pub(crate) faults: Faults,
}

impl Options1100 {
    /// The existing server.
    pub(crate) fn real() -> Self {
        let manners = Manners::Real;
        Self { manners, ids: vec![], gap: None, silent_1105: false, faults: Faults::default() }
    }

    /// The same wire without its defects.
    pub(crate) fn polite() -> Self {
        Self { manners: Manners::Polite, ..Self::real() }
    }
}

/// A registration; until it has a key, it is not in the database.
#[derive(Clone, Debug)]
struct User {
    name: Vec<u8>,
    id: [u8; 16],
    spki: Option<Vec<u8>>,
    aes_key: [u8; 16],
}

/// A name that was announced.
#[derive(Clone, Debug, Default)]
struct File {
    content: Option<Vec<u8>>,
    verified: bool,
    /// Of the last upload, and whether its end was read as padding.
    last: Option<(Ciphertext, bool)>,
}

#[derive(Debug)]
struct Memory {
    users: Vec<User>,
    /// By user and file name.
    files: BTreeMap<(Vec<u8>, Vec<u8>), File>,
    /// Ids to give out before random ones, last first.
    ids: Vec<[u8; 16]>,
    codes: Vec<u16>,
    counted: Counted,
}

impl Memory {
    fn by_id(&mut self, id: &[u8; 16]) -> Option<&mut User> {
        self.users.iter_mut().find(|user| user.id == *id)
    }
}

/// A running server; it stops when dropped.
#[derive(Debug)]
pub(crate) struct Server1100 {
    listening: Listening,
    memory: Arc<Mutex<Memory>>,
}

impl Server1100 {
    pub(crate) fn start(options: Options1100) -> Self {
        let memory = Arc::new(Mutex::new(Memory {
            users: vec![],
            files: BTreeMap::new(),
            ids: options.ids.iter().rev().copied().collect(),
            codes: vec![],
            counted: Counted::new(&options.faults),
        }));
        let style = match options.manners {
            Manners::Real => Style::OneByOne { gap: options.gap },
            Manners::Polite => Style::Threads,
        };
        let shared = Arc::clone(&memory);
        let refuse_for = options.faults.refuse_for;
        let listening = Listening::start(style, refuse_for, move |stream| {
            let peer = Peer::new(stream, options.faults.recv_once);
            let mut exchange = Exchange { options: &options, memory: &shared, peer };
            // `None` is a closed connection, and there is nobody to tell.
            let _ = exchange.serve();
            if options.manners == Manners::Polite {
                exchange.peer.close_gently();
            }
        });
        Self { listening, memory }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.listening.addr()
    }

    /// What is stored under these names.
    pub(crate) fn stored(&self, user: &str, file: &str) -> Option<Vec<u8>> {
        let memory = lock(&self.memory);
        memory.files.get(&(user.into(), file.into())).and_then(|file| file.content.clone())
    }

    /// Whether 1104 has come for it.
    pub(crate) fn is_verified(&self, user: &str, file: &str) -> bool {
        let memory = lock(&self.memory);
        memory.files.get(&(user.into(), file.into())).is_some_and(|file| file.verified)
    }

    /// The codes of all requests.
    pub(crate) fn codes(&self) -> Vec<u16> {
        lock(&self.memory).codes.clone()
    }

    /// What a restart does: registrations without a key are lost.
    pub(crate) fn restart(&self) {
        lock(&self.memory).users.retain(|user| user.spki.is_some());
    }
}

fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was asked; the payload reaches to the end of the packet.
struct Request {
    id: [u8; 16],
    code: u16,
    size: usize,
    payload: Vec<u8>,
}

/// One connection: a request and its answer.
struct Exchange<'a> {
    options: &'a Options1100,
    memory: &'a Mutex<Memory>,
    peer: Peer,
}

/// In all of these, `None` closes the connection without an answer.
impl Exchange<'_> {
    fn serve(&mut self) -> Option<()> {
        let packet = self.peer.request_packet()?;
        let (id, code, size) = wire::request_header(&packet);
        let request = Request { id, code, size, payload: packet[wire::REQUEST_HEADER..].to_vec() };
        lock(self.memory).codes.push(code);
        let refused = lock(self.memory).counted.is_refused();
        let (code, payload) = match code {
            _ if refused => refusal(),
            1100 => self.register(&request),
            1101 => self.exchange_keys(&request)?,
            1102 => self.reconnect(&request)?,
            1103 => self.receive(&request)?,
            1104..=1106 => self.verdict(&request)?,
            _ => refusal(),
        };
        if !lock(self.memory).counted.answer_passes() {
            return None;
        }
        let mut packet = wire::reply(code, payload.len(), &payload);
        packet.resize(wire::CHUNK, 0);
        self.peer.send(&packet)
    }

    fn register(&self, request: &Request) -> (u16, Vec<u8>) {
        let name = name_in(&request.payload);
        let mut memory = lock(self.memory);
        if memory.users.iter().any(|user| user.name == name) {
            return (2101, vec![]);
        }
        let id = memory.ids.pop().unwrap_or_else(super::random_id);
        memory.users.push(User { name: name.to_vec(), id, spki: None, aes_key: [0; 16] });
        (2100, id.to_vec())
    }

    fn exchange_keys(&self, request: &Request) -> Option<(u16, Vec<u8>)> {
        let aes_key: [u8; 16] = rand::random();
        let key_size = request.size.saturating_sub(wire::NAME_FIELD);
        let spki = request.payload.get(wire::NAME_FIELD..wire::NAME_FIELD + key_size)?;
        let mut memory = lock(self.memory);
        let user = memory.by_id(&request.id);
        let Some(user) =
            user.filter(|user| user.spki.is_none() && user.name == name_in(&request.payload))
        else {
            return Some(refusal());
        };
        let Some(wrapped) = keys::wrap_sha256(spki, &aes_key) else { return Some(refusal()) };
        user.spki = Some(spki.to_vec());
        user.aes_key = aes_key;
        self.reload(&mut memory);
        Some((2102, [&request.id[..], &wrapped].concat()))
    }

    fn reconnect(&self, request: &Request) -> Option<(u16, Vec<u8>)> {
        let aes_key: [u8; 16] = rand::random();
        let mut memory = lock(self.memory);
        let user = memory.by_id(&request.id);
        let Some(user) = user.filter(|user| user.name == name_in(&request.payload)) else {
            return Some((2106, request.id.to_vec()));
        };
        let Some(spki) = &user.spki else { return Some(refusal()) };
        let wrapped = keys::wrap_sha256(spki, &aes_key)?;
        user.aes_key = aes_key;
        self.reload(&mut memory);
        Some((2105, [&request.id[..], &wrapped].concat()))
    }

    fn receive(&mut self, request: &Request) -> Option<(u16, Vec<u8>)> {
        let encrypted_size = wire::u32_at(&request.payload, 0) as usize;
        let name = name_in(&request.payload[4..]).to_vec();
        let Some((user, aes_key)) = self.admit(request, &name) else {
            if !self.real() {
                self.chunks(encrypted_size)?;
            }
            return Some(refusal());
        };
        if self.real() && name.contains(&b'/') {
            return None;
        }
        let ciphertext = self.chunks(encrypted_size)?;
        let mut memory = lock(self.memory);
        let file = memory.files.get_mut(&(user.clone(), name.clone()))?;
        let content = if self.real() {
            // A file that nothing is appended to is never made, and cannot be opened for its checksum.
            ciphertext.read_as_real(&aes_key).filter(|content| !content.is_empty())?
        } else {
            read_either_way(file, ciphertext, &aes_key)?
        };
        let checksum = wire::md5_sum(&content);
        file.content = Some(content);
        let answered = memory.counted.checksum(checksum);
        if answered != checksum {
            // An injected fault says nothing about how the end is to be read.
            memory.files.get_mut(&(user, name.clone()))?.last = None;
        }
        let mut payload = request.id.to_vec();
        payload.extend_from_slice(&wire::size_field(encrypted_size));
        payload.extend_from_slice(&wire::name_field(&name));
        payload.extend_from_slice(&answered.to_le_bytes());
        Some((2103, payload))
    }

    /// Enters the name of a file that may be sent. From the real server's point of view it is then taken, whatever
    /// becomes of the upload.
    fn admit(&self, request: &Request, name: &[u8]) -> Option<(Vec<u8>, [u8; 16])> {
        let mut memory = lock(self.memory);
        let user = memory.by_id(&request.id).filter(|user| user.spki.is_some())?.clone();
        let key = (user.name.clone(), name.to_vec());
        let taken = memory.files.get(&key).is_some_and(|file| self.real() || file.verified);
        if taken {
            return None;
        }
        memory.files.entry(key).or_default();
        self.reload(&mut memory);
        Some((user.name, user.aes_key))
    }

    fn chunks(&mut self, encrypted_size: usize) -> Option<Ciphertext> {
        let mut left = encrypted_size;
        let mut chunks = vec![];
        while left > 0 {
            let mut chunk = self.peer.take(wire::CHUNK)?;
            if !lock(self.memory).counted.packet_passes() {
                return None;
            }
            chunk.truncate(left);
            left -= chunk.len();
            chunks.push(chunk);
        }
        Some(Ciphertext { chunks })
    }

    fn verdict(&self, request: &Request) -> Option<(u16, Vec<u8>)> {
        let name = name_in(&request.payload).to_vec();
        let mut memory = lock(self.memory);
        if request.code == 1105 {
            self.reload(&mut memory);
        }
        let user = memory.by_id(&request.id).map(|user| user.name.clone());
        let file = user.and_then(|user| memory.files.get_mut(&(user, name)));
        let Some(file) = file else { return Some(refusal()) };
        if request.code == 1104 {
            file.verified = true;
            self.reload(&mut memory);
        }
        let silent = request.code == 1105 && self.options.silent_1105;
        (!silent).then(|| (2104, request.id.to_vec()))
    }

    /// The real server reads its table of users anew; who has no key yet is not in it.
    fn reload(&self, memory: &mut Memory) {
        if self.real() {
            memory.users.retain(|user| user.spki.is_some());
        }
    }

    fn real(&self) -> bool {
        self.options.manners == Manners::Real
    }
}

/// Takes off what looks like padding; when the same ciphertext comes again, it was none.
fn read_either_way(file: &mut File, sent: Ciphertext, aes_key: &[u8; 16]) -> Option<Vec<u8>> {
    let strip = match &file.last {
        Some((last, stripped)) if *last == sent => !stripped,
        _ => true,
    };
    let content = sent.read(aes_key, strip)?;
    file.last = Some((sent, strip));
    Some(content)
}

fn refusal() -> (u16, Vec<u8>) {
    (2107, vec![])
}

fn name_in(payload: &[u8]) -> &[u8] {
    wire::strip(&payload[..wire::NAME_FIELD])
}
