//! Invitations: where a server is, who it is, and a secret that works once, as one word to paste or to type.

use std::fmt;

use rand::CryptoRng;
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::fingerprint::{PIN, Pin};
use super::groups::{self, GroupError};

/// Bytes of an invitation's secret.
pub const SECRET: usize = 16;

/// The most addresses in an invitation.
pub const ADDRESSES_MAX: usize = 4;

/// The longest address, in bytes.
pub const ADDRESS_MAX: usize = 255;

/// What every code begins with. The digit is the version of what follows.
const PREFIX: &str = "coffer1-";

/// Bytes of the digest over the whole code.
const CHECK: usize = 4;

/// Bytes of the longest code: a count, addresses with their lengths, pin, secret and check.
const BYTES_MAX: usize = 1 + ADDRESSES_MAX * (1 + ADDRESS_MAX) + PIN + SECRET + CHECK;

/// An invitation's secret: whoever shows it first is enrolled. Zeroed when dropped, never printed.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Secret([u8; SECRET]);

impl Secret {
    /// A secret of these bytes.
    #[must_use]
    pub fn new(bytes: [u8; SECRET]) -> Self {
        Self(bytes)
    }

    /// A new random secret.
    pub fn random<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut secret = Self([0; SECRET]);
        rng.fill_bytes(&mut secret.0);
        secret
    }

    /// The secret's bytes, to be sent or digested.
    #[must_use]
    pub fn expose(&self) -> &[u8; SECRET] {
        &self.0
    }

    /// Its SHA-256, by which a server knows it: what it keeps gives nothing away.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }
}

/// In a time that does not depend on where two secrets differ.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// What `cofferd invite` prints and `coffer enroll` reads.
#[derive(PartialEq, Eq, Debug)]
pub struct Invitation {
    /// Who the server is.
    pub server: Pin,
    /// Where it may be found, in the order in which to try: 1 to [`ADDRESSES_MAX`], each `host:port` as
    /// [`check_address`] takes it.
    pub addresses: Vec<String>,
    /// What makes the one who shows it a client.
    pub secret: Secret,
}

/// Why a text is no address.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum AddressError {
    /// More than [`ADDRESS_MAX`] bytes.
    #[error("it has {0} bytes, of at most {ADDRESS_MAX}")]
    TooLong(usize),
    /// A space, a control character, or a letter that is not ASCII.
    #[error("it has a {0:?}; write names of other alphabets in their ASCII form (xn--...)")]
    Character(char),
    /// No colon, or nothing in front of it.
    #[error("it is not of the form host:port")]
    Form,
    /// An IPv6 address needs brackets, or its colons and that of the port are all the same.
    #[error("an IPv6 address is written in brackets, as in [::1]:1256")]
    Brackets,
    /// No number from 1 to 65535.
    #[error("its port is not a number from 1 to 65535")]
    Port,
}

/// Checks an address: `host:port`, `192.0.2.1:port` or `[2001:db8::1]:port`, printable ASCII, at most [`ADDRESS_MAX`]
/// bytes. Whether the host exists is another question.
///
/// # Errors
/// The rule that the address breaks.
pub fn check_address(address: &str) -> Result<(), AddressError> {
    if address.len() > ADDRESS_MAX {
        return Err(AddressError::TooLong(address.len()));
    }
    if let Some(other) = address.chars().find(|c| !c.is_ascii_graphic()) {
        return Err(AddressError::Character(other));
    }
    let (host, port) = address.rsplit_once(':').ok_or(AddressError::Form)?;
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match inner {
        None if host.contains(':') => return Err(AddressError::Brackets),
        Some("") => return Err(AddressError::Form),
        None if host.is_empty() || host.contains(['[', ']']) => return Err(AddressError::Form),
        _ => {}
    }
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(1..) if digits => Ok(()),
        _ => Err(AddressError::Port),
    }
}

/// Why a text is no invitation.
#[derive(Debug, Error, PartialEq, Eq, Clone)]
pub enum InvitationError {
    /// It does not begin like one.
    #[error("this is no invitation to Coffer: one begins with {PREFIX}")]
    NotACode,
    /// It begins like one of a later version.
    #[error("this invitation is of version {0}, and this program knows version 1 only: update it")]
    Newer(u16),
    /// A group cannot be read, or the end is missing.
    #[error("this invitation cannot be read: {0}")]
    Groups(#[from] GroupError),
    /// Every group is right in itself.
    #[error(
        "this invitation cannot be read: its groups are not all of one invitation; copy it again as a whole"
    )]
    Check,
    /// No address, or too many; the program that made it is to blame.
    #[error(
        "this invitation is damaged: it has {0} addresses, and 1 to {ADDRESSES_MAX} are possible"
    )]
    Count(usize),
    /// An address that nobody can connect to; the program that made it is to blame.
    #[error(
        "this invitation is damaged: nobody can connect to its address number {number}: {problem}"
    )]
    Address {
        /// Which one, counted from 1.
        number: usize,
        /// Why.
        problem: AddressError,
    },
}

impl Invitation {
    /// The code: `coffer1-` and groups with dashes between them.
    ///
    /// # Panics
    /// If there is no address, or more than [`ADDRESSES_MAX`], or one that [`check_address`] refuses.
    #[must_use]
    pub fn code(&self) -> Zeroizing<String> {
        let count = self.addresses.len();
        assert!((1..=ADDRESSES_MAX).contains(&count), "{count} addresses were not checked");
        // With all the room from the start, so that growing leaves no copy of the secret behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(BYTES_MAX));
        bytes.push(count as u8);
        for address in &self.addresses {
            assert_eq!(check_address(address), Ok(()), "{address} was not checked");
            bytes.push(address.len() as u8);
            bytes.extend_from_slice(address.as_bytes());
        }
        bytes.extend_from_slice(&self.server.0);
        bytes.extend_from_slice(self.secret.expose());
        let check = check(&bytes);
        bytes.extend_from_slice(&check);
        let length = PREFIX.len() + groups::text_len(bytes.len());
        let mut code = Zeroizing::new(String::with_capacity(length));
        code.push_str(PREFIX);
        groups::push(&bytes, &mut code);
        code
    }

    /// Reads a code. Case, and dashes and white space between the characters do not matter.
    ///
    /// # Errors
    /// Why it is none, and where it is wrong.
    pub fn from_code(code: &str) -> Result<Self, InvitationError> {
        let bytes = groups::read(groups_of(code)?, BYTES_MAX)?;
        let fields = Fields::split(&bytes)
            .ok_or_else(|| GroupError::CutOff { group: groups::next(bytes.len()) })?;
        if fields.whole != bytes.len() || check(&bytes[..fields.whole - CHECK]) != fields.check {
            return Err(InvitationError::Check);
        }
        let addresses = fields.addresses.into_iter().enumerate();
        let addresses = addresses
            .map(|(index, address)| read_address(index + 1, address))
            .collect::<Result<Vec<_>, _>>()?;
        if !(1..=ADDRESSES_MAX).contains(&addresses.len()) {
            return Err(InvitationError::Count(addresses.len()));
        }
        Ok(Self { server: Pin(fields.server), addresses, secret: fields.secret })
    }
}

/// What stands behind the prefix.
fn groups_of(code: &str) -> Result<&str, InvitationError> {
    let code = code.trim_start();
    let (prefix, groups) = code.split_once('-').ok_or(InvitationError::NotACode)?;
    let version = prefix.to_ascii_lowercase();
    let version = version.strip_prefix("coffer").and_then(|version| version.parse().ok());
    match version.ok_or(InvitationError::NotACode)? {
        1 => Ok(groups),
        0 => Err(InvitationError::NotACode),
        newer => Err(InvitationError::Newer(newer)),
    }
}

fn read_address(number: usize, bytes: &[u8]) -> Result<String, InvitationError> {
    let address = String::from_utf8_lossy(bytes);
    match check_address(&address) {
        Ok(()) => Ok(address.into_owned()),
        Err(problem) => Err(InvitationError::Address { number, problem }),
    }
}

/// The first bytes of the SHA-256 over the prefix and everything else.
fn check(bytes: &[u8]) -> [u8; CHECK] {
    let digest = Sha256::new().chain_update(PREFIX).chain_update(bytes).finalize();
    std::array::from_fn(|index| digest[index])
}

/// What stands in the bytes of a code, unchecked.
struct Fields<'a> {
    addresses: Vec<&'a [u8]>,
    server: [u8; PIN],
    secret: Secret,
    check: [u8; CHECK],
    /// Bytes that all of it takes.
    whole: usize,
}

impl<'a> Fields<'a> {
    /// `None` if there are too few bytes.
    fn split(bytes: &'a [u8]) -> Option<Self> {
        let (&count, mut rest) = bytes.split_first()?;
        let mut addresses = Vec::new();
        for _ in 0..count {
            let (&length, behind) = rest.split_first()?;
            let (address, behind) = behind.split_at_checked(usize::from(length))?;
            addresses.push(address);
            rest = behind;
        }
        let (server, rest) = rest.split_first_chunk()?;
        let (secret, rest) = rest.split_first_chunk()?;
        let (check, rest) = rest.split_first_chunk()?;
        let whole = bytes.len() - rest.len();
        Some(Self {
            addresses,
            server: *server,
            secret: Secret::new(*secret),
            check: *check,
            whole,
        })
    }
}

#[cfg(test)]
#[path = "invitation_tests.rs"]
mod tests;
