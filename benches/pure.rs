//! What the pure parts cost: framing, decoding, names, checksums, ciphers, keys, and a whole session without IO.

use std::hint::black_box;
use std::sync::Arc;

use coffer_protocol::checksum::{Cksum, Sums};
use coffer_protocol::cipher::{Decryptor, SessionKey};
use coffer_protocol::decode::{Decoder, Finished, Sizes};
use coffer_protocol::encode::Encoder;
use coffer_protocol::key::{PrivateKey, PublicKey};
use coffer_protocol::request::{Request, Verdict};
use coffer_protocol::{ClientId, Dialect};
use cofferd::buffer::Pool;
use cofferd::connection::{Connection, Surroundings};
use cofferd::job::{ConnectionId, Done, Job, KnownClient, Lookup, Work, WrappedKey};
use cofferd::moment::Moment;
use cofferd::session::{Classic, Context, Existing, Quotas, Shared};
use cofferd::storage::view_name;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const PIECE: usize = 256 << 10;
const ID: ClientId = ClientId([7; 16]);

const UNLIMITED: Quotas = Quotas {
    connections_per_address: usize::MAX,
    registrations_per_minute: None,
    uploads: usize::MAX,
    open_files: usize::MAX,
};

fn key(dialect: Dialect) -> SessionKey {
    SessionKey::from_bytes(dialect, &vec![9; dialect.key_len()]).expect("the dialect's length")
}

fn wire(dialect: Dialect, length: usize) -> (Vec<u8>, u32) {
    let mut encoder =
        Encoder::new(&key(dialect), ID, b"file", length as u64).expect("small enough");
    let mut wire = Vec::new();
    encoder.push_head(&mut wire);
    encoder.push(&vec![5; length], &mut wire);
    encoder.finish(&mut wire);
    (wire, encoder.encrypted_size())
}

fn checksums(c: &mut Criterion) {
    let bytes = vec![3; PIECE];
    let mut group = c.benchmark_group("checksum");
    group.throughput(Throughput::Bytes(PIECE as u64));
    group.bench_function("cksum, crc-fast", |b| {
        b.iter(|| {
            let mut cksum = Cksum::new();
            cksum.update(black_box(&bytes));
            cksum.value()
        });
    });
    let slow = crc::Crc::<u32>::new(&crc::CRC_32_CKSUM);
    group.bench_function("cksum, crc", |b| b.iter(|| slow.checksum(black_box(&bytes))));
    group.bench_function("MD5 and cksum", |b| {
        b.iter(|| {
            let mut sums = Sums::new(Dialect::D1100);
            sums.update(black_box(&bytes));
            sums.on_the_wire()
        });
    });
    group.finish();
}

fn ciphers(c: &mut Criterion) {
    let mut group = c.benchmark_group("decrypt in place");
    group.throughput(Throughput::Bytes(PIECE as u64));
    for dialect in [Dialect::D825, Dialect::D1100] {
        let mut decryptor = Decryptor::new(&key(dialect));
        let mut bytes = vec![1; PIECE];
        group.bench_function(dialect.to_string(), |b| {
            b.iter(|| decryptor.decrypt(black_box(&mut bytes)))
        });
    }
    group.finish();
    let mut group = c.benchmark_group("decode a file");
    group.throughput(Throughput::Bytes(PIECE as u64));
    for dialect in [Dialect::D825, Dialect::D1100] {
        let size = PIECE as u32;
        let sizes = match dialect {
            Dialect::D825 => Sizes::d825(size, size - 1, (size / 1024) as u16),
            Dialect::D1100 => Sizes::d1100(size),
        };
        let (key, sizes) = (key(dialect), sizes.expect("possible"));
        group.bench_function(dialect.to_string(), |b| {
            b.iter_batched_ref(
                || (Decoder::new(&key, sizes), vec![1; PIECE]),
                |(decoder, bytes)| decoder.decrypt(bytes).len(),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

fn keys(c: &mut Criterion) {
    let mut rng = rand::rng();
    let public = PrivateKey::generate(&mut rng).expect("a key").public_der();
    c.bench_function("parse a public key and wrap", |b| {
        b.iter(|| {
            PublicKey::from_der(black_box(&public))
                .expect("a key")
                .wrap(&key(Dialect::D825), &mut rng)
        });
    });
}

fn names(c: &mut Criterion) {
    for (what, name) in [
        ("harmless", &b"documents/letters/2026/a letter.txt"[..]),
        ("nasty", b"C:\\..\\CON\\a\xff|b. "),
    ] {
        c.bench_function(&format!("view name, {what}"), |b| {
            b.iter(|| view_name::propose(black_box(name)))
        });
    }
}

/// The pure machines with workers that answer at once and do nothing heavy.
struct World {
    connection: Connection,
    shared: Shared,
    pool: Pool,
    jobs: Vec<Job>,
    key: Arc<SessionKey>,
}

impl World {
    /// A registered d825 client.
    fn new() -> Self {
        let key = Arc::new(key(Dialect::D825));
        let connection = Connection::new(([127, 0, 0, 1], 1).into(), Moment(0));
        let shared = Shared::new(Existing::Dialect, UNLIMITED, Classic::Everywhere);
        let mut world = Self { connection, shared, pool: Pool::default(), jobs: Vec::new(), key };
        let mut bytes = Vec::new();
        Request::Reconnect { name: b"Bob" }.push(Dialect::D825, ID, &mut bytes);
        world.converse(&bytes);
        world
    }

    fn with(&mut self, call: impl FnOnce(&mut Connection, &mut Surroundings)) {
        let connection = ConnectionId { slot: 1, generation: 1 };
        let session =
            Context { shared: &mut self.shared, jobs: &mut self.jobs, now: Moment(1), connection };
        call(&mut self.connection, &mut Surroundings { session, pool: &mut self.pool });
    }

    /// Bytes in, all jobs answered, answers thrown away; returns how many bytes were answered.
    fn converse(&mut self, bytes: &[u8]) -> usize {
        for read in bytes.chunks(200 << 10) {
            self.with(|connection, cx| {
                let mut buffer = cx.pool.take().expect("a buffer");
                connection.prepare(&mut buffer);
                buffer.extend(read);
                connection.receive(cx, buffer, read.len());
            });
            while let Some(job) = (!self.jobs.is_empty()).then(|| self.jobs.remove(0)) {
                if let Some(done) = self.answer(job.work) {
                    self.with(|connection, cx| connection.complete(cx, done));
                }
            }
        }
        let answered = self.connection.outbox().unsent().len();
        self.connection.outbox().clear();
        answered
    }

    fn answer(&self, work: Work) -> Option<Done> {
        Some(match work {
            Work::FindClient { .. } => {
                let client =
                    Some(KnownClient { id: ID, public_key: Some(Vec::new()), is_secure: false });
                Done::ClientFound(Ok(Lookup { client, fresh_id: ID }))
            }
            Work::WrapKey { .. } => Done::KeyWrapped(Ok(WrappedKey {
                key: Arc::clone(&self.key),
                wrapped: vec![0; 128],
            })),
            Work::Piece(_, piece) => Done::PieceTaken(piece.buffer),
            Work::Finish(upload) => {
                let finished =
                    Finished { tail: Vec::new(), size: 0, cksum: 0, checksum: 0, attempt: None };
                Done::Received(upload, Ok(finished))
            }
            Work::Publish(upload) => Done::Published(upload, Ok(1)),
            Work::Begin(..) => Done::Begun,
            Work::AddClient { .. } | Work::Discard(_) => return None,
            other => unreachable!("the classic door does not ask for {other:?}"),
        })
    }
}

fn whole_path(c: &mut Criterion) {
    let mut group = c.benchmark_group("bytes in, jobs and answers out");
    for (what, length) in [("one file of 4 KiB", 4 << 10), ("one file of 16 MiB", 16 << 20)] {
        let mut bytes = wire(Dialect::D825, length).0;
        Request::Verdict { verdict: Verdict::Right, file: b"file" }.push(
            Dialect::D825,
            ID,
            &mut bytes,
        );
        let mut world = World::new();
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(what, |b| {
            b.iter(|| assert_eq!(world.converse(black_box(&bytes)), 2 * (7 + 279)));
        });
    }
    group.finish();
}

fn framing(c: &mut Criterion) {
    let mut bytes = Vec::new();
    Request::Verdict { verdict: Verdict::Right, file: b"unknown" }.push(
        Dialect::D825,
        ID,
        &mut bytes,
    );
    let mut world = World::new();
    c.bench_function("one small request, refused", |b| {
        b.iter(|| assert_eq!(world.converse(black_box(&bytes)), 7))
    });
}

criterion_group!(benches, checksums, ciphers, keys, names, framing, whole_path);
criterion_main!(benches);
