//! `me.info` and `priv.key`: who this client is.
//!
//! d825 keeps name, id as hex digits and private key as base64 in `me.info`, and the same base64 in `priv.key`. d1100
//! keeps name, raw id and raw session key in `me.info`, and the private key with 64 bytes of filler in `priv.key`.

use std::path::Path;

use base64ct::{Base64, Encoding};
use coffer_protocol::cipher::SessionKey;
use coffer_protocol::key::{KeyError, PrivateKey};
use coffer_protocol::name::check_client_name;
use coffer_protocol::{ClientId, Dialect};
use zeroize::Zeroizing;

use super::small;
use crate::Error;

/// Characters in a line of base64, as Crypto++ breaks them.
const BASE64_LINE: usize = 72;

/// Bytes that the classic d1100 client writes behind its private key, and ignores.
const KEY_FILLER: usize = 64;

/// What to do about an unreadable identity.
const ADVICE: &str = "restore it from a copy, or move it away to register as a new client";

/// Who a client is.
pub struct Identity {
    /// The name that it registered.
    pub name: String,
    /// The id that the server gave it.
    pub id: ClientId,
    /// Its private key.
    pub key: PrivateKey,
}

/// An identity as found on disk.
pub struct Saved {
    /// Who.
    pub identity: Identity,
    /// The dialect in whose form it was kept.
    pub dialect: Dialect,
}

/// Reads the identity kept in `dir`, if there is one, in whichever dialect's form.
///
/// # Errors
/// If there is one and it cannot be read, or makes no sense.
pub fn load(dir: &Path) -> Result<Option<Saved>, Error> {
    let path = dir.join("me.info");
    let Some(bytes) = small::read(&path)? else { return Ok(None) };
    let malformed = |path: &Path, problem: String| Error::Malformed {
        path: path.to_path_buf(),
        problem,
        todo: ADVICE,
    };
    let info = Info::parse(&bytes).map_err(|problem| malformed(&path, problem))?;
    let (key, dialect) = match info.key {
        Some(key) => (key, Dialect::D825),
        None => {
            let path = dir.join("priv.key");
            let missing = || malformed(&path, "does not exist, and me.info needs it".to_owned());
            let bytes = small::read(&path)?.ok_or_else(missing)?;
            let key =
                parse_key_file(&bytes).map_err(|error| malformed(&path, error.to_string()))?;
            (key, Dialect::D1100)
        }
    };
    Ok(Some(Saved { identity: Identity { name: info.name, id: info.id, key }, dialect }))
}

/// Keeps an identity in `dir` as the classic client of `dialect` does. Both files are durable when it returns, and
/// readable by their owner only. `session_key` goes into the `me.info` of d1100, zeros where there is none yet.
///
/// # Errors
/// [`Error::State`] if a file cannot be written.
pub fn save(
    dir: &Path,
    dialect: Dialect,
    identity: &Identity,
    session_key: Option<&SessionKey>,
) -> Result<(), Error> {
    // The key first: it is of use to either form of me.info, and me.info of one form is none without it.
    small::replace(&dir.join("priv.key"), &key_file(dialect, &identity.key))?;
    small::replace(&dir.join("me.info"), &me_info(dialect, identity, session_key))
}

fn key_file(dialect: Dialect, key: &PrivateKey) -> Zeroizing<Vec<u8>> {
    match dialect {
        Dialect::D825 => base64_lines(key),
        Dialect::D1100 => {
            let der = key.to_pkcs8();
            let mut bytes = Zeroizing::new(vec![0; der.len() + KEY_FILLER]);
            bytes[..der.len()].copy_from_slice(&der);
            bytes
        }
    }
}

fn me_info(
    dialect: Dialect,
    identity: &Identity,
    session_key: Option<&SessionKey>,
) -> Zeroizing<Vec<u8>> {
    let name = format!("{}\n", identity.name).into_bytes();
    let bytes = match dialect {
        Dialect::D825 => {
            let id = format!("{}\n", identity.id).into_bytes();
            [&name, &id, base64_lines(&identity.key).as_slice(), b"\n"].concat()
        }
        Dialect::D1100 => {
            let key = session_key.map_or(&[0; 16][..], SessionKey::expose);
            [&name, &identity.id.0[..], b"\n", key].concat()
        }
    };
    Zeroizing::new(bytes)
}

fn base64_lines(key: &PrivateKey) -> Zeroizing<Vec<u8>> {
    let text = Zeroizing::new(Base64::encode_string(&key.to_pkcs8()));
    let lines = text.as_bytes().chunks(BASE64_LINE).flat_map(|line| [line, &b"\n"[..]]);
    Zeroizing::new(lines.collect::<Vec<_>>().concat())
}

/// What `me.info` says.
pub struct Info {
    /// The client's name.
    pub name: String,
    /// Its id.
    pub id: ClientId,
    /// Its private key, in the form of d825 only; d1100 has it in `priv.key`.
    pub key: Option<PrivateKey>,
}

impl Info {
    /// Reads either form. They cannot be mistaken for each other: d1100's line of the id ends after 16 bytes, where
    /// d825's has a hex digit.
    ///
    /// # Errors
    /// What is wrong with it, to be read behind the file's name.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let end = bytes.iter().position(|&byte| byte == b'\n').ok_or("has a single line")?;
        let (name, rest) = (&bytes[..end], &bytes[end + 1..]);
        let name = check_client_name(name.strip_suffix(b"\r").unwrap_or(name))
            .map_err(|error| format!("its first line is no client name, as {error}"))?
            .to_owned();
        if let Some((id, rest)) = hex_line(rest) {
            let key =
                parse_base64(rest).map_err(|error| format!("{error}, from its third line on"))?;
            return Ok(Self { name, id, key: Some(key) });
        }
        let id = raw_line(rest).ok_or("its second line is no client id of either dialect")?;
        Ok(Self { name, id, key: None })
    }
}

fn hex_line(bytes: &[u8]) -> Option<(ClientId, &[u8])> {
    let (digits, rest) = bytes.split_at_checked(32)?;
    let id = std::str::from_utf8(digits).ok()?.parse().ok()?;
    matches!(rest, [] | [b'\n', ..] | [b'\r', b'\n', ..]).then_some((id, rest))
}

fn raw_line(bytes: &[u8]) -> Option<ClientId> {
    let (&id, rest) = bytes.split_first_chunk()?;
    let rest = rest.strip_prefix(b"\r").unwrap_or(rest).strip_prefix(b"\n")?;
    (rest.len() >= Dialect::D1100.key_len()).then_some(ClientId(id))
}

/// Reads either form of `priv.key`.
///
/// # Errors
/// [`KeyError::NoPrivateKey`] for whatever is wrong with it.
pub fn parse_key_file(bytes: &[u8]) -> Result<PrivateKey, KeyError> {
    PrivateKey::from_pkcs8(bytes).or_else(|_| parse_base64(bytes))
}

fn parse_base64(text: &[u8]) -> Result<PrivateKey, KeyError> {
    let mut packed = Zeroizing::new(Vec::with_capacity(text.len()));
    packed.extend(text.iter().filter(|byte| !byte.is_ascii_whitespace()));
    let length = Base64::decode_in_place(&mut packed).map_err(|_| KeyError::NoPrivateKey)?.len();
    PrivateKey::from_pkcs8(&packed[..length])
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
