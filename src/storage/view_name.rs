//! From a name that a peer chose to a path that any file system, and any reader, can take. Pure.
//!
//! A proposal is safe, not unique: different names may get the same path. The catalog makes paths unique with
//! [`fold_key`] and [`numbered`].

use coffer_protocol::name::escape;
use unicode_normalization::UnicodeNormalization;

/// Bytes that a file system allows in one component.
pub const COMPONENT_BYTES_MAX: usize = 255;

/// Bytes that [`numbered`] may add: `~` and a 64-bit number.
const NUMBER_BYTES: usize = 21;

/// Bytes of a proposed component at most.
const PROPOSED_BYTES: usize = COMPONENT_BYTES_MAX - NUMBER_BYTES;

/// A longer ending is not taken for the kind of a file.
const EXTENSION_BYTES_MAX: usize = 16;

/// What a name becomes of which nothing is left.
const UNNAMED: &str = "unnamed";

/// A safe relative path for a file that its client calls `file_name`: at least one component, none of them empty, `.`
/// or `..`, each with room for a number within [`COMPONENT_BYTES_MAX`].
///
/// Folders stay (`docs/a.txt`), in either system's spelling (`C:\docs\a.txt` becomes `C/docs/a.txt`); steps upwards,
/// and a root, are dropped. What some file system or terminal would take amiss is written as `%XX`.
#[must_use]
pub fn propose(file_name: &[u8]) -> Vec<String> {
    let mut path = Vec::new();
    let mut rest = file_name;
    if let [letter, b':', tail @ ..] = file_name
        && letter.is_ascii_alphabetic()
    {
        path.push(char::from(*letter).to_string());
        rest = tail;
    }
    let parts = rest.split(|&byte| byte == b'/' || byte == b'\\');
    path.extend(parts.filter(|part| !matches!(*part, b"" | b"." | b"..")).map(safe_component));
    if path.is_empty() {
        path.push(UNNAMED.to_owned());
    }
    path
}

/// A safe folder name for a client: one component that does not begin with a dot, so that those names are ours.
#[must_use]
pub fn propose_folder(client_name: &str) -> String {
    let hidden = client_name.strip_prefix('.').map(|rest| format!("%2E{rest}"));
    safe_component(hidden.as_deref().unwrap_or(client_name).as_bytes())
}

/// Equal for two components that some file system takes for the same name: they differ at most in case or in Unicode
/// form. Upper case unites what lower case keeps apart (the two small sigmas, the long s), and the other way round
/// (the two sharp s).
#[must_use]
pub fn fold_key(component: &str) -> String {
    let lower = component.nfc().collect::<String>().to_lowercase();
    lower.to_uppercase().to_lowercase().nfc().collect()
}

/// `component` with a number before its extension: `a.txt` becomes `a~2.txt`.
#[must_use]
pub fn numbered(component: &str, number: u64) -> String {
    let (stem, extension) = split_extension(component);
    format!("{stem}~{number}{extension}")
}

fn safe_component(part: &[u8]) -> String {
    let mut safe = String::with_capacity(part.len());
    for chunk in part.utf8_chunks() {
        for c in chunk.valid().chars() {
            push_safe(&mut safe, c);
        }
        push_percent(&mut safe, chunk.invalid());
    }
    // Windows drops dots and spaces at the end.
    if let Some(last) = safe.pop() {
        match last {
            '.' | ' ' => push_percent(&mut safe, &[last as u8]),
            _ => safe.push(last),
        }
    }
    avoid_device(&mut safe);
    if shorten(&mut safe) {
        // `CON` and many spaces may be all that is left.
        avoid_device(&mut safe);
    }
    if safe.is_empty() { UNNAMED.to_owned() } else { safe }
}

fn push_safe(out: &mut String, c: char) {
    let mut buffer = [0; 4];
    let text = c.encode_utf8(&mut buffer);
    let plain = !matches!(c, '<' | '>' | ':' | '"' | '|' | '?' | '*' | '/' | '\\')
        && *escape(text.as_bytes()) == *text;
    if plain { out.push(c) } else { push_percent(out, text.as_bytes()) }
}

fn push_percent(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        out.push_str(&format!("%{byte:02X}"));
    }
}

/// Cuts the stem of a component that is too long; its extension stays. False if it was short enough.
fn shorten(component: &mut String) -> bool {
    if component.len() <= PROPOSED_BYTES {
        return false;
    }
    let (stem, extension) = split_extension(component);
    let stem = &stem[..stem.floor_char_boundary(PROPOSED_BYTES - extension.len())];
    let stem = stem.trim_end_matches(['.', ' ']);
    *component = format!("{}{extension}", if stem.is_empty() { UNNAMED } else { stem });
    true
}

/// The stem, and the extension with its dot. A name that begins with its only dot has no extension.
fn split_extension(component: &str) -> (&str, &str) {
    match component.rfind('.') {
        Some(dot) if dot > 0 && component.len() - dot <= EXTENSION_BYTES_MAX => {
            component.split_at(dot)
        }
        _ => (component, ""),
    }
}

/// Puts `_` in front of the name of a device.
fn avoid_device(component: &mut String) {
    if is_device(component) {
        component.insert(0, '_');
    }
}

/// Whether Windows takes the name for a device, whatever its extension.
fn is_device(component: &str) -> bool {
    let stem = component.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let is_port = |name: &str| {
        stem.strip_prefix(name).is_some_and(|port| {
            let mut chars = port.chars();
            matches!((chars.next(), chars.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
        })
    };
    matches!(&*stem, "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$")
        || is_port("COM")
        || is_port("LPT")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(name: impl AsRef<[u8]>) -> String {
        propose(name.as_ref()).join("/")
    }

    #[test]
    fn harmless_names_stay() {
        for name in ["a.txt", "docs/a.txt", ".bashrc", "naïve ~ 100%.txt", "日本/本.txt", "a/b/c/d"]
        {
            assert_eq!(path(name), name);
        }
    }

    #[test]
    fn names_of_windows() {
        assert_eq!(path(r"C:\Users\me\a.txt"), "C/Users/me/a.txt");
        assert_eq!(path("c:a.txt"), "c/a.txt");
        assert_eq!(path(r"docs\a.txt"), "docs/a.txt");
        assert_eq!(path(r"\\server\share\a"), "server/share/a");
        assert_eq!(path("con"), "_con");
        assert_eq!(path("docs/COM1.txt"), "docs/_COM1.txt");
        assert_eq!(path("lpt¹"), "_lpt¹");
        assert_eq!(path("NUL .tar.gz"), "_NUL .tar.gz");
        assert_eq!(path("console/com10/nul1"), "console/com10/nul1");
        assert_eq!(path(r#"a<b>c"d|e?f*g:h"#), "a%3Cb%3Ec%22d%7Ce%3Ff%2Ag%3Ah");
        assert_eq!(path("a. /b... /c."), "a.%20/b...%20/c%2E");
    }

    #[test]
    fn no_name_leaves_its_folder() {
        assert_eq!(path("../../etc/passwd"), "etc/passwd");
        assert_eq!(path("/etc/passwd"), "etc/passwd");
        assert_eq!(path(r"a\..\..\b/./c"), "a/b/c");
        assert_eq!(path("..."), "..%2E");
        for nothing in ["", "/", ".", "..", "//", r"..\.."] {
            assert_eq!(path(nothing), "unnamed");
        }
        assert_eq!(path("C:"), "C");
    }

    #[test]
    fn bytes_that_are_no_printable_text_are_escaped() {
        assert_eq!(path(b"a\0b\x1b[2J\n"), "a%00b%1B[2J%0A");
        assert_eq!(path(b"caf\xe9.txt"), "caf%E9.txt");
        assert_eq!(path("\u{202e}gpj.exe"), "%E2%80%AEgpj.exe");
    }

    #[test]
    fn long_components_are_cut_and_keep_their_extension() {
        let long = path(format!("{}.txt", "ä".repeat(125)));
        assert_eq!(long, format!("{}.txt", "ä".repeat(115)));
        let escaped = path([0xff; 254]);
        assert_eq!(escaped.len(), PROPOSED_BYTES);
        assert_eq!(path([&b" ".repeat(240)[..], b"?????"].concat()), "unnamed");
        assert_eq!(path(format!("CON{}x", " ".repeat(240))), "_CON");
        assert_eq!(path([&b"CON."[..], &[0x7f; 250]].concat()).len(), PROPOSED_BYTES);
    }

    #[test]
    fn folders_of_clients() {
        assert_eq!(propose_folder("Bob"), "Bob");
        assert_eq!(propose_folder("../Bob"), "%2E.%2FBob");
        assert_eq!(propose_folder(".."), "%2E%2E");
        assert_eq!(propose_folder("."), "%2E");
        assert_eq!(propose_folder(r"C:\Bob"), "C%3A%5CBob");
        assert_eq!(propose_folder("nul"), "_nul");
        assert_eq!(propose_folder(&format!(" {}.staging", ".".repeat(240))), "unnamed.staging");
    }

    #[test]
    fn names_that_some_file_system_takes_for_the_same() {
        for (one, other) in [
            ("A.TXT", "a.txt"),
            ("caf\u{e9}", "cafe\u{301}"),
            ("ΟΔΟΣ", "οδος"),
            ("οδοσ", "οδος"),
            ("ſ", "s"),
            ("Maẞ", "maß"),
            ("MASS", "maß"),
        ] {
            assert_eq!(fold_key(one), fold_key(other), "{one} {other}");
        }
        assert_ne!(fold_key("a"), fold_key("ä"));
    }

    #[test]
    fn numbers_stand_before_the_extension() {
        assert_eq!(numbered("a.txt", 2), "a~2.txt");
        assert_eq!(numbered(".bashrc", 3), ".bashrc~3");
        assert_eq!(numbered("docs", 4), "docs~4");
    }

    fn check_component(component: &str) -> Result<(), TestCaseError> {
        let numbered = numbered(component, u64::MAX);
        for name in [component, numbered.as_str()] {
            prop_assert!((1..=COMPONENT_BYTES_MAX).contains(&name.len()), "{} bytes", name.len());
            prop_assert!(name != "." && name != "..");
            prop_assert!(
                !name.chars().any(|c| c.is_control() || r#"/\<>:"|?*"#.contains(c)),
                "{name:?}"
            );
            prop_assert!(!name.ends_with(['.', ' ']), "{name:?}");
            prop_assert!(!is_device(name), "{name:?}");
        }
        Ok(())
    }

    /// Bytes among which the dangerous ones are frequent.
    fn nasty() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            prop::sample::select(vec![
                "/", "\\", ".", "..", " ", "CON", "nul", "lpt1", "C:", "%", "\0", "~2", "ﬀ",
                "e\u{301}"
            ])
            .prop_map(|text| text.as_bytes().to_vec()),
            prop::collection::vec(any::<u8>(), 1..4),
            (any::<u8>(), 1..254usize).prop_map(|(byte, count)| vec![byte; count]),
        ];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| {
            let mut name = pieces.concat();
            name.truncate(254);
            name
        })
    }

    proptest! {
        #[test]
        fn every_proposal_is_safe(name in nasty()) {
            let proposed = propose(&name);
            prop_assert!(!proposed.is_empty());
            for component in &proposed {
                check_component(component)?;
            }
            let again = propose(proposed.join("/").as_bytes());
            prop_assert_eq!(again, proposed, "a safe path is not changed again");
        }

        #[test]
        fn every_client_folder_is_safe(name in nasty()) {
            let folder = propose_folder(&String::from_utf8_lossy(&name));
            check_component(&folder)?;
            prop_assert!(!folder.starts_with('.'));
        }
    }
}
