//! What every attack is measured against: good clients beside it, and the server's memory.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use coffer_protocol::Dialect;

use crate::content::noise;
use crate::peer::{CHECKSUM, Peer, Verdict, answer};
use crate::server::Server;

pub(crate) const BOTH: [Dialect; 2] = [Dialect::D825, Dialect::D1100];

/// The number of the general error in either dialect.
pub(crate) const REFUSED: u16 = crate::peer::ERROR;

/// What a good client sends: a few packets, and no blob, so that what an attack leaves behind can be counted.
const CONTENT: usize = 12 << 10;

/// The longest that a good client's whole session may take beside an attack, on a loaded machine. Every deadline of
/// the server is longer: a client that has to wait for one of another peer's is noticed.
const SESSION_MAX: Duration = Duration::from_secs(15);

/// So that every good client has a name of its own.
static ROUND: AtomicUsize = AtomicUsize::new(0);

/// A good client's whole session: registration, upload, verdict, and the content is there.
pub(crate) fn good_client(server: &Server, dialect: Dialect, name: &str) {
    let start = Instant::now();
    let content = noise(name.len() as u64, CONTENT);
    store(server.address(), dialect, name, &content);
    assert!(start.elapsed() < SESSION_MAX, "{name} waited for {:?}", start.elapsed());
    assert!(server.store().content(name, b"a", None).as_ref() == Some(&content), "{name}");
}

/// A good client of each dialect.
pub(crate) fn good_clients(server: &Server, round: &str) {
    for dialect in BOTH {
        good_client(server, dialect, &format!("good {dialect} {round}"));
    }
}

/// Introduces a client and stores a file of it called `a`. The client keeps its connection.
pub(crate) fn store(server: SocketAddr, dialect: Dialect, name: &str, content: &[u8]) -> Peer {
    let mut peer = Peer::new(server, dialect, name);
    peer.introduce();
    assert_eq!(peer.upload(b"a", content), CHECKSUM, "{name}");
    assert_eq!(peer.verdict(Verdict::Right, b"a"), peer.acknowledged(), "{name}");
    peer
}

/// Runs an attack while good clients come and go; each of them must succeed, and at least one in each dialect.
pub(crate) fn beside_good_clients<R>(server: &Server, attack: impl FnOnce() -> R) -> R {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let good = scope.spawn(|| {
            loop {
                good_clients(server, &format!("beside {}", ROUND.fetch_add(1, SeqCst)));
                if over.load(SeqCst) {
                    break;
                }
            }
        });
        // Also when the attack's own assertions fail, or the good clients would go on for ever.
        let end = OnDrop(|| over.store(true, SeqCst));
        let result = attack();
        drop(end);
        good.join().expect("good clients do not notice");
        result
    })
}

struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Runs an attack beside good clients, after which the server may hold at most `kib` more memory than before.
pub(crate) fn within_memory<R>(server: &mut Server, kib: u64, attack: impl FnOnce() -> R) -> R {
    good_clients(server, "before");
    let before = server.process().memory_kib("VmRSS");
    let result = beside_good_clients(server, attack);
    let grown = server.process().memory_kib("VmHWM").saturating_sub(before);
    assert!(grown < kib, "{grown} KiB more at the peak, allowed are {kib}");
    result
}

/// The last digit of the next answer, and that the server then ends the connection.
pub(crate) fn last_answer(stream: &mut TcpStream) -> u16 {
    let (code, _) = answer(stream).expect("an answer");
    assert!(is_closed(stream), "open after {code}");
    code % 100
}

/// Whether the server ends the connection, after whatever it says. A reset is an end, too.
pub(crate) fn is_closed(stream: &mut TcpStream) -> bool {
    use std::io::{ErrorKind, Read};
    let error = stream.read_to_end(&mut vec![]).err();
    error.is_none_or(|error| !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}
