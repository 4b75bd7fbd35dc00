//! What a server answers.

use thiserror::Error;

use crate::name::{NAME_FIELD, push_field, strip};
use crate::{ClientId, Dialect, VERSION};

/// Bytes of a reply header: version 1, code 2, payload size 4.
pub const REPLY_HEADER: usize = 7;

/// The longest payload of any reply, in bytes: an id and an AES key wrapped by RSA-4096.
pub const REPLY_PAYLOAD_MAX: usize = 16 + 512;

/// The fixed header in front of every reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplyHeader {
    /// The server's version, at which clients do not look.
    pub version: u8,
    /// The reply code.
    pub code: u16,
    /// Bytes that follow, as announced.
    pub payload_len: u32,
}

impl ReplyHeader {
    /// Reads a header.
    #[must_use]
    pub fn parse(bytes: &[u8; REPLY_HEADER]) -> Self {
        let [version, code @ .., a, b, c, d] = *bytes;
        Self {
            version,
            code: u16::from_le_bytes(code),
            payload_len: u32::from_le_bytes([a, b, c, d]),
        }
    }
}

/// A decoded reply. The codes are d825's and d1100's; their last two digits agree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// 1600 / 2100: the name is the client's, and this its id.
    Registered {
        /// The new id.
        id: ClientId,
    },
    /// 1601 / 2101: the name is taken or no name at all.
    RegistrationRefused,
    /// 1602 / 2102, after a public key.
    Key {
        /// The client's id.
        id: ClientId,
        /// The AES key, OAEP-encrypted: as long as the RSA modulus.
        wrapped: Vec<u8>,
    },
    /// 1603 / 2103: the whole file arrived. In d825 also the answer to 900 and 902.
    FileReceived {
        /// The client's id.
        id: ClientId,
        /// Size of the encrypted file, in bytes.
        encrypted_size: u32,
        /// The file's name exactly as it was sent.
        file: Vec<u8>,
        /// The dialect's checksum of the plain file.
        checksum: u32,
    },
    /// 1604 / 2104: message received. Our server sends it in d1100 only; the real d825 server sends it malformed.
    Acknowledged {
        /// The client's id.
        id: ClientId,
    },
    /// 1605 / 2105, after a reconnection.
    Reconnected {
        /// The client's id.
        id: ClientId,
        /// The AES key, OAEP-encrypted: as long as the RSA modulus.
        wrapped: Vec<u8>,
    },
    /// 1606: reconnection refused, here is a **new** id to go on with. 2106: refused, with the id that was sent.
    ReconnectRefused {
        /// The id to go on with.
        id: ClientId,
    },
    /// 1607 / 2107: general error.
    Error,
}

/// Why bytes are no reply.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum ReplyError {
    /// The code belongs to no reply of this dialect.
    #[error("the server answered with the unknown code {0}")]
    UnknownCode(u16),
    /// The payload does not have the length that the code demands.
    #[error("the server answered {code} with {payload_len} bytes, which is no valid length for it")]
    Length {
        /// The reply code.
        code: u16,
        /// The announced length.
        payload_len: u32,
    },
}

impl Reply {
    /// The reply's code in `dialect`.
    #[must_use]
    pub fn code(&self, dialect: Dialect) -> u16 {
        base(dialect)
            + match self {
                Self::Registered { .. } => 0,
                Self::RegistrationRefused => 1,
                Self::Key { .. } => 2,
                Self::FileReceived { .. } => 3,
                Self::Acknowledged { .. } => 4,
                Self::Reconnected { .. } => 5,
                Self::ReconnectRefused { .. } => 6,
                Self::Error => 7,
            }
    }

    /// Appends the reply, with the dialect's padding.
    ///
    /// # Panics
    /// If a file name is longer than its field; names come from decoded requests.
    pub fn push(&self, dialect: Dialect, out: &mut Vec<u8>) {
        let start = out.len();
        out.push(VERSION);
        out.extend_from_slice(&self.code(dialect).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        match self {
            Self::RegistrationRefused | Self::Error => {}
            Self::Registered { id } | Self::Acknowledged { id } | Self::ReconnectRefused { id } => {
                out.extend_from_slice(&id.0);
            }
            Self::Key { id, wrapped } | Self::Reconnected { id, wrapped } => {
                out.extend_from_slice(&id.0);
                out.extend_from_slice(wrapped);
            }
            Self::FileReceived { id, encrypted_size, file, checksum } => {
                out.extend_from_slice(&id.0);
                out.extend_from_slice(&encrypted_size.to_le_bytes());
                push_field(out, file);
                out.extend_from_slice(&checksum.to_le_bytes());
            }
        }
        let length = out.len() - start;
        let payload_len = (length - REPLY_HEADER) as u32;
        out[start + 3..start + REPLY_HEADER].copy_from_slice(&payload_len.to_le_bytes());
        out.resize(start + dialect.padded_len(length), 0);
    }

    /// How long the payload that `header` announces is, if its code is known and the length possible: what a client
    /// checks before it waits for the payload.
    ///
    /// # Errors
    /// An unknown code or an impossible length.
    pub fn payload_len(dialect: Dialect, header: ReplyHeader) -> Result<usize, ReplyError> {
        let ReplyHeader { code, payload_len, .. } = header;
        let length = payload_len as usize;
        let possible = match code.checked_sub(base(dialect)) {
            Some(0 | 4 | 6) => length == 16,
            Some(1 | 7) => length == 0,
            Some(2 | 5) => (17..=REPLY_PAYLOAD_MAX).contains(&length),
            Some(3) => length == 16 + 4 + NAME_FIELD + 4,
            _ => return Err(ReplyError::UnknownCode(code)),
        };
        if possible { Ok(length) } else { Err(ReplyError::Length { code, payload_len }) }
    }

    /// Reads a reply.
    ///
    /// # Errors
    /// An unknown code or a payload that does not have the code's length.
    pub fn parse(dialect: Dialect, code: u16, payload: &[u8]) -> Result<Self, ReplyError> {
        let payload_len = payload.len() as u32;
        Self::payload_len(dialect, ReplyHeader { version: VERSION, code, payload_len })?;
        let wrong = ReplyError::Length { code, payload_len };
        let last_digit = code - base(dialect);
        if last_digit == 1 {
            return Ok(Self::RegistrationRefused);
        }
        if last_digit == 7 {
            return Ok(Self::Error);
        }
        let (&id, rest) = payload.split_first_chunk().ok_or(wrong)?;
        let id = ClientId(id);
        Ok(match last_digit {
            0 => Self::Registered { id },
            2 => Self::Key { id, wrapped: rest.to_vec() },
            3 => Self::parse_received(id, rest).ok_or(wrong)?,
            4 => Self::Acknowledged { id },
            5 => Self::Reconnected { id, wrapped: rest.to_vec() },
            _ => Self::ReconnectRefused { id },
        })
    }

    fn parse_received(id: ClientId, rest: &[u8]) -> Option<Self> {
        let (&encrypted_size, rest) = rest.split_first_chunk()?;
        let (file, checksum) = rest.split_at_checked(NAME_FIELD)?;
        Some(Self::FileReceived {
            id,
            encrypted_size: u32::from_le_bytes(encrypted_size),
            file: strip(file).to_vec(),
            checksum: u32::from_le_bytes(checksum.try_into().ok()?),
        })
    }
}

const fn base(dialect: Dialect) -> u16 {
    match dialect {
        Dialect::D825 => 1600,
        Dialect::D1100 => 2100,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples() -> [(Reply, u16, u32); 8] {
        let id = ClientId([0x77; 16]);
        let wrapped = vec![5; 128];
        let file = b"docs/a.txt".to_vec();
        [
            (Reply::Registered { id }, 0, 16),
            (Reply::RegistrationRefused, 1, 0),
            (Reply::Key { id, wrapped: wrapped.clone() }, 2, 144),
            (Reply::FileReceived { id, encrypted_size: 16, file, checksum: 0x377a_6011 }, 3, 279),
            (Reply::Acknowledged { id }, 4, 16),
            (Reply::Reconnected { id, wrapped }, 5, 144),
            (Reply::ReconnectRefused { id }, 6, 16),
            (Reply::Error, 7, 0),
        ]
    }

    #[test]
    fn replies_have_the_documented_codes_and_sizes_and_go_both_ways() {
        for (dialect, base, padded) in [(Dialect::D825, 1600, false), (Dialect::D1100, 2100, true)]
        {
            for (reply, offset, payload_len) in examples() {
                let mut bytes = Vec::new();
                reply.push(dialect, &mut bytes);
                let (header, rest) = bytes.split_first_chunk().expect("a header");
                let header = ReplyHeader::parse(header);
                assert_eq!(header, ReplyHeader { version: 3, code: base + offset, payload_len });
                let length = Reply::payload_len(dialect, header).expect("our own reply");
                assert_eq!(bytes.len(), if padded { 1024 } else { REPLY_HEADER + length });
                assert_eq!(Reply::parse(dialect, header.code, &rest[..length]), Ok(reply));
            }
        }
    }

    #[test]
    fn impossible_replies_are_refused_before_their_payload() {
        let header = |code, payload_len| ReplyHeader { version: 3, code, payload_len };
        let refusal = |code, length| Reply::payload_len(Dialect::D825, header(code, length));
        assert_eq!(refusal(1608, 0), Err(ReplyError::UnknownCode(1608)));
        assert_eq!(refusal(2100, 16), Err(ReplyError::UnknownCode(2100)));
        assert_eq!(refusal(7, 0), Err(ReplyError::UnknownCode(7)));
        for (code, payload_len) in [(1600, 15), (1602, 16), (1602, 529), (1604, 255), (1607, 1)] {
            assert_eq!(refusal(code, payload_len), Err(ReplyError::Length { code, payload_len }));
        }
    }
}
