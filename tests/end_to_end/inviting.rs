//! `cofferd invite`, `reinvite` and `revoke` beside a running server: what they print where, and with which exit code.

use std::process::Output;

use coffer_protocol::Dialect;
use coffer_protocol::v4::invitation::Invitation;
use coffer_tls::key_file;

use crate::own::Own;
use crate::server::{Server, cofferd};

fn command(server: &Server, arguments: &[&str]) -> Output {
    let mut command = cofferd(server.folder());
    command.args(arguments).arg("--data").arg(server.data()).output().expect("it runs")
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("text")
}

/// What is on stdout and on stderr of a command that succeeds.
fn said(server: &Server, arguments: &[&str]) -> (String, String) {
    let output = command(server, arguments);
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{err}");
    (out, err)
}

/// The error of a command that must not be done.
fn refused(server: &Server, arguments: &[&str]) -> String {
    let output = command(server, arguments);
    assert_eq!((output.status.code(), text(output.stdout)), (Some(2), String::new()));
    text(output.stderr)
}

#[test]
fn a_code_stands_alone_on_stdout_and_holds_the_servers_key() {
    let server = Server::start();
    // As the server has it, which makes it if it is not there.
    let identity = key_file::load_or_create(&server.data().join("identity.pem")).expect("a key");
    let invite = ["invite", "laptop", "--address", "coffer.example:1256", "--address", "[::1]:7"];
    let (out, err) = said(&server, &invite);
    let code = out.strip_suffix('\n').expect("a line");
    let invitation = Invitation::from_code(code).expect("a code and nothing else");
    assert_eq!(invitation.server, identity.pin());
    assert_eq!(invitation.addresses, ["coffer.example:1256", "[::1]:7"]);
    assert!(err.contains("the client laptop") && !err.contains(code), "{err}");
    let (again, err) = said(&server, &invite);
    assert!(again != out && err.contains("An earlier code for laptop"), "{err}");
    let (out, _) = said(&server, &["revoke", "laptop"]);
    assert_eq!(out, "revoked 0 keys and 1 invitation of laptop\n");
    for (arguments, expected) in [
        (&["revoke", "laptop"][..], "there is no client laptop"),
        (&["reinvite", "laptop", "--address", "a:1"], "there is no client laptop"),
        (&["invite", "laptop", "--adopt", "--address", "a:1"], "there is no client laptop"),
        (&["invite", "laptop", "--address", "a"], "not of the form host:port"),
        (&["invite", "laptop", "--address", "a:1", "--expires", "31d"], "a code works for"),
        (&["invite", "a\nb", "--address", "a:1"], "holds a control character"),
    ] {
        let error = refused(&server, arguments);
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    server.stop();
}

#[test]
fn a_classic_client_goes_on_until_its_invitation_is_used() {
    let server = Server::start();
    key_file::load_or_create(&server.data().join("identity.pem")).expect("a key");
    let bob = Own::new("bob", Dialect::D825);
    bob.store(server.address(), b"a", b"one");
    let error = refused(&server, &["invite", "bob", "--address", "a:1"]);
    assert!(error.contains("`cofferd invite --adopt`"), "{error}");
    let (_, err) = said(&server, &["invite", "bob", "--adopt", "--address", "a:1"]);
    assert!(err.contains("bob keeps its files"), "{err}");
    bob.store(server.address(), b"a", b"two");
    let (out, _) = said(&server, &["clients"]);
    assert!(out.lines().last().is_some_and(|line| line.contains(" classic set ")), "{out}");
    let error = refused(&server, &["reinvite", "bob", "--address", "a:1"]);
    assert!(error.contains("uses the classic protocol"), "{error}");
    server.stop();
}
