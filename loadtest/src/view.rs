//! How long the view of plain files takes to catch up with what was acknowledged.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::engine::Engine;
use crate::limits::VIEW_MAX;
use crate::place::Place;

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// How long the view of plain files took to catch up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lag {
    pub(crate) caught_up: bool,
    pub(crate) waited: Duration,
    /// CPU time that the server used meanwhile.
    pub(crate) cpu: Duration,
}

/// Waits until as many plain files are there as were acknowledged. None if the server is not ours.
///
/// # Errors
/// If the folder cannot be read.
pub(crate) fn catch_up(engine: &Engine, place: &Place) -> io::Result<Option<Lag>> {
    let (Some(server), Some(data)) = (&engine.server, place.data()) else { return Ok(None) };
    let cpu = || server.usage().unwrap_or_default().cpu;
    let (start, before) = (Instant::now(), cpu());
    // The folder may have files of earlier runs: then this says less than it could.
    let expected = engine.fleet.ledger.acknowledged();
    loop {
        let caught_up = count_files(&data.join("files"))? >= expected;
        if caught_up || start.elapsed() > VIEW_MAX {
            let (waited, cpu) = (start.elapsed(), cpu().saturating_sub(before));
            return Ok(Some(Lag { caught_up, waited, cpu }));
        }
        thread::sleep(LOOK_INTERVAL);
    }
}

/// How many plain files are below a folder, which somebody may be filling.
fn count_files(folder: &Path) -> io::Result<u64> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut count = 0;
    for entry in entries {
        let entry = entry?;
        count += if entry.file_type()?.is_dir() { count_files(&entry.path())? } else { 1 };
    }
    Ok(count)
}
