//! The secure door with both real programs: who gets in, who does not, and what they are told.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use coffer::{Class, Error};

use crate::machine::{Machine, Relay, clients, invite, nobody, operate};
use crate::own::{BOTH, Own};
use crate::server::{Down, Server, Setup, cofferd, wait_for};

/// Exit codes of `coffer`.
const BAD_INPUT: i32 = 2;
const REFUSED: i32 = 3;
const NO_CONNECTION: i32 = 5;

/// A server that keeps its address when it is started again.
fn lasting() -> Server {
    Setup::new().listen(&nobody().to_string()).start()
}

/// The fingerprint that clients pin.
fn fingerprint(server: &Server) -> String {
    let log = wait_for("the fingerprint in the log", || {
        Some(server.log()).filter(|log| log.contains("listening"))
    });
    let (_, rest) = log.split_once("fingerprint=").expect("it is logged");
    rest.split_whitespace().next().expect("a fingerprint").to_owned()
}

#[test]
fn a_machine_is_enrolled_and_asks_how_things_are() {
    let server = Server::start();
    let machine = Machine::new();
    machine.coffer(&["status"]).fails(BAD_INPUT, &["not enrolled", "invitation"]);
    let code = invite(&server, &["Bob", "--quota", "50GiB"], &[server.address()]);
    let ran = machine.enroll(&code).expect(0);
    assert!(ran.stdout.starts_with("enrolled as 'Bob' with"), "{ran:?}");
    assert_eq!(ran.stderr, "");

    let status = machine.status();
    assert_eq!(status["client"], "Bob");
    assert_eq!(status["server"], server.address().to_string());
    assert_eq!(status["server_fingerprint"], fingerprint(&server));
    assert_eq!(status["versions"], 0);
    assert_eq!(status["bytes"], 0);
    assert_eq!(status["quota_bytes"], 50_u64 << 30);
    assert!(status["round_trip_seconds"].as_f64().expect("a number") > 0.0);
    let listed = operate(&server, &["clients", "--json"]).stdout;
    let own = status["fingerprint"].as_str().expect("a fingerprint");
    assert!(listed.contains(own), "the operator sees the same key: {listed}");
    assert!(ran.stdout.contains(own) && ran.stdout.contains(&fingerprint(&server)), "{ran:?}");

    let lines = machine.coffer(&["status"]).expect(0).stdout;
    let year = status["enrolled_at"].as_str().expect("a time")[..5].to_owned();
    for needed in ["'Bob', enrolled since", &year, own, "0 versions, 0 bytes", "50.00 GiB", " ms"] {
        assert!(lines.contains(needed), "{needed} in {lines}");
    }
    server.stop();
}

#[test]
fn what_is_kept_is_its_owners_only() {
    let server = Server::start();
    let machine = Machine::new();
    machine.enroll(&invite(&server, &["Bob"], &[server.address()])).expect(0);
    let mode = |path| fs::metadata(path).expect("there").permissions().mode() & 0o7777;
    let folder = machine.servers().join("default");
    assert_eq!(mode(machine.servers()), 0o700);
    assert_eq!(mode(folder.clone()), 0o700);
    let mut files: Vec<_> =
        fs::read_dir(&folder).expect("there").map(|file| file.expect("readable").path()).collect();
    files.sort();
    assert_eq!(files, [folder.join("key.pem"), folder.join("server.toml")]);
    assert!(files.into_iter().all(|file| mode(file) == 0o600));

    fs::set_permissions(folder.join("key.pem"), fs::Permissions::from_mode(0o644)).expect("ours");
    machine.coffer(&["status"]).fails(BAD_INPUT, &["key.pem", "0644", "chmod 600"]);
}

#[test]
fn the_same_code_again_is_harmless_and_of_no_use_to_others() {
    let server = Server::start();
    let (machine, other) = (Machine::new(), Machine::new());
    let code = invite(&server, &["Bob"], &[server.address()]);
    machine.enroll(&code).expect(0);
    let (keys, status) = (machine.keys(), machine.status());
    let again = machine.enroll(&code).expect(0);
    assert!(again.stdout.starts_with("already enrolled as 'Bob'"), "{again:?}");
    assert_eq!(machine.keys(), keys);
    assert_eq!(machine.status()["enrolled_at"], status["enrolled_at"]);

    other.enroll(&code).fails(REFUSED, &["unknown, used or expired", "ask for a new one"]);
    assert_eq!(other.keys(), [], "a key of no use is not kept");
    assert_eq!(clients(&server), ["Bob"]);
    server.stop();
}

#[test]
fn another_code_replaces_an_enrolment_only_by_force() {
    let server = Server::start();
    let machine = Machine::new();
    machine.enroll(&invite(&server, &["Bob"], &[server.address()])).expect(0);
    let before = machine.keys();
    let code = invite(&server, &["Rob"], &[server.address()]);
    let address = server.address().to_string();
    machine.enroll(&code).fails(BAD_INPUT, &["as 'Bob'", &address, "--force"]);
    assert_eq!(machine.keys(), before);

    let used = invite(&server, &["Eve"], &[server.address()]);
    Machine::new().enroll(&used).expect(0);
    machine.coffer(&["enroll", &used, "--force"]).fails(REFUSED, &["unknown, used or expired"]);
    assert_eq!(machine.keys(), before, "what fails replaces nothing");
    assert_eq!(machine.status()["client"], "Bob");

    let ran = machine.coffer(&["enroll", &code, "--force"]).expect(0);
    assert!(ran.stdout.contains("default.old-1"), "{ran:?}");
    assert_eq!(machine.status()["client"], "Rob");
    let [current, old] = machine.keys().try_into().expect("two");
    assert_eq!((current.0.as_str(), old.0.as_str()), ("default", "default.old-1"));
    assert_eq!(old.1, before[0].1, "the earlier key is kept");
    assert_ne!(current.1, old.1);
    server.stop();
}

#[test]
fn another_server_is_told_from_the_right_one() {
    let (right, wrong) = (lasting(), Server::start());
    let fingerprints = [fingerprint(&right), fingerprint(&wrong)];
    let machine = Machine::new();
    let code = invite(&right, &["Bob"], &[wrong.address()]);
    let [expected, found] = fingerprints.each_ref().map(String::as_str);
    machine.enroll(&code).fails(NO_CONNECTION, &["another server", expected, found, "operator"]);
    assert!(!machine.servers().join("default").exists());
    assert!(clients(&right).is_empty() && clients(&wrong).is_empty());

    // The next address of the code may be the right one.
    let code = invite(&right, &["Bob"], &[nobody(), wrong.address(), right.address()]);
    machine.enroll(&code).expect(0);
    assert_eq!(machine.status()["server"], right.address().to_string());
}

#[test]
fn what_speaks_something_else_is_told_as_that() {
    let server = Server::start();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let other = listener.local_addr().expect("bound");
    thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("accepted");
        client.write_all(b"220 mail.example.org ESMTP\r\n").expect("sent");
        let _ = client.read_to_end(&mut Vec::new());
    });
    let code = invite(&server, &["Bob"], &[other]);
    let words = ["no Coffer server with a secure door", &other.to_string()];
    Machine::new().enroll(&code).fails(NO_CONNECTION, &words);
}

#[test]
fn a_server_with_a_new_key_is_not_the_one_that_was_enrolled_with() {
    let mut server = lasting();
    let machine = Machine::new();
    machine.enroll(&invite(&server, &["Bob"], &[server.address()])).expect(0);
    let before = fingerprint(&server);
    server.take_down(Down::Sigterm);
    fs::remove_file(server.data().join("identity.pem")).expect("its key");
    server.start_again();
    let now = fingerprint(&server);
    assert_ne!(before, now);
    machine.coffer(&["status"]).fails(NO_CONNECTION, &[&before, &now, "new invitation"]);
}

#[test]
fn a_revoked_key_is_told_so_and_comes_back_by_force_only() {
    let server = Server::start();
    let machine = Machine::new();
    let code = invite(&server, &["Bob"], &[server.address()]);
    machine.enroll(&code).expect(0);
    operate(&server, &["revoke", "Bob"]);
    machine.coffer(&["status"]).fails(REFUSED, &["was revoked", "--force"]);
    machine.enroll(&code).fails(REFUSED, &["was revoked"]);
    let ran = machine.coffer(&["status", "--json"]).expect(REFUSED);
    assert!(ran.stdout.contains("\"reason\":\"refused\""), "{ran:?}");

    let address = format!("--address={}", server.address());
    let code = operate(&server, &["reinvite", "Bob", &address]).stdout;
    machine.enroll(code.trim_end()).fails(BAD_INPUT, &["--force"]);
    machine.coffer(&["enroll", code.trim_end(), "--force"]).expect(0);
    assert_eq!(machine.status()["client"], "Bob");
    server.stop();
}

#[test]
fn an_expired_code_is_refused() {
    let server = Server::start();
    let code = invite(&server, &["Bob", "--expires", "1s"], &[server.address()]);
    thread::sleep(Duration::from_millis(1100));
    Machine::new().enroll(&code).fails(REFUSED, &["expired", "ask for a new one"]);
    assert!(clients(&server).is_empty());
    server.stop();
}

#[test]
fn a_wrong_character_is_told_with_its_group() {
    let server = Server::start();
    let code = invite(&server, &["Bob"], &[server.address()]);
    let groups: Vec<&str> = code.split('-').collect();
    for group in [1, 7, groups.len() - 1] {
        let mut wrong: Vec<String> = groups.iter().map(ToString::to_string).collect();
        let replacement = if wrong[group].starts_with('A') { "B" } else { "A" };
        wrong[group].replace_range(..1, replacement);
        // The last one may be short, and might as well be cut off.
        let words = format!("group {group} is");
        Machine::new().enroll(&wrong.join("-")).fails(BAD_INPUT, &[&words]);
    }
    Machine::new().enroll(&code[..40]).fails(BAD_INPUT, &["cut off"]);
    Machine::new().enroll("secret").fails(BAD_INPUT, &["begins with coffer1-"]);
    // As somebody types it.
    Machine::new().enroll(&code.to_lowercase()).expect(0);
    server.stop();
}

#[test]
fn a_server_that_cannot_be_reached_is_tried_again_with_the_same_key() {
    let mut server = lasting();
    let machine = Machine::new();
    let silent = nobody();
    let code = invite(&server, &["Bob"], &[silent, server.address()]);
    server.take_down(Down::Sigterm);
    let start = Instant::now();
    let (silent, address) = (silent.to_string(), server.address().to_string());
    machine.enroll(&code).fails(
        NO_CONNECTION,
        &["cannot reach the server", &silent, &address, "refused", "trying again"],
    );
    assert!(start.elapsed() > Duration::from_secs(1), "it was tried again");
    let [(_, key)] = machine.keys().try_into().expect("one");
    server.start_again();
    machine.enroll(&code).expect(0);
    assert_eq!(machine.keys(), [("default".to_owned(), key)]);
}

#[test]
fn a_server_that_comes_back_meanwhile_is_found() {
    let mut server = lasting();
    let machine = Machine::new();
    machine.enroll(&invite(&server, &["Bob"], &[server.address()])).expect(0);
    server.take_down(Down::Sigterm);
    let ran = thread::scope(|scope| {
        let asking = scope.spawn(|| machine.coffer(&["status"]));
        thread::sleep(Duration::from_millis(300));
        server.start_again();
        asking.join().expect("no panic")
    });
    assert!(ran.expect(0).stderr.contains("trying again"));
}

#[test]
fn of_two_machines_with_one_code_one_gets_in() {
    let server = Server::start();
    for round in 0..5 {
        let name = format!("Bob {round}");
        let code = invite(&server, &[&name], &[server.address()]);
        let machines = [Machine::new(), Machine::new()];
        let start = Barrier::new(machines.len());
        let ran = thread::scope(|scope| {
            let enroll = |machine| {
                start.wait();
                Machine::enroll(machine, &code)
            };
            let both = machines.each_ref().map(|machine| scope.spawn(move || enroll(machine)));
            both.map(|one| one.join().expect("no panic"))
        });
        let mut codes = ran.each_ref().map(|ran| ran.code);
        codes.sort_unstable();
        assert_eq!(codes, [0, REFUSED], "{ran:?}");
        let winner = ran.iter().position(|ran| ran.code == 0).expect("one");
        assert_eq!(machines[winner].status()["client"], name);
        machines[1 - winner].coffer(&["status"]).fails(BAD_INPUT, &["not enrolled"]);
    }
    server.stop();
}

#[test]
fn the_same_command_twice_at_once_enrols_once() {
    let server = Server::start();
    for round in 0..5 {
        let code = invite(&server, &[&format!("Bob {round}")], &[server.address()]);
        let machine = Machine::new();
        thread::scope(|scope| {
            let both = [(); 2].map(|()| scope.spawn(|| machine.enroll(&code)));
            for one in both {
                one.join().expect("no panic").expect(0);
            }
        });
        assert_eq!(machine.keys().len(), 1);
        machine.status();
    }
    server.stop();
}

/// The server has enrolled the key, nobody hears of it, and then the server is killed.
#[test]
fn a_lost_answer_is_asked_for_again() {
    let mut server = lasting();
    let machine = Machine::new();
    let lost = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&lost);
    let data = server.data().to_owned();
    let has_client = move || {
        let mut command = cofferd(&data);
        let listed = command.args(["clients", "--json", "--data"]).arg(&data).output();
        !listed.expect("cofferd runs").stdout.is_empty()
    };
    let relay = Relay::new(server.address(), move || {
        let is_done = has_client();
        counter.fetch_add(usize::from(is_done), Ordering::SeqCst);
        !is_done
    });
    let code = invite(&server, &["Bob"], &[relay.address()]);
    machine.enroll(&code).fails(NO_CONNECTION, &["cannot reach the server", "trying again"]);
    assert!(lost.load(Ordering::SeqCst) > 0, "an answer was lost");
    assert_eq!(clients(&server), ["Bob"], "the server has enrolled it");
    machine.coffer(&["status"]).fails(BAD_INPUT, &["not enrolled"]);
    let [(_, key)] = machine.keys().try_into().expect("one");

    server.restart(Down::Kill9);
    relay.let_all();
    let ran = machine.enroll(&code).expect(0);
    assert!(ran.stdout.starts_with("already enrolled as 'Bob'"), "{ran:?}");
    assert_eq!(machine.keys(), [("default".to_owned(), key)]);
    assert_eq!(machine.status()["client"], "Bob");
}

/// As [`Own::send`] ends for a client that may not even introduce itself.
fn turned_away(own: &Own, server: &Server) -> Class {
    let files = vec![own.file(b"a", b"content")];
    match own.send(server.address(), files, &mut ()) {
        Err(error @ Error::Session { .. }) => error.class(),
        Err(error) => panic!("{error}"),
        Ok(report) => report.class().expect("nothing is stored"),
    }
}

#[test]
fn the_classic_door_is_closed_to_a_secure_name() {
    let server = Server::start();
    Machine::new().enroll(&invite(&server, &["Bob"], &[server.address()])).expect(0);
    for dialect in BOTH {
        assert_eq!(turned_away(&Own::new("Bob", dialect), &server), Class::Refused, "{dialect}");
        Own::new(&format!("Rob {dialect}"), dialect).store(server.address(), b"a", b"content");
    }
    assert!(server.store().versions("Bob").is_empty());
    server.stop();
}

#[test]
fn an_adopted_client_keeps_its_files_and_leaves_the_classic_door() {
    let server = Server::start();
    for dialect in BOTH {
        let (own, machine) = (Own::new(&format!("Bob {dialect}"), dialect), Machine::new());
        own.store(server.address(), b"a", b"content");
        let code = invite(&server, &[&own.name, "--adopt"], &[server.address()]);
        own.store(server.address(), b"b", b"more");
        machine.enroll(&code).expect(0);
        let status = machine.status();
        assert_eq!((&status["versions"], &status["bytes"]), (&2.into(), &11.into()), "{status}");
        assert_eq!(turned_away(&own, &server), Class::Refused, "{dialect}");
        assert_eq!(machine.status()["versions"], 2);
    }
    server.stop();
}

#[test]
fn who_may_speak_the_classic_protocol_is_the_operators_choice() {
    for (arguments, is_open) in
        [(&[][..], true), (&["--classic", "loopback"], true), (&["--classic", "off"], false)]
    {
        let server = Setup::new().arguments(arguments).start();
        for dialect in BOTH {
            let own = Own::new(&format!("Bob {dialect}"), dialect).impatient();
            if is_open {
                own.store(server.address(), b"a", b"content");
            } else {
                assert_eq!(turned_away(&own, &server), Class::Refused, "{dialect}");
            }
        }
        let machine = Machine::new();
        machine.enroll(&invite(&server, &["Eve"], &[server.address()])).expect(0);
        assert_eq!(clients(&server).len(), if is_open { 3 } else { 1 });
        server.stop();
    }
}
