//! What the cryptography of handshakes costs by itself.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use coffer_tls::{Identity, connect};
use rustls::{ClientConfig, ServerConfig, ServerConnection};

/// How long it is measured.
const LONG_ENOUGH: Duration = Duration::from_secs(3);

/// Both ends of whole handshakes, in memory, on all cores.
///
/// # Errors
/// If a handshake fails.
pub(crate) fn handshakes_per_second() -> anyhow::Result<f64> {
    let (server, client) = (Identity::generate(), Identity::generate());
    let (server, client) = (server.server_config(), client.client_config(server.pin()));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let start = Instant::now();
    let count: anyhow::Result<u64> = thread::scope(|scope| {
        let threads: Vec<_> = (0..cores)
            .map(|_| scope.spawn(|| count_until(start + LONG_ENOUGH, &server, &client)))
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).sum()
    });
    Ok(count? as f64 / start.elapsed().as_secs_f64())
}

fn count_until(
    end: Instant,
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
) -> anyhow::Result<u64> {
    let mut count = 0;
    while Instant::now() < end {
        let server = ServerConnection::new(Arc::clone(server))?;
        handshake(server, connect(Arc::clone(client))?).context("a handshake in memory")?;
        count += 1;
    }
    Ok(count)
}

fn handshake(
    mut server: ServerConnection,
    mut client: rustls::ClientConnection,
) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    while server.is_handshaking() || client.is_handshaking() {
        bytes.clear();
        while client.wants_write() {
            client.write_tls(&mut bytes)?;
        }
        let mut records = bytes.as_slice();
        while !records.is_empty() {
            server.read_tls(&mut records)?;
            server.process_new_packets()?;
        }
        bytes.clear();
        while server.wants_write() {
            server.write_tls(&mut bytes)?;
        }
        let mut records = bytes.as_slice();
        while !records.is_empty() {
            client.read_tls(&mut records)?;
            client.process_new_packets()?;
        }
    }
    Ok(())
}
