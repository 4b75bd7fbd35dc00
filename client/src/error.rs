//! Everything that can go wrong, in one line each: what happened, to what, what to do.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use coffer_protocol::encode::TooLarge;
use coffer_protocol::key::KeyError;
use coffer_protocol::name::{NameError, escape};
use thiserror::Error;

use crate::advice::advice;
use crate::flow::Failure;
use crate::secure;

/// Who is to blame, which is what the exit code says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// What the user asked for cannot be done as asked.
    BadInput,
    /// The server said no.
    Refused,
    /// The server's checksum was wrong after all tries.
    Mismatch,
    /// No server, no connection any more, or no valid answer.
    Connection,
    /// Reading a file or keeping our own files failed on this machine.
    LocalIo,
}

impl Class {
    /// The exit code of the program.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::BadInput => 2, // as clap's own, for a command line that makes no sense
            Self::Refused => 3,
            Self::Mismatch => 4,
            Self::Connection => 5,
            Self::LocalIo => 6,
        }
    }

    /// The class in one word, for programs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::BadInput => "bad-input",
            Self::Refused => "refused",
            Self::Mismatch => "mismatch",
            Self::Connection => "connection",
            Self::LocalIo => "local-io",
        }
    }
}

/// What went wrong.
#[derive(Debug, Error)]
pub enum Error {
    /// Not `HOST:PORT`.
    #[error("'{0}' is no server address: write HOST:PORT, for example 127.0.0.1:1256")]
    Address(String),
    /// The client name breaks a rule.
    #[error(
        "the client name '{name}' cannot be used, {problem}: choose a printable one of 1 to 254 bytes"
    )]
    ClientName {
        /// The name, escaped.
        name: String,
        /// The rule.
        problem: NameError,
    },
    /// The file name breaks a rule.
    #[error("{}: cannot be sent, {problem}: names on the wire have 1 to 254 bytes; change into a folder nearer to the file", shown(.path))]
    FileName {
        /// The file.
        path: PathBuf,
        /// The rule.
        problem: NameError,
    },
    /// There is no such file.
    #[error("{}: no such file: check the path", shown(.0))]
    Missing(PathBuf),
    /// It is a folder, a device, a pipe or a socket.
    #[error("{}: is {what}, and only plain files can be sent: name the files to send", shown(.path))]
    NoFile {
        /// The path.
        path: PathBuf,
        /// What it is instead.
        what: &'static str,
    },
    /// It may not be read.
    #[error("{}: cannot be opened ({source}): check its permissions", shown(.path))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It does not fit the dialect.
    #[error("{}: {problem}: split the file{}", shown(.path), if .problem.dialect.number() == 825 { ", or use --dialect 1100" } else { "" })]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// How much too large.
        problem: TooLarge,
    },
    /// Its size changed while it was sent.
    #[error("{}: changed from {before} bytes to {now} while it was being sent, so nothing was stored: send it again when nobody writes to it", shown(.path))]
    Changed {
        /// The file.
        path: PathBuf,
        /// Bytes when the sending began.
        before: u64,
        /// Bytes when it was noticed; at least so many if it grew.
        now: u64,
    },
    /// Reading it failed half-way.
    #[error("{}: cannot be read ({source}): check the disk", shown(.path))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// One of our own files does not say what it should.
    #[error("{}: {problem}: {todo}", shown(.path))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// What to do.
        todo: &'static str,
    },
    /// One of our own files cannot be read or kept.
    #[error("{}: cannot be {doing} ({source}): check the folder, its permissions and the free space", shown(.path))]
    State {
        /// The file or folder.
        path: PathBuf,
        /// `read` or `written`.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
    /// There is no folder to keep the client's identity in.
    #[error("there is no state folder, as neither XDG_STATE_HOME nor HOME is set: use --state DIR")]
    NoStateFolder,
    /// No key pair could be made.
    #[error("{0}: check the system's source of random numbers")]
    Key(KeyError),
    /// The server's name leads nowhere.
    #[error("the server '{host}' was not found ({source}): check its name and the network")]
    Resolve {
        /// The host.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// Nobody answers there.
    #[error("cannot connect to {server} ({source}, tried for {:.1} s): check that the server runs and the address is right", .tried.as_secs_f32())]
    Connect {
        /// The server, as `HOST:PORT`.
        server: String,
        /// How long it was tried.
        tried: Duration,
        /// The last reason.
        source: io::Error,
    },
    /// The session with the server failed.
    #[error("{subject}: {failure}{}: {}", in_brackets(.cause.as_ref()), advice(*.failure))]
    Session {
        /// The file, or the client that wanted to identify itself; escaped.
        subject: String,
        /// What failed.
        failure: Failure,
        /// What the connection said.
        cause: Option<io::Error>,
    },
    /// A classic d825 server would store it in place of the file that it has.
    #[error("{}: not sent, as the classic server keeps one file per client and has '{kept}': send it under another client name", shown(.path))]
    OneFile {
        /// The file.
        path: PathBuf,
        /// The one that the server has, escaped.
        kept: String,
    },
    /// An earlier file met a server that cannot be reached any more.
    #[error("{}: not sent, as the server cannot be reached any more: send it again later", shown(.0))]
    NotTried(PathBuf),
    /// It did not go through the secure door.
    #[error(transparent)]
    Secure(#[from] secure::Failure),
}

/// A path as it is printed: what could steer a terminal is escaped.
fn shown(path: &Path) -> Cow<'_, str> {
    escape(path.as_os_str().as_encoded_bytes())
}

fn in_brackets(cause: Option<&io::Error>) -> String {
    cause.map_or_else(String::new, |cause| format!(" ({cause})"))
}

impl Error {
    /// Who is to blame.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Address(_)
            | Self::ClientName { .. }
            | Self::FileName { .. }
            | Self::Missing(_)
            | Self::NoFile { .. }
            | Self::Unreadable { .. }
            | Self::TooLarge { .. }
            | Self::Malformed { .. }
            | Self::NoStateFolder => Class::BadInput,
            Self::Changed { .. } | Self::Read { .. } | Self::State { .. } | Self::Key(_) => {
                Class::LocalIo
            }
            Self::OneFile { .. } => Class::Refused,
            Self::Resolve { .. } | Self::Connect { .. } | Self::NotTried(_) => Class::Connection,
            Self::Secure(failure) => failure.class(),
            Self::Session { failure, .. } => match failure {
                Failure::NameRefused | Failure::Refused(_) => Class::Refused,
                Failure::Mismatch { .. } => Class::Mismatch,
                _ => Class::Connection,
            },
        }
    }
}
