//! A peer that takes one step at a time, in either dialect, so that a test can interrupt it between any two.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use coffer_protocol::Dialect;

use crate::classic::keys::Key;
use crate::classic::wire::{self, CHUNK};
use crate::server::PATIENCE;

/// Answers, as the dialects number them alike.
pub(crate) const REGISTERED: u16 = 0;
pub(crate) const NAME_REFUSED: u16 = 1;
pub(crate) const KEY: u16 = 2;
pub(crate) const CHECKSUM: u16 = 3;
pub(crate) const ACKNOWLEDGED: u16 = 4;
pub(crate) const RECONNECTED: u16 = 5;
pub(crate) const RECONNECT_REFUSED: u16 = 6;
pub(crate) const ERROR: u16 = 7;

/// What is expected of a server that nobody takes down.
const ANSWERS: &str = "the server answers";

/// What a verdict says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Right,
    Again,
    GivingUp,
}

/// One client and the connection that it has.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) server: SocketAddr,
    pub(crate) dialect: Dialect,
    pub(crate) name: String,
    pub(crate) id: [u8; 16],
    /// The session key it received last.
    pub(crate) session_key: Vec<u8>,
    link: Option<TcpStream>,
}

impl Peer {
    pub(crate) fn new(server: SocketAddr, dialect: Dialect, name: &str) -> Self {
        Self { server, dialect, name: name.into(), id: [0; 16], session_key: vec![], link: None }
    }

    /// 825 / 1100.
    pub(crate) fn register(&mut self) -> u16 {
        self.try_register().expect(ANSWERS)
    }

    /// 826 / 1101.
    pub(crate) fn send_key(&mut self) -> u16 {
        self.try_send_key().expect(ANSWERS)
    }

    /// 827 / 1102.
    pub(crate) fn reconnect(&mut self) -> u16 {
        self.try_reconnect().expect(ANSWERS)
    }

    /// 828 / 1103 and the content.
    pub(crate) fn upload(&mut self, file: &[u8], content: &[u8]) -> u16 {
        self.try_upload(file, content).expect(ANSWERS)
    }

    /// 900 to 902 / 1104 to 1106. To 901 there is no answer.
    pub(crate) fn verdict(&mut self, verdict: Verdict, file: &[u8]) -> u16 {
        self.try_verdict(verdict, file).expect(ANSWERS)
    }

    /// [`Self::register`], from a server that may go down.
    pub(crate) fn try_register(&mut self) -> io::Result<u16> {
        let (answer, payload) = self.try_ask(&self.request(0, &self.name_field()))?;
        self.take_id(answer, &payload);
        Ok(answer)
    }

    /// [`Self::send_key`], to a server that may go down.
    pub(crate) fn try_send_key(&mut self) -> io::Result<u16> {
        let (answer, payload) = self.try_ask(&self.key_request())?;
        self.take_key(answer, &payload);
        Ok(answer)
    }

    /// [`Self::reconnect`], to a server that may go down.
    pub(crate) fn try_reconnect(&mut self) -> io::Result<u16> {
        let (answer, payload) = self.try_ask(&self.request(2, &self.name_field()))?;
        if self.dialect == Dialect::D825 {
            self.take_id(answer, &payload);
        }
        self.take_key(answer, &payload);
        Ok(answer)
    }

    /// [`Self::upload`], to a server that may go down.
    pub(crate) fn try_upload(&mut self, file: &[u8], content: &[u8]) -> io::Result<u16> {
        let (answer, payload) = self.try_ask(&self.upload_request(file, content))?;
        if answer == CHECKSUM {
            let expected = match self.dialect {
                Dialect::D825 => wire::cksum(content),
                Dialect::D1100 => wire::md5_sum(content),
            };
            assert_eq!(wire::u32_at(&payload, 275), expected, "the checksum of the content");
            assert_eq!(wire::strip(&payload[20..275]), file, "the name as it was sent");
        }
        Ok(answer)
    }

    /// [`Self::verdict`], to a server that may go down.
    pub(crate) fn try_verdict(&mut self, verdict: Verdict, file: &[u8]) -> io::Result<u16> {
        let request = self.verdict_request(verdict, file);
        Ok(self.try_ask(&request)?.0)
    }

    /// That the next sending of the file follows. Only d1100 answers.
    pub(crate) fn try_again(&mut self, file: &[u8]) -> io::Result<()> {
        if self.dialect == Dialect::D825 {
            let request = self.verdict_request(Verdict::Again, file);
            return self.try_link()?.write_all(&request);
        }
        assert_eq!(self.try_verdict(Verdict::Again, file)?, ACKNOWLEDGED);
        Ok(())
    }

    /// All that gets a client its first session key.
    pub(crate) fn introduce(&mut self) {
        assert_eq!((self.register(), self.send_key()), (REGISTERED, KEY), "{}", self.name);
    }

    /// Loses the connection.
    pub(crate) fn hang_up(&mut self) {
        if let Some(link) = self.link.take() {
            // Dropping it would not be enough: a process that another test is just starting may hold it, too, until
            // it runs its program. An error means that the server was first.
            let _ = link.shutdown(Shutdown::Both);
        }
    }

    /// What acknowledges a verdict.
    pub(crate) fn acknowledged(&self) -> u16 {
        match self.dialect {
            Dialect::D825 => CHECKSUM,
            Dialect::D1100 => ACKNOWLEDGED,
        }
    }

    pub(crate) fn key_request(&self) -> Vec<u8> {
        self.request(1, &[&self.name_field()[..], &Key::A.spki()].concat())
    }

    pub(crate) fn verdict_request(&self, verdict: Verdict, file: &[u8]) -> Vec<u8> {
        let number = verdict as u16;
        let offset = if self.dialect == Dialect::D825 { 900 - 825 } else { 4 } + number;
        self.request(offset, &wire::name_field(file))
    }

    pub(crate) fn upload_request(&self, file: &[u8], content: &[u8]) -> Vec<u8> {
        match self.dialect {
            Dialect::D825 => self.packets(file, content),
            Dialect::D1100 => self.chunks(file, content),
        }
    }

    fn packets(&self, file: &[u8], content: &[u8]) -> Vec<u8> {
        let key = self.session_key[..].try_into().expect("a key of d825");
        let encrypted = wire::encrypt_whole(key, content);
        let count = u16::try_from(encrypted.len().div_ceil(CHUNK)).expect("a small file");
        let mut bytes = vec![];
        for (number, data) in (0..count).zip(encrypted.chunks(CHUNK)) {
            let sizes = [wire::size_field(encrypted.len()), wire::size_field(content.len())];
            let numbers = [number.to_le_bytes(), count.to_le_bytes()];
            let parts = [&sizes.concat(), &numbers.concat(), &wire::name_field(file)[..], data];
            let mut payload = parts.concat();
            payload.resize(wire::FILE_PACKET, 0);
            bytes.extend(self.request(3, &payload));
        }
        bytes
    }

    fn chunks(&self, file: &[u8], content: &[u8]) -> Vec<u8> {
        let key = self.session_key[..].try_into().expect("a key of d1100");
        let encrypted: Vec<u8> = content
            .chunks(CHUNK)
            .flat_map(|chunk| {
                let mut bytes = wire::encrypt_chunk(key, chunk);
                bytes.truncate(CHUNK);
                bytes
            })
            .collect();
        let payload = [&wire::size_field(encrypted.len())[..], &wire::name_field(file)].concat();
        let mut bytes = self.request(3, &payload);
        bytes.resize(CHUNK, 0);
        bytes.extend(encrypted);
        bytes
    }

    /// A request by its offset from the dialect's first code.
    pub(crate) fn request(&self, offset: u16, payload: &[u8]) -> Vec<u8> {
        wire::request(&self.id, self.dialect.number() + offset, payload.len(), payload)
    }

    pub(crate) fn name_field(&self) -> [u8; wire::NAME_FIELD] {
        wire::name_field(self.name.as_bytes())
    }

    fn take_id(&mut self, answer: u16, payload: &[u8]) {
        if answer == REGISTERED || answer == RECONNECT_REFUSED {
            self.id = payload.try_into().expect("16 bytes of id");
        }
    }

    fn take_key(&mut self, answer: u16, payload: &[u8]) {
        if answer == KEY || answer == RECONNECTED {
            assert_eq!(payload[..16], self.id);
            let unwrapped = match self.dialect {
                Dialect::D825 => Key::A.unwrap_sha1(&payload[16..]),
                Dialect::D1100 => Key::A.unwrap_sha256(&payload[16..]),
            };
            self.session_key = unwrapped.expect("it was wrapped for us");
        }
    }

    /// The connection in hand, or a new one, which the peer no longer has.
    pub(crate) fn take_link(&mut self) -> TcpStream {
        let server = self.server;
        self.link.take().unwrap_or_else(|| connect(server))
    }

    /// The connection in hand, or a new one.
    pub(crate) fn link(&mut self) -> &mut TcpStream {
        self.try_link().expect("the server listens")
    }

    fn try_link(&mut self) -> io::Result<&mut TcpStream> {
        let link = match self.link.take() {
            Some(link) => link,
            None => try_connect(self.server)?,
        };
        Ok(self.link.insert(link))
    }

    /// Sends a request and reads its answer; in d1100 on a connection of its own.
    pub(crate) fn ask(&mut self, request: &[u8]) -> (u16, Vec<u8>) {
        self.try_ask(request).expect(ANSWERS)
    }

    fn try_ask(&mut self, request: &[u8]) -> io::Result<(u16, Vec<u8>)> {
        if self.dialect == Dialect::D1100 {
            self.hang_up();
        }
        let link = self.try_link()?;
        link.write_all(request)?;
        let (code, payload) = answer(link)?;
        assert_eq!(code / 100 * 100, if self.dialect == Dialect::D825 { 1600 } else { 2100 });
        Ok((code % 100, payload))
    }
}

/// A connection whose reads do not wait for ever.
pub(crate) fn connect(server: SocketAddr) -> TcpStream {
    try_connect(server).expect("the server listens")
}

fn try_connect(server: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Code and payload of the next answer, whatever dialect.
pub(crate) fn answer(stream: &mut TcpStream) -> io::Result<(u16, Vec<u8>)> {
    let mut header = [0; wire::REPLY_HEADER];
    stream.read_exact(&mut header)?;
    let (code, size) = wire::reply_header(&header);
    assert!(size <= CHUNK, "no answer is that large: {header:02x?}");
    let mut payload = vec![0; size];
    stream.read_exact(&mut payload)?;
    Ok((code, payload))
}
