//! Coffer's wire: formats, dialects, ciphers and checksums.
//!
//! Everything here is a pure function or a small value: no IO, no clock, no threads. The facts of the classic
//! protocol, with where they were learnt, stand in `docs/PROTOCOL.md`.

mod id;
pub mod name;

pub use id::{ClientId, ParseClientIdError};
