//! A file's ciphertext to its plain bytes and checksums: what a server does with an upload, without the IO.
//!
//! The caller feeds pieces, writes what it gets back, and at the end writes the few bytes that [`Finished::tail`]
//! holds. Nothing is copied but that tail.

use thiserror::Error;

use crate::checksum::{Sums, word_sum};
use crate::cipher::{Decryptor, SessionKey, padding_len};
use crate::{BLOCK, Dialect, PACKET};

/// The sizes that an upload announces, checked against each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// Bytes of ciphertext.
    encrypted: u32,
    /// Bytes of plain content, where the dialect says it.
    plain: Option<u32>,
}

/// Why the sizes of an upload cannot be true.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum SizesError {
    /// CBC makes whole blocks, and d825 always at least one.
    #[error("an encrypted size of {0} bytes is impossible")]
    Encrypted(u32),
    /// PKCS#7 adds 1 to 16 bytes.
    #[error("{plain} plain bytes cannot become {encrypted} encrypted ones")]
    Plain {
        /// The announced plain size.
        plain: u32,
        /// The announced encrypted size.
        encrypted: u32,
    },
    /// A count of 0, or one that disagrees with the encrypted size.
    #[error("{encrypted} encrypted bytes are not {count} packets")]
    Count {
        /// The announced number of packets.
        count: u16,
        /// The announced encrypted size.
        encrypted: u32,
    },
    /// Both programs of d1100 keep sizes in signed 32 bits.
    #[error("an encrypted size of {0} bytes is over the dialect's limit of 2 GiB")]
    TooLarge(u32),
}

impl Sizes {
    /// The sizes in a d825 file packet.
    ///
    /// # Errors
    /// What is impossible about them.
    pub fn d825(encrypted: u32, plain: u32, count: u16) -> Result<Self, SizesError> {
        if encrypted == 0 || !encrypted.is_multiple_of(BLOCK as u32) {
            return Err(SizesError::Encrypted(encrypted));
        }
        if !encrypted
            .checked_sub(plain)
            .is_some_and(|padding| (1..=BLOCK as u32).contains(&padding))
        {
            return Err(SizesError::Plain { plain, encrypted });
        }
        if encrypted.div_ceil(PACKET as u32) != u32::from(count) {
            return Err(SizesError::Count { count, encrypted });
        }
        Ok(Self { encrypted, plain: Some(plain) })
    }

    /// The size in a d1100 upload.
    ///
    /// # Errors
    /// If it is no whole number of blocks, or 2 GiB and more.
    pub fn d1100(encrypted: u32) -> Result<Self, SizesError> {
        if !encrypted.is_multiple_of(BLOCK as u32) {
            return Err(SizesError::Encrypted(encrypted));
        }
        if encrypted > i32::MAX as u32 {
            return Err(SizesError::TooLarge(encrypted));
        }
        Ok(Self { encrypted, plain: None })
    }

    /// Bytes of ciphertext.
    #[must_use]
    pub fn encrypted(&self) -> u32 {
        self.encrypted
    }

    /// How many packets or chunks of [`PACKET`] bytes carry the ciphertext.
    #[must_use]
    pub fn packets(&self) -> u32 {
        self.encrypted.div_ceil(PACKET as u32)
    }

    /// The most bytes that the plain content can have.
    #[must_use]
    pub fn plain_max(&self) -> u64 {
        u64::from(self.plain.unwrap_or(self.encrypted))
    }
}

/// How the end of a d1100 file is read. Its plain size is not on the wire and its padding is sometimes cut off, so a
/// file that happens to end like padding has two readings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reading {
    /// What looks like padding is padding.
    Padded,
    /// The last bytes are content.
    Whole,
}

/// What is remembered of an upload whose checksum the client called wrong, to read the same ciphertext the other way
/// when it comes again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attempt {
    whole_md5: [u8; 16],
    reading: Reading,
}

/// The plain content of an upload is complete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finished {
    /// The last bytes of the content, not yet written: at most [`BLOCK`] of them.
    pub tail: Vec<u8>,
    /// Bytes of plain content, the tail included.
    pub size: u64,
    /// The POSIX `cksum` of the content, whichever the dialect.
    pub cksum: u32,
    /// The checksum that the client is answered.
    pub checksum: u32,
    /// How the end was read, where there was a choice.
    pub attempt: Option<Attempt>,
}

/// The ciphertext is none.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum DecodeError {
    /// The padding is wrong, or the content's length is not the announced one: another key, or damage on the way.
    #[error("the content does not decrypt: its padding is wrong")]
    Padding,
    /// Fewer bytes came than were announced.
    #[error("{0} bytes of the content are missing")]
    Missing(u32),
}

/// Decodes one upload.
pub struct Decoder {
    decryptor: Decryptor,
    dialect: Dialect,
    sizes: Sizes,
    missing: u32,
    sums: Sums,
    /// The end of the file that looks like padding; empty until the last piece came.
    padding: Vec<u8>,
}

impl Decoder {
    /// At the beginning of an upload.
    #[must_use]
    pub fn new(key: &SessionKey, sizes: Sizes) -> Self {
        let dialect = key.dialect();
        Self {
            decryptor: Decryptor::new(key),
            dialect,
            sizes,
            missing: sizes.encrypted,
            sums: Sums::new(dialect),
            padding: Vec::new(),
        }
    }

    /// Decrypts the next piece in place and returns what of it is content for certain. Bytes beyond the announced
    /// size are filler and ignored. A piece is a whole number of packets or chunks unless it holds the end.
    pub fn decrypt<'a>(&mut self, piece: &'a mut [u8]) -> &'a [u8] {
        let length = piece.len().min(self.missing as usize);
        let piece = &mut piece[..length];
        self.decryptor.decrypt(piece);
        self.missing -= length as u32;
        let padding =
            if self.missing == 0 { padding_len(self.last_chunk(piece)).unwrap_or(0) } else { 0 };
        let (content, padding) = piece.split_at(length - padding);
        self.padding.extend_from_slice(padding);
        self.sums.update(content);
        content
    }

    /// The part of the last piece in which its padding can stand.
    fn last_chunk<'a>(&self, piece: &'a [u8]) -> &'a [u8] {
        &piece[piece.len().saturating_sub(BLOCK)..]
    }

    /// The end of the upload. `before` is the attempt at the same file that the client just called wrong.
    ///
    /// # Errors
    /// If bytes are missing or, in d825, the padding is wrong.
    pub fn finish(mut self, before: Option<&Attempt>) -> Result<Finished, DecodeError> {
        if self.missing > 0 {
            return Err(DecodeError::Missing(self.missing));
        }
        match self.dialect {
            Dialect::D825 => {
                let size = u64::from(self.sizes.encrypted) - self.padding.len() as u64;
                let announced = self.sizes.plain.map(u64::from);
                if self.padding.is_empty() || announced.is_some_and(|plain| plain != size) {
                    return Err(DecodeError::Padding);
                }
                Ok(self.finished(Vec::new(), None))
            }
            Dialect::D1100 => Ok(self.finish_d1100(before)),
        }
    }

    fn finish_d1100(&mut self, before: Option<&Attempt>) -> Finished {
        let padding = std::mem::take(&mut self.padding);
        if padding.is_empty() {
            return self.finished(Vec::new(), None);
        }
        let mut whole = self.sums.clone();
        whole.update(&padding);
        let whole_md5 = whole.md5().expect("d1100 sums hold an MD5");
        let reading = match before {
            Some(Attempt { whole_md5: same, reading: Reading::Padded }) if *same == whole_md5 => {
                Reading::Whole
            }
            _ => Reading::Padded,
        };
        let attempt = Some(Attempt { whole_md5, reading });
        match reading {
            Reading::Padded => self.finished(Vec::new(), attempt),
            Reading::Whole => {
                self.sums = whole;
                self.finished(padding, attempt)
            }
        }
    }

    fn finished(&self, tail: Vec<u8>, attempt: Option<Attempt>) -> Finished {
        let cksum = self.sums.cksum();
        let checksum = self.sums.md5().map_or(cksum, |md5| word_sum(&md5));
        Finished { tail, size: self.sums.length(), cksum, checksum, attempt }
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
