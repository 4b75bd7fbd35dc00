//! The command line.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use coffer_protocol::Dialect;

use crate::limits::CLIENTS_MAX;

/// Measures a Coffer server with thousands of clients at once, and checks what it stored.
#[derive(Parser, Debug)]
#[command(name = "coffer-loadtest", version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Send files from many clients, measure, and compare what was acknowledged with what is stored
    Run(Box<RunArgs>),
    /// Connect silent clients and measure what each costs the server in memory
    Idle(IdleArgs),
    /// Connect through the secure door, again and again: whole handshakes a second
    Handshakes(HandshakeArgs),
    /// Measure what this machine can do at best, now
    Roofline(RooflineArgs),
}

/// Which server.
#[derive(ClapArgs, Debug, Clone, Default)]
pub(crate) struct ServerArgs {
    /// A server that runs already
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "spawn")]
    pub(crate) server: Option<String>,
    /// Start a server of our own [default without --server: the cofferd next to this program]
    #[arg(long, value_name = "PATH")]
    pub(crate) spawn: Option<Option<PathBuf>>,
    /// The server's data folder: with --spawn it is used and kept, with --server what was acknowledged is compared in
    /// it afterwards
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// A further argument for the server that is started; may be repeated
    #[arg(long, value_name = "ARG", allow_hyphen_values = true, conflicts_with = "server")]
    pub(crate) server_arg: Vec<String>,
}

#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Clients at the same time
    #[arg(long, value_name = "N", default_value = "16", value_parser = clients)]
    pub(crate) clients: usize,
    /// Files of each client [default: 1, or with --duration as many as it has time for]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) files: Option<u32>,
    /// Bytes of a file, or a range of them: 4096, 64KiB, 1KiB..1MiB
    #[arg(long, value_name = "BYTES|MIN..MAX", default_value = "64KiB")]
    pub(crate) size: Sizes,
    /// What the clients speak; mixed: every second one of them the other
    #[arg(long, value_name = "DIALECT", default_value = "825")]
    pub(crate) dialect: Speech,
    /// Whole sessions: every client connects, registers, exchanges keys, sends its files and leaves, all of it
    /// measured; then a new one takes its place, while --duration lasts
    #[arg(long)]
    pub(crate) sessions: bool,
    /// Start this many files (or whole sessions) a second, however the server keeps up: latency then counts from the
    /// moment at which a file should have started [default: each client starts when it is ready]
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// Begin nothing new after this many seconds
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub(crate) duration: Option<Duration>,
    /// Spread the start of the clients over this many seconds
    #[arg(long, value_name = "S", value_parser = seconds, default_value = "0")]
    pub(crate) ramp: Duration,
    /// Of all files, the share before which a client connects and exchanges keys anew
    #[arg(long, value_name = "FRACTION", value_parser = fraction, default_value = "0")]
    pub(crate) reconnect: f64,
    /// Milliseconds that a client rests between two files
    #[arg(long, value_name = "MS", default_value = "0")]
    pub(crate) think: u64,
    /// Exchange keys and encrypt all contents before the clock starts, or refuse to run
    /// [default: where that is possible and fits into memory]
    #[arg(long, conflicts_with_all = ["stream", "sessions", "rate"])]
    pub(crate) preload: bool,
    /// Encrypt contents while they are sent
    #[arg(long)]
    pub(crate) stream: bool,
    #[command(flatten)]
    pub(crate) faults: Faults,
    /// Measure what this machine can do first, and compare
    #[arg(long)]
    pub(crate) roofline: bool,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the report as one HTML page with plots
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// What names and contents follow from [default: random]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,
}

/// What is to go wrong.
#[derive(ClapArgs, Debug, Clone, Default)]
pub(crate) struct Faults {
    /// Of all files, the share that is damaged when first sent: the second sending must be taken
    #[arg(long, value_name = "FRACTION", value_parser = fraction, default_value = "0")]
    pub(crate) corrupt: f64,
    /// Of all files, the share whose connection is reset in the middle; they are then sent again
    #[arg(long, value_name = "FRACTION", value_parser = fraction, default_value = "0")]
    pub(crate) reset: f64,
    /// Of all clients, the share that stops in the middle of a file and waits
    #[arg(long, value_name = "FRACTION", value_parser = fraction, default_value = "0")]
    pub(crate) stall: f64,
    /// Of all clients, the share that sends its contents one byte at a time
    #[arg(long, value_name = "FRACTION", value_parser = fraction, default_value = "0")]
    pub(crate) trickle: f64,
    /// Milliseconds between two bytes of such a client
    #[arg(long, value_name = "MS", default_value = "100")]
    pub(crate) trickle_pause: u64,
    /// Kill the server (SIGKILL) again and again, so many seconds after it began to listen, and start it anew
    #[arg(long, value_name = "S", value_parser = seconds, conflicts_with = "server")]
    pub(crate) kill_server_every: Option<Duration>,
}

#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct IdleArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Clients at the same time
    #[arg(long, value_name = "N", default_value = "10000", value_parser = clients)]
    pub(crate) clients: usize,
    /// Let them register, exchange keys, connect anew and exchange keys again before they fall silent
    #[arg(long)]
    pub(crate) reconnected: bool,
    /// Let them connect through the secure door, as an enrolled client
    #[arg(long, conflicts_with = "reconnected")]
    pub(crate) secure: bool,
    /// With --secure: an invitation, as `cofferd invite` prints it [default: a server of our own is asked for one]
    #[arg(long, value_name = "CODE", requires = "secure")]
    pub(crate) code: Option<String>,
    /// Write the figures as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct HandshakeArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Clients at the same time
    #[arg(long, value_name = "N", default_value = "64", value_parser = clients)]
    pub(crate) clients: usize,
    /// For so many seconds
    #[arg(long, value_name = "S", value_parser = seconds, default_value = "10")]
    pub(crate) duration: Duration,
    /// An invitation, as `cofferd invite` prints it [default: a server of our own is asked for one]
    #[arg(long, value_name = "CODE")]
    pub(crate) code: Option<String>,
    /// Write the figures as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct RooflineArgs {
    /// Where to write test files [default: the folder for temporary files]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Write the figures as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// What the clients speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Speech {
    #[value(name = "825")]
    D825,
    #[value(name = "1100")]
    D1100,
    Mixed,
}

impl Speech {
    /// The dialect of the client with this number.
    pub(crate) fn dialect(self, number: usize) -> Dialect {
        match self {
            Self::D825 => Dialect::D825,
            Self::D1100 => Dialect::D1100,
            Self::Mixed if number.is_multiple_of(2) => Dialect::D825,
            Self::Mixed => Dialect::D1100,
        }
    }
}

/// The sizes that files may have, in bytes, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sizes {
    pub(crate) min: u64,
    pub(crate) max: u64,
}

impl FromStr for Sizes {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (min, max) = text.split_once("..").unwrap_or((text, text));
        let sizes = Self { min: bytes(min)?, max: bytes(max)? };
        if sizes.min > sizes.max {
            bail!("the smaller size comes first");
        }
        Ok(sizes)
    }
}

impl ServerArgs {
    /// The address of the server that runs already, if one was named.
    pub(crate) fn address(&self) -> anyhow::Result<Option<SocketAddr>> {
        let Some(text) = &self.server else { return Ok(None) };
        let found = text.to_socket_addrs().with_context(|| {
            format!("'{text}' is no server address: write HOST:PORT, such as 127.0.0.1:1256")
        })?;
        let mut found: Vec<SocketAddr> = found.collect();
        // Only IPv4 has several loopback addresses to connect from.
        found.sort_by_key(SocketAddr::is_ipv6);
        found.first().copied().map(Some).with_context(|| format!("'{text}' has no address"))
    }
}

fn bytes(text: &str) -> anyhow::Result<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match &text[digits.len()..] {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        other => bail!("'{other}' is no unit: write B, KiB, MiB or GiB"),
    };
    let number: u64 = digits.parse().with_context(|| format!("'{text}' is no size"))?;
    number.checked_mul(unit).with_context(|| format!("{text} is too large"))
}

fn clients(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=CLIENTS_MAX).contains(number));
    number.ok_or_else(|| format!("a number from 1 to {CLIENTS_MAX} is needed"))
}

fn fraction(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| "a number from 0 to 1 is needed".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.001..=1e6).contains(number));
    number.ok_or_else(|| "a number from 0.001 to 1000000 is needed".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse().ok().filter(|number| (0.0..=1e6).contains(number));
    number.map(Duration::from_secs_f64).ok_or_else(|| "a number of seconds is needed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn sizes_are_read() {
        let size = |min, max| Sizes { min, max };
        assert_eq!("4096".parse::<Sizes>().expect("a size"), size(4096, 4096));
        assert_eq!("0..1MiB".parse::<Sizes>().expect("a range"), size(0, 1 << 20));
        for bad in ["", "x", "1MB", "2..1", "..", "99999999999GiB"] {
            assert!(bad.parse::<Sizes>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_server_of_our_own_needs_no_path() {
        for good in [&["--spawn"][..], &["--spawn", "--clients", "2"], &["--spawn", "a/path"], &[]]
        {
            let line = ["coffer-loadtest", "run"].iter().chain(good);
            assert!(Args::try_parse_from(line).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            &["--clients", "0"][..],
            &["--corrupt", "2"],
            &["--rate", "0"],
            &["--preload", "--rate", "1"],
            &["--server", "localhost:1", "--spawn"],
            &["--server", "localhost:1", "--kill-server-every", "1"],
        ] {
            let line = ["coffer-loadtest", "run"].iter().chain(bad);
            assert!(Args::try_parse_from(line).is_err(), "{bad:?}");
        }
    }
}
