//! What one thread can do with a dialect's content, and with its keys.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use coffer_protocol::Dialect;
use coffer_protocol::checksum::Sums;
use coffer_protocol::cipher::{Decryptor, SessionKey};
use coffer_protocol::key::{PrivateKey, PublicKey};
use rustix::time::{ClockId, clock_gettime};

use super::Rounds;

/// Bytes of ciphertext of a round.
const ROUND_BYTES: usize = 512 << 20;
/// Rounds: CPU time of receiving and writing varies up to twofold.
const ROUNDS: usize = 5;
/// Bytes received, and written, at once.
const PIECE_BYTES: usize = 256 << 10;
/// Keys wrapped before the clock is looked at again, and for how long.
const WRAPS: u32 = 100;
const WRAP_TIME: Duration = Duration::from_secs(1);

/// CPU-seconds per GiB that one thread needs to receive ciphertext, decrypt it, take the dialect's checksums and write
/// it to a new file. Nothing is framed, waited for or synced.
pub(super) fn rounds(dialect: Dialect, folder: &Path) -> anyhow::Result<Rounds> {
    let round = |number| {
        let path = folder.join(format!("pipeline-{dialect}-{number}"));
        let result = round(dialect, &path).context("cannot measure the pipeline");
        let _ = fs::remove_file(path); // the folder goes anyway
        result
    };
    (0..ROUNDS).map(round).collect::<anyhow::Result<_>>().map(Rounds::of)
}

fn round(dialect: Dialect, path: &Path) -> std::io::Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let sender = thread::spawn(move || {
        let mut stream = TcpStream::connect(address)?;
        let piece = vec![0x5a; PIECE_BYTES];
        (0..ROUND_BYTES / PIECE_BYTES).try_for_each(|_| stream.write_all(&piece))
    });
    let (mut stream, _) = listener.accept()?;
    let mut file = File::create_new(path)?;
    let key = SessionKey::random(dialect, &mut rand::rng());
    let (mut decryptor, mut sums) = (Decryptor::new(&key), Sums::new(dialect));
    let mut buffer = vec![0; PIECE_BYTES];
    let start = thread_time();
    let mut missing = ROUND_BYTES;
    while missing > 0 {
        let piece = fill(&mut stream, &mut buffer)?;
        decryptor.decrypt(piece);
        sums.update(piece);
        file.write_all(piece)?;
        missing -= piece.len();
    }
    std::hint::black_box((sums.cksum(), sums.on_the_wire()));
    let used = thread_time() - start;
    sender.join().expect("it does not panic")?;
    Ok(used.as_secs_f64() * f64::from(1 << 30) / ROUND_BYTES as f64)
}

/// Receives once, and then only what is missing of the last chunk.
fn fill<'a>(stream: &mut TcpStream, buffer: &'a mut [u8]) -> std::io::Result<&'a mut [u8]> {
    let received = stream.read(buffer)?;
    if received == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let whole = received.next_multiple_of(coffer_protocol::PACKET);
    stream.read_exact(&mut buffer[received..whole])?;
    Ok(&mut buffer[..whole])
}

/// Session keys that one thread can wrap, per second of CPU time.
pub(super) fn wraps_per_second(dialect: Dialect) -> anyhow::Result<f64> {
    let mut rng = rand::rng();
    let key = PublicKey::from_der(&PrivateKey::generate(&mut rng)?.public_der())?;
    let (start, mut wraps) = (thread_time(), 0);
    loop {
        for _ in 0..WRAPS {
            let session = SessionKey::random(dialect, &mut rng);
            std::hint::black_box(key.wrap(&session, &mut rng));
        }
        wraps += WRAPS;
        let used = thread_time() - start;
        if used >= WRAP_TIME {
            return Ok(f64::from(wraps) / used.as_secs_f64());
        }
    }
}

/// CPU time of this thread.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}
