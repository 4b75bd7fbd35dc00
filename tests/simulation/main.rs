//! The whole server but its sockets and threads, under one seed: clients of all kinds, a network that cuts and delays,
//! a disk that fails, a process that crashes between any two steps, and a model that knows what must be true.
//!
//! `COFFER_SEEDS=10000` tries more seeds than usual; `COFFER_SEED=17` replays one and prints what happens.

mod around;
mod client;
mod content;
mod dice;
mod disk;
mod errands;
mod hostile;
mod inbox;
mod keys;
mod link;
mod model;
mod profile;
mod server;
mod world;

use std::panic::catch_unwind;
use std::time::Instant;

use world::{Summary, World};

/// Seeds tried by default.
const SEEDS: u64 = 300;

#[test]
fn nothing_acknowledged_is_lost_and_nobody_gets_in() {
    if let Some(seed) = number("COFFER_SEED") {
        println!("{:?}", World::new(seed, true).run());
        return;
    }
    let start = Instant::now();
    let seeds = number("COFFER_SEEDS").unwrap_or(SEEDS);
    let mut total = Summary::default();
    for seed in 0..seeds {
        let Ok(run) = catch_unwind(|| World::new(seed, false).run()) else {
            panic!(
                "seed {seed} failed, for the reason above; to see what happened:\n\n    COFFER_SEED={seed} cargo test -p cofferd --test simulation nothing -- --nocapture\n"
            );
        };
        total.peers += run.peers;
        total.connections += run.connections;
        total.versions += run.versions;
        total.crashes += run.crashes;
        total.steps += run.steps;
    }
    let minutes = start.elapsed().as_secs_f64() / 60.0;
    println!(
        "{seeds} seeds: {} clients, {} connections, {} versions acknowledged, {} crashes, {} steps; {:.0} clients and {:.0} connections a minute",
        total.peers,
        total.connections,
        total.versions,
        total.crashes,
        total.steps,
        total.peers as f64 / minutes,
        total.connections as f64 / minutes
    );
}

#[test]
fn a_seed_always_gives_the_same_run() {
    for seed in [1, 2, 3] {
        assert_eq!(World::new(seed, false).run(), World::new(seed, false).run());
    }
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable}={value} is no number")))
}
