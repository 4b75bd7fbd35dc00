//! Contents that are encrypted before the clock starts: encryption is serial and slower than what is measured.

use std::thread;

use anyhow::{Context as _, bail};
use coffer_protocol::PACKET;
use coffer_protocol::request::FILE_PACKET;

use crate::args::{RunArgs, Speech};
use crate::fleet::{Client, Fleet, Role};
use crate::ledger::{Ledger, file_name};
use crate::limits::PRELOAD_PERCENT_MAX;
use crate::outgoing::Stream;
use crate::process::available_bytes;

/// Whether contents are encrypted before the clock starts.
///
/// # Errors
/// If that was asked for and cannot be done.
pub(crate) fn is_wanted(args: &RunArgs, files: Option<u32>) -> anyhow::Result<bool> {
    let faults = &args.faults;
    let sent_once = args.reconnect == 0.0
        && faults.corrupt == 0.0
        && faults.reset == 0.0
        && faults.kill_server_every.is_none();
    let Some(files) = files else {
        if args.preload {
            bail!("--preload needs a number of files: say --files");
        }
        return Ok(false);
    };
    let possible = !args.sessions && args.rate.is_none() && sent_once && !args.stream;
    let files = u64::from(files) * args.clients as u64;
    let needed = files * wire_bytes(args.dialect, args.size.max);
    let room = available_bytes().context("cannot see how much memory is free")?;
    let fits = needed <= room / 100 * PRELOAD_PERCENT_MAX;
    if args.preload && !possible {
        bail!("--preload needs contents that are sent once and with the first key");
    }
    if args.preload && !fits {
        bail!(
            "--preload needs {} MiB, and {PRELOAD_PERCENT_MAX} % of the free memory are {} MiB: ask for fewer or smaller files, or --stream",
            needed >> 20,
            (room / 100 * PRELOAD_PERCENT_MAX) >> 20
        );
    }
    Ok(possible && fits)
}

/// About how much goes over the wire for a content of this size.
fn wire_bytes(speech: Speech, size: u64) -> u64 {
    let packets = size / PACKET as u64 + 2;
    packets * if speech == Speech::D1100 { PACKET } else { FILE_PACKET } as u64
}

/// Encrypts all contents of all good clients, on all cores.
pub(crate) fn encrypt(fleet: &mut Fleet) {
    let files = fleet.plan.files.unwrap_or(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let share = fleet.clients.len().div_ceil(threads);
    let ledger = &fleet.ledger;
    thread::scope(|scope| {
        for clients in fleet.clients.chunks_mut(share) {
            scope.spawn(move || {
                let good = clients.iter_mut().filter(|client| client.role == Role::Good);
                good.for_each(|client| encrypt_files(client, ledger, files));
            });
        }
    });
}

fn encrypt_files(client: &mut Client, ledger: &Ledger, files: u32) {
    let (Some(key), Some(id)) = (&client.key, client.session.id()) else { return };
    for file in 0..files {
        let content = ledger.content(client.account, file);
        let stream = Stream::new(content, key, id, &file_name(file), false)
            .expect("sizes were checked when the run began");
        client.ready.push_back((file, stream.into_encrypted()));
    }
}
