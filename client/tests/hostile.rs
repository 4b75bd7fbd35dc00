//! Servers that misbehave in the middle of an upload: heard without a deadlock, named for what they are.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use coffer::Class;
use coffer_protocol::cipher::SessionKey;
use coffer_protocol::key::PublicKey;
use coffer_protocol::reply::Reply;
use coffer_protocol::request::{FILE_PACKET, PAYLOAD_MAX, REQUEST_HEADER, Request, RequestHeader};
use coffer_protocol::{ClientId, Dialect};
use support::{Client, pattern};

const ID: ClientId = ClientId([0x77; 16]);

/// Long before any timeout of the client.
const PROMPT: Duration = Duration::from_secs(20);

/// A d825 server that registers everybody and then does as `behave` says.
fn server(behave: fn(&mut TcpStream)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            welcome(&mut stream);
            behave(&mut stream);
        }
    });
    address
}

fn welcome(stream: &mut TcpStream) {
    loop {
        let mut header = [0; REQUEST_HEADER];
        stream.read_exact(&mut header).expect("a request");
        let header = RequestHeader::parse(&header);
        let mut payload = vec![0; (header.payload_len as usize).min(PAYLOAD_MAX)];
        stream.read_exact(&mut payload).expect("its payload");
        let kind = Dialect::D825.kind(header.code).expect("a known code");
        let mut out = Vec::new();
        match Request::parse(Dialect::D825, kind, &payload).expect("a whole request") {
            Request::Register { .. } => {
                Reply::Registered { id: ID }.push(Dialect::D825, &mut out);
                stream.write_all(&out).expect("sent");
            }
            Request::PublicKey { key, .. } => {
                let mut rng = rand::rng();
                let session_key = SessionKey::random(Dialect::D825, &mut rng);
                let wrapped = PublicKey::from_der(key).expect("a key").wrap(&session_key, &mut rng);
                Reply::Key { id: ID, wrapped }.push(Dialect::D825, &mut out);
                stream.write_all(&out).expect("sent");
                return;
            }
            other => panic!("{other:?}"),
        }
    }
}

fn one_packet(stream: &mut TcpStream) {
    stream.read_exact(&mut [0; FILE_PACKET]).expect("a packet");
}

fn refuse(stream: &mut TcpStream) {
    let mut out = Vec::new();
    Reply::Error.push(Dialect::D825, &mut out);
    stream.write_all(&out).expect("sent");
}

fn outcome(behave: fn(&mut TcpStream)) -> (Class, String) {
    let mut client = Client::new(Dialect::D825, server(behave), "bob");
    let start = Instant::now();
    let outcome = client.fail_one("large", &pattern(48 << 20));
    assert!(start.elapsed() < PROMPT, "{:?}, {}", start.elapsed(), outcome.1);
    outcome
}

/// It reads no more and keeps the connection open: both sides' buffers fill up, and the refusal lies among ours.
#[test]
fn a_refusal_by_a_server_that_stops_reading() {
    let (class, text) = outcome(|stream| {
        one_packet(stream);
        refuse(stream);
        thread::sleep(2 * PROMPT);
    });
    assert_eq!(class, Class::Refused, "{text}");
}

/// The reset overtakes nothing that had arrived before.
#[test]
fn a_refusal_by_a_server_that_resets() {
    let (class, text) = outcome(|stream| {
        one_packet(stream);
        refuse(stream);
        thread::sleep(Duration::from_millis(50));
    });
    assert_eq!(class, Class::Refused, "{text}");
}

#[test]
fn a_refusal_by_a_server_that_reads_on() {
    let (class, text) = outcome(|stream| {
        one_packet(stream);
        refuse(stream);
        let mut sink = vec![0; 1 << 20];
        while stream.read(&mut sink).is_ok_and(|read| read > 0) {}
    });
    assert_eq!(class, Class::Refused, "{text}");
}

#[test]
fn a_server_that_goes_away() {
    let (class, text) = outcome(one_packet);
    assert_eq!(class, Class::Connection);
    assert!(text.contains("large: no answer while sending the file ("), "{text}");
}

#[test]
fn a_server_that_talks_without_end() {
    let (class, text) = outcome(|stream| {
        let nonsense = [0x55; 1 << 10];
        while stream.write_all(&nonsense).is_ok() {}
    });
    assert_eq!(class, Class::Connection);
    assert!(text.contains("more than it was asked for"), "{text}");
}
