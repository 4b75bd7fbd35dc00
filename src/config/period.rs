//! Spans of time as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

/// A span of time: `90s`, `30m`, `24h` or `7d`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Period(pub Duration);

/// Not a span of time.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0:?} is no span of time: give a number with s, m, h or d behind it")]
pub struct PeriodError(String);

/// Seconds, from the longest.
const UNITS: [(char, u64); 4] = [('d', 24 * 3600), ('h', 3600), ('m', 60), ('s', 1)];

impl FromStr for Period {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Self, PeriodError> {
        let parts =
            UNITS.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(*unit)?, *seconds)));
        let parts = parts.filter(|(digits, _)| digits.bytes().all(|digit| digit.is_ascii_digit()));
        let seconds =
            parts.and_then(|(digits, seconds)| digits.parse::<u64>().ok()?.checked_mul(seconds));
        let span = seconds.map(|seconds| Self(Duration::from_secs(seconds)));
        span.ok_or_else(|| PeriodError(text.to_owned()))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let whole =
            UNITS.iter().find(|(_, unit)| seconds >= *unit && seconds.is_multiple_of(*unit));
        match whole {
            Some((unit, in_seconds)) => write!(f, "{}{unit}", seconds / in_seconds),
            None => write!(f, "{seconds}s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_written() {
        for (text, seconds, written) in [
            ("0s", 0, "0s"),
            ("90s", 90, "90s"),
            ("30m", 1800, "30m"),
            ("24h", 86_400, "1d"),
            ("25h", 90_000, "25h"),
            ("7d", 604_800, "7d"),
        ] {
            let span: Period = text.parse().expect("a span");
            assert_eq!((span.0.as_secs(), &span.to_string()[..]), (seconds, written));
        }
        for bad in ["", "h", "24", "-1h", "+1h", "1.5h", "24 h", "24H", "1w", "999999999999999999d"]
        {
            assert_eq!(bad.parse::<Period>(), Err(PeriodError(bad.to_owned())));
        }
    }
}
