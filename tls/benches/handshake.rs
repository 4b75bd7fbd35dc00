//! What a handshake costs each side, in processor time: the cryptography and rustls around it, and no socket.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coffer_tls::{Identity, connect, peer_pin};
use criterion::{Criterion, criterion_group, criterion_main};
use rustls::{ConnectionCommon, ServerConnection, SideData};

/// The time that each side took for one handshake: client, server.
fn shake(client: &Arc<rustls::ClientConfig>, server: &Arc<rustls::ServerConfig>) -> [Duration; 2] {
    let mut took = [Duration::ZERO; 2];
    let begun = Instant::now();
    let mut client = connect(Arc::clone(client)).expect("a configuration");
    let mut flight = answer(&mut client, &[]);
    took[0] += begun.elapsed();
    let begun = Instant::now();
    let mut server = ServerConnection::new(Arc::clone(server)).expect("a configuration");
    let mut reply = answer(&mut server, &flight);
    took[1] += begun.elapsed();
    while !flight.is_empty() || !reply.is_empty() {
        let begun = Instant::now();
        flight = answer(&mut client, &reply);
        took[0] += begun.elapsed();
        let begun = Instant::now();
        reply = answer(&mut server, &flight);
        took[1] += begun.elapsed();
    }
    black_box((peer_pin(&client).expect("complete"), peer_pin(&server).expect("complete")));
    took
}

fn answer<D: SideData>(end: &mut ConnectionCommon<D>, mut bytes: &[u8]) -> Vec<u8> {
    while !bytes.is_empty() {
        end.read_tls(&mut bytes).expect("memory");
        end.process_new_packets().expect("nothing wrong");
    }
    let mut flight = Vec::new();
    while end.wants_write() {
        end.write_tls(&mut flight).expect("memory");
    }
    flight
}

fn handshake(criterion: &mut Criterion) {
    let (client, server) = (Identity::generate(), Identity::generate());
    let (client, server) = (client.client_config(server.pin()), server.server_config());
    let mut group = criterion.benchmark_group("handshake");
    for (side, name) in ["client", "server"].into_iter().enumerate() {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| (0..count).map(|_| shake(&client, &server)[side]).sum());
        });
    }
    group.finish();
}

criterion_group!(benches, handshake);
criterion_main!(benches);
