//! The secure channel of protocol version 4: TLS 1.3 between two keys that know each other.
//!
//! Both sides show a raw public key (RFC 7250) instead of a certificate, and each goes by the SHA-256 of the other's:
//! its [`Pin`]. There are no names, no dates and no authorities. An [`Identity`] is the key pair of one side;
//! [`key_file`] keeps it on disk. The client accepts exactly the server that it has pinned; the server accepts every
//! key whose owner has shown to have it, and [`peer_pin`] says whose it is. What that one may do is not decided here.
//!
//! No session is ever resumed and no ticket issued, because a resumed session would not show the key again, and a
//! revoked one must be refused at the next connection.
//!
//! This crate opens no sockets: whoever has one makes a [`rustls::ServerConnection`] or a [`connect`]ion from the
//! configuration, and moves the bytes.

mod config;
mod identity;
pub mod key_file;
mod peer;

use std::net::Ipv4Addr;
use std::sync::Arc;

pub use coffer_protocol::v4::fingerprint::Pin;
pub use identity::{Identity, IdentityError};
pub use peer::{WrongPin, peer_pin, wrong_pin};

/// The application protocol, by ALPN: version 4 of Coffer's. A peer that does not speak it is refused.
pub const ALPN: &[u8] = b"coffer/4";

/// A client's end of a connection to the server that `config` has pinned.
///
/// # Errors
/// [`rustls::Error`] for a configuration that is not one of [`Identity::client_config`].
pub fn connect(
    config: Arc<rustls::ClientConfig>,
) -> Result<rustls::ClientConnection, rustls::Error> {
    // A server has no name here. rustls asks for one, and neither sends this nor compares anything with it.
    rustls::ClientConnection::new(config, Ipv4Addr::UNSPECIFIED.into())
}
