//! What the parts with IO cost: a round trip through the reactor, and catalog commits by batch size.

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use coffer_protocol::request::{Request, Verdict};
use coffer_protocol::{ClientId, Dialect};
use cofferd::catalog::{Change, Content};
use cofferd::recovery;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

/// The real server as a process of its own.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(data: &Path) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_cofferd"))
            .args(["--listen", "127.0.0.1:0", "--config", "/dev/null", "--data"])
            .arg(data)
            .env("COFFERD_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut line = [0; 64];
        let length = process.stdout.as_mut().expect("piped").read(&mut line).expect("a line");
        let line = String::from_utf8_lossy(&line[..length]);
        let address = line.trim().strip_prefix("listening on ").expect("its address").to_owned();
        Self { process, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A request that the session refuses at once: socket, framing, session and back.
fn round_trip(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&folder.path().join("data"));
    let mut stream = TcpStream::connect(&server.address).expect("connects");
    stream.set_nodelay(true).expect("a socket");
    let mut request = Vec::new();
    Request::Verdict { verdict: Verdict::Right, file: b"unknown" }.push(
        Dialect::D825,
        ClientId([7; 16]),
        &mut request,
    );
    c.bench_function("reactor round trip over loopback", |b| {
        b.iter(|| {
            stream.write_all(black_box(&request)).expect("sends");
            let mut reply = [0; 7];
            stream.read_exact(&mut reply).expect("an answer");
            reply
        });
    });
}

/// Versions of 4 KiB with their contents, as many in a transaction.
fn commits(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let opened = recovery::open(&folder.path().join("data"), recovery::Options::default())
        .expect("a data folder");
    let mut writer = opened.writer;
    let client = ClientId([7; 16]);
    let add = Change::AddClient { id: client, name: "bench".into(), public_key: vec![1] };
    writer.commit(&[add], 0).expect("a client");
    let mut group = c.benchmark_group("catalog commit");
    group.sample_size(20);
    let mut number = 0_u64;
    for batch in [1, 16, 64, 256] {
        group.throughput(Throughput::Elements(batch));
        group.bench_function(format!("{batch} versions of 4 KiB"), |b| {
            b.iter_batched(
                || {
                    let version = |_| {
                        number += 1;
                        version(client, number)
                    };
                    (0..batch).map(version).collect::<Vec<_>>()
                },
                |changes| writer.commit(&changes, 0).expect("commits"),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

fn version(client: ClientId, number: u64) -> Change {
    Change::AddVersion {
        client,
        file: format!("folder/{number}").into_bytes(),
        size: 4096,
        cksum: 0,
        dialect: 825,
        content: Content::Inline(vec![number as u8; 4096]),
        refuse_existing: false,
    }
}

criterion_group!(benches, round_trip, commits);
criterion_main!(benches);
