//! Bytes in whatever pieces: the same requests come out, and no bytes do harm.

use coffer_protocol::reply::Reply;
use coffer_protocol::request::{FILE_PACKET, Request, Verdict};
use coffer_protocol::{ClientId, Dialect};
use proptest::prelude::*;

use super::world::{Peer, World, encoded, pattern};
use crate::limits::{
    CONTENT_JOBS_MAX, LEFTOVER_MAX, PACKETS_AHEAD_MAX, PROGRESS_BYTES, PROGRESS_INTERVAL,
};
use crate::session::Existing;

const FILE: &[u8] = b"f";

/// Sends the packets of a file in another order or number, and returns the answer.
fn send_packets(
    world: &mut World,
    peer: &Peer,
    content: &[u8],
    order: impl IntoIterator<Item = usize>,
) -> Vec<Reply> {
    let wire = encoded(&peer.key, peer.id, FILE, content).0;
    let packets: Vec<&[u8]> = wire.chunks(FILE_PACKET).collect();
    let bytes: Vec<u8> = order.into_iter().flat_map(|number| packets[number]).copied().collect();
    world.send(peer.connection, &bytes, 100_000);
    world.replies(peer.connection, Dialect::D825)
}

fn is_right(world: &mut World, peer: &Peer, replies: &[Reply], content: &[u8]) -> bool {
    let checksum = encoded(&peer.key, peer.id, FILE, content).1;
    let sums: Vec<u32> = replies
        .iter()
        .filter_map(|reply| match reply {
            Reply::FileReceived { checksum, .. } => Some(*checksum),
            _ => None,
        })
        .collect();
    world.judge(peer, Verdict::Right, FILE);
    sums == [checksum]
        && world.files[&(peer.id, FILE.to_vec())].last().is_some_and(|stored| stored == content)
}

#[test]
fn packets_may_come_in_another_order_and_more_than_once() {
    let mut world = World::new(Existing::Dialect);
    let peer = world.register_825("Bob");
    let content = pattern(40 * 1024);
    let count = 41;
    let orders: [Vec<usize>; 5] = [
        (0..count).rev().collect(),
        (0..count).flat_map(|number| [number, number]).collect(),
        (0..count).flat_map(|number| [number, number / 2]).collect(),
        (1..count).chain([0]).collect(),
        (0..count).map(|number| number * 7 % count).collect(),
    ];
    for order in orders {
        let replies = send_packets(&mut world, &peer, &content, order.clone());
        assert!(is_right(&mut world, &peer, &replies, &content), "{order:?}: {replies:?}");
    }
}

#[test]
fn sixty_four_packets_ahead_are_held_and_one_more_is_refused() {
    let mut world = World::new(Existing::Dialect);
    let peer = world.register_825("Bob");
    let content = pattern(100 * 1024);
    let fits = (1..=PACKETS_AHEAD_MAX).chain([0]).chain(PACKETS_AHEAD_MAX + 1..101);
    let replies = send_packets(&mut world, &peer, &content, fits);
    assert!(is_right(&mut world, &peer, &replies, &content), "{replies:?}");
    let too_far = (1..101).chain([0]);
    assert_eq!(send_packets(&mut world, &peer, &content, too_far)[0], Reply::Error);
    assert_eq!(world.staged(), 1, "the last packet, number 0, began anew");
    let replies = send_packets(&mut world, &peer, &content, 1..101);
    assert!(
        is_right(&mut world, &peer, &replies, &content),
        "and the session goes on: {replies:?}"
    );
}

#[test]
fn packets_that_make_no_sense_are_answered_once_an_upload() {
    let mut world = World::new(Existing::Dialect);
    let peer = world.register_825("Bob");
    let wire = encoded(&peer.key, peer.id, FILE, &pattern(5000)).0;
    for (at, value) in [(31, 0xff), (33, 0), (23, 1), (27, 0)] {
        let mut bad = wire.clone();
        bad.chunks_mut(FILE_PACKET).for_each(|packet| packet[at] = value);
        world.send(peer.connection, &bad, usize::MAX);
        let replies = world.replies(peer.connection, Dialect::D825);
        assert_eq!(replies, [Reply::Error], "byte {at} = {value}");
    }
    world.send(peer.connection, &wire, usize::MAX);
    let replies = world.replies(peer.connection, Dialect::D825);
    assert!(is_right(&mut world, &peer, &replies, &pattern(5000)));
}

#[test]
fn another_file_in_the_middle_of_one_begins_anew() {
    let mut world = World::new(Existing::Dialect);
    let peer = world.register_825("Bob");
    let other = encoded(&peer.key, peer.id, b"other", &pattern(5000)).0;
    world.send(peer.connection, &other[..2 * FILE_PACKET], usize::MAX);
    let replies = world.send_file(&peer, FILE, b"x");
    assert!(is_right(&mut world, &peer, &replies, b"x"));
    assert_eq!(world.staged(), 0);
}

#[test]
fn nonsense_is_answered_and_hung_up_on() {
    let cases: [(&[u8], Reply); 2] =
        [(&[0xff; 23], Reply::Error), (b"GET / HTTP/1.1\r\nHost: localhost\r\n", Reply::Error)];
    for (bytes, reply) in cases {
        let mut world = World::new(Existing::Dialect);
        let connection = world.connect();
        world.send(connection, bytes, usize::MAX);
        assert_eq!(world.replies(connection, Dialect::D825), [reply]);
        assert!(world.connection(connection).ends_output());
        world.with(connection, super::super::Connection::end_of_input);
        assert!(!world.is_connected(connection));
    }
}

#[test]
fn a_header_that_announces_too_much_is_not_waited_for() {
    let mut world = World::new(Existing::Dialect);
    let peer = world.register_825("Bob");
    let mut header = peer.id.0.to_vec();
    header.extend([3, 0x3c, 0x03, 0xff, 0xff, 0xff, 0xff]);
    world.send(peer.connection, &header, usize::MAX);
    assert_eq!(world.replies(peer.connection, Dialect::D825), [Reply::Error]);
    assert!(world.connection(peer.connection).ends_output());
}

#[test]
fn a_request_of_the_wrong_length_is_skipped() {
    let mut world = World::new(Existing::Dialect);
    let peer = world.register_825("Bob");
    let mut request = peer.id.0.to_vec();
    request.extend([3, 0x3c, 0x03, 5, 0, 0, 0, 1, 2, 3, 4, 5]);
    world.send(peer.connection, &request, 3);
    assert_eq!(world.replies(peer.connection, Dialect::D825), [Reply::Error]);
    assert!(matches!(world.send_file(&peer, FILE, b"x")[..], [Reply::FileReceived { .. }]));
}

#[test]
fn an_unpadded_d1100_request_is_whole() {
    let mut world = World::new(Existing::Dialect);
    let mut bytes = Vec::new();
    Request::Register { name: b"Bob" }.push(Dialect::D1100, ClientId::NONE, &mut bytes);
    let connection = world.connect();
    world.send(connection, &bytes[..278], 10);
    assert!(matches!(world.replies(connection, Dialect::D1100)[..], [Reply::Registered { .. }]));
    world.send(connection, &bytes[278..], 10);
    assert_eq!(
        world.replies(connection, Dialect::D1100),
        [],
        "what is left of its packet is skipped"
    );
}

#[test]
fn a_trickle_is_caught_and_a_slow_sender_is_not() {
    let mut world = World::new(Existing::Dialect);
    let slow = world.register_825("slow");
    let trickle = world.register_825("trickle");
    let wire = encoded(&slow.key, slow.id, FILE, &pattern(100_000)).0;
    let others = encoded(&trickle.key, trickle.id, FILE, &pattern(100_000)).0;
    let enough = PROGRESS_BYTES as usize;
    for round in 0..4 {
        world.send(slow.connection, &wire[round * enough..(round + 1) * enough], usize::MAX);
        world.send(trickle.connection, &others[round..round + 1], usize::MAX);
        world.wait(PROGRESS_INTERVAL * 9 / 10);
        if !world.is_connected(trickle.connection)
            || world.connection(trickle.connection).ends_output()
        {
            assert_eq!(world.replies(trickle.connection, Dialect::D825), [Reply::Error]);
            break;
        }
    }
    assert!(
        !world.is_connected(trickle.connection)
            || world.connection(trickle.connection).ends_output()
    );
    assert!(world.connection(slow.connection).wants_input());
}

#[test]
fn bytes_are_not_read_while_we_owe_an_answer() {
    let mut world = World::new(Existing::Dialect);
    let peer = world.register_825("Bob");
    world.stalled = Some(Vec::new());
    let wire = encoded(&peer.key, peer.id, FILE, &pattern(5000)).0;
    world.send(peer.connection, &wire, usize::MAX);
    assert!(!world.connection(peer.connection).wants_input());
}

#[test]
fn a_client_that_half_closes_is_still_answered() {
    let mut world = World::new(Existing::Dialect);
    let peer = world.register_825("Bob");
    world.stalled = Some(Vec::new());
    let mut wire = encoded(&peer.key, peer.id, FILE, b"x").0;
    Request::Verdict { verdict: Verdict::Right, file: FILE }.push(
        Dialect::D825,
        peer.id,
        &mut wire,
    );
    world.send(peer.connection, &wire, usize::MAX);
    world.with(peer.connection, super::super::Connection::end_of_input);
    let jobs = world.stalled.take().expect("stalled");
    for job in jobs {
        if let Some(done) = world.work(job.work) {
            world.with(job.connection, |machine, cx| machine.complete(cx, done));
        }
    }
    assert_eq!(world.replies(peer.connection, Dialect::D825).len(), 2);
    assert_eq!(world.versions(peer.id, FILE), 1);
}

/// A whole d825 conversation that can be sent without looking at the answers, pipelined.
fn conversation(peer: &Peer, content: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    for verdict in [Verdict::SendingAgain, Verdict::Right] {
        wire.extend(encoded(&peer.key, peer.id, FILE, content).0);
        Request::Verdict { verdict, file: FILE }.push(Dialect::D825, peer.id, &mut wire);
    }
    wire
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_split_of_the_bytes_gives_the_same_answers(
        length in prop_oneof![0usize..4000, 200_000usize..600_000],
        steps in proptest::collection::vec(prop_oneof![1usize..50, 500usize..3000, 10_000usize..200_000], 1..20),
    ) {
        let mut world = World::new(Existing::Dialect);
        let peer = world.register_825("Bob");
        let content = pattern(length);
        let wire = conversation(&peer, &content);
        let (mut at, mut turn) = (0, 0);
        let tiny = steps.iter().all(|step| *step < 500);
        while at < wire.len() {
            let step = if tiny { steps[turn % steps.len()] * 400 } else { steps[turn % steps.len()] };
            let end = wire.len().min(at + step);
            world.send(peer.connection, &wire[at..end], 250_000);
            (at, turn) = (end, turn + 1);
        }
        let replies = world.replies(peer.connection, Dialect::D825);
        prop_assert_eq!(replies.len(), 3, "{:?}", replies);
        prop_assert_eq!(&world.files[&(peer.id, FILE.to_vec())], &[content]);
        prop_assert_eq!(world.staged(), 0);
    }

    #[test]
    fn any_split_of_a_d1100_upload_gives_the_same_answer(length in 0usize..300_000, step in 1usize..200_000) {
        let mut world = World::new(Existing::Dialect);
        let (id, key) = world.register_1100("Bob");
        let content = pattern(length);
        let (wire, checksum) = encoded(&key, id, FILE, &content);
        let connection = world.connect();
        world.send(connection, &wire, step.max(length / 500));
        let replies = world.replies(connection, Dialect::D1100);
        let [Reply::FileReceived { checksum: answered, .. }] = &replies[..] else {
            panic!("{replies:?}");
        };
        prop_assert_eq!(*answered, checksum);
    }

    #[test]
    fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..5000), code in prop_oneof![825u16..829, 900u16..903, 1100u16..1107], step in 1usize..2000) {
        let mut world = World::new(Existing::Dialect);
        let mut wire = vec![7; 16];
        wire.push(3);
        wire.extend(code.to_le_bytes());
        wire.extend(((bytes.len() % 1400) as u32).to_le_bytes());
        wire.extend(bytes);
        let connection = world.connect();
        for read in wire.chunks(step) {
            if world.is_connected(connection) && world.connection(connection).wants_input() {
                world.send(connection, read, usize::MAX);
                let unread = world.connection(connection).outbox().unsent().len();
                prop_assert!(unread <= crate::limits::OUTBOX_MAX + 1024);
            }
        }
        if world.is_connected(connection) {
            world.with(connection, |machine, _| machine.lost());
        }
        prop_assert_eq!(world.staged(), 0);
        prop_assert!(world.pool.take().is_some() && LEFTOVER_MAX > 0);
    }
}

#[test]
fn uploads_cannot_be_begun_faster_than_they_are_taken() {
    let mut world = World::new(Existing::Dialect);
    let peer = world.register_825("Bob");
    world.stalled = Some(Vec::new());
    // Packets that are not the first, each of another file: every one begins an upload and ends the one before.
    let mut bytes = Vec::new();
    for number in 0..100 {
        let name = format!("file {number}").into_bytes();
        let wire = encoded(&peer.key, peer.id, &name, &pattern(3000)).0;
        bytes.extend(&wire[..FILE_PACKET]);
    }
    world.send(peer.connection, &bytes, usize::MAX);
    let jobs = world.stalled.as_ref().map_or(0, Vec::len);
    assert!(jobs <= 3 * CONTENT_JOBS_MAX, "{jobs} jobs");
    assert!(!world.connection(peer.connection).wants_input());
}
