//! Peers that fall silent, trickle, or vanish, at every stage of a session.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use coffer_protocol::Dialect;
use socket2::SockRef;

use crate::beside::{REFUSED, good_clients, is_closed, within_memory};
use crate::classic::wire::{FILE_PACKET, REQUEST_HEADER};
use crate::content::noise;
use crate::peer::{CHECKSUM, KEY, Peer, RECONNECTED, REGISTERED, Verdict, answer};
use crate::server::Server;

/// One byte a peer in so many turns.
const TRICKLES: usize = 20;

/// Memory for all peers of a test, in KiB; the receive buffers that they share may be new, too.
const MEMORY_KIB_MAX: u64 = 24 << 10;

/// A peer in the middle of a request.
struct Slow {
    stage: String,
    stream: TcpStream,
    /// What it has not sent yet of its request.
    rest: Vec<u8>,
    /// The last digit of the answer to the whole request.
    expected: u16,
}

impl Slow {
    /// Sends `sent` bytes of a request on the peer's connection and holds back the others.
    fn new(stage: &str, mut peer: Peer, request: &[u8], sent: usize, expected: u16) -> Self {
        let stage = format!("{} {stage}", peer.dialect);
        let mut stream = peer.take_link();
        stream.write_all(&request[..sent]).expect("the server reads");
        Self { stage, stream, rest: request[sent..].to_vec(), expected }
    }

    fn trickle(&mut self) {
        let byte = self.rest.remove(0);
        self.stream.write_all(&[byte]).unwrap_or_else(|error| panic!("{}: {error}", self.stage));
    }
}

/// A peer in the middle of every kind of request, at every stage of a session.
fn at_every_stage(server: SocketAddr, test: &str) -> Vec<Slow> {
    let mut slow = stages(server, Dialect::D825, test);
    slow.extend(stages(server, Dialect::D1100, test));
    slow
}

fn stages(server: SocketAddr, dialect: Dialect, test: &str) -> Vec<Slow> {
    let mut number = 0;
    let mut stranger = || {
        number += 1;
        Peer::new(server, dialect, &format!("{test} {dialect} {number}"))
    };
    let d1100 = dialect == Dialect::D1100;
    let on_new_link = |mut peer: Peer| {
        if d1100 {
            peer.hang_up();
        }
        peer
    };
    let content = noise(1, 3000);
    let mut slow = vec![];
    for (stage, sent) in [("header", 11), ("registration", 150)] {
        let peer = stranger();
        let request = peer.request(0, &peer.name_field());
        slow.push(Slow::new(stage, peer, &request, sent, REGISTERED));
    }
    let mut peer = stranger();
    assert_eq!(peer.register(), REGISTERED);
    let request = peer.key_request();
    slow.push(Slow::new("public key", on_new_link(peer), &request, 300, KEY));
    let mut peer = stranger();
    peer.introduce();
    peer.hang_up();
    let request = peer.request(2, &peer.name_field());
    slow.push(Slow::new("reconnection", peer, &request, 200, RECONNECTED));
    let packet = REQUEST_HEADER + FILE_PACKET;
    for (stage, sent) in [
        ("file's head", 100),
        ("file", 1500),
        ("between packets", if d1100 { 2048 } else { packet }),
    ] {
        let mut peer = stranger();
        peer.introduce();
        let request = peer.upload_request(b"a", &content);
        slow.push(Slow::new(stage, on_new_link(peer), &request, sent, CHECKSUM));
    }
    let mut peer = stranger();
    peer.introduce();
    assert_eq!(peer.upload(b"a", &content), CHECKSUM);
    let (request, expected) = (peer.verdict_request(Verdict::Right, b"a"), peer.acknowledged());
    slow.push(Slow::new("verdict", on_new_link(peer), &request, 100, expected));
    slow
}

#[test]
fn trickling_at_every_stage_costs_a_slot_and_is_served_in_the_end() {
    let mut server = Server::start();
    let address = server.address();
    let mut slow = within_memory(&mut server, MEMORY_KIB_MAX, || {
        let mut slow: Vec<Slow> =
            (0..10).flat_map(|n| at_every_stage(address, &format!("trickle {n}"))).collect();
        for _ in 0..TRICKLES {
            slow.iter_mut().for_each(Slow::trickle);
        }
        slow
    });
    for Slow { stage, stream, rest, expected } in &mut slow {
        stream.write_all(rest).unwrap_or_else(|error| panic!("{stage}: {error}"));
        let (code, _) = answer(stream).unwrap_or_else(|error| panic!("{stage}: {error}"));
        assert_eq!(code % 100, *expected, "{stage}");
    }
    drop(slow);
    server.stop();
}

/// The one test that waits for a deadline.
#[test]
fn trickling_for_ever_ends_at_the_deadline() {
    let server = Server::start();
    let slow = at_every_stage(server.address(), "for ever");
    thread::scope(|scope| {
        for slow in slow {
            scope.spawn(move || until_cut_off(slow));
        }
    });
    good_clients(&server, "after");
    server.stop();
}

/// A byte a second until the server has had enough.
fn until_cut_off(mut slow: Slow) {
    let start = Instant::now();
    slow.stream.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
    let mut answered = vec![];
    loop {
        if !slow.rest.is_empty() {
            // It may have been cut off meanwhile; that is read below.
            let _ = slow.stream.write_all(&[slow.rest.remove(0)]);
        }
        let mut bytes = [0; 2048];
        match slow.stream.read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => answered.extend_from_slice(&bytes[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => panic!("{}: {error}", slow.stage),
        }
        assert!(start.elapsed() < Duration::from_secs(55), "{}: still open", slow.stage);
    }
    assert!(start.elapsed() > Duration::from_secs(20), "{}: cut off too early", slow.stage);
    assert!(answered.len() >= 7, "{}: {answered:02x?}", slow.stage);
    let code = u16::from_le_bytes([answered[1], answered[2]]);
    assert_eq!(code % 100, REFUSED, "{}", slow.stage);
}

#[test]
fn half_closing_at_every_stage_ends_the_connection() {
    let server = Server::start();
    for mut slow in at_every_stage(server.address(), "half") {
        slow.stream.shutdown(Shutdown::Write).expect("it is connected");
        assert!(is_closed(&mut slow.stream), "{}", slow.stage);
    }
    good_clients(&server, "after");
    server.stop();
}

/// The answer to a whole request comes although its peer will say no more.
#[test]
fn half_closing_behind_a_whole_request_is_answered() {
    let server = Server::start();
    for mut slow in at_every_stage(server.address(), "whole") {
        slow.stream.write_all(&slow.rest).expect("the server reads");
        slow.stream.shutdown(Shutdown::Write).expect("it is connected");
        let (code, _) = answer(&mut slow.stream).expect("an answer");
        assert_eq!(code % 100, slow.expected, "{}", slow.stage);
        assert!(is_closed(&mut slow.stream), "{}", slow.stage);
    }
    server.stop();
}

#[test]
fn resetting_at_every_stage_leaves_nothing_behind() {
    let mut server = Server::start();
    let address = server.address();
    within_memory(&mut server, MEMORY_KIB_MAX, || {
        for round in 0..10 {
            for slow in at_every_stage(address, &format!("reset {round}")) {
                // With nothing to linger for, closing is a reset.
                SockRef::from(&slow.stream).set_linger(Some(Duration::ZERO)).expect("linger");
            }
        }
    });
    // Names whose registration broke off are free again in d825.
    let mut again = Peer::new(address, Dialect::D825, "reset 0 825 3");
    again.introduce();
    server.stop();
}
