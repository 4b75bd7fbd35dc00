//! The secure door: being enrolled with a server, and asking it things.
//!
//! Both sides know each other by their keys. [`enroll`] makes this machine's key, shows the secret of an invitation and
//! keeps what is to be known of the server; everything else goes by that. A connection is blocking and every wait on it
//! is bounded. What is lost is asked again: nothing that is asked here does any harm twice.

mod connection;
mod converse;
mod failure;
mod place;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use coffer_protocol::v4::fingerprint::Pin;
use coffer_protocol::v4::frame::Kind;
use coffer_protocol::v4::invitation::{Invitation, Secret};
use coffer_protocol::v4::message::{
    Answer, ClientInfo, Enroll, Enrolled, Ping, Request, Used, Welcome,
};
use coffer_tls::{Identity, key_file};

use crate::Error;
use connection::{Connection, Problem};
use converse::Line;
use place::{Folder, Place, label};

pub use failure::Failure;
pub use place::Profile;

/// Is told what takes time.
pub trait Observer {
    /// All is tried again after a pause, because of this.
    fn waiting(&mut self, failure: &Failure, pause: Duration);
}

/// Observes nothing.
impl Observer for () {
    fn waiting(&mut self, _: &Failure, _: Duration) {}
}

/// How to enrol.
#[derive(Clone, Debug)]
pub struct Options {
    /// What this machine calls itself, for people alone.
    pub host: String,
    /// The folder for what is known of servers; made if it is missing.
    pub state: PathBuf,
    /// Whether an earlier enrolment is replaced. It is kept beside.
    pub force: bool,
}

/// This machine belongs to a client now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Enrollment {
    /// Whose it is, and with which server.
    pub profile: Profile,
    /// The address that answered.
    pub address: String,
    /// The fingerprint of this machine's key.
    pub own: Pin,
    /// Whether the same invitation had enrolled it before.
    pub already: bool,
    /// Where an earlier enrolment is kept, if one was replaced.
    pub old: Option<PathBuf>,
}

/// What a server says of itself and of this client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// The server, as this machine knows it.
    pub profile: Profile,
    /// The fingerprint of this machine's key.
    pub own: Pin,
    /// The address that answered.
    pub address: String,
    /// What the server runs.
    pub software: String,
    /// Who the server says this is.
    pub client: ClientInfo,
    /// What it holds.
    pub used: Used,
    /// How long one question and its answer took.
    pub round_trip: Duration,
}

/// Makes this machine a client of the server that an invitation's code names. Repeating it with the same code is
/// harmless, and right after an answer was lost.
///
/// # Errors
/// If the code cannot be read, there is an earlier enrolment, the state cannot be kept, or the server cannot be reached,
/// is not the one of the invitation, or refuses.
pub fn enroll(
    code: &str,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<Enrollment, Error> {
    let invitation = Invitation::from_code(code).map_err(Failure::Code)?;
    let label = label(&invitation.secret);
    let place = Place::new(&options.state);
    match place.current().load()? {
        Some(profile) if profile.invitation == label => {
            return again(profile, &place, &invitation, options, observer);
        }
        Some(profile) if !options.force => return Err(enrolled_already(profile).into()),
        _ => {}
    }
    let error = match anew(&invitation, &label, &place, options, observer) {
        Err(error) => error,
        done => return done,
    };
    match place.current().load()? {
        // The same command was given twice at once, and the other one was faster.
        Some(profile) if profile.invitation == label => {
            again(profile, &place, &invitation, options, observer)
        }
        _ => Err(error),
    }
}

/// Uses an invitation.
fn anew(
    invitation: &Invitation,
    label: &str,
    place: &Place,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<Enrollment, Error> {
    // Durable before the secret is sent: if the answer is lost, only this key may repeat the question.
    let pending = place.pending(label);
    let identity = key_file::load_or_create(&pending.key()).map_err(Failure::Key)?;
    let shown = show(invitation, &identity, &options.host, observer);
    if shown.as_ref().is_err_and(Failure::is_final) {
        pending.discard();
    }
    let (address, Enrolled { name, already }) = shown?;
    let Invitation { server, ref addresses, .. } = *invitation;
    let profile =
        Profile { server, addresses: addresses.clone(), name, invitation: label.to_owned() };
    pending.save(&profile)?;
    let old = place.install(&pending)?;
    Ok(Enrollment { profile, address, own: identity.pin(), already, old })
}

/// Uses the invitation of the enrolment in force once more: the server says whether that still counts.
fn again(
    profile: Profile,
    place: &Place,
    invitation: &Invitation,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<Enrollment, Error> {
    let identity = key_of(&place.current())?;
    let (address, enrolled) = show(invitation, &identity, &options.host, observer)?;
    let already = enrolled.already;
    Ok(Enrollment { profile, address, own: identity.pin(), already, old: None })
}

fn enrolled_already(profile: Profile) -> Failure {
    let Profile { server, addresses, name, .. } = profile;
    Failure::EnrolledAlready { name, address: addresses.join(", "), server }
}

/// Shows the secret of an invitation to its server.
fn show(
    invitation: &Invitation,
    identity: &Identity,
    host: &str,
    observer: &mut dyn Observer,
) -> Result<(String, Enrolled), Failure> {
    let Invitation { server, addresses, secret } = invitation;
    let line = Line { addresses, server: *server, identity };
    line.converse(observer, |connection, _| {
        let secret = Secret::new(*secret.expose());
        match connection.ask(&Request::Enroll(Enroll::new(secret, host)))? {
            Answer::Enrolled(enrolled) => Ok(enrolled),
            other => Err(Problem::unexpected(Kind::Enroll, other)),
        }
    })
}

/// Asks the server that this machine is enrolled with how things are. `state` is the folder that [`Options::state`] was.
///
/// # Errors
/// If it is enrolled with none, or the server cannot be reached, is another one, or refuses.
pub fn status(state: &Path, observer: &mut dyn Observer) -> Result<Status, Error> {
    let folder = Place::new(state).current();
    let profile = folder.load()?.ok_or_else(|| Failure::NotEnrolled(folder.0.clone()))?;
    let identity = key_of(&folder)?;
    let line = Line { addresses: &profile.addresses, server: profile.server, identity: &identity };
    let (address, (software, client, used, round_trip)) =
        line.converse(observer, |connection, welcome| {
            let Welcome { software, client, .. } = welcome;
            let client = client.ok_or(Problem::Unknown)?;
            let used = ask_usage(connection)?;
            Ok((software, client, used, ping(connection)?))
        })?;
    let own = identity.pin();
    Ok(Status { profile, own, address, software, client, used, round_trip })
}

fn ask_usage(connection: &mut Connection) -> Result<Used, Problem> {
    match connection.ask(&Request::Usage)? {
        Answer::Used(used) => Ok(used),
        other => Err(Problem::unexpected(Kind::Usage, other)),
    }
}

fn ping(connection: &mut Connection) -> Result<Duration, Problem> {
    let nonce = rand::random();
    let start = Instant::now();
    match connection.ask(&Request::Ping(Ping { nonce }))? {
        Answer::Pong(pong) if pong.nonce == nonce => Ok(start.elapsed()),
        other => Err(Problem::unexpected(Kind::Ping, other)),
    }
}

fn key_of(folder: &Folder) -> Result<Identity, Failure> {
    key_file::load(&folder.key())?.ok_or_else(|| Failure::KeyMissing(folder.key()))
}
