//! `cofferd cat`: one stored file, wherever its bytes are.

use std::io::{self, Read, Write};

use coffer_protocol::checksum::Cksum;

use super::{CommandError, FolderArgs, find_client, names, reader, to_stdout};
use crate::catalog::{Client, Content, Reader, Stored};
use crate::storage::{DataDir, open_blob};

/// Bytes that are read at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// How often a content is looked up again that was removed just when it was to be opened.
const LOOKUPS: u32 = 3;

/// Write a stored file to the standard output, and check it on the way
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The client's name, as `list` prints it
    pub client: String,
    /// The file's name, as `list` prints it
    pub file: String,
    /// Which version [default: the newest]
    #[arg(long, value_name = "N")]
    pub version: Option<u32>,
    /// The data folder.
    #[command(flatten)]
    pub folder: FolderArgs,
}

/// Writes the file to the standard output.
///
/// # Errors
/// If there is no such version, its content is damaged, or it cannot be read or written. What was written before the
/// damage was noticed is not the file.
pub fn run(args: &Args) -> Result<(), CommandError> {
    let dir = args.folder.open()?;
    to_stdout(|out| cat(&dir, args, out))
}

pub(super) fn cat(dir: &DataDir, args: &Args, out: &mut dyn Write) -> Result<(), CommandError> {
    let reader = reader(dir)?;
    let client = find_client(&reader, &args.client)?;
    for _ in 1..LOOKUPS {
        let stored = find(&reader, &client, args)?;
        match open(dir, &stored.content) {
            Err(CommandError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {}
            content => return copy(&mut *content?, &stored, args, out),
        }
    }
    let stored = find(&reader, &client, args)?;
    copy(&mut *open(dir, &stored.content)?, &stored, args, out)
}

fn find(reader: &Reader, client: &Client, args: &Args) -> Result<Stored, CommandError> {
    let (client_name, file) = (args.client.clone(), args.file.clone());
    for name in names::meanings(&args.file) {
        if let Some(stored) = reader.stored(&client.id, &name, args.version)? {
            return match &stored.damage {
                Some(fault) => Err(marked(reader, client, args, &name, stored.version, fault)?),
                None => Ok(stored),
            };
        }
        if let Some(version) = args.version
            && reader.file_exists(&client.id, &name)?
        {
            return Err(CommandError::NoVersion { client: client_name, file, version });
        }
    }
    Err(CommandError::NoFile { client: client_name, file })
}

/// Refuses a version that a check has marked, and says which one is good.
fn marked(
    reader: &Reader,
    client: &Client,
    args: &Args,
    name: &[u8],
    version: u32,
    fault: &str,
) -> Result<CommandError, CommandError> {
    let advice = match reader.newest_good(&client.id, name)? {
        Some(good) => format!("version {good} is the newest good one: --version {good}"),
        None => "no good version is left: its client must send it again".to_owned(),
    };
    let (client, file) = (args.client.clone(), args.file.clone());
    Ok(CommandError::Marked { client, file, version, fault: fault.to_owned(), advice })
}

fn open<'a>(dir: &DataDir, content: &'a Content) -> Result<Box<dyn Read + 'a>, CommandError> {
    match content {
        Content::Inline(bytes) => Ok(Box::new(bytes.as_slice())),
        Content::Blob(id) => match open_blob(&dir.blobs(), *id) {
            Ok(file) => Ok(Box::new(file)),
            Err(error) => Err(CommandError::Io { path: dir.blobs().join(id.path()), error }),
        },
    }
}

fn copy(
    content: &mut dyn Read,
    stored: &Stored,
    args: &Args,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut sum = Cksum::new();
    let mut size = 0;
    let damaged = |fault| CommandError::Damaged {
        client: args.client.clone(),
        file: args.file.clone(),
        fault,
    };
    loop {
        let length = match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(damaged(error.to_string())),
        };
        sum.update(&buffer[..length]);
        size += length as u64;
        out.write_all(&buffer[..length]).map_err(CommandError::Output)?;
    }
    if (size, sum.value()) == (stored.size, stored.cksum) {
        return Ok(());
    }
    let Stored { size: right_size, cksum, .. } = stored;
    Err(damaged(format!(
        "{size} bytes with cksum {} instead of {right_size} with {cksum}",
        sum.value()
    )))
}
