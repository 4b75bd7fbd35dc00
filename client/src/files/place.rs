//! Where a client's state files are kept when nobody says.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::PathBuf;

use coffer_protocol::checksum::Cksum;

use super::Server;

/// The longest folder name made here, in bytes: file systems take 255.
const FOLDER_MAX: usize = 200;

/// The folder for one client of one server: `SERVER/NAME` in the [root](state_root).
#[must_use]
pub fn state_dir(
    xdg_state_home: Option<OsString>,
    home: Option<OsString>,
    server: &Server,
    name: &str,
) -> Option<PathBuf> {
    let root = state_root(xdg_state_home, home)?;
    Some(root.join(folder(&server.to_string())).join(folder(name)))
}

/// The folder for everything: `coffer` in `$XDG_STATE_HOME`, else in `~/.local/state`. `None` if neither is known. A
/// relative `$XDG_STATE_HOME` counts as none, as its specification demands.
#[must_use]
pub fn state_root(xdg_state_home: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let xdg = xdg_state_home.map(PathBuf::from).filter(|dir| dir.is_absolute());
    let home = || {
        let home = home.filter(|home| !home.is_empty())?;
        Some(PathBuf::from(home).join(".local/state"))
    };
    Some(xdg.or_else(home)?.join("coffer"))
}

/// A folder's name for any text: different texts get different names, none leaves its parent.
fn folder(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let first = out.is_empty();
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => out.push(char::from(byte)),
            b'.' | b':' if !first => out.push(char::from(byte)),
            _ => write!(out, "%{byte:02x}").expect("writing to a string"),
        }
    }
    if out.len() > FOLDER_MAX {
        let mut cksum = Cksum::new();
        cksum.update(text.as_bytes());
        out.truncate(FOLDER_MAX - 9);
        write!(out, "~{:08x}", cksum.value()).expect("writing to a string");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(xdg: Option<&str>, home: Option<&str>, name: &str) -> Option<String> {
        let server = Server { host: "::1".to_owned(), port: 1256 };
        let dir = state_dir(xdg.map(OsString::from), home.map(OsString::from), &server, name);
        dir.map(|dir| dir.to_string_lossy().into_owned())
    }

    #[test]
    fn the_first_known_base_is_taken() {
        let expected = |base: &str| Some(format!("{base}/coffer/%5b::1%5d:1256/bob"));
        assert_eq!(of(Some("/s"), Some("/h"), "bob"), expected("/s"));
        assert_eq!(of(Some("s"), Some("/h"), "bob"), expected("/h/.local/state"));
        assert_eq!(of(None, Some("/h"), "bob"), expected("/h/.local/state"));
        assert_eq!(of(None, Some(""), "bob"), None);
        assert_eq!(of(None, None, "bob"), None);
    }

    #[test]
    fn any_name_is_one_folder() {
        let long = "é".repeat(127);
        let other = format!("{}e", "é".repeat(126));
        assert_ne!(folder(&long), folder(&other));
        for name in ["..", ".", "a/b", "../x", "a b", "%2e", &long] {
            let folder = folder(name);
            assert!(folder.len() <= FOLDER_MAX && !folder.contains('/'), "{folder}");
            assert!(!folder.starts_with('.'), "{folder}");
        }
        assert_eq!(folder("a.b-c_9"), "a.b-c_9");
    }
}
