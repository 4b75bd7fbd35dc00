//! What an operator does with a data folder. Every command works beside a running server, and without one.
//!
//! The commands write to the standard output what they were asked for, and nothing else. A reader that goes away
//! (`cofferd list | head`) is no error.

pub mod cat;
pub mod check;
pub mod clients;
pub mod export_catalog;
pub mod invite;
pub mod list;
mod names;
pub mod prune;
pub mod remove_client;
pub mod reset_key;
pub mod revoke;

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use coffer_protocol::name::NameError;
use coffer_tls::key_file::KeyFileError;
use thiserror::Error;

use crate::DATA_DIR;
use crate::catalog::{CatalogError, Client, Reader, Retention};
use crate::freeing::FreeError;
use crate::scrub::ScrubError;
use crate::storage::{DataDir, DataDirError};

/// Which data folder a command is for. Without the flag it is [`DATA_DIR`]; whoever knows better (a configuration
/// file) fills it in.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct FolderArgs {
    /// The server's data folder [default: coffer-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

impl FolderArgs {
    fn open(&self) -> Result<DataDir, CommandError> {
        Ok(DataDir::existing(self.data.as_deref().unwrap_or(Path::new(DATA_DIR)))?)
    }
}

/// Why a command did not do, or not completely, what it was asked for.
#[derive(Debug, Error)]
pub enum CommandError {
    /// There is no such data folder.
    #[error(transparent)]
    Folder(#[from] DataDirError),
    /// There is no such client.
    #[error("there is no client {0}: `cofferd clients` lists those that there are")]
    NoClient(String),
    /// The client has no such file.
    #[error("client {client} has no file {file}: `cofferd list` lists those that there are")]
    NoFile {
        /// The client, printable.
        client: String,
        /// The file, printable.
        file: String,
    },
    /// The file has no such version.
    #[error(
        "file {file} of client {client} has no version {version}: `cofferd list` lists those that there are"
    )]
    NoVersion {
        /// The client, printable.
        client: String,
        /// The file, printable.
        file: String,
        /// What was asked for.
        version: u32,
    },
    /// The client uses the other door.
    #[error("client {client} {problem}")]
    WrongDoor {
        /// The client, printable.
        client: String,
        /// Why that will not do, and what to do.
        problem: &'static str,
    },
    /// The name cannot be a client's.
    #[error("nobody can be invited by that name: {0}")]
    Name(NameError),
    /// It is not known where clients reach the server, or it is too much.
    #[error("{0}: give --address HOST:PORT, up to four times")]
    Addresses(&'static str),
    /// The server has no key yet.
    #[error("the server has no key yet ({}): start it once, it makes one", .0.display())]
    NoIdentity(PathBuf),
    /// The server's key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// Nobody said yes.
    #[error("nothing was removed: answer yes, or give --yes")]
    Unconfirmed,
    /// The target of a copy is there already, or its name is unusable.
    #[error("cannot copy to {}: {reason}", .path.display())]
    Target {
        /// The target.
        path: PathBuf,
        /// Why not.
        reason: &'static str,
    },
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// What was let go of could not be removed.
    #[error(transparent)]
    Free(#[from] FreeError),
    /// A check could not be done to its end.
    #[error(transparent)]
    Scrub(#[from] ScrubError),
    /// A check found something wrong; it has said what.
    #[error("{0}")]
    Wrong(String),
    /// A version is marked as damaged.
    #[error("version {version} of {file} of client {client} is damaged: {fault}; {advice}")]
    Marked {
        /// The client, printable.
        client: String,
        /// The file, printable.
        file: String,
        /// Which.
        version: u32,
        /// What a check found wrong.
        fault: String,
        /// Which version is good, or what to do without any.
        advice: String,
    },
    /// A stored content is not what was received.
    #[error("{file} of client {client} is damaged: {fault}; restore the data folder from a backup")]
    Damaged {
        /// The client, printable.
        client: String,
        /// The file, printable.
        file: String,
        /// What is wrong.
        fault: String,
    },
    /// A file could not be read or written.
    #[error("cannot use {}: {error}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the disk said.
        error: io::Error,
    },
    /// The output could not be written.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
}

impl CommandError {
    /// What the process exits with: 2 if the command was asked for something that is not there or not allowed, as
    /// for a wrong flag; 1 if it failed.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Folder(_)
            | Self::NoClient(_)
            | Self::NoFile { .. }
            | Self::NoVersion { .. }
            | Self::WrongDoor { .. }
            | Self::Name(_)
            | Self::Addresses(_)
            | Self::NoIdentity(_)
            | Self::Unconfirmed
            | Self::Target { .. } => 2,
            Self::Catalog(_)
            | Self::Key(_)
            | Self::Free(_)
            | Self::Scrub(_)
            | Self::Wrong(_)
            | Self::Marked { .. }
            | Self::Damaged { .. }
            | Self::Io { .. }
            | Self::Output(_) => 1,
        }
    }
}

/// Runs `write` on the standard output.
fn to_stdout(
    write: impl FnOnce(&mut dyn Write) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let mut out = BufWriter::new(io::stdout().lock());
    let result = write(&mut out).and_then(|()| out.flush().map_err(CommandError::Output));
    match result {
        Err(CommandError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

fn reader(dir: &DataDir) -> Result<Reader, CommandError> {
    Ok(Reader::open(&dir.catalog())?)
}

fn retention(dir: &DataDir) -> Result<Retention, CommandError> {
    Ok(Retention::open(&dir.catalog())?)
}

/// The client that an operator calls `name`, plain or escaped.
fn find_client(reader: &Reader, name: &str) -> Result<Client, CommandError> {
    for name in names::meanings(name) {
        if let Ok(name) = String::from_utf8(name)
            && let Some(client) = reader.client_by_name(&name)?
        {
            return Ok(client);
        }
    }
    Err(CommandError::NoClient(name.to_owned()))
}

/// A time as RFC 3339, in UTC, with milliseconds.
fn rfc3339(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms)
        .map_or_else(|_| format!("{ms} ms"), |time| format!("{time:.3}"))
}

/// `1 version`, `2 versions`.
fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests;
