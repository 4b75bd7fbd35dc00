//! Noise, and numbers that cannot be true.

use std::io::Write;
use std::time::Duration;

use coffer_protocol::Dialect;

use crate::beside::{
    BOTH, REFUSED, beside_good_clients, good_clients, last_answer, store, within_memory,
};
use crate::classic::wire::{self, CHUNK, size_field};
use crate::content::noise;
use crate::peer::{CHECKSUM, ERROR, Peer, REGISTERED, Verdict, connect};
use crate::server::Server;

const NOISE: usize = 64 << 10;

/// Requests without an end: their answers would be 28 MiB.
const VERDICTS_MAX: usize = 4 << 20;

/// How long a write may wait: the server does not read, which is as good as hanging up.
const DEAF_MAX: Duration = Duration::from_secs(10);

#[test]
fn noise_is_refused_at_every_stage() {
    let server = Server::start();
    let address = server.address();
    beside_good_clients(&server, || {
        for (seed, dialect) in (0..8).flat_map(|seed| BOTH.map(|dialect| (seed, dialect))) {
            let noise = noise(seed, NOISE);
            let mut stream = connect(address);
            // The server may hang up before all is said.
            let _ = stream.write_all(&noise);
            assert_eq!(last_answer(&mut stream), REFUSED, "at once");
            let mut peer = Peer::new(address, dialect, &format!("noise {dialect} {seed}"));
            assert_eq!(peer.register(), REGISTERED);
            if dialect == Dialect::D825 {
                let mut stream = peer.take_link();
                let _ = stream.write_all(&noise);
                assert_eq!(last_answer(&mut stream), REFUSED, "in place of a key");
            }
        }
    });
    server.stop();
}

/// What decrypts to noise is noise: d825 notices by its padding, d1100 by the checksum that its client does not share.
#[test]
fn noise_as_content_is_never_published() {
    let server = Server::start();
    for dialect in BOTH {
        let mut peer = Peer::new(server.address(), dialect, &format!("noise {dialect}"));
        peer.introduce();
        let mut request = peer.upload_request(b"a", &[7; 3000]);
        // The last block, so that the padding is hit whatever the mode of encryption.
        let end =
            if dialect == Dialect::D825 { request.len() - CHUNK + 960 } else { request.len() };
        request[end - 16..end].copy_from_slice(&noise(9, 16));
        let (code, payload) = peer.ask(&request);
        match dialect {
            Dialect::D825 => assert_eq!(code, ERROR),
            Dialect::D1100 => {
                assert_eq!(code, CHECKSUM);
                assert_ne!(wire::u32_at(&payload, 275), wire::md5_sum(&[7; 3000]));
                assert_eq!(peer.verdict(Verdict::GivingUp, b"a"), peer.acknowledged());
            }
        }
        assert_eq!(server.store().versions(&peer.name).len(), 0);
    }
    good_clients(&server, "after");
    server.stop();
}

/// Headers that announce 4 GiB, each at the stage at which its request would be welcome.
#[test]
fn announcing_four_gibibytes_is_refused_at_every_stage() {
    const HUGE: usize = u32::MAX as usize;
    let mut server = Server::start();
    let address = server.address();
    within_memory(&mut server, 24 << 10, || {
        for dialect in BOTH {
            let base = dialect.number();
            let mut registered = Peer::new(address, dialect, &format!("registered {dialect}"));
            assert_eq!(registered.register(), REGISTERED);
            let introduced = store(address, dialect, &format!("introduced {dialect}"), b"content");
            for (mut peer, code) in [(registered, base + 1), (introduced, base + 3)] {
                let mut header = wire::request(&peer.id, code, HUGE, b"");
                if dialect == Dialect::D1100 {
                    peer.hang_up();
                    header.resize(CHUNK, 0);
                }
                let mut stream = peer.take_link();
                stream.write_all(&header).expect("the server reads");
                assert_eq!(last_answer(&mut stream), REFUSED, "{code}");
            }
        }
    });
    server.stop();
}

/// The payload of an 828 with these numbers.
fn packet(sizes: [usize; 2], number: u16, count: u16) -> Vec<u8> {
    let numbers = [number.to_le_bytes(), count.to_le_bytes()].concat();
    let sizes = sizes.map(size_field).concat();
    [&sizes[..], &numbers, &wire::name_field(b"lie"), &[0; CHUNK]].concat()
}

#[test]
fn sizes_and_counts_that_disagree_are_refused_and_the_session_goes_on() {
    const HUGE: usize = u32::MAX as usize;
    let server = Server::start();
    let mut peer = Peer::new(server.address(), Dialect::D825, "liar");
    peer.introduce();
    for (sizes, number, count) in [
        ([16, 0], 0, 0),
        ([16, 0], 0, 2),
        ([2048, 2040], 0, 1),
        ([2048, 2040], 0, 3),
        ([0, 0], 0, 0),
        ([0, 0], 0, 1),
        ([15, 0], 0, 1),
        ([16, 16], 0, 1),
        ([16, 17], 0, 1),
        ([32, 15], 0, 1),
        ([16, HUGE], 0, 1),
        ([HUGE, HUGE - 1], 0, u16::MAX),
        ([HUGE - 15, HUGE - 16], 0, u16::MAX),
        // 64 MiB and one block: the count wraps to 1.
        ([(64 << 20) + 16, 64 << 20], 0, 1),
        ([64 << 20, (64 << 20) - 1], 0, 0),
        // A sound upload that begins with a packet which is none of it.
        ([1024, 1023], 1, 1),
        ([1024, 1023], u16::MAX, 1),
    ] {
        let (code, _) = peer.ask(&peer.request(3, &packet(sizes, number, count)));
        assert_eq!(code, ERROR, "{sizes:?} {number} {count}");
    }
    assert_eq!(peer.upload(b"a", b"the truth"), CHECKSUM);
    assert_eq!(peer.verdict(Verdict::Right, b"a"), peer.acknowledged());
    assert_eq!(server.store().content("liar", b"a", None).as_deref(), Some(&b"the truth"[..]));
    assert_eq!(server.store().versions("liar").len(), 1);
    server.stop();
}

#[test]
fn sizes_of_d1100_that_cannot_be_are_refused() {
    let server = Server::start();
    let mut peer = Peer::new(server.address(), Dialect::D1100, "liar");
    peer.introduce();
    for size in [1, 15, 17, 1023, 1 << 31, (1 << 31) + 16, u32::MAX as usize - 15] {
        let mut request =
            peer.request(3, &[&size_field(size)[..], &wire::name_field(b"lie")].concat());
        request.resize(CHUNK, 0);
        assert_eq!(peer.ask(&request).0, ERROR, "{size}");
    }
    assert_eq!(peer.upload(b"a", b"the truth"), CHECKSUM);
    server.stop();
}

/// Who asks and never reads is stopped reading from, then cut off; its answers do not pile up.
#[test]
fn a_peer_that_never_reads_its_answers_does_not_fill_the_memory() {
    let mut server = Server::start();
    let address = server.address();
    within_memory(&mut server, 24 << 10, || {
        let mut peer = Peer::new(address, Dialect::D825, "deaf");
        peer.introduce();
        let verdicts = peer.verdict_request(Verdict::Right, b"a").repeat(64);
        let mut stream = peer.take_link();
        stream.set_write_timeout(Some(DEAF_MAX)).expect("a timeout");
        let written = (0..VERDICTS_MAX / 64).take_while(|_| stream.write_all(&verdicts).is_ok());
        assert!(written.count() < VERDICTS_MAX / 64, "it was listened to for ever");
    });
    server.stop();
}
