//! The cryptography of TLS handshakes, and whose a proved key is.

use std::sync::Arc;

use coffer_tls::peer_pin;
use rustls::{ServerConfig, ServerConnection};

use super::unreadable;
use crate::catalog::{Reader, now_ms};
use crate::job::{Failure, Flight, HandshakeFailure, Handshaken, Peer, Progress, SecureClient};

/// Takes a peer's flight and makes ours.
pub(super) fn handshake(flight: Flight, config: &Arc<ServerConfig>, reader: &Reader) -> Handshaken {
    let mut to_send = Vec::new();
    let outcome = begun(flight.tls, config).and_then(|mut tls| {
        let taken = take(&mut tls, &flight.records);
        while tls.wants_write() {
            // A vector takes everything. After an error this is the alert.
            let _ = tls.write_tls(&mut to_send);
        }
        taken?;
        if tls.is_handshaking() {
            return Ok(Progress::Incomplete(tls));
        }
        let peer = identify(&tls, reader)?;
        Ok(Progress::Complete(tls, peer))
    });
    Handshaken { to_send, outcome }
}

fn begun(
    tls: Option<Box<ServerConnection>>,
    config: &Arc<ServerConfig>,
) -> Result<Box<ServerConnection>, HandshakeFailure> {
    tls.map_or_else(|| ServerConnection::new(Arc::clone(config)).map(Box::new), Ok)
        .map_err(|error| HandshakeFailure::Ours(Failure(format!("cannot begin TLS: {error}"))))
}

fn take(tls: &mut ServerConnection, mut records: &[u8]) -> Result<(), HandshakeFailure> {
    while !records.is_empty() {
        tls.read_tls(&mut records).map_err(|error| HandshakeFailure::Peer(error.to_string()))?;
        let state = tls.process_new_packets();
        let state = state.map_err(|error| HandshakeFailure::Peer(error.to_string()))?;
        if state.peer_has_closed() {
            return Err(HandshakeFailure::Peer("the peer ended it".to_owned()));
        }
    }
    Ok(())
}

/// Whose the key is that the peer proved.
fn identify(tls: &ServerConnection, reader: &Reader) -> Result<Peer, HandshakeFailure> {
    let pin =
        peer_pin(tls).ok_or_else(|| HandshakeFailure::Peer("the peer has no key".to_owned()))?;
    let found = reader.client_by_pin(&pin.0);
    let found = found.map_err(|error| HandshakeFailure::Ours(unreadable(&error)))?;
    let client = found.map(|client| SecureClient {
        name: client.name,
        enrolled_at: client.enrolled_at.cast_unsigned(),
        is_revoked: client.is_revoked,
    });
    Ok(Peer { pin, client, now_ms: now_ms().cast_unsigned() })
}
