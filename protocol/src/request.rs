//! What a client asks: headers and payloads of both dialects.
//!
//! All integers are unsigned and little-endian, without gaps. Decoding borrows from the receive buffer and copies
//! nothing; it checks shapes only, never what a request means.

use crate::name::{NAME_FIELD, push_field, strip};
use crate::{ClientId, Dialect, PACKET, VERSION};

/// Bytes of a request header: client id 16, version 1, code 2, payload size 4.
pub const REQUEST_HEADER: usize = 23;

/// Bytes of the payload of a d825 file packet before its data: sizes 4 + 4, number 2, count 2, file name 255.
pub const PACKET_META: usize = 4 + 4 + 2 + 2 + NAME_FIELD;

/// Bytes of a whole d825 file packet on the wire.
pub const FILE_PACKET: usize = REQUEST_HEADER + PACKET_META + PACKET;

/// Where the packet number stands in a whole d825 file packet: the only bytes before the data that differ between the
/// packets of one upload.
pub const PACKET_NUMBER_AT: std::ops::Range<usize> = REQUEST_HEADER + 8..REQUEST_HEADER + 10;

/// The longest public key that fits one d1100 packet, in bytes; RSA-4096 needs 550.
pub const PUBLIC_KEY_MAX: usize = PACKET - REQUEST_HEADER - NAME_FIELD;

/// The longest payload that any request has, in bytes. A request that announces more is not skipped but cut off.
pub const PAYLOAD_MAX: usize = PACKET_META + PACKET;

/// What a client says about the checksum it was answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is right: keep the file.
    Right,
    /// It is wrong; the file will be sent again.
    SendingAgain,
    /// It is wrong and the client gives up.
    GivingUp,
}

/// What a request asks for, whichever the dialect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A new name wants an id.
    Register,
    /// A public key, to which an AES key comes back wrapped.
    PublicKey,
    /// A known client wants a new AES key.
    Reconnect,
    /// A file, or in d825 one packet of it.
    File,
    /// The client's verdict on a checksum.
    Verdict(Verdict),
}

/// The fixed header in front of every request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestHeader {
    /// Who asks; any value in a registration.
    pub client: ClientId,
    /// The client's version, which servers ignore.
    pub version: u8,
    /// The request code.
    pub code: u16,
    /// Bytes that follow, as announced.
    pub payload_len: u32,
}

impl RequestHeader {
    /// Reads a header. Every 23 bytes are one; whether its code is known is another question.
    #[must_use]
    pub fn parse(bytes: &[u8; REQUEST_HEADER]) -> Self {
        let (id, rest) = bytes.split_first_chunk().expect("16 of 23 bytes");
        Self {
            client: ClientId(*id),
            version: rest[0],
            code: u16::from_le_bytes([rest[1], rest[2]]),
            payload_len: u32::from_le_bytes([rest[3], rest[4], rest[5], rest[6]]),
        }
    }

    fn push(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.client.0);
        out.push(self.version);
        out.extend_from_slice(&self.code.to_le_bytes());
        out.extend_from_slice(&self.payload_len.to_le_bytes());
    }
}

/// One d825 file packet. Every packet of an upload repeats all fields but the number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FilePacket<'a> {
    /// Size of the whole encrypted file, in bytes.
    pub encrypted_size: u32,
    /// Size of the whole plain file, in bytes.
    pub plain_size: u32,
    /// This packet's number, counted from 0.
    pub number: u16,
    /// How many packets there are.
    pub count: u16,
    /// The file's name, zeros stripped.
    pub file: &'a [u8],
    /// The data field, whole: in the last packet what the encrypted size leaves free is filler.
    pub data: &'a [u8; PACKET],
}

/// A decoded request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request<'a> {
    /// 825 / 1100.
    Register {
        /// The wanted name, zeros stripped, otherwise unchecked.
        name: &'a [u8],
    },
    /// 826 / 1101.
    PublicKey {
        /// The name, zeros stripped, otherwise unchecked.
        name: &'a [u8],
        /// What should be an X.509 SubjectPublicKeyInfo in DER.
        key: &'a [u8],
    },
    /// 827 / 1102.
    Reconnect {
        /// The name, zeros stripped, otherwise unchecked.
        name: &'a [u8],
    },
    /// 828: content inside.
    Packet(FilePacket<'a>),
    /// 1103: the content follows in bare chunks of [`PACKET`] bytes.
    Upload {
        /// Size of the whole encrypted file, in bytes; what the last chunk has beyond it is stale filler.
        encrypted_size: u32,
        /// The file's name, zeros stripped, otherwise unchecked.
        file: &'a [u8],
    },
    /// 900-902 / 1104-1106.
    Verdict {
        /// What the client says.
        verdict: Verdict,
        /// The file's name, zeros stripped, otherwise unchecked.
        file: &'a [u8],
    },
}

impl<'a> Request<'a> {
    /// Reads the payload of a request of this kind; `None` if it does not have the kind's length.
    #[must_use]
    pub fn parse(dialect: Dialect, kind: Kind, payload: &'a [u8]) -> Option<Self> {
        if let (Dialect::D825, Kind::File) = (dialect, kind) {
            return FilePacket::parse(payload).map(Self::Packet);
        }
        if let (Dialect::D1100, Kind::File) = (dialect, kind) {
            let (size, file) = payload.split_first_chunk()?;
            let file = whole_field(file)?;
            return Some(Self::Upload { encrypted_size: u32::from_le_bytes(*size), file });
        }
        if kind == Kind::PublicKey {
            let (name, key) = payload.split_at_checked(NAME_FIELD)?;
            let fits = (1..=PUBLIC_KEY_MAX).contains(&key.len());
            return fits.then_some(Self::PublicKey { name: strip(name), key });
        }
        let name = whole_field(payload)?;
        Some(match kind {
            Kind::Register => Self::Register { name },
            Kind::Reconnect => Self::Reconnect { name },
            Kind::Verdict(verdict) => Self::Verdict { verdict, file: name },
            Kind::PublicKey | Kind::File => unreachable!("taken above"),
        })
    }

    /// Appends the request as a client sends it, with the dialect's padding. The content of an [`Request::Upload`]
    /// is not part of it.
    ///
    /// # Panics
    /// If a name is longer than its field; names are checked before.
    pub fn push(&self, dialect: Dialect, client: ClientId, out: &mut Vec<u8>) {
        let start = out.len();
        let header = RequestHeader {
            client,
            version: VERSION,
            code: dialect.code(self.kind()),
            payload_len: self.payload_len() as u32,
        };
        header.push(out);
        match *self {
            Self::Register { name } | Self::Reconnect { name } => push_field(out, name),
            Self::PublicKey { name, key } => {
                push_field(out, name);
                out.extend_from_slice(key);
            }
            Self::Packet(packet) => packet.push(out),
            Self::Upload { encrypted_size, file } => {
                out.extend_from_slice(&encrypted_size.to_le_bytes());
                push_field(out, file);
            }
            Self::Verdict { file, .. } => push_field(out, file),
        }
        let length = out.len() - start;
        debug_assert_eq!(length, REQUEST_HEADER + self.payload_len());
        out.resize(start + dialect.padded_len(length), 0);
    }

    /// What this request asks for.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Register { .. } => Kind::Register,
            Self::PublicKey { .. } => Kind::PublicKey,
            Self::Reconnect { .. } => Kind::Reconnect,
            Self::Packet(_) | Self::Upload { .. } => Kind::File,
            Self::Verdict { verdict, .. } => Kind::Verdict(*verdict),
        }
    }

    fn payload_len(&self) -> usize {
        match self {
            Self::Register { .. } | Self::Reconnect { .. } | Self::Verdict { .. } => NAME_FIELD,
            Self::PublicKey { key, .. } => NAME_FIELD + key.len(),
            Self::Packet(_) => PACKET_META + PACKET,
            Self::Upload { .. } => 4 + NAME_FIELD,
        }
    }
}

/// The name in a payload that is nothing but a name field.
fn whole_field(payload: &[u8]) -> Option<&[u8]> {
    (payload.len() == NAME_FIELD).then(|| strip(payload))
}

impl<'a> FilePacket<'a> {
    fn parse(payload: &'a [u8]) -> Option<Self> {
        let (meta, data) = payload.split_at_checked(PACKET_META)?;
        let (&encrypted_size, meta) = meta.split_first_chunk()?;
        let (&plain_size, meta) = meta.split_first_chunk()?;
        let (&number, meta) = meta.split_first_chunk()?;
        let (&count, file) = meta.split_first_chunk()?;
        Some(Self {
            encrypted_size: u32::from_le_bytes(encrypted_size),
            plain_size: u32::from_le_bytes(plain_size),
            number: u16::from_le_bytes(number),
            count: u16::from_le_bytes(count),
            file: strip(file),
            data: data.try_into().ok()?,
        })
    }

    fn push(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.encrypted_size.to_le_bytes());
        out.extend_from_slice(&self.plain_size.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        push_field(out, self.file);
        out.extend_from_slice(self.data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_back(dialect: Dialect, bytes: &[u8]) -> (RequestHeader, Request<'_>) {
        let (header, rest) = bytes.split_first_chunk().expect("a header");
        let header = RequestHeader::parse(header);
        let kind = dialect.kind(header.code).expect("a known code");
        let payload = &rest[..header.payload_len as usize];
        (header, Request::parse(dialect, kind, payload).expect("a payload of the right length"))
    }

    #[test]
    fn registration_of_bob_is_the_documented_bytes() {
        for (dialect, code, length) in
            [(Dialect::D825, [0x39, 0x03], 278), (Dialect::D1100, [0x4c, 0x04], 1024)]
        {
            let mut expected = vec![0; 16];
            expected.extend([3, code[0], code[1], 0xff, 0, 0, 0, 0x42, 0x6f, 0x62]);
            expected.resize(length, 0);
            let mut bytes = Vec::new();
            Request::Register { name: b"Bob" }.push(dialect, ClientId::NONE, &mut bytes);
            assert_eq!(bytes, expected);
        }
    }

    #[test]
    fn payload_sizes_are_the_documented_ones() {
        let key = [1; 160];
        let packet = FilePacket {
            encrypted_size: 16,
            plain_size: 0,
            number: 0,
            count: 1,
            file: b"f",
            data: &[7; PACKET],
        };
        let cases = [
            (Dialect::D825, Request::PublicKey { name: b"n", key: &key }, 415),
            (Dialect::D825, Request::Packet(packet), 1291),
            (Dialect::D1100, Request::PublicKey { name: b"n", key: &[1; 162] }, 417),
            (Dialect::D1100, Request::Upload { encrypted_size: 16, file: b"f" }, 259),
        ];
        for (dialect, request, payload_len) in cases {
            let mut bytes = Vec::new();
            request.push(dialect, ClientId([9; 16]), &mut bytes);
            let (header, read) = read_back(dialect, &bytes);
            assert_eq!(
                (header.payload_len, header.client, read),
                (payload_len, ClientId([9; 16]), request)
            );
        }
    }

    #[test]
    fn payloads_of_another_length_are_not_read() {
        let codes = [825, 826, 827, 828, 900, 1100, 1101, 1103, 1106];
        for code in codes {
            let dialect = Dialect::of_code(code).expect("a known code");
            let kind = dialect.kind(code).expect("a known code");
            for length in [0, 1, 254, 1002, 1290, 1292] {
                assert_eq!(
                    Request::parse(dialect, kind, &vec![1; length]),
                    None,
                    "{code} with {length} bytes"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn packets_go_both_ways(sizes: (u32, u32), place: (u16, u16), file in proptest::collection::vec(1u8.., 0..255), fill: u8) {
            let data = [fill; PACKET];
            let packet = FilePacket { encrypted_size: sizes.0, plain_size: sizes.1, number: place.0, count: place.1, file: &file, data: &data };
            let mut bytes = Vec::new();
            Request::Packet(packet).push(Dialect::D825, ClientId([3; 16]), &mut bytes);
            prop_assert_eq!(bytes.len(), FILE_PACKET);
            prop_assert_eq!(&bytes[PACKET_NUMBER_AT], &place.0.to_le_bytes());
            prop_assert_eq!(read_back(Dialect::D825, &bytes).1, Request::Packet(packet));
        }

        #[test]
        fn any_payload_is_read_or_refused(code: u16, payload: Vec<u8>) {
            if let Some(dialect) = Dialect::of_code(code) {
                let kind = dialect.kind(code).expect("its own code");
                if let Some(request) = Request::parse(dialect, kind, &payload) {
                    prop_assert_eq!(request.payload_len(), payload.len());
                }
            }
        }
    }
}
