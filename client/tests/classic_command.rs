//! `coffer classic`, in folders as the classic clients leave and expect them.

mod classic;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use assert_cmd::Command;
use classic::{Options825, Options1100, Server825, Server1100};

fn transfer(dir: &Path, server: SocketAddr, name: &str, files: &str) {
    fs::write(dir.join("transfer.info"), format!("{server}\n{name}\n{files}\n")).expect("written");
}

fn run(dir: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::cargo_bin("coffer").expect("the program");
    command.arg("classic").args(args).arg("--dir").arg(dir);
    let output = command.output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn dialect_825_registers_then_reconnects() {
    let server = Server825::start(Options825::real());
    let dir = tempfile::tempdir().expect("a folder");
    transfer(dir.path(), server.addr(), "Michael Jackson", "New_product_spec.docx");
    fs::write(dir.path().join("New_product_spec.docx"), "first").expect("written");
    let (code, stdout, stderr) = run(dir.path(), &[]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.starts_with("registered as 'Michael Jackson', id "), "{stdout}");
    assert!(stdout.contains("New_product_spec.docx: verified, 5 bytes, checksum "), "{stdout}");

    let me_info = fs::read_to_string(dir.path().join("me.info")).expect("me.info");
    let lines: Vec<&str> = me_info.split('\n').collect();
    assert_eq!((lines[0], lines[1].len(), lines[2].len()), ("Michael Jackson", 32, 72));
    assert!(me_info.ends_with("\n\n"));
    let key = fs::read_to_string(dir.path().join("priv.key")).expect("priv.key");
    assert_eq!(format!("{key}\n"), me_info[lines[0].len() + 34..]);

    // The name comes from me.info now.
    transfer(dir.path(), server.addr(), "Somebody Else", "New_product_spec.docx");
    fs::write(dir.path().join("New_product_spec.docx"), "again").expect("written");
    let (code, stdout, _) = run(dir.path(), &["--json"]);
    assert_eq!(code, Some(0), "{stdout}");
    let events: Vec<serde_json::Value> =
        stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let words: Vec<&str> = events.iter().filter_map(|event| event["event"].as_str()).collect();
    assert_eq!(words, ["key", "started", "verified"]);
    assert_eq!(
        (&events[0]["client"], &events[0]["reconnected"]),
        (&"Michael Jackson".into(), &true.into())
    );
    assert_eq!((&events[2]["acknowledged"], &events[2]["size"]), (&false.into(), &5.into()));
    let stored = server.stored("Michael Jackson", "New_product_spec.docx");
    assert_eq!(stored.as_deref(), Some(&b"again"[..]));
}

#[test]
fn dialect_1100_sends_all_files_and_keeps_its_form() {
    let server = Server1100::start(Options1100::real());
    let dir = tempfile::tempdir().expect("a folder");
    transfer(dir.path(), server.addr(), "bob", "a.txt,b.txt");
    fs::write(dir.path().join("a.txt"), "one").expect("written");
    fs::write(dir.path().join("b.txt"), "three").expect("written");
    let (code, stdout, stderr) = run(dir.path(), &["--dialect", "1100"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert!(server.is_verified("bob", "a.txt") && server.is_verified("bob", "b.txt"));

    // me.info says which dialect it is.
    transfer(dir.path(), server.addr(), "bob", "c.txt,missing");
    fs::write(dir.path().join("c.txt"), "seven").expect("written");
    let (code, stdout, stderr) = run(dir.path(), &["--quiet"]);
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(stderr.ends_with("missing: no such file: check the path\n"), "{stderr}");
    assert!(server.is_verified("bob", "c.txt"));
    assert_eq!(server.codes()[6..], [1102, 1103, 1104]);
}

/// Files as the real clients wrote them are taken over: the server knows the key of that `me.info`.
#[test]
fn a_classic_clients_files_are_taken_over() {
    for dialect in ["825", "1100"] {
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples").join(dialect);
        let dir = tempfile::tempdir().expect("a folder");
        for name in ["me.info", "priv.key"] {
            fs::copy(samples.join(name), dir.path().join(name)).expect("copied");
        }
        fs::write(dir.path().join("f"), "content").expect("written");
        if dialect == "825" {
            let server = Server825::start(Options825::polite());
            transfer(dir.path(), server.addr(), "Michael Jackson", "f");
            let (code, stdout, stderr) = run(dir.path(), &[]);
            assert_eq!(code, Some(0), "{stdout}{stderr}");
            assert_eq!(server.codes(), [827, 826, 828, 900], "1606: the server is a new one");
        } else {
            let server = Server1100::start(Options1100::polite());
            transfer(dir.path(), server.addr(), "Michael Jackson", "f");
            let (code, stdout, stderr) = run(dir.path(), &[]);
            assert_eq!(code, Some(0), "{stdout}{stderr}");
            assert_eq!(server.codes(), [1102, 1100, 1101, 1103, 1104]);
        }
        let kept = fs::read(dir.path().join("priv.key")).expect("priv.key");
        assert_eq!(kept, fs::read(samples.join("priv.key")).expect("the sample"), "same key");
        let me_info = fs::read(dir.path().join("me.info")).expect("me.info");
        assert_ne!(me_info, fs::read(samples.join("me.info")).expect("the sample"), "new id");
    }
}
