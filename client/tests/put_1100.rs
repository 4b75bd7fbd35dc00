//! The client against the existing server of dialect 1100, and against one without its defects.

mod classic;
mod support;

use std::fs;
use std::time::Duration;

use classic::{Faults, Options1100, Server1100};
use coffer::Class;
use coffer_protocol::Dialect;
use support::{Client, pattern};

fn start(options: Options1100) -> (Server1100, Client) {
    let server = Server1100::start(options);
    let client = Client::new(Dialect::D1100, server.addr(), "bob");
    (server, client)
}

/// All lengths that its real client manages, and those between them that only other padding gets through.
#[test]
fn the_existing_server_takes_more_lengths_than_from_its_own_client() {
    let (server, mut client) = start(Options1100::real());
    let sizes = [1, 15, 16, 17, 992, 1007, 1024, 1025, 1040, 2032 - 16, 2048, 3000, 4096, 50_000];
    let contents: Vec<Vec<u8>> = sizes.map(pattern).to_vec();
    let names: Vec<String> = sizes.iter().map(|size| format!("f{size}")).collect();
    let files: Vec<(&str, &[u8])> =
        names.iter().map(String::as_str).zip(contents.iter().map(Vec::as_slice)).collect();
    let report = client.put(&files).expect("a session");
    assert_eq!(report.class(), None, "{report:?}");
    for (name, content) in files {
        assert!(server.stored("bob", name).as_deref() == Some(content), "{name}");
        assert!(server.is_verified("bob", name));
    }
    assert_eq!(server.codes()[..4], [1100, 1101, 1103, 1104]);
}

/// No choice of padding gets these through, and the client says so instead of claiming success.
#[test]
fn lengths_that_the_existing_server_cannot_store_fail() {
    for size in [0, 1008, 1009, 1023, 2032, 2033, 2047] {
        let (_server, mut client) = start(Options1100::real());
        let (class, text) = client.fail_one("a.txt", &pattern(size));
        assert!(matches!(class, Class::Refused | Class::Connection), "{size}: {text}");
    }
}

#[test]
fn a_polite_server_takes_every_length() {
    let (server, mut client) = start(Options1100::polite());
    for size in [0, 16, 1008, 1009, 1023, 2032, 2033, 2047, 1 << 20, (3 << 20) + 16] {
        let (name, content) = (format!("f{size}"), pattern(size));
        let verified = client.put_one(&name, &content).expect("stored");
        assert!(verified.acknowledged);
        assert!(server.stored("bob", &name) == Some(content), "{size}");
    }
    let (_, text) = client.fail_one("f16", b"again");
    assert!(
        text.contains("refused it while sending the file: it may hold a file of this name"),
        "{text}"
    );
}

#[test]
fn it_reconnects_with_the_key_it_keeps() {
    let (server, mut client) = start(Options1100::real());
    let first = client.put(&[("a.txt", b"one")]).expect("a session");
    server.restart();
    let second = client.put(&[("b.txt", b"two")]).expect("a session");
    assert_eq!((first.class(), second.class(), first.id), (None, None, second.id));
    assert_eq!(server.codes(), [1100, 1101, 1103, 1104, 1102, 1103, 1104]);
    let me_info = fs::read(client.options.state.join("me.info")).expect("me.info");
    assert_eq!(me_info.len(), "bob\n".len() + 16 + 1 + 16);
    assert_ne!(me_info[21..], [0; 16], "the session key");
}

/// Ids on which the real client stumbles: a zero cuts them short, a line's end breaks its me.info.
#[test]
fn ids_with_any_bytes_survive_a_reconnection() {
    let id = [0, 0x0a, 0x16, 0, 5, 6, 0x47, 8, 0x89, 0, 0x0d, 0x0a, 13, 14, 0, 0];
    let (server, mut client) = start(Options1100 { ids: vec![id], ..Options1100::polite() });
    client.put_one("a.txt", b"one").expect("stored");
    client.put_one("b.txt", b"two").expect("stored");
    assert_eq!(server.codes(), [1100, 1101, 1103, 1104, 1102, 1103, 1104]);
}

/// 2106: register as a new client.
#[test]
fn an_unknown_client_registers_anew() {
    let (first, mut client) = start(Options1100::real());
    let before = client.put(&[("a.txt", b"one")]).expect("a session").id;
    drop(first);
    let server = Server1100::start(Options1100::real());
    client.options.server = server.addr().to_string().parse().expect("an address");
    let after = client.put(&[("a.txt", b"one")]).expect("a session");
    assert_eq!(after.class(), None);
    assert_ne!(before, after.id);
    assert_eq!(server.codes(), [1102, 1100, 1101, 1103, 1104]);
}

/// It takes no file twice, so that a wrong checksum cannot be repaired there.
#[test]
fn the_existing_server_refuses_the_second_sending() {
    for silent_1105 in [false, true] {
        let faults = Faults { wrong_checksums: 1, ..Faults::default() };
        let (server, mut client) =
            start(Options1100 { silent_1105, faults, ..Options1100::real() });
        let (class, text) = client.fail_one("a.txt", &pattern(100));
        assert_eq!(class, Class::Refused, "{text}");
        assert!(text.contains("sending the file again after a wrong checksum"), "{text}");
        assert!(!server.is_verified("bob", "a.txt"));
        assert_eq!(server.codes(), [1100, 1101, 1103, 1105, 1103]);
    }
}

#[test]
fn a_polite_server_lets_wrong_checksums_be_repaired() {
    for wrong in [1, 2] {
        let faults = Faults { wrong_checksums: wrong, ..Faults::default() };
        let (server, mut client) = start(Options1100 { faults, ..Options1100::polite() });
        let verified = client.put_one("a.txt", &pattern(5000)).expect("stored");
        assert_eq!(u32::from(verified.attempts), wrong + 1);
        assert!(server.is_verified("bob", "a.txt"));
    }
    let faults = Faults { wrong_checksums: 3, ..Faults::default() };
    let (server, mut client) = start(Options1100 { faults, ..Options1100::polite() });
    let (class, text) = client.fail_one("a.txt", &pattern(5000));
    assert_eq!(class, Class::Mismatch, "{text}");
    assert_eq!(server.codes()[2..], [1103, 1105, 1103, 1105, 1103, 1106]);
}

/// Nobody listens for a while after each of its connections.
#[test]
fn refused_connects_are_tried_again() {
    let gap = Some(Duration::from_millis(60));
    let (server, mut client) = start(Options1100 { gap, ..Options1100::real() });
    client.put_one("a.txt", &pattern(3000)).expect("stored");
    assert!(server.is_verified("bob", "a.txt"));
}

#[test]
fn lost_answers_are_failures() {
    for answer in 1..=4 {
        let faults = Faults { lose_answer: Some(answer), ..Faults::default() };
        let (_server, mut client) = start(Options1100 { faults, ..Options1100::real() });
        let error = match client.put(&[("a.txt", b"content")]) {
            Ok(mut report) => report.files.remove(0).result.expect_err("not stored"),
            Err(error) => error,
        };
        assert_eq!(error.class(), Class::Connection, "{error}");
    }
}

/// The existing server refuses without reading the content, and the reset may swallow the refusal.
#[test]
fn a_large_file_of_a_known_name_fails_without_hanging() {
    let (_server, mut client) = start(Options1100::real());
    client.put_one("a.txt", b"one").expect("stored");
    let (class, text) = client.fail_one("a.txt", &pattern(20 << 20));
    assert!(matches!(class, Class::Refused | Class::Connection), "{text}");
}

#[test]
fn a_careless_reader_gets_a_paced_file() {
    let faults = Faults { recv_once: true, ..Faults::default() };
    let (server, mut client) = start(Options1100 { faults, ..Options1100::real() });
    client.options.paced = true;
    let content = pattern(200_000);
    client.put_one("a.txt", &content).expect("stored");
    assert_eq!(server.stored("bob", "a.txt"), Some(content));
}
