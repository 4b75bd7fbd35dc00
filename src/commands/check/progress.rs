//! How far a check has come, in one line of a terminal.

use std::io::{self, Write};
use std::time::Instant;

use crate::catalog::ScrubTotals;
use crate::limits::SCRUB_PROGRESS_INTERVAL;
use crate::scrub::Summary;

/// Clears the line that the cursor is in.
const CLEAR: &str = "\r\x1b[K";

/// The line, on the standard error.
#[derive(Debug, Default)]
pub(in crate::commands) struct Progress {
    shown: Option<Instant>,
}

impl Progress {
    pub(super) fn show(&mut self, summary: &Summary, totals: &ScrubTotals) {
        if self.shown.is_some_and(|shown| shown.elapsed() < SCRUB_PROGRESS_INTERVAL) {
            return;
        }
        self.shown = Some(Instant::now());
        let mib = |bytes: u64| bytes >> 20;
        let (read, all) = (mib(summary.bytes), mib(totals.bytes));
        let text =
            format!("{} of {} versions, {read} of {all} MiB", summary.versions, totals.versions);
        // Who cannot be shown how far it is still gets the findings.
        let _ = write!(io::stderr(), "{CLEAR}{text}").and_then(|()| io::stderr().flush());
    }

    pub(super) fn clear(&mut self) {
        if self.shown.take().is_some() {
            let _ = write!(io::stderr(), "{CLEAR}");
        }
    }
}
