//! Clients of the secure door: how many can come in a second, and what a silent one costs.
//!
//! All of them are one enrolled client with one key: what a handshake and a connection cost does not depend on whose
//! they are.

mod crypto;
mod link;

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use coffer_protocol::v4::invitation::Invitation;
use coffer_protocol::v4::message::{Enroll, Request};
use coffer_tls::Identity;
use cofferd::limits::KEPT_FROM_STRANGERS;
use serde::Serialize;

use crate::args::HandshakeArgs;
use crate::place::Place;
use crate::process::Usage;
use crate::report;
use crate::server::Server;
use crate::socket::make_room;
use link::{Clients, hello};

/// What was measured.
#[derive(Debug, Serialize)]
struct HandshakeReport {
    clients: usize,
    handshakes: u64,
    seconds: f64,
    per_second: f64,
    /// Both ends of as many handshakes as all cores can compute, in memory.
    cryptography_per_second: f64,
    server_cpu_seconds_per_1000: Option<f64>,
    errors: Vec<String>,
}

/// Runs `coffer-loadtest handshakes`; whether all was well.
///
/// # Errors
/// If it cannot be run.
pub(crate) fn command(args: &HandshakeArgs) -> anyhow::Result<bool> {
    make_room(args.clients)?;
    let place = Place::prepare(&args.server)?;
    let (mut clients, server) = enrolled(&place, args.code.as_deref(), args.clients)?;
    let cryptography_per_second = crypto::handshakes_per_second()?;
    let usage = || server.as_ref().and_then(Server::usage);
    let (before, start) = (usage(), Instant::now());
    let end = start + args.duration;
    clients.run(args.clients, |clients| clients.errors() > 0 || Instant::now() >= end)?;
    let seconds = start.elapsed().as_secs_f64();
    let handshakes = clients.welcomed();
    let cpu = before.zip(usage()).map(|(before, after)| (after.cpu - before.cpu).as_secs_f64());
    let report = HandshakeReport {
        clients: args.clients,
        handshakes,
        seconds,
        per_second: handshakes as f64 / seconds,
        cryptography_per_second,
        server_cpu_seconds_per_1000: cpu.map(|cpu| cpu / (handshakes as f64 / 1000.0)),
        errors: clients.error_texts(),
    };
    print(&report);
    if let Some(path) = &args.json {
        report::write_json(path, &report)?;
    }
    stop(server)?;
    Ok(report.errors.is_empty() && handshakes > 0)
}

/// Connections that stand and are silent.
pub(crate) struct Held {
    pub(crate) standing: usize,
    pub(crate) connected_seconds: f64,
    pub(crate) errors: Vec<String>,
    /// What the server used before and after, if it is ours.
    pub(crate) server: Option<(Usage, Usage)>,
}

/// Connects so many clients, and looks at them after they were silent for `settle`.
///
/// # Errors
/// If it cannot be run.
pub(crate) fn hold(
    place: &Place,
    code: Option<&str>,
    count: usize,
    settle: Duration,
) -> anyhow::Result<Held> {
    let (mut clients, server) = enrolled(place, code, count)?;
    clients.keep();
    let usage = || server.as_ref().and_then(Server::usage);
    let (before, start) = (usage(), Instant::now());
    clients.run(count, |clients| clients.errors() > 0 || clients.standing() == count)?;
    let connected_seconds = start.elapsed().as_secs_f64();
    let settled = Instant::now() + settle;
    clients.run(count, |_| Instant::now() >= settled)?;
    let held = Held {
        standing: clients.standing(),
        connected_seconds,
        errors: clients.error_texts(),
        server: before.zip(usage()),
    };
    stop(server)?;
    Ok(held)
}

/// A server, and clients with a key that it knows.
fn enrolled(
    place: &Place,
    code: Option<&str>,
    count: usize,
) -> anyhow::Result<(Clients, Option<Server>)> {
    // The server keeps some connections from clients that have not said who they are.
    let server = place.server(count + KEPT_FROM_STRANGERS)?;
    let address = place.address(server.as_ref())?;
    let code = match code {
        Some(code) => code.to_owned(),
        None => invite(place)?,
    };
    let invitation = Invitation::from_code(&code).context("this is no invitation")?;
    let identity = Identity::generate();
    let mut clients = Clients::new(address, identity.client_config(invitation.server))?;
    let enroll = Enroll { secret: invitation.secret, host: "coffer-loadtest".to_owned() };
    clients.introduce(&[hello(), Request::Enroll(enroll)])?;
    Ok((clients, server))
}

/// Has the server's own program invite a client.
fn invite(place: &Place) -> anyhow::Result<String> {
    let Some(data) = place.data().filter(|data| data.is_dir()) else {
        bail!("a server that runs already needs an invitation: `cofferd invite NAME`, then --code");
    };
    let mut command = Command::new(place.program());
    command.args(["invite", "load-test", "--address", "127.0.0.1:1", "--data"]).arg(data);
    let output = command.output().context("cannot run cofferd invite")?;
    if !output.status.success() {
        bail!("cofferd invite: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout).context("an invitation is text")?.trim().to_owned())
}

fn stop(server: Option<Server>) -> anyhow::Result<()> {
    server.map_or(Ok(()), Server::stop)
}

fn print(report: &HandshakeReport) {
    println!(
        "{} handshakes of {} clients at once in {:.2} s: {:.0} a second",
        report.handshakes, report.clients, report.seconds, report.per_second
    );
    println!(
        "cryptography alone, both ends, on all cores: {:.0} a second, so that is {:.0} % of it",
        report.cryptography_per_second,
        100.0 * report.per_second / report.cryptography_per_second
    );
    if let Some(cpu) = report.server_cpu_seconds_per_1000 {
        println!("server CPU  {cpu:.3} s per 1000 handshakes");
    }
    report.errors.iter().for_each(|error| println!("error: {error}"));
}
