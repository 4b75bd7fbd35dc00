//! Reads what strace recorded (`-f -yy -xx`): which system calls were made, with which arguments, and in which order.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// A system call that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) arguments: Vec<Argument>,
    /// What it returned, and what file descriptor that is.
    pub(crate) result: Argument,
    /// How many calls had ended when it began: what it can know of.
    pub(crate) begun: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Argument {
    Number(i64),
    /// A string's bytes.
    Bytes(Vec<u8>),
    /// A file descriptor: what it refers to, unless that has been deleted.
    File(Option<PathBuf>),
    /// Flags, structures, whatever nobody needs here.
    Other(String),
}

impl Call {
    pub(crate) fn bytes(&self, index: usize) -> &[u8] {
        match &self.arguments[index] {
            Argument::Bytes(bytes) => bytes,
            other => panic!("{}: {other:?} is no string", self.name),
        }
    }

    pub(crate) fn number(&self, index: usize) -> u64 {
        match &self.arguments[index] {
            Argument::Number(number) => u64::try_from(*number).expect("a size or an offset"),
            other => panic!("{}: {other:?} is no number", self.name),
        }
    }

    /// The file behind a descriptor.
    pub(crate) fn file(&self, index: usize) -> Option<&PathBuf> {
        match &self.arguments[index] {
            Argument::File(path) => path.as_ref(),
            other => panic!("{}: {other:?} is no file", self.name),
        }
    }

    /// A path that was given as such, relative to the folder in the argument before, if there is one.
    pub(crate) fn path(&self, index: usize) -> PathBuf {
        let path = PathBuf::from(OsString::from_vec(self.bytes(index).to_vec()));
        match index.checked_sub(1).map(|folder| &self.arguments[folder]) {
            Some(Argument::File(Some(folder))) => folder.join(path),
            _ => path,
        }
    }

    /// Symbolic flags, or a number as it stands there.
    pub(crate) fn text(&self, index: usize) -> &str {
        match &self.arguments[index] {
            Argument::Other(text) => text,
            other => panic!("{}: {other:?} are no flags", self.name),
        }
    }
}

/// All calls of a record that succeeded, in the order in which they ended. Those that a killed process never came back
/// from are left out.
pub(crate) fn calls(record: &str) -> Vec<Call> {
    let mut unfinished = HashMap::new();
    let mut calls = vec![];
    for line in record.lines() {
        let (thread, text) = line.split_once(' ').expect("a thread's number and what it did");
        let text = text.trim_start();
        if text.starts_with("+++") || text.starts_with("---") {
            continue;
        }
        if let Some(first) = text.strip_suffix("<unfinished ...>") {
            unfinished.insert(thread, (first.trim_end(), calls.len()));
        } else if let Some((_, rest)) = text.split_once(" resumed>") {
            let (first, begun) = unfinished.remove(thread).expect("what is resumed has begun");
            calls.extend(call(&format!("{first}{rest}"), begun));
        } else {
            calls.extend(call(text, calls.len()));
        }
    }
    calls
}

/// One whole call; nothing if it failed.
fn call(text: &str, begun: usize) -> Option<Call> {
    let (call, result) = text.rsplit_once(" = ").unwrap_or_else(|| panic!("no call: {text:.80}"));
    let (name, arguments) = call.trim_end().split_once('(').expect("arguments");
    let arguments = arguments.strip_suffix(')').expect("the end of the arguments");
    if result.starts_with('-') || result.starts_with('?') {
        return None;
    }
    let result = argument(result.split(' ').next().expect("a result"));
    Some(Call { name: name.to_owned(), arguments: split(arguments), result, begun })
}

/// Strings are in hexadecimal, so that no comma or bracket stands in one.
fn split(arguments: &str) -> Vec<Argument> {
    let (mut depth, mut from, mut found) = (0, 0, vec![]);
    for (at, byte) in arguments.bytes().enumerate() {
        match byte {
            b'{' | b'[' | b'(' => depth += 1,
            b'}' | b']' | b')' => depth -= 1,
            b',' if depth == 0 => {
                found.push(argument(arguments[from..at].trim()));
                from = at + 1;
            }
            _ => {}
        }
    }
    found.push(argument(arguments[from..].trim()));
    found
}

fn argument(text: &str) -> Argument {
    if let Some(string) = text.strip_prefix('"') {
        let whole = string.strip_suffix('"').unwrap_or_else(|| panic!("cut short: {text:.80}"));
        return Argument::Bytes(unhex(whole));
    }
    if let Some((_, rest)) = text.split_once('<') {
        let Some(path) = rest.strip_suffix('>') else { return Argument::File(None) };
        // What has no path is described in plain text.
        let path = if path.starts_with('\\') { unhex(path) } else { path.into() };
        return Argument::File(Some(OsString::from_vec(path).into()));
    }
    text.parse().map_or_else(|_| Argument::Other(text.to_owned()), Argument::Number)
}

/// The bytes of `\x61\x62`.
fn unhex(text: &str) -> Vec<u8> {
    let nibble = |digit: u8| (digit as char).to_digit(16).expect("a hexadecimal digit") as u8;
    let escapes = text.as_bytes().chunks(4);
    escapes.map(|escape| nibble(escape[2]) << 4 | nibble(escape[3])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As strace 6.1 wrote it.
    const RECORD: &str = r#"17 openat(AT_FDCWD<\x2f\x74>, "\x64\x2f\x78", O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 3<\x2f\x74\x2f\x64\x2f\x78>
17 openat(AT_FDCWD<\x2f\x74>, "\x64\x2f\x78", O_RDWR|O_CREAT|O_EXCL|O_CLOEXEC, 0600) = -1 EEXIST (File exists)
17 pwrite64(3<\x2f\x74\x2f\x64\x2f\x78>, "\x61\x22\x0a", 3, 4096) = 3
18    fsync(3<\x2f\x74\x2f\x64\x2f\x78> <unfinished ...>
17 pwrite64(5<\x2f\x74\x2f\x77>(deleted), "\x71", 1, 0) = 1
18    <... fsync resumed>)              = 0
17 fsync(3<\x2f\x74\x2f\x64\x2f\x78>) = -1 EIO (Input/output error) (INJECTED)
17 --- SIGTERM {si_signo=SIGTERM, si_code=SI_USER, si_pid=1, si_uid=0} ---
18 sendto(6<TCP:[1.2.3.4:5->6.7.8.9:10]>, "\x03", 1, MSG_NOSIGNAL, NULL, 0) = 1
18 fdatasync(3<\x2f\x74\x2f\x64\x2f\x78> <unfinished ...>
17 writev(6<\x73\x6f>, [{iov_base="\x61", iov_len=1}, {iov_base="", iov_len=0}], 2) = ?
17 +++ killed by SIGKILL +++
"#;

    #[test]
    fn a_record_is_read() {
        let calls = calls(RECORD);
        let seen: Vec<_> = calls.iter().map(|call| (&call.name[..], call.begun)).collect();
        assert_eq!(
            seen,
            [("openat", 0), ("pwrite64", 1), ("pwrite64", 2), ("fsync", 2), ("sendto", 4)],
            "in the order of their ends, each knowing what had ended before it began"
        );
        assert_eq!(calls[0].path(1), PathBuf::from("/t/d/x"));
        assert_eq!(calls[0].text(2), "O_RDWR|O_CREAT|O_CLOEXEC");
        assert_eq!(calls[0].result, Argument::File(Some("/t/d/x".into())));
        assert_eq!((calls[1].bytes(1), calls[1].number(3)), (&b"a\"\n"[..], 4096));
        assert_eq!((calls[2].file(0), calls[3].file(0)), (None, Some(&"/t/d/x".into())));
        assert_eq!(calls[4].file(0), Some(&"TCP:[1.2.3.4:5->6.7.8.9:10]".into()));
        assert_eq!(calls[4].bytes(1), [3]);
    }

    #[test]
    fn structures_are_one_argument() {
        let arguments = split(r#"6<\x73>, [{iov_base="\x61", iov_len=1}], 1"#);
        assert_eq!(arguments.len(), 3);
        assert_eq!(arguments[2], Argument::Number(1));
    }
}
