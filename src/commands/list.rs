//! `cofferd list`: every stored version of every file.

use std::io::Write;

use serde::Serialize;

use super::{CommandError, FolderArgs, names::printed, reader, rfc3339, to_stdout};
use crate::catalog::{ClientRow, VersionRow};
use crate::storage::DataDir;
use crate::view::is_shown;

/// List all stored files: one line for each version, by client and file, the newest version of a file last
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Print one JSON object a line. Names that are no printable UTF-8 are escaped (`\xNN`); `path` is a file with the
    /// very bytes, relative to the data folder, or null if they are in the catalog only (`cofferd cat` gets them) or
    /// damaged; `damage` says what a check found wrong
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
    to_stdout(|out| list(&dir, args.json, out))
}

pub(super) fn list(dir: &DataDir, json: bool, out: &mut dyn Write) -> Result<(), CommandError> {
    if !json {
        writeln!(
            out,
            "{:24} {:>14} {:>10} {:>7} {:7}  {:16}  FILE",
            "RECEIVED", "SIZE", "CKSUM", "VERSION", "STATE", "CLIENT"
        )
        .map_err(CommandError::Output)?;
    }
    let reader = reader(dir)?;
    let mut last_client: Option<String> = None;
    loop {
        let clients = reader.clients_after(last_client.as_deref())?;
        let Some(last) = clients.last() else { return Ok(()) };
        last_client = Some(last.name.clone());
        for client in &clients {
            let (mut file, mut version) = (Vec::new(), 0);
            loop {
                let page = reader.versions_after(&client.id, &file, version)?;
                let Some(last) = page.last() else { break };
                (file, version) = (last.file.clone(), last.version);
                page.iter().try_for_each(|row| Line::new(dir, client, row).write(json, out))?;
            }
        }
    }
}

/// A version as it is printed, with the fields of the JSON form in their order.
#[derive(Debug, Serialize)]
struct Line {
    client: String,
    client_id: String,
    file: String,
    size: u64,
    cksum: u32,
    /// Only what its client confirmed is stored at all.
    verified: bool,
    version: u32,
    received_at: String,
    /// What a check found wrong with the content and could not mend; null if nothing is known to be wrong.
    damage: Option<String>,
    path: Option<String>,
}

impl Line {
    fn new(dir: &DataDir, client: &ClientRow, row: &VersionRow) -> Self {
        Self {
            client: printed(client.name.as_bytes()),
            client_id: client.id.to_string(),
            file: printed(&row.file),
            size: row.size,
            cksum: row.cksum,
            verified: true,
            version: row.version,
            received_at: rfc3339(row.received_at),
            damage: row.damage.clone(),
            path: path(dir, client, row),
        }
    }

    fn write(&self, json: bool, out: &mut dyn Write) -> Result<(), CommandError> {
        let written = if json {
            serde_json::to_writer(&mut *out, self).map_err(Into::into).and_then(|()| writeln!(out))
        } else {
            let Self { received_at, size, cksum, version, client, file, .. } = self;
            let state = if self.damage.is_some() { "damaged" } else { "stored" };
            writeln!(
                out,
                "{received_at:24} {size:>14} {cksum:>10} {version:>7} {state:7}  {client:16}  {file}"
            )
        };
        written.map_err(CommandError::Output)
    }
}

/// Where the bytes are: in the view if it shows this version, else in the store. Nowhere if they are damaged.
fn path(dir: &DataDir, client: &ClientRow, row: &VersionRow) -> Option<String> {
    if row.damage.is_some() {
        return None;
    }
    let shown = format!("{}/{}", client.folder, row.path);
    if row.is_shown && is_shown(&dir.files(), &shown, row.size, row.received_at) {
        return Some(format!("files/{shown}"));
    }
    row.blob.map(|blob| format!("blobs/{}", blob.path().display()))
}
