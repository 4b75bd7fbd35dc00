//! All chance of a run, from its seed.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// A stream of random choices.
pub(crate) struct Dice(StdRng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// A stream of its own, so that what is drawn from it does not shift what is drawn here.
    pub(crate) fn fork(&mut self) -> Self {
        Self::new(self.0.random())
    }

    /// From 0 to `end`, exclusive.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0.random_range(0..end)
    }

    /// From `low` to `high`, inclusive.
    pub(crate) fn within(&mut self, low: u64, high: u64) -> u64 {
        self.0.random_range(low..=high)
    }

    /// True once in `count` times.
    pub(crate) fn once_in(&mut self, count: u32) -> bool {
        self.0.random_range(0..count) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        self.0.random()
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// For what needs a generator of its own kind.
    pub(crate) fn rng(&mut self) -> &mut StdRng {
        &mut self.0
    }
}
