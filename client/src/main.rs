//! Coffer's client program.

mod args;
mod console;
mod door;

use std::env;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use clap::Parser;
use coffer::files::{Transfer, load, state_dir};
use coffer::run::{FileToSend, Options, RETRY_REFUSED, put};
use coffer::{Class, Error};
use coffer_protocol::Dialect;

use crate::args::{Args, Classic, Command, Put};
use crate::console::Console;

fn main() -> ExitCode {
    match Args::parse().command {
        Command::Put(args) => send(put_options(&args), &mut Console::new(&args.output)),
        Command::Classic(args) => send(classic_options(&args), &mut Console::new(&args.output)),
        Command::Enroll(args) => door::enroll(&args),
        Command::Status(args) => door::status(&args),
    }
}

fn send(options: Result<Options, Error>, console: &mut Console) -> ExitCode {
    match options.and_then(|options| put(&options, console)) {
        Ok(report) => report.class().map_or(ExitCode::SUCCESS, code),
        Err(error) => {
            console.error(&error);
            code(error.class())
        }
    }
}

fn code(class: Class) -> ExitCode {
    ExitCode::from(class.exit_code())
}

fn put_options(args: &Put) -> Result<Options, Error> {
    let default = || {
        let (xdg, home) = (env::var_os("XDG_STATE_HOME"), env::var_os("HOME"));
        state_dir(xdg, home, &args.server, &args.name).ok_or(Error::NoStateFolder)
    };
    Ok(Options {
        server: args.server.clone(),
        name: args.name.clone(),
        dialect: args.dialect,
        state: args.state.clone().map_or_else(default, Ok)?,
        files: args.files.iter().cloned().map(FileToSend::as_given).collect(),
        paced: args.paced,
        retry_refused: RETRY_REFUSED,
    })
}

/// The classic clients keep everything in one folder, and take the name from `me.info` once there is one.
fn classic_options(args: &Classic) -> Result<Options, Error> {
    let transfer = Transfer::load(&args.dir)?;
    let saved = load(&args.dir)?;
    let kept = saved.as_ref().map(|saved| saved.dialect);
    let dialect = args.dialect.or(kept).unwrap_or(Dialect::D825);
    if let Some(kept) = kept.filter(|kept| *kept != dialect) {
        return Err(Error::Malformed {
            path: args.dir.join("me.info"),
            problem: format!("was written by a client of dialect {kept}"),
            todo: "use that dialect, or another folder",
        });
    }
    let file = |name: &[u8]| FileToSend {
        path: args.dir.join(OsStr::from_bytes(name)),
        name: name.to_vec(),
    };
    Ok(Options {
        files: transfer.files(dialect).into_iter().map(file).collect(),
        server: transfer.server,
        name: saved.map_or(transfer.name, |saved| saved.identity.name),
        dialect,
        state: args.dir.clone(),
        paced: args.paced,
        retry_refused: RETRY_REFUSED,
    })
}
