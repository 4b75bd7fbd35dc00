//! What the clients send: sizes and bytes that follow from a seed, so that nothing needs to be kept.

use crate::args::Sizes;

/// The increment of SplitMix64, an odd constant derived from the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The content of one file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Content {
    seed: u64,
    size: u64,
}

impl Content {
    /// The content of a client's file.
    pub(crate) fn new(seed: u64, sizes: Sizes, account: usize, file: u32) -> Self {
        let seed = draw(seed, account, file, Draw::Content);
        let span = sizes.max - sizes.min + 1;
        Self { seed, size: sizes.min + mix(seed) % span }
    }

    /// Its size, in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Fills `out` with its bytes from `offset`, a multiple of 8, on.
    pub(crate) fn fill(&self, offset: u64, out: &mut [u8]) {
        debug_assert!(offset.is_multiple_of(8) && offset + out.len() as u64 <= self.size);
        let end = offset + out.len() as u64;
        for (word, chunk) in (offset / 8..).zip(out.chunks_mut(8)) {
            let bytes = mix(self.seed.wrapping_add(word.wrapping_mul(GOLDEN))).to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        if end == self.size
            && let Some(last) = out.last_mut()
        {
            // d1100 does not say whether a last chunk is padded. A content that does not end like padding is read
            // rightly the first time, so that every mismatch is a fault.
            *last |= 0x80;
        }
    }
}

/// What a number is drawn for.
#[derive(Clone, Copy)]
pub(crate) enum Draw {
    Content = 1,
    Corrupt,
    Reset,
    Reconnect,
}

/// A number that belongs to one file and one purpose.
fn draw(seed: u64, account: usize, file: u32, what: Draw) -> u64 {
    let file = (account as u64) << 32 | u64::from(file);
    mix(mix(seed ^ mix(what as u64)).wrapping_add(file.wrapping_mul(GOLDEN)))
}

/// Whether a file is among the share `fraction` of files.
pub(crate) fn is_drawn(seed: u64, account: usize, file: u32, what: Draw, fraction: f64) -> bool {
    // 53 bits make a number from 0 to less than 1.
    let number = (draw(seed, account, file, what) >> 11) as f64 / (1u64 << 53) as f64;
    number < fraction
}

/// The output function of SplitMix64: a bijection that leaves no pattern.
fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(GOLDEN);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: Sizes = Sizes { min: 1000, max: 3000 };

    #[test]
    fn the_mix_is_splitmix64() {
        // The first outputs for seed 0, as published with the generator.
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(GOLDEN), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn pieces_are_the_whole() {
        let content = Content::new(7, SIZES, 3, 5);
        let mut whole = vec![0; content.size() as usize];
        content.fill(0, &mut whole);
        let mut pieces = vec![0; whole.len()];
        for (index, piece) in pieces.chunks_mut(256).enumerate() {
            content.fill(256 * index as u64, piece);
        }
        assert_eq!(whole, pieces);
        assert!(whole.last().is_some_and(|&last| last >= 0x80), "it does not end like padding");
    }

    #[test]
    fn files_differ_and_keep_to_the_sizes() {
        let mut seen = std::collections::HashSet::new();
        for (account, file) in (0..20).flat_map(|account| (0..20).map(move |file| (account, file)))
        {
            let content = Content::new(7, SIZES, account, file);
            assert!((SIZES.min..=SIZES.max).contains(&content.size()));
            let mut bytes = vec![0; 64];
            content.fill(0, &mut bytes);
            assert!(seen.insert(bytes), "file {file} of {account}");
        }
    }

    #[test]
    fn shares_are_about_right() {
        let drawn = |fraction| {
            (0..10_000).filter(|&file| is_drawn(1, 2, file, Draw::Reset, fraction)).count()
        };
        assert_eq!((drawn(0.0), drawn(1.0)), (0, 10_000));
        assert!((900..1100).contains(&drawn(0.1)));
    }
}
