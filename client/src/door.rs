//! `coffer enroll` and `coffer status`: the commands of the secure door.

use std::env;
use std::fmt::Write;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use coffer::Error;
use coffer::files::state_root;
use coffer::secure::{self, Enrollment, Options, Status};
use coffer_protocol::v4::message::Used;
use indicatif::BinaryBytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::args::{Enroll, Output, Place, Status as StatusArgs};
use crate::code;
use crate::console::Console;

/// Bytes of the standard input that are read: more than the longest invitation has.
const CODE_MAX: u64 = 16 << 10;

pub(crate) fn enroll(args: &Enroll) -> ExitCode {
    let mut console = Console::new(&args.output);
    match try_enroll(args, &mut console) {
        Ok(enrollment) => {
            console.result(&enrolled_lines(&enrollment), &enrolled_object(&enrollment));
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error, &mut console),
    }
}

fn try_enroll(args: &Enroll, console: &mut Console) -> Result<Enrollment, Error> {
    let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    let options = Options {
        host: args.host.clone().unwrap_or_else(host),
        state: state(&args.place)?,
        force: args.force,
    };
    match args.code.as_str() {
        "-" => secure::enroll(&code_of_stdin()?, &options, console),
        code => secure::enroll(code, &options, console),
    }
}

fn code_of_stdin() -> Result<Zeroizing<String>, Error> {
    // Reserved at once, so that no half of a code stays behind in a buffer outgrown.
    let mut code = Zeroizing::new(String::with_capacity(CODE_MAX as usize));
    match io::stdin().lock().take(CODE_MAX).read_to_string(&mut code) {
        Ok(_) => Ok(code),
        Err(source) => {
            let path = PathBuf::from("the standard input");
            Err(Error::State { path, doing: "read", source })
        }
    }
}

pub(crate) fn status(args: &StatusArgs) -> ExitCode {
    let mut console = Console::new(&Output { json: args.json, quiet: false });
    match state(&args.place).and_then(|state| secure::status(&state, &mut console)) {
        Ok(status) => {
            console.result(&status_lines(&status), &status_object(&status));
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error, &mut console),
    }
}

fn state(place: &Place) -> Result<PathBuf, Error> {
    let default = || state_root(env::var_os("XDG_STATE_HOME"), env::var_os("HOME"));
    place.state.clone().or_else(default).ok_or(Error::NoStateFolder)
}

fn fail(error: &Error, console: &mut Console) -> ExitCode {
    console.error(error);
    code(error.class())
}

fn enrolled_lines(enrollment: &Enrollment) -> String {
    let Enrollment { profile, address, own, already, old } = enrollment;
    let already = if *already { "already " } else { "" };
    let mut lines = format!(
        "{already}enrolled as '{}' with the server at {address}\n\
         its fingerprint  {}\n\
         this machine's   {own}",
        profile.name, profile.server
    );
    if let Some(old) = old {
        write!(lines, "\nthe earlier enrolment is kept in {}", old.display())
            .expect("writing to a string");
    }
    lines
}

fn enrolled_object(enrollment: &Enrollment) -> Value {
    let Enrollment { profile, address, own, already, .. } = enrollment;
    json!({ "event": "enrolled", "client": profile.name, "server": address,
        "server_fingerprint": profile.server.to_string(), "fingerprint": own.to_string(),
        "already": already })
}

fn status_lines(status: &Status) -> String {
    let Status { profile, own, address, software, client, used, round_trip } = status;
    format!(
        "client          '{}', enrolled since {}\n\
         server          {address}, {software}\n\
         its fingerprint {}\n\
         this machine's  {own}\n\
         stored          {} versions, {}\n\
         quota           {}\n\
         round trip      {:.1} ms",
        client.name,
        rfc3339(client.enrolled_at_ms),
        profile.server,
        used.versions,
        bytes(used.bytes),
        quota(used),
        round_trip.as_secs_f64() * 1e3,
    )
}

fn quota(used: &Used) -> String {
    match used.quota_bytes {
        None => "none".to_owned(),
        Some(quota) => {
            format!("{}, {} left", bytes(quota), bytes(quota.saturating_sub(used.bytes)))
        }
    }
}

fn status_object(status: &Status) -> Value {
    let Status { profile, own, address, software, client, used, round_trip } = status;
    json!({ "event": "status", "client": client.name,
        "enrolled_at": rfc3339(client.enrolled_at_ms), "server": address,
        "server_fingerprint": profile.server.to_string(), "software": software,
        "fingerprint": own.to_string(), "versions": used.versions, "bytes": used.bytes,
        "quota_bytes": used.quota_bytes, "round_trip_seconds": round_trip.as_secs_f64() })
}

/// Exactly, and for people if it is much.
fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} bytes"),
        _ => format!("{count} bytes ({})", BinaryBytes(count)),
    }
}

/// A server's time, to the second; as a number if no calendar has it.
fn rfc3339(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_second(ms / 1000).ok());
    time.map_or_else(|| format!("{ms} ms"), |time| time.to_string())
}
