//! Version 4: what is said through the secure door, inside TLS.
//!
//! Everything here is wire, text and bounds. Who may say what, and when, is decided by the two sides; the bytes stand
//! in `docs/PROTOCOL.md`.

mod error_code;
mod field;
pub mod fingerprint;
pub mod frame;
pub mod groups;
pub mod invitation;
pub mod message;

/// The version that HELLO and WELCOME agree on.
pub const VERSION: u16 = 4;
