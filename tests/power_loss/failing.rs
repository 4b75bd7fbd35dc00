//! The real program on a disk whose syncs fail, which strace makes them: nothing is acknowledged, the operator is told,
//! and the next start finds everything in order.

use std::path::Path;
use std::thread;

use coffer_protocol::Dialect;

use crate::content::noise;
use crate::load::{no_strace, strace};
use crate::peer::{CHECKSUM, ERROR, KEY, Peer, RECONNECTED, REGISTERED, Verdict};
use crate::server::{Down, Server, Setup, wait_for};

const BOTH: [Dialect; 2] = [Dialect::D825, Dialect::D1100];
/// Large enough for a file of its own.
const LARGE: usize = 90_001;
/// Small enough to be collected in memory, and too large for the catalog.
const COLLECTED: usize = 50_001;
/// Far more files than it takes until a sync fails.
const FILES_MAX: usize = 100;

#[test]
#[ignore = "needs strace: cargo xtask powerloss"]
fn a_content_whose_sync_fails_is_refused_and_removed() {
    // The file itself, and then the folder it is in.
    for failing in ["blobs/00000001/00000000/0000", "blobs/00000001/00000000"] {
        for dialect in BOTH {
            let path = Path::new(failing);
            let Some(mut server) = start(path, "fsync", 1) else { return };
            let mut peer = introduced(&server, dialect);
            assert_eq!(peer.upload(b"a", &noise(1, LARGE)), CHECKSUM);
            assert_eq!(peer.verdict(Verdict::Right, b"a"), ERROR, "{failing} {dialect}");
            server.process().wait_for_log("cannot store \"a\" of client");
            let store = server.store();
            wait_for("its removal", || (store.blob_count() == 0).then_some(()));
            assert!(store.rows(&peer.name).is_empty());
            // The disk is well again.
            back(&server, &mut peer);
            assert!(stores(&mut peer, "a", &noise(2, LARGE)));
            server.take_down(Down::Kill9);
            is_in_order(server, &mut peer, 1);
        }
    }
}

/// Contents that wait for a syncer at the same time share one sync.
#[test]
#[ignore = "needs strace: cargo xtask powerloss"]
fn a_group_whose_sync_fails_is_refused_and_removed() {
    let Some(mut server) = start(Path::new("blobs"), "syncfs", 1) else { return };
    let named = |n: usize| Peer::new(server.address(), BOTH[n % 2], &format!("client {n}"));
    let mut peers: Vec<(Peer, usize)> = (0..8).map(|n| (named(n), 0)).collect();
    peers.iter_mut().for_each(|(peer, _)| peer.introduce());
    for round in 0..FILES_MAX {
        thread::scope(|scope| {
            for (peer, acknowledged) in &mut peers {
                scope.spawn(move || match stores(peer, &round.to_string(), &noise(1, COLLECTED)) {
                    true => *acknowledged += 1,
                    false => {
                        peer.hang_up();
                        assert_eq!(peer.reconnect(), RECONNECTED);
                    }
                });
            }
        });
        if server.log().contains("a blob could not be synced") {
            break;
        }
    }
    server.process().wait_for_log("a blob could not be synced");
    let stored: usize = peers.iter().map(|(_, acknowledged)| acknowledged).sum();
    let store = server.store();
    wait_for("the removal of what was refused", || (store.blob_count() == stored).then_some(()));
    server.take_down(Down::Kill9);
    for (peer, acknowledged) in &peers {
        assert_eq!(store.versions(&peer.name).len(), *acknowledged, "{}", peer.name);
    }
    let (mut peer, acknowledged) = peers.remove(0);
    is_in_order(server, &mut peer, acknowledged);
}

#[test]
#[ignore = "needs strace: cargo xtask powerloss"]
fn a_catalog_whose_sync_fails_stops_the_server() {
    for dialect in BOTH {
        // Later than whatever a start syncs.
        let Some(mut server) = start(Path::new("catalog.db-wal"), "fsync,fdatasync", 12) else {
            return;
        };
        let mut peer = introduced(&server, dialect);
        let acknowledged = (0..FILES_MAX)
            .take_while(|n| stores(&mut peer, &n.to_string(), &noise(1, 700)))
            .count();
        assert!(acknowledged < FILES_MAX, "a sync failed at some time");
        let ended = server.process().wait();
        assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
        for part in ["the catalog could not store changes", "Nothing that was acknowledged is lost"]
        {
            assert!(ended.stderr.contains(part), "{}", ended.stderr);
        }
        is_in_order(server, &mut peer, acknowledged);
    }
}

/// A server for which every thread's `nth` of these calls on `path` fails; none where there is no strace.
fn start(path: &Path, calls: &str, nth: usize) -> Option<Server> {
    if let Some(why) = no_strace() {
        println!("skipped: {why}");
        return None;
    }
    let setup = Setup::new();
    let path = setup.data_folder().join(path).display().to_string();
    let (trace, inject) =
        (format!("trace={calls}"), format!("inject={calls}:error=EIO:when={nth}"));
    let options = ["-e", &trace, "-e", &inject, "-P", &path];
    Some(setup.under(strace(&options, Path::new("record"))).start())
}

fn introduced(server: &Server, dialect: Dialect) -> Peer {
    let mut peer = Peer::new(server.address(), dialect, "Bob");
    assert_eq!((peer.register(), peer.send_key()), (REGISTERED, KEY));
    peer
}

/// Whether the server acknowledges a content.
fn stores(peer: &mut Peer, file: &str, content: &[u8]) -> bool {
    let file = file.as_bytes();
    peer.try_upload(file, content).is_ok_and(|answer| answer == CHECKSUM)
        && peer.try_verdict(Verdict::Right, file).is_ok_and(|answer| answer == peer.acknowledged())
}

fn back(server: &Server, peer: &mut Peer) {
    peer.hang_up();
    peer.server = server.address();
    assert_eq!(peer.reconnect(), RECONNECTED);
}

/// After the next start, on a disk that is well: everything acknowledged is there, and perhaps one more, since what
/// became of the group whose commit failed was open.
fn is_in_order(mut server: Server, peer: &mut Peer, acknowledged: usize) {
    server.start_again_by_itself();
    let store = server.store();
    assert_eq!(store.integrity(), "ok");
    let versions = store.versions(&peer.name);
    assert!((acknowledged..=acknowledged + 1).contains(&versions.len()), "{acknowledged}");
    back(&server, peer);
    assert!(stores(peer, "after", b"works again"));
    peer.hang_up();
    server.stop();
}
