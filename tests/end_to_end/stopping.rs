//! SIGTERM: what is under way may finish, new work is not taken, and the end is in order.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use coffer_protocol::Dialect;
use rustix::process::Signal;

use crate::content::noise;
use crate::peer::{CHECKSUM, Peer, Verdict, answer};
use crate::server::{Server, wait_for};

/// How long the server waits for what is under way, and what a loaded machine may add.
const DRAIN: Duration = Duration::from_secs(10);
const SLACK: Duration = Duration::from_secs(20);

/// A peer in the middle of a file, and what it still has to send.
fn half_way(server: &Server, dialect: Dialect, name: &str) -> (Peer, Vec<u8>) {
    let mut peer = Peer::new(server.address(), dialect, name);
    peer.introduce();
    let request = peer.upload_request(b"a", &content());
    if dialect == Dialect::D1100 {
        peer.hang_up();
    }
    let (front, rest) = request.split_at(request.len() / 2);
    peer.link().write_all(front).expect("the server reads");
    (peer, rest.to_vec())
}

fn content() -> Vec<u8> {
    noise(1, 500 << 10)
}

/// SIGTERM, until the server accepts nobody any more. It must not have ended.
fn begin_to_stop(server: &mut Server) {
    let address = server.address();
    server.process().signal(Signal::TERM);
    wait_for("the listener to be closed", || TcpStream::connect(address).is_err().then_some(()));
    assert!(server.process().is_alive(), "it waits for what is under way");
}

#[test]
fn a_running_upload_finishes_in_d825() {
    let mut server = Server::start();
    let (mut peer, rest) = half_way(&server, Dialect::D825, "Bob");
    begin_to_stop(&mut server);
    peer.link().write_all(&rest).expect("the server reads");
    let (code, _) = answer(peer.link()).expect("the server answers");
    assert_eq!(code % 100, CHECKSUM);
    assert_eq!(peer.verdict(Verdict::Right, b"a"), peer.acknowledged());
    let ended = server.process().wait();
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(server.store().content("Bob", b"a", None), Some(content()));
}

#[test]
fn a_running_upload_gets_its_answer_in_d1100() {
    let mut server = Server::start();
    let (mut peer, rest) = half_way(&server, Dialect::D1100, "Bob");
    begin_to_stop(&mut server);
    peer.link().write_all(&rest).expect("the server reads");
    let (code, _) = answer(peer.link()).expect("the server answers");
    assert_eq!(code % 100, CHECKSUM);
    peer.hang_up();
    let ended = server.process().wait();
    assert!(ended.status.success(), "{ended:?}");
    // The verdict is another connection, and so another server's.
    assert!(server.store().rows("Bob").is_empty());
    server.start_again();
    server.stop();
}

#[test]
fn who_never_finishes_is_cut_off_at_the_deadline() {
    let mut server = Server::start();
    let peers: Vec<_> = [(Dialect::D825, "Bob"), (Dialect::D1100, "Eve")]
        .map(|(dialect, name)| half_way(&server, dialect, name))
        .into();
    let start = Instant::now();
    begin_to_stop(&mut server);
    let ended = server.process().wait();
    assert!(ended.status.success() && start.elapsed() < DRAIN + SLACK, "{ended:?}");
    assert!(ended.stderr.contains("cut off"), "{}", ended.stderr);
    drop(peers);
    for name in ["Bob", "Eve"] {
        assert!(server.store().rows(name).is_empty());
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut server = Server::start();
    let peer = half_way(&server, Dialect::D825, "Bob");
    let start = Instant::now();
    begin_to_stop(&mut server);
    server.process().signal(Signal::TERM);
    let ended = server.process().wait();
    assert!(ended.status.success() && start.elapsed() < DRAIN, "{ended:?}");
    drop(peer);
}

#[test]
fn idle_and_silent_connections_do_not_hold_it_up() {
    let mut server = Server::start();
    let mut idle = Peer::new(server.address(), Dialect::D825, "Bob");
    idle.introduce();
    let mut registering = Peer::new(server.address(), Dialect::D825, "Eve");
    registering.register();
    let silent = TcpStream::connect(server.address()).expect("it listens");
    let start = Instant::now();
    server.process().signal(Signal::INT);
    let ended = server.process().wait();
    assert!(ended.status.success() && start.elapsed() < DRAIN, "{ended:?}");
    drop(silent);
}
