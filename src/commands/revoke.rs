//! `cofferd revoke`: for a key that somebody else may have.

use std::io::Write;

use super::{CommandError, FolderArgs, count, find_client, names::printed, reader, to_stdout};
use crate::catalog::{Door, Invitations, Revoked};
use crate::storage::DataDir;

/// Let a client of the secure door in no more: revoke its key for good, and withdraw an open invitation. What it stored
/// stays
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The client's name, as `clients` prints it, or the name of one that was invited
    pub name: String,
    /// The data folder.
    #[command(flatten)]
    pub folder: FolderArgs,
}

/// Revokes, and says what.
///
/// # Errors
/// If there is neither such a client nor such an invitation, or the catalog fails.
pub fn run(args: &Args) -> Result<(), CommandError> {
    let dir = args.folder.open()?;
    to_stdout(|out| revoke(&dir, &args.name, out))
}

pub(super) fn revoke(dir: &DataDir, name: &str, out: &mut dyn Write) -> Result<(), CommandError> {
    let name = match find_client(&reader(dir)?, name) {
        Ok(client) => client.name,
        Err(CommandError::NoClient(_)) => name.to_owned(),
        Err(error) => return Err(error),
    };
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let Revoked { door, keys, invitations } =
        Invitations::open(&dir.catalog())?.revoke(&name, now_ms)?;
    let client = printed(name.as_bytes());
    match door {
        Door::None if invitations == 0 => return Err(CommandError::NoClient(client)),
        Door::Classic if invitations == 0 => {
            let problem = "uses the classic protocol, which has no keys to revoke: `cofferd remove-client` removes it with its files";
            return Err(CommandError::WrongDoor { client, problem });
        }
        _ => {}
    }
    let (keys, invitations) = (count(keys as u64, "key"), count(invitations as u64, "invitation"));
    let again =
        if door == Door::Secure { "; `cofferd reinvite` lets it in with another key" } else { "" };
    writeln!(out, "revoked {keys} and {invitations} of {client}{again}")
        .map_err(CommandError::Output)
}
