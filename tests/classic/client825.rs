//! The d825 client: one connection, three tries for every request, three rounds for a file.

use super::keys::Key;
use super::link::{Answer, Faults, Link};
use super::transcript::{End, Event, Transcript};
use super::wire::{self, CHUNK};
use super::{Identity, PATIENCE};
use std::net::SocketAddr;
use std::time::Duration;

const TRIES: u32 = 3;
const ROUNDS: u32 = 3;

/// The order in which the packets of a file are sent.
#[derive(Clone, Debug, Default)]
pub(crate) enum Order {
    #[default]
    Ascending,
    Descending,
    /// Every packet twice in a row; the last one once, as its repeat would come after the answer.
    EachTwice,
    /// By a seed.
    Shuffled(u64),
    /// These numbers, whatever they are.
    Exactly(Vec<u16>),
}

impl Order {
    fn numbers(&self, count: u16) -> Vec<u16> {
        match self {
            Self::Ascending => (0..count).collect(),
            Self::Descending => (0..count).rev().collect(),
            Self::EachTwice => {
                (0..count).flat_map(|n| if n + 1 < count { vec![n, n] } else { vec![n] }).collect()
            }
            Self::Shuffled(seed) => shuffled((0..count).collect(), *seed),
            Self::Exactly(numbers) => numbers.clone(),
        }
    }
}

/// Fisher and Yates, with xorshift64.
fn shuffled(mut numbers: Vec<u16>, seed: u64) -> Vec<u16> {
    let mut state = seed.max(1);
    for last in (1..numbers.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let bound = u64::try_from(last).expect("a count fits") + 1;
        numbers.swap(last, usize::try_from(state % bound).expect("an index fits"));
    }
    numbers
}

/// What one run is to do.
#[derive(Clone, Debug)]
pub(crate) struct Client825 {
    pub(crate) server: SocketAddr,
    /// Line 2 of `transfer.info`.
    pub(crate) name: Vec<u8>,
    /// Line 3 of `transfer.info`, as written.
    pub(crate) file_name: Vec<u8>,
    /// Empty also stands for a missing file.
    pub(crate) content: Vec<u8>,
    /// For a registration; a reconnect uses that of its identity.
    pub(crate) key: Key,
    /// `me.info`: with it the client reconnects, without it registers.
    pub(crate) identity: Option<Identity>,
    pub(crate) order: Order,
    pub(crate) faults: Faults,
    pub(crate) patience: Duration,
}

impl Client825 {
    /// A first run, without faults.
    pub(crate) fn new(server: SocketAddr, name: &str, file_name: &str, content: &[u8]) -> Self {
        Self {
            server,
            name: name.into(),
            file_name: file_name.into(),
            content: content.to_vec(),
            key: Key::A,
            identity: None,
            order: Order::Ascending,
            faults: Faults::default(),
            patience: PATIENCE,
        }
    }

    pub(crate) fn run(&self) -> Transcript {
        let mut transcript = Transcript {
            events: vec![],
            end: End::CannotConnect,
            identity: self.identity.clone(),
            aes_key: None,
        };
        if let Ok(link) = Link::connect(self.server, &self.faults, self.patience, 0) {
            transcript.events.push(Event::Connected);
            let mut run = Run { client: self, link, transcript, sendings: 0 };
            run.transcript.end = match run.session() {
                Ok(end) => end,
                Err(Stop::Fatal) => End::Failure,
                Err(Stop::Hang) => End::Hangs,
            };
            transcript = run.transcript;
        }
        transcript
    }
}

/// Why a session ended early.
enum Stop {
    /// `Fatal:` after three tries.
    Fatal,
    Hang,
}

struct Run<'a> {
    client: &'a Client825,
    link: Link,
    transcript: Transcript,
    sendings: u32,
}

impl Run<'_> {
    fn session(&mut self) -> Result<End, Stop> {
        let (me, aes_key) = match self.client.identity.clone() {
            Some(me) => self.reconnect(me)?,
            None => self.register()?,
        };
        self.transcript.aes_key = Some(aes_key.to_vec());
        self.send_file(&me, &aes_key)
    }

    fn register(&mut self) -> Result<(Identity, [u8; 32]), Stop> {
        let name = self.client.name.clone();
        let message = wire::request(&[0; 16], 825, 255, &wire::name_field(&name));
        let (_, payload) = self.ask(
            825,
            |_| message.clone(),
            |code, payload| code == 1600 && payload.len() == 16,
        )?;
        self.exchange_keys(Identity { name, id: id_in(&payload), key: self.client.key })
    }

    /// 827; an unknown name is answered with a new id, and a key exchange follows.
    fn reconnect(&mut self, me: Identity) -> Result<(Identity, [u8; 32]), Stop> {
        let message = wire::request(&me.id, 827, 255, &wire::name_field(&me.name));
        let (code, payload) = self.ask(
            827,
            |_| message.clone(),
            |code, payload| match code {
                1605 => payload.len() == wire::KEY_REPLY && id_in(payload) == me.id,
                1606 => payload.len() == 16,
                _ => false,
            },
        )?;
        if code == 1606 {
            return self.exchange_keys(Identity { id: id_in(&payload), ..me });
        }
        let aes_key = unwrap(me.key, &payload)?;
        Ok((me, aes_key))
    }

    fn exchange_keys(&mut self, me: Identity) -> Result<(Identity, [u8; 32]), Stop> {
        self.transcript.identity = Some(me.clone());
        let mut payload = wire::name_field(&me.name).to_vec();
        payload.extend_from_slice(&me.key.spki());
        let message = wire::request(&me.id, 826, payload.len(), &payload);
        let (_, payload) = self.ask(
            826,
            |_| message.clone(),
            |code, payload| {
                code == 1602 && payload.len() == wire::KEY_REPLY && id_in(payload) == me.id
            },
        )?;
        let aes_key = unwrap(me.key, &payload)?;
        Ok((me, aes_key))
    }

    /// Three rounds of 828; then the verdict.
    fn send_file(&mut self, me: &Identity, aes_key: &[u8; 32]) -> Result<End, Stop> {
        let client = self.client;
        let encrypted_size = (client.content.len() / wire::BLOCK + 1) * wire::BLOCK;
        let echo =
            [&wire::size_field(encrypted_size)[..], &wire::name_field(&client.file_name)].concat();
        for _ in 0..ROUNDS {
            let (_, payload) = self.ask(
                828,
                |run| run.packets(me, aes_key),
                |code, payload| {
                    code == 1603
                        && payload.len() == wire::CHECKSUM_REPLY
                        && id_in(payload) == me.id
                        && payload[16..275] == echo[..]
                },
            )?;
            if wire::u32_at(&payload, 275) == wire::cksum(&client.content) {
                self.note(Event::ChecksumRight);
                self.last_word(me, 900)?;
                return Ok(End::Success);
            }
            self.note(Event::ChecksumWrong);
            self.tell(me, 901);
        }
        self.last_word(me, 902)?;
        Ok(End::Failure)
    }

    /// Every packet of the file, encrypted anew.
    fn packets(&mut self, me: &Identity, aes_key: &[u8; 32]) -> Vec<u8> {
        self.sendings += 1;
        let plain = self.client.faults.content(self.sendings, &self.client.content);
        let encrypted = wire::encrypt_whole(aes_key, &plain);
        // The original's 16-bit counter: 65536 packets are sent as none, 65537 as one.
        let count = (encrypted.len().div_ceil(CHUNK) % 65536) as u16;
        let mut bytes = vec![];
        for number in self.client.order.numbers(count) {
            let start = usize::from(number) * CHUNK;
            let data = &encrypted[start.min(encrypted.len())..encrypted.len().min(start + CHUNK)];
            let mut payload = Vec::with_capacity(wire::FILE_PACKET);
            payload.extend_from_slice(&wire::size_field(encrypted.len()));
            payload.extend_from_slice(&wire::size_field(plain.len()));
            payload.extend_from_slice(&number.to_le_bytes());
            payload.extend_from_slice(&count.to_le_bytes());
            payload.extend_from_slice(&wire::name_field(&self.client.file_name));
            payload.extend_from_slice(data);
            payload.resize(wire::FILE_PACKET, 0);
            bytes.extend(wire::request(&me.id, 828, wire::FILE_PACKET, &payload));
        }
        bytes
    }

    /// 900 or 902. Whatever comes back, the real client does not report failure; but it does wait.
    fn last_word(&mut self, me: &Identity, code: u16) -> Result<(), Stop> {
        let message = self.verdict(me, code);
        let asked = self.ask(
            code,
            |_| message.clone(),
            |code, payload| {
                code == 1603 && payload.len() == wire::CHECKSUM_REPLY && id_in(payload) == me.id
            },
        );
        match asked {
            Err(Stop::Hang) => Err(Stop::Hang),
            Ok(_) | Err(Stop::Fatal) => Ok(()),
        }
    }

    /// 901: no answer is read.
    fn tell(&mut self, me: &Identity, code: u16) {
        if !self.link.is_dead() {
            self.note(Event::Sent(code));
            self.link.send(&self.verdict(me, code));
        }
    }

    fn verdict(&self, me: &Identity, code: u16) -> Vec<u8> {
        wire::request(&me.id, code, 255, &wire::name_field(&self.client.file_name))
    }

    /// Asks up to three times on the same connection. An answer that is right only the third time still is fatal.
    fn ask(
        &mut self,
        code: u16,
        mut message: impl FnMut(&mut Self) -> Vec<u8>,
        right: impl Fn(u16, &[u8]) -> bool,
    ) -> Result<(u16, Vec<u8>), Stop> {
        for attempt in 1..=TRIES {
            if self.link.is_dead() {
                self.note(Event::ErrorLine);
                continue;
            }
            let bytes = message(self);
            self.note(Event::Sent(code));
            self.link.send(&bytes);
            let answer = self.link.receive();
            self.note(answer.event());
            match answer {
                Answer::Reply { code, payload, .. } if right(code, &payload) => {
                    if attempt < TRIES {
                        return Ok((code, payload));
                    }
                }
                Answer::Reply { .. } => {
                    self.note(Event::ErrorLine);
                    self.link.notice_close();
                }
                Answer::Closed => self.note(Event::ErrorLine),
                Answer::Silence => return Err(Stop::Hang),
            }
        }
        Err(Stop::Fatal)
    }

    fn note(&mut self, event: Event) {
        self.transcript.events.push(event);
    }
}

fn id_in(payload: &[u8]) -> [u8; 16] {
    payload[..16].try_into().expect("the size was checked")
}

fn unwrap(key: Key, payload: &[u8]) -> Result<[u8; 32], Stop> {
    let unwrapped = key.unwrap_sha1(&payload[16..]).ok_or(Stop::Fatal)?;
    unwrapped.try_into().map_err(|_| Stop::Fatal)
}
