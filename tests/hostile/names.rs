//! Names of every nasty kind, in the fields as they come over the wire. What becomes of those that are taken is in
//! `tests/end_to_end/names.rs`.

use std::fs;

use crate::beside::{BOTH, good_clients};
use crate::classic::wire::{self, NAME_FIELD};
use crate::peer::{CHECKSUM, ERROR, NAME_REFUSED, Peer, Verdict};
use crate::server::Server;

/// A field with these bytes in front.
fn field(name: &[u8]) -> [u8; NAME_FIELD] {
    let mut field = [0; NAME_FIELD];
    field[..name.len()].copy_from_slice(name);
    field
}

#[test]
fn client_names_that_are_none_are_refused() {
    let server = Server::start();
    for dialect in BOTH {
        for name in [
            &b""[..],
            b"\0\0a",
            b"a\0b",
            b"a\nb",
            b"\x1b[2J",
            b"\x7f",
            b"\xc2\x85",
            b"\xff",
            b"\xc0\xaf",
            b"\xed\xa0\x80",
            b"half a character \xe2\x82",
            &[b'n'; NAME_FIELD],
        ] {
            let mut peer = Peer::new(server.address(), dialect, "");
            let request = peer.request(0, &field(name));
            assert_eq!(peer.ask(&request).0, NAME_REFUSED, "{dialect}: {name:02x?}");
            let mut peer = Peer::new(server.address(), dialect, "");
            let request = peer.request(2, &field(name));
            assert_eq!(peer.ask(&request).0, ERROR, "{dialect}: {name:02x?}");
        }
    }
    good_clients(&server, "after");
    assert_eq!(server.store().clients().len(), 2, "nobody else registered");
    assert!(
        !server.log().contains(['\x1b', '\u{85}', '\x7f']),
        "the log can be read in a terminal"
    );
    server.stop();
}

#[test]
fn file_names_that_are_none_are_refused_and_the_next_file_is_taken() {
    let server = Server::start();
    for dialect in BOTH {
        let mut peer = Peer::new(server.address(), dialect, &format!("nameless {dialect}"));
        peer.introduce();
        for name in [&b""[..], &[b'f'; NAME_FIELD], &[0xff; NAME_FIELD]] {
            let mut request = peer.upload_request(b"a", b"content");
            // Behind header and sizes: 12 bytes in d825, 4 in d1100.
            let at = wire::REQUEST_HEADER + if dialect.number() == 825 { 12 } else { 4 };
            request[at..at + NAME_FIELD].copy_from_slice(&field(name));
            assert_eq!(peer.ask(&request).0, ERROR, "{dialect}: {name:02x?}");
        }
        assert_eq!(peer.upload(b"a", b"content"), CHECKSUM);
        assert_eq!(peer.verdict(Verdict::Right, b"a"), peer.acknowledged());
    }
    server.stop();
}

/// Whatever a file is called, it lies in its client's folder, under a name that can be printed.
#[test]
fn no_file_leaves_its_clients_folder() {
    let server = Server::start();
    let mut names: Vec<Vec<u8>> = vec![
        b"../../catalog.db".to_vec(),
        b"/etc/passwd".to_vec(),
        br"..\..\..\windows\system32\a.dll".to_vec(),
        br"C:\..\b".to_vec(),
        b"a\0b".to_vec(),
        b"\n\x1b]0;owned\x07".to_vec(),
        b"\xff\xfe\xfd".to_vec(),
        b"blobs/00/00".to_vec(),
        b"CON".to_vec(),
        b"a:stream".to_vec(),
        b".".to_vec(),
        b"-rf".to_vec(),
        "\u{202e}fdp.exe".into(),
    ];
    names.extend([vec![b'/'; 254], vec![b'.'; 254], vec![0xff; 254], b"a/".repeat(127)]);
    for dialect in BOTH {
        let mut peer = Peer::new(server.address(), dialect, &format!("namer {dialect}"));
        peer.introduce();
        for name in &names {
            assert_eq!(peer.upload(name, name), CHECKSUM, "{name:02x?}");
            assert_eq!(peer.verdict(Verdict::Right, name), peer.acknowledged(), "{name:02x?}");
        }
        server.store().wait_for_view(&peer.name);
        for name in &names {
            let stored = server.store().content(&peer.name, name, None);
            assert_eq!(stored.as_ref(), Some(name), "{name:02x?}");
        }
    }
    let files = server.store().view_files();
    assert_eq!(files.len(), 2 * names.len());
    for file in files {
        let text = file.to_str().expect("the view's names are text");
        assert!(!text.contains(char::is_control) && text.contains("namer"), "{text:?}");
    }
    let beside = fs::read_dir(server.folder()).expect("a folder").count();
    assert_eq!(beside, 1, "nothing beside the data folder");
    assert!(!server.log().contains(['\x1b', '\x07']));
    server.stop();
}
