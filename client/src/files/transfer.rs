//! `transfer.info`: where to, as whom, and what to send.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use coffer_protocol::Dialect;
use coffer_protocol::name::{check_client_name, escape};

use super::small;
use crate::Error;

/// What to do about a `transfer.info` that says something else.
const ADVICE: &str = "write exactly three lines: HOST:PORT, the client's name, the file to send";

/// A server's address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Server {
    /// A name or an address; an IPv6 address without its brackets.
    pub host: String,
    /// The port, not 0.
    pub port: u16,
}

impl FromStr for Server {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parsed = text.rsplit_once(':').and_then(|(host, port)| {
            let host = match host.strip_prefix('[') {
                Some(inside) => inside.strip_suffix(']')?,
                None if host.contains(':') => return None,
                None => host,
            };
            let digits = port.bytes().all(|byte| byte.is_ascii_digit());
            let port = port.parse().ok().filter(|&port| digits && port != 0)?;
            let odd = |c: char| c.is_whitespace() || matches!(c, '[' | ']');
            let host_ok = !host.is_empty() && !host.contains(odd);
            host_ok.then(|| Self { host: host.to_owned(), port })
        });
        parsed.ok_or_else(|| Error::Address(escape(text.as_bytes()).into_owned()))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// What `transfer.info` says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transfer {
    /// Line 1.
    pub server: Server,
    /// Line 2.
    pub name: String,
    /// Line 3, bytes as written.
    files: Vec<u8>,
}

impl Transfer {
    /// Reads `transfer.info` in `dir`.
    ///
    /// # Errors
    /// If there is none, it cannot be read, or it is not three lines of the right kind.
    pub fn load(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("transfer.info");
        let malformed =
            |problem: String| Error::Malformed { path: path.clone(), problem, todo: ADVICE };
        let bytes = small::read(&path)?.ok_or_else(|| malformed("does not exist".to_owned()))?;
        Self::parse(&bytes).map_err(malformed)
    }

    /// Reads the three lines.
    ///
    /// # Errors
    /// What is wrong with them, to be read behind the file's name.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let lines = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let mut lines =
            lines.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let (Some(server), Some(name), Some(files), None) =
            (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err("does not have three lines".to_owned());
        };
        let server = escape(server).parse::<Server>();
        let server = server.map_err(|_| "its first line is no HOST:PORT".to_owned())?;
        let name = check_client_name(name)
            .map_err(|error| format!("its second line is no client name, as {error}"))?;
        if files.is_empty() {
            return Err("its third line names no file".to_owned());
        }
        Ok(Self { server, name: name.to_owned(), files: files.to_vec() })
    }

    /// The names of the files to send. d1100 separates them by commas, d825 has a single one.
    #[must_use]
    pub fn files(&self, dialect: Dialect) -> Vec<&[u8]> {
        match dialect {
            Dialect::D825 => vec![&self.files],
            Dialect::D1100 => {
                self.files.split(|&byte| byte == b',').filter(|name| !name.is_empty()).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn three_lines_are_read_as_written() {
        let expected = Transfer {
            server: Server { host: "127.0.0.1".to_owned(), port: 1256 },
            name: "Michael Jackson".to_owned(),
            files: b"docs/a b,\xff.txt".to_vec(),
        };
        for text in [
            &b"127.0.0.1:1256\nMichael Jackson\ndocs/a b,\xff.txt"[..],
            b"127.0.0.1:1256\nMichael Jackson\ndocs/a b,\xff.txt\n",
            b"127.0.0.1:1256\r\nMichael Jackson\r\ndocs/a b,\xff.txt\r\n",
        ] {
            assert_eq!(Transfer::parse(text).as_ref(), Ok(&expected));
        }
        assert_eq!(expected.files(Dialect::D825), [b"docs/a b,\xff.txt"]);
        assert_eq!(expected.files(Dialect::D1100), [&b"docs/a b"[..], b"\xff.txt"]);
    }

    #[test]
    fn anything_else_is_refused_with_a_reason() {
        for (text, reason) in [
            (&b""[..], "three lines"),
            (b"h:1\nn", "three lines"),
            (b"h:1\nn\nf\nx", "three lines"),
            (b"h\nn\nf", "HOST:PORT"),
            (b"h:1\n\nf", "the name is empty"),
            (b"h:1\n\xff\nf", "UTF-8"),
            (b"h:1\nn\n\n", "names no file"),
        ] {
            let problem = Transfer::parse(text).expect_err("malformed");
            assert!(problem.contains(reason), "{problem}");
        }
    }

    #[test]
    fn addresses() {
        for (text, host, port) in [
            ("localhost:1", "localhost", 1),
            ("[::1]:1256", "::1", 1256),
            ("1.2.3.4:65535", "1.2.3.4", 65535),
        ] {
            let server: Server = text.parse().expect("an address");
            assert_eq!((server.host.as_str(), server.port), (host, port));
            assert_eq!(server.to_string(), text);
        }
        for bad in [
            "", "h", "h:", ":1", "h:0", "h:65536", "h:+1", "h:1x", "::1:5", "[::1:5", "[[x]:1",
            "a b:1",
        ] {
            assert!(bad.parse::<Server>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = Transfer::parse(&bytes);
        }
    }
}
