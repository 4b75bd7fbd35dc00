//! Names on the wire and names in print.
//!
//! Client names are text and are checked. File names are bytes: a Windows client may send any code page, and the
//! answer must echo them exactly. Nothing here knows about paths on a disk.

use std::borrow::Cow;

use thiserror::Error;

/// Width of every name field on the wire, in bytes; what the name leaves free is zero.
pub const NAME_FIELD: usize = 255;

/// The longest name that fits a field and leaves the zero that the classic clients need behind it.
pub const NAME_MAX: usize = NAME_FIELD - 1;

/// Why a name was refused.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum NameError {
    /// Nothing but zeros.
    #[error("the name is empty")]
    Empty,
    /// More than [`NAME_MAX`] bytes.
    #[error("the name is longer than {NAME_MAX} bytes")]
    TooLong,
    /// A client name must be text.
    #[error("the name is not valid UTF-8")]
    NotUtf8,
    /// A client name must be printable.
    #[error("the name holds a control character")]
    Control,
}

/// The bytes of a name field without the zeros at its end. Zeros inside belong to the name, as in the classic
/// servers, which strip and do not cut.
#[must_use]
pub fn strip(field: &[u8]) -> &[u8] {
    let end = field.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    &field[..end]
}

/// Appends `name` as a field of [`NAME_FIELD`] bytes.
///
/// # Panics
/// If the name is longer than the field: names are checked before they are encoded.
pub fn push_field(out: &mut Vec<u8>, name: &[u8]) {
    assert!(name.len() <= NAME_FIELD, "a name of {} bytes was not checked", name.len());
    let end = out.len() + NAME_FIELD;
    out.extend_from_slice(name);
    out.resize(end, 0);
}

/// Checks a client's name: 1 to [`NAME_MAX`] bytes of UTF-8 without control characters.
///
/// # Errors
/// The rule that the name breaks.
pub fn check_client_name(name: &[u8]) -> Result<&str, NameError> {
    check_length(name)?;
    let text = std::str::from_utf8(name).map_err(|_| NameError::NotUtf8)?;
    if text.chars().any(char::is_control) { Err(NameError::Control) } else { Ok(text) }
}

/// Checks a file's name: 1 to [`NAME_MAX`] bytes, of any value.
///
/// # Errors
/// The rule that the name breaks.
pub fn check_file_name(name: &[u8]) -> Result<&[u8], NameError> {
    check_length(name).map(|()| name)
}

fn check_length(name: &[u8]) -> Result<(), NameError> {
    match name.len() {
        0 => Err(NameError::Empty),
        1..=NAME_MAX => Ok(()),
        _ => Err(NameError::TooLong),
    }
}

/// A file name as it is printed: printable UTF-8 stays, every other byte becomes `\xNN`, a backslash becomes `\\`.
/// [`unescape`] takes the same text back.
#[must_use]
pub fn escape(name: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(name)
        && text.chars().all(is_printed_as_is)
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(name.len() + 8);
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str(r"\\"),
                c if is_printed_as_is(c) => out.push(c),
                c => push_hex(&mut out, c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        push_hex(&mut out, chunk.invalid());
    }
    Cow::Owned(out)
}

/// Characters that neither steer a terminal, nor hide, nor turn the direction of what stands around them.
fn is_printed_as_is(c: char) -> bool {
    let steers = c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    c != '\\' && !steers
}

fn push_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        out.push_str(&format!("\\x{byte:02x}"));
    }
}

/// The text is no escaped name: a backslash is followed by something other than `\` or `xNN`.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(r"a backslash in a name is written \\, and other bytes as \xNN")]
pub struct UnescapeError;

/// The bytes that [`escape`] prints as `text`.
///
/// # Errors
/// A backslash that starts no known escape.
pub fn unescape(text: &str) -> Result<Vec<u8>, UnescapeError> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = match (byte, tail) {
            (b'\\', [b'\\', tail @ ..]) => {
                out.push(b'\\');
                tail
            }
            (b'\\', [b'x', high, low, tail @ ..]) => {
                out.push(hex_digit(*high)? << 4 | hex_digit(*low)?);
                tail
            }
            (b'\\', _) => return Err(UnescapeError),
            _ => {
                out.push(byte);
                tail
            }
        };
    }
    Ok(out)
}

fn hex_digit(digit: u8) -> Result<u8, UnescapeError> {
    char::from(digit).to_digit(16).map(|value| value as u8).ok_or(UnescapeError)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_are_stripped_not_cut() {
        assert_eq!(strip(b"a\0b\0\0"), b"a\0b");
        assert_eq!(strip(&[0; NAME_FIELD]), b"");
        let mut field = Vec::new();
        push_field(&mut field, b"Bob");
        assert_eq!((field.len(), strip(&field)), (NAME_FIELD, &b"Bob"[..]));
    }

    #[test]
    fn client_names_are_printable_text_that_fits() {
        assert_eq!(check_client_name("Zoë".as_bytes()), Ok("Zoë"));
        assert_eq!(check_client_name(b""), Err(NameError::Empty));
        assert_eq!(check_client_name(&[b'a'; 254]).map(str::len), Ok(254));
        assert_eq!(check_client_name(&[b'a'; 255]), Err(NameError::TooLong));
        assert_eq!(check_client_name(b"\xff"), Err(NameError::NotUtf8));
        for control in ["a\nb", "a\0b", "\u{1b}[2J", "\u{85}"] {
            assert_eq!(check_client_name(control.as_bytes()), Err(NameError::Control));
        }
    }

    #[test]
    fn unprintable_bytes_are_escaped() {
        assert_eq!(escape("docs/naïve.txt".as_bytes()), "docs/naïve.txt");
        assert_eq!(escape(b"C:\\a\xff\x1b\n"), r"C:\\a\xff\x1b\x0a");
        assert_eq!(escape("\u{202e}gpj.exe".as_bytes()), r"\xe2\x80\xaegpj.exe");
        for bad in [r"\", r"\x", r"\x1", r"\xg0", r"\n"] {
            assert_eq!(unescape(bad), Err(UnescapeError), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn escape_goes_both_ways(name: Vec<u8>) {
            let printed = escape(&name);
            prop_assert!(!printed.chars().any(char::is_control));
            prop_assert_eq!(unescape(&printed).expect("our own escapes"), name);
        }
    }
}
