//! `coffer-loadtest run`: a server, clients, a clock, and a comparison at the end.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use coffer_protocol::encode::encrypted_size;

use crate::args::RunArgs;
use crate::engine::Engine;
use crate::fleet::{Fleet, Plan, Role};
use crate::keys::Keys;
use crate::ledger::Ledger;
use crate::oracle::{self, Findings};
use crate::place::Place;
use crate::preload;
use crate::process::Usage;
use crate::report::{self, Report};
use crate::roofline::{self, Roofline};
use crate::server::{Outages, Server};
use crate::socket::make_room;
use crate::view::{self, Lag};
use crate::warm::warm;

/// Everything a run came to.
pub(crate) struct Outcome {
    pub(crate) fleet: Fleet,
    pub(crate) preloaded: bool,
    /// When the clock started.
    pub(crate) start: Instant,
    pub(crate) usage: Option<ServerUsage>,
    pub(crate) view: Option<Lag>,
    pub(crate) findings: Option<Findings>,
    pub(crate) roofline: Option<Roofline>,
}

/// The server at the moments that matter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerUsage {
    /// Before any client came.
    pub(crate) idle: Usage,
    /// When the clock started.
    pub(crate) start: Usage,
    /// When everything was done.
    pub(crate) end: Usage,
}

/// Runs the command; whether all was well.
///
/// # Errors
/// If it cannot be run, or ended early.
pub(crate) fn command(args: &RunArgs) -> anyhow::Result<bool> {
    let place = Place::prepare(&args.server)?;
    let outcome = match run(args, &place) {
        Ok(outcome) => outcome,
        Err(error) => {
            place.keep();
            return Err(error);
        }
    };
    let report = Report::new(args, &outcome);
    report.print();
    if let Some(path) = &args.json {
        report::write_json(path, &report)?;
    }
    if let Some(path) = &args.html {
        report::write_html(path, &report)?;
    }
    let good = report.is_good();
    if !good {
        place.keep();
    }
    Ok(good)
}

/// Runs it.
///
/// # Errors
/// If it cannot be run, or ended early.
pub(crate) fn run(args: &RunArgs, place: &Place) -> anyhow::Result<Outcome> {
    check(args)?;
    make_room(args.clients)?;
    let plan = plan(args);
    let preload = preload::is_wanted(args, plan.files)?;
    let roofline = args.roofline.then(|| roofline::measure(place.scratch())).transpose()?;
    let mut server = place.server(args.clients)?;
    let address = place.address(server.as_ref())?;
    let outages = server.as_ref().map_or_else(Outages::default, Server::outages);
    let keys = Keys::generate()?;
    let ledger = Ledger::new(args.seed.unwrap_or_else(new_seed), args.size);
    let fleet = Fleet::new(ledger, plan, roles(args), args.dialect, keys.clone(), outages);
    let idle = server.as_ref().and_then(Server::usage);
    let mut engine = Engine::new(fleet, &keys, address, server.take()).context("no event loop")?;

    if !args.sessions {
        identify(&mut engine, args)?;
    }
    if preload {
        preload::encrypt(&mut engine.fleet);
        let contents = u64::from(engine.fleet.plan.files.unwrap_or(0)) * args.clients as u64;
        warm(place.scratch(), contents * args.size.max).context("cannot touch memory")?;
    }
    let start = Instant::now();
    engine.fleet.start_clock(start);
    let at_start = engine.sample_now();
    if let (Some(server), Some(interval)) = (&mut engine.server, args.faults.kill_server_every) {
        server.keep_killing(interval);
    }
    engine.run_until("sending", |fleet, _| fleet.is_done())?;
    if let Some(server) = &mut engine.server {
        server.stop_killing()?;
    }
    let at_end = engine.sample_now();
    let view = view::catch_up(&engine, place)?;
    let usage = idle.zip(at_start).zip(at_end);
    let usage = usage.map(|((idle, start), end)| ServerUsage { idle, start, end });
    let Engine { fleet, server, .. } = engine;
    if let Some(server) = server {
        server.stop()?;
    }
    let findings = place.data().map(|data| oracle::compare(&fleet.ledger, data)).transpose()?;
    Ok(Outcome { fleet, preloaded: preload, start, usage, view, findings, roofline })
}

/// What cannot be run is refused before anything begins.
fn check(args: &RunArgs) -> anyhow::Result<()> {
    for dialect in [args.dialect.dialect(0), args.dialect.dialect(1)] {
        encrypted_size(dialect, args.size.max)?;
    }
    let faults = &args.faults;
    if faults.stall + faults.trickle > 1.0 {
        bail!("--stall and --trickle together are more than all clients");
    }
    let endless = faults.stall == 1.0 && args.duration.is_none();
    if endless {
        bail!("nobody would ever finish: let fewer clients stall");
    }
    Ok(())
}

fn plan(args: &RunArgs) -> Plan {
    let one = args.duration.is_none() || args.sessions;
    Plan {
        files: args.files.or(one.then_some(1)),
        sessions: args.sessions,
        duration: args.duration,
        ramp: args.ramp,
        think: Duration::from_millis(args.think),
        rate: args.rate,
        reconnect: args.reconnect,
        corrupt: args.faults.corrupt,
        reset: args.faults.reset,
        trickle_pause: Duration::from_millis(args.faults.trickle_pause),
    }
}

/// Stallers first, then those who trickle, then the good ones.
fn roles(args: &RunArgs) -> Vec<Role> {
    let share = |fraction: f64| (args.clients as f64 * fraction).round() as usize;
    let (stallers, tricklers) = (share(args.faults.stall), share(args.faults.trickle));
    let role = |slot| match slot {
        slot if slot < stallers => Role::Staller,
        slot if slot < stallers + tricklers => Role::Trickler,
        _ => Role::Good,
    };
    (0..args.clients).map(role).collect()
}

/// Has all clients register and exchange keys.
fn identify(engine: &mut Engine, args: &RunArgs) -> anyhow::Result<()> {
    for slot in 0..args.clients {
        engine.with_client(slot, |fleet, link| fleet.identify(slot, link));
    }
    engine.run_until("keys", |fleet, _| fleet.identified == args.clients)
}

/// Something that no other run has.
pub(crate) fn new_seed() -> u64 {
    rand::random()
}
