//! What is counted and timed during a run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use coffer_protocol::Dialect;
use hdrhistogram::Histogram;

use crate::limits::{ERROR_KINDS_MAX, LATENCY_MICROS_MAX, SAMPLE_INTERVAL, SAMPLES_MAX};
use crate::process::Usage;

/// A kind of wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    /// Until a connection stands.
    Connect,
    /// From asking for a name to getting an id.
    Register,
    /// From sending the public key, or asking to reconnect, to getting a wrapped session key.
    KeyExchange,
    /// From the first byte of a content to the server's checksum of it. While streaming it includes the encryption.
    Transfer,
    /// From saying that the checksum is right to the acknowledgement.
    Verdict,
    /// A whole file: from when it was to start to the acknowledgement.
    File,
    /// A whole session: from when it was to start to the acknowledgement of its last file.
    Session,
}

impl Wait {
    pub(crate) const ALL: [Self; 7] = [
        Self::Connect,
        Self::Register,
        Self::KeyExchange,
        Self::Transfer,
        Self::Verdict,
        Self::File,
        Self::Session,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Register => "register",
            Self::KeyExchange => "key exchange",
            Self::Transfer => "transfer",
            Self::Verdict => "verdict",
            Self::File => "file",
            Self::Session => "session",
        }
    }
}

/// Counters of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Files acknowledged.
    pub(crate) files: u64,
    /// Plain bytes of them, in dialect 825 and in dialect 1100.
    pub(crate) bytes: [u64; 2],
    /// Files acknowledged that came a byte at a time; not among those.
    pub(crate) trickled: u64,
    /// Whole sessions.
    pub(crate) sessions: u64,
    /// Key exchanges.
    pub(crate) key_exchanges: u64,
    /// Checksums that were wrong, as ordered.
    pub(crate) mismatches: u64,
    /// Connections that were reset, as ordered.
    pub(crate) resets: u64,
    /// Waits that a killed server interrupted.
    pub(crate) interrupted: u64,
    /// Files whose verdict was sent and never answered, because the server was killed: both ends are right.
    pub(crate) in_doubt: u64,
    /// Stalled and trickling clients that the server cut off.
    pub(crate) cut_off: u64,
    /// Files that were left after too many tries.
    pub(crate) abandoned: u64,
    /// Unexpected errors.
    pub(crate) errors: u64,
}

impl Counters {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.iter().sum()
    }

    pub(crate) fn add_file(&mut self, dialect: Dialect, bytes: u64) {
        self.files += 1;
        self.bytes[usize::from(dialect == Dialect::D1100)] += bytes;
    }
}

/// Everything at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) at: Instant,
    pub(crate) counters: Counters,
    pub(crate) connections: usize,
    /// Of the server, if it is ours and runs.
    pub(crate) usage: Option<Usage>,
}

/// What a run has come to.
pub(crate) struct Stats {
    pub(crate) counters: Counters,
    waits: Vec<Histogram<u64>>,
    errors: BTreeMap<String, u64>,
    samples: Vec<Sample>,
    interval: Duration,
}

impl Stats {
    pub(crate) fn new() -> Self {
        let histogram = || {
            Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, 3).expect("the bounds are in order")
        };
        Self {
            counters: Counters::default(),
            waits: Wait::ALL.iter().map(|_| histogram()).collect(),
            errors: BTreeMap::new(),
            samples: Vec::new(),
            interval: SAMPLE_INTERVAL,
        }
    }

    pub(crate) fn record(&mut self, wait: Wait, time: Duration) {
        self.waits[wait as usize].saturating_record(time.as_micros() as u64);
    }

    /// The latencies of a kind, in microseconds.
    pub(crate) fn waits(&self, wait: Wait) -> &Histogram<u64> {
        &self.waits[wait as usize]
    }

    /// An error that nobody ordered.
    pub(crate) fn error(&mut self, text: String) {
        self.counters.errors += 1;
        if let Some(count) = self.errors.get_mut(&text) {
            *count += 1;
        } else if self.errors.len() < ERROR_KINDS_MAX {
            self.errors.insert(text, 1);
        }
    }

    /// Error messages and how often each came.
    pub(crate) fn errors(&self) -> &BTreeMap<String, u64> {
        &self.errors
    }

    /// When the next sample is due.
    pub(crate) fn next_sample(&self, now: Instant) -> Instant {
        self.samples.last().map_or(now, |last| last.at + self.interval)
    }

    /// Takes a sample.
    pub(crate) fn sample(&mut self, at: Instant, connections: usize, usage: Option<Usage>) {
        self.samples.push(Sample { at, counters: self.counters, connections, usage });
        if self.samples.len() >= SAMPLES_MAX {
            let mut index = 0;
            self.samples.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.interval *= 2;
        }
    }

    pub(crate) fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// The clock starts: forgets the samples so far.
    pub(crate) fn start_clock(&mut self) {
        self.samples.clear();
        self.interval = SAMPLE_INTERVAL;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_by_their_text_within_bounds() {
        let mut stats = Stats::new();
        for number in 0..100 {
            stats.error(format!("error {}", number % 50));
        }
        assert_eq!(stats.counters.errors, 100);
        assert_eq!(stats.errors().len(), ERROR_KINDS_MAX);
        assert!(stats.errors().values().all(|&count| count == 2));
    }

    #[test]
    fn samples_are_thinned_out() {
        let mut stats = Stats::new();
        let start = Instant::now();
        for number in 0..SAMPLES_MAX {
            stats.sample(start + Duration::from_millis(number as u64), 0, None);
        }
        assert_eq!(stats.samples().len(), SAMPLES_MAX / 2);
        let last = stats.samples().last().expect("some").at;
        assert_eq!(stats.next_sample(start), last + 2 * SAMPLE_INTERVAL);
    }

    #[test]
    fn every_wait_has_its_histogram() {
        let mut stats = Stats::new();
        for (index, wait) in Wait::ALL.into_iter().enumerate() {
            assert_eq!(wait as usize, index);
            stats.record(wait, Duration::from_millis(index as u64 + 1));
            assert_eq!(stats.waits(wait).len(), 1);
        }
        stats.record(Wait::File, Duration::from_secs(100_000));
        assert!(stats.waits(Wait::File).max() >= LATENCY_MICROS_MAX);
    }
}
