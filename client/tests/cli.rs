//! The program's command line: what it refuses, what it says, and its exit codes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use assert_cmd::Command;

fn coffer(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = Command::cargo_bin("coffer")
        .expect("the program")
        .args(args)
        .current_dir(dir)
        .env("XDG_STATE_HOME", dir.join("state"))
        .output()
        .expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code().expect("an exit code"), text(stdout), text(stderr))
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// A port on which nobody listens.
fn closed_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound").port()
}

#[test]
fn help_documents_exit_codes_and_events() {
    let dir = folder();
    for command in ["put", "classic", "enroll", "status"] {
        let (code, stdout, _) = coffer(dir.path(), &[command, "--help"]);
        assert_eq!(code, 0);
        for needed in
            ["Exit codes:", "  3  refused", "  4  the checksums", "reconnecting", "local-io"]
        {
            assert!(stdout.contains(needed), "{command}: {needed} in {stdout}");
        }
    }
}

#[test]
fn senseless_command_lines_exit_with_2() {
    let dir = folder();
    let server = "127.0.0.1:1256";
    for (args, reason) in [
        (&["put", "f", "--name", "bob"][..], "--server"),
        (&["put", "f", "--server", server], "--name"),
        (&["put", "--server", server, "--name", "bob"], "FILE"),
        (&["put", "f", "--server", "127.0.0.1:99999", "--name", "bob"], "HOST:PORT"),
        (&["put", "f", "--server", "127.0.0.1", "--name", "bob"], "HOST:PORT"),
        (&["put", "f", "--server", server, "--name", "bob", "--dialect", "826"], "825 or 1100"),
        (&["put", "f", "--server", server, "--name", ""], "name is empty"),
        (&["put", "f", "--server", server, "--name", "a\nb"], "control character"),
        (&["classic", "--dir", "."], "transfer.info: does not exist"),
    ] {
        let (code, stdout, stderr) = coffer(dir.path(), args);
        assert_eq!((code, stdout.as_str()), (2, ""), "{args:?}");
        assert!(stderr.contains(reason), "{reason} in {stderr}");
    }
}

/// Files that cannot be sent are named, all of them, and the server is not even asked.
#[test]
fn files_that_cannot_be_sent_are_refused_before_anything_is_asked() {
    let dir = folder();
    let large = fs::File::create(dir.path().join("large")).expect("created");
    large.set_len(67_107_840).expect("sparse");
    let long = "x".repeat(255);
    let port = format!("127.0.0.1:{}", closed_port());
    let args =
        ["put", "missing", ".", "large", "/dev/null", &long, "--server", &port, "--name", "bob"];
    let (code, stdout, stderr) = coffer(dir.path(), &args);
    assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
    let lines: Vec<&str> = stderr.lines().collect();
    let reasons = [
        "missing: no such file",
        ".: is a folder",
        "large: 67107840 bytes are more",
        "/dev/null: is no plain file",
        "254 bytes",
    ];
    assert_eq!(lines.len(), reasons.len(), "{stderr}");
    for (line, reason) in lines.iter().zip(reasons) {
        assert!(line.starts_with("coffer: ") && line.contains(reason), "{reason} in {line}");
    }
    assert!(!dir.path().join("state").exists(), "no key was made for nothing");
}

#[test]
fn no_server_exits_with_5_after_some_patience() {
    let dir = folder();
    fs::write(dir.path().join("f"), "x").expect("written");
    let server = format!("127.0.0.1:{}", closed_port());
    let start = std::time::Instant::now();
    let args = ["put", "f", "nofile", "--server", &server, "--name", "bob", "--json"];
    let (code, stdout, stderr) = coffer(dir.path(), &args);
    assert_eq!(code, 5, "{stderr}");
    assert!(start.elapsed().as_secs() >= 2, "a refused connect is tried again");
    assert!(
        stderr.contains(&format!("cannot connect to {server} (Connection refused")),
        "{stderr}"
    );
    let events: Vec<serde_json::Value> =
        stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(events.len(), 2, "{stdout}");
    assert_eq!(
        (&events[0]["event"], &events[0]["reason"]),
        (&"failed".into(), &"bad-input".into())
    );
    assert_eq!(
        (&events[1]["event"], &events[1]["reason"]),
        (&"error".into(), &"connection".into())
    );
}

#[test]
fn a_host_without_address_exits_with_5() {
    let dir = folder();
    fs::write(dir.path().join("f"), "x").expect("written");
    let args = ["put", "f", "--server", "no-such-host.invalid:1256", "--name", "bob", "-q"];
    let (code, stdout, stderr) = coffer(dir.path(), &args);
    assert_eq!((code, stdout.as_str()), (5, ""));
    assert!(stderr.contains("'no-such-host.invalid' was not found"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1);
}

#[test]
fn damaged_or_foreign_state_files_exit_with_2() {
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/samples/825/me.info");
    let dir = folder();
    let state = dir.path().join("s");
    fs::create_dir(&state).expect("a folder");
    fs::write(dir.path().join("f"), "x").expect("written");
    let put = |name: &str| {
        coffer(dir.path(), &["put", "f", "--server", "127.0.0.1:1", "--name", name, "--state", "s"])
    };
    fs::copy(samples, state.join("me.info")).expect("copied");
    let (code, _, stderr) = put("bob");
    assert_eq!(code, 2);
    assert!(stderr.contains("belongs to the client 'Michael Jackson', not to 'bob'"), "{stderr}");
    fs::write(state.join("me.info"), "bob\nnonsense\n").expect("written");
    let (code, _, stderr) = put("bob");
    assert_eq!(code, 2);
    assert!(stderr.contains("me.info: its second line is no client id"), "{stderr}");

    fs::copy(samples, state.join("me.info")).expect("copied");
    fs::write(state.join("transfer.info"), "127.0.0.1:1\nbob\nf\n").expect("written");
    let (code, _, stderr) = coffer(dir.path(), &["classic", "--dir", "s", "--dialect", "1100"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("was written by a client of dialect 825"), "{stderr}");
}

#[test]
fn a_state_folder_that_cannot_be_made_exits_with_6() {
    let dir = folder();
    fs::write(dir.path().join("f"), "x").expect("written");
    let args = ["put", "f", "--server", "127.0.0.1:1", "--name", "bob", "--state", "f/s"];
    let (code, _, stderr) = coffer(dir.path(), &args);
    assert_eq!(code, 6, "{stderr}");
    assert!(stderr.contains("f/s: cannot be written"), "{stderr}");
}

#[test]
fn the_state_folder_is_private() {
    let dir = folder();
    fs::write(dir.path().join("f"), "x").expect("written");
    let server = format!("127.0.0.1:{}", closed_port());
    let (code, _, _) = coffer(dir.path(), &["put", "f", "--server", &server, "--name", "b/ob"]);
    assert_eq!(code, 5);
    let state = dir.path().join("state/coffer").join(server).join("b%2fob");
    let mode = fs::metadata(state).expect("the state folder").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn the_secure_door_says_what_is_missing() {
    let dir = folder();
    let missing = "coffer1-AEHT2-CMRX7";
    for (args, reason) in [
        (&["status"][..], "this machine is not enrolled"),
        (&["enroll", "bob"], "begins with coffer1-"),
        (&["enroll", missing], "group 3 is missing"),
        (&["enroll", "-"], "begins with coffer1-"),
        (&["enroll"], "<CODE>"),
    ] {
        let (code, stdout, stderr) = coffer(dir.path(), args);
        assert_eq!((code, stdout.as_str()), (2, ""), "{args:?}");
        assert!(stderr.contains(reason), "{reason} in {stderr}");
    }
    assert!(!dir.path().join("state").exists(), "no key was made for nothing");
}

#[test]
fn a_state_folder_of_the_secure_door_that_cannot_be_made_exits_with_6() {
    let dir = folder();
    fs::write(dir.path().join("f"), "x").expect("written");
    let (code, _, stderr) = coffer(dir.path(), &["status", "--state", "f"]);
    assert_eq!(code, 6, "{stderr}");
    assert!(stderr.contains("f/servers/default/server.toml: cannot be read"), "{stderr}");
}
