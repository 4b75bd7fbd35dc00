//! The classic d825 client against the server.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::classic::client825::Order;
use crate::classic::keys::Key;
use crate::classic::{Client825, End, Faults, Transcript, wire};
use crate::content::noise;
use crate::server::Server;

/// Packets that may come before one that is missing.
const AHEAD: u16 = 64;

fn assert_clean(run: &Transcript, what: &str) {
    let ended = (run.end, run.error_lines());
    assert_eq!(ended, (End::Success, 0), "{what}: {}", run.dialogue());
}

/// A client that has registered with a small file `seed`.
fn registered(server: &Server, name: &str) -> Client825 {
    let client = Client825::new(server.address(), name, "seed", b"seed");
    let run = client.run();
    assert_clean(&run, "registration");
    Client825 { identity: run.identity, ..client }
}

#[test]
fn a_first_run_and_a_second_one_end_without_an_error_line() {
    let server = Server::start();
    let first = Client825::new(server.address(), "Bob", "docs/work/a.txt", b"123456789");
    let run = first.run();
    assert_clean(&run, "first run");
    assert_eq!(run.dialogue(), "825 1600 826 1602 828 1603 900 1603");
    assert_eq!((run.size_of(1603, 0), run.size_of(1603, 1)), (Some(279), Some(279)));

    let again = Client825 { identity: run.identity, content: b"second".into(), ..first };
    let run = again.run();
    assert_clean(&run, "second run");
    assert_eq!(run.dialogue(), "827 1605 828 1603 900 1603");
    let versions = server.store().versions("Bob");
    let stored: Vec<_> = versions.iter().map(|v| (v.row.version, &v.content[..])).collect();
    assert_eq!(stored, [(1, &b"123456789"[..]), (2, b"second")]);
    // From coreutils: printf 123456789 | cksum.
    assert_eq!(versions[0].row.cksum, 930_766_865);
    server.store().wait_for_view("Bob");
    assert!(versions[1].shown.ends_with("Bob/docs/work/a.txt"));
    server.stop();
}

#[test]
fn sizes_around_blocks_and_packets() {
    let server = Server::start();
    let client = registered(&server, "Bob");
    for size in [0, 1, 15, 16, 1008, 1024, 16 << 10, (16 << 10) + 1, 64 << 10, 100 << 10, 1 << 20] {
        let (file_name, content) = (format!("size/{size}"), noise(size as u64, size));
        let run = Client825 {
            file_name: file_name.clone().into(),
            content: content.clone(),
            ..client.clone()
        }
        .run();
        assert_clean(&run, &file_name);
        let stored = server.store().content("Bob", file_name.as_bytes(), None);
        assert_eq!(stored, Some(content), "{size}");
    }
    server.stop();
}

#[test]
fn packets_in_any_order_within_the_window() {
    let server = Server::start();
    let client = registered(&server, "Bob");
    let window = usize::from(AHEAD) * 1024;
    // Windows of shuffled packets, one after the other.
    let windows: Vec<u16> = (0..1025_u16)
        .map(|n| if n < 1024 { n / AHEAD * AHEAD + (n * 37 + 11) % AHEAD } else { n })
        .collect();
    assert_eq!(windows.iter().collect::<HashSet<_>>().len(), windows.len());
    let orders = [
        ("descending", Order::Descending, window),
        ("twice", Order::EachTwice, 200 << 10),
        ("shuffled", Order::Shuffled(1), window),
        ("shuffled otherwise", Order::Shuffled(2), window),
        ("windows", Order::Exactly(windows), 1 << 20),
    ];
    for (what, order, size) in orders {
        let content = noise(7, size);
        let run =
            Client825 { file_name: what.into(), content: content.clone(), order, ..client.clone() }
                .run();
        assert_clean(&run, what);
        let stored = server.store().content("Bob", what.as_bytes(), None);
        assert_eq!(stored, Some(content), "{what}");
    }
    server.stop();
}

#[test]
fn packets_beyond_the_window_are_refused_and_do_no_harm() {
    let server = Server::start();
    let client = registered(&server, "Bob");
    let far = Client825 {
        file_name: b"far".into(),
        content: noise(7, 200 << 10),
        order: Order::Descending,
        ..client
    };
    let run = far.run();
    assert_eq!(run.dialogue(), "827 1605 828 1607 828 1607 828 1607");
    assert_clean(&Client825 { order: Order::Ascending, ..far.clone() }.run(), "in order");
    assert_eq!(server.store().content("Bob", b"far", None), Some(far.content));
    server.stop();
}

#[test]
fn writes_of_any_size() {
    let server = Server::start();
    let client = registered(&server, "Bob");
    for (write_size, size) in
        [(1, 3000), (7, 3000), (22, 3000), (1313, 100 << 10), (1315, 100 << 10)]
    {
        let (file_name, content) = (format!("writes of {write_size}"), noise(3, size));
        let run = Client825 {
            file_name: file_name.clone().into(),
            content: content.clone(),
            faults: Faults { write_size: Some(write_size), ..Faults::default() },
            ..client.clone()
        }
        .run();
        assert_clean(&run, &file_name);
        assert_eq!(server.store().content("Bob", file_name.as_bytes(), None), Some(content));
    }
    server.stop();
}

#[test]
fn a_wrong_checksum_is_mended_by_the_second_or_third_sending() {
    let server = Server::start();
    let client = registered(&server, "Bob");
    let old = Client825 { file_name: b"a".into(), content: b"the old one".into(), ..client };
    assert_clean(&old.run(), "the old version");

    let expected = [
        (vec![1], "827 1605 828 1603 901 828 1603 900 1603", End::Success),
        (vec![1, 2], "827 1605 828 1603 901 828 1603 901 828 1603 900 1603", End::Success),
        (vec![1, 2, 3], "827 1605 828 1603 901 828 1603 901 828 1603 901 902 1603", End::Failure),
    ];
    for (corrupt, dialogue, end) in expected {
        for size in [100, 40 << 10, 300 << 10] {
            let content = noise(corrupt.len() as u64, size);
            let faults = Faults { corrupt: corrupt.clone(), ..Faults::default() };
            let run = Client825 { content: content.clone(), faults, ..old.clone() }.run();
            assert_eq!((run.dialogue().as_str(), run.end), (dialogue, end));
            assert_eq!(run.error_lines(), 0, "wrong checksums are no wrong answers");
            let newest = server.store().content("Bob", b"a", None);
            assert_eq!(newest == Some(content), end == End::Success, "{corrupt:?}, {size} bytes");
        }
    }
    // Only what was verified: the old one and two times three.
    let versions: Vec<u32> =
        server.store().rows("Bob").iter().filter(|r| r.file == b"a").map(|r| r.version).collect();
    assert_eq!(versions, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(server.store().content("Bob", b"a", Some(1)), Some(b"the old one".into()));
    server.stop();
}

#[test]
fn refusals_answer_and_leave_the_connection_open() {
    let server = Server::start();
    let bob = registered(&server, "Bob");
    let taken = Client825 { identity: None, ..bob.clone() }.run();
    assert_eq!(taken.dialogue(), "825 1601 825 1601 825 1601");

    let mut identity = bob.identity.clone().expect("registered");
    identity.id[15] ^= 0xff;
    let stranger = Client825 { identity: Some(identity), ..bob.clone() }.run();
    assert_eq!(stranger.dialogue(), "827 1607 827 1607 827 1607");

    // Its server has forgotten it: the same run goes on under a new id.
    let mut identity = bob.identity.clone().expect("registered");
    identity.name = b"Alice".into();
    let anew = Client825 { identity: Some(identity), ..bob.clone() }.run();
    assert_clean(&anew, "a name that nobody has");
    assert_eq!(anew.dialogue(), "827 1606 826 1602 828 1603 900 1603");
    assert_ne!(anew.identity.expect("it has one").id, bob.identity.expect("registered").id);
    assert_eq!(server.store().content("Alice", b"seed", None), Some(b"seed".into()));
    server.stop();
}

#[test]
fn a_public_key_of_162_bytes_is_as_good() {
    let server = Server::start();
    let client = Client825::new(server.address(), "Bob", "a", b"abc");
    assert_clean(&Client825 { key: Key::F4, ..client }.run(), "e = 65537");
    server.stop();
}

#[test]
fn ids_hold_no_byte_that_a_classic_client_trips_over() {
    let server = Server::start();
    let mut ids = HashSet::new();
    for number in 0..2000 {
        // A registration, a reconnection under an unknown name, and a registration of the other dialect.
        let code = [825, 827, 1100][number % 3];
        let id = fresh_id(server.address(), code, &format!("client {number}"));
        assert!(!id.contains(&0x00) && !id.contains(&0x0a) && id[0] != 0x16, "{id:02x?}");
        assert_eq!((id[6] >> 4, id[8] >> 6), (4, 2), "a UUID of version 4: {id:02x?}");
        assert!(ids.insert(id), "given out twice: {id:02x?}");
    }
    server.stop();
}

fn fresh_id(server: SocketAddr, code: u16, name: &str) -> [u8; 16] {
    let mut stream = TcpStream::connect(server).expect("it listens");
    let request = wire::request(&[0xab; 16], code, 255, &wire::name_field(name.as_bytes()));
    stream.write_all(&request).expect("it reads");
    let mut answer = [0; 23];
    stream.read_exact(&mut answer).expect("it answers");
    assert_eq!(wire::reply_header(&answer).1, 16);
    answer[7..].try_into().expect("16 bytes")
}
