//! Public keys that are none, and keys in the place of somebody else's.

use std::io::Write;

use coffer_protocol::Dialect;

use crate::beside::{BOTH, REFUSED, beside_good_clients, last_answer, store};
use crate::classic::keys::Key;
use crate::content::noise;
use crate::peer::{ERROR, KEY, NAME_REFUSED, Peer, RECONNECTED, REGISTERED};
use crate::server::Server;

/// A DER value.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("a short value").to_be_bytes();
    let mut bytes = vec![tag];
    match content.len() {
        short @ 0..=0x7f => bytes.push(short as u8),
        0x80..=0xff => bytes.extend([0x81, length[3]]),
        0x100..=0xffff => bytes.extend([0x82, length[2], length[3]]),
        _ => bytes.extend([0x83, length[1], length[2], length[3]]),
    }
    bytes.extend_from_slice(content);
    bytes
}

/// An unsigned INTEGER.
fn integer(big_endian: &[u8]) -> Vec<u8> {
    let skip = big_endian.iter().take_while(|&&byte| byte == 0).count();
    let digits = &big_endian[skip..];
    let sign: &[u8] = if digits.first().is_none_or(|&byte| byte >= 0x80) { &[0] } else { &[] };
    der(0x02, &[sign, digits].concat())
}

/// A SubjectPublicKeyInfo of whatever algorithm and key.
fn spki(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    let algorithm = der(0x30, &[&der(0x06, algorithm)[..], &[5, 0]].concat());
    der(0x30, &[algorithm, der(0x03, &[&[0], key].concat())].concat())
}

/// An RSA public key of whatever numbers.
fn rsa(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    const RSA: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
    spki(&RSA, &der(0x30, &[integer(modulus), integer(exponent)].concat()))
}

/// An odd number of exactly so many bits.
fn odd(bits: usize) -> Vec<u8> {
    let mut bytes = noise(bits as u64, bits.div_ceil(8));
    let top = (bits - 1) % 8;
    bytes[0] = bytes[0] & ((1 << top) - 1) | 1 << top;
    *bytes.last_mut().expect("at least a bit") |= 1;
    bytes
}

/// Keys that fit into a request and that nobody may register.
fn bad_keys() -> Vec<(&'static str, Vec<u8>)> {
    let modulus = odd(1024);
    let mut even = modulus.clone();
    *even.last_mut().expect("128 bytes") &= 0xfe;
    let good = rsa(&modulus, &[17]);
    let mut negative = good.clone();
    assert_eq!(negative[28..30], [0, modulus[0]], "the sign of the modulus");
    negative[28] = 0xff;
    vec![
        ("one byte", vec![0x30]),
        ("zeros", vec![0; 160]),
        ("noise", noise(5, 160)),
        ("0 bits", rsa(&[], &[17])),
        ("1 bit", rsa(&[1], &[17])),
        ("2 bits", rsa(&[3], &[3])),
        ("512 bits", rsa(&odd(512), &[17])),
        ("1023 bits", rsa(&odd(1023), &[17])),
        ("4097 bits", rsa(&odd(4097), &[17])),
        ("5000 bits", rsa(&odd(5000), &[17])),
        ("an even modulus", rsa(&even, &[17])),
        ("exponent 0", rsa(&modulus, &[])),
        ("exponent 1", rsa(&modulus, &[1])),
        ("exponent 2", rsa(&modulus, &[2])),
        ("an even exponent", rsa(&modulus, &[16])),
        ("an exponent as long as the modulus", rsa(&modulus, &odd(1024))),
        ("a negative modulus", negative),
        ("a byte behind it", [&good[..], &[0]].concat()),
        ("a byte too few", good[..good.len() - 1].to_vec()),
        ("another algorithm", spki(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1], &[4; 65])),
        ("a length of 4 GiB", vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0x30]),
        ("an endless length", [&[0x30, 0x80], &good[3..], &[0, 0]].concat()),
        ("a private key", Key::A.pkcs8().to_vec()),
    ]
}

/// What is written here would be a good key with good numbers.
#[test]
fn another_writer_of_der_agrees_about_a_sound_key() {
    let good = Key::A.spki();
    let modulus = &good[29..29 + 128];
    assert_eq!(rsa(modulus, &[17]), good);
}

#[test]
fn bad_keys_are_refused_and_a_good_one_is_taken_behind_them() {
    let server = Server::start();
    beside_good_clients(&server, || {
        for dialect in BOTH {
            let mut peer = Peer::new(server.address(), dialect, &format!("locksmith {dialect}"));
            assert_eq!(peer.register(), REGISTERED);
            for (what, key) in bad_keys() {
                let request = peer.request(1, &[&peer.name_field()[..], &key].concat());
                assert_eq!(peer.ask(&request).0, ERROR, "{dialect}: {what}");
            }
            assert_eq!(peer.ask(&peer.request(1, &peer.name_field())).0, ERROR, "no key at all");
            assert_eq!(peer.send_key(), KEY, "the registration still waits");
            // The numbers that the bad ones were made of are good enough.
            let mut peer = Peer::new(server.address(), dialect, &format!("other {dialect}"));
            assert_eq!(peer.register(), REGISTERED);
            let sound = rsa(&odd(1024), &[17]);
            let request = peer.request(1, &[&peer.name_field()[..], &sound].concat());
            assert_eq!(peer.ask(&request).0, KEY);
        }
    });
    server.stop();
}

/// 100,000 bits are 12 KiB, which no request has: who announces them is cut off before they are read.
#[test]
fn a_key_of_a_hundred_thousand_bits_is_cut_off() {
    let server = Server::start();
    for dialect in BOTH {
        let mut peer = Peer::new(server.address(), dialect, &format!("giant {dialect}"));
        assert_eq!(peer.register(), REGISTERED);
        if dialect == Dialect::D1100 {
            peer.hang_up();
        }
        let key = rsa(&odd(100_000), &[17]);
        let request = peer.request(1, &[&peer.name_field()[..], &key].concat());
        let mut stream = peer.take_link();
        // Its end may find the connection shut.
        let _ = stream.write_all(&request);
        assert_eq!(last_answer(&mut stream), REFUSED);
    }
    server.stop();
}

/// Nobody replaces a key: not who registers the name again, not who knows its id, not its owner.
#[test]
fn a_key_is_set_once() {
    let server = Server::start();
    for dialect in BOTH {
        let mut owner = store(server.address(), dialect, &format!("owner {dialect}"), b"mine");
        let with_b =
            |peer: &Peer| peer.request(1, &[&peer.name_field()[..], &Key::B.spki()].concat());
        let mut thief = Peer::new(server.address(), dialect, &owner.name);
        assert_eq!(thief.register(), NAME_REFUSED, "the name is taken");
        thief.id = owner.id;
        assert_eq!(thief.ask(&with_b(&thief)).0, ERROR, "nobody registers it now");
        thief.hang_up();
        assert_eq!(thief.ask(&with_b(&thief)).0, ERROR, "nor on a connection of its own");
        let request = with_b(&owner);
        assert_eq!(owner.ask(&request).0, ERROR, "not even by its owner");
        // A registration of the thief's own does not lend it the owner's name.
        thief.hang_up();
        let mut other = Peer::new(server.address(), dialect, &format!("thief {dialect}"));
        assert_eq!(other.register(), REGISTERED);
        let id = other.id;
        (other.name, other.id) = (owner.name.clone(), owner.id);
        assert_eq!(other.ask(&with_b(&other)).0, ERROR, "{dialect}");
        other.id = id;
        assert_eq!(other.ask(&with_b(&other)).0, ERROR, "{dialect}");
        owner.hang_up();
        assert_eq!(owner.reconnect(), RECONNECTED, "the owner's key still opens what is wrapped");
        let (_, payload) = {
            owner.hang_up();
            owner.ask(&owner.request(2, &owner.name_field()))
        };
        assert_eq!(Key::B.unwrap_sha1(&payload[16..]), None);
        assert_eq!(Key::B.unwrap_sha256(&payload[16..]), None);
        let stored = server.store().content(&owner.name, b"a", None);
        assert_eq!(stored.as_deref(), Some(&b"mine"[..]));
    }
    server.stop();
}
