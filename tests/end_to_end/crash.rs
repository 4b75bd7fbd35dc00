//! `kill -9` while several clients upload, again and again: what was acknowledged is there, byte for byte.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use coffer::observe::{Event, Observer};
use coffer_protocol::Dialect;

use crate::content::noise;
use crate::own::{BOTH, Own};
use crate::server::{Down, Server, wait_for};

const CLIENTS: u64 = 4;
const KILLS: u64 = 10;
/// Acknowledgements between two kills, at least.
const PROGRESS: usize = 8;
/// Files in one run of a client, so that kills meet registrations, reconnections and files alike.
const FILES: u64 = 5;

/// What the clients share with who kills.
struct Scene {
    server: Mutex<SocketAddr>,
    acknowledged: AtomicUsize,
    over: AtomicBool,
}

/// Notes what the server has acknowledged.
struct Acknowledged<'a>(&'a Scene);

impl Observer for Acknowledged<'_> {
    fn notice(&mut self, event: &Event<'_>) {
        if let Event::FileVerified { verified, .. } = event {
            assert!(verified.acknowledged);
            self.0.acknowledged.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Sends files of its own until it is over. Returns the names of those that were acknowledged.
fn upload(own: &Own, seed: u64, scene: &Scene) -> Vec<String> {
    let mut stored = vec![];
    for run in 0.. {
        if scene.over.load(Ordering::SeqCst) {
            return stored;
        }
        let server = *scene.server.lock().unwrap_or_else(PoisonError::into_inner);
        let names: Vec<String> = (0..FILES).map(|n| format!("run {run}/{n}")).collect();
        let files = names.iter().map(|name| own.file(name.as_bytes(), &content(seed, name)));
        // Errors are what a killed server looks like; what matters is what it acknowledged before.
        if let Ok(report) = own.send(server, files.collect(), &mut Acknowledged(scene)) {
            let verified = report.files.iter().zip(names).filter(|(file, _)| file.result.is_ok());
            stored.extend(verified.map(|(_, name)| name));
        }
    }
    unreachable!("it is over at some time")
}

/// Small and large contents, the same for the same name.
fn content(seed: u64, name: &str) -> Vec<u8> {
    let mixed = name.bytes().fold(seed, |mixed, byte| mixed.wrapping_mul(31) ^ u64::from(byte));
    let sizes = [0, 300, 9_000, 17_000, 70_000, 400_000];
    noise(mixed, sizes[(mixed % 6) as usize] + (mixed % 97) as usize)
}

#[test]
fn whatever_was_acknowledged_survives_kill_9() {
    let mut server = Server::start();
    let scene = Scene {
        server: Mutex::new(server.address()),
        acknowledged: AtomicUsize::new(0),
        over: AtomicBool::new(false),
    };
    let owns: Vec<Own> = (0..CLIENTS)
        .map(|n| Own::new(&format!("client {n}"), BOTH[(n % 2) as usize]).impatient())
        .collect();
    let stored: Vec<Vec<String>> = thread::scope(|scope| {
        let clients: Vec<_> = (0..)
            .zip(&owns)
            .map(|(seed, own)| {
                scope.spawn({
                    let scene = &scene;
                    move || upload(own, seed, scene)
                })
            })
            .collect();
        // A panic in here must not leave the clients running.
        let over = Over(&scene);
        for kill in 0..KILLS {
            let before = scene.acknowledged.load(Ordering::SeqCst);
            wait_for("acknowledgements", || {
                (scene.acknowledged.load(Ordering::SeqCst) >= before + PROGRESS).then_some(())
            });
            // Somewhere in the middle of something.
            thread::sleep(Duration::from_micros(kill * 7_919 % 20_000));
            server.restart(Down::Kill9);
            *scene.server.lock().expect("no client panics") = server.address();
        }
        drop(over);
        clients.into_iter().map(|client| client.join().expect("no client panics")).collect()
    });
    check(&server, &owns, &stored);
    server.take_down(Down::Kill9);
    check(&server, &owns, &stored);
}

/// Ends the clients, whatever happens.
struct Over<'a>(&'a Scene);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::SeqCst);
    }
}

fn check(server: &Server, owns: &[Own], stored: &[Vec<String>]) {
    let store = server.store();
    for ((own, names), seed) in owns.iter().zip(stored).zip(0..) {
        assert!(!names.is_empty(), "{} got something done", own.name);
        let versions = store.versions(&own.name);
        for name in names {
            assert!(versions.iter().any(|v| v.row.file == name.as_bytes()), "{name} is lost");
        }
        // What was not acknowledged may be there too, but only whole; and d1100 never has two versions.
        for version in &versions {
            let name = String::from_utf8(version.row.file.clone()).expect("a name of ours");
            assert_eq!(version.content, content(seed, &name), "{name}");
            assert!(own.dialect == Dialect::D825 || version.row.version == 1, "{name}");
        }
    }
}
