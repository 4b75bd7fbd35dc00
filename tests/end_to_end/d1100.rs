//! The classic d1100 client against the server.

use crate::classic::{Client1100, End, Faults, Transcript};
use crate::content::{like_padding, noise};
use crate::server::{Server, Setup};

/// A run of one phase by a client that is registered.
const GOOD: &str = "1102 2105 | 1103 2103 | 1104 2104";
/// The same when the server has to read the last chunk the other way.
const READ_OTHERWISE: &str = "1102 2105 | 1103 2103 | 1105 2104 | 1103 2103 | 1104 2104";

fn assert_good(run: &Transcript, what: &str) {
    assert_eq!(run.end, End::Success, "{what}: {}", run.dialogue());
}

/// A client that has registered with a small file `seed`.
fn registered(server: &Server, name: &str) -> Client1100 {
    let client = Client1100::new(server.address(), name, "seed", b"a seed");
    let run = client.run();
    assert_good(&run, "registration");
    Client1100 { identity: run.identity, ..client }
}

fn of(client: &Client1100, path: &str, content: &[u8]) -> Client1100 {
    let files = Client1100::new(client.server, "", path, content).files;
    Client1100 { files, ..client.clone() }
}

#[test]
fn two_phases_with_two_files() {
    let server = Server::start();
    let client = Client1100::new(server.address(), "Bob", "a.txt", b"123456789");
    let run = client.and_then("b.txt", b"another").run();
    assert_good(&run, "both phases");
    let whole = "1100 2100 | 1101 2102 | 1103 2103 | 1104 2104 | 1102 2105 | 1103 2103 | 1104 2104";
    assert_eq!((run.dialogue().as_str(), run.error_lines()), (whole, 0));
    let versions = server.store().versions("Bob");
    let stored: Vec<_> = versions.iter().map(|v| (&v.row.file[..], &v.content[..])).collect();
    assert_eq!(stored, [(&b"a.txt"[..], &b"123456789"[..]), (b"b.txt", b"another")]);
    // The catalog keeps the POSIX sum, whatever the dialect's own is.
    assert_eq!(versions[0].row.cksum, 930_766_865);
    server.store().wait_for_view("Bob");
    server.stop();
}

#[test]
fn every_length_is_stored_byte_for_byte() {
    let server = Server::start();
    let client = registered(&server, "Bob");
    let lengths = [
        0,
        1,
        15,
        16,
        17,
        32,
        1007,
        1008,
        1009,
        1023,
        1024,
        1025,
        1039,
        1040,
        1041,
        2032,
        2033,
        2047,
        2048,
        3000,
        4096,
        (16 << 10) + 5,
        100 << 10,
        (1 << 20) + 1008,
    ];
    for length in lengths {
        let (path, content) = (format!("length-{length}"), noise(length as u64, length));
        let run = of(&client, &path, &content).run();
        assert_eq!((run.dialogue().as_str(), run.end), (GOOD, End::Success), "{path}");
        assert_eq!(server.store().content("Bob", path.as_bytes(), None), Some(content), "{path}");
    }
    server.stop();
}

#[test]
fn files_that_end_like_padding_are_read_the_other_way_when_they_come_again() {
    let server = Server::start();
    let client = registered(&server, "Bob");
    for length in [16, 48, 1008, 1024, 1040, 2048, 100 << 10] {
        for padding in [1, 2, 16] {
            let (path, content) =
                (format!("ends-{length}-{padding}"), like_padding(length, padding));
            let run = of(&client, &path, &content).run();
            assert_eq!(
                (run.dialogue().as_str(), run.end),
                (READ_OTHERWISE, End::Success),
                "{path}"
            );
            let stored = server.store().content("Bob", path.as_bytes(), None);
            assert_eq!(stored, Some(content), "{path}");
        }
    }
    // Where there is padding behind what looks like it, nothing is ambiguous.
    for length in [17, 1023, 1041, 3000] {
        let (path, content) = (format!("plain-{length}"), like_padding(length, 1));
        let run = of(&client, &path, &content).run();
        assert_eq!((run.dialogue().as_str(), run.end), (GOOD, End::Success), "{path}");
        assert_eq!(server.store().content("Bob", path.as_bytes(), None), Some(content), "{path}");
    }
    server.stop();
}

#[test]
fn requests_without_the_zeros_behind_them() {
    let server = Server::start();
    let content = noise(1, 5000);
    let client = Client1100::new(server.address(), "Bob", "a", &content).and_then("b", b"abc");
    for (name, write_size) in [("Bob", None), ("Eve", Some(1)), ("Mallory", Some(200))] {
        let faults = Faults { write_size, ..Faults::default() };
        let run = Client1100 { name: name.into(), unpadded: true, faults, ..client.clone() }.run();
        assert_good(&run, name);
        assert_eq!(server.store().content(name, b"a", None).as_ref(), Some(&content));
    }
    server.stop();
}

#[test]
fn a_file_that_exists_is_refused_after_all_its_chunks() {
    let server = Server::start();
    let client = registered(&server, "Bob");
    // More than the buffers of both sockets hold: who did not read on would reset, and swallow the answer.
    for size in [9, 20 << 10, 12 << 20] {
        let (path, content) = (format!("twice-{size}"), noise(5, size));
        // With a single file the original sends it twice.
        let twice = of(&client, &path, &content).and_then(&path, &content);
        let run = twice.run();
        assert_eq!(run.end, End::Failure);
        let refused =
            "1102 2105 | 1103 2107 | 1105 2107 | 1103 2107 | 1105 2107 | 1103 2107 | 1105 2107";
        assert_eq!(run.dialogue(), format!("{GOOD} | {refused}"), "{size} bytes");
        assert_eq!(server.store().content("Bob", path.as_bytes(), None), Some(content));
    }
    assert!(server.store().rows("Bob").iter().all(|row| row.version == 1));
    server.stop();
}

#[test]
fn a_wrong_checksum_is_mended_by_the_second_sending() {
    let server = Server::start();
    let client = registered(&server, "Bob");
    let content = noise(9, 40 << 10);
    let corrupted = |path: &str, sendings: &[u32]| {
        let faults = Faults { corrupt: sendings.to_vec(), ..Faults::default() };
        Client1100 { faults, ..of(&client, path, &content) }.run()
    };
    let run = corrupted("once", &[1]);
    assert_eq!((run.dialogue().as_str(), run.end), (READ_OTHERWISE, End::Success));
    assert_eq!(server.store().content("Bob", b"once", None).as_ref(), Some(&content));

    // The original gives up then, even if the third is right.
    let thrice = "1103 2103 | 1105 2104 | 1103 2103 | 1105 2104 | 1103 2103 | 1105 2104";
    for sendings in [&[1, 2][..], &[1, 2, 3]] {
        let run = corrupted("never", sendings);
        assert_eq!((run.dialogue(), run.end), (format!("1102 2105 | {thrice}"), End::Failure));
        assert_eq!(server.store().content("Bob", b"never", None), None);
    }
    // The name is not burnt.
    assert_good(&corrupted("never", &[]), "after the failures");
    assert_eq!(server.store().content("Bob", b"never", None), Some(content));
    server.stop();
}

#[test]
fn the_old_version_stays_while_a_new_one_is_not_verified() {
    let server = Setup::new().arguments(&["--existing", "version"]).start();
    let client = registered(&server, "Bob");
    let faults = Faults { corrupt: vec![1, 2, 3], ..Faults::default() };
    let wrong = Client1100 { faults, ..of(&client, "seed", &noise(2, 3000)) };
    assert_eq!(wrong.run().end, End::Failure);
    assert_eq!(server.store().content("Bob", b"seed", None), Some(b"a seed".into()));
    assert_good(&Client1100 { faults: Faults::default(), ..wrong }.run(), "a new version");
    assert_eq!(server.store().rows("Bob").len(), 2);
    assert_eq!(server.store().content("Bob", b"seed", Some(1)), Some(b"a seed".into()));
    server.stop();
}

#[test]
fn refusals() {
    let server = Server::start();
    let bob = registered(&server, "Bob");
    let taken = Client1100 { identity: None, ..bob.clone() }.run();
    assert_eq!(taken.dialogue(), "1100 2101");

    for (name, byte) in [("Bob", 0xff), ("Nobody", 0x00)] {
        let mut identity = bob.identity.clone().expect("registered");
        identity.name = name.into();
        identity.id[15] ^= byte;
        let stranger = Client1100 { identity: Some(identity), ..bob.clone() }.run();
        assert_eq!(stranger.dialogue(), "1102 2106");
    }
    // Of a path the original sends the last part, and then waits for the whole of it in the answer.
    let folder = of(&bob, "docs/a.txt", b"abc").run();
    assert_eq!(folder.end, End::Failure);
    assert_eq!(server.store().content("Bob", b"docs/a.txt", None), None);
    assert_eq!(server.store().content("Bob", b"a.txt", None), None);
    server.stop();
}
