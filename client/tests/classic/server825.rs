//! The d825 server.
//!
//! Where nobody looked at the real one, this is assumed of it: it closes after any 1607, and after a reconnect 1603
//! names the file as it was sent, although it is stored under the first name.

use super::clients::{keys, wire};
use super::faults::Counted;
use super::listening::{Listening, Style};
use super::peer::Peer;
use super::users825::{Assembly, Memory, Packet, Shape};
use super::{Faults, Manners};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The answer to 900, and of a polite server to 902.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To900 {
    /// What the real client wants: 1603 with 279 bytes.
    Like1603,
    /// The same with another id.
    Like1603WrongId,
    /// 1604 with the 16 bytes it claims.
    Exact1604,
    Exact1604ThenClose,
    /// 1604 claiming 255 bytes, and sending them.
    Full1604,
    /// 1604 claiming 255 bytes, of which 16 come. The real server's, with a close behind it.
    Short1604,
    Short1604ThenClose,
    Refused1607ThenClose,
    Close,
    Silence,
}

/// What a server is to be.
#[derive(Clone, Debug)]
pub(crate) struct Options825 {
    pub(crate) manners: Manners,
    pub(crate) to_900: To900,
    /// Ids to give out before random ones.
    pub(crate) ids: Vec<[u8; 16]>,
    pub(crate) faults: Faults,
}

impl Options825 {
    /// The existing server.
    pub(crate) fn real() -> Self {
        let to_900 = To900::Short1604ThenClose;
        Self { manners: Manners::Real, to_900, ids: vec![], faults: Faults::default() }
    }

    /// The same wire without its defects.
    pub(crate) fn polite() -> Self {
        Self { manners: Manners::Polite, to_900: To900::Exact1604, ..Self::real() }
    }
}

/// A running server; it stops when dropped.
#[derive(Debug)]
pub(crate) struct Server825 {
    listening: Listening,
    memory: Arc<Mutex<Memory>>,
}

impl Server825 {
    pub(crate) fn start(options: Options825) -> Self {
        let memory = Arc::new(Mutex::new(Memory {
            users: vec![],
            files: [].into(),
            ids: options.ids.iter().rev().copied().collect(),
            codes: vec![],
            counted: Counted::new(&options.faults),
        }));
        let shared = Arc::clone(&memory);
        let refuse_for = options.faults.refuse_for;
        let listening = Listening::start(Style::Threads, refuse_for, move |stream| {
            let peer = Peer::new(stream, options.faults.recv_once);
            let mut session = Session { options: &options, memory: &shared, peer };
            // `None` is a closed connection, and there is nobody to tell.
            let _ = session.serve();
        });
        Self { listening, memory }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.listening.addr()
    }

    /// What is stored under these names.
    pub(crate) fn stored(&self, user: &str, file: &str) -> Option<Vec<u8>> {
        lock(&self.memory).files.get(&(user.into(), file.into())).cloned()
    }

    /// The codes of all requests, an 828 once for each packet.
    pub(crate) fn codes(&self) -> Vec<u16> {
        lock(&self.memory).codes.clone()
    }

    /// Forgets everybody, as at a restart; the files stay.
    pub(crate) fn forget(&self) {
        lock(&self.memory).users.clear();
    }
}

fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a conversation stands.
enum Phase {
    Start,
    /// After 1601.
    Refused,
    /// The real server does not keep the key of a user that comes in through 1606.
    Key {
        id: [u8; 16],
        kept: bool,
    },
    File(Owner),
    Verdict {
        owner: Owner,
        shape: Shape,
        checksum: u32,
    },
}

/// Whose file it is, and the key it comes under.
#[derive(Clone, Copy)]
struct Owner {
    id: [u8; 16],
    aes_key: [u8; 32],
}

struct Header {
    id: [u8; 16],
    code: u16,
    size: usize,
}

struct Session<'a> {
    options: &'a Options825,
    memory: &'a Mutex<Memory>,
    peer: Peer,
}

/// In all of these, `None` closes the connection.
impl Session<'_> {
    fn serve(&mut self) -> Option<()> {
        let mut phase = Phase::Start;
        loop {
            let header = self.header()?;
            if lock(self.memory).counted.is_refused() {
                self.peer.take(header.size)?;
                self.answer(1607, &[])?;
                continue;
            }
            phase = match (phase, header.code) {
                (Phase::Start, 825) => self.register(&header)?,
                (Phase::Refused, 825) if !self.real() => self.register(&header)?,
                (Phase::Start, 827) => self.reconnect(&header)?,
                (Phase::Key { id, kept }, 826) => self.exchange_keys(&header, id, kept)?,
                (Phase::File(owner), 828) => self.receive(header, owner)?,
                (Phase::Verdict { owner, .. }, 828) if !self.real() => {
                    self.receive(header, owner)?
                }
                (Phase::Verdict { owner, shape, checksum }, 900..=902) => {
                    self.verdict(&header, owner, shape, checksum)?
                }
                (Phase::Refused | Phase::File(_) | Phase::Verdict { .. }, _) if self.real() => {
                    return None;
                }
                (phase, _) => self.refuse(phase, header.size)?,
            };
        }
    }

    fn register(&mut self, header: &Header) -> Option<Phase> {
        let name = self.name(header)?;
        let mut memory = lock(self.memory);
        let taken = memory.by_name(&name).is_some() || std::str::from_utf8(&name).is_err();
        let id = if taken { None } else { Some(memory.add(&name)) };
        drop(memory);
        match id {
            Some(id) => {
                self.answer(1600, &id)?;
                Some(Phase::Key { id, kept: true })
            }
            None => {
                self.answer(1601, &[])?;
                Some(Phase::Refused)
            }
        }
    }

    fn reconnect(&mut self, header: &Header) -> Option<Phase> {
        let name = self.name(header)?;
        let mut memory = lock(self.memory);
        let known = memory.by_name(&name).cloned();
        let id = known.as_ref().map_or_else(|| memory.add(&name), |user| user.id);
        drop(memory);
        let Some(user) = known else {
            self.answer(1606, &id)?;
            return Some(Phase::Key { id, kept: !self.real() });
        };
        let welcome = user.id == header.id && (user.first.is_some() || !self.real());
        match user.spki {
            Some(spki) if welcome => self.send_key(1605, id, &spki),
            _ if self.real() => None,
            _ => self.refuse(Phase::Start, 0),
        }
    }

    fn exchange_keys(&mut self, header: &Header, id: [u8; 16], kept: bool) -> Option<Phase> {
        let size = wire::NAME_FIELD + 160;
        if header.size != size {
            return self.refuse(Phase::Key { id, kept }, header.size);
        }
        let payload = self.peer.take(size)?;
        let (name, spki) = payload.split_at(wire::NAME_FIELD);
        let mut memory = lock(self.memory);
        let user = memory.by_id(&id)?;
        let sound = keys::wrap_sha1(spki, &[]).is_some();
        let right = header.id == id && user.name == wire::strip(name) && sound;
        user.spki = (right && kept).then(|| spki.to_vec());
        drop(memory);
        if right { self.send_key(1602, id, spki) } else { self.refuse(Phase::Key { id, kept }, 0) }
    }

    fn send_key(&mut self, code: u16, id: [u8; 16], spki: &[u8]) -> Option<Phase> {
        let aes_key: [u8; 32] = rand::random();
        let wrapped = keys::wrap_sha1(spki, &aes_key)?;
        self.answer(code, &[&id[..], &wrapped].concat())?;
        Some(Phase::File(Owner { id, aes_key }))
    }

    /// All packets of a file, of which the header of the first one is read; then 1603.
    fn receive(&mut self, first: Header, owner: Owner) -> Option<Phase> {
        let mut header = first;
        let mut assembly = Assembly::default();
        let (sent, kept) = loop {
            let packet = self.packet(&header, owner)?;
            let sent = packet.shape.clone();
            let kept = self.shape_kept(owner, &sent)?;
            if !assembly.add(packet, self.real()) {
                return None;
            }
            if assembly.is_complete(&kept) {
                break (sent, kept);
            }
            header = self.header()?;
        };
        // Under a shape kept from an earlier file only one of the same encrypted size can be read.
        if sent.encrypted_size != kept.encrypted_size {
            return None;
        }
        let content = wire::decrypt_whole(&owner.aes_key, &assembly.join(&kept)?)?;
        self.store(owner, kept, sent, &content)
    }

    fn packet(&mut self, header: &Header, owner: Owner) -> Option<Packet> {
        if header.code != 828 || header.id != owner.id || header.size != wire::FILE_PACKET {
            return None;
        }
        let packet = Packet::read(&self.peer.take(wire::FILE_PACKET)?);
        lock(self.memory).counted.packet_passes().then_some(packet)
    }

    /// The shape that the server goes by: the real one keeps that of the user's first file for ever.
    fn shape_kept(&self, owner: Owner, sent: &Shape) -> Option<Shape> {
        let mut memory = lock(self.memory);
        let first = &mut memory.by_id(&owner.id)?.first;
        if !self.real() {
            *first = Some(sent.clone());
        }
        Some(first.get_or_insert_with(|| sent.clone()).clone())
    }

    fn store(&mut self, owner: Owner, kept: Shape, sent: Shape, content: &[u8]) -> Option<Phase> {
        if self.real() && kept.name.contains(&b'/') {
            return self.refuse(Phase::Start, 0);
        }
        let mut memory = lock(self.memory);
        let user = memory.by_id(&owner.id)?.name.clone();
        memory.files.insert((user, kept.name), content.to_vec());
        let checksum = memory.counted.checksum(wire::cksum(content));
        drop(memory);
        self.answer(1603, &checksum_payload(owner.id, &sent, checksum))?;
        Some(Phase::Verdict { owner, shape: sent, checksum })
    }

    fn verdict(
        &mut self,
        header: &Header,
        owner: Owner,
        shape: Shape,
        checksum: u32,
    ) -> Option<Phase> {
        let name = self.name(header)?;
        if header.id != owner.id || name != shape.name {
            return None;
        }
        match header.code {
            // 901 makes the real server close, 902 kills its thread.
            901 | 902 if self.real() => None,
            901 => Some(Phase::Verdict { owner, shape, checksum }),
            _ => {
                self.confirm(owner, &shape, checksum)?;
                Some(Phase::Verdict { owner, shape, checksum })
            }
        }
    }

    fn confirm(&mut self, owner: Owner, shape: &Shape, checksum: u32) -> Option<()> {
        let id = owner.id;
        let other = id.map(|byte| !byte);
        let padded = wire::name_field(&id);
        match self.options.to_900 {
            To900::Like1603 => self.answer(1603, &checksum_payload(id, shape, checksum)),
            To900::Like1603WrongId => self.answer(1603, &checksum_payload(other, shape, checksum)),
            To900::Exact1604 => self.answer(1604, &id),
            To900::Exact1604ThenClose => self.answer(1604, &id).and(None),
            To900::Full1604 => self.answer(1604, &padded),
            To900::Short1604 => self.answer_claiming(1604, 255, &id),
            To900::Short1604ThenClose => self.answer_claiming(1604, 255, &id).and(None),
            To900::Refused1607ThenClose => self.answer(1607, &[]).and(None),
            To900::Close => None,
            To900::Silence => {
                self.peer.stay_silent();
                None
            }
        }
    }

    /// 1607. The real server closes with it, a polite one skips the `unread` payload and goes on in `phase`.
    fn refuse(&mut self, phase: Phase, unread: usize) -> Option<Phase> {
        if !self.real() {
            self.peer.take(unread)?;
        }
        self.answer(1607, &[])?;
        (!self.real()).then_some(phase)
    }

    fn header(&mut self) -> Option<Header> {
        let bytes = self.peer.take(wire::REQUEST_HEADER)?;
        let (id, code, size) = wire::request_header(&bytes);
        lock(self.memory).codes.push(code);
        Some(Header { id, code, size })
    }

    fn name(&mut self, header: &Header) -> Option<Vec<u8>> {
        if header.size != wire::NAME_FIELD {
            return None;
        }
        Some(wire::strip(&self.peer.take(wire::NAME_FIELD)?).to_vec())
    }

    fn answer(&mut self, code: u16, payload: &[u8]) -> Option<()> {
        self.answer_claiming(code, payload.len(), payload)
    }

    fn answer_claiming(&mut self, code: u16, size: usize, payload: &[u8]) -> Option<()> {
        if !lock(self.memory).counted.answer_passes() {
            return None;
        }
        self.peer.send(&wire::reply(code, size, payload))
    }

    fn real(&self) -> bool {
        self.options.manners == Manners::Real
    }
}

fn checksum_payload(id: [u8; 16], shape: &Shape, checksum: u32) -> Vec<u8> {
    let mut payload = id.to_vec();
    payload.extend_from_slice(&wire::size_field(shape.encrypted_size));
    payload.extend_from_slice(&wire::name_field(&shape.name));
    payload.extend_from_slice(&checksum.to_le_bytes());
    payload
}
