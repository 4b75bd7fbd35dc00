//! The d1100 client: one connection for every request, 1024-byte packets, two files in one run.

use super::keys::Key;
use super::link::{Answer, Faults, Link};
use super::transcript::{End, Event, Transcript};
use super::wire::{self, CHUNK};
use super::{Identity, PATIENCE};
use std::net::SocketAddr;
use std::time::Duration;

const SENDINGS: u32 = 3;

/// A file to send.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// As written in `transfer.info`, folders included.
    pub(crate) path: Vec<u8>,
    pub(crate) content: Vec<u8>,
}

/// How much of a run is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phases {
    /// As the original: the first file, then `1102` and the second one. That it goes on only after a success is
    /// assumed; nobody looked.
    Both,
    /// Only the first file.
    First,
}

/// What one run is to do.
#[derive(Clone, Debug)]
pub(crate) struct Client1100 {
    pub(crate) server: SocketAddr,
    /// Line 2 of `transfer.info`.
    pub(crate) name: Vec<u8>,
    /// The comma-separated files of line 3; one alone is sent twice.
    pub(crate) files: Vec<File>,
    pub(crate) phases: Phases,
    /// For a registration; a reconnect uses that of its identity.
    pub(crate) key: Key,
    /// `me.info`: with it the client starts with 1102, without it with 1100.
    pub(crate) identity: Option<Identity>,
    /// Leave out the zeros behind every request but 1103.
    pub(crate) unpadded: bool,
    pub(crate) faults: Faults,
    pub(crate) patience: Duration,
}

impl Client1100 {
    /// A first run with one phase, without faults.
    pub(crate) fn new(server: SocketAddr, name: &str, path: &str, content: &[u8]) -> Self {
        Self {
            server,
            name: name.into(),
            files: vec![File { path: path.into(), content: content.to_vec() }],
            phases: Phases::First,
            key: Key::A,
            identity: None,
            unpadded: false,
            faults: Faults::default(),
            patience: PATIENCE,
        }
    }

    /// The run as the original does it, with a second file.
    pub(crate) fn and_then(mut self, path: &str, content: &[u8]) -> Self {
        self.files.push(File { path: path.into(), content: content.to_vec() });
        self.phases = Phases::Both;
        self
    }

    pub(crate) fn run(&self) -> Transcript {
        let transcript =
            Transcript { events: vec![], end: End::Failure, identity: None, aes_key: None };
        let mut run = Run { client: self, transcript, sendings: 0, written: 0 };
        run.transcript.identity = self.identity.clone();
        run.transcript.end = match run.phases() {
            Ok(()) => End::Success,
            Err(Stop::Failure) => End::Failure,
            Err(Stop::Hang) => End::Hangs,
            Err(Stop::CannotConnect) => End::CannotConnect,
        };
        run.transcript
    }
}

/// Why a run ended early.
enum Stop {
    Failure,
    Hang,
    CannotConnect,
}

struct Run<'a> {
    client: &'a Client1100,
    transcript: Transcript,
    sendings: u32,
    written: usize,
}

impl Run<'_> {
    fn phases(&mut self) -> Result<(), Stop> {
        let files = &self.client.files;
        let (me, aes_key) = match self.client.identity.clone() {
            Some(me) => self.reconnect(Identity { id: cut(me.id, b'\n'), ..me })?,
            None => self.register()?,
        };
        self.send_file(&me, &aes_key, &files[0])?;
        if self.client.phases == Phases::First {
            return Ok(());
        }
        let (me, aes_key) = self.reconnect(me)?;
        self.send_file(&me, &aes_key, files.last().expect("there is a first file"))
    }

    fn register(&mut self) -> Result<(Identity, [u8; 16]), Stop> {
        let name = self.client.name.clone();
        let payload =
            self.must(1100, &[0; 16], &wire::name_field(&name), |code, _| code == 2100)?;
        // It handles the id as a C string.
        let me = Identity { name, id: cut(id_in(&payload), 0), key: self.client.key };
        self.transcript.identity = Some(me.clone());
        let request = [&wire::name_field(&me.name)[..], &me.key.spki()].concat();
        let payload = self.must(1101, &me.id, &request, |code, payload| {
            code == 2102 && id_in(payload) == me.id
        })?;
        self.session(me, &payload)
    }

    /// 1102; on 2106 it gives up.
    fn reconnect(&mut self, me: Identity) -> Result<(Identity, [u8; 16]), Stop> {
        let payload = self.must(1102, &me.id, &wire::name_field(&me.name), |code, payload| {
            code == 2105 && id_in(payload) == me.id
        })?;
        self.session(me, &payload)
    }

    fn session(&mut self, me: Identity, payload: &[u8]) -> Result<(Identity, [u8; 16]), Stop> {
        let aes_key = me.key.unwrap_sha256(&payload[16..wire::KEY_REPLY]).ok_or(Stop::Failure)?;
        self.transcript.aes_key = Some(aes_key.clone());
        Ok((me, aes_key.try_into().map_err(|_| Stop::Failure)?))
    }

    /// Up to three sendings. A right answer to the third one is not taken; 1106 is never sent.
    fn send_file(&mut self, me: &Identity, aes_key: &[u8; 16], file: &File) -> Result<(), Stop> {
        let checksum = wire::md5_sum(&file.content);
        let whole_path = wire::name_field(&file.path);
        for sending in 1..=SENDINGS {
            let bytes = self.upload(me, aes_key, file);
            let answer = self.exchange(1103, &bytes)?;
            let right = right_checksum(&answer, me, &file.path, checksum);
            self.note(if right { Event::ChecksumRight } else { Event::ErrorLine });
            if right && sending < SENDINGS {
                self.must(1104, &me.id, &whole_path, |code, payload| {
                    code == 2104 && id_in(payload) == me.id
                })?;
                return Ok(());
            }
            // Whatever it is answered.
            self.exchange(1105, &self.packet(&me.id, 1105, &whole_path))?;
        }
        Err(Stop::Failure)
    }

    /// 1103 and the packets behind it. The last one is filled up with bytes of the packet before it.
    fn upload(&mut self, me: &Identity, aes_key: &[u8; 16], file: &File) -> Vec<u8> {
        self.sendings += 1;
        let content = self.client.faults.content(self.sendings, &file.content);
        let mut left = wire::round_up(content.len());
        let payload =
            [&wire::size_field(left)[..], &wire::name_field(last_part(&file.path))].concat();
        let mut packet = wire::request(&me.id, 1103, payload.len(), &payload);
        packet.resize(CHUNK, 0);
        let mut bytes = packet.clone();
        for chunk in content.chunks(CHUNK) {
            let encrypted = wire::encrypt_chunk(aes_key, chunk);
            // Of a full chunk its padding falls off here, of the last one what is over the announced size.
            let sent = left.min(CHUNK);
            packet[..sent].copy_from_slice(&encrypted[..sent]);
            bytes.extend_from_slice(&packet);
            left -= sent;
        }
        bytes
    }

    /// A request that must be answered well; it is not tried again. Returns the answer's payload.
    fn must(
        &mut self,
        code: u16,
        id: &[u8; 16],
        payload: &[u8],
        right: impl Fn(u16, &[u8]) -> bool,
    ) -> Result<Vec<u8>, Stop> {
        match self.exchange(code, &self.packet(id, code, payload))? {
            Answer::Reply { code, size, payload } if right(code, &payload) && sized(code, size) => {
                Ok(payload)
            }
            _ => {
                self.note(Event::ErrorLine);
                Err(Stop::Failure)
            }
        }
    }

    /// One connection: the bytes, then one packet of answer.
    fn exchange(&mut self, code: u16, bytes: &[u8]) -> Result<Answer, Stop> {
        let Client1100 { server, faults, patience, .. } = self.client;
        let mut link = Link::connect(*server, faults, *patience, self.written)
            .map_err(|_| Stop::CannotConnect)?;
        self.note(Event::Connected);
        self.note(Event::Sent(code));
        self.written += link.send(bytes);
        if link.is_dead() {
            return Err(Stop::Failure);
        }
        let answer = link.receive_packet();
        self.note(answer.event());
        match answer {
            Answer::Silence => Err(Stop::Hang),
            answer => Ok(answer),
        }
    }

    fn packet(&self, id: &[u8; 16], code: u16, payload: &[u8]) -> Vec<u8> {
        let mut packet = wire::request(id, code, payload.len(), payload);
        if !self.client.unpadded {
            packet.resize(CHUNK, 0);
        }
        packet
    }

    fn note(&mut self, event: Event) {
        self.transcript.events.push(event);
    }
}

/// Of all answers only those with a key have their size looked at.
fn sized(code: u16, size: usize) -> bool {
    !matches!(code, 2102 | 2105) || size == wire::KEY_REPLY
}

/// 2103 with the id, the checksum, and a name that starts with the whole path; its sizes are not looked at.
fn right_checksum(answer: &Answer, me: &Identity, path: &[u8], checksum: u32) -> bool {
    matches!(answer, Answer::Reply { code: 2103, payload, .. }
        if id_in(payload) == me.id
            && payload[20..275].starts_with(path)
            && wire::u32_at(payload, 275) == checksum)
}

fn id_in(payload: &[u8]) -> [u8; 16] {
    payload[..16].try_into().expect("a packet has room for an id")
}

/// The id up to its first `end` byte, and zeros behind it.
fn cut(mut id: [u8; 16], end: u8) -> [u8; 16] {
    if let Some(at) = id.iter().position(|&byte| byte == end) {
        id[at..].fill(0);
    }
    id
}

fn last_part(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or(path)
}
