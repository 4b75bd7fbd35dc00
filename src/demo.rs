//! `cofferd demo`: the real server as a process of its own, the real client inside this one, an enrolment, both classic
//! dialects, and a byte-for-byte look at what lies on the disk afterwards.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use coffer::files::Server;
use coffer::observe::{Event, Observer};
use coffer::run::{FileToSend, Options, RETRY_REFUSED, put};
use coffer::secure;
use coffer_protocol::name::escape;
use coffer_protocol::{ClientId, Dialect};
use rustix::process::{Pid, Signal, kill_process};

use crate::catalog::Reader;
use crate::storage::DataDir;

/// How long the plain view of a stored file may take to appear.
const VIEW_WAIT_MAX: Duration = Duration::from_secs(30);

/// Arguments of `cofferd demo`.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Files to back up; without any, the demo makes one
    files: Vec<PathBuf>,
    /// Keep the temporary folder, to look around in it
    #[arg(long)]
    keep: bool,
}

/// Runs the demo.
///
/// # Errors
/// If anything was not stored exactly as it was sent, or could not be run.
pub fn run(args: &DemoArgs) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new()
        .prefix("coffer-demo-")
        .tempdir()
        .context("cannot make a temporary folder")?;
    let files =
        if args.files.is_empty() { vec![sample(folder.path())?] } else { args.files.clone() };
    let data = folder.path().join("coffer-data");
    let server = DemoServer::start(&data)?;
    println!(
        "a server listens on {}:{}, its data lies in {}",
        server.address.host,
        server.address.port,
        data.display()
    );
    secure_door(&server, folder.path(), &data)?;
    let mut identical = 0;
    for dialect in [Dialect::D825, Dialect::D1100] {
        identical += both_rounds(&server, folder.path(), &data, dialect, &files)?;
    }
    server.stop()?;
    println!("\n{identical} of {} stored files are identical to the originals", 2 * files.len());
    if args.keep {
        println!("everything is kept in {}", folder.keep().display());
    }
    if identical == 2 * files.len() {
        Ok(())
    } else {
        bail!("not every stored file is identical to its original")
    }
}

/// Invites a client, enrols it and lets it ask how things are.
fn secure_door(server: &DemoServer, folder: &Path, data: &Path) -> anyhow::Result<()> {
    println!("\nthe secure door");
    let code = server.invite("demo-secure", data)?;
    let state = folder.join("client-secure");
    let options = secure::Options { host: "demo".to_owned(), state: state.clone(), force: false };
    let start = Instant::now();
    let enrolled = secure::enroll(&code, &options, &mut ()).context("the client failed")?;
    let (name, server, took) = (enrolled.profile.name, enrolled.profile.server, start.elapsed());
    println!("  enrolled {name} in {}; from now on it knows the server by", millis(took));
    println!("  {server}");
    let start = Instant::now();
    let status = secure::status(&state, &mut ()).context("the client failed")?;
    let (took, round_trip) = (millis(start.elapsed()), millis(status.round_trip));
    println!("  came back with both keys proved in {took}; a question takes {round_trip}");
    Ok(())
}

/// Registers and sends, reconnects and sends again; returns how many files then lie on the disk as they should.
fn both_rounds(
    server: &DemoServer,
    folder: &Path,
    data: &Path,
    dialect: Dialect,
    files: &[PathBuf],
) -> anyhow::Result<usize> {
    println!("\ndialect {dialect}");
    let options = Options {
        server: server.address.clone(),
        name: format!("demo-{dialect}"),
        dialect,
        state: folder.join(format!("client-{dialect}")),
        files: files.iter().cloned().map(FileToSend::as_given).collect(),
        paced: false,
        retry_refused: RETRY_REFUSED,
    };
    let mut id = None;
    for _round in ["register", "reconnect"] {
        let report = put(&options, &mut Narrator).context("the client failed")?;
        id = report.id.or(id);
        if let Some(failed) = report.files.iter().find(|file| file.result.is_err()) {
            bail!("{} was not stored", failed.file.path.display());
        }
    }
    let id = id.context("the client has no id")?;
    files.iter().try_fold(0, |count, file| Ok(count + usize::from(compare(data, id, file)?)))
}

/// Waits for the plain file and compares it with the original.
fn compare(data: &Path, id: ClientId, original: &Path) -> anyhow::Result<bool> {
    let name = FileToSend::as_given(original.to_owned()).name;
    let stored = plain_file(data, id, &name)?;
    let expected =
        fs::read(original).with_context(|| format!("cannot read {}", original.display()))?;
    let start = Instant::now();
    while start.elapsed() < VIEW_WAIT_MAX {
        match fs::read(&stored) {
            Ok(bytes) if bytes == expected => {
                println!("  identical: {}", stored.display());
                return Ok(true);
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", stored.display()));
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    println!("  DIFFERENT: {}", stored.display());
    Ok(false)
}

/// Where the view shows the newest version of a file.
fn plain_file(data: &Path, id: ClientId, name: &[u8]) -> anyhow::Result<PathBuf> {
    let dir = DataDir::existing(data)?;
    let reader = Reader::open(&dir.catalog())?;
    let client = reader
        .clients_after(None)?
        .into_iter()
        .find(|client| client.id == id)
        .context("no such client")?;
    let versions = reader.versions_after(&id, name, 0)?;
    let newest = versions.into_iter().find(|row| row.file == name && row.is_newest);
    let newest = newest.with_context(|| format!("{} is not in the catalog", escape(name)))?;
    Ok(dir.files().join(client.folder).join(newest.path))
}

fn sample(folder: &Path) -> anyhow::Result<PathBuf> {
    let path = folder.join("sample.bin");
    let content: Vec<u8> =
        (0..3_000_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    fs::write(&path, content).context("cannot write a sample file")?;
    Ok(path)
}

/// Says what the client does, as it does it.
struct Narrator;

impl Observer for Narrator {
    fn notice(&mut self, event: &Event<'_>) {
        match event {
            Event::Registered { client, id, elapsed } => {
                println!("  registered {client} as {id} in {}", millis(*elapsed));
            }
            Event::KeyReceived { reconnected: true, elapsed, .. } => {
                println!("  reconnected, with a new AES key after {}", millis(*elapsed));
            }
            Event::KeyReceived { elapsed, .. } => {
                println!("  received an AES key after {}", millis(*elapsed));
            }
            Event::FileVerified { path, verified } => {
                let (size, checksum, time) =
                    (verified.size, verified.checksum, millis(verified.elapsed));
                println!(
                    "  verified {} ({size} bytes, checksum {checksum}) in {time}",
                    path.display()
                );
            }
            Event::ChecksumWrong { path, .. } => {
                println!("  wrong checksum, sending {} again", path.display());
            }
            Event::FileFailed { path, error, .. } => {
                println!("  FAILED {}: {error}", path.display());
            }
            Event::FileStarted { .. } | Event::FileProgress { .. } | Event::Reconnecting { .. } => {
            }
        }
    }
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// The server as a process of its own; killed if the demo fails.
struct DemoServer {
    process: Child,
    address: Server,
}

impl DemoServer {
    fn start(data: &Path) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let mut process = Command::new(program)
            .args(["serve", "--listen", "127.0.0.1:0", "--existing", "version", "--data"])
            .arg(data)
            // The demo's working directory may hold a configuration that is meant for another server.
            .args(["--config", "/dev/null"])
            .env(crate::log::LOG_VARIABLE, "warn")
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the server")?;
        let out = process.stdout.take().context("the server has no stdout")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).context("cannot read what the server says")?;
        let address =
            line.trim().strip_prefix("listening on ").and_then(|address| address.parse().ok());
        match address {
            Some(address) => Ok(Self { process, address }),
            None => {
                let _ = process.kill();
                let _ = process.wait();
                bail!("the server did not start");
            }
        }
    }

    /// Has the server's own program invite a client; the code.
    fn invite(&self, name: &str, data: &Path) -> anyhow::Result<String> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let address = format!("{}:{}", self.address.host, self.address.port);
        let mut command = Command::new(program);
        command.args(["invite", name, "--address", &address, "--data"]).arg(data);
        let output = command.output().context("cannot run cofferd invite")?;
        if !output.status.success() {
            bail!("cofferd invite: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn stop(mut self) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.process), Signal::TERM)
            .context("cannot stop the server")?;
        let status = self.process.wait().context("cannot wait for the server")?;
        if status.success() { Ok(()) } else { bail!("the server ended with {status}") }
    }
}

impl Drop for DemoServer {
    fn drop(&mut self) {
        // After `stop` both do nothing.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
