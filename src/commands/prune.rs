//! `cofferd prune`: old versions.

use std::io::Write;

use super::{CommandError, FolderArgs, count, retention, to_stdout};
use crate::catalog::LetGo;
use crate::freeing::{free_doomed, remove_retired};
use crate::storage::DataDir;

/// Remove old versions of all files, for good. The newest versions always stay
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// How many versions of each file to keep, at least 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub keep: u32,
    /// The data folder.
    #[command(flatten)]
    pub folder: FolderArgs,
}

/// Removes old versions and says what is gone. What an interrupted removal left is removed as well.
///
/// # Errors
/// If there is no such data folder, or something could not be removed.
pub fn run(args: &Args) -> Result<(), CommandError> {
    let dir = args.folder.open()?;
    to_stdout(|out| prune(&dir, args.keep, out))
}

pub(super) fn prune(dir: &DataDir, keep: u32, out: &mut dyn Write) -> Result<(), CommandError> {
    let mut retention = retention(dir)?;
    let mut gone = LetGo::default();
    let mut after = Some(0);
    while let Some(row) = after {
        let (step, next) = retention.prune_step(keep, row)?;
        gone.versions += step.versions;
        gone.bytes += step.bytes;
        after = next;
        // Freed as it goes: a full disk gets room soon.
        free_doomed(dir, &mut retention)?;
    }
    remove_retired(dir, &mut retention)?;
    free_doomed(dir, &mut retention)?;
    let versions = count(gone.versions, "old version");
    writeln!(out, "removed {versions}, {} bytes", gone.bytes).map_err(CommandError::Output)
}
