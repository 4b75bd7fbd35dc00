//! `cofferd clients`: who is registered.

use std::io::Write;

use serde::Serialize;

use super::{CommandError, FolderArgs, names::printed, reader, rfc3339, to_stdout};
use crate::catalog::{ClientRow, Reader};
use crate::storage::DataDir;

/// List the registered clients, and how much they have stored
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
    /// The data folder.
    #[command(flatten)]
    pub folder: FolderArgs,
}

/// Lists to the standard output.
///
/// # Errors
/// If there is no such data folder, or it cannot be read.
pub fn run(args: &Args) -> Result<(), CommandError> {
    let dir = args.folder.open()?;
    to_stdout(|out| clients(&dir, args.json, out))
}

pub(super) fn clients(dir: &DataDir, json: bool, out: &mut dyn Write) -> Result<(), CommandError> {
    if !json {
        let (id, key) = ("ID", "KEY");
        writeln!(
            out,
            "{id:32} {:24} {key:5} {:>8} {:>8} {:>16} {:>8}  CLIENT",
            "REGISTERED", "FILES", "VERSIONS", "BYTES", "DAMAGED"
        )
        .map_err(CommandError::Output)?;
    }
    let reader = reader(dir)?;
    let mut last_name: Option<String> = None;
    loop {
        let page = reader.clients_after(last_name.as_deref())?;
        let Some(last) = page.last() else { return Ok(()) };
        last_name = Some(last.name.clone());
        page.iter().try_for_each(|client| Line::new(&reader, client)?.write(json, out))?;
    }
}

/// A client as it is printed, with the fields of the JSON form in their order.
#[derive(Debug, Serialize)]
struct Line {
    client: String,
    client_id: String,
    registered_at: String,
    /// False after `reset-key`, until the name is registered again.
    has_key: bool,
    files: u64,
    versions: u64,
    bytes: u64,
    /// Files whose newest version is damaged: the client must send them again.
    damaged: u64,
    /// The client's folder in the view, relative to the data folder.
    path: String,
}

impl Line {
    fn new(reader: &Reader, client: &ClientRow) -> Result<Self, CommandError> {
        let (files, versions, bytes) = reader.totals(&client.id)?;
        Ok(Self {
            client: printed(client.name.as_bytes()),
            client_id: client.id.to_string(),
            registered_at: rfc3339(client.registered_at),
            has_key: client.has_key,
            files,
            versions,
            bytes,
            damaged: reader.files_to_send_again(&client.id)?,
            path: format!("files/{}", client.folder),
        })
    }

    fn write(&self, json: bool, out: &mut dyn Write) -> Result<(), CommandError> {
        let written = if json {
            serde_json::to_writer(&mut *out, self).map_err(Into::into).and_then(|()| writeln!(out))
        } else {
            let Self { client, client_id, registered_at, files, versions, bytes, damaged, .. } =
                self;
            let key = if self.has_key { "set" } else { "reset" };
            writeln!(
                out,
                "{client_id:32} {registered_at:24} {key:5} {files:>8} {versions:>8} {bytes:>16} {damaged:>8}  {client}"
            )
        };
        written.map_err(CommandError::Output)
    }
}
