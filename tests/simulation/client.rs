//! A correct client, prompt or slow: it backs up its files and does not give up before they are acknowledged.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use coffer_protocol::cipher::SessionKey;
use coffer_protocol::encode::Encoder;
use coffer_protocol::reply::Reply;
use coffer_protocol::request::{FILE_PACKET, Request, Verdict};
use coffer_protocol::{ClientId, Dialect};
use cofferd::moment::Moment;

use crate::around::Around;
use crate::content::File;
use crate::dice::Dice;
use crate::errands::{Errands, Fate};
use crate::inbox::{Inbox, News};
use crate::keys::KEYS;
use crate::link::Links;
use crate::model::refuses;
use crate::profile::Profile;

/// How often a client begins anew before it gives up. While there are troubles it does not count.
const TRIES_MAX: u32 = 150;

/// How often a client hears that a file which it agreed with is refused before it believes that it is there.
const REFUSALS_BELIEVED: u32 = 4;

pub(crate) struct Client {
    pub(crate) name: String,
    dialect: Dialect,
    key: usize,
    address: IpAddr,
    manner: Manner,
    id: Option<ClientId>,
    session: Option<Arc<SessionKey>>,
    link: Option<usize>,
    inbox: Inbox,
    /// Not yet given to the network.
    unsent: Vec<u8>,
    errands: Errands,
    phase: Phase,
    /// Whether the phase's request is sent.
    asked: bool,
    /// Answers that said "wrong" to the current file.
    doubted: u32,
    refused_uploads: u32,
    tries: u32,
    /// When it goes on.
    pub(crate) wake: Moment,
}

/// How a client behaves.
#[derive(Clone, Copy)]
struct Manner {
    slow: bool,
    /// Nothing goes wrong in this run but what peers do.
    healthy: bool,
    contested: bool,
    disorder: bool,
    doubts: bool,
    refused_again: bool,
}

/// What a client does next, or waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Hello,
    SendKey,
    Upload,
    Verdict(Verdict),
    Done,
}

impl Client {
    pub(crate) fn draw(number: usize, profile: &Profile, dice: &mut Dice) -> Self {
        let dialect = *dice.pick(&[Dialect::D825, Dialect::D1100]);
        let contested = profile.contested && dice.once_in(2);
        let refused_again = refuses(profile.existing, dialect);
        let count = 1 + dice.below(3);
        let files = (0..count).map(|at| File::draw(profile, !refused_again, at, dice)).collect();
        Self {
            name: if contested { "Everybody".into() } else { format!("client {number}") },
            dialect,
            key: dice.below(KEYS.len() - 1),
            address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, number as u8)),
            manner: Manner {
                slow: profile.slow && dice.once_in(3),
                healthy: profile.is_healthy(),
                contested,
                disorder: profile.disorder,
                doubts: profile.doubts,
                refused_again,
            },
            id: None,
            session: None,
            link: None,
            inbox: Inbox::default(),
            unsent: Vec::new(),
            errands: Errands::new(files),
            phase: Phase::Hello,
            asked: false,
            doubted: 0,
            refused_uploads: 0,
            tries: 0,
            wake: Moment(dice.within(0, 500)),
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// The link that it would have cut, if it has one.
    pub(crate) fn link(&self) -> Option<usize> {
        self.link
    }

    /// Whether it would do something now.
    pub(crate) fn is_ready(&self, links: &Links, now: Moment) -> bool {
        let waits = self.asked && self.unsent.is_empty();
        let news = self.link.is_some_and(|link| links[link].has_news());
        !self.is_done() && self.wake <= now && (!waits || news)
    }

    pub(crate) fn step(&mut self, cx: &mut Around) {
        if self.manner.slow && cx.dice.once_in(3) {
            self.wake = cx.now + Duration::from_millis(cx.dice.within(0, 20_000));
            return;
        }
        if !self.unsent.is_empty() {
            self.send_on(cx);
        } else if !self.asked {
            self.ask(cx);
        } else if let Some(link) = self.link {
            match self.inbox.look(&mut cx.links[link], cx.dice) {
                News::None => {}
                News::Reply(dialect, reply) => {
                    // Who was sent away before a request arrived is told so in d825: the server cannot know better.
                    let any = reply == Reply::Error;
                    assert!(any || dialect == self.dialect, "an answer in another dialect");
                    self.answered(cx, reply);
                }
                News::Over => self.lost(cx),
            }
        }
    }

    /// Gives the network more of a request, all at once or little by little.
    fn send_on(&mut self, cx: &mut Around) {
        let Some(link) = self.link else { return };
        let count = if self.manner.slow || cx.dice.once_in(4) {
            self.unsent.len().min(1 + cx.dice.below(4 * FILE_PACKET))
        } else {
            self.unsent.len()
        };
        cx.links[link].send(&self.unsent[..count]);
        self.unsent.drain(..count);
    }

    fn ask(&mut self, cx: &mut Around) {
        let wants_fresh = self.dialect == Dialect::D1100 || self.phase == Phase::Hello;
        if wants_fresh {
            self.hang_up(cx.links);
        }
        if self.link.is_none() {
            if self.dialect == Dialect::D825 {
                self.phase = Phase::Hello;
            }
            self.link = Some(cx.links.connect(self.address));
            self.inbox = Inbox::default();
        }
        self.unsent = self.request(cx);
        self.asked = true;
        self.send_on(cx);
        if self.phase == Phase::Verdict(Verdict::SendingAgain) && self.dialect == Dialect::D825 {
            // Nothing is answered to 901.
            self.go_on(Phase::Upload);
        }
    }

    fn request(&mut self, cx: &mut Around) -> Vec<u8> {
        let mut bytes = Vec::new();
        let id = self.id.unwrap_or(ClientId::NONE);
        let name = self.name.as_bytes();
        let file = self.errands.file();
        let request = match self.phase {
            Phase::Hello if self.id.is_none() => Request::Register { name },
            Phase::Hello => Request::Reconnect { name },
            Phase::SendKey => Request::PublicKey { name, key: &KEYS[self.key].public },
            Phase::Upload => return self.packets(cx.dice),
            Phase::Verdict(verdict) => {
                if verdict == Verdict::Right {
                    cx.model.approved(id, &file.name, &file.content);
                    self.errands.settle(Fate::Uncertain);
                }
                Request::Verdict { verdict, file: &self.errands.file().name }
            }
            Phase::Done => return bytes,
        };
        request.push(self.dialect, id, &mut bytes);
        bytes
    }

    fn encoder(&self) -> Encoder {
        let file = self.errands.file();
        let session = self.session.as_ref().expect("has a key");
        let id = self.id.expect("has an id");
        Encoder::new(session, id, &file.name, file.content.len() as u64).expect("small")
    }

    fn packets(&self, dice: &mut Dice) -> Vec<u8> {
        let mut wire = Vec::new();
        let mut encoder = self.encoder();
        encoder.push_head(&mut wire);
        encoder.push(&self.errands.file().content, &mut wire);
        encoder.finish(&mut wire);
        if !self.manner.disorder || self.dialect == Dialect::D1100 {
            return wire;
        }
        let mut packets: Vec<&[u8]> = wire.chunks(FILE_PACKET).collect();
        for near in packets.chunks_mut(32) {
            dice.shuffle(near);
        }
        if dice.once_in(3) {
            let again = dice.below(packets.len());
            packets.push(packets[again]);
        }
        packets.concat()
    }

    fn checksum(&self) -> u32 {
        let mut encoder = self.encoder();
        encoder.push(&self.errands.file().content, &mut Vec::new());
        encoder.checksum()
    }

    fn answered(&mut self, cx: &mut Around, reply: Reply) {
        match (self.phase, reply) {
            (Phase::Hello, Reply::Registered { id }) => {
                self.id = Some(id);
                self.go_on(Phase::SendKey);
            }
            (Phase::Hello, Reply::ReconnectRefused { id }) => self.unknown(cx, id),
            (Phase::Hello, Reply::Reconnected { id, wrapped })
            | (Phase::SendKey, Reply::Key { id, wrapped }) => self.keyed(cx, id, &wrapped),
            (Phase::Upload, Reply::FileReceived { id, encrypted_size, file, checksum }) => {
                assert_eq!(Some(id), self.id, "an answer for somebody else");
                assert_eq!(file, self.errands.file().name, "an answer for another file");
                assert_eq!(encrypted_size, self.encoder().encrypted_size());
                self.compare(cx.dice, checksum);
            }
            (Phase::Verdict(_), Reply::FileReceived { .. }) if self.dialect == Dialect::D825 => {
                self.judged(cx);
            }
            (Phase::Verdict(_), Reply::Acknowledged { .. }) if self.dialect == Dialect::D1100 => {
                self.judged(cx);
            }
            (_, Reply::RegistrationRefused | Reply::Error) => self.refused(cx),
            (phase, reply) => panic!("{}: {reply:?} answers nothing in {phase:?}", self.name),
        }
    }

    /// 1606 / 2106.
    fn unknown(&mut self, cx: &mut Around, id: ClientId) {
        let was_told = cx.model.is_registered(&self.name);
        assert!(!was_told || self.manner.contested, "{} is forgotten", self.name);
        if self.dialect == Dialect::D825 {
            self.id = Some(id);
            self.go_on(Phase::SendKey);
        } else {
            assert_eq!(Some(id), self.id, "2106 bears the id that was sent");
            self.id = None;
            self.go_on(Phase::Hello);
        }
    }

    fn keyed(&mut self, cx: &mut Around, id: ClientId, wrapped: &[u8]) {
        assert_eq!(Some(id), self.id, "a key for somebody else");
        let key = &KEYS[self.key];
        let known = cx.keyring.get(&(key.public.clone(), wrapped.to_vec()));
        let session = known.unwrap_or_else(|| panic!("{} cannot open its key", self.name));
        if cx.dice.once_in(64) {
            let opened = key.unwrap(self.dialect, wrapped, cx.dice).expect("wrapped for us");
            assert_eq!(opened.expose(), session.expose());
        }
        self.session = Some(Arc::clone(session));
        cx.model.registered(&self.name, id, &key.public, self.dialect);
        self.go_on(Phase::Upload);
    }

    /// Its own checksum against the server's.
    fn compare(&mut self, dice: &mut Dice, checksum: u32) {
        let right = checksum == self.checksum() && !(self.manner.doubts && dice.once_in(3));
        let verdict = match (right, self.doubted) {
            (true, _) => Verdict::Right,
            (false, 0..=2) => Verdict::SendingAgain,
            (false, _) => Verdict::GivingUp,
        };
        self.doubted += u32::from(!right);
        self.go_on(Phase::Verdict(verdict));
    }

    /// The verdict is acknowledged.
    fn judged(&mut self, cx: &mut Around) {
        let Phase::Verdict(verdict) = self.phase else { return };
        match verdict {
            Verdict::Right => {
                let id = self.id.expect("has an id");
                let file = self.errands.file();
                cx.model.acknowledged(id, &file.name, &file.content);
                self.errands.settle(Fate::Acknowledged);
            }
            Verdict::GivingUp => {
                assert!(self.manner.doubts, "{}: the checksum stays wrong", self.name);
                self.errands.settle(Fate::GivenUp);
            }
            Verdict::SendingAgain => return self.go_on(Phase::Upload),
        }
        self.next_file(cx.links);
    }

    fn next_file(&mut self, links: &mut Links) {
        self.doubted = 0;
        self.refused_uploads = 0;
        let is_last = self.errands.is_done();
        self.go_on(if is_last { Phase::Done } else { Phase::Upload });
        if is_last {
            self.hang_up(links);
        }
    }

    /// An error is the answer.
    fn refused(&mut self, cx: &mut Around) {
        if self.phase == Phase::Upload && self.errands.is_uncertain() {
            self.refused_uploads += u32::from(cx.calm && self.manner.refused_again);
            if self.refused_uploads > REFUSALS_BELIEVED {
                self.errands.settle(Fate::Presumed);
                return self.next_file(cx.links);
            }
        }
        let next = match self.phase {
            // Whatever it is, it can be found out by beginning anew.
            Phase::Upload | Phase::Verdict(_) | Phase::SendKey => Phase::Hello,
            phase => phase,
        };
        self.begin_anew(cx, next);
    }

    /// The connection is gone, and with it perhaps an answer.
    fn lost(&mut self, cx: &mut Around) {
        let excused = self.manner.slow || !self.manner.healthy;
        assert!(excused, "{} was cut off without an answer: {:?}", self.name, self.phase);
        let next = match (self.dialect, self.phase) {
            (Dialect::D1100, phase) => phase,
            (Dialect::D825, _) => Phase::Hello,
        };
        self.begin_anew(cx, next);
    }

    fn begin_anew(&mut self, cx: &mut Around, phase: Phase) {
        self.hang_up(cx.links);
        self.go_on(phase);
        self.doubted = 0;
        self.tries += u32::from(cx.calm);
        // Longer than any reservation, at times.
        let pause = *cx.dice.pick(&[50, 1_000, 40_000, 11 * 60_000]);
        self.wake = cx.now + Duration::from_millis(cx.dice.within(0, pause));
        if self.tries > TRIES_MAX || (self.manner.contested && self.tries > 5) {
            self.phase = Phase::Done;
        }
    }

    fn go_on(&mut self, phase: Phase) {
        self.phase = phase;
        self.asked = false;
    }

    fn hang_up(&mut self, links: &mut Links) {
        if let Some(link) = self.link.take() {
            links[link].close();
        }
        self.unsent.clear();
    }

    /// What must have become of its files once the troubles were over. A slow client may have been cut off again and
    /// again, and of those that want the same name all but one are refused.
    pub(crate) fn check(&self, is_stored: impl Fn(ClientId, &File) -> bool) {
        if !self.manner.slow && !self.manner.contested {
            self.errands.check(&self.name, self.id, is_stored);
        }
    }

    /// For the trace.
    pub(crate) fn describe(&self) -> String {
        format!("{} {:?} {:?} {:?}", self.name, self.dialect, self.phase, self.errands.fates())
    }
}
