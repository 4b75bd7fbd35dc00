//! What this machine can do at best, now: the figures that a server's are compared with.

mod disk;
mod pipeline;

use std::fmt;
use std::path::Path;

use anyhow::Context as _;
use coffer_protocol::Dialect;
use serde::Serialize;
use tempfile::TempDir;

use crate::args::RooflineArgs;
use crate::report;

/// Threads that write durable files at once.
const DISK_THREADS: [usize; 3] = [1, 4, 16];

/// The figures.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Roofline {
    /// One thread that receives from loopback, decrypts, takes the dialect's checksums and writes: CPU-seconds per
    /// GiB, best and median of the rounds.
    cpu_seconds_per_gib_825: Rounds,
    cpu_seconds_per_gib_1100: Rounds,
    /// One thread that wraps session keys with RSA-1024: wraps a second of CPU time, by dialect.
    wraps_per_second_825: f64,
    wraps_per_second_1100: f64,
    /// Files of 4 KiB, each written, synced, renamed and its folder synced.
    durable_files: Vec<DurableFiles>,
}

/// What several rounds came to.
#[derive(Clone, Copy, Debug, Serialize)]
struct Rounds {
    best: f64,
    median: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct DurableFiles {
    threads: usize,
    per_second: f64,
}

impl Roofline {
    /// The best CPU-seconds per GiB of a dialect's pipeline.
    pub(crate) fn pipeline(&self, dialect: Dialect) -> f64 {
        match dialect {
            Dialect::D825 => self.cpu_seconds_per_gib_825.best,
            Dialect::D1100 => self.cpu_seconds_per_gib_1100.best,
        }
    }

    /// The most durable files a second, with any number of threads.
    pub(crate) fn durable_files_best(&self) -> f64 {
        self.durable_files.iter().map(|files| files.per_second).fold(1e-6, f64::max)
    }
}

impl fmt::Display for Roofline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (dialect, rounds) in
            [(825, self.cpu_seconds_per_gib_825), (1100, self.cpu_seconds_per_gib_1100)]
        {
            let Rounds { best, median } = rounds;
            writeln!(
                f,
                "roofline    receive, decrypt, checksum, write ({dialect}): {best:.2} CPU-s/GiB best, {median:.2} median"
            )?;
        }
        writeln!(
            f,
            "roofline    RSA-1024 wraps/s: {:.0} (825), {:.0} (1100)",
            self.wraps_per_second_825, self.wraps_per_second_1100
        )?;
        write!(f, "roofline    durable 4 KiB files/s:")?;
        for files in &self.durable_files {
            let s = if files.threads == 1 { "" } else { "s" };
            write!(f, " {:.0} with {} thread{s}", files.per_second, files.threads)?;
        }
        writeln!(f)
    }
}

/// Runs the command.
///
/// # Errors
/// If something cannot be measured.
pub(crate) fn command(args: &RooflineArgs) -> anyhow::Result<bool> {
    let folder = args.data.clone().unwrap_or_else(std::env::temp_dir);
    let roofline = measure(&folder)?;
    print!("{roofline}");
    if let Some(path) = &args.json {
        report::write_json(path, &roofline)?;
    }
    Ok(true)
}

/// Measures everything, in a fresh folder below `folder`. It takes about half a minute.
///
/// # Errors
/// If something cannot be measured.
pub(crate) fn measure(folder: &Path) -> anyhow::Result<Roofline> {
    let place = || format!("cannot measure in {}", folder.display());
    let scratch = TempDir::with_prefix_in("coffer-roofline-", folder).with_context(place)?;
    let path = scratch.path();
    let rounds = |dialect| {
        eprintln!("roofline: receive, decrypt, checksum and write, dialect {dialect}");
        pipeline::rounds(dialect, path)
    };
    // First: what the others write and delete would slow it down.
    let durable_files = DISK_THREADS.map(|threads| {
        eprintln!("roofline: durable files, {threads} at once");
        let per_second = disk::durable_files_per_second(threads, path)?;
        Ok(DurableFiles { threads, per_second })
    });
    Ok(Roofline {
        durable_files: durable_files.into_iter().collect::<anyhow::Result<_>>()?,
        cpu_seconds_per_gib_825: rounds(Dialect::D825)?,
        cpu_seconds_per_gib_1100: rounds(Dialect::D1100)?,
        wraps_per_second_825: pipeline::wraps_per_second(Dialect::D825)?,
        wraps_per_second_1100: pipeline::wraps_per_second(Dialect::D1100)?,
    })
}

impl Rounds {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self { best: values[0], median: values[values.len() / 2] }
    }
}
