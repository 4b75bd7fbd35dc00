//! What a process uses, as the kernel tells it in `/proc`.

use std::fs;
use std::io;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;

/// What a process uses at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// CPU time of all its threads since it began.
    pub(crate) cpu: Duration,
    /// Memory in use, in KiB.
    pub(crate) rss_kib: u64,
    /// The part of it that belongs to no file, in KiB.
    pub(crate) anonymous_kib: u64,
    /// The most memory that was ever in use, in KiB.
    pub(crate) peak_kib: u64,
    pub(crate) open_files: u64,
    pub(crate) threads: u64,
}

impl Usage {
    /// Reads it.
    ///
    /// # Errors
    /// If there is no such process, or it is not ours.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let open_files = fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64;
        Ok(Self {
            cpu: cpu(&stat).ok_or(io::ErrorKind::InvalidData)?,
            rss_kib: field(&status, "VmRSS"),
            anonymous_kib: field(&status, "RssAnon"),
            peak_kib: field(&status, "VmHWM"),
            open_files,
            threads: field(&status, "Threads"),
        })
    }
}

/// User and system time: fields 14 and 15, counted behind the program's name, which may hold anything.
fn cpu(stat: &str) -> Option<Duration> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_secs_f64((user + system) as f64 / clock_ticks_per_second() as f64))
}

/// A number of `/proc/PID/status`; 0 where there is none.
fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Memory that programs may take without the machine running out, in bytes.
///
/// # Errors
/// If the kernel does not say.
pub(crate) fn available_bytes() -> io::Result<u64> {
    Ok(field(&fs::read_to_string("/proc/meminfo")?, "MemAvailable") << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_usage_makes_sense() {
        let usage = Usage::of(std::process::id()).expect("we are there");
        assert!(usage.rss_kib > 100 && usage.peak_kib >= usage.anonymous_kib);
        assert!(usage.threads >= 1 && usage.open_files >= 3);
        assert!(available_bytes().expect("Linux") > 1 << 20);
    }

    #[test]
    fn a_name_with_brackets_does_not_confuse() {
        let stat = "7 (a) b) (c) S 1 2 3 4 5 6 7 8 9 10 250 150 0 0";
        let expected = Duration::from_secs_f64(400.0 / clock_ticks_per_second() as f64);
        assert_eq!(cpu(stat), Some(expected));
    }
}
