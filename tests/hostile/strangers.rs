//! Peers that use another client's id and name, on every connection and in every request.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use coffer_protocol::Dialect;
use socket2::SockRef;

use crate::beside::{BOTH, beside_good_clients, store};
use crate::classic::keys::Key;
use crate::classic::wire;
use crate::content::noise;
use crate::peer::{
    CHECKSUM, ERROR, NAME_REFUSED, Peer, RECONNECT_REFUSED, RECONNECTED, Verdict, answer, connect,
};
use crate::server::Server;

const VERDICTS: [Verdict; 3] = [Verdict::Right, Verdict::Again, Verdict::GivingUp];

/// Connections of one storm, by each of its threads.
const STORM: usize = 60;

#[test]
fn another_clients_id_opens_nothing_in_a_d825_session() {
    let server = Server::start();
    let mut alice = store(server.address(), Dialect::D825, "Alice", b"hers");
    let mut mallory = store(server.address(), Dialect::D825, "Mallory", b"his");
    let own = (mallory.id, mallory.name.clone());
    (mallory.id, mallory.name) = (alice.id, alice.name.clone());
    let mut requests = vec![
        mallory.request(0, &mallory.name_field()),
        mallory.key_request(),
        mallory.request(2, &mallory.name_field()),
        mallory.upload_request(b"a", b"not hers"),
    ];
    requests.extend(VERDICTS.map(|verdict| mallory.verdict_request(verdict, b"a")));
    for request in &requests {
        assert_eq!(mallory.ask(request).0, ERROR, "{:02x?}", &request[16..23]);
    }
    // On connections of their own, where nothing went before. Only the name is known there, and taken.
    for request in &requests[1..] {
        if request[17..19] == 827_u16.to_le_bytes() {
            continue;
        }
        mallory.hang_up();
        assert_eq!(mallory.ask(request).0, ERROR, "{:02x?}", &request[16..23]);
    }
    mallory.hang_up();
    assert_eq!(mallory.ask(&requests[0]).0, NAME_REFUSED);
    // One's id and the other's name, both ways.
    for (id, name) in [(own.0, &alice.name), (alice.id, &own.1)] {
        mallory.hang_up();
        (mallory.id, mallory.name) = (id, name.clone());
        assert_eq!(mallory.ask(&mallory.request(2, &mallory.name_field())).0, ERROR, "{name}");
    }
    assert_eq!(alice.verdict(Verdict::Right, b"a"), alice.acknowledged(), "she does not notice");
    check_untouched(&server, "Alice", b"hers");
    check_untouched(&server, "Mallory", b"his");
    server.stop();
}

#[test]
fn another_clients_id_opens_nothing_in_d1100_that_it_does_not_open_by_protocol() {
    let server = Server::start();
    let alice = store(server.address(), Dialect::D1100, "Alice", b"hers");
    let mut mallory = store(server.address(), Dialect::D1100, "Mallory", b"his");
    let own = (mallory.id, mallory.name.clone());
    for (id, name) in [(own.0, &alice.name), (alice.id, &own.1)] {
        (mallory.id, mallory.name) = (id, name.clone());
        let (answer, payload) = mallory.ask(&mallory.request(2, &mallory.name_field()));
        assert_eq!((answer, &payload[..]), (RECONNECT_REFUSED, &id[..]), "{name}");
        assert_eq!(mallory.ask(&mallory.key_request()).0, ERROR, "{name}");
        assert_eq!(mallory.ask(&mallory.request(0, &mallory.name_field())).0, NAME_REFUSED);
    }
    (mallory.id, mallory.name) = (alice.id, alice.name.clone());
    // By protocol an id is all that a file and its verdict need. What is stored stays.
    assert_eq!(mallory.ask(&mallory.upload_request(b"a", b"noise")).0, ERROR, "it exists");
    for verdict in [Verdict::Again, Verdict::GivingUp] {
        assert_eq!(mallory.verdict(verdict, b"a"), ERROR, "it was judged");
    }
    // An id that nobody has.
    mallory.id = [0x5a; 16];
    assert_eq!(mallory.ask(&mallory.upload_request(b"a", b"noise")).0, ERROR);
    for verdict in VERDICTS {
        assert_eq!(mallory.verdict(verdict, b"a"), ERROR);
    }
    check_untouched(&server, "Alice", b"hers");
    check_untouched(&server, "Mallory", b"his");
    server.stop();
}

/// Who knows name and id gets a key, by protocol; but only its owner can open it.
#[test]
fn a_session_key_is_wrapped_for_its_owner_only() {
    let server = Server::start();
    for dialect in BOTH {
        let alice = store(server.address(), dialect, &format!("Alice {dialect}"), b"hers");
        let mut mallory = Peer::new(server.address(), dialect, &alice.name);
        mallory.id = alice.id;
        let (answer, payload) = mallory.ask(&mallory.request(2, &mallory.name_field()));
        assert_eq!((answer, &payload[..16]), (RECONNECTED, &alice.id[..]));
        for key in [Key::B, Key::C, Key::F4] {
            assert_eq!(key.unwrap_sha1(&payload[16..]), None);
            assert_eq!(key.unwrap_sha256(&payload[16..]), None);
        }
        check_untouched(&server, &alice.name, b"hers");
    }
    server.stop();
}

fn check_untouched(server: &Server, name: &str, content: &[u8]) {
    let store = server.store();
    assert_eq!(store.content(name, b"a", None).as_deref(), Some(content), "{name}");
    assert_eq!(store.versions(name).len(), 1, "{name}");
}

/// Storms of reconnections with her name and her id, or nearly, while her file is on its way.
#[test]
fn reconnection_storms_do_not_disturb_an_upload() {
    let server = Server::start();
    let content = noise(3, 600 << 10);
    for dialect in BOTH {
        let mut alice = Peer::new(server.address(), dialect, &format!("Alice {dialect}"));
        alice.introduce();
        let stormed = AtomicUsize::new(0);
        beside_good_clients(&server, || {
            thread::scope(|scope| {
                let storms = (0..4).map(|number| {
                    let (id, name) = (alice.id, alice.name.clone());
                    let (address, stormed) = (server.address(), &stormed);
                    scope.spawn(move || {
                        storm(address, dialect, id, &name, number);
                        stormed.fetch_add(1, SeqCst);
                    })
                });
                let storms: Vec<_> = storms.collect();
                upload_in_steps(&mut alice, &content, || stormed.load(SeqCst) == storms.len());
            });
        });
        assert_eq!(alice.verdict(Verdict::Right, b"a"), alice.acknowledged());
        let stored = server.store().content(&alice.name, b"a", None);
        assert!(stored.as_ref() == Some(&content), "{dialect}");
    }
    server.stop();
}

/// Sends all but the end of a file, that when the storm is over, and reads the checksum.
fn upload_in_steps(alice: &mut Peer, content: &[u8], is_over: impl Fn() -> bool) {
    let request = alice.upload_request(b"a", content);
    if alice.dialect == Dialect::D1100 {
        alice.hang_up();
    }
    let step = request.len() / 40;
    let (steps, last) = request.split_at(request.len() - step);
    for bytes in steps.chunks(step) {
        alice.link().write_all(bytes).expect("the server reads");
        thread::sleep(Duration::from_millis(10));
    }
    while !is_over() {
        thread::sleep(Duration::from_millis(10));
    }
    alice.link().write_all(last).expect("the server reads");
    let (code, payload) = answer(alice.link()).expect("an answer");
    assert_eq!(code % 100, CHECKSUM);
    let expected = match alice.dialect {
        Dialect::D825 => wire::cksum(content),
        Dialect::D1100 => wire::md5_sum(content),
    };
    assert_eq!(wire::u32_at(&payload, 275), expected);
}

/// Reconnects again and again; some wait for the answer, some hang up, some reset the connection.
fn storm(server: SocketAddr, dialect: Dialect, id: [u8; 16], name: &str, seed: usize) {
    for number in (0..STORM).map(|number| number + seed) {
        let mut mallory = Peer::new(server, dialect, name);
        mallory.id = id;
        mallory.id[0] ^= u8::from(number % 5 == 0);
        let reconnect = mallory.request(2, &mallory.name_field());
        let mut stream = connect(server);
        stream.write_all(&reconnect).expect("the server reads");
        match number % 3 {
            0 => {
                let (code, _) = answer(&mut stream).expect("an answer");
                assert!([RECONNECTED, RECONNECT_REFUSED, ERROR].contains(&(code % 100)), "{code}");
            }
            1 => {}
            _ => SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("linger"),
        }
    }
}
