//! One sync of the file system for all contents of a group.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::LazyLock;

use rustix::fs::syncfs;
use rustix::system::uname;

/// The first Linux whose `syncfs` reports whatever was lost, a failed journal included: before 5.8 it reported
/// nothing, before 5.17 not what the file system itself had to say.
const RELIABLE_SINCE: (u32, u32) = (5, 17);

/// Whether one sync may stand for those of many files here.
pub(super) fn is_reliable() -> bool {
    static RELIABLE: LazyLock<bool> =
        LazyLock::new(|| is_reliable_in(&uname().release().to_string_lossy()));
    *RELIABLE
}

fn is_reliable_in(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= RELIABLE_SINCE,
        _ => false,
    }
}

/// Begun before the first write of a group, ended after the last.
#[derive(Debug)]
pub(super) struct GroupSync {
    root: File,
}

impl GroupSync {
    /// Opens a description of its own: the kernel tells each one once of what was lost since it was opened, so that
    /// two groups cannot take an error from each other.
    pub(super) fn begin(folder: &Path) -> io::Result<Self> {
        Ok(Self { root: File::open(folder)? })
    }

    /// Returns once all that was written since the beginning, names included, survives power loss.
    pub(super) fn end(self) -> io::Result<()> {
        Ok(syncfs(self.root)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_kernel_that_reports_errors_is_relied_on() {
        for (release, reliable) in [
            ("6.18.0", true),
            ("6.1.0-28-amd64", true),
            ("5.17.0", true),
            ("5.16.20", false),
            ("5.8", false),
            ("4.19.0", false),
            ("10.0-rc1", true),
            ("", false),
            ("6", false),
            ("next", false),
        ] {
            assert_eq!(is_reliable_in(release), reliable, "{release}");
        }
    }
}
