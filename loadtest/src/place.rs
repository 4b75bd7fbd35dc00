//! Where a server is, or is to be started, and where its data lies.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::TempDir;

use crate::args::ServerArgs;
use crate::limits::CLIENTS_MAX;
use crate::server::{Launch, Server, default_program};

/// Where a server is, or is to be started, and where its data lies.
pub(crate) struct Place {
    /// For our own files, and for the data if no other folder is named.
    folder: TempDir,
    /// None: start one.
    remote: Option<SocketAddr>,
    program: PathBuf,
    /// None: it is not known.
    data: Option<PathBuf>,
    arguments: Vec<String>,
}

impl Place {
    /// # Errors
    /// If there is no such server or program.
    pub(crate) fn prepare(args: &ServerArgs) -> anyhow::Result<Self> {
        let remote = args.address()?;
        let folder = tempfile::Builder::new().prefix("coffer-loadtest-").tempdir();
        let folder = folder.context("cannot make a temporary folder")?;
        let program = match &args.spawn {
            _ if remote.is_some() => PathBuf::new(),
            Some(Some(path)) => path.clone(),
            _ => default_program()?,
        };
        Ok(Self {
            data: args
                .data
                .clone()
                .or_else(|| remote.is_none().then(|| folder.path().join("data"))),
            folder,
            remote,
            program,
            arguments: args.server_arg.clone(),
        })
    }

    /// Starts a server, unless one was named.
    ///
    /// # Errors
    /// If it does not start.
    pub(crate) fn server(&self, clients: usize) -> anyhow::Result<Option<Server>> {
        if self.remote.is_some() {
            return Ok(None);
        }
        let data = self.data().context("a server of ours has a data folder")?;
        Server::start(Launch {
            program: self.program.clone(),
            data: data.to_owned(),
            log: self.log(),
            // What is being closed still counts.
            connections: (2 * clients).clamp(1024, 2 * CLIENTS_MAX),
            arguments: self.arguments.clone(),
        })
        .map(Some)
    }

    /// The server's address.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn address(&self, server: Option<&Server>) -> anyhow::Result<SocketAddr> {
        server.map(Server::address).or(self.remote).context("there is no server")
    }

    /// The data folder, if it is known.
    pub(crate) fn data(&self) -> Option<&Path> {
        self.data.as_deref()
    }

    /// The server's program, if one is started.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Where test files can be written, on the disk of the data folder if that is known.
    pub(crate) fn scratch(&self) -> &Path {
        let beside = self.data().and_then(Path::parent).filter(|folder| folder.is_dir());
        beside.unwrap_or(self.folder.path())
    }

    /// Keeps what was temporary, to be looked at, if a server was started.
    pub(crate) fn keep(self) {
        if self.log().exists() {
            eprintln!("the server's log and data are kept in {}", self.folder.keep().display());
        }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }
}
