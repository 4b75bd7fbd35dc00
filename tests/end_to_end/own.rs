//! Our own client, in a state folder of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use coffer::observe::{Event, Observer};
use coffer::run::{FileReport, FileToSend, Options, RETRY_REFUSED, Report, put};
use coffer::{Class, Error};
use coffer_protocol::Dialect;
use tempfile::TempDir;

pub(crate) const BOTH: [Dialect; 2] = [Dialect::D825, Dialect::D1100];

/// One user of the client, on one machine.
#[derive(Debug)]
pub(crate) struct Own {
    folder: TempDir,
    pub(crate) name: String,
    pub(crate) dialect: Dialect,
    retry_refused: Duration,
}

/// Counts what a run went through.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) registrations: usize,
    pub(crate) reconnections: usize,
}

impl Observer for Seen {
    fn notice(&mut self, event: &Event<'_>) {
        match event {
            Event::Registered { .. } => self.registrations += 1,
            Event::KeyReceived { reconnected: true, .. } => self.reconnections += 1,
            _ => {}
        }
    }
}

impl Own {
    pub(crate) fn new(name: &str, dialect: Dialect) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { folder, name: name.into(), dialect, retry_refused: RETRY_REFUSED }
    }

    /// Gives a server that refuses the connection up soon.
    pub(crate) fn impatient(self) -> Self {
        Self { retry_refused: Duration::from_millis(100), ..self }
    }

    /// Where its `me.info` and `priv.key` are.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Puts a content on this machine's disk.
    pub(crate) fn file(&self, name: &[u8], content: &[u8]) -> FileToSend {
        let number = fs::read_dir(self.folder.path()).expect("a folder").count();
        let path = self.folder.path().join(format!("original-{number}"));
        fs::write(&path, content).expect("room on the disk");
        FileToSend { path, name: name.into() }
    }

    /// A run with files that are on this machine's disk.
    pub(crate) fn send(
        &self,
        server: SocketAddr,
        files: Vec<FileToSend>,
        observer: &mut dyn Observer,
    ) -> Result<Report, Error> {
        let options = Options {
            server: server.to_string().parse().expect("an address and a port"),
            name: self.name.clone(),
            dialect: self.dialect,
            state: self.state(),
            files,
            paced: false,
            retry_refused: self.retry_refused,
        };
        put(&options, observer)
    }

    /// A run with files of these names and contents.
    pub(crate) fn put(&self, server: SocketAddr, files: &[(&[u8], &[u8])]) -> Report {
        let files = files.iter().map(|(name, content)| self.file(name, content)).collect();
        self.send(server, files, &mut ()).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// A run with one file, that must be verified and acknowledged.
    pub(crate) fn store(&self, server: SocketAddr, name: &[u8], content: &[u8]) {
        let report = self.put(server, &[(name, content)]);
        assert_stored(&report.files[0]);
    }

    /// A run with one file, that must not be stored.
    pub(crate) fn fail(&self, server: SocketAddr, name: &[u8], content: &[u8]) -> Class {
        self.put(server, &[(name, content)]).class().expect("it is not stored")
    }
}

pub(crate) fn assert_stored(report: &FileReport) {
    match &report.result {
        Ok(verified) => assert!(verified.acknowledged, "{report:?}"),
        Err(error) => panic!("{}: {error}", report.file.path.display()),
    }
}
