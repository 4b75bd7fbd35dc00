//! Peers that are no clients: noise, lies about sizes, silence, and connections left half open. Good clients beside
//! them must not notice.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::classic::{Client825, Client1100, End, wire};
use crate::content::noise;
use crate::own::{BOTH, Own};
use crate::peer::{answer, connect};
use crate::server::Server;

/// Within the open files that a test may have by default.
const SILENT: usize = 400;

/// Every kind of good client stores a file. Returns how long it took.
fn good_clients(server: &Server, round: &str) -> Duration {
    let start = Instant::now();
    let content = noise(1, 200 << 10);
    let store = server.store();
    for dialect in BOTH {
        let own = Own::new(&format!("own {dialect} {round}"), dialect);
        own.store(server.address(), b"a", &content);
        assert_eq!(store.content(&own.name, b"a", None).as_ref(), Some(&content));
    }
    let name = format!("classic 825 {round}");
    let run = Client825::new(server.address(), &name, "a", &content).run();
    assert_eq!((run.end, run.error_lines()), (End::Success, 0), "{}", run.dialogue());
    let name = format!("classic 1100 {round}");
    let run = Client1100::new(server.address(), &name, "a", &content).run();
    assert_eq!((run.end, run.error_lines()), (End::Success, 0), "{}", run.dialogue());
    start.elapsed()
}

/// Whether the server ends the connection, after whatever it says.
fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = vec![];
    // A reset is an end, too: the server did not read all of the noise.
    stream.read_to_end(&mut rest).map_or_else(|error| !is_timeout(&error), |_| true)
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}

#[test]
fn noise_is_answered_with_an_error_and_closed() {
    let server = Server::start();
    let mut open = vec![];
    for (seed, length) in
        (0..40).zip([1, 22, 23, 24, 300, 1024, 5000, 300 << 10].into_iter().cycle())
    {
        let mut stream = connect(server.address());
        // The server may hang up before all is said.
        let _ = stream.write_all(&noise(seed, length));
        open.push((length, stream));
    }
    good_clients(&server, "beside the noise");
    for (length, mut stream) in open {
        if length >= wire::REQUEST_HEADER {
            assert!(is_closed(&mut stream), "{length} bytes of noise");
        }
    }
    server.stop();
}

#[test]
fn announcing_four_gibibytes_is_refused_at_once() {
    let server = Server::start();
    let huge = u32::MAX as usize;
    let mut cases: Vec<(u16, Vec<u8>)> = [825, 826, 827, 828, 900, 901, 902]
        .map(|code| (1607, wire::request(&[7; 16], code, huge, b"")))
        .into();
    cases.extend([1100, 1101, 1102, 1103, 1104, 1105, 1106].map(|code| {
        let mut packet = wire::request(&[7; 16], code, huge, b"");
        packet.resize(wire::CHUNK, 0);
        (2107, packet)
    }));
    // A sound header, and the lie in the payload.
    let field = wire::name_field(b"a");
    let payload = [&wire::size_field(huge)[..], &field].concat();
    let mut packet = wire::request(&[7; 16], 1103, payload.len(), &payload);
    packet.resize(wire::CHUNK, 0);
    cases.push((2107, packet));
    for (expected, request) in cases {
        let mut stream = connect(server.address());
        stream.write_all(&request).expect("the server reads");
        let (code, _) = answer(&mut stream).expect("the server answers");
        assert_eq!(code, expected, "{:02x?}", &request[..wire::REQUEST_HEADER]);
        assert!(is_closed(&mut stream));
    }
    good_clients(&server, "after the lies");
    server.stop();
}

#[test]
fn silence_and_half_requests_cost_nobody_else_anything() {
    let mut server = Server::start();
    let alone = good_clients(&server, "alone");
    let before = server.process().memory_kib("VmRSS");
    let half = wire::request(&[0; 16], 825, 255, &wire::name_field(b"half"));
    let mut open = vec![];
    for number in 0..SILENT {
        let mut stream = connect(server.address());
        match number % 4 {
            // Nothing at all; half a header; half a payload; half a payload, and nothing more to come.
            0 => {}
            1 => stream.write_all(&half[..11]).expect("the server reads"),
            2 => stream.write_all(&half[..150]).expect("the server reads"),
            _ => {
                stream.write_all(&half[..150]).expect("the server reads");
                stream.shutdown(Shutdown::Write).expect("it is connected");
            }
        }
        open.push(stream);
    }
    let beside = good_clients(&server, "beside them");
    let limit = 10 * alone + Duration::from_secs(5);
    assert!(beside < limit, "{beside:?} beside {SILENT} silent peers, {alone:?} alone");
    let grown = server.process().memory_kib("VmRSS").saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB for {SILENT} silent peers");
    // Who will send no more is let go.
    for stream in open.iter_mut().skip(3).step_by(4) {
        assert!(is_closed(stream));
    }
    drop(open);
    good_clients(&server, "after them");
    server.stop();
}
