//! Headers, name fields, ciphers and checksums of both dialects, independent of `coffer-protocol`.

use aes::cipher::block_padding::{NoPadding, Pkcs7};
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use aes::{Aes128, Aes256};
use crc::{CRC_32_CKSUM, Crc, Table};
use md5::{Digest, Md5};

/// The protocol version that both sides send.
pub(crate) const VERSION: u8 = 3;
pub(crate) const REQUEST_HEADER: usize = 23;
pub(crate) const REPLY_HEADER: usize = 7;
pub(crate) const NAME_FIELD: usize = 255;
/// File data in one d825 packet, in bytes; and the size of every d1100 packet.
pub(crate) const CHUNK: usize = 1024;
pub(crate) const BLOCK: usize = 16;
/// Payload of every 828: two sizes, two numbers, name, data.
pub(crate) const FILE_PACKET: usize = 4 + 4 + 2 + 2 + NAME_FIELD + CHUNK;
/// Payload of 1603 and 2103: id, encrypted size, name, checksum.
pub(crate) const CHECKSUM_REPLY: usize = 16 + 4 + NAME_FIELD + 4;
/// Payload of 1602, 1605, 2102 and 2105: id, wrapped AES key.
pub(crate) const KEY_REPLY: usize = 16 + 128;

const CKSUM: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_CKSUM);
const IV: [u8; BLOCK] = [0; BLOCK];

/// A request's header followed by its payload. `payload_size` is what the header claims.
pub(crate) fn request(id: &[u8; 16], code: u16, payload_size: usize, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(REQUEST_HEADER + payload.len());
    bytes.extend_from_slice(id);
    bytes.push(VERSION);
    bytes.extend_from_slice(&code.to_le_bytes());
    bytes.extend_from_slice(&size_field(payload_size));
    bytes.extend_from_slice(payload);
    bytes
}

/// A reply's header followed by its payload. `payload_size` is what the header claims.
pub(crate) fn reply(code: u16, payload_size: usize, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(REPLY_HEADER + payload.len());
    bytes.push(VERSION);
    bytes.extend_from_slice(&code.to_le_bytes());
    bytes.extend_from_slice(&size_field(payload_size));
    bytes.extend_from_slice(payload);
    bytes
}

/// Code and payload size of a request's header: id, then version, code and size.
pub(crate) fn request_header(bytes: &[u8]) -> ([u8; 16], u16, usize) {
    let id = bytes[..16].try_into().expect("a header has 16 bytes of id");
    (id, u16_at(bytes, 17), u32_at(bytes, 19) as usize)
}

/// Code and payload size of a reply's header.
pub(crate) fn reply_header(bytes: &[u8]) -> (u16, usize) {
    (u16_at(bytes, 1), u32_at(bytes, 3) as usize)
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// A size as its four bytes on the wire.
pub(crate) fn size_field(size: usize) -> [u8; 4] {
    u32::try_from(size).expect("no test is larger than 4 GiB").to_le_bytes()
}

/// `name` as a field of 255 bytes, filled with zeros.
pub(crate) fn name_field(name: &[u8]) -> [u8; NAME_FIELD] {
    assert!(name.len() < NAME_FIELD, "a name is at most 254 bytes");
    let mut field = [0; NAME_FIELD];
    field[..name.len()].copy_from_slice(name);
    field
}

/// A field without the zeros at its end.
pub(crate) fn strip(field: &[u8]) -> &[u8] {
    let end = field.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    &field[..end]
}

/// d825: POSIX `cksum`: the CRC over the data and then over its length, low byte first, without leading zeros.
pub(crate) fn cksum(data: &[u8]) -> u32 {
    let mut digest = CKSUM.digest();
    digest.update(data);
    let mut length = data.len();
    while length > 0 {
        digest.update(&[(length & 0xff) as u8]);
        length >>= 8;
    }
    digest.finalize()
}

/// d1100: the MD5 as eight big-endian 16-bit numbers, summed up.
pub(crate) fn md5_sum(data: &[u8]) -> u32 {
    let digest = Md5::digest(data);
    digest.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum()
}

/// d825: AES-256-CBC over the whole content, always padded.
pub(crate) fn encrypt_whole(key: &[u8; 32], content: &[u8]) -> Vec<u8> {
    let mut buffer = content.to_vec();
    buffer.resize((content.len() / BLOCK + 1) * BLOCK, 0);
    cbc::Encryptor::<Aes256>::new(key.into(), &IV.into())
        .encrypt_padded::<Pkcs7>(&mut buffer, content.len())
        .expect("the buffer holds the padding");
    buffer
}

/// d825: the content behind `ciphertext`, `None` when the padding is wrong.
pub(crate) fn decrypt_whole(key: &[u8; 32], ciphertext: &[u8]) -> Option<Vec<u8>> {
    let mut buffer = ciphertext.to_vec();
    let content = cbc::Decryptor::<Aes256>::new(key.into(), &IV.into())
        .decrypt_padded::<Pkcs7>(&mut buffer)
        .ok()?
        .len();
    buffer.truncate(content);
    Some(buffer)
}

/// d1100: one chunk of at most 1024 bytes, encrypted alone with all of its padding (16 to 1040 bytes).
pub(crate) fn encrypt_chunk(key: &[u8; 16], chunk: &[u8]) -> Vec<u8> {
    let mut buffer = chunk.to_vec();
    buffer.resize((chunk.len() / BLOCK + 1) * BLOCK, 0);
    cbc::Encryptor::<Aes128>::new(key.into(), &IV.into())
        .encrypt_padded::<Pkcs7>(&mut buffer, chunk.len())
        .expect("the buffer holds the padding");
    buffer
}

/// d1100: one chunk decrypted, its padding still on. The length must be a multiple of 16.
pub(crate) fn decrypt_chunk(key: &[u8; 16], chunk: &[u8]) -> Option<Vec<u8>> {
    let mut buffer = chunk.to_vec();
    cbc::Decryptor::<Aes128>::new(key.into(), &IV.into())
        .decrypt_padded::<NoPadding>(&mut buffer)
        .ok()?;
    Some(buffer)
}

/// `data` without its PKCS#7 padding, `None` when that is wrong.
pub(crate) fn unpad(data: &[u8]) -> Option<&[u8]> {
    let padding = usize::from(*data.last()?);
    let content = data.len().checked_sub(padding)?;
    let right = (1..=BLOCK).contains(&padding)
        && data[content..].iter().all(|&byte| usize::from(byte) == padding);
    right.then_some(&data[..content])
}

/// `length` rounded up to whole cipher blocks.
pub(crate) fn round_up(length: usize) -> usize {
    length.next_multiple_of(BLOCK)
}
