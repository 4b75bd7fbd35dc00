//! When something new begins: pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What was ordered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// Files of each client; none: as many as there is time for.
    pub(crate) files: Option<u32>,
    /// Clients register, send and leave, and new ones take their places.
    pub(crate) sessions: bool,
    pub(crate) duration: Option<Duration>,
    pub(crate) ramp: Duration,
    pub(crate) think: Duration,
    /// Starts a second; none: everybody starts when ready.
    pub(crate) rate: Option<f64>,
    pub(crate) reconnect: f64,
    pub(crate) corrupt: f64,
    pub(crate) reset: f64,
    pub(crate) trickle_pause: Duration,
}

/// The moments at which something is to start, whether or not somebody is free to do it.
#[derive(Debug)]
pub(crate) struct Arrivals {
    start: Instant,
    interval: Duration,
    /// Starts in all; none: until `end`.
    total: Option<u64>,
    end: Option<Instant>,
    issued: u64,
    /// Starts that nobody was free for, oldest first.
    waiting: VecDeque<Instant>,
}

impl Arrivals {
    /// `rate` starts a second from `start` on, `total` of them or until `duration` has passed.
    pub(crate) fn new(
        start: Instant,
        rate: f64,
        total: Option<u64>,
        duration: Option<Duration>,
    ) -> Self {
        let interval = Duration::from_secs_f64(1.0 / rate);
        let end = duration.map(|duration| start + duration);
        Self { start, interval, total, end, issued: 0, waiting: VecDeque::new() }
    }

    /// When the next start is due; none if there is none any more.
    pub(crate) fn next(&self) -> Option<Instant> {
        let at = self.start + self.interval.mul_f64(self.issued as f64);
        let more = self.total.is_none_or(|total| self.issued < total);
        (more && self.end.is_none_or(|end| at < end)).then_some(at)
    }

    /// Notes what has become due.
    pub(crate) fn advance(&mut self, now: Instant) {
        while let Some(at) = self.next().filter(|&at| at <= now) {
            self.waiting.push_back(at);
            self.issued += 1;
        }
    }

    /// The oldest start that waits.
    pub(crate) fn take(&mut self) -> Option<Instant> {
        self.waiting.pop_front()
    }

    /// Whether any start waits.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether nothing waits or will come.
    pub(crate) fn is_over(&self) -> bool {
        self.waiting.is_empty() && self.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_come_at_their_rate_and_keep_their_moments() {
        let start = Instant::now();
        let mut arrivals = Arrivals::new(start, 100.0, Some(10), None);
        arrivals.advance(start + Duration::from_millis(35));
        let taken: Vec<_> = std::iter::from_fn(|| arrivals.take()).collect();
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(taken, [at(0), at(10), at(20), at(30)]);
        arrivals.advance(start + Duration::from_secs(100));
        assert_eq!(arrivals.next(), None);
        assert!(!arrivals.is_over() && arrivals.is_waiting());
        assert_eq!(arrivals.take(), Some(at(40)), "late, and still counted from when it was due");
        while arrivals.take().is_some() {}
        assert!(arrivals.is_over());
    }

    #[test]
    fn starts_end_with_the_duration() {
        let start = Instant::now();
        let mut arrivals = Arrivals::new(start, 10.0, None, Some(Duration::from_secs(1)));
        arrivals.advance(start + Duration::from_secs(5));
        assert_eq!(std::iter::from_fn(|| arrivals.take()).count(), 10);
        assert!(arrivals.is_over());
    }
}
