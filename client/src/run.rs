//! A whole run: one client, one server, many files.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use coffer_protocol::key::PrivateKey;
use coffer_protocol::name::{check_client_name, check_file_name, escape};
use coffer_protocol::{ClientId, Dialect};

use crate::content::Content;
use crate::driver::{Driver, Item};
use crate::files::{Identity, Server, create_private_dir, load};
use crate::observe::{Event, Observer, Verified};
use crate::{Class, Error};

/// How long a refused connect is tried again, unless told otherwise: a classic d1100 server needs a moment to listen
/// again, and a server that was just started some more.
pub const RETRY_REFUSED: Duration = Duration::from_secs(5);

/// A file to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileToSend {
    /// Where it is.
    pub path: PathBuf,
    /// Its name on the wire: 1 to 254 bytes.
    pub name: Vec<u8>,
}

impl FileToSend {
    /// A file whose name on the wire is its path as given.
    #[must_use]
    pub fn as_given(path: PathBuf) -> Self {
        let name = path.as_os_str().as_encoded_bytes().to_vec();
        Self { path, name }
    }
}

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server.
    pub server: Server,
    /// The client's name: 1 to 254 bytes, printable.
    pub name: String,
    /// The dialect to speak.
    pub dialect: Dialect,
    /// The folder of `me.info` and `priv.key`; created if it is missing.
    pub state: PathBuf,
    /// The files, in the order to send them.
    pub files: Vec<FileToSend>,
    /// Send a packet at a time, a millisecond apart. The classic servers read so carelessly that larger files reach
    /// them whole only in this way.
    pub paced: bool,
    /// How long a refused connect is tried again.
    pub retry_refused: Duration,
}

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// The client's id, if it came so far.
    pub id: Option<ClientId>,
    /// One for each file, in the order given.
    pub files: Vec<FileReport>,
}

/// What came of one file.
#[derive(Debug)]
pub struct FileReport {
    /// The file.
    pub file: FileToSend,
    /// What is known of it, or why it was not stored.
    pub result: Result<Verified, Error>,
}

impl Report {
    /// The first file that was not verified, in the order given, decides about the whole.
    #[must_use]
    pub fn class(&self) -> Option<Class> {
        self.files.iter().find_map(|file| file.result.as_ref().err()).map(Error::class)
    }
}

/// Registers or reconnects, then sends the files one after the other. A file that fails does not stop the others.
///
/// Files that cannot be sent at all are found before the server is asked for anything; if no other is left, it is
/// not asked.
///
/// # Errors
/// What keeps the client from sending anything: a name that cannot be used, state files that make no sense or cannot
/// be kept, a server that cannot be reached or refuses the client.
pub fn put(options: &Options, observer: &mut dyn Observer) -> Result<Report, Error> {
    check_client_name(options.name.as_bytes()).map_err(|problem| Error::ClientName {
        name: escape(options.name.as_bytes()).into_owned(),
        problem,
    })?;
    let checked: Vec<Option<FileReport>> = options
        .files
        .iter()
        .map(|file| {
            let error = open(file, options.dialect).err()?;
            Some(failed(file, error, Duration::ZERO, observer))
        })
        .collect();
    if checked.iter().all(Option::is_some) {
        return Ok(Report { id: None, files: checked.into_iter().flatten().collect() });
    }
    let mut driver = Driver::new(options, identity(options)?);
    driver.identify(observer)?;
    let files = options.files.iter().zip(checked);
    let files = files
        .map(|(file, failed)| failed.unwrap_or_else(|| send(&mut driver, file, options, observer)))
        .collect();
    Ok(Report { id: driver.id(), files })
}

/// The client's identity: the one on disk, or a new key and no id.
fn identity(options: &Options) -> Result<Identity, Error> {
    let name = options.name.as_str();
    create_private_dir(&options.state)?;
    let Some(saved) = load(&options.state)? else {
        let key = PrivateKey::generate(&mut rand::rng()).map_err(Error::Key)?;
        return Ok(Identity { name: name.to_owned(), id: ClientId::NONE, key });
    };
    if saved.identity.name != name {
        return Err(Error::Malformed {
            path: options.state.join("me.info"),
            problem: format!("belongs to the client '{}', not to '{name}'", saved.identity.name),
            todo: "use that name, or another state folder",
        });
    }
    Ok(saved.identity)
}

fn open(file: &FileToSend, dialect: Dialect) -> Result<Content, Error> {
    check_file_name(&file.name)
        .map_err(|problem| Error::FileName { path: file.path.clone(), problem })?;
    Content::open(&file.path, dialect)
}

fn send<'a>(
    driver: &mut Driver<'a>,
    file: &'a FileToSend,
    options: &Options,
    observer: &mut dyn Observer,
) -> FileReport {
    let start = Instant::now();
    let sent = driver
        .check(file)
        .and_then(|()| open(file, options.dialect))
        .and_then(|content| driver.upload(&mut Item::new(file, content, start), observer));
    match sent {
        Ok(verified) => {
            observer.notice(&Event::FileVerified { path: &file.path, verified: &verified });
            FileReport { file: file.clone(), result: Ok(verified) }
        }
        Err(error) => failed(file, error, start.elapsed(), observer),
    }
}

fn failed(
    file: &FileToSend,
    error: Error,
    elapsed: Duration,
    observer: &mut dyn Observer,
) -> FileReport {
    observer.notice(&Event::FileFailed { path: &file.path, error: &error, elapsed });
    FileReport { file: file.clone(), result: Err(error) }
}
