//! What survives a lost connection and a restart, between any two requests of either dialect.

use std::io::Write;

use coffer_protocol::Dialect;

use crate::content::noise;
use crate::own::BOTH;
use crate::peer::{
    CHECKSUM, ERROR, KEY, NAME_REFUSED, Peer, RECONNECT_REFUSED, RECONNECTED, REGISTERED, Verdict,
};
use crate::server::{Down, Server, wait_for};

const DOWN: [Down; 2] = [Down::Sigterm, Down::Kill9];

/// Small enough for the catalog, and large enough for a file of its own.
const SIZES: [usize; 2] = [700, 90 << 10];

/// Restarts the server, and tells the peer where it is now.
fn restart(server: &mut Server, peer: &mut Peer, how: Down) {
    if how == Down::Sigterm {
        // Or the server would wait for what the peer has begun.
        peer.hang_up();
    }
    server.restart(how);
    peer.hang_up();
    peer.server = server.address();
}

/// Everything from a session key on to a stored file.
fn send_whole(server: &Server, peer: &mut Peer, file: &[u8], content: &[u8]) {
    assert_eq!(peer.upload(file, content), CHECKSUM);
    assert_eq!(peer.verdict(Verdict::Right, file), peer.acknowledged());
    let stored = server.store().content(&peer.name, file, None);
    assert_eq!(stored.as_deref(), Some(content));
}

#[test]
fn a_restart_frees_a_name_without_a_key() {
    for (dialect, how) in BOTH.into_iter().flat_map(|dialect| DOWN.map(|how| (dialect, how))) {
        let mut server = Server::start();
        let mut peer = Peer::new(server.address(), dialect, "Bob");
        assert_eq!(peer.register(), REGISTERED);
        restart(&mut server, &mut peer, how);
        assert_eq!(peer.send_key(), ERROR, "{how:?}: the registration is forgotten");
        peer.hang_up();
        assert_eq!(peer.reconnect(), RECONNECT_REFUSED, "{how:?}");
        peer.hang_up();
        let mut other = Peer::new(server.address(), dialect, "Bob");
        other.introduce();
    }
}

#[test]
fn a_restart_keeps_a_client_with_a_key_and_forgets_its_session_key() {
    for (dialect, how) in BOTH.into_iter().flat_map(|dialect| DOWN.map(|how| (dialect, how))) {
        let mut server = Server::start();
        let mut peer = Peer::new(server.address(), dialect, "Bob");
        peer.introduce();
        let old_key = peer.session_key.clone();
        restart(&mut server, &mut peer, how);
        // More than the sockets hold: the answer arrives where every byte before it is taken.
        assert_eq!(peer.upload(b"a", &noise(1, 12 << 20)), ERROR, "{how:?}: no session key");
        peer.hang_up();
        assert_eq!(Peer::new(server.address(), dialect, "Bob").register(), NAME_REFUSED);
        assert_eq!(peer.reconnect(), RECONNECTED);
        assert_ne!(peer.session_key, old_key, "{how:?}: a session key is in memory only");
        send_whole(&server, &mut peer, b"a", b"content");
    }
}

#[test]
fn a_restart_drops_what_waits_for_its_verdict_and_keeps_what_has_it() {
    for (dialect, how) in BOTH.into_iter().flat_map(|dialect| DOWN.map(|how| (dialect, how))) {
        let mut server = Server::start();
        let mut peer = Peer::new(server.address(), dialect, "Bob");
        peer.introduce();
        for (number, size) in SIZES.into_iter().enumerate() {
            let (before, content) = (number.to_string(), noise(number as u64, size));
            send_whole(&server, &mut peer, before.as_bytes(), &content);
            assert_eq!(peer.upload(b"unjudged", &content), CHECKSUM);
            restart(&mut server, &mut peer, how);
            assert_eq!(peer.verdict(Verdict::Right, b"unjudged"), ERROR, "{how:?}");
            peer.hang_up();
            assert_eq!(peer.reconnect(), RECONNECTED);
            assert_eq!(peer.verdict(Verdict::Right, b"unjudged"), ERROR, "{how:?}");
            assert_eq!(server.store().content("Bob", b"unjudged", None), None);
            let kept = server.store().content("Bob", before.as_bytes(), None);
            assert_eq!(kept, Some(content), "{how:?}");
        }
        send_whole(&server, &mut peer, b"unjudged", b"in the end");
        server.store().wait_for_view("Bob");
        assert_eq!(server.store().view_files().len(), 3);
    }
}

#[test]
fn a_lost_connection_frees_a_name_without_a_key_at_once_in_d825() {
    let server = Server::start();
    let mut peer = Peer::new(server.address(), Dialect::D825, "Bob");
    let key_request = peer.key_request();
    for sent in [0, 1, 23, 200, key_request.len() - 1] {
        assert_eq!(peer.register(), REGISTERED, "{sent} bytes of 826 before");
        peer.link().write_all(&key_request[..sent]).expect("the server reads");
        peer.hang_up();
    }
    // Also when the name came through a reconnection that nobody knew.
    assert_eq!(peer.reconnect(), RECONNECT_REFUSED);
    peer.hang_up();
    peer.introduce();
    send_whole(&server, &mut peer, b"a", b"content");
}

#[test]
fn a_registration_without_a_key_outlives_its_connection_in_d1100() {
    let server = Server::start();
    let mut peer = Peer::new(server.address(), Dialect::D1100, "Bob");
    assert_eq!(peer.register(), REGISTERED);
    peer.hang_up();
    for dialect in BOTH {
        let mut other = Peer::new(server.address(), dialect, "Bob");
        assert_eq!(other.register(), NAME_REFUSED, "it is Bob's for ten minutes");
    }
    // Before the key is there, 1102 is an error; then the registration goes on.
    assert_eq!(peer.reconnect(), ERROR);
    assert_eq!(peer.send_key(), KEY);
    send_whole(&server, &mut peer, b"a", b"content");
}

#[test]
fn a_client_whose_key_arrived_but_whose_answer_did_not_is_registered() {
    let server = Server::start();
    for dialect in BOTH {
        let mut peer = Peer::new(server.address(), dialect, &format!("lost {dialect}"));
        assert_eq!(peer.register(), REGISTERED);
        if dialect == Dialect::D1100 {
            peer.hang_up();
        }
        let request = peer.key_request();
        peer.link().write_all(&request).expect("the server reads");
        peer.hang_up();
        let store = server.store();
        wait_for("the client's row", || store.clients().contains(&peer.name).then_some(()));
        assert_eq!(peer.reconnect(), RECONNECTED);
        send_whole(&server, &mut peer, b"a", b"content");
    }
}

#[test]
fn a_lost_connection_within_a_file_leaves_nothing_behind() {
    let server = Server::start();
    for dialect in BOTH {
        let mut peer = Peer::new(server.address(), dialect, &format!("cut {dialect}"));
        peer.introduce();
        let content = noise(4, 300 << 10);
        for sent in [1, 23, 1024, 1314, 5000, 200 << 10, (300 << 10) - 1] {
            if dialect == Dialect::D1100 {
                peer.hang_up();
            } else if sent > 1 {
                assert_eq!(peer.reconnect(), RECONNECTED, "before {sent} bytes");
            }
            let request = peer.upload_request(b"a", &content);
            peer.link().write_all(&request[..sent]).expect("the server reads");
            peer.hang_up();
        }
        assert!(server.store().rows(&peer.name).is_empty());
        let store = server.store();
        wait_for("the pieces to be removed", || (store.blob_count() == 0).then_some(()));
        if dialect == Dialect::D825 {
            assert_eq!(peer.reconnect(), RECONNECTED);
        }
        // What is given up is removed, whether or not it has reached the disk by then.
        assert_eq!(peer.upload(b"a", &content), CHECKSUM, "its session key is as good as before");
        assert_eq!(peer.verdict(Verdict::Again, b"b"), ERROR, "a verdict on something else");
        assert_eq!(peer.verdict(Verdict::GivingUp, b"a"), peer.acknowledged());
        assert_eq!(peer.upload(b"a", &content), CHECKSUM);
        let mut other = Peer::new(server.address(), dialect, &format!("meanwhile {dialect}"));
        other.introduce();
        send_whole(&server, &mut other, b"small", b"takes longer than a sync");
        assert_eq!(peer.verdict(Verdict::GivingUp, b"a"), peer.acknowledged());
        wait_for("the file to be removed", || (store.blob_count() == 0).then_some(()));
        assert!(server.store().rows(&peer.name).is_empty());
    }
}

#[test]
fn a_lost_connection_before_the_verdict_drops_the_content_in_d825_only() {
    for dialect in BOTH {
        let server = Server::start();
        let mut peer = Peer::new(server.address(), dialect, "Bob");
        peer.introduce();
        let key = peer.session_key.clone();
        for (number, size) in SIZES.into_iter().enumerate() {
            let (file, content) = (number.to_string(), noise(1, size));
            assert_eq!(peer.upload(file.as_bytes(), &content), CHECKSUM);
            peer.hang_up();
            assert_eq!(peer.reconnect(), RECONNECTED);
            assert_eq!(peer.session_key == key, dialect == Dialect::D1100, "the same key again");
            let answer = peer.verdict(Verdict::Right, file.as_bytes());
            let stored = server.store().content("Bob", file.as_bytes(), None);
            match dialect {
                Dialect::D825 => {
                    assert_eq!((answer, stored), (ERROR, None));
                    let store = server.store();
                    wait_for("its removal", || (store.blob_count() == 0).then_some(()));
                }
                Dialect::D1100 => {
                    assert_eq!((answer, stored), (peer.acknowledged(), Some(content)))
                }
            }
        }
    }
}

#[test]
fn a_verdict_whose_answer_was_lost_is_durable_and_can_be_asked_again() {
    let server = Server::start();
    for dialect in BOTH {
        let mut peer = Peer::new(server.address(), dialect, &format!("lost {dialect}"));
        peer.introduce();
        for (number, size) in SIZES.into_iter().enumerate() {
            let (file, content) = (number.to_string(), noise(1, size));
            assert_eq!(peer.upload(file.as_bytes(), &content), CHECKSUM);
            if dialect == Dialect::D1100 {
                peer.hang_up();
            }
            let request = peer.verdict_request(Verdict::Right, file.as_bytes());
            peer.link().write_all(&request).expect("the server reads");
            peer.hang_up();
            let store = server.store();
            let stored = wait_for("the file", || store.content(&peer.name, file.as_bytes(), None));
            assert_eq!(stored, content);
            assert_eq!(peer.reconnect(), RECONNECTED);
            if dialect == Dialect::D1100 {
                assert_eq!(peer.verdict(Verdict::Right, file.as_bytes()), peer.acknowledged());
            }
        }
        assert_eq!(server.store().rows(&peer.name).len(), SIZES.len(), "each once");
    }
}

#[test]
fn an_interruption_between_a_wrong_checksum_and_the_next_sending() {
    for dialect in BOTH {
        let mut server = Server::start();
        let mut peer = Peer::new(server.address(), dialect, "Bob");
        peer.introduce();
        send_whole(&server, &mut peer, b"before", b"stays");
        for interruption in [None, Some(Down::Sigterm), Some(Down::Kill9)] {
            for (size, verdict) in SIZES.into_iter().zip([Verdict::Again, Verdict::GivingUp]) {
                let (file, content) = (format!("{interruption:?} {size}"), noise(1, size));
                assert_eq!(peer.upload(file.as_bytes(), &noise(2, size)), CHECKSUM);
                let request = peer.verdict_request(verdict, file.as_bytes());
                if dialect == Dialect::D1100 {
                    peer.hang_up();
                }
                // Its answer, where there is one, is not waited for.
                peer.link().write_all(&request).expect("the server reads");
                match interruption {
                    None => peer.hang_up(),
                    Some(how) => restart(&mut server, &mut peer, how),
                }
                assert_eq!(peer.reconnect(), RECONNECTED);
                assert_eq!(server.store().content("Bob", file.as_bytes(), None), None);
                assert_eq!(peer.verdict(Verdict::Right, file.as_bytes()), ERROR, "{file}");
                send_whole(&server, &mut peer, file.as_bytes(), &content);
            }
        }
        assert_eq!(server.store().content("Bob", b"before", None), Some(b"stays".into()));
        assert!(server.store().rows("Bob").iter().all(|row| row.version == 1));
    }
}
