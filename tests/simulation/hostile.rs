//! A peer that does what no client should: legal and illegal requests in any order, in both dialects, under names and
//! ids of others, cut short, repeated, or followed by silence.
//!
//! Two things it does not do, because the classic protocol cannot defend against them (see `docs/SECURITY.md`):
//! reconnecting with somebody's id *and* name, and speaking for somebody's id in d1100.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use coffer_protocol::cipher::SessionKey;
use coffer_protocol::encode::Encoder;
use coffer_protocol::reply::Reply;
use coffer_protocol::request::{FILE_PACKET, FilePacket, Request, Verdict};
use coffer_protocol::{ClientId, Dialect, PACKET};
use cofferd::moment::Moment;

use crate::around::Around;
use crate::dice::Dice;
use crate::inbox::{Inbox, News};
use crate::keys::{HOSTILE, KEYS};

/// Connections that one of them has at the same time.
const LINKS_MAX: usize = 4;

/// Names that no client may have.
const BAD_NAMES: [&[u8]; 4] = [b"", &[0xff; 10], b"a\nb", &[b'n'; 255]];

/// Files that it sends and judges, some under names that no file may have.
const FILES: [&[u8]; 5] = [b"a.txt", b"../../etc/passwd", b"", b"nul\x01", b"docs/a.txt"];

pub(crate) struct Hostile {
    name: String,
    contests: bool,
    address: IpAddr,
    lines: Vec<Line>,
    id: Option<ClientId>,
    turn: Turn,
    /// Bytes that it sent last, to be sent again.
    last: Vec<u8>,
    deeds: u32,
    pub(crate) wake: Moment,
}

struct Line {
    link: usize,
    dialect: Dialect,
    inbox: Inbox,
    turn: Turn,
}

/// How far it is where it does as others do: in d825 on one connection, in d1100 in all.
#[derive(Default)]
struct Turn {
    stage: usize,
    session: Option<Arc<SessionKey>>,
}

impl Hostile {
    pub(crate) fn draw(number: usize, contests: bool, dice: &mut Dice) -> Self {
        Self {
            name: format!("hostile {number}"),
            contests,
            address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1 + (number % 2) as u8)),
            lines: Vec::new(),
            id: None,
            turn: Turn::default(),
            last: Vec::new(),
            deeds: 10 + dice.below(150) as u32,
            wake: Moment(dice.within(0, 2_000)),
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.deeds == 0
    }

    pub(crate) fn is_ready(&self, now: Moment) -> bool {
        !self.is_done() && self.wake <= now
    }

    /// One of its links, by number.
    pub(crate) fn link(&self, number: usize) -> Option<usize> {
        self.lines.get(number % LINKS_MAX).map(|line| line.link)
    }

    pub(crate) fn step(&mut self, cx: &mut Around) {
        self.deeds -= 1;
        if self.lines.is_empty() || (self.lines.len() < LINKS_MAX && cx.dice.once_in(6)) {
            let dialect = *cx.dice.pick(&[Dialect::D825, Dialect::D1100]);
            let link = cx.links.connect(self.address);
            self.lines.push(Line { link, dialect, inbox: Inbox::default(), turn: Turn::default() });
            // It begins as everybody does, more often than not.
            if cx.dice.once_in(3) {
                return;
            }
        }
        let line = cx.dice.below(self.lines.len());
        match cx.dice.below(20) {
            0 => self.leave(line, cx),
            1 => cx.links[self.lines[line].link].up_ended = true,
            2 => self.wake = cx.now + Duration::from_millis(cx.dice.within(0, 90_000)),
            3..=9 => self.read(line, cx),
            _ => self.send(line, cx),
        }
        if self.is_done() {
            self.end(cx);
        }
    }

    /// Some connections are closed at the end, some only left alone.
    fn end(&mut self, cx: &mut Around) {
        while !self.lines.is_empty() {
            if cx.dice.once_in(2) {
                self.leave(0, cx);
            } else {
                self.lines.remove(0);
            }
        }
    }

    fn leave(&mut self, line: usize, cx: &mut Around) {
        let link = self.lines.swap_remove(line).link;
        if cx.dice.once_in(2) {
            cx.links[link].cut = true;
        }
        cx.links[link].close();
    }

    fn read(&mut self, line: usize, cx: &mut Around) {
        let Line { link, inbox, .. } = &mut self.lines[line];
        let link = *link;
        match inbox.look(&mut cx.links[link], cx.dice) {
            News::None => {}
            News::Over => {
                self.lines.swap_remove(line);
                cx.links[link].close();
            }
            News::Reply(_, reply) => self.learn(line, cx, reply),
        }
    }

    fn turn(&mut self, line: usize) -> &mut Turn {
        match self.lines[line].dialect {
            Dialect::D825 => &mut self.lines[line].turn,
            Dialect::D1100 => &mut self.turn,
        }
    }

    fn learn(&mut self, line: usize, cx: &mut Around, reply: Reply) {
        match reply {
            Reply::Registered { id } | Reply::ReconnectRefused { id }
                if !cx.model.is_correct(id) =>
            {
                self.id = Some(id);
            }
            Reply::Key { id, wrapped } | Reply::Reconnected { id, wrapped } => {
                let ours = (KEYS[HOSTILE].public.clone(), wrapped);
                if let Some(session) = cx.keyring.get(&ours) {
                    assert!(!cx.model.is_correct(id), "a stranger has the key of {id}");
                    self.id = Some(id);
                    self.turn(line).session = Some(Arc::clone(session));
                }
            }
            Reply::FileReceived { id, .. } | Reply::Acknowledged { id } => {
                assert!(!cx.model.is_correct(id), "a stranger spoke for {id}");
            }
            _ => {}
        }
    }

    fn send(&mut self, line: usize, cx: &mut Around) {
        let Line { link, dialect, .. } = self.lines[line];
        let mut bytes = self.message(line, dialect, cx);
        while cx.dice.once_in(3) {
            // Without waiting for answers.
            bytes.extend(self.message(line, dialect, cx));
        }
        let sent = match cx.dice.below(6) {
            0 => cx.dice.below(bytes.len() + 1),
            _ => bytes.len(),
        };
        cx.links[link].send(&bytes[..sent]);
        self.last = bytes;
    }

    fn message(&mut self, line: usize, dialect: Dialect, cx: &mut Around) -> Vec<u8> {
        match cx.dice.below(32) {
            0..=1 => self.hello(dialect, cx),
            2..=3 => self.public_key(dialect, cx.dice),
            4..=5 => self.verdict(dialect, cx),
            6..=9 => self.upload(line, file(cx.dice), true, cx.dice),
            10 => self.packets(cx),
            11 => self.chunks(cx.dice),
            12 => self.last.clone(),
            13 => noise(cx.dice),
            _ => self.next_in_turn(line, dialect, cx.dice),
        }
    }

    /// What a client would send next: so it gets far enough to do harm.
    fn next_in_turn(&mut self, line: usize, dialect: Dialect, dice: &mut Dice) -> Vec<u8> {
        let turn = self.turn(line);
        let now = if turn.stage == 1 && turn.session.is_some() { 2 } else { turn.stage };
        turn.stage = if now == 3 { 2 - usize::from(dice.once_in(4)) * 2 } else { now + 1 };
        let (id, name) = (self.id.unwrap_or(ClientId::NONE), self.name.as_bytes());
        let file = FILES[0];
        match now {
            0 if self.id.is_none() => pushed(Request::Register { name }, dialect, id),
            0 => pushed(Request::Reconnect { name }, dialect, id),
            1 => self.public_key(dialect, dice),
            2 => self.upload(line, file, false, dice),
            _ => pushed(Request::Verdict { verdict: Verdict::Right, file }, dialect, id),
        }
    }

    /// An id to bear: in d825 perhaps somebody else's.
    fn id(&self, dialect: Dialect, cx: &mut Around) -> ClientId {
        let victim = cx.dice.below(16);
        match (cx.dice.below(8), dialect, self.id) {
            (0, ..) => ClientId::NONE,
            (1, ..) => ClientId(cx.dice.bytes()),
            (2, Dialect::D825, _) => cx.model.victim(victim).map_or(ClientId::NONE, |(_, id)| id),
            (_, _, own) => own.unwrap_or(ClientId::NONE),
        }
    }

    fn hello(&self, dialect: Dialect, cx: &mut Around) -> Vec<u8> {
        let id = self.id(dialect, cx);
        let victim = cx.dice.below(16);
        let theirs = match cx.model.victim(victim) {
            Some((name, theirs)) if theirs != id => name,
            _ => &self.name,
        };
        let name: &[u8] = match cx.dice.below(12) {
            0 => theirs.as_bytes(),
            1 if self.contests && !cx.model.is_correct(id) => b"Everybody",
            2 => BAD_NAMES[cx.dice.below(BAD_NAMES.len())],
            _ => self.name.as_bytes(),
        };
        let request = match cx.dice.below(2) {
            0 => Request::Register { name },
            _ => Request::Reconnect { name },
        };
        pushed(request, dialect, id)
    }

    fn public_key(&self, dialect: Dialect, dice: &mut Dice) -> Vec<u8> {
        let noise: [u8; 162] = dice.bytes();
        let key: &[u8] = match dice.below(6) {
            0 => &noise,
            1 => &KEYS[HOSTILE].public[..100],
            _ => &KEYS[HOSTILE].public,
        };
        let request = Request::PublicKey { name: self.name.as_bytes(), key };
        pushed(request, dialect, self.id.unwrap_or(ClientId::NONE))
    }

    fn verdict(&self, dialect: Dialect, cx: &mut Around) -> Vec<u8> {
        let verdicts = [Verdict::Right, Verdict::SendingAgain, Verdict::GivingUp];
        let verdict = *cx.dice.pick(&verdicts);
        let file = file(cx.dice);
        let id = self.id(dialect, cx);
        pushed(Request::Verdict { verdict, file }, dialect, id)
    }

    /// A file as it should be, but for a byte or a piece here and there.
    fn upload(&mut self, line: usize, file: &[u8], spoil: bool, dice: &mut Dice) -> Vec<u8> {
        let id = self.id;
        let (Some(session), Some(id)) = (&self.turn(line).session, id) else { return noise(dice) };
        let size_max = *dice.pick(&[6_000, 48_000]);
        let content = vec![dice.below(256) as u8; dice.below(size_max)];
        let mut wire = Vec::new();
        let mut encoder = Encoder::new(session, id, file, content.len() as u64).expect("small");
        encoder.push_head(&mut wire);
        encoder.push(&content, &mut wire);
        encoder.finish(&mut wire);
        match dice.below(6) {
            _ if !spoil => {}
            0 => {
                let at = dice.below(wire.len());
                wire[at] ^= 1 << dice.below(8);
            }
            1 => {
                let at = dice.below(wire.len());
                wire.drain(at..(at + FILE_PACKET).min(wire.len()));
            }
            2 => wire.extend_from_within(..wire.len().min(3 * FILE_PACKET)),
            _ => {}
        }
        wire
    }

    /// Packets that announce anything.
    fn packets(&self, cx: &mut Around) -> Vec<u8> {
        let id = self.id(Dialect::D825, cx);
        let mut wire = Vec::new();
        let count = 1 + cx.dice.below(100) as u16;
        let encrypted_size = match cx.dice.below(3) {
            0 => cx.dice.within(0, u32::MAX.into()) as u32,
            1 => u32::from(count) * PACKET as u32,
            _ => 16 * cx.dice.below(5000) as u32,
        };
        let plain_size = encrypted_size.saturating_sub(cx.dice.below(18) as u32);
        for _ in 0..1 + cx.dice.below(4) {
            let number = cx.dice.below(200) as u16;
            let data = &[7; PACKET];
            let file = b"packets";
            let packet = FilePacket { encrypted_size, plain_size, number, count, file, data };
            Request::Packet(packet).push(Dialect::D825, id, &mut wire);
        }
        wire
    }

    /// 1103 and some of what it announces, or more.
    fn chunks(&self, dice: &mut Dice) -> Vec<u8> {
        let encrypted_size = match dice.below(3) {
            0 => dice.within(0, u32::MAX.into()) as u32,
            _ => 16 * dice.below(700) as u32,
        };
        let request = Request::Upload { encrypted_size, file: file(dice) };
        let mut wire = pushed(request, Dialect::D1100, self.id.unwrap_or(ClientId::NONE));
        wire.resize(wire.len() + dice.below(12 * PACKET), 0x55);
        wire
    }
}

fn pushed(request: Request, dialect: Dialect, id: ClientId) -> Vec<u8> {
    let mut wire = Vec::new();
    request.push(dialect, id, &mut wire);
    wire
}

fn file(dice: &mut Dice) -> &'static [u8] {
    FILES[dice.below(FILES.len())]
}

/// Bytes that mean nothing, or a header that means too much.
fn noise(dice: &mut Dice) -> Vec<u8> {
    let mut bytes: Vec<u8> = dice.bytes::<64>().repeat(1 + dice.below(30));
    if dice.once_in(2) {
        let code = *dice.pick(&[825_u16, 826, 828, 900, 1100, 1103, 1106, 1]);
        bytes[17..19].copy_from_slice(&code.to_le_bytes());
    }
    bytes
}
