//! The existing d825 client against the existing d825 server, both emulated: what was seen of the real pair must
//! come out.

mod classic;

use classic::clients::client825::Order;
use classic::clients::keys::Key;
use classic::clients::{self, Client825, End};
use classic::{Faults, Options825, Server825, To900};
use std::time::Duration;

/// Against this a client that waits for ever is found out quickly.
const SHORT: Duration = Duration::from_millis(600);

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| ((7 * i + 3) % 256) as u8).collect()
}

fn bob(server: &Server825, content: &[u8]) -> Client825 {
    Client825::new(server.addr(), "Bob", "a.txt", content)
}

fn with_faults(options: Options825, faults: Faults) -> Server825 {
    Server825::start(Options825 { faults, ..options })
}

#[test]
fn a_file_is_stored_and_the_short_1604_is_three_lines_of_error() {
    for length in [0, 1, 15, 16, 1007, 1008, 1024, 5000] {
        let server = Server825::start(Options825::real());
        let content = pattern(length);
        let run = bob(&server, &content).run();
        assert_eq!(run.dialogue(), "825 1600 826 1602 828 1603 900 closed", "{length} bytes");
        assert_eq!((run.end, run.asks(900), run.error_lines()), (End::Success, 1, 3));
        assert_eq!(run.size_of(1603, 0), Some(279));
        assert_eq!(server.stored("Bob", "a.txt"), Some(content));
    }
}

#[test]
fn every_answer_to_900_ends_as_with_the_real_client() {
    let table = [
        (To900::Like1603, 1, End::Success, 0),
        (To900::Exact1604, 3, End::Success, 3),
        (To900::Full1604, 3, End::Success, 3),
        (To900::Like1603WrongId, 3, End::Success, 3),
        (To900::Exact1604ThenClose, 1, End::Success, 3),
        (To900::Short1604ThenClose, 1, End::Success, 3),
        (To900::Refused1607ThenClose, 1, End::Success, 3),
        (To900::Close, 1, End::Success, 3),
        (To900::Short1604, 1, End::Hangs, 0),
        (To900::Silence, 1, End::Hangs, 0),
    ];
    for (to_900, asks, end, error_lines) in table {
        // Only a server that stays for a second 900 can be asked three times.
        let server = Server825::start(Options825 { to_900, ..Options825::polite() });
        let run = Client825 { patience: SHORT, ..bob(&server, b"abc") }.run();
        let seen = (run.asks(900), run.end, run.error_lines());
        assert_eq!(seen, (asks, end, error_lines), "{to_900:?}: {}", run.dialogue());
        let heard = server.codes().iter().filter(|&&code| code == 900).count();
        assert_eq!(heard, asks, "{to_900:?}: the server was asked as often as the client says");
    }
}

#[test]
fn the_real_server_closes_after_901() {
    let faults = Faults { wrong_checksums: 1, ..Faults::default() };
    let server = with_faults(Options825::real(), faults);
    let run = bob(&server, b"abc").run();
    assert_eq!(run.dialogue(), "825 1600 826 1602 828 1603 901 828 closed");
    assert_eq!(run.end, End::Failure);
}

#[test]
fn a_polite_server_lets_a_file_be_sent_again() {
    let start = "825 1600 826 1602";
    let table = [
        (1, End::Success, "828 1603 901 828 1603 900 1603"),
        (2, End::Success, "828 1603 901 828 1603 901 828 1603 900 1603"),
        (3, End::Failure, "828 1603 901 828 1603 901 828 1603 901 902 1603"),
    ];
    for (wrong_checksums, end, rest) in table {
        let faults = Faults { wrong_checksums, ..Faults::default() };
        let options = Options825 { to_900: To900::Like1603, ..Options825::polite() };
        let run = bob(&with_faults(options, faults), b"abc").run();
        assert_eq!((run.dialogue(), run.end), (format!("{start} {rest}"), end));
    }
}

#[test]
fn corrupted_sendings_are_sent_again() {
    let options = Options825 { to_900: To900::Like1603, ..Options825::polite() };
    let server = Server825::start(options);
    let faults = clients::Faults { corrupt: vec![1, 2], ..clients::Faults::default() };
    let run = Client825 { faults, ..bob(&server, &pattern(3000)) }.run();
    assert_eq!((run.end, run.asks(828), run.asks(901)), (End::Success, 3, 2));
    assert_eq!(server.stored("Bob", "a.txt"), Some(pattern(3000)));
}

#[test]
fn an_answer_that_is_right_only_the_third_time_is_fatal() {
    for (refuse_first, end) in [(1, End::Success), (2, End::Failure)] {
        let faults = Faults { refuse_first, ..Faults::default() };
        let run = bob(&with_faults(Options825::polite(), faults), b"abc").run();
        assert_eq!(run.end, end, "{}", run.dialogue());
        assert_eq!(run.asks(825), refuse_first as usize + 1);
    }
}

#[test]
fn a_second_file_must_have_the_size_of_the_first() {
    let cases = [
        (2000, "827 1605 828 1603 900 closed", End::Success),
        (2001, "827 1605 828 1603 900 closed", End::Success),
        (1500, "827 1605 828 closed", End::Failure),
        (5000, "827 1605 828 closed", End::Failure),
        (10, "827 1605 828 silence", End::Hangs),
    ];
    for (length, dialogue, end) in cases {
        let server = Server825::start(Options825::real());
        let first = bob(&server, &pattern(2000)).run();
        let again = Client825 {
            identity: first.identity,
            file_name: b"b.txt".into(),
            patience: SHORT,
            ..bob(&server, &pattern(length))
        };
        let run = again.run();
        assert_eq!((run.dialogue().as_str(), run.end), (dialogue, end), "{length} bytes");
        let now = if end == End::Success { length } else { 2000 };
        assert_eq!(server.stored("Bob", "a.txt"), Some(pattern(now)), "under the first name");
        assert_eq!(server.stored("Bob", "b.txt"), None);
    }
}

#[test]
fn a_forgotten_user_comes_in_through_1606_once() {
    let server = Server825::start(Options825::real());
    let first = bob(&server, b"abc").run();
    server.forget();
    let again = Client825 { identity: first.identity.clone(), ..bob(&server, b"abc") }.run();
    assert_eq!(again.dialogue(), "827 1606 826 1602 828 1603 900 closed");
    assert_ne!(again.identity, first.identity, "the id is a new one");
    let third = Client825 { identity: again.identity, ..bob(&server, b"abc") }.run();
    assert_eq!(third.dialogue(), "827 closed", "the key was not kept");
    let stranger = Client825 { identity: first.identity, ..bob(&server, b"abc") }.run();
    assert_eq!(stranger.dialogue(), "827 closed", "the id is not the one of the name");
}

#[test]
fn refusals_of_a_registration() {
    let server = Server825::start(Options825::real());
    assert_eq!(bob(&server, b"abc").run().end, End::Success);
    let taken = bob(&server, b"abc").run();
    assert_eq!(taken.dialogue(), "825 1601 825 closed");
    assert_eq!((taken.end, taken.error_lines()), (End::Failure, 3));
    let name = b"\xff\xfe".into();
    assert!(Client825 { name, ..bob(&server, b"") }.run().dialogue().starts_with("825 1601"));
    let long_key = Client825 { name: b"Eve".into(), key: Key::F4, ..bob(&server, b"") }.run();
    assert!(long_key.dialogue().starts_with("825 1600 826 1607"), "{}", long_key.dialogue());
}

#[test]
fn order_and_repeats_do_not_matter_but_the_first_number_is_0() {
    let orders = [Order::Ascending, Order::Descending, Order::EachTwice, Order::Shuffled(7)];
    for order in orders {
        let server = Server825::start(Options825::real());
        let content = pattern(20_000);
        let run = Client825 { order: order.clone(), ..bob(&server, &content) }.run();
        assert_eq!(run.end, End::Success, "{order:?}: {}", run.dialogue());
        assert_eq!(server.stored("Bob", "a.txt"), Some(content));
    }
    let server = Server825::start(Options825::real());
    let run = Client825 { order: Order::Exactly(vec![1]), ..bob(&server, b"abc") }.run();
    assert_eq!(run.dialogue(), "825 1600 826 1602 828 closed");
}

#[test]
fn the_limit_is_978_packets() {
    for (encrypted, end) in [(1_001_472, End::Success), (1_001_488, End::Failure)] {
        let server = Server825::start(Options825::real());
        let run = bob(&server, &pattern(encrypted - 16)).run();
        assert_eq!(run.end, end, "{encrypted} bytes: {}", run.dialogue());
    }
}

#[test]
fn a_folder_in_the_name_is_refused_after_the_last_packet() {
    let server = Server825::start(Options825::real());
    let run = Client825 { file_name: b"docs/a.txt".into(), ..bob(&server, b"abc") }.run();
    assert_eq!(run.dialogue(), "825 1600 826 1602 828 1607");
    assert_eq!(run.end, End::Failure);
    let polite = Server825::start(Options825::polite());
    assert_eq!(
        Client825 { file_name: b"docs/a.txt".into(), ..bob(&polite, b"abc") }.run().end,
        End::Success
    );
}

/// Over 65535 packets the count of 16 bits wraps: to 0, and nothing is sent, or to 1.
#[test]
fn the_packet_count_wraps_over_64_mib() {
    let cases = [(67_107_840, "828 silence", 0), (67_108_864, "828 closed", 1)];
    for (length, end, packets) in cases {
        let server = Server825::start(Options825::real());
        let run = Client825 { patience: SHORT, ..bob(&server, &vec![0; length]) }.run();
        assert_eq!(run.dialogue(), format!("825 1600 826 1602 {end}"));
        let sent = server.codes().iter().filter(|&&code| code == 828).count();
        assert_eq!(sent, packets);
    }
}

#[test]
fn pieces_are_lost_on_a_server_that_receives_once() {
    let pieces = clients::Faults {
        write_size: Some(100),
        write_pause: Duration::from_millis(1),
        ..clients::Faults::default()
    };
    for (recv_once, end) in [(false, End::Success), (true, End::Failure)] {
        let server = with_faults(Options825::real(), Faults { recv_once, ..Faults::default() });
        let run = Client825 { faults: pieces.clone(), ..bob(&server, &pattern(5000)) }.run();
        assert_eq!(run.end, end, "{}", run.dialogue());
    }
}

#[test]
fn injected_faults_happen() {
    let lost = Faults { lose_answer: Some(3), ..Faults::default() };
    let server = with_faults(Options825::real(), lost);
    assert_eq!(bob(&server, b"abc").run().dialogue(), "825 1600 826 1602 828 closed");
    assert_eq!(server.stored("Bob", "a.txt"), Some(b"abc".into()), "it was done all the same");

    let dropped = Faults { drop_upload_after: Some(2), ..Faults::default() };
    let server = with_faults(Options825::polite(), dropped);
    assert_eq!(bob(&server, &pattern(9000)).run().dialogue(), "825 1600 826 1602 828 closed");

    let deaf = Faults { refuse_for: Duration::from_millis(300), ..Faults::default() };
    let server = with_faults(Options825::real(), deaf);
    assert_eq!(bob(&server, b"abc").run().end, End::CannotConnect);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(bob(&server, b"abc").run().end, End::Success);

    let server = Server825::start(Options825::polite());
    let cut = clients::Faults { cut_after: Some(1000), ..clients::Faults::default() };
    let run = Client825 { faults: cut, ..bob(&server, &pattern(9000)) }.run();
    assert_eq!((run.end, run.dialogue().as_str()), (End::Failure, "825 1600 826 1602 828 closed"));
}
