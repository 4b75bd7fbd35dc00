//! How many small files the disk can make durable.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// Bytes of a file.
const FILE_BYTES: usize = 4096;
/// How long each number of threads writes.
const TIME: Duration = Duration::from_secs(3);

/// Durable files a second, written by `threads` threads, each in a fresh folder of its own.
pub(super) fn durable_files_per_second(threads: usize, folder: &Path) -> anyhow::Result<f64> {
    let start = Instant::now();
    let written: io::Result<u64> = thread::scope(|scope| {
        let write = |number: usize| {
            let folder = folder.join(format!("disk-{threads}-{number}"));
            move || write_files(&folder, start + TIME)
        };
        let threads: Vec<_> = (0..threads).map(|number| scope.spawn(write(number))).collect();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).sum()
    });
    Ok(written.context("cannot write durable files")? as f64 / start.elapsed().as_secs_f64())
}

fn write_files(folder: &Path, end: Instant) -> io::Result<u64> {
    fs::create_dir(folder)?;
    let directory = File::open(folder)?;
    let content = [0x5a; FILE_BYTES];
    let mut written = 0;
    while Instant::now() < end {
        let (temporary, last) = (folder.join("new"), folder.join(written.to_string()));
        let mut file = File::create_new(&temporary)?;
        file.write_all(&content)?;
        file.sync_all()?;
        fs::rename(&temporary, &last)?;
        directory.sync_all()?;
        written += 1;
    }
    Ok(written)
}
