//! What time and numbers do to a session: deadlines, and the bounds on what a peer may have under way.

use std::time::Duration;

use coffer_protocol::reply::Reply;
use coffer_protocol::request::Request;
use coffer_protocol::{ClientId, Dialect};

use super::super::Connection;
use super::world::{Peer, World, encoded, pattern, unwrap};
use crate::limits::{IDLE_MAX, VERDICT_MAX};
use crate::session::{Existing, Quotas};

const ERROR: [Reply; 1] = [Reply::Error];
const FILE: &[u8] = b"docs/a.txt";

#[test]
fn silence_has_its_deadlines() {
    let mut world = World::new(Existing::Dialect);
    let peer = world.register_825("Bob");
    world.send_file(&peer, FILE, b"x");
    world.wait(VERDICT_MAX - Duration::from_millis(1));
    assert_eq!(world.replies(peer.connection, Dialect::D825), []);
    world.wait(Duration::from_millis(1));
    assert_eq!(world.replies(peer.connection, Dialect::D825), ERROR, "told before it is closed");
    world.wait(IDLE_MAX);
    assert!(!world.is_connected(peer.connection));
    assert_eq!(world.staged(), 0);
}

#[test]
fn over_a_limit_a_peer_is_told_and_others_do_not_notice() {
    let quotas = Quotas {
        connections_per_address: 2,
        registrations_per_minute: Some(2),
        uploads: 1,
        open_files: 1,
    };
    let mut world = World::limited(Existing::Dialect, quotas);
    let bob = world.register_825("Bob");
    let eve = world.register_825("Eve");
    let register = Request::Register { name: b"Dan" };
    let third = world.connect();
    assert_eq!(
        world.ask(third, Dialect::D825, ClientId::NONE, register),
        ERROR,
        "a third connection"
    );
    for peer in [third, eve.connection] {
        world.with(peer, |machine, _| machine.lost());
    }
    let third = world.connect();
    let answer = world.ask(third, Dialect::D825, ClientId::NONE, register);
    assert_eq!(answer, [Reply::RegistrationRefused], "a third registration in a minute");
    let reconnected = world.ask(third, Dialect::D825, eve.id, Request::Reconnect { name: b"Eve" });
    let [Reply::Reconnected { wrapped, .. }] = &reconnected[..] else { panic!("{reconnected:?}") };
    let eve = Peer { connection: third, id: eve.id, key: unwrap(Dialect::D825, wrapped) };
    let half = encoded(&bob.key, bob.id, FILE, &pattern(5000)).0;
    world.send(bob.connection, &half[..2000], usize::MAX);
    assert_eq!(world.send_file(&eve, FILE, b"x"), ERROR, "a second upload at the same time");
    world.send(bob.connection, &half[2000..], usize::MAX);
    assert!(matches!(
        world.replies(bob.connection, Dialect::D825)[..],
        [Reply::FileReceived { .. }]
    ));
    assert_eq!(world.send_file(&eve, FILE, b"x").len(), 1, "now it may");
}

#[test]
fn who_has_not_said_who_they_are_gives_way() {
    let mut world = World::new(Existing::Dialect);
    let silent = world.connect();
    let bob = world.register_825("Bob");
    for peer in [silent, bob.connection] {
        world.with(peer, Connection::give_way);
    }
    assert_eq!(world.replies(silent, Dialect::D825), ERROR);
    assert!(
        world.connection(silent).ends_output() && !world.connection(bob.connection).ends_output()
    );
}
