//! Decoding against the documented vectors, against our own encoder, and against what the real d1100 client sends.

use proptest::prelude::*;

use super::*;
use crate::cipher::Encryptor;
use crate::encode::{Encoder, encrypted_size};
use crate::request::{FILE_PACKET, PACKET_META, REQUEST_HEADER};
use crate::{ClientId, request::Kind, request::Request};

fn key(dialect: Dialect) -> SessionKey {
    let bytes: Vec<u8> = (0..dialect.key_len() as u8).collect();
    SessionKey::from_bytes(dialect, &bytes).expect("the dialect's length")
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (7 * i + 3) as u8).collect()
}

/// What our client sends, with framing removed: the ciphertext and its filler.
fn sent(dialect: Dialect, plain: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::new(&key(dialect), ClientId([1; 16]), b"f", plain.len() as u64)
        .expect("small enough");
    let (mut head, mut wire) = (Vec::new(), Vec::new());
    encoder.push_head(&mut head);
    for piece in plain.chunks(777) {
        encoder.push(piece, &mut wire);
    }
    encoder.finish(&mut wire);
    match dialect {
        Dialect::D1100 => wire,
        Dialect::D825 => wire
            .chunks(FILE_PACKET)
            .flat_map(|packet| &packet[FILE_PACKET - PACKET..])
            .copied()
            .collect(),
    }
}

fn sizes(dialect: Dialect, plain: usize) -> Sizes {
    let encrypted = encrypted_size(dialect, plain as u64).expect("small enough");
    match dialect {
        Dialect::D825 => Sizes::d825(encrypted, plain as u32, encrypted.div_ceil(1024) as u16),
        Dialect::D1100 => Sizes::d1100(encrypted),
    }
    .expect("our own sizes")
}

fn decode(
    key: &SessionKey,
    sizes: Sizes,
    mut wire: Vec<u8>,
    step: usize,
    before: Option<&Attempt>,
) -> Result<(Vec<u8>, Finished), DecodeError> {
    let mut decoder = Decoder::new(key, sizes);
    let mut plain = Vec::new();
    for piece in wire.chunks_mut(step * PACKET) {
        plain.extend_from_slice(decoder.decrypt(piece));
    }
    let finished = decoder.finish(before)?;
    plain.extend_from_slice(&finished.tail);
    assert_eq!(plain.len() as u64, finished.size);
    Ok((plain, finished))
}

/// What the real d1100 client sends: the length rounded up to 16, padding only where there is room for it.
fn real_d1100(plain: &[u8]) -> (Sizes, Vec<u8>) {
    let announced = plain.len().next_multiple_of(BLOCK);
    let mut wire = Vec::new();
    for chunk in plain.chunks(PACKET) {
        let mut chunk = chunk.to_vec();
        let padding = BLOCK - chunk.len() % BLOCK;
        chunk.resize(chunk.len() + padding, padding as u8);
        Encryptor::new(&key(Dialect::D1100)).encrypt(&mut chunk[..]);
        chunk.resize(PACKET, 0xee);
        wire.extend(chunk);
    }
    // The padding block of a chunk that ended on a block boundary is beyond the announced size, and so stale.
    (Sizes::d1100(announced as u32).expect("whole blocks"), wire)
}

#[test]
fn documented_d825_vectors() {
    assert_eq!(&sent(Dialect::D825, b"123456789")[..16], hex("2f3f4510b8421435e17f2b96b8aad276"));
    assert_eq!(&sent(Dialect::D825, b"")[..16], hex("9f3b7504926f8bd36e3118e903a4cd4a"));
    let megabyte = sent(Dialect::D825, &pattern(1 << 20));
    assert_eq!(encrypted_size(Dialect::D825, 1 << 20), Ok(1_048_592));
    assert_eq!(&megabyte[..16], hex("ae5bf9ddaad53f23deb4efae9db72462"));
    assert_eq!(&megabyte[1_048_576..1_048_592], hex("198a7e3c2536e480dca29fa504c1540e"));
}

#[test]
fn documented_d1100_vectors() {
    assert_eq!(&sent(Dialect::D1100, b"123456789")[..16], hex("981719fa95a0f975f5fd0f2aa2e016be"));
    let wire = sent(Dialect::D1100, &pattern(1029));
    assert_eq!(encrypted_size(Dialect::D1100, 1029), Ok(1040));
    assert_eq!(&wire[..16], hex("268590873ef180ab539cf461a5c5f892"));
    assert_eq!(&wire[1008..1024], hex("0f33c79a02290d3711e61b89cdb8f8aa"));
    assert_eq!(&wire[1024..1040], hex("febf3d4cffcd2312d67303611f8559ea"));
}

#[test]
fn announced_sizes_and_packets() {
    for (plain, encrypted) in [(0, 16), (15, 16), (16, 32), (1008, 1024), (1024, 1040)] {
        assert_eq!(encrypted_size(Dialect::D825, plain), Ok(encrypted));
    }
    for (plain, encrypted) in
        [(0, 0), (1, 16), (16, 32), (1007, 1008), (1008, 1024), (1023, 1024), (1024, 1024)]
    {
        assert_eq!(encrypted_size(Dialect::D1100, plain), Ok(encrypted));
    }
    assert!(encrypted_size(Dialect::D825, 67_107_839).is_ok());
    assert!(encrypted_size(Dialect::D825, 67_107_840).is_err());
    let largest = sizes(Dialect::D825, 67_107_839);
    assert_eq!(largest.packets(), 65_535);
}

#[test]
fn impossible_sizes_are_refused() {
    assert_eq!(Sizes::d825(0, 0, 0), Err(SizesError::Encrypted(0)));
    assert_eq!(Sizes::d825(17, 10, 1), Err(SizesError::Encrypted(17)));
    assert_eq!(Sizes::d825(32, 15, 1), Err(SizesError::Plain { plain: 15, encrypted: 32 }));
    assert_eq!(Sizes::d825(32, 32, 1), Err(SizesError::Plain { plain: 32, encrypted: 32 }));
    for count in [0, 2] {
        assert_eq!(
            Sizes::d825(1024, 1010, count),
            Err(SizesError::Count { count, encrypted: 1024 })
        );
    }
    // 64 MiB: the count wraps to 1.
    assert!(Sizes::d825(67_108_880, 67_108_864, 1).is_err());
    assert!(Sizes::d825(67_107_856, 67_107_840, 0).is_err());
    assert_eq!(Sizes::d1100(15), Err(SizesError::Encrypted(15)));
    assert_eq!(Sizes::d1100(1 << 31), Err(SizesError::TooLarge(1 << 31)));
}

#[test]
fn d825_with_another_key_has_no_padding() {
    let wire = sent(Dialect::D825, b"123456789");
    let other = SessionKey::from_bytes(Dialect::D825, &[9; 32]).expect("32 bytes");
    assert_eq!(
        decode(&other, sizes(Dialect::D825, 9), wire, 1, None).err(),
        Some(DecodeError::Padding)
    );
}

#[test]
fn d825_content_of_another_length_than_announced_is_refused() {
    let wire = sent(Dialect::D825, &[b'a'; 20]);
    let lying = Sizes::d825(32, 21, 1).expect("possible");
    assert_eq!(decode(&key(Dialect::D825), lying, wire, 1, None).err(), Some(DecodeError::Padding));
}

#[test]
fn missing_bytes_are_counted() {
    let wire = sent(Dialect::D825, &pattern(2000));
    let result =
        decode(&key(Dialect::D825), sizes(Dialect::D825, 2000), wire[..1024].to_vec(), 1, None);
    assert_eq!(result.err(), Some(DecodeError::Missing(2000 / 16 * 16 + 16 - 1024)));
}

/// Every row of the lengths table, as the real client sends it: all can be stored here.
#[test]
fn every_length_of_the_real_d1100_client_is_read() {
    let lengths = [
        0, 1, 15, 16, 17, 1007, 1008, 1009, 1023, 1024, 1025, 1040, 2032, 2033, 2047, 2048, 3000,
        4096,
    ];
    for length in lengths {
        let plain = pattern(length);
        let (sizes, wire) = real_d1100(&plain);
        let (stored, finished) =
            decode(&key(Dialect::D1100), sizes, wire, 1, None).expect("a readable file");
        assert_eq!(stored, plain, "{length} bytes");
        let mut sums = Sums::new(Dialect::D1100);
        sums.update(&plain);
        assert_eq!(finished.checksum, sums.on_the_wire());
        assert_eq!(finished.cksum, sums.cksum());
    }
}

#[test]
fn a_file_that_ends_like_padding_is_read_the_other_way_the_second_time() {
    for length in [16, 32, 1008, 1024, 2048] {
        let mut plain = pattern(length);
        plain[length - 2..].fill(2);
        let (sizes, wire) = real_d1100(&plain);
        let key = key(Dialect::D1100);
        let (first, finished) = decode(&key, sizes, wire.clone(), 1, None).expect("readable");
        assert_eq!(first, plain[..length - 2], "the obvious reading is the wrong one");
        let attempt = finished.attempt.expect("there was a choice");
        let (second, finished) =
            decode(&key, sizes, wire.clone(), 1, Some(&attempt)).expect("readable");
        assert_eq!(second, plain);
        let third = decode(&key, sizes, wire, 1, finished.attempt.as_ref()).expect("readable").0;
        assert_eq!(third, first, "and back again");
    }
}

#[test]
fn other_content_after_a_wrong_checksum_is_read_the_obvious_way() {
    let key = key(Dialect::D1100);
    let (sizes, wire) = real_d1100(&[2; 32]);
    let attempt = decode(&key, sizes, wire, 1, None).expect("readable").1.attempt;
    let plain = pattern(30);
    let (sizes, wire) = real_d1100(&plain);
    assert_eq!(decode(&key, sizes, wire, 1, attempt.as_ref()).expect("readable").0, plain);
}

#[test]
fn d825_packets_carry_what_they_should() {
    let plain = pattern(1500);
    let mut encoder =
        Encoder::new(&key(Dialect::D825), ClientId([5; 16]), b"docs/a.txt", 1500).expect("small");
    let mut wire = Vec::new();
    encoder.push_head(&mut wire);
    encoder.push(&plain, &mut wire);
    encoder.finish(&mut wire);
    assert_eq!(wire.len(), 2 * FILE_PACKET);
    for (number, packet) in wire.chunks(FILE_PACKET).enumerate() {
        let request =
            Request::parse(Dialect::D825, Kind::File, &packet[REQUEST_HEADER..]).expect("a packet");
        let Request::Packet(packet) = request else { panic!("{request:?}") };
        assert_eq!((packet.number, packet.count), (number as u16, 2));
        assert_eq!(
            (packet.plain_size, packet.encrypted_size, packet.file),
            (1500, 1504, &b"docs/a.txt"[..])
        );
    }
    assert_eq!(
        wire[FILE_PACKET + REQUEST_HEADER + PACKET_META + 1504 - 1024..].iter().max(),
        Some(&0),
        "zero-filled"
    );
}

proptest! {
    #[test]
    fn decoding_undoes_encoding(plain in proptest::collection::vec(any::<u8>(), 0..5000), step in 1usize..4) {
        for dialect in [Dialect::D825, Dialect::D1100] {
            let wire = sent(dialect, &plain);
            let (stored, finished) = decode(&key(dialect), sizes(dialect, plain.len()), wire.clone(), step, None).expect("our own");
            let mut sums = Sums::new(dialect);
            sums.update(&plain);
            if stored == plain {
                prop_assert_eq!(finished.checksum, sums.on_the_wire());
            } else {
                // Only a d1100 file that fills its last chunk and ends like padding; the second time it is right.
                prop_assert!(dialect == Dialect::D1100 && plain.len().is_multiple_of(PACKET));
                let again = decode(&key(dialect), sizes(dialect, plain.len()), wire, step, finished.attempt.as_ref());
                prop_assert_eq!(again.expect("our own").0, plain.clone());
            }
        }
    }
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex"))
        .collect()
}
