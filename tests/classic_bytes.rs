//! The bytes that the classic test clients put on the wire, against a server that only plays a script.

mod classic;

use classic::client825::Order;
use classic::keys::{self, Key};
use classic::{Client825, Client1100, End, Identity, wire};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread::{self, JoinHandle};

const ID: [u8; 16] = *b"ABCDEFGHIJKLMNOP";

/// How many bytes to read, and what to answer.
type Step = (usize, Vec<u8>);

/// Plays each script on a connection of its own, and returns what it has read, step by step.
fn play(scripts: Vec<Vec<Step>>) -> (SocketAddr, JoinHandle<Vec<Vec<u8>>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let addr = listener.local_addr().expect("it is bound");
    let thread = thread::spawn(move || {
        let mut read = vec![];
        for script in scripts {
            let (mut stream, _) = listener.accept().expect("a client comes");
            for (size, answer) in script {
                let mut bytes = vec![0; size];
                stream.read_exact(&mut bytes).expect("it sends as much");
                stream.write_all(&answer).expect("it reads");
                read.push(bytes);
            }
        }
        read
    });
    (addr, thread)
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| ((7 * i + 3) % 256) as u8).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn me() -> Option<Identity> {
    Some(Identity { name: b"Bob".into(), id: ID, key: Key::A })
}

fn reply(code: u16, parts: &[&[u8]]) -> Vec<u8> {
    let payload = parts.concat();
    wire::reply(code, payload.len(), &payload)
}

fn key_reply_825() -> Vec<u8> {
    let aes_key: [u8; 32] = std::array::from_fn(|i| i as u8);
    let wrapped = keys::wrap_sha1(&Key::A.spki(), &aes_key).expect("a sound key");
    reply(1605, &[&ID, &wrapped])
}

fn checksum_reply(code: u16, size: u8, name: &[u8], checksum: u32) -> Vec<u8> {
    let name = wire::name_field(name);
    reply(code, &[&ID, &[size, 0, 0, 0], &name, &checksum.to_le_bytes()])
}

#[test]
fn d825_sends_a_file_as_one_packet_with_all_its_fields() {
    let answer = checksum_reply(1603, 16, b"docs/a.txt", 930_766_865);
    let script = vec![(278, key_reply_825()), (1314, answer.clone()), (278, answer)];
    let (addr, server) = play(vec![script]);
    let run =
        Client825 { identity: me(), ..Client825::new(addr, "-", "docs/a.txt", b"123456789") }.run();
    assert_eq!((run.end, run.error_lines()), (End::Success, 0), "{}", run.dialogue());

    let read = server.join().expect("the script is played");
    let id = hex(&ID);
    assert!(hex(&read[0]).starts_with(&format!("{id}033b03ff000000426f6200")));
    // Encrypted and plain size, number 0 of 1, the name.
    let fields =
        format!("{id}033c030b050000{}{}00000100{}", "10000000", "09000000", hex(b"docs/a.txt"));
    assert!(hex(&read[1]).starts_with(&fields));
    assert_eq!(hex(&read[1][290..306]), "2f3f4510b8421435e17f2b96b8aad276");
    assert!(read[1][306..].iter().all(|&byte| byte == 0), "the rest of the data is zeros");
    assert!(hex(&read[2]).starts_with(&format!("{id}038403ff000000{}00", hex(b"docs/a.txt"))));
}

#[test]
fn d825_gives_up_with_902_directly_behind_901() {
    let wrong = checksum_reply(1603, 16, b"a", 1);
    let mut script = vec![(278, key_reply_825())];
    for _ in 0..3 {
        script.push((1314, wrong.clone()));
        script.push((278, vec![]));
    }
    script.push((278, wrong));
    let (addr, server) = play(vec![script]);
    let run = Client825 { identity: me(), ..Client825::new(addr, "-", "a", b"123456789") }.run();
    assert_eq!(run.dialogue(), "827 1605 828 1603 901 828 1603 901 828 1603 901 902 1603");
    let read = server.join().expect("the script is played");
    assert_eq!(read.len(), 8);
    assert_eq!(read[1], read[3], "the file is sent again under the same key");
    assert_eq!(wire::request_header(&read[6]), (ID, 901, 255));
    assert_eq!(wire::request_header(&read[7]), (ID, 902, 255));
}

#[test]
fn d825_numbers_its_packets_from_0() {
    let answer = reply(1607, &[]);
    let script = vec![(278, key_reply_825()), (3 * 1314, answer.clone())];
    let (addr, server) = play(vec![script]);
    let client = Client825 { identity: me(), ..Client825::new(addr, "-", "a", &pattern(2500)) };
    Client825 { order: Order::Descending, ..client }.run();
    let read = server.join().expect("the script is played");
    let numbers: Vec<u16> = read[1].chunks(1314).map(|packet| wire::u16_at(packet, 31)).collect();
    let counts: Vec<u16> = read[1].chunks(1314).map(|packet| wire::u16_at(packet, 33)).collect();
    assert_eq!((numbers, counts), (vec![2, 1, 0], vec![3, 3, 3]));
}

#[test]
fn d1100_fills_the_last_packet_with_bytes_of_the_one_before() {
    let packet = |mut bytes: Vec<u8>| {
        bytes.resize(1024, 0);
        bytes
    };
    let aes_key: [u8; 16] = std::array::from_fn(|i| i as u8);
    let wrapped = keys::wrap_sha256(&Key::A.spki(), &aes_key).expect("a sound key");
    let content = pattern(1029);
    let received = checksum_reply(2103, 0, b"a.txt", wire::md5_sum(&content));
    let scripts = vec![
        vec![(1024, packet(reply(2105, &[&ID, &wrapped])))],
        vec![(3 * 1024, packet(received))],
        vec![(1024, packet(reply(2104, &[&ID])))],
    ];
    let (addr, server) = play(scripts);
    let client = Client1100 { identity: me(), ..Client1100::new(addr, "-", "a.txt", &content) };
    let run = client.run();
    assert_eq!(run.dialogue(), "1102 2105 | 1103 2103 | 1104 2104");
    assert_eq!(run.end, End::Success);

    let read = server.join().expect("the script is played");
    let (header, chunks) = read[1].split_at(1024);
    // The payload size is 259 whatever follows; 1040 bytes do.
    let start = format!("{}034f040301000010040000{}00", hex(&ID), hex(b"a.txt"));
    assert!(hex(header).starts_with(&start));
    assert_eq!(hex(&chunks[..16]), "268590873ef180ab539cf461a5c5f892");
    assert_eq!(
        hex(&chunks[1008..1040]),
        "0f33c79a02290d3711e61b89cdb8f8aafebf3d4cffcd2312d67303611f8559ea"
    );
    assert_eq!(chunks[1040..], chunks[16..1024], "stale bytes behind the end");
}

#[test]
fn d1100_sends_only_the_last_part_of_a_path_with_the_file() {
    let packet = |mut bytes: Vec<u8>| {
        bytes.resize(1024, 0);
        bytes
    };
    let wrapped = keys::wrap_sha256(&Key::A.spki(), &[7; 16]).expect("a sound key");
    let right = checksum_reply(2103, 16, b"docs/a.txt", wire::md5_sum(b"abc"));
    let scripts = vec![
        vec![(1024, packet(reply(2105, &[&ID, &wrapped])))],
        vec![(2 * 1024, packet(right))],
        vec![(1024, packet(reply(2104, &[&ID])))],
    ];
    let (addr, server) = play(scripts);
    let client = Client1100 { identity: me(), ..Client1100::new(addr, "-", "docs/a.txt", b"abc") };
    assert_eq!(client.run().end, End::Success, "an answer with the whole path would do");
    let read = server.join().expect("the script is played");
    assert_eq!(wire::strip(&read[1][27..282]), b"a.txt");
    assert_eq!(wire::strip(&read[2][23..278]), b"docs/a.txt");
}
