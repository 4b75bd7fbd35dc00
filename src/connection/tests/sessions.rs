//! Who is answered what: every row of the protocol that a session decides.

use std::slice::from_ref;
use std::time::Duration;

use coffer_protocol::reply::Reply;
use coffer_protocol::request::{Request, Verdict};
use coffer_protocol::{ClientId, Dialect};

use super::world::{KEY, World, encoded, pattern, unwrap};
use crate::limits::{LINGER_MAX, RESERVATION_TTL, SESSION_KEY_TTL, VERDICT_TTL};
use crate::session::Existing;

const ERROR: [Reply; 1] = [Reply::Error];
const FILE: &[u8] = b"docs/a.txt";

#[test]
fn a_d825_session_stores_a_file() {
    let mut world = World::new(Existing::Dialect);
    let peer = world.register_825("Bob");
    let content = pattern(5000);
    let checksum = encoded(&peer.key, peer.id, FILE, &content).1;
    let received =
        Reply::FileReceived { id: peer.id, encrypted_size: 5008, file: FILE.to_vec(), checksum };
    assert_eq!(world.send_file(&peer, FILE, &content), from_ref(&received));
    assert_eq!(world.versions(peer.id, FILE), 0, "not before the client agrees");
    assert_eq!(
        world.judge(&peer, Verdict::Right, FILE),
        from_ref(&received),
        "1603 is the answer to 900"
    );
    assert_eq!(world.files[&(peer.id, FILE.to_vec())], [content]);
    assert_eq!(world.judge(&peer, Verdict::Right, FILE), [received], "asked again, the same again");
    assert_eq!(world.versions(peer.id, FILE), 1);
}

#[test]
fn a_d825_client_sends_again_and_gives_up() {
    let mut world = World::new(Existing::Dialect);
    let peer = world.register_825("Bob");
    for _ in 0..2 {
        assert!(matches!(world.send_file(&peer, FILE, b"x")[..], [Reply::FileReceived { .. }]));
        assert_eq!(
            world.judge(&peer, Verdict::SendingAgain, FILE),
            [],
            "the real client reads no answer to 901"
        );
        assert_eq!(world.staged(), 0, "what was wrong is gone");
    }
    assert!(matches!(world.send_file(&peer, FILE, b"x")[..], [Reply::FileReceived { .. }]));
    assert_eq!(world.judge(&peer, Verdict::SendingAgain, FILE), []);
    let answer = world.judge(&peer, Verdict::GivingUp, FILE);
    assert!(
        matches!(answer[..], [Reply::FileReceived { .. }]),
        "1603 is the answer to 902 right behind 901"
    );
    assert_eq!(world.versions(peer.id, FILE), 0);
    world.send_file(&peer, FILE, b"y");
    assert_eq!(world.judge(&peer, Verdict::Right, FILE).len(), 1, "the name is not burnt");
    assert_eq!(world.versions(peer.id, FILE), 1);
}

#[test]
fn a_second_version_keeps_the_first_and_a_wrong_one_replaces_nothing() {
    let mut world = World::new(Existing::Dialect);
    let peer = world.register_825("Bob");
    for content in [b"one", b"two"] {
        world.send_file(&peer, FILE, content);
        world.judge(&peer, Verdict::Right, FILE);
    }
    world.send_file(&peer, FILE, b"bad");
    world.judge(&peer, Verdict::GivingUp, FILE);
    assert_eq!(world.files[&(peer.id, FILE.to_vec())], [b"one".to_vec(), b"two".to_vec()]);
}

#[test]
fn existing_files_are_refused_or_versioned_as_told() {
    for (existing, again_825, again_1100) in [
        (Existing::Dialect, true, false),
        (Existing::Refuse, false, false),
        (Existing::Version, true, true),
    ] {
        let mut world = World::new(existing);
        let peer = world.register_825("Bob");
        world.send_file(&peer, FILE, b"one");
        world.judge(&peer, Verdict::Right, FILE);
        let stored =
            matches!(world.send_file(&peer, FILE, b"two")[..], [Reply::FileReceived { .. }]);
        assert_eq!(stored, again_825, "{existing:?}");

        let (id, key) = world.register_1100("Eve");
        world.send_file_1100(id, &key, FILE, b"one");
        let right = Request::Verdict { verdict: Verdict::Right, file: FILE };
        assert_eq!(world.ask_1100(id, right), Reply::Acknowledged { id });
        let answer = world.send_file_1100(id, &key, FILE, b"two");
        assert_eq!(
            matches!(answer, Reply::FileReceived { .. }),
            again_1100,
            "{existing:?}: {answer:?}"
        );
    }
}

#[test]
fn names_are_one_namespace_and_a_refused_one_can_be_tried_again_on_the_same_connection() {
    let mut world = World::new(Existing::Dialect);
    world.register_825("Bob");
    let taken = Request::Register { name: b"Bob" };
    let connection = world.connect();
    for _ in 0..3 {
        assert_eq!(
            world.ask(connection, Dialect::D825, ClientId::NONE, taken),
            [Reply::RegistrationRefused]
        );
    }
    assert_eq!(world.ask_1100(ClientId::NONE, taken), Reply::RegistrationRefused);
    for bad in [&b""[..], b"\xff\xfe", b"a\nb"] {
        let bad = Request::Register { name: bad };
        assert_eq!(
            world.ask(connection, Dialect::D825, ClientId::NONE, bad),
            [Reply::RegistrationRefused]
        );
        assert_eq!(world.ask_1100(ClientId::NONE, bad), Reply::RegistrationRefused);
    }
    let free = Request::Register { name: b"Eve" };
    let replies = world.ask(connection, Dialect::D825, ClientId::NONE, free);
    assert!(matches!(replies[..], [Reply::Registered { .. }]));
}

#[test]
fn a_d825_registration_without_a_key_frees_its_name_with_its_connection() {
    let mut world = World::new(Existing::Dialect);
    let connection = world.connect();
    let request = Request::Register { name: b"Bob" };
    world.ask(connection, Dialect::D825, ClientId::NONE, request);
    assert_eq!(world.ask_1100(ClientId::NONE, request), Reply::RegistrationRefused, "reserved");
    world.with(connection, super::super::Connection::end_of_input);
    assert!(matches!(world.ask_1100(ClientId::NONE, request), Reply::Registered { .. }));
}

#[test]
fn a_d1100_registration_waits_ten_minutes_for_its_key() {
    let mut world = World::new(Existing::Dialect);
    let request = Request::Register { name: b"Bob" };
    let Reply::Registered { id } = world.ask_1100(ClientId::NONE, request) else { panic!() };
    // Other clients come and go: nothing is lost.
    world.register_1100("Eve");
    assert_eq!(world.ask_1100(ClientId::NONE, request), Reply::RegistrationRefused);
    assert_eq!(
        world.ask_1100(id, Request::Reconnect { name: b"Bob" }),
        Reply::Error,
        "1102 before the key"
    );
    world.wait(RESERVATION_TTL - Duration::from_millis(1));
    let key = Request::PublicKey { name: b"Bob", key: &KEY.public_der() };
    assert!(matches!(world.ask_1100(id, key), Reply::Key { .. }));
    assert_eq!(world.ask_1100(id, key), Reply::Error, "a key is set once");

    let Reply::Registered { id } =
        world.ask_1100(ClientId::NONE, Request::Register { name: b"Dan" })
    else {
        panic!()
    };
    world.wait(RESERVATION_TTL);
    assert_eq!(
        world.ask_1100(id, Request::PublicKey { name: b"Dan", key: &KEY.public_der() }),
        Reply::Error
    );
    let again = world.ask_1100(ClientId::NONE, Request::Register { name: b"Dan" });
    assert!(matches!(again, Reply::Registered { .. }), "free again");
}

#[test]
fn bad_public_keys_are_refused_and_can_be_repeated() {
    let mut world = World::new(Existing::Dialect);
    let connection = world.connect();
    let replies =
        world.ask(connection, Dialect::D825, ClientId::NONE, Request::Register { name: b"Bob" });
    let [Reply::Registered { id }] = replies[..] else { panic!() };
    let key = KEY.public_der();
    let foreign = ClientId([7; 16]);
    for (client, name, key) in [
        (id, &b"Bob"[..], &[0; 160][..]),
        (id, b"Eve", &key),
        (foreign, b"Bob", &key),
        (id, b"Bob", &[1]),
    ] {
        let request = Request::PublicKey { name, key };
        assert_eq!(world.ask(connection, Dialect::D825, client, request), ERROR);
    }
    assert!(world.clients.is_empty(), "nobody was made durable for a refused key");
    assert!(matches!(world.public_key(connection, id, "Bob")[..], [Reply::Key { .. }]));
}

#[test]
fn a_d825_client_reconnects() {
    let mut world = World::new(Existing::Dialect);
    let peer = world.register_825("Bob");
    let connection = world.connect();
    let reconnect = Request::Reconnect { name: b"Bob" };
    assert_eq!(
        world.ask(connection, Dialect::D825, ClientId([9; 16]), reconnect),
        ERROR,
        "another id"
    );
    let replies = world.ask(connection, Dialect::D825, peer.id, reconnect);
    let [Reply::Reconnected { id, wrapped }] = &replies[..] else { panic!("{replies:?}") };
    let again = super::world::Peer { connection, id: *id, key: unwrap(Dialect::D825, wrapped) };
    assert_ne!(again.key.expose(), peer.key.expose(), "a new key");
    for file in [&b"one"[..], b"two"] {
        world.send_file(&again, file, b"x");
        world.judge(&again, Verdict::Right, file);
        assert_eq!(world.versions(peer.id, file), 1, "as many names as it likes");
    }
}

#[test]
fn an_unknown_d825_name_reconnects_into_a_registration() {
    let mut world = World::new(Existing::Dialect);
    let connection = world.connect();
    let old = ClientId([9; 16]);
    let replies = world.ask(connection, Dialect::D825, old, Request::Reconnect { name: b"Bob" });
    let [Reply::ReconnectRefused { id }] = replies[..] else { panic!("{replies:?}") };
    assert_ne!(id, old);
    assert!(matches!(world.public_key(connection, id, "Bob")[..], [Reply::Key { .. }]));
    let other = world.connect();
    let replies = world.ask(other, Dialect::D825, id, Request::Reconnect { name: b"Bob" });
    assert!(matches!(replies[..], [Reply::Reconnected { .. }]), "its key was kept");
}

#[test]
fn a_reset_name_can_be_registered_again() {
    let mut world = World::new(Existing::Dialect);
    world.register_825("Bob");
    world.clients.get_mut("Bob").expect("registered").public_key = None;
    world.register_825("Bob");
    world.clients.get_mut("Bob").expect("registered").public_key = None;
    world.register_1100("Bob");
}

#[test]
fn the_name_of_a_secure_client_is_taken_and_of_no_use_here() {
    let mut world = World::new(Existing::Dialect);
    let id = world.register_825("Bob").id;
    let known = world.clients.get_mut("Bob").expect("registered");
    (known.is_secure, known.public_key) = (true, None);
    let (register, reconnect) =
        (Request::Register { name: b"Bob" }, Request::Reconnect { name: b"Bob" });
    for (request, refused) in [(register, Reply::RegistrationRefused), (reconnect, Reply::Error)] {
        let connection = world.connect();
        assert_eq!(world.ask(connection, Dialect::D825, id, request), [refused]);
    }
    assert_eq!(world.ask_1100(id, register), Reply::RegistrationRefused);
    assert_eq!(world.ask_1100(id, reconnect), Reply::ReconnectRefused { id });
}

#[test]
fn a_d1100_session_spans_connections() {
    let mut world = World::new(Existing::Dialect);
    let (id, key) = world.register_1100("Bob");
    let content = pattern(3000);
    let checksum = encoded(&key, id, FILE, &content).1;
    world.send_file_1100(id, &key, FILE, &pattern(2999));
    let verdict = |verdict| Request::Verdict { verdict, file: FILE };
    assert_eq!(world.ask_1100(id, verdict(Verdict::SendingAgain)), Reply::Acknowledged { id });
    assert_eq!(world.staged(), 0);
    assert_eq!(world.ask_1100(id, verdict(Verdict::Right)), Reply::Error, "that upload is gone");
    let answer = world.send_file_1100(id, &key, FILE, &content);
    assert_eq!(
        answer,
        Reply::FileReceived { id, encrypted_size: 3008, file: FILE.to_vec(), checksum }
    );
    assert_eq!(world.ask_1100(id, verdict(Verdict::Right)), Reply::Acknowledged { id });
    assert_eq!(
        world.ask_1100(id, verdict(Verdict::Right)),
        Reply::Acknowledged { id },
        "an answer may be lost"
    );
    assert_eq!(world.files[&(id, FILE.to_vec())], [content]);
}

#[test]
fn a_d1100_key_is_kept_until_it_expires() {
    let mut world = World::new(Existing::Dialect);
    let (id, key) = world.register_1100("Bob");
    let reconnect = Request::Reconnect { name: b"Bob" };
    let Reply::Reconnected { wrapped, .. } = world.ask_1100(id, reconnect) else { panic!() };
    assert_eq!(unwrap(Dialect::D1100, &wrapped).expose(), key.expose(), "the same key again");
    let stranger = ClientId([9; 16]);
    assert_eq!(world.ask_1100(stranger, reconnect), Reply::ReconnectRefused { id: stranger });
    let unknown = Request::Reconnect { name: b"Eve" };
    assert_eq!(world.ask_1100(id, unknown), Reply::ReconnectRefused { id });
    world.wait(SESSION_KEY_TTL);
    assert_eq!(world.send_file_1100(id, &key, FILE, b"x"), Reply::Error, "it must reconnect");
    let Reply::Reconnected { wrapped, .. } = world.ask_1100(id, reconnect) else { panic!() };
    assert_ne!(unwrap(Dialect::D1100, &wrapped).expose(), key.expose());
}

#[test]
fn a_d1100_upload_waits_ten_minutes_for_its_verdict() {
    let mut world = World::new(Existing::Dialect);
    let (id, key) = world.register_1100("Bob");
    world.send_file_1100(id, &key, FILE, b"x");
    world.wait(VERDICT_TTL - Duration::from_millis(1));
    assert_eq!(world.staged(), 1);
    world.wait(Duration::from_millis(1));
    assert_eq!(world.staged(), 0, "and is then swept");
    assert_eq!(
        world.ask_1100(id, Request::Verdict { verdict: Verdict::Right, file: FILE }),
        Reply::Error
    );
}

#[test]
fn a_new_attempt_takes_the_place_of_one_without_a_verdict() {
    let mut world = World::new(Existing::Dialect);
    let (id, key) = world.register_1100("Bob");
    for _ in 0..3 {
        world.send_file_1100(id, &key, FILE, b"x");
        assert_eq!(world.staged(), 1);
    }
}

#[test]
fn a_d1100_file_that_ends_like_padding_comes_out_right_the_second_time() {
    let mut world = World::new(Existing::Dialect);
    let (id, key) = world.register_1100("Bob");
    let mut content = pattern(1024);
    content[1020..].fill(4);
    let checksum = encoded(&key, id, FILE, &content).1;
    let right = |reply: &Reply| matches!(reply, Reply::FileReceived { checksum: answered, .. } if *answered == checksum);
    assert!(!right(&world.send_file_1100(id, &key, FILE, &content)));
    world.ask_1100(id, Request::Verdict { verdict: Verdict::SendingAgain, file: FILE });
    assert!(right(&world.send_file_1100(id, &key, FILE, &content)));
    world.ask_1100(id, Request::Verdict { verdict: Verdict::Right, file: FILE });
    assert_eq!(world.files[&(id, FILE.to_vec())], [content]);
}

#[test]
fn an_answer_that_did_not_arrive_was_not_wrong() {
    let mut world = World::new(Existing::Dialect);
    let (id, key) = world.register_1100("Bob");
    let (wire, expected) = encoded(&key, id, FILE, &pattern(1000));
    let connection = world.connect();
    world.send(connection, &wire, usize::MAX);
    world.with(connection, |machine, _| machine.lost());
    world.ask_1100(id, Request::Verdict { verdict: Verdict::SendingAgain, file: FILE });
    let answer = world.send_file_1100(id, &key, FILE, &pattern(1000));
    assert!(
        matches!(answer, Reply::FileReceived { checksum, .. } if checksum == expected),
        "read the same way again"
    );
}

#[test]
fn an_answer_that_was_sent_may_be_wrong_however_late_its_reader_closes() {
    let mut world = World::new(Existing::Dialect);
    let (id, key) = world.register_1100("Bob");
    let content = [vec![7; 1023], vec![1]].concat();
    let (wire, expected) = encoded(&key, id, FILE, &content);
    let connection = world.connect();
    world.send(connection, &wire, usize::MAX);
    let sent = world.replies(connection, Dialect::D1100);
    assert!(
        matches!(sent[..], [Reply::FileReceived { checksum, .. }] if checksum != expected),
        "what ends like padding is read as padding first"
    );
    world.wait(LINGER_MAX);
    assert!(!world.is_connected(connection));
    world.ask_1100(id, Request::Verdict { verdict: Verdict::SendingAgain, file: FILE });
    let answer = world.send_file_1100(id, &key, FILE, &content);
    assert!(
        matches!(answer, Reply::FileReceived { checksum, .. } if checksum == expected),
        "and then the other way"
    );
}

#[test]
fn refused_d1100_uploads_are_read_and_then_answered() {
    let mut world = World::new(Existing::Dialect);
    let (id, key) = world.register_1100("Bob");
    let wire = encoded(&key, ClientId([9; 16]), FILE, &pattern(300_000)).0;
    let connection = world.connect();
    let (front, back) = wire.split_at(wire.len() - 1024);
    world.send(connection, front, 100_000);
    assert_eq!(world.replies(connection, Dialect::D1100), [], "not in the middle");
    world.send(connection, back, usize::MAX);
    assert_eq!(world.replies(connection, Dialect::D1100), ERROR);
    let mut wire = Vec::new();
    Request::Upload { encrypted_size: 15, file: FILE }.push(Dialect::D1100, id, &mut wire);
    let connection = world.connect();
    world.send(connection, &wire, usize::MAX);
    assert_eq!(
        world.replies(connection, Dialect::D1100),
        ERROR,
        "an impossible size is answered at once"
    );
}

#[test]
fn empty_files_are_stored_in_both_dialects() {
    let mut world = World::new(Existing::Dialect);
    let peer = world.register_825("Bob");
    let received = world.send_file(&peer, FILE, b"");
    assert!(matches!(received[..], [Reply::FileReceived { checksum: 4_294_967_295, .. }]));
    world.judge(&peer, Verdict::Right, FILE);
    let (id, key) = world.register_1100("Eve");
    let received = world.send_file_1100(id, &key, FILE, b"");
    assert!(matches!(received, Reply::FileReceived { checksum: 312_456, .. }));
    assert_eq!(world.files[&(peer.id, FILE.to_vec())], [b""]);
}

#[test]
fn requests_out_of_turn_change_nothing() {
    let mut world = World::new(Existing::Dialect);
    let connection = world.connect();
    let key = KEY.public_der();
    let early = [
        Request::PublicKey { name: b"Bob", key: &key },
        Request::Verdict { verdict: Verdict::Right, file: FILE },
    ];
    for request in early {
        assert_eq!(world.ask(connection, Dialect::D825, ClientId::NONE, request), ERROR);
    }
    let peer = world.register_825("Bob");
    for request in
        [Request::Register { name: b"Eve" }, Request::Reconnect { name: b"Bob" }, early[0]]
    {
        assert_eq!(world.ask(peer.connection, Dialect::D825, peer.id, request), ERROR);
    }
    world.send_file(&peer, FILE, b"x");
    assert_eq!(world.judge(&peer, Verdict::Right, b"another"), ERROR);
    assert_eq!(world.judge(&peer, Verdict::Right, FILE).len(), 1, "the upload still waits");
    assert_eq!(
        world.judge(&peer, Verdict::GivingUp, FILE),
        ERROR,
        "a published file is not taken back"
    );
    assert_eq!(world.versions(peer.id, FILE), 1);
}

#[test]
fn nobody_speaks_for_another_client() {
    let mut world = World::new(Existing::Dialect);
    let bob = world.register_825("Bob");
    let eve = world.register_825("Eve");
    world.send(eve.connection, &encoded(&eve.key, bob.id, FILE, b"x").0, usize::MAX);
    assert_eq!(world.replies(eve.connection, Dialect::D825), ERROR);
    world.send_file(&bob, FILE, b"x");
    let verdict = Request::Verdict { verdict: Verdict::GivingUp, file: FILE };
    assert_eq!(world.ask(eve.connection, Dialect::D825, bob.id, verdict), ERROR);
    assert_eq!(world.judge(&bob, Verdict::Right, FILE).len(), 1);
}

#[test]
fn what_cannot_be_stored_is_refused_and_can_be_sent_again() {
    let mut world = World::new(Existing::Dialect);
    let peer = world.register_825("Bob");
    world.send_file(&peer, FILE, b"x");
    world.disk_full = true;
    assert_eq!(world.judge(&peer, Verdict::Right, FILE), ERROR);
    world.disk_full = false;
    world.send_file(&peer, FILE, b"x");
    assert_eq!(world.judge(&peer, Verdict::Right, FILE).len(), 1);
    let (id, key) = world.register_1100("Eve");
    world.send_file_1100(id, &key, FILE, b"x");
    world.disk_full = true;
    let right = Request::Verdict { verdict: Verdict::Right, file: FILE };
    assert_eq!(world.ask_1100(id, right), Reply::Error);
    world.disk_full = false;
    world.send_file_1100(id, &key, FILE, b"x");
    assert_eq!(world.ask_1100(id, right), Reply::Acknowledged { id });
}

#[test]
fn a_lost_connection_drops_what_waited_for_its_verdict() {
    let mut world = World::new(Existing::Dialect);
    let peer = world.register_825("Bob");
    world.send_file(&peer, FILE, b"x");
    world.with(peer.connection, |machine, _| machine.lost());
    assert!(!world.is_connected(peer.connection));
    assert_eq!((world.staged(), world.versions(peer.id, FILE)), (0, 0));
}

#[test]
fn a_connection_that_is_lost_while_we_work_is_kept_until_we_are_done() {
    let mut world = World::new(Existing::Dialect);
    let peer = world.register_825("Bob");
    world.send_file(&peer, FILE, b"x");
    world.stalled = Some(Vec::new());
    world.judge(&peer, Verdict::Right, FILE);
    world.with(peer.connection, |machine, _| machine.lost());
    assert!(world.is_connected(peer.connection), "a job is under way");
    for job in world.stalled.take().expect("stalled") {
        let done = world.work(job.work).expect("an answer");
        world.with(job.connection, |machine, cx| machine.complete(cx, done));
    }
    assert!(!world.is_connected(peer.connection));
    assert_eq!(world.versions(peer.id, FILE), 1, "what was being published is published");
}
