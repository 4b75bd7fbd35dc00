//! A file's ciphertext: decoded whole and in pieces, and what an encoder made decoded again.

use coffer_protocol::cipher::SessionKey;
use coffer_protocol::decode::{DecodeError, Decoder, Finished, Sizes};
use coffer_protocol::encode::Encoder;
use coffer_protocol::request::{FILE_PACKET, PACKET_META, REQUEST_HEADER};
use coffer_protocol::{BLOCK, ClientId, Dialect, PACKET};

use super::bytes::Bytes;

/// Choices first, then the ciphertext, or the content of which it is made.
pub(crate) fn decoder(data: &[u8]) {
    let mut bytes = Bytes(data);
    let dialect = bytes.one_of(&[Dialect::D825, Dialect::D1100]);
    let honest = bytes.byte() & 1 == 0;
    let plain_size = bytes.u32();
    let cut = usize::from(bytes.byte()) * PACKET;
    let key = SessionKey::from_bytes(dialect, &vec![7; dialect.key_len()]).expect("its length");
    if honest {
        encoded(&key, bytes.0, cut);
    } else {
        decoded(&key, bytes.0, plain_size, cut);
    }
}

/// Any ciphertext with any announced plain size.
fn decoded(key: &SessionKey, ciphertext: &[u8], plain_size: u32, cut: usize) {
    let encrypted = ciphertext.len() as u32;
    let sizes = match key.dialect() {
        Dialect::D825 => Sizes::d825(encrypted, plain_size, encrypted.div_ceil(1024) as u16),
        Dialect::D1100 => Sizes::d1100(encrypted),
    };
    let Ok(sizes) = sizes else { return };
    let _ = check(key, sizes, ciphertext, cut);
}

/// A content as a client sends it.
fn encoded(key: &SessionKey, content: &[u8], cut: usize) {
    let mut encoder =
        Encoder::new(key, ClientId([1; 16]), b"f", content.len() as u64).expect("small");
    let mut wire = Vec::new();
    encoder.push(content, &mut wire);
    encoder.finish(&mut wire);
    let encrypted = encoder.encrypted_size();
    let (ciphertext, sizes) = match key.dialect() {
        Dialect::D825 => {
            let data = wire.chunks(FILE_PACKET).flat_map(|p| &p[REQUEST_HEADER + PACKET_META..]);
            let count = wire.len() / FILE_PACKET;
            let sizes = Sizes::d825(encrypted, content.len() as u32, count as u16);
            (data.copied().collect(), sizes)
        }
        Dialect::D1100 => (wire, Sizes::d1100(encrypted)),
    };
    let (got, finished) = check(key, sizes.expect("an encoder's sizes"), &ciphertext, cut);
    let finished = finished.expect("what was encoded");
    if got != content {
        // d1100 does not say how long a file is: a whole last chunk that ends like padding has two readings.
        assert_eq!(key.dialect(), Dialect::D1100);
        let before = finished.attempt.expect("there was a choice");
        let (got, finished) =
            decode(key, sizes.expect("as before"), &ciphertext, cut, Some(before));
        assert_eq!(got, content);
        assert_eq!(finished.expect("as before").checksum, encoder.checksum());
    } else {
        assert_eq!(finished.checksum, encoder.checksum());
    }
}

type Decoded = (Vec<u8>, Result<Finished, DecodeError>);

/// Decodes in one piece, in two and in all packets alone: it is all the same.
fn check(key: &SessionKey, sizes: Sizes, ciphertext: &[u8], cut: usize) -> Decoded {
    let whole = decode(key, sizes, ciphertext, 0, None);
    assert_eq!(decode(key, sizes, ciphertext, cut, None), whole);
    if let Ok(finished) = &whole.1 {
        assert_eq!(finished.size, whole.0.len() as u64);
        assert!(finished.size <= sizes.plain_max() && finished.tail.len() <= BLOCK);
    }
    whole
}

/// Decodes with a cut at a packet's border and then packet by packet; `before` as in [`Decoder::finish`].
fn decode(
    key: &SessionKey,
    sizes: Sizes,
    ciphertext: &[u8],
    cut: usize,
    before: Option<coffer_protocol::decode::Attempt>,
) -> Decoded {
    let mut decoder = Decoder::new(key, sizes);
    let mut buffer = ciphertext.to_vec();
    let (front, back) = buffer.split_at_mut(cut.min(ciphertext.len()));
    let mut content = decoder.decrypt(front).to_vec();
    let step = if cut == 0 { usize::MAX } else { PACKET };
    for piece in back.chunks_mut(step) {
        content.extend_from_slice(decoder.decrypt(piece));
    }
    let finished = decoder.finish(before.as_ref());
    if let Ok(finished) = &finished {
        content.extend_from_slice(&finished.tail);
    }
    (content, finished)
}
