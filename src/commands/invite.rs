//! `cofferd invite` and `cofferd reinvite`: codes that let clients in at the secure door.

use std::io::{self, Write};
use std::net::SocketAddr;

use coffer_protocol::name::check_client_name;
use coffer_protocol::v4::invitation::{ADDRESSES_MAX, Invitation, Secret, check_address};
use coffer_tls::key_file;

use super::{CommandError, FolderArgs, find_client, names::printed, reader, rfc3339, to_stdout};
use crate::catalog::{Door, Invitations, Issued, NewInvitation};
use crate::config::{self, Config, Period, Settings, Size};
use crate::limits::{INVITATION_TTL, INVITATION_TTL_MAX, REINVITATION_TTL};
use crate::storage::DataDir;

/// Print a code with which `coffer enroll` makes a machine a client: where this server is, who it is, and a secret that
/// works once
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The client's name
    pub name: String,
    /// How long the code works, such as 30m, 24h or 7d; at most 30d
    #[arg(long, value_name = "TIME", default_value_t = Period(INVITATION_TTL), value_parser = expiry)]
    pub expires: Period,
    /// How much the client may store, such as 50GiB [default: no limit, or the one that it has]
    #[arg(long, value_name = "SIZE")]
    pub quota: Option<Size>,
    /// Invite a client of the classic protocol that there is: it keeps its files. Once the code is used, the name is
    /// closed to the classic protocol
    #[arg(long)]
    pub adopt: bool,
    /// Where the server is.
    #[command(flatten)]
    pub addresses: AddressArgs,
    /// The data folder.
    #[command(flatten)]
    pub folder: FolderArgs,
}

/// Print a code that gives a client of the secure door another key, for a machine that lost its own. It works for an
/// hour; using it revokes the key that the client had
#[derive(Debug, Clone, clap::Args)]
pub struct ReinviteArgs {
    /// The client's name, as `clients` prints it
    pub name: String,
    /// Where the server is.
    #[command(flatten)]
    pub addresses: AddressArgs,
    /// The data folder.
    #[command(flatten)]
    pub folder: FolderArgs,
}

/// Where clients find the server.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct AddressArgs {
    /// Where clients reach this server, up to four times [default: where coffer.toml or info.port let it listen]
    #[arg(long = "address", value_name = "HOST:PORT", value_parser = address)]
    pub given: Vec<String>,
}

/// Who is invited to what.
pub(super) struct Wanted<'a> {
    pub(super) name: &'a str,
    /// See [`NewInvitation::holder`].
    pub(super) holder: Door,
    pub(super) expires: Period,
    pub(super) quota: Option<Size>,
    pub(super) addresses: Vec<String>,
}

fn expiry(text: &str) -> Result<Period, String> {
    let period: Period = text.parse().map_err(|error: config::PeriodError| error.to_string())?;
    let longest = Period(INVITATION_TTL_MAX);
    if period.0.is_zero() || period > longest {
        return Err(format!("a code works for 1s to {longest}"));
    }
    Ok(period)
}

fn address(text: &str) -> Result<String, String> {
    check_address(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

/// Writes the code to the standard output, and what it does to the standard error.
///
/// # Errors
/// If there is no such data folder or server key, the name belongs to another door, or the catalog fails.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let dir = args.folder.open()?;
    let (name, holder) = if args.adopt {
        (find_client(&reader(&dir)?, &args.name)?.name, Door::Classic)
    } else {
        let name = check_client_name(args.name.as_bytes()).map_err(CommandError::Name)?;
        (name.to_owned(), Door::None)
    };
    let wanted = Wanted {
        name: &name,
        holder,
        expires: args.expires,
        quota: args.quota,
        addresses: args.addresses.known()?,
    };
    Ok(to_stdout(|out| invite(&dir, &wanted, out, &mut io::stderr().lock()))?)
}

/// Does the same for another key of a client.
///
/// # Errors
/// As for [`run`], and if there is no such client.
pub fn run_again(args: &ReinviteArgs) -> anyhow::Result<()> {
    let dir = args.folder.open()?;
    let wanted = Wanted {
        name: &find_client(&reader(&dir)?, &args.name)?.name,
        holder: Door::Secure,
        expires: Period(REINVITATION_TTL),
        quota: None,
        addresses: args.addresses.known()?,
    };
    Ok(to_stdout(|out| invite(&dir, &wanted, out, &mut io::stderr().lock()))?)
}

/// Issues the invitation, durably, and only then writes its code to `out` and what to know about it to `notes`.
pub(super) fn invite(
    dir: &DataDir,
    wanted: &Wanted<'_>,
    out: &mut dyn Write,
    notes: &mut dyn Write,
) -> Result<(), CommandError> {
    let path = dir.identity();
    let server = key_file::load(&path)?.ok_or(CommandError::NoIdentity(path))?.pin();
    let secret = Secret::random(&mut rand::rng());
    let created_at = jiff::Timestamp::now().as_millisecond();
    let new = NewInvitation {
        secret: secret.hash(),
        name: wanted.name,
        holder: wanted.holder,
        created_at,
        expires_at: created_at + wanted.expires.0.as_millis() as i64,
        quota: wanted.quota.map(|quota| quota.0),
    };
    let replaced = match Invitations::open(&dir.catalog())?.issue(&new)? {
        Issued::Open { replaced } => replaced,
        Issued::NotFor(door) => return Err(wrong_door(wanted, door)),
    };
    let invitation = Invitation { server, addresses: wanted.addresses.clone(), secret };
    writeln!(out, "{}", *invitation.code()).map_err(CommandError::Output)?;
    explain(wanted, &new, &invitation, replaced, notes).map_err(CommandError::Output)
}

fn wrong_door(wanted: &Wanted<'_>, door: Door) -> CommandError {
    let client = printed(wanted.name.as_bytes());
    let problem = match door {
        Door::None => return CommandError::NoClient(client),
        Door::Classic => {
            "uses the classic protocol: `cofferd invite --adopt` invites it with its files, or take another name"
        }
        Door::Secure => {
            "is enrolled: `cofferd reinvite` is for another key of it, or take another name"
        }
    };
    CommandError::WrongDoor { client, problem }
}

fn explain(
    wanted: &Wanted<'_>,
    new: &NewInvitation<'_>,
    invitation: &Invitation,
    replaced: bool,
    notes: &mut dyn Write,
) -> io::Result<()> {
    let name = printed(wanted.name.as_bytes());
    let (expires, end) = (wanted.expires, rfc3339(new.expires_at));
    writeln!(
        notes,
        "It makes the machine that runs `coffer enroll CODE` first the client {name}."
    )?;
    writeln!(notes, "It works once, for {expires} (until {end}). Hand it over in private.")?;
    writeln!(notes, "The server is at {}", invitation.addresses.join(", "))?;
    writeln!(notes, "and has the fingerprint {}", invitation.server)?;
    if invitation.addresses.iter().all(|address| is_loopback(address)) {
        writeln!(notes, "Only this machine reaches it there: say with --address where others do.")?;
    }
    if replaced {
        writeln!(notes, "An earlier code for {name} does not work any more.")?;
    }
    match wanted.holder {
        Door::None => Ok(()),
        Door::Classic => {
            writeln!(
                notes,
                "{name} keeps its files. Then its name is closed to the classic protocol. Contents do not go through the\nsecure door yet: it can store nothing more until a later release."
            )
        }
        Door::Secure => writeln!(
            notes,
            "All earlier keys of {name} are revoked by that. Compare the fingerprint that `cofferd clients` shows then with\nthe client's own: whoever has the code gets its place."
        ),
    }
}

fn is_loopback(address: &str) -> bool {
    let host_only = |address: &str| address.rsplit_once(':').map(|(host, _)| host.to_owned());
    match address.parse::<SocketAddr>() {
        Ok(address) => address.ip().is_loopback(),
        Err(_) => host_only(address).is_some_and(|host| host.eq_ignore_ascii_case("localhost")),
    }
}

impl AddressArgs {
    /// The addresses that were given, or else those that the configuration lets the server listen on.
    fn known(&self) -> anyhow::Result<Vec<String>> {
        if self.given.len() > ADDRESSES_MAX {
            return Err(CommandError::Addresses("at most four fit into a code").into());
        }
        if !self.given.is_empty() {
            return Ok(self.given.clone());
        }
        let config = Config::new(Settings::default(), config::read_file(None)?)?;
        let system = rustix::system::uname();
        let found = reachable(&config.listen.value, &system.nodename().to_string_lossy());
        if found.is_empty() {
            let problem = "the configuration does not say where clients reach this server";
            return Err(CommandError::Addresses(problem).into());
        }
        Ok(found)
    }
}

/// The addresses for others of a server on the machine `host` that listens on `listen`.
pub(super) fn reachable(listen: &[SocketAddr], host: &str) -> Vec<String> {
    let mut found = Vec::new();
    for address in listen.iter().filter(|address| address.port() != 0) {
        let text = match address {
            address if address.ip().is_unspecified() => format!("{host}:{}", address.port()),
            // Without the scope, which means nothing elsewhere.
            address => SocketAddr::new(address.ip(), address.port()).to_string(),
        };
        if check_address(&text).is_ok() && !found.contains(&text) {
            found.push(text);
        }
    }
    found.truncate(ADDRESSES_MAX);
    found
}
