//! The client against the existing server of dialect 825, and against one without its defects.

mod classic;
mod support;

use classic::{Faults, Options825, Server825, To900};
use coffer::Class;
use coffer_protocol::Dialect;
use support::{Client, pattern};

/// The largest file that the existing server can take: 978 packets.
const REAL_MAX: usize = 978 * 1024 - 1;

fn start(options: Options825) -> (Server825, Client) {
    let server = Server825::start(options);
    let client = Client::new(Dialect::D825, server.addr(), "bob");
    (server, client)
}

fn faults(faults: Faults) -> (Server825, Client) {
    start(Options825 { faults, ..Options825::real() })
}

#[test]
fn the_existing_server_takes_files_up_to_its_limit() {
    for size in [0, 1, 15, 16, 1007, 1008, 1024, 50_000, REAL_MAX] {
        let (server, mut client) = start(Options825::real());
        let content = pattern(size);
        let verified = client.put_one("a.txt", &content).expect("stored");
        assert_eq!((verified.size, verified.attempts), (size as u64, 1));
        assert!(!verified.acknowledged, "its 1604 is malformed");
        assert!(server.stored("bob", "a.txt").as_ref() == Some(&content), "{size} bytes");
        assert_eq!(
            client.noticed,
            ["registered", "key reconnected=false", "started 1", "verified"]
        );
    }
    let (_server, mut client) = start(Options825::real());
    let (class, text) = client.fail_one("a.txt", &pattern(REAL_MAX + 1));
    assert_eq!(class, Class::Connection);
    assert!(text.contains("a.txt: no answer while sending the file"), "{text}");
}

#[test]
fn it_reconnects_and_sends_the_same_file_again() {
    let (server, mut client) = start(Options825::real());
    client.put_one("a.txt", b"old").expect("stored");
    client.put_one("a.txt", b"new").expect("stored again");
    assert_eq!(client.noticed, ["key reconnected=true", "started 1", "verified"]);
    assert_eq!(server.stored("bob", "a.txt").as_deref(), Some(&b"new"[..]));
    assert_eq!(server.codes(), [825, 826, 828, 900, 827, 828, 900]);
}

/// The existing server would store the second under the first one's name.
#[test]
fn a_second_file_does_not_overwrite_the_first() {
    let (server, mut client) = start(Options825::real());
    let report = client.put(&[("a.txt", b"one"), ("b.txt", b"two")]).expect("a session");
    assert!(report.files[0].result.is_ok());
    let error = report.files[1].result.as_ref().expect_err("not sent");
    assert!(error.to_string().contains("keeps one file per client and has 'a.txt'"), "{error}");
    assert_eq!((error.class(), report.class()), (Class::Refused, Some(Class::Refused)));
    assert_eq!(server.stored("bob", "a.txt").as_deref(), Some(&b"one"[..]));
}

/// It closes after 901, so that every try needs a connection of its own.
#[test]
fn wrong_checksums_are_repaired_over_new_connections() {
    for wrong in [1, 2] {
        let (server, mut client) = faults(Faults { wrong_checksums: wrong, ..Faults::default() });
        let verified = client.put_one("a.txt", b"content").expect("stored");
        assert_eq!(u32::from(verified.attempts), wrong + 1);
        assert_eq!(server.stored("bob", "a.txt").as_deref(), Some(&b"content"[..]));
    }
    let (server, mut client) = faults(Faults { wrong_checksums: 3, ..Faults::default() });
    let (class, text) = client.fail_one("a.txt", b"content");
    assert_eq!(class, Class::Mismatch, "{text}");
    assert!(text.contains("a.txt: the checksums differ after 3 tries"), "{text}");
    let codes = server.codes();
    assert_eq!(codes.iter().filter(|&&code| code == 901).count(), 2, "{codes:?}");
    assert_eq!(codes.last(), Some(&902));
}

#[test]
fn a_forgetful_server_gives_a_new_id() {
    let (server, mut client) = start(Options825::real());
    let before = client.put(&[("a.txt", b"one")]).expect("a session").id;
    server.forget();
    let after = client.put(&[("a.txt", b"two")]).expect("a session");
    assert!(after.files[0].result.is_ok());
    assert_ne!(before, after.id);
    assert_eq!(client.noticed[..2], ["registered", "key reconnected=false"]);
    // It does not keep the key of a user who came in that way, and closes at the next reconnection.
    let error = client.put(&[("a.txt", b"three")]).expect_err("no session");
    assert_eq!(error.class(), Class::Connection);
    assert!(error.to_string().contains("client 'bob' at 127.0.0.1:"), "{error}");
}

#[test]
fn a_taken_name_is_a_refusal() {
    let (server, mut client) = start(Options825::real());
    client.put_one("a.txt", b"one").expect("stored");
    let mut other = Client::new(Dialect::D825, server.addr(), "bob");
    let error = other.put(&[("b.txt", b"two")]).expect_err("taken");
    assert_eq!(error.class(), Class::Refused);
    assert!(error.to_string().contains("refused the name"), "{error}");
}

#[test]
fn a_folder_in_the_name_is_refused_by_the_existing_server() {
    let (_server, mut client) = start(Options825::real());
    let (class, text) = client.fail_one("docs/a.txt", b"content");
    assert_eq!(class, Class::Refused, "{text}");
}

/// Whichever answer is lost, nobody is told that the file is safe.
#[test]
fn lost_answers_are_failures() {
    for answer in 1..=4 {
        let lost = Faults { lose_answer: Some(answer), ..Faults::default() };
        let (_server, mut client) = faults(lost);
        let error = match client.put(&[("a.txt", b"content")]) {
            Ok(mut report) => report.files.remove(0).result.expect_err("not stored"),
            Err(error) => error,
        };
        assert_eq!(error.class(), Class::Connection, "{error}");
    }
}

#[test]
fn an_upload_cut_off_does_not_stop_the_next_file() {
    let cut = Faults { drop_upload_after: Some(30), ..Faults::default() };
    let polite = Options825 { faults: cut, ..Options825::polite() };
    let (server, mut client) = start(polite);
    let (large, small) = (pattern(3 << 20), pattern(5000));
    let report = client.put(&[("large", &large), ("small", &small)]).expect("a session");
    assert_eq!(report.class(), Some(Class::Connection));
    assert!(report.files[1].result.is_ok());
    assert_eq!(server.stored("bob", "small"), Some(small));
}

#[test]
fn many_files_go_over_one_connection_of_a_polite_server() {
    let polite = Options825 { to_900: To900::Like1603, ..Options825::polite() };
    let (server, mut client) = start(polite);
    let contents: Vec<Vec<u8>> = [0, 17, 300_000, 2_000_000].map(pattern).to_vec();
    let names = ["empty", "docs/a.txt", "b", "c"];
    let files: Vec<(&str, &[u8])> =
        names.into_iter().zip(contents.iter().map(Vec::as_slice)).collect();
    let report = client.put(&files).expect("a session");
    assert_eq!(report.class(), None);
    for (name, content) in files {
        assert!(server.stored("bob", name).as_deref() == Some(content), "{name}");
    }
    let mut codes = server.codes();
    codes.dedup();
    assert_eq!(codes, [825, 826, 828, 900, 828, 900, 828, 900, 828, 900]);
    assert!(report.files.iter().all(|file| file.result.as_ref().is_ok_and(|v| v.acknowledged)));
}

#[test]
fn every_answer_to_900_is_taken_for_what_it_is() {
    for (to_900, stored) in [
        (To900::Like1603, Ok(true)),
        (To900::Exact1604, Ok(true)),
        (To900::Exact1604ThenClose, Ok(true)),
        (To900::Full1604, Ok(false)),
        (To900::Short1604, Ok(false)),
        (To900::Short1604ThenClose, Ok(false)),
        (To900::Like1603WrongId, Err(Class::Connection)),
        (To900::Refused1607ThenClose, Err(Class::Refused)),
        (To900::Close, Err(Class::Connection)),
    ] {
        let (_server, mut client) = start(Options825 { to_900, ..Options825::polite() });
        let result = client.put_one("a.txt", b"content");
        let result = result.map(|verified| verified.acknowledged).map_err(|error| error.class());
        assert_eq!(result, stored, "{to_900:?}");
    }
}

#[test]
fn a_server_that_is_just_starting_is_waited_for() {
    let late = Faults { refuse_for: std::time::Duration::from_millis(400), ..Faults::default() };
    let (_server, mut client) = faults(late);
    client.put_one("a.txt", b"content").expect("stored");
}

/// The existing server reads each field with one call; only a sender that takes its time gets larger files through.
#[test]
fn a_careless_reader_gets_a_paced_file() {
    let (server, mut client) = faults(Faults { recv_once: true, ..Faults::default() });
    client.options.paced = true;
    let content = pattern(200_000);
    client.put_one("a.txt", &content).expect("stored");
    assert_eq!(server.stored("bob", "a.txt"), Some(content));
}
