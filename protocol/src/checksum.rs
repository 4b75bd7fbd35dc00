//! The checksums by which client and server compare a file.

use crc_fast::{CrcAlgorithm, Digest as Crc};
use md5::{Digest as _, Md5};

use crate::Dialect;

/// The POSIX `cksum` of what it is fed: CRC-32 with polynomial 04C11DB7, not reflected, starting at 0, fed the length
/// after the data, inverted. The same number as coreutils `cksum` prints; d825's checksum.
#[derive(Clone)]
pub struct Cksum {
    crc: Crc,
    length: u64,
}

impl Cksum {
    /// Nothing fed yet.
    #[must_use]
    pub fn new() -> Self {
        Self { crc: Crc::new(CrcAlgorithm::Crc32Cksum), length: 0 }
    }

    /// Feeds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.crc.update(bytes);
        self.length += bytes.len() as u64;
    }

    /// The number so far.
    #[must_use]
    pub fn value(&self) -> u32 {
        let mut crc = self.crc;
        let length = self.length.to_le_bytes();
        let used = length.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        crc.update(&length[..used]);
        crc.finalize() as u32
    }
}

impl Default for Cksum {
    fn default() -> Self {
        Self::new()
    }
}

/// The sum of an MD5 digest's eight **big-endian** 16-bit words: d1100's checksum.
#[must_use]
pub fn word_sum(md5: &[u8; 16]) -> u32 {
    md5.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum()
}

/// What a dialect needs to know of a plain file: its length, its `cksum`, and for d1100 its MD5.
#[derive(Clone)]
pub struct Sums {
    cksum: Cksum,
    md5: Option<Md5>,
}

impl Sums {
    /// Nothing fed yet.
    #[must_use]
    pub fn new(dialect: Dialect) -> Self {
        Self { cksum: Cksum::new(), md5: (dialect == Dialect::D1100).then(Md5::new) }
    }

    /// Feeds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.cksum.update(bytes);
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
    }

    /// Bytes fed.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.cksum.length
    }

    /// The POSIX `cksum`, whichever the dialect.
    #[must_use]
    pub fn cksum(&self) -> u32 {
        self.cksum.value()
    }

    /// The MD5, where the dialect needs one.
    #[must_use]
    pub fn md5(&self) -> Option<[u8; 16]> {
        self.md5.clone().map(|md5| md5.finalize().into())
    }

    /// The checksum that goes over the wire.
    #[must_use]
    pub fn on_the_wire(&self) -> u32 {
        self.md5().map_or_else(|| self.cksum(), |md5| word_sum(&md5))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(dialect: Dialect, bytes: &[u8]) -> u32 {
        let mut sums = Sums::new(dialect);
        sums.update(bytes);
        sums.on_the_wire()
    }

    /// `printf '' | cksum`, `printf 123456789 | cksum`, and the pattern of docs/PROTOCOL.md.
    #[test]
    fn known_answers() {
        let pattern: Vec<u8> = (0..1 << 20).map(|i: u32| (7 * i + 3) as u8).collect();
        let cases: [(&[u8], u32, u32); 3] = [
            (b"", 4_294_967_295, 312_456),
            (b"123456789", 930_766_865, 166_785),
            (&pattern, 4_243_021_139, 234_464),
        ];
        for (bytes, d825, d1100) in cases {
            assert_eq!(of(Dialect::D825, bytes), d825);
            assert_eq!(of(Dialect::D1100, bytes), d1100);
        }
    }

    proptest! {
        #[test]
        fn fast_cksum_is_the_plain_one(bytes: Vec<u8>, cut: proptest::sample::Index) {
            let oracle = crc::Crc::<u32>::new(&crc::CRC_32_CKSUM);
            let mut digest = oracle.digest();
            digest.update(&bytes);
            let length = (bytes.len() as u64).to_le_bytes();
            let used = length.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            digest.update(&length[..used]);

            let (front, back) = bytes.split_at(cut.index(bytes.len() + 1));
            let mut cksum = Cksum::new();
            cksum.update(front);
            cksum.update(back);
            prop_assert_eq!(cksum.value(), digest.finalize());
        }
    }
}
