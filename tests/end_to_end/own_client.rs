//! Our own client against the server: many files, both dialects, one identity.

use std::fs;

use base64ct::{Base64, Encoding};
use coffer::Class;
use coffer_protocol::Dialect;

use crate::classic::keys::Key;
use crate::classic::{Client825, Client1100, End, Identity};
use crate::content::{like_padding, noise};
use crate::own::{BOTH, Own, Seen, assert_stored};
use crate::server::{Server, Setup};

/// The largest file that d825 can number the packets of, in bytes.
const D825_MAX: usize = 67_107_839;

#[test]
fn many_files_in_one_run_and_again_after_a_reconnection() {
    let server = Setup::new().arguments(&["--existing", "version"]).start();
    let contents: Vec<(String, Vec<u8>)> = (0..60)
        .map(|n| (format!("folder {}/file {n}", n % 7), noise(n, (n as usize).pow(3) * 3 / 2)))
        .collect();
    for dialect in BOTH {
        let own = Own::new(&format!("own {dialect}"), dialect);
        for round in 1..=2 {
            let files = contents.iter().map(|(name, content)| own.file(name.as_bytes(), content));
            let mut seen = Seen::default();
            let report = own.send(server.address(), files.collect(), &mut seen).expect("a run");
            report.files.iter().for_each(assert_stored);
            assert_eq!(seen.registrations, 2 - round, "only the first run registers");
            assert_eq!(seen.reconnections, round - 1, "only the second run reconnects");
        }
        let versions = server.store().versions(&own.name);
        assert_eq!(versions.len(), 2 * contents.len());
        for (name, content) in &contents {
            let of_name = versions.iter().filter(|v| v.row.file == name.as_bytes());
            assert!(of_name.clone().all(|version| version.content == *content), "{name}");
            assert_eq!(of_name.map(|v| v.row.version).collect::<Vec<_>>(), [1, 2], "{name}");
        }
        server.store().wait_for_view(&own.name);
    }
    server.stop();
}

#[test]
fn sizes_and_endings_in_both_dialects() {
    let server = Server::start();
    let mut contents: Vec<Vec<u8>> =
        [0, 1, 15, 16, 17, 1008, 1009, 1023, 1024, 1025, 2032, 16 << 10, (16 << 10) + 1, 65 << 10]
            .map(|size| noise(size as u64, size))
            .into();
    contents.extend([16, 1008, 1024, 2048, 4000].map(|size| like_padding(size, 1)));
    for dialect in BOTH {
        let own = Own::new(&format!("own {dialect}"), dialect);
        let names: Vec<String> = (0..contents.len()).map(|n| n.to_string()).collect();
        let files: Vec<(&[u8], &[u8])> =
            names.iter().zip(&contents).map(|(n, c)| (n.as_bytes(), &c[..])).collect();
        own.put(server.address(), &files).files.iter().for_each(assert_stored);
        for (name, content) in files {
            let stored = server.store().content(&own.name, name, None);
            assert_eq!(stored.as_deref(), Some(content), "{} bytes", content.len());
        }
    }
    server.stop();
}

#[test]
fn the_largest_file_of_d825_and_one_byte_more() {
    let server = Server::start();
    let own = Own::new("Bob", Dialect::D825);
    let mut content = noise(1, D825_MAX);
    own.store(server.address(), b"largest", &content);
    assert!(server.store().content("Bob", b"largest", None).as_ref() == Some(&content));
    content.push(0);
    assert_eq!(own.fail(server.address(), b"too large", &content), Class::BadInput);
    server.stop();
}

#[test]
fn two_hundred_mebibytes_in_d1100() {
    let server = Server::start();
    let own = Own::new("Bob", Dialect::D1100);
    let content = noise(1, 200 << 20);
    own.store(server.address(), b"large", &content);
    assert!(server.store().content("Bob", b"large", None) == Some(content));
    server.stop();
}

#[test]
fn a_name_that_exists_is_refused_or_a_new_version_as_the_operator_says() {
    let rules = [
        (&[][..], [(Dialect::D825, true), (Dialect::D1100, false)]),
        (&["--existing", "refuse"], [(Dialect::D825, false), (Dialect::D1100, false)]),
        (&["--existing", "version"], [(Dialect::D825, true), (Dialect::D1100, true)]),
    ];
    for (arguments, expected) in rules {
        let server = Setup::new().arguments(arguments).start();
        for (dialect, new_version) in expected {
            let own = Own::new(&format!("own {dialect}"), dialect);
            own.store(server.address(), b"a", b"old");
            // Larger than what is kept in memory before it is known to be refused.
            let (new, large) = (noise(1, 3000), noise(2, 3 << 20));
            for content in [&new, &large] {
                if new_version {
                    own.store(server.address(), b"a", content);
                } else {
                    assert_eq!(own.fail(server.address(), b"a", content), Class::Refused);
                }
            }
            let newest = server.store().content(&own.name, b"a", None).expect("it is there");
            assert!(newest == if new_version { large } else { b"old".into() }, "{arguments:?}");
            let first = server.store().content(&own.name, b"a", Some(1));
            assert_eq!(first.as_deref(), Some(&b"old"[..]), "the old one stays");
            // Whatever the rule, only this name is refused.
            own.store(server.address(), b"b", b"another");
        }
        server.stop();
    }
}

#[test]
fn a_client_goes_on_in_the_other_dialect() {
    let server = Setup::new().arguments(&["--existing", "version"]).start();
    for [first, second] in [BOTH, [Dialect::D1100, Dialect::D825]] {
        let mut own = Own::new(&format!("began in {first}"), first);
        own.store(server.address(), b"a", b"first");
        own.dialect = second;
        let files = vec![own.file(b"a", b"second"), own.file(b"b", b"another")];
        let mut seen = Seen::default();
        let report = own.send(server.address(), files, &mut seen).expect("a run");
        report.files.iter().for_each(assert_stored);
        assert_eq!((seen.registrations, seen.reconnections), (0, 1), "it is the same client");
        own.dialect = first;
        own.store(server.address(), b"a", b"third");

        let versions = server.store().versions(&own.name);
        let stored: Vec<_> = versions.iter().map(|v| (&v.row.file[..], &v.content[..])).collect();
        let expected: [(&[u8], &[u8]); 4] =
            [(b"a", b"first"), (b"a", b"second"), (b"a", b"third"), (b"b", b"another")];
        assert_eq!(stored, expected);
        // Both dialects share one namespace: the name is taken in either.
        for dialect in BOTH {
            let other = Own::new(&own.name, dialect);
            let refused = other.send(server.address(), vec![other.file(b"a", b"x")], &mut ());
            assert_eq!(refused.expect_err("the name is taken").class(), Class::Refused);
        }
    }
    server.stop();
}

/// `priv.key` and `me.info` as the classic d825 client writes them.
fn write_me_info_825(own: &Own, me: &Identity) {
    let key = Base64::encode_string(me.key.pkcs8());
    let mut lines = String::new();
    for line in key.as_bytes().chunks(72) {
        lines.push_str(std::str::from_utf8(line).expect("base64"));
        lines.push('\n');
    }
    let id: String = me.id.iter().map(|byte| format!("{byte:02x}")).collect();
    let name = String::from_utf8(me.name.clone()).expect("text");
    fs::create_dir(own.state()).expect("a new folder");
    fs::write(own.state().join("me.info"), format!("{name}\n{id}\n{lines}\n")).expect("written");
    fs::write(own.state().join("priv.key"), lines).expect("written");
}

/// The same as the classic d1100 client writes them.
fn write_me_info_1100(own: &Own, me: &Identity, aes_key: &[u8]) {
    let me_info = [&me.name, &b"\n"[..], &me.id, b"\n", aes_key].concat();
    fs::create_dir(own.state()).expect("a new folder");
    fs::write(own.state().join("me.info"), me_info).expect("written");
    let key = [me.key.pkcs8(), &[0xcd; 64]].concat();
    fs::write(own.state().join("priv.key"), key).expect("written");
}

#[test]
fn our_client_takes_over_from_the_classic_ones_and_they_go_on() {
    let server = Server::start();
    let address = server.address();
    for dialect in BOTH {
        let name = format!("from 825, in {dialect}");
        let classic = Client825 { key: Key::B, ..Client825::new(address, &name, "a", b"classic") };
        let run = classic.run();
        assert_eq!(run.end, End::Success);
        let own = Own::new(&name, dialect);
        write_me_info_825(&own, run.identity.as_ref().expect("registered"));
        own.store(address, b"b", b"ours");
        let again = Client825 { identity: run.identity, content: b"again".into(), ..classic }.run();
        assert_eq!((again.end, again.error_lines()), (End::Success, 0));
        assert_eq!(server.store().rows(&name).len(), 3);

        let name = format!("from 1100, in {dialect}");
        let classic =
            Client1100 { key: Key::C, ..Client1100::new(address, &name, "a", b"classic") };
        let run = classic.run();
        assert_eq!(run.end, End::Success);
        let own = Own::new(&name, dialect);
        let aes_key = run.aes_key.as_ref().expect("it had one");
        write_me_info_1100(&own, run.identity.as_ref().expect("registered"), aes_key);
        own.store(address, b"b", b"ours");
        let files = Client1100::new(address, "", "c", b"again").files;
        let again = Client1100 { identity: run.identity, files, ..classic }.run();
        assert_eq!((again.end, again.error_lines()), (End::Success, 0));
        assert_eq!(server.store().rows(&name).len(), 3);
    }
    server.stop();
}
