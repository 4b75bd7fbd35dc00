//! Dialogues through TLS, in memory: a real client's TLS, and workers that are never late.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use coffer_protocol::v4::frame::Kind;
use coffer_protocol::v4::invitation::Secret;
use coffer_protocol::v4::message::{Enroll, Enrolled, ErrorCode, Hello, Ping, Used, Welcome};
use coffer_tls::{Identity, Pin, peer_pin};
use rustls::{ClientConnection, ServerConfig, ServerConnection};

use super::*;
use crate::buffer::Pool;
use crate::job::{ConnectionId, Enrollment, Failure, Flight, Job, Peer, SecureClient, Usage};
use crate::limits::PENALISED_HANDSHAKES_MAX;
use crate::session::{Classic, Existing, Quotas, Shared};

const QUOTAS: Quotas = Quotas {
    connections_per_address: usize::MAX,
    registrations_per_minute: Some(2),
    uploads: usize::MAX,
    open_files: usize::MAX,
};

const PEER: ([u8; 4], u16) = ([192, 0, 2, 1], 9);

/// One connection, both ends of it.
struct World {
    shared: Shared,
    pool: Pool,
    now: Moment,
    server: Arc<ServerConfig>,
    connection: Connection,
    client: ClientConnection,
    /// What the client's end received and did not read yet.
    inbox: Vec<u8>,
    known: HashMap<Pin, SecureClient>,
    /// Jobs are kept here instead of being done, while set.
    stalled: Option<Vec<Work>>,
}

impl World {
    fn new() -> Self {
        Self::with_client(&Identity::generate())
    }

    fn with_client(client: &Identity) -> Self {
        let server = Identity::generate();
        let mut shared = Shared::new(Existing::Dialect, QUOTAS, Classic::Off);
        let peer = SocketAddr::from(PEER);
        assert!(shared.admit(peer.ip()).is_some(), "not through the classic door");
        let config = client.client_config(server.pin());
        let mut client = coffer_tls::connect(config).expect("our own");
        client.set_buffer_limit(None);
        Self {
            shared,
            pool: Pool::default(),
            now: Moment(0),
            server: server.server_config(),
            connection: Connection::new(peer, Moment(0)),
            client,
            inbox: Vec::new(),
            known: HashMap::new(),
            stalled: None,
        }
    }

    /// The same with a key that is somebody's.
    fn enrolled(is_revoked: bool) -> Self {
        let key = Identity::generate();
        let mut world = Self::with_client(&key);
        world.known.insert(key.pin(), client("Bob", is_revoked));
        world
    }

    /// Calls the server's end, and does the jobs that come of it.
    fn call(&mut self, call: impl FnOnce(&mut Connection, &mut Surroundings)) {
        let mut jobs = Vec::new();
        self.lend(&mut jobs, call);
        while let Some(job) = jobs.pop() {
            match &mut self.stalled {
                Some(stalled) => stalled.push(job.work),
                None => {
                    let done = self.work(job.work);
                    self.lend(&mut jobs, |connection, cx| connection.complete(cx, done));
                }
            }
        }
    }

    fn lend(&mut self, jobs: &mut Vec<Job>, call: impl FnOnce(&mut Connection, &mut Surroundings)) {
        let connection = ConnectionId { slot: 0, generation: 1 };
        let session = Context { shared: &mut self.shared, jobs, now: self.now, connection };
        call(&mut self.connection, &mut Surroundings { session, pool: &mut self.pool });
    }

    fn work(&mut self, work: Work) -> Done {
        match work {
            Work::Handshake(flight) => Done::Handshake(Box::new(self.handshake(*flight))),
            Work::Enroll { secret, pin } if secret == Secret::new([7; 16]) => {
                let already = self.known.insert(pin, client("Eve", false)).is_some();
                let client = client("Eve", false);
                Done::Enrolled(Ok(Enrollment::Done { client, already }))
            }
            Work::Enroll { .. } => Done::Enrolled(Ok(Enrollment::BadCode)),
            Work::Usage { pin } => {
                let usage = Usage { versions: 3, bytes: 4096, quota: None };
                Done::Used(Ok(self.known.contains_key(&pin).then_some(usage)))
            }
            other => panic!("nobody asks for {other:?} here"),
        }
    }

    fn handshake(&self, flight: Flight) -> Handshaken {
        let mut tls = flight.tls.unwrap_or_else(|| {
            Box::new(ServerConnection::new(Arc::clone(&self.server)).expect("our own"))
        });
        let mut records = flight.records.as_slice();
        let mut outcome = Ok(());
        while !records.is_empty() && outcome.is_ok() {
            tls.read_tls(&mut records).expect("memory");
            outcome = tls.process_new_packets().map(drop);
        }
        let mut to_send = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut to_send).expect("memory");
        }
        let outcome = match outcome {
            Err(error) => Err(HandshakeFailure::Peer(error.to_string())),
            Ok(()) if tls.is_handshaking() => Ok(Progress::Incomplete(tls)),
            Ok(()) => {
                let pin = peer_pin(&tls).expect("a key");
                let client = self.known.get(&pin).cloned();
                Ok(Progress::Complete(tls, Peer { pin, client, now_ms: 1_000_000 }))
            }
        };
        Handshaken { to_send, outcome }
    }

    /// Takes bytes from the client's end to the server's, at most `piece` at a time, and back, until there are none.
    fn move_bytes(&mut self, piece: usize) {
        loop {
            let mut sent = Vec::new();
            while self.client.wants_write() {
                self.client.write_tls(&mut sent).expect("memory");
            }
            for piece in sent.chunks(piece) {
                self.receive(piece);
            }
            let mut answered = self.connection.outbox().unsent().to_vec();
            self.connection.outbox().advance(answered.len());
            if sent.is_empty() && answered.is_empty() {
                break;
            }
            self.take(&mut answered);
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        assert!(self.connection.wants_input(), "reading is not paused");
        let buffer = Buffer::copy_of(bytes);
        self.call(|connection, cx| connection.receive(cx, buffer));
    }

    /// The client's end takes records.
    fn take(&mut self, records: &mut [u8]) {
        let mut records: &[u8] = records;
        while !records.is_empty() {
            self.client.read_tls(&mut records).expect("memory");
            let state = self.client.process_new_packets().expect("TLS");
            let mut plain = vec![0; state.plaintext_bytes_to_read()];
            self.client.reader().read_exact(&mut plain).expect("there");
            self.inbox.extend(plain);
            if state.peer_has_closed() {
                return;
            }
        }
    }

    fn send(&mut self, requests: &[Request]) {
        let mut frames = Vec::new();
        for (stream, request) in (1..).zip(requests) {
            request.frame(stream, &mut frames);
        }
        self.send_bytes(&frames);
    }

    fn send_bytes(&mut self, bytes: &[u8]) {
        self.client.writer().write_all(bytes).expect("room");
    }

    /// The answers that have come, with their streams.
    fn answers(&mut self) -> Vec<(u32, Answer)> {
        let mut answers = Vec::new();
        let mut rest = self.inbox.as_slice();
        while let Some((header, payload)) = rest.split_first_chunk() {
            let header = FrameHeader::decode(header).expect("a header");
            let (payload, next) = payload.split_at(header.length as usize);
            answers.push((header.stream, Answer::decode(header.kind, payload).expect("an answer")));
            rest = next;
        }
        self.inbox.clear();
        answers
    }

    /// Sends, and takes the answers.
    fn ask(&mut self, requests: &[Request]) -> Vec<(u32, Answer)> {
        self.send(requests);
        self.move_bytes(usize::MAX);
        self.answers()
    }

    fn is_over(&mut self) -> bool {
        self.call(Connection::end_of_input);
        self.connection.is_finished()
    }
}

fn client(name: &str, is_revoked: bool) -> SecureClient {
    SecureClient { name: name.to_owned(), enrolled_at: 5, is_revoked }
}

fn hello() -> Request {
    Request::Hello(Hello { version_min: 4, version_max: 9, software: "a test".to_owned() })
}

fn ping(nonce: u64) -> Request {
    Request::Ping(Ping { nonce })
}

fn enroll(secret: u8) -> Request {
    Request::Enroll(Enroll { secret: Secret::new([secret; 16]), host: "here".to_owned() })
}

/// The code of the only answer, which is an error on this stream.
fn error(answers: &[(u32, Answer)], stream: u32) -> ErrorCode {
    match answers {
        [(at, Answer::Error(error))] if *at == stream => error.code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_handshake_may_come_in_any_pieces() {
    for piece in [1, 2, 5, 6, 100, usize::MAX] {
        let mut world = World::enrolled(false);
        world.send(&[hello()]);
        world.move_bytes(piece);
        let answers = world.answers();
        let [(1, Answer::Welcome(welcome))] = answers.as_slice() else { panic!("{answers:?}") };
        assert_eq!((welcome.version, welcome.server_time_ms), (4, 1_000_000));
        let client = welcome.client.as_ref().expect("known");
        assert_eq!((client.name.as_str(), client.enrolled_at_ms), ("Bob", 5));
        assert!(world.is_over());
    }
}

#[test]
fn an_unknown_key_can_only_enroll() {
    let mut world = World::new();
    let answers = world.ask(&[hello()]);
    assert!(matches!(&answers[..], [(1, Answer::Welcome(Welcome { client: None, .. }))]));
    assert_eq!(error(&world.ask(&[Request::Usage]), 1), ErrorCode::NotEnrolled);
    let answers = world.ask(&[enroll(7)]);
    let enrolled = Enrolled { name: "Eve".to_owned(), already: false };
    assert_eq!(answers, [(1, Answer::Enrolled(enrolled.clone()))]);
    let answers = world.ask(&[enroll(7), Request::Usage]);
    let again = Enrolled { already: true, ..enrolled };
    let used = Used { versions: 3, bytes: 4096, quota_bytes: None };
    assert_eq!(answers, [(1, Answer::Enrolled(again)), (2, Answer::Used(used))]);
}

#[test]
fn a_bad_code_ends_the_connection() {
    let mut world = World::new();
    world.ask(&[hello()]);
    assert_eq!(error(&world.ask(&[enroll(8)]), 1), ErrorCode::BadCode);
    assert!(world.connection.ends_output());
    assert!(world.is_over());
}

#[test]
fn enrolling_is_limited_by_address() {
    let mut world = World::new();
    world.ask(&[hello()]);
    assert_eq!(world.ask(&[enroll(7), enroll(7)]).len(), 2);
    let answers = world.ask(&[enroll(7)]);
    assert_eq!(error(&answers, 1), ErrorCode::TooMany);
}

#[test]
fn a_revoked_key_is_told_so() {
    let mut world = World::enrolled(true);
    assert_eq!(error(&world.ask(&[hello()]), 1), ErrorCode::Revoked);
    assert!(world.is_over());
}

#[test]
fn a_key_that_is_revoked_meanwhile_is_cut_off_at_its_next_request() {
    let mut world = World::enrolled(false);
    world.ask(&[hello()]);
    world.known.clear();
    assert_eq!(error(&world.ask(&[Request::Usage]), 1), ErrorCode::Revoked);
    assert!(world.is_over());
}

#[test]
fn hello_comes_first_and_once() {
    let mut world = World::enrolled(false);
    assert_eq!(error(&world.ask(&[ping(1)]), 1), ErrorCode::BadRequest);
    let mut world = World::enrolled(false);
    world.ask(&[hello()]);
    assert_eq!(error(&world.ask(&[hello()]), 1), ErrorCode::BadRequest);
}

#[test]
fn another_version_is_refused() {
    for (version_min, version_max) in [(1, 3), (5, 9), (9, 1)] {
        let mut world = World::enrolled(false);
        let software = String::new();
        let other = Request::Hello(Hello { version_min, version_max, software });
        assert_eq!(error(&world.ask(&[other]), 1), ErrorCode::UnsupportedVersion);
    }
}

#[test]
fn reading_pauses_while_an_answer_is_awaited_and_the_order_stays() {
    let mut world = World::enrolled(false);
    world.ask(&[hello()]);
    world.stalled = Some(Vec::new());
    assert_eq!(world.ask(&[Request::Usage, ping(1), ping(2)]), []);
    assert!(!world.connection.wants_input());
    assert_eq!(world.connection.deadline(), None, "it is our turn");
    let work = world.stalled.take().expect("stalled").pop().expect("asked");
    let done = world.work(work);
    world.call(|connection, cx| connection.complete(cx, done));
    world.move_bytes(usize::MAX);
    let streams: Vec<u32> = world.answers().iter().map(|(stream, _)| *stream).collect();
    assert_eq!(streams, [1, 2, 3]);
    assert!(world.connection.wants_input());
}

#[test]
fn a_failure_of_ours_is_told_without_its_reason_and_the_connection_goes_on() {
    let mut world = World::enrolled(false);
    world.ask(&[hello()]);
    world.stalled = Some(Vec::new());
    world.ask(&[Request::Usage]);
    world.stalled = None;
    let done = Done::Used(Err(Failure("secret path".to_owned())));
    world.call(|connection, cx| connection.complete(cx, done));
    world.move_bytes(usize::MAX);
    let answers = world.answers();
    assert_eq!(error(&answers, 1), ErrorCode::Internal);
    assert!(!format!("{answers:?}").contains("secret"));
    assert_eq!(world.ask(&[ping(4)]).len(), 1);
}

#[test]
fn frames_that_are_none_are_refused() {
    let usage = FrameHeader { length: 0, kind: Kind::Usage, stream: 1 }.encode();
    let mut flags = usage;
    flags[6] = 1;
    let mut unknown = usage;
    unknown[4] = 200;
    let long = FrameHeader { length: CONTROL_MAX as u32 + 1, kind: Kind::Ping, stream: 1 }.encode();
    let answer = FrameHeader { length: 0, kind: Kind::Pong, stream: 1 }.encode();
    for bytes in [flags, unknown, long, usage, answer] {
        let mut world = World::enrolled(false);
        world.ask(&[hello()]);
        world.send_bytes(&bytes);
        world.move_bytes(usize::MAX);
        assert_eq!(error(&world.answers(), 0), ErrorCode::BadRequest, "{bytes:?}");
        assert!(world.is_over());
    }
}

#[test]
fn who_sends_far_ahead_of_answers_is_cut_off() {
    let mut world = World::enrolled(false);
    world.ask(&[hello()]);
    world.stalled = Some(Vec::new());
    let pings: Vec<Request> = (0..5000).map(ping).collect();
    world.send(&[Request::Usage]);
    world.send(&pings);
    world.move_bytes(usize::MAX);
    assert_eq!(error(&world.answers(), 0), ErrorCode::BadRequest);
    assert!(world.is_over());
}

#[test]
fn what_is_no_tls_ends_the_handshake_and_the_connection() {
    let mut world = World::new();
    world.receive(&[22, 3, 1, 0, 4, 1, 0, 0, 0]);
    assert_eq!(world.connection.outbox().unsent().first(), Some(&21), "an alert");
    assert!(world.is_over() || !world.connection.outbox().is_empty());

    let mut world = World::enrolled(false);
    world.ask(&[hello()]);
    world.receive(&[23, 3, 3, 0, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert!(world.connection.ends_output(), "a record that nobody sealed");
}

#[test]
fn slow_peers_are_told_and_cut_off() {
    let mut silent = World::new();
    assert_eq!(silent.connection.deadline(), Some(Moment(0) + FIRST_REQUEST_MAX));
    silent.now = Moment(0) + FIRST_REQUEST_MAX;
    silent.call(Connection::expire);
    assert!(silent.is_over());

    let mut mute = World::enrolled(false);
    mute.move_bytes(usize::MAX);
    assert_eq!(mute.connection.deadline(), Some(Moment(0) + FIRST_REQUEST_MAX));
    mute.now = Moment(0) + FIRST_REQUEST_MAX;
    mute.call(Connection::expire);
    mute.move_bytes(usize::MAX);
    assert_eq!(error(&mute.answers(), 0), ErrorCode::TooSlow);

    let mut slow = World::enrolled(false);
    slow.ask(&[hello()]);
    assert_eq!(slow.connection.deadline(), Some(Moment(0) + IDLE_MAX));
    slow.now = Moment(0) + Duration::from_secs(1);
    slow.send_bytes(&[0; 5]);
    slow.move_bytes(usize::MAX);
    assert_eq!(slow.connection.deadline(), Some(slow.now + PROGRESS_INTERVAL));
    slow.now = slow.now + PROGRESS_INTERVAL;
    slow.call(Connection::expire);
    slow.move_bytes(usize::MAX);
    assert_eq!(error(&slow.answers(), 0), ErrorCode::TooSlow);
    assert!(slow.is_over());
}

#[test]
fn a_stopping_server_says_so() {
    let mut world = World::enrolled(false);
    world.ask(&[hello()]);
    world.call(Connection::drain);
    world.move_bytes(usize::MAX);
    assert_eq!(error(&world.answers(), 0), ErrorCode::ShuttingDown);
    assert!(world.is_over());
}

#[test]
fn strangers_give_way_and_clients_do_not() {
    let mut stranger = World::new();
    stranger.ask(&[hello()]);
    stranger.call(Connection::give_way);
    stranger.move_bytes(usize::MAX);
    assert_eq!(error(&stranger.answers(), 0), ErrorCode::TooMany);

    let mut client = World::enrolled(false);
    client.ask(&[hello()]);
    client.call(Connection::give_way);
    assert_eq!(client.ask(&[ping(1)]).len(), 1);
}

#[test]
fn a_source_that_misbehaves_shares_few_turns_and_gets_its_turn_all_the_same() {
    let mut world = World::enrolled(false);
    let peer = SocketAddr::from(PEER).ip();
    for _ in 0..10 {
        world.shared.penalties.penalise(peer, Offence::BadCode, world.now);
    }
    let turns: Vec<Turn> =
        std::iter::from_fn(|| world.shared.penalties.begin_handshake(peer, world.now)).collect();
    assert_eq!(world.ask(&[hello()]), [], "all turns are taken");
    assert_eq!(world.connection.deadline(), Some(world.now + PENALISED_RETRY));
    turns.into_iter().for_each(|turn| world.shared.penalties.end_handshake(turn));
    world.now = world.now + PENALISED_RETRY;
    world.call(Connection::expire);
    world.move_bytes(usize::MAX);
    assert!(matches!(&world.answers()[..], [(1, Answer::Welcome(_))]));
    let again = std::iter::from_fn(|| world.shared.penalties.begin_handshake(peer, world.now));
    assert_eq!(again.count(), PENALISED_HANDSHAKES_MAX, "turns were given back");
}

#[test]
fn only_who_does_not_finish_a_handshake_is_penalised_and_not_who_gives_way() {
    let turns = |call: fn(&mut Connection, &mut Surroundings)| {
        let mut world = World::new();
        world.now = Moment(0) + FIRST_REQUEST_MAX;
        let peer = SocketAddr::from(PEER).ip();
        // One second short of being penalised.
        for offence in [[Offence::BadCode; 2].as_slice(), &[Offence::Handshake; 4]].concat() {
            world.shared.penalties.penalise(peer, offence, world.now);
        }
        world.call(call);
        assert!(world.connection.ends_output());
        let begin = |_| world.shared.penalties.begin_handshake(peer, world.now);
        (0..=PENALISED_HANDSHAKES_MAX).filter_map(begin).count()
    };
    assert_eq!(turns(Connection::give_way), PENALISED_HANDSHAKES_MAX + 1);
    assert_eq!(turns(Connection::expire), PENALISED_HANDSHAKES_MAX);
}
