//! Runs against a real server: both dialects, every fault, and an oracle that is given something to find.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use clap::Parser;
use tempfile::TempDir;

use crate::args::{Args, Command as Ordered, RunArgs};
use crate::oracle::compare;
use crate::place::Place;
use crate::report::{Report, write_html};
use crate::run::{Outcome, run};

/// A fresh `cofferd`: `cargo test -p coffer-loadtest` alone would not build it.
fn cofferd() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let own = std::env::current_exe().expect("this test is a program");
        let profile = own.parent().and_then(Path::parent).expect("it lies in target/PROFILE/deps");
        let target = profile.parent().expect("and so in target");
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "cofferd", "--bin", "cofferd"]);
        build.arg("--target-dir").arg(target);
        if profile.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().expect("cargo is there").success(), "cofferd does not build");
        profile.join("cofferd")
    })
}

fn ordered(line: &str) -> RunArgs {
    let spawn = cofferd().to_str().expect("a path in UTF-8");
    let words = ["coffer-loadtest", "run", "--spawn", spawn].into_iter();
    match Args::parse_from(words.chain(line.split_whitespace())).command {
        Ordered::Run(args) => *args,
        other => panic!("{other:?}"),
    }
}

/// Runs it and checks that all was well.
fn run_well(line: &str) -> Outcome {
    let args = ordered(line);
    let place = Place::prepare(&args.server).expect("a place");
    let outcome = run(&args, &place).expect("it runs");
    let report = Report::new(&args, &outcome);
    report.print();
    assert!(report.is_good(), "{line}");
    let findings = outcome.findings.as_ref().expect("a server of ours");
    let counters = &outcome.fleet.stats.counters;
    assert_eq!(findings.identical, counters.files + counters.trickled, "{line}");
    outcome
}

#[test]
fn both_dialects_at_once() {
    let outcome = run_well("--clients 20 --files 5 --dialect mixed --size 0..100KiB");
    let counters = outcome.fleet.stats.counters;
    assert_eq!(counters.files, 100);
    assert!(counters.bytes.iter().all(|&bytes| bytes > 0), "{counters:?}");
    assert!(outcome.preloaded);
}

#[test]
fn files_at_a_rate() {
    let outcome =
        run_well("--clients 10 --rate 200 --duration 1 --dialect mixed --size 4096 --think 1");
    assert_eq!(outcome.fleet.stats.counters.files, 200);
    assert!(!outcome.preloaded);
}

#[test]
fn whole_sessions() {
    let outcome = run_well("--clients 8 --files 2 --sessions --dialect mixed --size 1000");
    let counters = outcome.fleet.stats.counters;
    assert_eq!((counters.sessions, counters.files, counters.key_exchanges), (8, 16, 8));
    let outcome = run_well("--clients 4 --sessions --duration 1 --dialect mixed --size 1000");
    let counters = outcome.fleet.stats.counters;
    assert!(counters.sessions > 4, "new ones take the places of those who left: {counters:?}");
    assert_eq!(counters.sessions, counters.key_exchanges);
    let outcome = run_well("--clients 4 --sessions --rate 20 --duration 1 --size 1000");
    assert_eq!(outcome.fleet.stats.counters.sessions, 20);
}

#[test]
fn clients_reconnect() {
    let outcome = run_well("--clients 4 --files 10 --dialect mixed --size 1000 --reconnect 0.5");
    let counters = outcome.fleet.stats.counters;
    assert!((10..40).contains(&counters.key_exchanges), "{counters:?}");
}

#[test]
fn damaged_contents_are_sent_again() {
    let outcome = run_well("--clients 6 --files 10 --dialect mixed --corrupt 0.5 --size 1..9000");
    let counters = outcome.fleet.stats.counters;
    assert!((10..50).contains(&counters.mismatches), "{counters:?}");
}

#[test]
fn reset_connections_do_no_harm() {
    let outcome = run_well("--clients 6 --files 10 --dialect mixed --reset 0.3 --size 20000");
    let counters = outcome.fleet.stats.counters;
    assert!((5..40).contains(&counters.resets), "{counters:?}");
}

#[test]
fn stalled_clients_do_not_hold_up_the_others() {
    let outcome = run_well("--clients 20 --files 3 --dialect mixed --stall 0.5 --size 20000");
    assert_eq!(outcome.fleet.stats.counters.files, 30);
}

#[test]
fn contents_may_come_byte_by_byte() {
    let outcome =
        run_well("--clients 4 --files 1 --dialect mixed --trickle 1 --trickle-pause 0 --size 1500");
    assert_eq!(outcome.fleet.stats.counters.trickled, 4);
}

#[test]
fn a_killed_server_loses_nothing_that_it_acknowledged() {
    let outcome = run_well(
        "--clients 8 --duration 4 --dialect mixed --kill-server-every 0.5 --size 0..100KiB",
    );
    let counters = outcome.fleet.stats.counters;
    assert!(outcome.fleet.outages.count() >= 2);
    assert!(counters.interrupted > 0 && counters.files > 0, "{counters:?}");
}

#[test]
fn a_page_with_all_plots() {
    let args = ordered("--clients 4 --duration 2 --rate 50 --size 1000");
    let place = Place::prepare(&args.server).expect("a place");
    let outcome = run(&args, &place).expect("it runs");
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("page.html");
    write_html(&path, &Report::new(&args, &outcome)).expect("it is written");
    let page = fs::read_to_string(&path).expect("it is there");
    assert_eq!(page.matches("<svg").count(), 6);
    assert!(!page.contains("href") && !page.contains("src="), "it needs nothing else");
}

/// Every kind of damage is found, whoever did it.
#[test]
fn the_oracle_finds_what_is_damaged_or_gone() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let line = "--clients 3 --files 2 --size 200000 --dialect mixed --data";
    let outcome = run_well(&format!("{line} {}", data.display()));
    let ledger = &outcome.fleet.ledger;
    assert_eq!(compare(ledger, &data).expect("it compares").identical, 6);

    let blobs = files_below(&data.join("blobs"));
    assert_eq!(blobs.len(), 6);
    let mut bytes = fs::read(&blobs[0]).expect("a blob");
    bytes[100_000] ^= 1;
    overwrite(&blobs[0], &bytes);
    overwrite(&blobs[1], &fs::read(&blobs[1]).expect("a blob")[..199_999]);
    let mut longer = fs::read(&blobs[2]).expect("a blob");
    longer.push(0);
    overwrite(&blobs[2], &longer);
    fs::remove_file(&blobs[3]).expect("it was there");
    let findings = compare(ledger, &data).expect("it compares");
    assert_eq!((findings.identical, findings.different), (2, 4), "{findings:?}");
    assert!(!findings.are_good());
}

#[test]
fn the_oracle_finds_what_was_never_stored() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let line = "--clients 2 --files 2 --size 100 --data";
    let mut outcome = run_well(&format!("{line} {}", data.display()));
    outcome.fleet.ledger.account_mut(1).acknowledged.push(7);
    let findings = compare(&outcome.fleet.ledger, &data).expect("it compares");
    assert_eq!((findings.identical, findings.missing), (4, 1));
    assert!(findings.examples[0].contains("file 7"), "{findings:?}");
}

fn overwrite(path: &Path, bytes: &[u8]) {
    // Blobs cannot be written to, so another file takes the place.
    fs::remove_file(path).expect("it was there");
    fs::write(path, bytes).expect("there is room");
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}
