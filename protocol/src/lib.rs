//! Coffer's wire: formats, dialects, ciphers and checksums.
//!
//! Everything here is a pure function or a small value: no IO, no clock, no threads, and randomness only where a
//! caller hands it in. The facts of the classic protocol, with where they were learnt, stand in `docs/PROTOCOL.md`.

pub mod checksum;
pub mod cipher;
pub mod decode;
mod dialect;
pub mod encode;
mod id;
pub mod key;
pub mod name;
pub mod reply;
pub mod request;
pub mod v4;

pub use dialect::Dialect;
pub use id::{ClientId, ParseClientIdError};

/// The version byte that we send. The classic servers ignore the client's and the classic clients do not look at the
/// server's, so nobody is refused for it.
pub const VERSION: u8 = 3;

/// Bytes of content in a d825 packet, in a d1100 chunk, and in every padded d1100 message.
pub const PACKET: usize = 1024;

/// The AES block, in bytes: every encrypted size is a multiple of it.
pub const BLOCK: usize = 16;
