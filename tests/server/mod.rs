//! `cofferd` as a process of its own, on a free port of this machine, over a temporary folder.
//!
//! A server that a test leaves running is killed, by its own process id, when it is dropped.

// Each integration test uses a part of this, and the rest would be reported as unused there.
#![allow(dead_code)]

pub(crate) mod stored;

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use stored::Store;
use tempfile::TempDir;

/// Longest wait for anything that must happen: far beyond what a loaded machine needs, so that only what would never
/// happen fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at something that is waited for.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Waits until `look` finds something.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(LOOK_INTERVAL);
    }
}

/// How to run `cofferd`, and where.
#[derive(Debug)]
pub(crate) struct Setup {
    folder: TempDir,
    data: PathBuf,
    listen: String,
    arguments: Vec<String>,
    under: Vec<OsString>,
}

impl Setup {
    /// On a free port of 127.0.0.1, with a data folder of its own that does not exist yet.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("data");
        Self { folder, data, listen: "127.0.0.1:0".into(), arguments: vec![], under: vec![] }
    }

    pub(crate) fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(ToString::to_string));
        self
    }

    /// Where the data will be.
    pub(crate) fn data_folder(&self) -> &Path {
        &self.data
    }

    /// Run by another program: its name and arguments, behind which it takes a command.
    pub(crate) fn under(mut self, command: Vec<OsString>) -> Self {
        self.under = command;
        self
    }

    pub(crate) fn listen(mut self, address: &str) -> Self {
        self.listen = address.into();
        self
    }

    pub(crate) fn data(mut self, data: &Path) -> Self {
        self.data = data.into();
        self
    }

    /// A server that is ready.
    pub(crate) fn start(self) -> Server {
        let running =
            self.run().unwrap_or_else(|ended| panic!("the server did not start: {ended:?}"));
        Server { setup: self, running }
    }

    /// A server that is ready, or how it ended instead.
    pub(crate) fn run(&self) -> Result<Running, Ended> {
        let mut command = self.cofferd();
        command.args(["serve", "--listen", &self.listen, "--data"]).arg(&self.data);
        Running::spawn(command.args(&self.arguments))
    }

    fn cofferd(&self) -> Command {
        let Some((program, arguments)) = self.under.split_first() else {
            return cofferd(self.folder.path());
        };
        let mut command = in_folder(Command::new(program), self.folder.path());
        command.args(arguments).arg(env!("CARGO_BIN_EXE_cofferd"));
        command
    }
}

/// `cofferd` in `folder`, untouched by the environment of whoever runs the tests.
pub(crate) fn cofferd(folder: &Path) -> Command {
    in_folder(Command::new(env!("CARGO_BIN_EXE_cofferd")), folder)
}

fn in_folder(mut command: Command, folder: &Path) -> Command {
    command.current_dir(folder).env_remove("COFFERD_LOG").stdin(Stdio::null());
    command
}

/// A server process that did not come as far as listening, or has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stderr: String,
}

/// A server process that listens.
#[derive(Debug)]
pub(crate) struct Running {
    process: Child,
    address: SocketAddr,
    /// Kept open, for it may still write there.
    _stdout: BufReader<ChildStdout>,
    stderr: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Running {
    /// Runs `command` until it says where it listens.
    pub(crate) fn spawn(command: &mut Command) -> Result<Self, Ended> {
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server's program runs");
        let stderr = Arc::new(Mutex::new(String::new()));
        let reader = Some(collect(process.stderr.take().expect("piped"), Arc::clone(&stderr)));
        let mut stdout = BufReader::new(process.stdout.take().expect("piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("its stdout is text");
        let address = line.trim_end().strip_prefix("listening on ").map(str::parse);
        let address_unknown = ([0; 4], 0).into();
        let mut running =
            Self { process, address: address_unknown, _stdout: stdout, stderr, reader };
        match address {
            Some(address) => {
                running.address = address.expect("an address and a port");
                Ok(running)
            }
            None => Err(running.wait()),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the server wrote to stderr so far.
    pub(crate) fn log(&self) -> String {
        self.stderr.lock().expect("no reader panics").clone()
    }

    /// Waits until the server has written `text` to stderr, and returns all that it wrote.
    pub(crate) fn wait_for_log(&self, text: &str) -> String {
        wait_for(&format!("{text:?} in the log"), || {
            Some(self.log()).filter(|log| log.contains(text))
        })
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the process is ours");
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.process.try_wait().expect("the process is ours").is_none()
    }

    /// Waits for the end of the process.
    pub(crate) fn wait(&mut self) -> Ended {
        let process = &mut self.process;
        let status =
            wait_for("the server's end", || process.try_wait().expect("the process is ours"));
        if let Some(reader) = self.reader.take() {
            reader.join().expect("its stderr is text");
        }
        Ended { status, stderr: self.log() }
    }

    /// A line of `/proc/PID/status` in KiB.
    pub(crate) fn memory_kib(&self, line: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let status = status.expect("the process runs");
        let line = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
        let number = line.and_then(|line| line.split_whitespace().next()).expect("such a line");
        number.parse().expect("a number")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After it has ended both do nothing.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Copies a pipe line by line, also to the output of a test that fails.
fn collect(pipe: impl Read + Send + 'static, into: Arc<Mutex<String>>) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines() {
            let line = line.expect("the log is text");
            let mut text = into.lock().expect("no reader panics");
            text.push_str(&line);
            text.push('\n');
        }
    })
}

/// A server that can be stopped, killed and started again over the same data.
#[derive(Debug)]
pub(crate) struct Server {
    /// Dropped first: a server that still runs would write into the folder that is being removed.
    running: Running,
    setup: Setup,
}

/// How a server goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Down {
    Sigterm,
    Kill9,
}

impl Server {
    /// A server with the default settings.
    pub(crate) fn start() -> Self {
        Setup::new().start()
    }

    /// Where it listens now: each start takes another port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.running.address
    }

    pub(crate) fn data(&self) -> &Path {
        &self.setup.data
    }

    /// A folder for whatever a test needs beside the server.
    pub(crate) fn folder(&self) -> &Path {
        self.setup.folder.path()
    }

    pub(crate) fn store(&self) -> Store {
        Store::new(self.data())
    }

    pub(crate) fn process(&mut self) -> &mut Running {
        &mut self.running
    }

    /// What this start of the server wrote to stderr so far.
    pub(crate) fn log(&self) -> String {
        self.running.log()
    }

    /// Ends the server and waits for its end.
    pub(crate) fn take_down(&mut self, how: Down) {
        match how {
            Down::Sigterm => {
                self.running.signal(Signal::TERM);
                let ended = self.running.wait();
                assert!(ended.status.success(), "SIGTERM ends in order: {ended:?}");
            }
            Down::Kill9 => {
                self.running.signal(Signal::KILL);
                assert_eq!(self.running.wait().status.signal(), Some(9));
            }
        }
    }

    /// Starts again over the same data.
    pub(crate) fn start_again(&mut self) {
        self.running =
            self.setup.run().unwrap_or_else(|ended| panic!("it does not start again: {ended:?}"));
    }

    /// Starts again over the same data, whatever program ran it before.
    pub(crate) fn start_again_by_itself(&mut self) {
        self.setup.under.clear();
        self.start_again();
    }

    pub(crate) fn restart(&mut self, how: Down) {
        self.take_down(how);
        self.start_again();
    }

    /// Ends the server in order; nothing of what it logged may be an error.
    pub(crate) fn stop(mut self) {
        self.take_down(Down::Sigterm);
        let log = self.log();
        assert!(!log.contains("ERROR") && !log.contains("panicked"), "{log}");
    }
}
