//! One connection by either door: any first bytes; or a whole handshake, and then frames in pieces, answers of workers
//! at any time, waits, a drain, a lost connection.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use coffer_protocol::v4::frame::{FRAME_HEADER, FrameHeader};
use coffer_protocol::v4::invitation::Secret;
use coffer_protocol::v4::message::{Answer, Enroll, Hello, Ping, Request};
use coffer_tls::{Identity, peer_pin};
use cofferd::buffer::Pool;
use cofferd::connection::Surroundings;
use cofferd::door::Door;
use cofferd::job::{
    ConnectionId, Done, Enrollment, Failure, Flight, HandshakeFailure, Handshaken, Job, Peer,
    Progress, SecureClient, Usage, Work,
};
use cofferd::moment::Moment;
use cofferd::session::{Classic, Context, Existing, Quotas, Shared};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

use super::bytes::Bytes;

/// Operations in one run.
const OPERATIONS_MAX: usize = 100;

/// Milliseconds that may pass: around every deadline.
const WAITS: [u64; 5] = [1, 201, 10_001, 30_001, 600_001];

static CONFIGS: LazyLock<(Arc<ServerConfig>, Arc<ClientConfig>)> = LazyLock::new(|| {
    let (server, client) = (Identity::generate(), Identity::generate());
    (server.server_config(), client.client_config(server.pin()))
});

struct World {
    shared: Shared,
    pool: Pool,
    now: Moment,
    door: Door,
    jobs: Vec<Job>,
    client: ClientConnection,
    inbox: Vec<u8>,
    is_known: bool,
}

/// The first byte chooses the settings, each operation takes a few more.
pub(crate) fn operations(data: &[u8]) {
    let mut bytes = Bytes(data);
    let settings = bytes.byte();
    let mut world = World::new(settings & 1 != 0);
    if settings & 2 != 0 {
        let first = bytes.0;
        return world.feed(first);
    }
    for _ in 0..OPERATIONS_MAX {
        if bytes.is_empty() || world.door.is_finished() {
            break;
        }
        world.operation(&mut bytes);
    }
    world.work_all();
    world.call(Door::end_of_input);
    world.work_all();
    world.wait(Duration::from_secs(3600));
    let unsent = world.door.outbox().unsent().len();
    world.door.outbox().advance(unsent);
    assert!(world.door.is_finished(), "whoever has closed, and has all answers, is gone");
    world.call(Door::close);
    assert_eq!(world.pool.in_use(), 0, "buffers come back");
    assert_eq!(world.shared.load().connections, 0);
}

impl World {
    fn new(is_known: bool) -> Self {
        let quotas = Quotas {
            connections_per_address: 2,
            registrations_per_minute: Some(2),
            uploads: 2,
            open_files: 1,
        };
        let mut shared = Shared::new(Existing::Dialect, quotas, Classic::Off);
        let peer = SocketAddr::from(([192, 0, 2, 1], 9));
        let refused = shared.admit(peer.ip());
        let client = coffer_tls::connect(Arc::clone(&CONFIGS.1)).expect("our own");
        Self {
            shared,
            pool: Pool::default(),
            now: Moment(0),
            door: Door::new(peer, Moment(0), refused),
            jobs: Vec::new(),
            client,
            inbox: Vec::new(),
            is_known,
        }
    }

    fn operation(&mut self, bytes: &mut Bytes) {
        match bytes.byte() & 15 {
            0..=4 => {
                let mut frame = Vec::new();
                request(bytes).frame(bytes.byte().into(), &mut frame);
                self.say(&frame);
            }
            5 => {
                let count = bytes.below(64);
                self.say(bytes.take(count));
            }
            6 | 7 => self.move_bytes(bytes.one_of(&[usize::MAX, 1, 7, 100])),
            8 | 9 => self.work(bytes.below(2) == 1),
            10 => self.wait(Duration::from_millis(bytes.one_of(&WAITS))),
            11 => self.call(Door::drain),
            12 => self.call(Door::give_way),
            13 => self.door.lost(),
            14 => {
                let count = bytes.below(64);
                self.feed(bytes.take(count));
            }
            _ => self.is_known = !self.is_known,
        }
    }

    fn say(&mut self, plain: &[u8]) {
        // More than its buffer holds is left out.
        let _ = self.client.writer().write(plain);
    }

    fn move_bytes(&mut self, piece: usize) {
        let mut sent = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut sent).expect("memory");
        }
        sent.chunks(piece.min(4096)).for_each(|piece| self.feed(piece));
        let mut answered = self.door.outbox().unsent().to_vec();
        self.door.outbox().advance(answered.len());
        self.take(&mut answered);
    }

    fn feed(&mut self, bytes: &[u8]) {
        while !self.door.wants_input() && !self.jobs.is_empty() {
            self.work(false);
        }
        if self.door.wants_input() {
            let mut buffer = self.pool.take().expect("one connection takes one");
            self.door.prepare(&mut buffer);
            buffer.extend(bytes);
            self.call(|door, cx| door.receive(cx, buffer, bytes.len()));
        }
    }

    /// The client's end. What it is answered can be read.
    fn take(&mut self, records: &mut [u8]) {
        let mut records: &[u8] = records;
        while !records.is_empty() {
            // Bytes that are not the server's own, put in between, may have broken the handshake.
            if self.client.read_tls(&mut records).is_err() {
                return;
            }
            let Ok(state) = self.client.process_new_packets() else { return };
            let at = self.inbox.len();
            self.inbox.resize(at + state.plaintext_bytes_to_read(), 0);
            self.client.reader().read_exact(&mut self.inbox[at..]).expect("there");
            if state.peer_has_closed() {
                break;
            }
        }
        while let Some((header, payload)) = self.inbox.split_first_chunk() {
            let header = FrameHeader::decode(header).expect("a header");
            let Some(payload) = payload.get(..header.length as usize) else { break };
            Answer::decode(header.kind, payload).expect("an answer");
            self.inbox.drain(..FRAME_HEADER + header.length as usize);
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        for _ in 0..3 {
            if self.door.deadline().is_some_and(|deadline| deadline <= self.now) {
                self.call(Door::expire);
            }
        }
    }

    fn call(&mut self, call: impl FnOnce(&mut Door, &mut Surroundings)) {
        let connection = ConnectionId { slot: 0, generation: 1 };
        let session =
            Context { shared: &mut self.shared, jobs: &mut self.jobs, now: self.now, connection };
        call(&mut self.door, &mut Surroundings { session, pool: &mut self.pool });
    }

    fn work_all(&mut self) {
        while !self.jobs.is_empty() {
            self.work(false);
        }
    }

    fn work(&mut self, fails: bool) {
        let Some(job) = (!self.jobs.is_empty()).then(|| self.jobs.remove(0)) else { return };
        let failure = || Failure("as it was chosen".to_owned());
        let client = SecureClient { name: "Bob".to_owned(), enrolled_at: 1, is_revoked: false };
        let done = match job.work {
            Work::Handshake(flight) => Done::Handshake(Box::new(self.handshake(*flight, fails))),
            Work::Enroll { .. } if fails => Done::Enrolled(Err(failure())),
            Work::Enroll { secret, .. } => Done::Enrolled(Ok(match secret.expose()[0] {
                0 => Enrollment::Done { client, already: self.is_known },
                1 => Enrollment::NameTaken,
                2 => Enrollment::KeyTaken,
                _ => Enrollment::BadCode,
            })),
            Work::Usage { .. } if fails => Done::Used(Err(failure())),
            Work::Usage { .. } => Done::Used(Ok(self.is_known.then_some(Usage {
                versions: 1,
                bytes: u64::MAX,
                quota: Some(0),
            }))),
            other => unreachable!("the classic door is off: {other:?}"),
        };
        self.call(|door, cx| door.complete(cx, done));
    }

    fn handshake(&self, flight: Flight, fails: bool) -> Handshaken {
        let mut tls = flight.tls.unwrap_or_else(|| {
            Box::new(ServerConnection::new(Arc::clone(&CONFIGS.0)).expect("our own"))
        });
        let mut records = flight.records.as_slice();
        let mut taken = Ok(());
        while !records.is_empty() && taken.is_ok() {
            taken = match tls.read_tls(&mut records) {
                Err(error) => Err(error.to_string()),
                Ok(_) => tls.process_new_packets().map(drop).map_err(|error| error.to_string()),
            };
        }
        let mut to_send = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut to_send).expect("memory");
        }
        let outcome = match taken {
            Err(error) => Err(HandshakeFailure::Peer(error)),
            Ok(()) if tls.is_handshaking() => Ok(Progress::Incomplete(tls)),
            Ok(()) if fails => Err(HandshakeFailure::Ours(Failure("as chosen".to_owned()))),
            Ok(()) => {
                let pin = peer_pin(&tls).expect("a key");
                let client = self.is_known.then(|| SecureClient {
                    name: "Bob".to_owned(),
                    enrolled_at: 1,
                    is_revoked: false,
                });
                Ok(Progress::Complete(tls, Peer { pin, client, now_ms: 1 }))
            }
        };
        Handshaken { to_send, outcome }
    }
}

fn request(bytes: &mut Bytes) -> Request {
    match bytes.below(5) {
        0 | 1 => Request::Hello(Hello {
            version_min: bytes.byte().into(),
            version_max: bytes.one_of(&[4, 5, 3]),
            software: String::new(),
        }),
        2 => {
            Request::Enroll(Enroll { secret: Secret::new([bytes.byte(); 16]), host: String::new() })
        }
        3 => Request::Ping(Ping { nonce: bytes.u32().into() }),
        _ => Request::Usage,
    }
}
