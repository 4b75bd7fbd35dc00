//! Verdicts on files that are not the peer's, or that nobody sent.

use crate::beside::{BOTH, store};
use crate::peer::{CHECKSUM, ERROR, Peer, Verdict};
use crate::server::Server;

const VERDICTS: [Verdict; 3] = [Verdict::Right, Verdict::Again, Verdict::GivingUp];

#[test]
fn verdicts_on_files_that_nobody_sent_are_refused() {
    let server = Server::start();
    for dialect in BOTH {
        let mut peer = Peer::new(server.address(), dialect, &format!("judge {dialect}"));
        peer.introduce();
        for verdict in VERDICTS {
            for file in [&b"a"[..], b"", b"../a", &[0xff; 254]] {
                let request = peer.verdict_request(verdict, file);
                assert_eq!(peer.ask(&request).0, ERROR, "{dialect} {verdict:?} {file:02x?}");
            }
        }
        assert_eq!(peer.upload(b"a", b"content"), CHECKSUM);
        let request = peer.verdict_request(Verdict::Right, b"b");
        assert_eq!(peer.ask(&request).0, ERROR, "another file than was sent");
        assert_eq!(peer.verdict(Verdict::Right, b"a"), peer.acknowledged(), "the one that was");
        assert_eq!(server.store().versions(&peer.name).len(), 1);
    }
    server.stop();
}

/// A file that waits for its owner's verdict, with a file of the same name waiting for Mallory's, or none.
#[test]
fn nobody_judges_anothers_file() {
    let server = Server::start();
    for dialect in BOTH {
        for has_one_too in [false, true] {
            let name = format!("Alice {dialect} {has_one_too}");
            let mut alice = Peer::new(server.address(), dialect, &name);
            alice.introduce();
            assert_eq!(alice.upload(b"a", b"hers"), CHECKSUM);
            let mut mallory = Peer::new(server.address(), dialect, &format!("Mallory of {name}"));
            mallory.introduce();
            if has_one_too {
                assert_eq!(mallory.upload(b"a", b"his"), CHECKSUM);
                let dropped = mallory.verdict(Verdict::GivingUp, b"a");
                assert_eq!(dropped, mallory.acknowledged());
            } else {
                for verdict in VERDICTS {
                    let request = mallory.verdict_request(verdict, b"a");
                    assert_eq!(mallory.ask(&request).0, ERROR, "{dialect} {verdict:?}");
                }
            }
            assert_eq!(server.store().versions(&name).len(), 0, "not yet");
            assert_eq!(alice.verdict(Verdict::Right, b"a"), alice.acknowledged());
            let stored = server.store().content(&name, b"a", None);
            assert_eq!(stored.as_deref(), Some(&b"hers"[..]));
            assert_eq!(server.store().versions(&mallory.name).len(), 0);
        }
    }
    server.stop();
}

/// What was acknowledged stays, whatever is said of it afterwards.
#[test]
fn a_verdict_is_not_taken_back() {
    let server = Server::start();
    for dialect in BOTH {
        let mut peer = store(server.address(), dialect, &format!("fickle {dialect}"), b"content");
        for verdict in [Verdict::Again, Verdict::GivingUp] {
            let request = peer.verdict_request(verdict, b"a");
            assert_eq!(peer.ask(&request).0, ERROR, "{dialect} {verdict:?}");
        }
        assert_eq!(peer.verdict(Verdict::Right, b"a"), peer.acknowledged(), "the same again");
        let stored = server.store().content(&peer.name, b"a", None);
        assert_eq!(stored.as_deref(), Some(&b"content"[..]));
        assert_eq!(server.store().versions(&peer.name).len(), 1);
    }
    server.stop();
}
