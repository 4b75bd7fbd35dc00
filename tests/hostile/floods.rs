//! More of everything than anybody needs: registrations, uploads begun and left, connections.

use std::io::Write;
use std::net::SocketAddr;
use std::thread;
use std::time::Instant;

use coffer_protocol::Dialect;

use crate::beside::{BOTH, good_clients, store, within_memory};
use crate::classic::wire::{self, FILE_PACKET, REQUEST_HEADER};
use crate::peer::{CHECKSUM, NAME_REFUSED, Peer, RECONNECTED, REGISTERED, Verdict, connect};
use crate::server::{Server, Setup};

const REGISTRATIONS: usize = 10_000;

/// Peers at the same time, within the open files that a test may have by default.
const THREADS: usize = 4;

/// Registrations a minute where they are limited.
const LIMIT: usize = 100;

/// Registers names without a key, one connection each; returns how many were granted.
fn register(server: SocketAddr, dialect: Dialect, count: usize) -> usize {
    let flood = |thread: usize| {
        let granted = (0..count / THREADS).filter(|number| {
            let name = format!("flood {dialect} {thread} {number}");
            let answer = Peer::new(server, dialect, &name).register();
            assert!([REGISTERED, NAME_REFUSED].contains(&answer), "{answer}");
            answer == REGISTERED
        });
        granted.count()
    };
    thread::scope(|scope| {
        let threads: Vec<_> =
            (0..THREADS).map(|thread| scope.spawn(move || flood(thread))).collect();
        threads.into_iter().map(|thread| thread.join().expect("answers")).sum()
    })
}

/// The machine itself may register as much as it likes unless a limit is set; what waits for its key is small.
#[test]
fn ten_thousand_registrations_are_granted_here_and_bounded() {
    let mut server = Server::start();
    let address = server.address();
    let granted = within_memory(&mut server, 24 << 10, || {
        BOTH.map(|dialect| register(address, dialect, REGISTRATIONS / 2))
    });
    assert_eq!(granted, [REGISTRATIONS / 2; 2]);
    good_clients(&server, "after");
    let clients = server.store().clients();
    assert!(!clients.iter().any(|name| name.starts_with("flood")), "none of them had a key");
    server.stop();
}

#[test]
fn with_a_limit_ten_thousand_registrations_are_refused_and_clients_go_on() {
    let limit = LIMIT.to_string();
    let setup = Setup::new().arguments(&["--max-registrations-per-minute", &limit]);
    let server = setup.start();
    let mut known: Vec<Peer> = BOTH
        .map(|dialect| store(server.address(), dialect, &format!("known {dialect}"), b"content"))
        .into();
    let start = Instant::now();
    thread::scope(|scope| {
        let flood = scope.spawn(|| register(server.address(), Dialect::D1100, REGISTRATIONS));
        // Who is registered is not counted.
        for peer in &mut known {
            while !flood.is_finished() {
                peer.hang_up();
                assert_eq!(peer.reconnect(), RECONNECTED, "{}", peer.name);
                if peer.dialect == Dialect::D825 {
                    break;
                }
            }
            peer.hang_up();
            assert_eq!(peer.reconnect(), RECONNECTED, "{}", peer.name);
            assert_eq!(peer.upload(b"b", b"more"), CHECKSUM, "{}", peer.name);
            assert_eq!(peer.verdict(Verdict::Right, b"b"), peer.acknowledged(), "{}", peer.name);
        }
        let granted = flood.join().expect("the flood is answered");
        let minutes = start.elapsed().as_secs() as usize / 60 + 1;
        assert!((LIMIT - BOTH.len()..=LIMIT * minutes).contains(&granted), "{granted} granted");
    });
    server.stop();
}

/// The first packets of two-packet uploads, one after the other: each abandons the one before.
#[test]
fn uploads_begun_and_abandoned_on_one_connection_are_bounded() {
    const UPLOADS: usize = 20_000;
    let mut server = Server::start();
    let address = server.address();
    let mut peer = Peer::new(address, Dialect::D825, "restless");
    peer.introduce();
    within_memory(&mut server, 40 << 10, || {
        let first = &peer.upload_request(b"a", &[7; 1500])[..REQUEST_HEADER + FILE_PACKET];
        let hundred = first.repeat(100);
        for _ in 0..UPLOADS / 100 {
            peer.link().write_all(&hundred).expect("the server reads");
        }
        assert_eq!(peer.upload(b"b", b"content"), CHECKSUM, "it is still listened to");
        assert_eq!(peer.verdict(Verdict::Right, b"b"), peer.acknowledged());
    });
    assert_eq!(server.store().versions("restless").len(), 1);
    assert_eq!(server.store().blob_count(), 0, "small contents, and nothing of the abandoned ones");
    server.stop();
}

/// Uploads that announce much, bring little, and lose their connection; in d1100 several of one client at once.
#[test]
fn uploads_begun_and_lost_on_many_connections_are_bounded() {
    const UPLOADS: usize = 1_000;
    let mut server = Server::start();
    let address = server.address();
    let mut peers: Vec<Peer> =
        BOTH.map(|dialect| Peer::new(address, dialect, &format!("lossy {dialect}"))).into();
    peers.iter_mut().for_each(Peer::introduce);
    within_memory(&mut server, 40 << 10, || {
        let mut open = vec![];
        let head = [&wire::size_field(1 << 30)[..], &wire::name_field(b"large")].concat();
        let mut request = peers[1].request(3, &head);
        request.resize(3 * wire::CHUNK, 7);
        for number in 0..UPLOADS {
            let mut stream = connect(address);
            stream.write_all(&request).expect("the server reads");
            open.push(stream);
            if number % 100 == 99 {
                open.clear();
            }
        }
        for _ in 0..UPLOADS / 10 {
            let peer = &mut peers[0];
            peer.hang_up();
            assert_eq!(peer.reconnect(), RECONNECTED);
            let request = peer.upload_request(b"large", &[7; 200 << 10]);
            peer.link().write_all(&request[..2 * (REQUEST_HEADER + FILE_PACKET)]).expect("reads");
        }
    });
    good_clients(&server, "after");
    let store = server.store();
    crate::server::wait_for("what was begun to be gone", || {
        (store.blob_count() == 0).then_some(())
    });
    server.stop();
}

/// Connections that open and close, with and without a word.
#[test]
fn a_storm_of_connections_is_weathered() {
    const CONNECTIONS: usize = 4_000;
    let mut server = Server::start();
    let address = server.address();
    within_memory(&mut server, 24 << 10, || {
        thread::scope(|scope| {
            for thread in 0..THREADS {
                scope.spawn(move || {
                    for number in 0..CONNECTIONS / THREADS {
                        let mut stream = connect(address);
                        if number % 2 == thread % 2 {
                            stream.write_all(&[7; 30]).expect("the server reads");
                        }
                    }
                });
            }
        });
    });
    server.stop();
}
