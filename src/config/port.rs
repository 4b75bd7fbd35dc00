//! `info.port`: the file that says on which port the server listens.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The port when `info.port` does not say another.
pub const DEFAULT_PORT: u16 = 1256;

/// Bytes read of the file: a port has five digits, and white space around it is allowed.
const FILE_MAX: u64 = 64;

/// The port in the text of such a file: a decimal number from 1 to 65535, alone but for white space around it.
#[must_use]
pub fn parse(text: &str) -> Option<u16> {
    let digits = text.trim();
    let decimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|&port: &u16| decimal && port != 0)
}

/// Reads the file.
///
/// # Errors
/// Why there is no port in it, as a sentence for the log.
pub fn read(path: &Path) -> Result<u16, String> {
    let unreadable = |error| format!("cannot read {}: {error}", path.display());
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_MAX).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    std::str::from_utf8(&bytes).ok().and_then(parse).ok_or_else(|| {
        format!("{} holds no port: write a number from 1 to 65535 into it", path.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ports_and_what_is_none() {
        assert_eq!(parse("1256"), Some(1256));
        assert_eq!(parse(" 65535\r\n"), Some(65535));
        for bad in ["", "\n", "0", "65536", "-1", "+80", "0x50", "12 56", "1256 # the port", "١٢٥٦"]
        {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn files_and_what_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("info.port");
        assert!(read(&path).expect_err("missing").starts_with("cannot read"));
        assert!(read(folder.path()).expect_err("a folder").starts_with("cannot read"));
        std::fs::write(&path, b"\xff\xfe").expect("writes");
        assert!(read(&path).expect_err("no text").contains("holds no port"));
        std::fs::write(&path, "8080\n").expect("writes");
        assert_eq!(read(&path), Ok(8080));
    }

    proptest! {
        #[test]
        fn any_text_is_a_port_or_none(text: String, port: u16) {
            let _ = parse(&text);
            prop_assert_eq!(parse(&port.to_string()), (port != 0).then_some(port));
        }
    }
}
