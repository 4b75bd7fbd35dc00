//! The existing d1100 client against the existing d1100 server, both emulated: what was seen of the real pair must
//! come out.

mod classic;

use classic::clients::client1100::{File, Phases};
use classic::clients::keys::Key;
use classic::clients::{self, Client1100, End, Transcript, wire};
use classic::{Faults, Options1100, Server1100};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const START: &str = "1100 2100 | 1101 2102";
const LENGTHS: [usize; 18] = [
    0, 1, 15, 16, 17, 1007, 1008, 1009, 1023, 1024, 1025, 1040, 2032, 2033, 2047, 2048, 3000, 4096,
];

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| ((7 * i + 3) % 256) as u8).collect()
}

fn bob(server: &Server1100, content: &[u8]) -> Client1100 {
    Client1100::new(server.addr(), "Bob", "a.txt", content)
}

fn with_faults(options: Options1100, faults: Faults) -> Server1100 {
    Server1100::start(Options1100 { faults, ..options })
}

/// The code that one padded request is answered with.
fn ask(addr: SocketAddr, code: u16, id: &[u8; 16], payload: &[u8]) -> Option<u16> {
    let mut packet = wire::request(id, code, payload.len(), payload);
    packet.resize(wire::CHUNK, 0);
    let mut stream = TcpStream::connect(addr).expect("it listens");
    stream.write_all(&packet).expect("it reads");
    stream.read_exact(&mut packet).ok()?;
    Some(wire::reply_header(&packet).0)
}

/// What became of the first 1103.
fn first_sending(run: &Transcript) -> &'static str {
    let dialogue = run.dialogue();
    match (run.end, dialogue.contains("1103 2103")) {
        (End::Success, _) => "works",
        (_, true) => "wrong checksum",
        (_, false) => "no reply",
    }
}

#[test]
fn two_files_are_stored_in_one_run() {
    let server = Server1100::start(Options1100::real());
    let run = bob(&server, &pattern(3000)).and_then("b.txt", &pattern(100)).run();
    let files = "1103 2103 | 1104 2104";
    assert_eq!(run.dialogue(), format!("{START} | {files} | 1102 2105 | {files}"));
    assert_eq!((run.end, run.error_lines()), (End::Success, 0));
    assert_eq!(server.stored("Bob", "a.txt"), Some(pattern(3000)));
    assert_eq!(server.stored("Bob", "b.txt"), Some(pattern(100)));
    assert!(server.is_verified("Bob", "a.txt"));
}

#[test]
fn without_a_comma_the_second_sending_is_a_duplicate() {
    let server = Server1100::start(Options1100::real());
    let run = Client1100 { phases: Phases::Both, ..bob(&server, &pattern(100)) }.run();
    let start = format!("{START} | 1103 2103 | 1104 2104 | 1102 2105 | 1103 ");
    assert!(run.dialogue().starts_with(&start), "{}", run.dialogue());
    assert_eq!(run.end, End::Failure);
}

#[test]
fn the_lengths_that_the_real_pair_can_store() {
    for length in LENGTHS {
        let server = Server1100::start(Options1100::real());
        let run = bob(&server, &pattern(length)).run();
        let expected = match length % 1024 {
            0 if length > 0 => "works",
            1009.. => "wrong checksum",
            rest if rest % 16 == 0 => "no reply",
            _ => "works",
        };
        assert_eq!(first_sending(&run), expected, "{length} bytes: {}", run.dialogue());
        if expected == "works" {
            assert_eq!(server.stored("Bob", "a.txt"), Some(pattern(length)));
        }
        let next = Client1100 { identity: run.identity, ..bob(&server, b"abc") }.run();
        assert_eq!(next.end, End::Failure, "{length} bytes: the name is taken in any case");
    }
}

#[test]
fn a_polite_server_stores_every_length() {
    for length in LENGTHS {
        let server = Server1100::start(Options1100::polite());
        let run = bob(&server, &pattern(length)).run();
        assert_eq!(run.dialogue(), format!("{START} | 1103 2103 | 1104 2104"), "{length} bytes");
        assert_eq!(server.stored("Bob", "a.txt"), Some(pattern(length)));
    }
}

#[test]
fn content_that_ends_like_padding_is_read_the_other_way_the_second_time() {
    let mut content = pattern(1040);
    content[1039] = 1;
    let server = Server1100::start(Options1100::polite());
    let run = bob(&server, &content).run();
    let expected = format!("{START} | 1103 2103 | 1105 2104 | 1103 2103 | 1104 2104");
    assert_eq!((run.dialogue(), run.end), (expected, End::Success));
    assert_eq!(server.stored("Bob", "a.txt"), Some(content));
}

#[test]
fn a_client_may_send_a_whole_block_of_padding() {
    let server = Server1100::start(Options1100::real());
    let cut = clients::Faults { cut_after: Some(2048), ..clients::Faults::default() };
    let me = Client1100 { faults: cut, ..bob(&server, b"abc") }.run();
    let (identity, aes_key) =
        (me.identity.expect("registered"), me.aes_key.expect("keys exchanged"));
    let content = pattern(16);
    let encrypted = wire::encrypt_chunk(&aes_key.try_into().expect("16 bytes"), &content);
    let payload = [&wire::size_field(32)[..], &wire::name_field(b"a.txt")].concat();
    let mut bytes = wire::request(&identity.id, 1103, payload.len(), &payload);
    bytes.resize(1024, 0);
    bytes.extend_from_slice(&encrypted);
    bytes.resize(2048, 0xee);
    let mut stream = TcpStream::connect(server.addr()).expect("it listens");
    stream.write_all(&bytes).expect("it reads");
    stream.read_exact(&mut bytes[..1024]).expect("an answer");
    assert_eq!(wire::reply_header(&bytes), (2103, 279));
    assert_eq!(wire::u32_at(&bytes, 7 + 275), wire::md5_sum(&content));
    assert_eq!(server.stored("Bob", "a.txt"), Some(content));
}

#[test]
fn the_real_server_refuses_a_file_that_is_sent_again() {
    let wrong = Faults { wrong_checksums: 1, ..Faults::default() };
    let server = with_faults(Options1100::real(), wrong);
    let run = bob(&server, &pattern(100)).run();
    assert!(run.dialogue().starts_with(&format!("{START} | 1103 2103 | 1105 2104 | 1103 ")));
    assert_eq!((run.end, run.asks(1103), run.asks(1105), run.asks(1106)), (End::Failure, 3, 3, 0));
}

#[test]
fn a_right_third_answer_is_not_taken() {
    let again = "1103 2103 | 1105 2104";
    let table = [
        (1, End::Success, format!("{again} | 1103 2103 | 1104 2104")),
        (2, End::Failure, format!("{again} | {again} | {again}")),
        (3, End::Failure, format!("{again} | {again} | {again}")),
    ];
    for (wrong_checksums, end, rest) in table {
        let faults = Faults { wrong_checksums, ..Faults::default() };
        let run = bob(&with_faults(Options1100::polite(), faults), &pattern(100)).run();
        assert_eq!((run.dialogue(), run.end), (format!("{START} | {rest}"), end));
    }
}

#[test]
fn corrupted_sendings_are_sent_again() {
    let server = Server1100::start(Options1100::polite());
    let faults = clients::Faults { corrupt: vec![1], ..clients::Faults::default() };
    let run = Client1100 { faults, ..bob(&server, &pattern(3000)) }.run();
    assert_eq!((run.end, run.asks(1103)), (End::Success, 2));
    assert_eq!(server.stored("Bob", "a.txt"), Some(pattern(3000)));
}

#[test]
fn a_path_with_a_folder_never_succeeds() {
    for options in [Options1100::real(), Options1100::polite()] {
        let server = Server1100::start(options);
        let run = Client1100::new(server.addr(), "Bob", "docs/a.txt", &pattern(100)).run();
        assert_eq!(run.end, End::Failure, "{}", run.dialogue());
        assert_eq!(server.stored("Bob", "a.txt"), Some(pattern(100)), "only its last part is sent");
    }
}

#[test]
fn a_folder_in_the_name_closes_without_a_reply() {
    let server = Server1100::start(Options1100::real());
    let me = bob(&server, b"abc").run().identity.expect("registered");
    let payload = [&wire::size_field(16)[..], &wire::name_field(b"docs/b.txt")].concat();
    assert_eq!(ask(server.addr(), 1103, &me.id, &payload), None);
}

#[test]
fn an_id_with_a_zero_byte_is_cut_there() {
    let id = *b"\x11\x22\x33\x00\x44\x55\x46\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff";
    let server = Server1100::start(Options1100 { ids: vec![id], ..Options1100::real() });
    let run = bob(&server, b"abc").run();
    assert_eq!((run.dialogue().as_str(), run.end), ("1100 2100 | 1101 2107", End::Failure));
    assert_eq!(run.identity.expect("written").id[..5], *b"\x11\x22\x33\x00\x00");
}

#[test]
fn a_registration_without_a_key_is_lost_when_the_table_is_read_anew() {
    let key_request = |name: &[u8]| [&wire::name_field(name)[..], &Key::B.spki()].concat();
    let wait = clients::Faults { cut_after: Some(1024), ..clients::Faults::default() };
    for (options, disturbed, expected) in [
        (Options1100::real(), true, 2107),
        (Options1100::real(), false, 2102),
        (Options1100::polite(), true, 2102),
    ] {
        let server = Server1100::start(options);
        let eve = Client1100::new(server.addr(), "Eve", "e.txt", b"abc");
        let waiting = Client1100 { faults: wait.clone(), key: Key::B, ..eve }.run();
        if disturbed {
            assert_eq!(bob(&server, b"abc").run().end, End::Success);
        } else {
            let other = Client1100 { faults: wait.clone(), ..bob(&server, b"abc") }.run();
            assert_eq!(other.dialogue(), "1100 2100 | 1101", "another 1100 does no harm");
        }
        let id = waiting.identity.expect("registered").id;
        assert_eq!(ask(server.addr(), 1101, &id, &key_request(b"Eve")), Some(expected));
    }
}

#[test]
fn refusals() {
    let server = Server1100::start(Options1100::real());
    let run = bob(&server, b"abc").run();
    let me = run.identity.clone().expect("registered");
    let addr = server.addr();
    let name = wire::name_field(b"Bob");
    let with_key = [&name[..], &Key::A.spki()].concat();
    assert_eq!(ask(addr, 1100, &[0; 16], &name), Some(2101), "taken");
    assert_eq!(ask(addr, 1101, &me.id, &with_key), Some(2107), "a second key");
    assert_eq!(ask(addr, 1102, &[7; 16], &name), Some(2106), "unknown id");
    assert_eq!(ask(addr, 1102, &me.id, &wire::name_field(b"Eve")), Some(2106), "another name");
    assert_eq!(ask(addr, 1106, &me.id, &wire::name_field(b"a.txt")), Some(2104));
    assert_eq!(ask(addr, 1106, &me.id, &wire::name_field(b"b.txt")), Some(2107), "unknown file");
    assert_eq!(ask(addr, 1200, &me.id, &name), Some(2107), "unknown code");
    assert_eq!(run.size_of(2102, 0), Some(144));
}

#[test]
fn a_longer_key_is_accepted_with_its_own_payload_size() {
    let server = Server1100::start(Options1100::real());
    assert_eq!(Client1100 { key: Key::F4, ..bob(&server, b"abc") }.run().end, End::Success);
}

#[test]
fn a_reconnect_uses_what_me_info_says() {
    let server = Server1100::start(Options1100::real());
    let first = bob(&server, b"abc").run();
    server.restart();
    let files = vec![File { path: b"b.txt".into(), content: pattern(1500) }];
    let again = Client1100 {
        identity: first.identity,
        name: b"not looked at".into(),
        files,
        ..bob(&server, b"")
    };
    assert_eq!(again.run().dialogue(), "1102 2105 | 1103 2103 | 1104 2104");
    assert_eq!(server.stored("Bob", "b.txt"), Some(pattern(1500)));
}

#[test]
fn unpadded_requests_work_and_short_first_writes_do_not() {
    let server = Server1100::start(Options1100::real());
    assert_eq!(Client1100 { unpadded: true, ..bob(&server, b"abc") }.run().end, End::Success);

    let once = Faults { recv_once: true, ..Faults::default() };
    let server = with_faults(Options1100::real(), once);
    let drops = clients::Faults {
        write_size: Some(20),
        write_pause: Duration::from_millis(20),
        ..clients::Faults::default()
    };
    let run = Client1100 { faults: drops, ..bob(&server, b"abc") }.run();
    assert_eq!(run.asks(1101), 0, "refused: {}", run.dialogue());
}

#[test]
fn nobody_listens_in_the_gap() {
    let gap = Some(Duration::from_millis(200));
    let server = Server1100::start(Options1100 { gap, ..Options1100::real() });
    assert_eq!(bob(&server, b"abc").run().end, End::CannotConnect);
}

#[test]
fn injected_faults_happen() {
    let lost = Faults { lose_answer: Some(3), ..Faults::default() };
    let server = with_faults(Options1100::real(), lost);
    let run = bob(&server, b"abc").run();
    assert!(run.dialogue().starts_with(&format!("{START} | 1103 closed | 1105")));
    assert_eq!(server.stored("Bob", "a.txt"), Some(b"abc".into()), "it was done all the same");

    let dropped = Faults { drop_upload_after: Some(2), ..Faults::default() };
    let server = with_faults(Options1100::polite(), dropped);
    let run = bob(&server, &pattern(9000)).run();
    let again = format!("{START} | 1103 closed | 1105 2104 | 1103 2103 | 1104 2104");
    assert_eq!(run.dialogue(), again);

    let refused = Faults { refuse_first: 1, ..Faults::default() };
    assert_eq!(
        bob(&with_faults(Options1100::real(), refused), b"abc").run().dialogue(),
        "1100 2107"
    );

    let silent = Options1100 { silent_1105: true, ..Options1100::polite() };
    let server = with_faults(silent, Faults { wrong_checksums: 1, ..Faults::default() });
    let run = bob(&server, b"abc").run();
    assert!(run.dialogue().contains("1105 closed | 1103 2103 | 1104 2104"));
}
