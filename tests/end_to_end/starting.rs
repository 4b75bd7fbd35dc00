//! How the server starts, and how it does not.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

use coffer_protocol::Dialect;

use crate::content::noise;
use crate::own::Own;
use crate::server::{Down, Running, Server, Setup, cofferd};

fn run(folder: &Path, arguments: &[&str]) -> Output {
    cofferd(folder).args(arguments).output().expect("the program runs")
}

/// What it says and how it ends when it cannot do as it is told: one line, and a code that is not 0.
fn complaint(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr.clone()).expect("text")
}

#[test]
fn a_data_folder_in_use_is_refused() {
    let mut server = Server::start();
    let other = Setup::new().data(server.data());
    let ended = other.run().expect_err("there is a server already");
    assert_eq!(ended.status.code(), Some(1));
    let data = server.data().display().to_string();
    for part in ["cofferd: the data folder", &data, "in use by another server", "--data"] {
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
    Own::new("Bob", Dialect::D825).store(server.address(), b"a", b"it does no harm");
    // A server that was killed is not in anybody's way.
    server.take_down(Down::Kill9);
    let second = other.start();
    assert!(second.store().content("Bob", b"a", None).is_some());
    second.stop();
}

#[test]
fn a_port_in_use_is_refused() {
    let server = Server::start();
    let address = server.address().to_string();
    let ended = Setup::new().listen(&address).run().expect_err("there is a server already");
    assert_eq!(ended.status.code(), Some(1));
    let text = format!("cannot listen on {address}");
    assert!(ended.stderr.contains(&text) && ended.stderr.contains("in use"), "{}", ended.stderr);
    Own::new("Bob", Dialect::D825).store(server.address(), b"a", b"it does no harm");
    server.stop();
}

#[test]
fn a_server_takes_its_port_again_at_once() {
    // On an address of its own, whose ports no outgoing connection takes meanwhile.
    let mut first = Setup::new().listen("127.25.6.1:0").start();
    let address = first.address().to_string();
    let own = Own::new("Bob", Dialect::D1100);
    own.store(first.address(), b"a", b"before");
    first.take_down(Down::Kill9);
    let second = Setup::new().data(first.data()).listen(&address).start();
    own.store(second.address(), b"b", b"after");
    second.stop();
}

#[test]
fn several_addresses() {
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = ["--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--data", "data"];
    let Ok(_) = TcpListener::bind("[::1]:0") else {
        println!("skipped: this machine has no IPv6");
        return;
    };
    let mut running = Running::spawn(cofferd(folder.path()).args(arguments)).expect("it starts");
    running.wait_for_log("listening on [::1]:");
    running.signal(rustix::process::Signal::INT);
    assert!(running.wait().status.success(), "Ctrl-C ends it in order");
}

#[test]
fn the_port_is_read_from_info_port() {
    let folder = tempfile::tempdir().expect("a folder");
    // Somebody else may take the port before the server does; then another one is tried.
    let running = (0..20).find_map(|_| {
        let port = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr();
        let port = port.expect("it is bound").port();
        fs::write(folder.path().join("info.port"), format!("{port}\n")).expect("written");
        let running = Running::spawn(&mut cofferd(folder.path())).ok()?;
        assert_eq!(running.address(), ([127, 0, 0, 1], port).into());
        Some(running)
    });
    let mut running = running.expect("one of twenty ports is free");
    // Without a command it serves, and the data folder has its default name.
    let own = Own::new("Bob", Dialect::D825);
    own.store(running.address(), b"a", b"abc");
    assert!(folder.path().join("coffer-data/catalog.db").is_file());
    running.signal(rustix::process::Signal::TERM);
    assert!(running.wait().status.success());
}

#[test]
fn without_a_port_in_info_port_it_is_1256_with_a_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("info.port");
    for (text, warning) in [
        (None, "cannot read info.port"),
        (Some("garbage"), "info.port holds no port"),
        (Some("99999"), "info.port holds no port"),
        (Some(""), "info.port holds no port"),
    ] {
        if let Some(text) = text {
            fs::write(&file, text).expect("written");
        }
        // Whether or not 1256 is free just now.
        let log = match Running::spawn(&mut cofferd(folder.path())) {
            Ok(running) => {
                assert_eq!(running.address(), ([127, 0, 0, 1], 1256).into());
                running.wait_for_log(warning)
            }
            Err(ended) => {
                assert!(ended.stderr.contains("cannot listen on 127.0.0.1:1256"), "{ended:?}");
                ended.stderr
            }
        };
        assert!(log.contains("WARN") && log.contains(warning), "{text:?}: {log}");
    }
    let printed = run(folder.path(), &["config"]);
    let printed = String::from_utf8(printed.stdout).expect("text");
    assert!(printed.contains(r#"listen = ["127.0.0.1:1256"]"#), "{printed}");
}

#[test]
fn what_it_cannot_use_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("file"), "no folder").expect("written");
    fs::write(folder.path().join("bad.toml"), "wrokers = 3").expect("written");
    let listen = ["--listen", "127.0.0.1:0"];
    for (arguments, part) in [
        (["serve", "--data", "file"], "cannot use file"),
        (["serve", "--config", "bad.toml"], "bad.toml makes no sense"),
        (["serve", "--config", "missing.toml"], "cannot read missing.toml"),
    ] {
        let output = run(folder.path(), &[&arguments[..], &listen].concat());
        assert!(complaint(&output).contains(part), "{output:?}");
    }
    let output = run(folder.path(), &["serve", "--listen", "nonsense"]);
    assert!(complaint(&output).contains("give an address and a port"), "{output:?}");
}

#[test]
fn the_demo_succeeds_and_fails_as_it_should() {
    let folder = tempfile::tempdir().expect("a folder");
    // It must neither care about this nor need it.
    fs::write(folder.path().join("coffer.toml"), "listen = [\"192.0.2.1:1\"]").expect("written");
    for (name, size) in [("a.txt", 5000), ("b.bin", 300 << 10), ("empty", 0)] {
        fs::write(folder.path().join(name), noise(1, size)).expect("written");
    }
    let output = run(folder.path(), &["demo", "a.txt", "b.bin", "empty"]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.contains("6 of 6 stored files are identical"), "{text}");
    assert_eq!(text.matches("  enrolled demo-secure in ").count(), 1, "{text}");
    assert_eq!(text.matches("  came back with both keys proved ").count(), 1, "{text}");
    assert_eq!(text.matches("  registered ").count(), 2, "{text}");
    assert_eq!(text.matches("  reconnected").count(), 2, "{text}");
    assert_eq!(text.matches("  identical: ").count(), 6, "{text}");

    let output = run(folder.path(), &["demo", "a.txt", "missing"]);
    let text = complaint(&output) + &String::from_utf8(output.stdout.clone()).expect("text");
    assert!(text.contains("missing: no such file"), "{text}");
}
