//! `cofferd clients`: who is registered.

use std::io::Write;

use coffer_protocol::v4::fingerprint::Pin;
use serde::Serialize;

use super::{CommandError, FolderArgs, names::printed, reader, rfc3339, to_stdout};
use crate::catalog::{Access, ClientRow, Reader};
use crate::storage::DataDir;

/// List the clients, by which door they come in with which key, and how much they have stored
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
        let (id, door, key) = ("ID", "DOOR", "KEY");
        writeln!(
            out,
            "{id:32} {:24} {door:7} {key:5} {:>8} {:>8} {:>16} {:>8}  CLIENT",
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
    /// `classic` or `secure`.
    door: &'static str,
    /// False after `reset-key` or `revoke`, until the name is registered or invited again.
    has_key: bool,
    /// Of the key, at the secure door.
    fingerprint: Option<String>,
    /// Bytes that the client may store, at the secure door; null is without limit.
    quota: Option<u64>,
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
        let (door, has_key, pin, quota) = match client.access {
            Access::Classic { has_key } => ("classic", has_key, None, None),
            Access::Secure { pin, quota } => ("secure", pin.is_some(), pin, quota),
        };
        Ok(Self {
            client: printed(client.name.as_bytes()),
            client_id: client.id.to_string(),
            registered_at: rfc3339(client.registered_at),
            door,
            has_key,
            fingerprint: pin.map(|pin| Pin(pin).to_string()),
            quota,
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
            let Self { client, client_id, registered_at, door, .. } = self;
            let Self { files, versions, bytes, damaged, .. } = self;
            let key = match (self.has_key, *door) {
                (true, _) => "set",
                (false, "classic") => "reset",
                (false, _) => "none",
            };
            let fingerprint = self.fingerprint.as_ref();
            let below = fingerprint.map_or_else(String::new, |pin| format!("\n  key {pin}"));
            writeln!(
                out,
                "{client_id:32} {registered_at:24} {door:7} {key:5} {files:>8} {versions:>8} {bytes:>16} {damaged:>8}  {client}{below}"
            )
        };
        written.map_err(CommandError::Output)
    }
}
