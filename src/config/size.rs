//! Numbers of bytes as people write them.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use thiserror::Error;

/// A number of bytes: `4096`, `64M` or `64MiB`, `2G`. All units are powers of 1024.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Size(pub u64);

/// Not a size.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0:?} is no size: give a number of bytes, or one with K, M, G or T behind it")]
pub struct SizeError(String);

/// From the largest.
const UNITS: [(&str, u64); 4] = [("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)];

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let short = text.strip_suffix("iB").unwrap_or(text);
        let unit = UNITS.iter().find_map(|(unit, bytes)| Some((short.strip_suffix(unit)?, *bytes)));
        let (digits, bytes) = unit.unwrap_or((text, 1));
        let count =
            Some(digits).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()));
        let size = count.and_then(|digits| digits.parse::<u64>().ok()?.checked_mul(bytes));
        size.map(Self).ok_or_else(|| SizeError(text.to_owned()))
    }
}

impl TryFrom<String> for Size {
    type Error = SizeError;

    fn try_from(text: String) -> Result<Self, SizeError> {
        text.parse()
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole =
            UNITS.iter().find(|(_, bytes)| self.0 >= *bytes && self.0.is_multiple_of(*bytes));
        match whole {
            Some((unit, bytes)) => write!(f, "{}{unit}", self.0 / bytes),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes, written) in [
            ("0", 0, "0"),
            ("4097", 4097, "4097"),
            ("1024", 1024, "1K"),
            ("64M", 64 << 20, "64M"),
            ("64MiB", 64 << 20, "64M"),
            ("2048G", 2 << 40, "2T"),
        ] {
            let size: Size = text.parse().expect("a size");
            assert_eq!((size.0, &size.to_string()[..]), (bytes, written));
        }
        for bad in ["", "M", "-1", "+1", "1.5G", "64 M", "64m", "9iB", "99999999T"] {
            assert_eq!(bad.parse::<Size>(), Err(SizeError(bad.to_owned())));
        }
    }
}
