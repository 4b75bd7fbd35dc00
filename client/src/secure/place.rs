//! What this machine keeps of its servers, and where.
//!
//! ```text
//! servers/default/{key.pem,server.toml}   the server that it is enrolled with
//! servers/pending-LABEL/                  the same for an invitation whose answer has not come
//! servers/default.old-N/                  what was there before an enrolment with --force
//! ```
//! An enrolment is made in a folder of its own, which gets its place by a rename once it is complete. Each invitation
//! has a key of its own: what was lost with one does not stand in the way of the next.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use coffer_protocol::name::check_client_name;
use coffer_protocol::v4::fingerprint::Pin;
use coffer_protocol::v4::invitation::{ADDRESSES_MAX, Secret, check_address};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::files::small;

/// Earlier enrolments that are kept.
const OLD_MAX: u32 = 1000;

/// Bytes of a secret's digest that tell invitations apart.
const LABEL: usize = 8;

/// What to do about a profile that makes no sense.
const ADVICE: &str = "restore it from a copy, or enrol anew with a new invitation and --force";

/// What is known of the server that this machine is enrolled with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Profile {
    /// Who it is.
    pub server: Pin,
    /// Where to find it, each `host:port`, in the order in which to try.
    pub addresses: Vec<String>,
    /// What this machine's client is called there.
    pub name: String,
    /// Which invitation it came by; see [`label`].
    pub(super) invitation: String,
}

/// A profile as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    server: String,
    addresses: Vec<String>,
    name: String,
    invitation: String,
}

/// What tells an invitation from others, and gives nothing of it away.
pub(super) fn label(secret: &Secret) -> String {
    secret.hash()[..LABEL].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The folder of all servers.
pub(super) struct Place(PathBuf);

impl Place {
    pub(super) fn new(state: &Path) -> Self {
        Self(state.join("servers"))
    }

    /// The enrolment in force.
    pub(super) fn current(&self) -> Folder {
        Folder(self.0.join("default"))
    }

    /// The enrolment by an invitation, until it is in force.
    pub(super) fn pending(&self, label: &str) -> Folder {
        Folder(self.0.join(format!("pending-{label}")))
    }

    /// Puts an enrolment in force, durably, and returns where an earlier one is now.
    pub(super) fn install(&self, pending: &Folder) -> Result<Option<PathBuf>, Error> {
        let current = self.current();
        let failed = |source| Error::State { path: current.0.clone(), doing: "written", source };
        let old = match current.0.try_exists().map_err(failed)? {
            true => Some(self.set_aside(&current).map_err(failed)?),
            false => None,
        };
        if let Err(source) = fs::rename(&pending.0, &current.0) {
            if let Some(old) = &old {
                fs::rename(old, &current.0).map_err(failed)?;
            }
            return Err(failed(source));
        }
        File::open(&self.0).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(old)
    }

    fn set_aside(&self, current: &Folder) -> io::Result<PathBuf> {
        for number in 1..=OLD_MAX {
            let old = self.0.join(format!("default.old-{number}"));
            if !old.try_exists()? {
                return fs::rename(&current.0, &old).map(|()| old);
            }
        }
        let text = format!("{OLD_MAX} earlier enrolments are kept already: remove some");
        Err(io::Error::new(ErrorKind::AlreadyExists, text))
    }
}

/// One enrolment on disk.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn key(&self) -> PathBuf {
        self.0.join("key.pem")
    }

    fn profile(&self) -> PathBuf {
        self.0.join("server.toml")
    }

    /// What is known of the server, if there is one.
    pub(super) fn load(&self) -> Result<Option<Profile>, Error> {
        let path = self.profile();
        let Some(bytes) = small::read(&path)? else { return Ok(None) };
        let parsed = parse(&bytes);
        parsed.map(Some).map_err(|problem| Error::Malformed { path, problem, todo: ADVICE })
    }

    /// Keeps it, durably.
    pub(super) fn save(&self, profile: &Profile) -> Result<(), Error> {
        let written = Written {
            server: profile.server.to_string(),
            addresses: profile.addresses.clone(),
            name: profile.name.clone(),
            invitation: profile.invitation.clone(),
        };
        let text = toml::to_string(&written).expect("strings are TOML");
        small::replace(&self.profile(), text.as_bytes())
    }

    /// Removes what is of no use any more; that it is still there does no harm.
    pub(super) fn discard(&self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn parse(bytes: &[u8]) -> Result<Profile, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is no text".to_owned())?;
    let Written { server, addresses, name, invitation } =
        toml::from_str(text).map_err(|error| format!("makes no sense: {}", error.message()))?;
    let server = server.parse().map_err(|error| format!("has a wrong `server`: {error}"))?;
    if !(1..=ADDRESSES_MAX).contains(&addresses.len()) {
        return Err(format!("has {} addresses, of 1 to {ADDRESSES_MAX}", addresses.len()));
    }
    for address in &addresses {
        check_address(address)
            .map_err(|error| format!("has a wrong address {address:?}: {error}"))?;
    }
    check_client_name(name.as_bytes()).map_err(|error| format!("has a wrong `name`: {error}"))?;
    Ok(Profile { server, addresses, name, invitation })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(name: &str) -> Profile {
        Profile {
            server: Pin([7; 32]),
            addresses: vec!["backup.example.org:1256".to_owned(), "[::1]:1256".to_owned()],
            name: name.to_owned(),
            invitation: label(&Secret::new([1; 16])),
        }
    }

    fn pending(place: &Place, name: &str) -> Folder {
        let folder = place.pending(name);
        fs::create_dir_all(&folder.0).expect("a folder");
        folder.save(&profile(name)).expect("saved");
        folder
    }

    #[test]
    fn a_label_is_the_front_of_the_digest() {
        // printf '\1%.0s' {1..16} | sha256sum
        assert_eq!(label(&Secret::new([1; 16])), "cc8cd41cef907c4d");
    }

    #[test]
    fn what_was_kept_is_found_again() {
        let temp = tempfile::tempdir().expect("a folder");
        let place = Place::new(temp.path());
        assert_eq!(place.current().load().expect("nothing wrong"), None);
        let folder = pending(&place, "Bob \"the\" \u{e9}");
        assert_eq!(place.install(&folder).expect("installed"), None);
        let found = place.current().load().expect("readable").expect("there");
        assert_eq!(found, profile("Bob \"the\" \u{e9}"));
        assert!(!folder.0.exists());
    }

    #[test]
    fn what_was_there_before_is_kept() {
        let temp = tempfile::tempdir().expect("a folder");
        let place = Place::new(temp.path());
        place.install(&pending(&place, "0")).expect("installed");
        for number in 1..=3 {
            let old = place.install(&pending(&place, &number.to_string())).expect("installed");
            let old = Folder(old.expect("something was there"));
            assert!(old.0.ends_with(format!("default.old-{number}")));
            let name = old.load().expect("readable").expect("there").name;
            assert_eq!(name, (number - 1).to_string());
        }
        assert_eq!(place.current().load().expect("readable").expect("there").name, "3");
    }

    #[test]
    fn what_is_in_force_stays_if_nothing_can_replace_it() {
        let temp = tempfile::tempdir().expect("a folder");
        let place = Place::new(temp.path());
        place.install(&pending(&place, "0")).expect("installed");
        place.install(&place.pending("missing")).expect_err("no such folder");
        assert_eq!(place.current().load().expect("readable").expect("there").name, "0");
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        let temp = tempfile::tempdir().expect("a folder");
        let folder = pending(&Place::new(temp.path()), "Bob");
        let good = fs::read_to_string(folder.profile()).expect("there");
        for (from, to, problem) in [
            ("server = ", "sever = ", "unknown field"),
            ("Bob", "", "has a wrong `name`: "),
            ("[::1]:1256", "::1:1256", "in brackets"),
            ("server = \"", "server = \"A", "has a wrong `server`: "),
            ("addresses = [", "addresses = [] #", "has 0 addresses"),
        ] {
            assert!(good.contains(from), "{from} in {good}");
            fs::write(folder.profile(), good.replace(from, to)).expect("written");
            let error = folder.load().expect_err("senseless").to_string();
            assert!(error.contains("server.toml: ") && error.contains(problem), "{error}");
        }
        fs::write(folder.profile(), b"\xff").expect("written");
        assert!(folder.load().expect_err("senseless").to_string().contains("is no text"));
    }
}
