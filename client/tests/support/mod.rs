//! A client with a folder of its own, for the tests against servers.

// Each integration test uses a part of this.
#![allow(dead_code)]

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use coffer::observe::{Event, Observer, Verified};
use coffer::run::{FileToSend, Options, Report, put};
use coffer::{Class, Error};
use coffer_protocol::Dialect;

/// A client and what it noticed.
pub(crate) struct Client {
    dir: tempfile::TempDir,
    pub(crate) options: Options,
    pub(crate) noticed: Vec<String>,
}

impl Client {
    pub(crate) fn new(dialect: Dialect, server: SocketAddr, name: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let options = Options {
            server: server.to_string().parse().expect("an address"),
            name: name.to_owned(),
            dialect,
            state: dir.path().join("state"),
            files: Vec::new(),
            paced: false,
            retry_refused: Duration::from_secs(3),
        };
        Self { dir, options, noticed: Vec::new() }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Sends files with these names and contents.
    pub(crate) fn put(&mut self, files: &[(&str, &[u8])]) -> Result<Report, Error> {
        self.options.files = files
            .iter()
            .enumerate()
            .map(|(number, (name, content))| {
                let path = self.dir.path().join(format!("file{number}"));
                fs::write(&path, content).expect("written");
                FileToSend { path, name: name.as_bytes().to_vec() }
            })
            .collect();
        self.noticed.clear();
        put(&self.options.clone(), self)
    }

    /// Sends one file.
    pub(crate) fn put_one(&mut self, name: &str, content: &[u8]) -> Result<Verified, Error> {
        let report = self.put(&[(name, content)])?;
        report.files.into_iter().next().expect("one file").result
    }

    /// Sends one file that is not stored.
    pub(crate) fn fail_one(&mut self, name: &str, content: &[u8]) -> (Class, String) {
        let error = self.put_one(name, content).expect_err("not stored");
        (error.class(), error.to_string())
    }
}

impl Observer for Client {
    fn notice(&mut self, event: &Event<'_>) {
        self.noticed.push(match event {
            Event::Registered { .. } => "registered".to_owned(),
            Event::KeyReceived { reconnected, .. } => format!("key reconnected={reconnected}"),
            Event::FileStarted { attempt, .. } => format!("started {attempt}"),
            Event::FileProgress { .. } => return,
            Event::ChecksumWrong { attempt, .. } => format!("wrong {attempt}"),
            Event::Reconnecting { .. } => "reconnecting".to_owned(),
            Event::FileVerified { .. } => "verified".to_owned(),
            Event::FileFailed { .. } => "failed".to_owned(),
        });
    }
}

/// Bytes that repeat only after a while.
pub(crate) fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|i| (7 * i + 3 + i / 1024) as u8).collect()
}
