//! Coffer's load test: thousands of clients in one process, on one event loop.
//!
//! The loop is the server's own (`cofferd::reactor::shell`), and what each client says is decided by the client's own
//! pure machine (`coffer::flow`); nothing of the protocol is written here. Contents follow from a seed, so that
//! everything the server acknowledged can be compared byte for byte afterwards without having been kept.

mod args;
mod content;
mod engine;
mod fleet;
mod idle;
mod keys;
mod ledger;
mod limits;
mod link;
mod oracle;
mod outgoing;
mod place;
mod preload;
mod process;
mod progress;
mod report;
mod roofline;
mod run;
mod secure;
mod server;
mod socket;
mod stats;
#[cfg(test)]
mod tests;
mod view;
mod warm;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};

/// Runs the program: 0 if everything was as it should be, 1 if not, 2 for a wrong command line.
#[must_use]
pub fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Run(args) => run::command(&args),
        Command::Idle(args) => idle::command(&args),
        Command::Handshakes(args) => secure::command(&args),
        Command::Roofline(args) => roofline::command(&args),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("coffer-loadtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}
