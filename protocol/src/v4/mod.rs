//! Version 4: what is said through the secure door, inside TLS.
//!
//! Everything here is wire, text and bounds. Who may say what, and when, is decided by the two sides; the bytes stand
//! in `docs/PROTOCOL.md`.

pub mod fingerprint;
pub mod groups;
