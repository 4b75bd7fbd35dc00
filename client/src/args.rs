//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use coffer::files::Server;
use coffer_protocol::Dialect;

const EXIT_CODES: &str = "\
Exit codes:
  0  every file is verified; enroll, status: done
  2  bad input: the command line, a file that is missing, unreadable or over
     the dialect's limit, a malformed state file; an invitation that cannot be
     read, an earlier enrolment, or none
  3  refused by the server
  4  the checksums differ after all tries
  5  no connection: no server, a lost connection, no valid answer, or another
     server than the one enrolled with
  6  a file could not be read to its end or changed meanwhile, or the client's
     own files could not be kept
Of many files, the first in the order given that was not verified decides.";

const JSON: &str = "\
With --json, every line on stdout is an object with the field `event`:
  registered    client, id, seconds
  key           client, id, reconnected, seconds
  started       file, size, attempt
  mismatch      file, attempt, ours, theirs
  reconnecting  file
  verified      file, size, checksum, attempts, acknowledged, seconds
  failed        file, reason, message, seconds
  error         reason, message                 (nothing could be sent)
  enrolled      client, server, server_fingerprint, fingerprint, already
  status        client, enrolled_at, server, server_fingerprint, software,
                fingerprint, versions, bytes, quota_bytes (null: no limit),
                round_trip_seconds
`reason` is one of bad-input, refused, mismatch, connection, local-io.
Bytes of a name that are no printable UTF-8 are escaped as \\xNN, and then a
backslash as \\\\.";

/// Backs up files to a Coffer server, or to either of the classic ones.
///
/// Every file is encrypted on the way, and counts as done when the server's checksum of it is the client's own and the
/// server has acknowledged it.
#[derive(Parser)]
#[command(version, after_help = EXIT_CODES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Send files
    #[command(after_help = EXIT_CODES, after_long_help = format!("{JSON}\n\n{EXIT_CODES}"))]
    Put(Put),
    /// Do what transfer.info says, as the classic clients do
    ///
    /// Registers, or reconnects where there is a me.info, and sends the file of transfer.info; in dialect 1100 all
    /// files, separated by commas. The files' paths are taken from the folder. The state files are those of the
    /// classic clients, which can take over from here, and the other way round.
    #[command(after_help = EXIT_CODES, after_long_help = format!("{JSON}\n\n{EXIT_CODES}"))]
    Classic(Classic),
    /// Make this machine a client of the server that an invitation names
    ///
    /// A key is made for this machine, which the server knows it by from then on. If the answer is lost, the same
    /// command again finishes the enrolment.
    #[command(after_help = EXIT_CODES, after_long_help = format!("{JSON}\n\n{EXIT_CODES}"))]
    Enroll(Enroll),
    /// Ask the server that this machine is enrolled with who it is and what the server holds of it
    #[command(after_help = EXIT_CODES, after_long_help = format!("{JSON}\n\n{EXIT_CODES}"))]
    Status(Status),
}

#[derive(clap::Args)]
pub(crate) struct Put {
    /// The files; each is stored under its path as given
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// The server's address
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) server: Server,

    /// The name of this client; registered at the first run
    #[arg(long)]
    pub(crate) name: String,

    /// The dialect to speak, 825 or 1100
    #[arg(long, default_value = "825", value_parser = dialect)]
    pub(crate) dialect: Dialect,

    /// The folder of me.info and priv.key [default: $XDG_STATE_HOME or ~/.local/state, in coffer/SERVER/NAME]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,

    /// Send a packet every millisecond: classic servers lose larger files that come faster
    #[arg(long)]
    pub(crate) paced: bool,

    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(clap::Args)]
pub(crate) struct Classic {
    /// The dialect to speak, 825 or 1100 [default: the one of me.info, or 825]
    #[arg(long, value_parser = dialect)]
    pub(crate) dialect: Option<Dialect>,

    /// The folder of transfer.info, me.info and priv.key
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) dir: PathBuf,

    /// Send a packet every millisecond: classic servers lose larger files that come faster
    #[arg(long)]
    pub(crate) paced: bool,

    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(clap::Args)]
pub(crate) struct Enroll {
    /// What `cofferd invite` printed; `-` reads it from the standard input, so that no list of processes shows it
    pub(crate) code: String,

    /// What this machine is called, for the server's operator [default: the system's name]
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Option<String>,

    /// Replace an earlier enrolment, which is kept in a folder beside
    #[arg(long)]
    pub(crate) force: bool,

    #[command(flatten)]
    pub(crate) place: Place,

    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(clap::Args)]
pub(crate) struct Status {
    /// Print an object of JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(clap::Args)]
pub(crate) struct Place {
    /// The folder for keys and what is known of servers [default: $XDG_STATE_HOME or ~/.local/state, in coffer]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
}

#[derive(clap::Args)]
pub(crate) struct Output {
    /// Print an object of JSON for every event
    #[arg(long)]
    pub(crate) json: bool,

    /// Print errors only
    #[arg(long, short, conflicts_with = "json")]
    pub(crate) quiet: bool,
}

fn dialect(text: &str) -> Result<Dialect, &'static str> {
    text.parse().ok().and_then(Dialect::from_number).ok_or("it is 825 or 1100")
}
