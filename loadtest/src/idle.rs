//! `coffer-loadtest idle`: what a silent client costs the server.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use cofferd::limits::KEPT_FROM_STRANGERS;
use serde::Serialize;

use crate::args::{IdleArgs, Sizes, Speech};
use crate::engine::Engine;
use crate::fleet::{Fleet, Plan, Role};
use crate::keys::Keys;
use crate::ledger::Ledger;
use crate::place::Place;
use crate::process::Usage;
use crate::report;
use crate::run::new_seed;
use crate::server::Outages;
use crate::socket::make_room;

/// How long the server is left alone before its memory is read.
const SETTLE: Duration = Duration::from_secs(2);

/// What was measured.
#[derive(Debug, Serialize)]
struct IdleReport {
    clients: usize,
    /// They registered and reconnected before.
    reconnected: bool,
    /// Through the secure door.
    secure: bool,
    connected_seconds: f64,
    /// Connections that stood when memory was read.
    connections: usize,
    errors: Vec<String>,
    server: Option<IdleUsage>,
}

#[derive(Debug, Serialize)]
struct IdleUsage {
    /// The server's own memory before the clients came and while they were silent, in KiB.
    anonymous_kib_before: u64,
    anonymous_kib: u64,
    bytes_per_connection: f64,
    peak_rss_kib: u64,
    open_files: u64,
    threads: u64,
}

/// Runs the command; whether all was well.
///
/// # Errors
/// If it cannot be run.
pub(crate) fn command(args: &IdleArgs) -> anyhow::Result<bool> {
    make_room(args.clients)?;
    let place = Place::prepare(&args.server)?;
    if args.secure {
        return secure(&place, args);
    }
    // The server keeps some connections from clients that have not said who they are.
    let server = place.server(args.clients + KEPT_FROM_STRANGERS)?;
    let outages = Outages::default();
    let address = place.address(server.as_ref())?;
    let keys = Keys::generate()?;
    let sizes = Sizes { min: 0, max: 0 };
    let roles = std::iter::repeat_n(Role::Good, args.clients);
    let ledger = Ledger::new(new_seed(), sizes);
    let fleet = Fleet::new(ledger, Plan::default(), roles, Speech::D825, keys.clone(), outages);
    let mut engine = Engine::new(fleet, &keys, address, server).context("cannot start the loop")?;
    let report = measure(&mut engine, args)?;
    if let Some(server) = engine.server.take() {
        server.stop()?;
    }
    finish(&report, args)
}

fn secure(place: &Place, args: &IdleArgs) -> anyhow::Result<bool> {
    let held = crate::secure::hold(place, args.code.as_deref(), args.clients, SETTLE)?;
    let report = IdleReport {
        clients: args.clients,
        reconnected: false,
        secure: true,
        connected_seconds: held.connected_seconds,
        connections: held.standing,
        errors: held.errors,
        server: held.server.map(|(before, after)| usage(before, after, args.clients)),
    };
    finish(&report, args)
}

fn finish(report: &IdleReport, args: &IdleArgs) -> anyhow::Result<bool> {
    print(report);
    if let Some(path) = &args.json {
        report::write_json(path, report)?;
    }
    Ok(report.errors.is_empty() && report.connections == args.clients)
}

fn measure(engine: &mut Engine, args: &IdleArgs) -> anyhow::Result<IdleReport> {
    let before = engine.sample_now();
    let start = Instant::now();
    let clients = args.clients;
    if args.reconnected {
        for _round in ["register", "reconnect"] {
            engine.fleet.identified = 0;
            for slot in 0..clients {
                engine.with_client(slot, |fleet, link| {
                    fleet.hang_up(slot, link);
                    // Its connection is closed now, so there is none to be used.
                    fleet.identify(slot, None);
                });
            }
            engine.run_until("keys", |fleet, _| fleet.identified == clients)?;
        }
    } else {
        (0..clients).for_each(|slot| engine.fleet.connect_only(slot));
    }
    let enough = |fleet: &Fleet, _| {
        let failed = fleet.stats.counters.errors as usize;
        fleet.connections + failed >= clients
    };
    engine.run_until("connecting", enough)?;
    let connected_seconds = start.elapsed().as_secs_f64();
    let settled = Instant::now() + SETTLE;
    engine.run_until("settling", |_, now| now >= settled)?;
    let after = engine.sample_now();
    Ok(IdleReport {
        clients,
        reconnected: args.reconnected,
        secure: false,
        connected_seconds,
        connections: engine.fleet.connections,
        errors: report::errors(&engine.fleet.stats),
        server: before.zip(after).map(|(before, after)| usage(before, after, clients)),
    })
}

fn usage(before: Usage, after: Usage, clients: usize) -> IdleUsage {
    let grown = after.anonymous_kib.saturating_sub(before.anonymous_kib) << 10;
    IdleUsage {
        anonymous_kib_before: before.anonymous_kib,
        anonymous_kib: after.anonymous_kib,
        bytes_per_connection: grown as f64 / clients as f64,
        peak_rss_kib: after.peak_kib,
        open_files: after.open_files,
        threads: after.threads,
    }
}

fn print(report: &IdleReport) {
    let how = match report {
        IdleReport { secure: true, .. } => "enrolled, welcomed and silent",
        IdleReport { reconnected: true, .. } => "registered, reconnected and silent",
        _ => "silent",
    };
    println!(
        "{} of {} clients connected within {:.1} s, {how}",
        report.connections, report.clients, report.connected_seconds
    );
    match &report.server {
        Some(server) => println!(
            "server: {:.0} bytes for each connection ({} KiB of memory of its own before, {} KiB with them), {} open files, {} threads",
            server.bytes_per_connection,
            server.anonymous_kib_before,
            server.anonymous_kib,
            server.open_files,
            server.threads
        ),
        None => println!("server: not ours, so its memory is not known"),
    }
    report.errors.iter().for_each(|error| println!("error: {error}"));
}
