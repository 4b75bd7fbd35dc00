//! `cofferd export-catalog`: a consistent copy of the catalog.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::{CommandError, FolderArgs, retention, to_stdout};
use crate::catalog::precreate;
use crate::storage::{DataDir, sync_folder};

/// Write a consistent copy of the catalog to a new file, also while the server runs. It holds the clients' public keys
/// and the contents of small files; together with a copy of `blobs` made afterwards it is a whole backup
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The copy, which must not be there yet
    pub file: PathBuf,
    /// The data folder.
    #[command(flatten)]
    pub folder: FolderArgs,
}

/// Makes the copy and says so when it is durable.
///
/// # Errors
/// If there is no such data folder, the target is there already, or it cannot be written; nothing is left of it then.
pub fn run(args: &Args) -> Result<(), CommandError> {
    let dir = args.folder.open()?;
    let bytes = export(&dir, &args.file)?;
    to_stdout(|out| {
        writeln!(out, "copied the catalog to {}: {bytes} bytes", args.file.display())
            .map_err(CommandError::Output)
    })
}

/// Returns the bytes of the copy.
pub(super) fn export(dir: &DataDir, target: &Path) -> Result<u64, CommandError> {
    let failed = |error| CommandError::Io { path: target.to_owned(), error };
    // SQLite takes some relative names for something else than a path.
    let absolute = std::path::absolute(target).map_err(failed)?;
    let Some(text) = absolute.to_str() else {
        return Err(CommandError::Target {
            path: absolute,
            reason: "its path is no UTF-8, which SQLite needs",
        });
    };
    let retention = retention(dir)?;
    precreate(&absolute).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => CommandError::Target {
            path: target.to_owned(),
            reason: "it is there already: name a new file",
        },
        _ => failed(error),
    })?;
    let copied = retention.export(text).map_err(CommandError::Catalog);
    let copied = copied.and_then(|()| make_durable(&absolute).map_err(failed));
    copied.inspect_err(|_| {
        let _ = fs::remove_file(&absolute);
    })
}

fn make_durable(file: &Path) -> io::Result<u64> {
    let copy = File::open(file)?;
    copy.sync_all()?;
    sync_folder(file.parent().unwrap_or(Path::new("/")))?;
    Ok(copy.metadata()?.len())
}
