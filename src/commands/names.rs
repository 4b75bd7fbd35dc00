//! Names as operators see and type them.

use coffer_protocol::name::{escape, unescape};

/// How a name is printed: as it was sent if it is printable, and else escaped. A backslash alone (`docs\a.txt`) is
/// printable, unless the name would read as an escape; so no two names are printed alike.
pub(super) fn printed(name: &[u8]) -> String {
    let escaped = escape(name);
    match std::str::from_utf8(name) {
        Ok(text) if escaped.replace(r"\\", r"\") == text && unescape(text).is_err() => {
            text.to_owned()
        }
        _ => escaped.into_owned(),
    }
}

/// The names that an operator may mean by `typed`, the likeliest first: what [`printed`] prints so, then the very
/// bytes.
pub(super) fn meanings(typed: &str) -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = unescape(typed).into_iter().collect();
    if names.first().is_none_or(|name| name != typed.as_bytes()) {
        names.push(typed.as_bytes().to_vec());
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn printable_names_are_printed_as_they_were_sent() {
        for name in ["a.txt", "naïve", r"docs\a.txt", r"C:\Users\me\x", r"\\server\share"] {
            assert_eq!(printed(name.as_bytes()), name);
        }
        assert_eq!(printed(b"caf\xe9"), r"caf\xe9");
        assert_eq!(printed(br"caf\xe9"), r"caf\\xe9", "not to be taken for the one above");
        assert_eq!(printed("\u{202e}gpj".as_bytes()), r"\xe2\x80\xaegpj");
    }

    proptest! {
        #[test]
        fn what_is_printed_means_that_name(pieces in prop::collection::vec(prop_oneof![
            Just(b"\\".to_vec()), Just(b"\\x41".to_vec()), Just(b"a".to_vec()), prop::collection::vec(any::<u8>(), 1..4),
        ], 1..6)) {
            let name = pieces.concat();
            let printed = printed(&name);
            prop_assert!(!printed.chars().any(char::is_control));
            prop_assert_eq!(&meanings(&printed)[0], &name, "printed {}", printed);
        }
    }
}
