//! Peers that mean harm at the secure door: before, during and after their handshake. The server's key is known to
//! them, as it is to whoever was ever invited.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use coffer_protocol::v4::frame::{CONTROL_MAX, FRAME_HEADER, FrameHeader, Kind};
use coffer_protocol::v4::invitation::{Invitation, Secret};
use coffer_protocol::v4::message::{Answer, Enroll, ErrorCode, Hello, Ping, Request};
use coffer_tls::Identity;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::beside::{beside_good_clients, good_clients, within_memory};
use crate::peer::connect;
use crate::server::{Server, cofferd};

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// How long an answer may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Has the server's operator invite somebody.
fn invite(server: &Server, name: &str) -> Invitation {
    let mut command: Command = cofferd(server.data());
    let address = server.address().to_string();
    command.args(["invite", name, "--address", &address, "--data"]).arg(server.data());
    let output = command.output().expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Invitation::from_code(String::from_utf8_lossy(&output.stdout).trim()).expect("a code")
}

/// A connection through TLS, with a key of its own.
fn through(server: SocketAddr, config: &Arc<ClientConfig>) -> Tls {
    let socket = connect(server);
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let tls = coffer_tls::connect(Arc::clone(config)).expect("our own configuration");
    StreamOwned::new(tls, socket)
}

fn stranger(invitation: &Invitation) -> Arc<ClientConfig> {
    Identity::generate().client_config(invitation.server)
}

fn send(tls: &mut Tls, request: &Request) {
    let mut frame = Vec::new();
    request.frame(1, &mut frame);
    tls.write_all(&frame).expect("the server reads");
}

fn answer(tls: &mut Tls) -> Answer {
    let mut header = [0; FRAME_HEADER];
    tls.read_exact(&mut header).expect("an answer");
    let header = FrameHeader::decode(&header).expect("a header");
    let mut payload = vec![0; header.length as usize];
    tls.read_exact(&mut payload).expect("an answer");
    Answer::decode(header.kind, &payload).expect("an answer")
}

fn refused(tls: &mut Tls) -> ErrorCode {
    match answer(tls) {
        Answer::Error(error) => error.code,
        other => panic!("{other:?}"),
    }
}

fn hello() -> Request {
    Request::Hello(Hello { version_min: 4, version_max: 4, software: "hostile".to_owned() })
}

fn enroll(secret: Secret) -> Request {
    Request::Enroll(Enroll { secret, host: String::new() })
}

/// A stranger that was welcomed.
fn welcomed(server: SocketAddr, config: &Arc<ClientConfig>) -> Tls {
    let mut tls = through(server, config);
    send(&mut tls, &hello());
    assert!(matches!(answer(&mut tls), Answer::Welcome(_)));
    tls
}

/// The server hangs up, with or without a last word.
fn hangs_up(mut socket: impl Read) {
    let mut rest = Vec::new();
    if let Err(error) = socket.read_to_end(&mut rest) {
        let kinds = [ErrorKind::ConnectionReset, ErrorKind::UnexpectedEof, ErrorKind::InvalidData];
        assert!(kinds.contains(&error.kind()), "{error}");
    }
}

/// What begins as TLS and goes on as anything else ends with an alert, or in silence, and costs nothing.
#[test]
fn what_only_begins_like_tls_is_cut_off() {
    let mut server = Server::start();
    let address = server.address();
    within_memory(&mut server, 8 << 10, || {
        for round in 0..300_u32 {
            let mut socket = connect(address);
            socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
            let length = (round * 37 % 1500) as u16;
            let mut bytes = [22, 3, 1, 0, 0, 1].to_vec();
            bytes[3..5].copy_from_slice(&(length + 1).to_be_bytes());
            bytes.extend((0..length).map(|at| (u32::from(at) * round) as u8));
            // It may hang up before it has read everything.
            let _ = socket.write_all(&bytes);
            if round % 2 == 0 {
                // A record that never ends.
                let _ = socket.write_all(&[22, 3, 3, 0xff, 0xff]);
                let _ = socket.write_all(&[0; 40 << 10]);
            }
            let _ = socket.shutdown(std::net::Shutdown::Write);
            hangs_up(socket);
        }
    });
    good_clients(&server, "after");
    server.stop();
}

/// Half of a handshake, a thousand times at once: nobody else waits, and no worker is held.
#[test]
fn handshakes_that_stop_half_way_hold_nobody_up() {
    let mut server = Server::start();
    let address = server.address();
    let config = stranger(&invite(&server, "somebody"));
    within_memory(&mut server, 24 << 10, || {
        let held: Vec<TcpStream> = (0..500)
            .map(|_| {
                let mut tls = coffer_tls::connect(Arc::clone(&config)).expect("our own");
                let mut flight = Vec::new();
                tls.write_tls(&mut flight).expect("memory");
                let mut socket = connect(address);
                socket.write_all(&flight).expect("the server reads");
                socket
            })
            .collect();
        thread::sleep(Duration::from_secs(1));
        drop(held);
    });
    server.stop();
}

/// Codes that are guessed: each costs a handshake and ends the connection, and the source is slowed down; somebody who
/// was invited gets in from the same address all the same.
#[test]
fn guessing_codes_is_slow_and_keeps_nobody_out() {
    let server = Server::start();
    let invitation = invite(&server, "laptop");
    beside_good_clients(&server, || {
        for round in 0..30 {
            let mut tls = welcomed(server.address(), &stranger(&invitation));
            send(&mut tls, &enroll(Secret::new([round; 16])));
            assert_eq!(refused(&mut tls), ErrorCode::BadCode);
            hangs_up(tls);
        }
    });
    let key = stranger(&invitation);
    let mut tls = welcomed(server.address(), &key);
    send(&mut tls, &enroll(invitation.secret));
    assert!(matches!(answer(&mut tls), Answer::Enrolled(enrolled) if enrolled.name == "laptop"));
    send(&mut tls, &Request::Usage);
    assert!(matches!(answer(&mut tls), Answer::Used(_)));
    server.stop();
}

/// Nobody learns anything, or has anything done, without a key that was enrolled.
#[test]
fn a_stranger_gets_nothing() {
    let server = Server::start();
    let config = stranger(&invite(&server, "somebody"));
    let mut tls = welcomed(server.address(), &config);
    send(&mut tls, &Request::Usage);
    assert_eq!(refused(&mut tls), ErrorCode::NotEnrolled);
    let mut first = through(server.address(), &config);
    send(&mut first, &Request::Usage);
    assert_eq!(refused(&mut first), ErrorCode::BadRequest);
    hangs_up(first);
    server.stop();
}

/// Frames that are none, of every length, and requests without end: told, cut off, and memory stays.
#[test]
fn broken_and_endless_frames_are_refused() {
    let mut server = Server::start();
    let config = stranger(&invite(&server, "somebody"));
    let address = server.address();
    within_memory(&mut server, 16 << 10, || {
        for length in [CONTROL_MAX, CONTROL_MAX + 1, 1 << 20, u32::MAX] {
            let mut tls = welcomed(address, &config);
            let mut frame = FrameHeader { length: 0, kind: Kind::Ping, stream: 1 }.encode();
            frame[..4].copy_from_slice(&length.to_le_bytes());
            let _ = tls.write_all(&frame);
            let _ = tls.write_all(&vec![0xff; CONTROL_MAX as usize]);
            assert_eq!(refused(&mut tls), ErrorCode::BadRequest, "{length}");
        }
        let mut tls = welcomed(address, &config);
        let mut pings = Vec::new();
        (0..4000).for_each(|nonce| Request::Ping(Ping { nonce }).frame(1, &mut pings));
        // Answers are not read: at some point it hangs up, or takes no more.
        tls.sock.set_write_timeout(Some(Duration::from_secs(3))).expect("a socket");
        let start = Instant::now();
        while tls.write_all(&pings).is_ok() {
            assert!(start.elapsed() < PATIENCE, "it is read for ever");
        }
    });
    good_clients(&server, "after");
    server.stop();
}
