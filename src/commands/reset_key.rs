//! `cofferd reset-key`: for a client that lost its key.

use std::io::Write;

use super::{CommandError, FolderArgs, find_client, names::printed, reader, retention, to_stdout};
use crate::storage::DataDir;

/// Let a client of the classic protocol that lost its key register its name again; it keeps its files. Whoever registers the name next gets them
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The client's name, as `clients` prints it
    pub name: String,
    /// The data folder.
    #[command(flatten)]
    pub folder: FolderArgs,
}

/// Forgets the client's key and says so.
///
/// # Errors
/// If there is no such client, or the catalog fails.
pub fn run(args: &Args) -> Result<(), CommandError> {
    let dir = args.folder.open()?;
    to_stdout(|out| reset_key(&dir, &args.name, out))
}

pub(super) fn reset_key(
    dir: &DataDir,
    name: &str,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let client = find_client(&reader(dir)?, name)?;
    if client.is_secure {
        let client = printed(client.name.as_bytes());
        let problem = "is enrolled: `cofferd reinvite` is for another key of it";
        return Err(CommandError::WrongDoor { client, problem });
    }
    if !retention(dir)?.reset_key(&client.name)? {
        return Err(CommandError::NoClient(name.to_owned()));
    }
    let name = printed(client.name.as_bytes());
    writeln!(
        out,
        "the key of {name} is forgotten: the name can be registered again, its files stay"
    )
    .map_err(CommandError::Output)
}
