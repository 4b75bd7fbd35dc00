//! How fast a check reads. Pure: time is handed in.

use std::time::Duration;

use crate::limits::SCRUB_BUFFER_BYTES;

/// A bound on bytes in a second. What was not used is not saved up: after a pause it does not go faster than before.
#[derive(Debug)]
pub(super) struct Pace {
    bytes_per_second: u64,
    /// When all that was read so far should have been read, since the beginning.
    due: Duration,
}

impl Pace {
    pub(super) fn new(mib_per_second: u32) -> Self {
        Self { bytes_per_second: u64::from(mib_per_second) << 20, due: Duration::ZERO }
    }

    /// How long to wait at `now` (since the beginning) after `bytes` more were read.
    pub(super) fn wait(&mut self, now: Duration, bytes: usize) -> Duration {
        let earliest = now.saturating_sub(self.cost(SCRUB_BUFFER_BYTES));
        self.due = self.due.max(earliest) + self.cost(bytes);
        self.due.saturating_sub(now)
    }

    fn cost(&self, bytes: usize) -> Duration {
        Duration::from_nanos((bytes as u64).saturating_mul(1_000_000_000) / self.bytes_per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `bytes` in buffers, waiting as told, and returns how long it took.
    fn read(pace: &mut Pace, start: Duration, bytes: usize) -> Duration {
        let mut now = start;
        for _ in 0..bytes / SCRUB_BUFFER_BYTES {
            now += pace.wait(now, SCRUB_BUFFER_BYTES);
        }
        now - start
    }

    #[test]
    fn a_mebibyte_takes_its_time() {
        let mut pace = Pace::new(4);
        assert_eq!(read(&mut pace, Duration::ZERO, 16 << 20), Duration::from_secs(4));
    }

    #[test]
    fn a_pause_is_not_made_up_for() {
        let mut pace = Pace::new(1);
        read(&mut pace, Duration::ZERO, 1 << 20);
        let took = read(&mut pace, Duration::from_secs(3600), 4 << 20);
        assert!(took >= Duration::from_millis(3750), "but for one buffer: {took:?}");
    }

    #[test]
    fn who_is_slower_never_waits() {
        let mut pace = Pace::new(1);
        for second in 1..100 {
            assert_eq!(pace.wait(Duration::from_secs(second), 1 << 18), Duration::ZERO);
        }
    }
}
