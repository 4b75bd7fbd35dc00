//! `cofferd remove-client`: a client and all that it stored.

use std::io::{self, BufRead, IsTerminal, Write};

use super::{
    CommandError, FolderArgs, count, find_client, names::printed, reader, retention, to_stdout,
};
use crate::freeing::{free_doomed, remove_retired};
use crate::storage::DataDir;

/// Remove a client and all its files, for good
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The client's name, as `clients` prints it
    pub name: String,
    /// Do not ask. Needed where there is nobody to ask
    #[arg(long)]
    pub yes: bool,
    /// The data folder.
    #[command(flatten)]
    pub folder: FolderArgs,
}

/// Removes the client and says what is gone. Interrupted, it is finished by the next `remove-client` or the next start
/// of the server.
///
/// # Errors
/// If there is no such client, nobody confirmed, or something could not be removed.
pub fn run(args: &Args) -> Result<(), CommandError> {
    let dir = args.folder.open()?;
    let client = find_client(&reader(&dir)?, &args.name)?;
    if !args.yes && !confirm(&printed(client.name.as_bytes()))? {
        return Err(CommandError::Unconfirmed);
    }
    to_stdout(|out| remove_client(&dir, &client.name, out))
}

fn confirm(name: &str) -> Result<bool, CommandError> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Ok(false);
    }
    let mut answer = String::new();
    eprint!("Remove client {name} and all its files for good? [yes/no] ");
    let asked = io::stderr().flush().and_then(|()| stdin.lock().read_line(&mut answer));
    asked.map_err(CommandError::Output)?;
    Ok(answer.trim() == "yes")
}

/// Removes the client of exactly this name.
pub(super) fn remove_client(
    dir: &DataDir,
    name: &str,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let mut retention = retention(dir)?;
    if !retention.retire_client(name)? {
        return Err(CommandError::NoClient(printed(name.as_bytes())));
    }
    let (_, gone) = remove_retired(dir, &mut retention)?;
    free_doomed(dir, &mut retention)?;
    let (name, versions) = (printed(name.as_bytes()), count(gone.versions, "stored version"));
    writeln!(out, "removed {name}: {versions}, {} bytes", gone.bytes).map_err(CommandError::Output)
}
