//! A machine with our own client's program, and one in between that loses answers.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::SystemTime;

use serde_json::Value;
use tempfile::TempDir;

use crate::server::{Server, cofferd};

/// A home folder, in which `coffer` keeps what it keeps.
#[derive(Debug)]
pub(crate) struct Machine {
    home: TempDir,
}

/// What a run of `coffer` came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self { home: tempfile::tempdir().expect("a temporary folder") }
    }

    pub(crate) fn coffer(&self, arguments: &[&str]) -> Ran {
        let output = Command::new(program())
            .args(arguments)
            .current_dir(self.home.path())
            .env("HOME", self.home.path())
            .env_remove("XDG_STATE_HOME")
            .stdin(Stdio::null())
            .output();
        Ran::of(output.expect("coffer runs"))
    }

    pub(crate) fn enroll(&self, code: &str) -> Ran {
        self.coffer(&["enroll", code])
    }

    /// What `coffer status --json` prints, of a machine that is enrolled.
    pub(crate) fn status(&self) -> Value {
        let ran = self.coffer(&["status", "--json"]).expect(0);
        serde_json::from_str(&ran.stdout).expect("one object")
    }

    /// Where everything is kept.
    pub(crate) fn servers(&self) -> PathBuf {
        self.home.path().join(".local/state/coffer/servers")
    }

    /// The keys that there are, by folder.
    pub(crate) fn keys(&self) -> Vec<(String, Vec<u8>)> {
        let Ok(folders) = fs::read_dir(self.servers()) else { return Vec::new() };
        let mut keys: Vec<_> = folders
            .map(|folder| {
                let folder = folder.expect("readable");
                let key = fs::read(folder.path().join("key.pem")).expect("a key");
                (folder.file_name().into_string().expect("text"), key)
            })
            .collect();
        keys.sort();
        keys
    }
}

impl Ran {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        let code = output.status.code().expect("no signal");
        Self { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// The same, if the exit code is this one.
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// It ended with this code, and a message with these words in it.
    pub(crate) fn fails(self, code: i32, words: &[&str]) {
        let ran = self.expect(code);
        assert_eq!(ran.stdout, "");
        for words in words {
            assert!(ran.stderr.contains(words), "{words:?} in {}", ran.stderr);
        }
    }
}

/// The client's program: beside the server's, where `cargo test --workspace` puts it. To test one that is older than its
/// sources would be worse than not to test.
fn program() -> PathBuf {
    let coffer = Path::new(env!("CARGO_BIN_EXE_cofferd")).with_file_name("coffer");
    let built = fs::metadata(&coffer).and_then(|coffer| coffer.modified());
    let sources = newest(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/client/src")));
    assert!(
        built.is_ok_and(|built| built >= sources),
        "{} is missing or old: build it, or test the whole workspace",
        coffer.display()
    );
    coffer
}

/// When a file in the folder was changed last.
fn newest(folder: &Path) -> SystemTime {
    let entries = fs::read_dir(folder).expect("a folder");
    let times = entries.map(|entry| {
        let entry = entry.expect("readable");
        match entry.file_type().expect("known").is_dir() {
            true => newest(&entry.path()),
            false => entry.metadata().and_then(|file| file.modified()).expect("known"),
        }
    });
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A command of the server's operator that must succeed.
pub(crate) fn operate(server: &Server, arguments: &[&str]) -> Ran {
    let mut command = cofferd(server.folder());
    command.args(arguments).arg("--data").arg(server.data());
    Ran::of(command.output().expect("cofferd runs")).expect(0)
}

/// A code that leads to these addresses.
pub(crate) fn invite(server: &Server, arguments: &[&str], addresses: &[SocketAddr]) -> String {
    let addresses = addresses.iter().map(|address| format!("--address={address}"));
    let addresses: Vec<String> = addresses.collect();
    let mut all = vec!["invite"];
    all.extend(arguments);
    all.extend(addresses.iter().map(String::as_str));
    operate(server, &all).stdout.trim_end().to_owned()
}

/// The names of the clients that the server has.
pub(crate) fn clients(server: &Server) -> Vec<String> {
    let listed = operate(server, &["clients", "--json"]).stdout;
    let client = |line| -> Value { serde_json::from_str(line).expect("an object") };
    let names = listed.lines().map(client).map(|client| client["client"].clone());
    names.map(|name| name.as_str().expect("a name").to_owned()).collect()
}

/// An address on which nobody listens.
pub(crate) fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound")
}

/// Whether what the server sends comes through.
type Lets = Box<dyn FnMut() -> bool + Send>;

/// Stands between clients and a server, and passes on what it is told to.
pub(crate) struct Relay {
    address: SocketAddr,
    lets: Arc<Mutex<Lets>>,
}

impl Relay {
    /// Asks `lets` for all that the server sends; where it says no, the connection is cut off.
    pub(crate) fn new(server: SocketAddr, lets: impl FnMut() -> bool + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let lets: Arc<Mutex<Lets>> = Arc::new(Mutex::new(Box::new(lets)));
        let shared = Arc::clone(&lets);
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.expect("accepted");
                let Ok(server) = TcpStream::connect(server) else { continue };
                relay(&client, &server, &shared);
            }
        });
        Self { address, lets }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Passes everything on from now on.
    pub(crate) fn let_all(&self) {
        *self.lets.lock().expect("no panic") = Box::new(|| true);
    }
}

fn relay(client: &TcpStream, server: &TcpStream, lets: &Arc<Mutex<Lets>>) {
    let copy = |from: &TcpStream, to: &TcpStream, mut lets: Lets| {
        let mut from = from.try_clone().expect("a copy");
        let mut to = to.try_clone().expect("a copy");
        thread::spawn(move || {
            let mut buffer = [0; 16 << 10];
            while let Ok(count @ 1..) = from.read(&mut buffer)
                && lets()
                && to.write_all(&buffer[..count]).is_ok()
            {}
            let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
        });
    };
    copy(client, server, Box::new(|| true));
    let lets = Arc::clone(lets);
    copy(server, client, Box::new(move || lets.lock().expect("no panic")()));
}
