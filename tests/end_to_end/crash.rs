//! `kill -9` while several clients upload, again and again: what was acknowledged is there, byte for byte, and nothing
//! else. `COFFER_KILLS` says how often; `cargo xtask crash` runs it with more.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use coffer::observe::{Event, Observer};
use coffer_protocol::Dialect;

use crate::content::noise;
use crate::own::{BOTH, Own};
use crate::peer::{CHECKSUM, KEY, Peer, RECONNECTED, REGISTERED, Verdict};
use crate::server::stored::Store;
use crate::server::{Down, PATIENCE, Server, wait_for};

/// How often, unless the environment says otherwise.
const KILLS: u64 = 10;
/// Kills of the servers of one data folder: everything in it is looked at after each.
const KILLS_OF_A_FOLDER: u64 = 10;
/// Up to so many acknowledgements between two kills.
const PROGRESS: u64 = 24;
/// Then up to so many microseconds more, for somewhere in the middle of something.
const MORE: u64 = 20_000;
/// Files in one run of our own client, so that kills meet registrations, reconnections and files alike.
const FILES: usize = 5;
/// How the names of files begin that no client ever calls right.
const NEVER: &str = "never";

#[test]
fn whatever_was_acknowledged_survives_kill_9() {
    let kills = env::var("COFFER_KILLS").map_or(KILLS, |text| text.parse().expect("a number"));
    let (start, mut acknowledged) = (Instant::now(), 0);
    for first in (0..kills).step_by(KILLS_OF_A_FOLDER as usize) {
        acknowledged += one_folder(first..kills.min(first + KILLS_OF_A_FOLDER));
        println!("{acknowledged} files acknowledged in {:.1?}", start.elapsed());
    }
    println!("{kills} kills, {acknowledged} files acknowledged, all as they were sent");
}

/// Kills the server of one data folder again and again. Returns how many files it acknowledged.
fn one_folder(kills: std::ops::Range<u64>) -> usize {
    let mut server = Server::start();
    let mut clients: Vec<Client> = (0..4).map(Client::new).collect();
    for kill in kills {
        live(&mut server, &mut clients, kill);
        server.start_again();
        check(&server, &clients);
    }
    server.stop();
    clients.iter().map(|client| client.ledger.acknowledged.len()).sum()
}

/// Lets the clients upload until the server is killed in the middle of it.
fn live(server: &mut Server, clients: &mut [Client], kill: u64) {
    let (address, acknowledged) = (server.address(), AtomicUsize::new(0));
    let dice = mixed(kill, "when");
    let wanted = (dice % PROGRESS) as usize;
    let progressed = thread::scope(|scope| {
        for client in clients.iter_mut() {
            let acknowledged = &acknowledged;
            scope.spawn(move || client.upload(address, acknowledged));
        }
        let start = Instant::now();
        while acknowledged.load(Ordering::SeqCst) < wanted && start.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_micros(dice / PROGRESS % MORE));
        // Whatever has happened: it is also what ends the clients.
        server.take_down(Down::Kill9);
        acknowledged.load(Ordering::SeqCst)
    });
    assert!(progressed >= wanted, "{progressed} of {wanted} acknowledgements before kill {kill}");
}

/// All of it while nobody uploads.
fn check(server: &Server, clients: &[Client]) {
    let store = server.store();
    assert_eq!(store.integrity(), "ok");
    let (mut shown, mut blobs) = (BTreeMap::new(), 0);
    for name in store.clients() {
        let client = clients.iter().find(|client| client.ledger.names.contains(&name));
        let client = client.expect("a client of ours");
        for version in store.versions(&name) {
            let file = String::from_utf8(version.row.file.clone()).expect("a name of ours");
            assert!(!file.starts_with(NEVER), "{file} was never called right");
            // What was not acknowledged may be there too, but only whole; and d1100 never has two versions.
            assert!(version.content == content(client.ledger.seed, &file), "{file} of {name}");
            assert!(client.dialect() == Dialect::D825 || version.row.version == 1, "{file}");
            blobs += usize::from(version.row.blob.is_some());
            if version.row.is_newest {
                shown.insert(version.shown, version.content);
            }
        }
    }
    assert_eq!(store.blob_count(), blobs, "each content has a row, and each row its content");
    for client in clients {
        client.ledger.check(&store);
    }
    wait_for("the view of exactly what the catalog has", || {
        let files = store.view_files();
        (files.len() == shown.len()).then_some(())?;
        files.iter().all(|path| fs::read(path).ok().as_ref() == shown.get(path)).then_some(())
    });
}

/// Small and large contents, the same for the same name.
fn content(seed: u64, name: &str) -> Vec<u8> {
    let dice = mixed(seed, name);
    let sizes = [0, 300, 9_000, 17_000, 70_000, 400_000];
    // Odd lengths, for in d1100 some of the others can be read in two ways.
    noise(dice, (sizes[(dice % 6) as usize] + (dice % 97) as usize) | 1)
}

fn mixed(seed: u64, text: &str) -> u64 {
    let bytes =
        noise(text.bytes().fold(seed + 1, |mixed, b| mixed * 31 % (1 << 50) + u64::from(b)), 8);
    u64::from_le_bytes(bytes.try_into().expect("8 bytes")) >> 1
}

/// A client that goes on where it was when the next server is up.
struct Client {
    kind: Kind,
    ledger: Ledger,
}

enum Kind {
    Own(Own),
    /// Also one that sends again, gives up, and goes without a verdict.
    Steps(Box<Peer>),
}

/// What a client has done.
struct Ledger {
    seed: u64,
    /// The names it used so far: one whose registration was cut off may take another one.
    names: Vec<String>,
    /// Whether the server has acknowledged the registration of the last of them.
    is_registered: bool,
    /// How many files it has begun.
    files: usize,
    /// With the client's name then.
    acknowledged: Vec<(String, String)>,
}

impl Client {
    fn new(seed: u64) -> Self {
        let (name, dialect) = (format!("client {seed}"), BOTH[(seed % 2) as usize]);
        let nowhere = ([0; 4], 0).into();
        let kind = match seed {
            0 | 1 => Kind::Own(Own::new(&name, dialect).impatient()),
            _ => Kind::Steps(Box::new(Peer::new(nowhere, dialect, &name))),
        };
        let ledger = Ledger {
            seed,
            names: vec![name],
            is_registered: false,
            files: 0,
            acknowledged: vec![],
        };
        Self { kind, ledger }
    }

    fn dialect(&self) -> Dialect {
        match &self.kind {
            Kind::Own(own) => own.dialect,
            Kind::Steps(peer) => peer.dialect,
        }
    }

    /// Sends files until the server is gone.
    fn upload(&mut self, server: SocketAddr, acknowledged: &AtomicUsize) {
        match &mut self.kind {
            Kind::Own(own) => while self.ledger.run(own, server, acknowledged).is_ok() {},
            Kind::Steps(peer) => {
                peer.hang_up();
                peer.server = server;
                let ended = self.ledger.steps(peer, acknowledged);
                assert!(ended.is_err(), "only a server that is gone ends it");
            }
        }
    }
}

impl Ledger {
    /// Everything acknowledged is there.
    fn check(&self, store: &Store) {
        for (name, file) in &self.acknowledged {
            let stored = store.content(name, file.as_bytes(), None);
            assert!(stored == Some(content(self.seed, file)), "{file} of {name}");
        }
        if self.is_registered {
            assert!(store.clients().iter().any(|name| Some(name) == self.names.last()));
        }
    }

    fn next_file(&mut self, prefix: &str) -> String {
        self.files += 1;
        format!("{prefix} {}", self.files)
    }

    /// A run of our own client. Errors are what a killed server looks like; what counts is what it acknowledged before.
    fn run(&mut self, own: &Own, server: SocketAddr, acknowledged: &AtomicUsize) -> Result<(), ()> {
        let names: Vec<String> = (0..FILES).map(|_| self.next_file("run")).collect();
        let files: Vec<_> =
            names.iter().map(|n| own.file(n.as_bytes(), &content(self.seed, n))).collect();
        let paths = files.iter().map(|file| file.path.clone()).zip(names).collect();
        let mut noted = Noted { paths, acknowledged, files: vec![], is_registered: false };
        let report = own.send(server, files, &mut noted);
        let files = noted.files.into_iter();
        self.acknowledged.extend(files.map(|file| (own.name.clone(), file)));
        self.is_registered |= noted.is_registered;
        if report.is_ok_and(|report| report.class().is_none()) { Ok(()) } else { Err(()) }
    }

    fn steps(&mut self, peer: &mut Peer, acknowledged: &AtomicUsize) -> io::Result<()> {
        self.introduce(peer)?;
        for round in 0_u64.. {
            let file = self.next_file("step");
            let right = content(self.seed, &file);
            let wrong = noise(self.seed, right.len());
            if round % 3 == 1 {
                assert_eq!(peer.try_upload(file.as_bytes(), &wrong)?, CHECKSUM);
                peer.try_again(file.as_bytes())?;
            }
            assert_eq!(peer.try_upload(file.as_bytes(), &right)?, CHECKSUM);
            let answer = peer.try_verdict(Verdict::Right, file.as_bytes())?;
            assert_eq!(answer, peer.acknowledged());
            acknowledged.fetch_add(1, Ordering::SeqCst);
            self.acknowledged.push((peer.name.clone(), file));
            if round % 2 == 1 {
                self.step_back(peer, &wrong)?;
            }
        }
        unreachable!("no server lives so long")
    }

    /// Sends what it then does not call right.
    fn step_back(&mut self, peer: &mut Peer, wrong: &[u8]) -> io::Result<()> {
        let never = self.next_file(NEVER);
        assert_eq!(peer.try_upload(never.as_bytes(), wrong)?, CHECKSUM);
        if self.files.is_multiple_of(2) {
            let answer = peer.try_verdict(Verdict::GivingUp, never.as_bytes())?;
            assert_eq!(answer, peer.acknowledged());
        } else {
            // It goes without a verdict.
            peer.hang_up();
            assert_eq!(peer.try_reconnect()?, RECONNECTED);
        }
        Ok(())
    }

    /// Once registered, always registered; cut off before that, it takes another name.
    fn introduce(&mut self, peer: &mut Peer) -> io::Result<()> {
        if self.is_registered {
            assert_eq!(peer.try_reconnect()?, RECONNECTED, "{}", peer.name);
            return Ok(());
        }
        peer.name = format!("client {}, attempt {}", self.seed, self.names.len());
        self.names.push(peer.name.clone());
        assert_eq!(peer.try_register()?, REGISTERED);
        assert_eq!(peer.try_send_key()?, KEY);
        self.is_registered = true;
        Ok(())
    }
}

/// Notes what the server has acknowledged, as it happens.
struct Noted<'a> {
    paths: HashMap<PathBuf, String>,
    files: Vec<String>,
    is_registered: bool,
    acknowledged: &'a AtomicUsize,
}

impl Observer for Noted<'_> {
    fn notice(&mut self, event: &Event<'_>) {
        match event {
            Event::KeyReceived { .. } => self.is_registered = true,
            Event::FileVerified { path, verified } => {
                assert!(verified.acknowledged);
                self.files.push(self.paths[*path].clone());
                self.acknowledged.fetch_add(1, Ordering::SeqCst);
            }
            _ => {}
        }
    }
}
