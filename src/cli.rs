//! The command line of `cofferd`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::commands::{
    CommandError, FolderArgs, cat, check, clients, export_catalog, invite, list, prune,
    remove_client, reset_key, revoke,
};
use crate::config::{self, Config, LogFormat, Settings};
use crate::{demo, log, recovery, server};

/// The exit code when something failed; wrong usage ends with 2.
const FAILED: u8 = 1;

/// An encrypted file-backup server that many machines can talk to at once.
///
/// Without a command it serves: it listens on 127.0.0.1 and the port in info.port, keeps everything in coffer-data, and
/// stops in order at SIGTERM or Ctrl-C.
#[derive(Parser, Debug)]
#[command(name = "cofferd", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Serve clients until told to stop (this is also what happens without a command)
    Serve(ServeArgs),
    /// Show the whole thing at work: a real server, a real client, both dialects, on this machine
    Demo(demo::DemoArgs),
    /// Print the settings that are in force, and where each comes from
    Config(ServeArgs),
    List(list::Args),
    Cat(cat::Args),
    Clients(clients::Args),
    Invite(invite::Args),
    Reinvite(invite::ReinviteArgs),
    Revoke(revoke::Args),
    ResetKey(reset_key::Args),
    RemoveClient(remove_client::Args),
    Prune(prune::Args),
    Check(check::Args),
    ExportCatalog(export_catalog::Args),
}

#[derive(Args, Debug, Clone, Default)]
struct ServeArgs {
    #[command(flatten)]
    settings: Settings,
    /// The configuration file [default: coffer.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Say more on stderr: once for debugging, twice for everything.
    /// The environment variable COFFERD_LOG sets levels in detail
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Start although the catalog does not know contents that were acknowledged once: set them aside in lost/
    #[arg(long)]
    set_aside_orphans: bool,
}

/// Runs the program.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        None => serve(cli.serve),
        Some(Command::Serve(args)) => serve(args),
        Some(Command::Demo(args)) => demo::run(&args),
        Some(Command::Config(args)) => print_config(args),
        Some(operator) => operate(operator),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cofferd: {error:#}");
            ExitCode::from(error.downcast_ref().map_or(FAILED, CommandError::exit_code))
        }
    }
}

/// The commands that work on a data folder: without `--data` the one that the configuration file names.
fn operate(mut command: Command) -> anyhow::Result<()> {
    if let Some(folder) = command.folder()
        && folder.data.is_none()
    {
        folder.data = config::read_file(None)?.data;
    }
    match &command {
        Command::List(args) => list::run(args)?,
        Command::Cat(args) => cat::run(args)?,
        Command::Clients(args) => clients::run(args)?,
        Command::Invite(args) => invite::run(args)?,
        Command::Reinvite(args) => invite::run_again(args)?,
        Command::Revoke(args) => revoke::run(args)?,
        Command::ResetKey(args) => reset_key::run(args)?,
        Command::RemoveClient(args) => remove_client::run(args)?,
        Command::Prune(args) => prune::run(args)?,
        Command::Check(args) => check::run(args)?,
        Command::ExportCatalog(args) => export_catalog::run(args)?,
        Command::Serve(_) | Command::Demo(_) | Command::Config(_) => unreachable!("taken before"),
    }
    Ok(())
}

impl Command {
    fn folder(&mut self) -> Option<&mut FolderArgs> {
        Some(match self {
            Self::List(args) => &mut args.folder,
            Self::Cat(args) => &mut args.folder,
            Self::Clients(args) => &mut args.folder,
            Self::Invite(args) => &mut args.folder,
            Self::Reinvite(args) => &mut args.folder,
            Self::Revoke(args) => &mut args.folder,
            Self::ResetKey(args) => &mut args.folder,
            Self::RemoveClient(args) => &mut args.folder,
            Self::Prune(args) => &mut args.folder,
            Self::Check(args) => &mut args.folder,
            Self::ExportCatalog(args) => &mut args.folder,
            Self::Serve(_) | Self::Demo(_) | Self::Config(_) => return None,
        })
    }
}

fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let file = config::read_file(args.config.as_deref())?;
    let config = Config::new(args.settings, file)?;
    log::start(config.log_format.value, args.verbose)?;
    let options = recovery::Options { set_aside_orphans: args.set_aside_orphans };
    let json = config.log_format.value == LogFormat::Json;
    server::serve(&config, options).inspect_err(|error| {
        // Who reads the log as JSON finds the end of it there too.
        if json {
            tracing::error!("{error:#}");
        }
    })
}

fn print_config(args: ServeArgs) -> anyhow::Result<()> {
    let file = config::read_file(args.config.as_deref())?;
    let config = Config::new(args.settings, file)?;
    if let Some(warning) = &config.port_warning {
        eprintln!("cofferd: warning: {warning}");
    }
    print!("{config}");
    Ok(())
}
