//! The live line on a terminal.

use std::io::{IsTerminal, Write};
use std::time::Instant;

use crate::fleet::Fleet;
use crate::stats::Counters;

/// A line that is written again and again; nothing where stderr is no terminal.
pub(crate) struct Progress {
    enabled: bool,
    last: Option<(Instant, Counters)>,
}

impl Progress {
    pub(crate) fn start() -> Self {
        Self { enabled: std::io::stderr().is_terminal(), last: None }
    }

    pub(crate) fn show(&mut self, what: &str, fleet: &Fleet, now: Instant) {
        if !self.enabled {
            return;
        }
        let counters = fleet.stats.counters;
        let (then, before) = self.last.replace((now, counters)).unwrap_or((now, counters));
        let seconds = now.saturating_duration_since(then).as_secs_f64().max(0.001);
        let per_second = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        let line = format!(
            "{what}: {} connected, {} keys, {} files ({:.0}/s, {:.1} MiB/s), {} errors",
            fleet.connections,
            counters.key_exchanges,
            counters.files,
            per_second(counters.files, before.files),
            per_second(counters.bytes(), before.bytes()) / f64::from(1 << 20),
            counters.errors,
        );
        // What cannot be shown is not needed.
        let _ = write!(std::io::stderr(), "\r\x1b[2K{line}");
    }

    pub(crate) fn clear(&mut self) {
        self.last = None;
        if self.enabled {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
        }
    }
}
