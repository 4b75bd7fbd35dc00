//! A plain file to the bytes that carry it: what a client does with a file, without the IO.

use thiserror::Error;

use crate::checksum::Sums;
use crate::cipher::{Encryptor, SessionKey};
use crate::name::NAME_FIELD;
use crate::request::{FilePacket, Request};
use crate::{BLOCK, ClientId, Dialect, PACKET};

/// The file cannot be sent in this dialect.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
#[error("{size} bytes are more than dialect {dialect} can send ({} at most)", .dialect.plain_size_max())]
pub struct TooLarge {
    /// The file's size, in bytes.
    pub size: u64,
    /// The dialect.
    pub dialect: Dialect,
}

/// The encrypted size of a file of `size` bytes, as this client sends it.
///
/// d825 pads as PKCS#7 says. So does d1100, except where the classic server could not read it: a length that fills
/// its last chunk (the padding of a full chunk is never sent), and an empty file. The classic d1100 *client* sends
/// lengths that are multiples of 16 without padding, and its server then dies on them.
///
/// # Errors
/// If the dialect has no way to send so much.
pub fn encrypted_size(dialect: Dialect, size: u64) -> Result<u32, TooLarge> {
    if size > dialect.plain_size_max() {
        return Err(TooLarge { size, dialect });
    }
    let size = size as u32;
    let block = BLOCK as u32;
    Ok(match dialect {
        Dialect::D1100 if size.is_multiple_of(PACKET as u32) => size,
        _ => (size / block + 1) * block,
    })
}

/// Encodes one file for the wire.
///
/// Push the request line once with [`Encoder::push_head`], then the content in pieces of any length, then
/// [`Encoder::finish`]. The bytes pushed must be exactly as many as announced.
pub struct Encoder {
    encryptor: Encryptor,
    dialect: Dialect,
    client: ClientId,
    file: Vec<u8>,
    plain_size: u32,
    encrypted_size: u32,
    sums: Sums,
    packet: Vec<u8>,
    packets_sent: u16,
}

impl Encoder {
    /// For a file of `plain_size` bytes.
    ///
    /// # Errors
    /// If the file is too large for the key's dialect.
    ///
    /// # Panics
    /// If the name is longer than its field; names are checked before.
    pub fn new(
        key: &SessionKey,
        client: ClientId,
        file: &[u8],
        plain_size: u64,
    ) -> Result<Self, TooLarge> {
        assert!(file.len() <= NAME_FIELD);
        let dialect = key.dialect();
        let encrypted_size = encrypted_size(dialect, plain_size)?;
        Ok(Self {
            encryptor: Encryptor::new(key),
            dialect,
            client,
            file: file.to_vec(),
            plain_size: plain_size as u32,
            encrypted_size,
            sums: Sums::new(dialect),
            packet: Vec::with_capacity(PACKET),
            packets_sent: 0,
        })
    }

    /// Bytes of ciphertext that are announced.
    #[must_use]
    pub fn encrypted_size(&self) -> u32 {
        self.encrypted_size
    }

    /// Plain bytes still to be pushed.
    #[must_use]
    pub fn missing(&self) -> u64 {
        u64::from(self.plain_size) - self.sums.length()
    }

    /// The checksum of what was pushed, to compare with the server's.
    #[must_use]
    pub fn checksum(&self) -> u32 {
        self.sums.on_the_wire()
    }

    /// Appends what stands before the content: a d1100 request, in d825 nothing.
    pub fn push_head(&self, out: &mut Vec<u8>) {
        if self.dialect == Dialect::D1100 {
            let request = Request::Upload { encrypted_size: self.encrypted_size, file: &self.file };
            request.push(self.dialect, self.client, out);
        }
    }

    /// Takes the next plain bytes and appends the packets that they complete.
    ///
    /// # Panics
    /// If more bytes are pushed than the size announced.
    pub fn push(&mut self, mut plain: &[u8], out: &mut Vec<u8>) {
        assert!(plain.len() as u64 <= self.missing(), "more content than announced");
        self.sums.update(plain);
        while !plain.is_empty() {
            let (now, later) = plain.split_at(plain.len().min(PACKET - self.packet.len()));
            self.packet.extend_from_slice(now);
            plain = later;
            if self.packet.len() == PACKET {
                self.push_packet(out);
            }
        }
    }

    /// Appends the padding and the last packet.
    ///
    /// # Panics
    /// If fewer bytes were pushed than the size announced.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        assert_eq!(self.missing(), 0, "less content than announced");
        let padding = self.encrypted_size - self.plain_size;
        self.packet.resize(self.packet.len() + padding as usize, padding as u8);
        if !self.packet.is_empty() {
            self.push_packet(out);
        }
    }

    fn push_packet(&mut self, out: &mut Vec<u8>) {
        self.encryptor.encrypt(&mut self.packet);
        self.packet.resize(PACKET, 0);
        let data: &[u8; PACKET] = self.packet.as_slice().try_into().expect("resized to it");
        match self.dialect {
            Dialect::D825 => {
                let packet = FilePacket {
                    encrypted_size: self.encrypted_size,
                    plain_size: self.plain_size,
                    number: self.packets_sent,
                    count: self.encrypted_size.div_ceil(PACKET as u32) as u16,
                    file: &self.file,
                    data,
                };
                Request::Packet(packet).push(self.dialect, self.client, out);
                self.packets_sent = self.packets_sent.wrapping_add(1);
            }
            Dialect::D1100 => out.extend_from_slice(data),
        }
        self.packet.clear();
    }
}
