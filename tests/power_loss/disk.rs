//! A disk that knows what was synced: fed with system calls, it says what a power loss would leave.
//!
//! A file and a folder alike have what is durable, and changes that are not. A sync makes those durable that had ended
//! before it began. A name is durable only if its folder was synced, whatever became of the file; what POSIX promises,
//! and less than most file systems do.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::dice::Dice;
use crate::strace::{Argument, Call};

/// Bytes that a disk writes wholly or not at all.
const SECTOR: usize = 512;

/// The folder in which the data folder was made.
const ROOT: usize = 0;

/// Everything below one folder that was empty in the beginning.
#[derive(Debug)]
pub(crate) struct Disk {
    root: PathBuf,
    /// Not looked at: the view, which keeps nothing that anybody needs.
    ignored: PathBuf,
    nodes: Vec<Node>,
    /// What the running programs see.
    live: BTreeMap<PathBuf, usize>,
    /// Calls so far.
    now: usize,
}

#[derive(Debug)]
struct Node {
    durable: Body,
    /// With the number of the call, in its order.
    pending: Vec<(usize, Change)>,
}

#[derive(Clone, Debug)]
enum Body {
    File { bytes: Vec<u8>, mode: u32 },
    Folder(BTreeMap<OsString, usize>),
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Cut(usize),
    Mode(u32),
    Enter(OsString, usize),
    Leave(OsString),
    Rename(OsString, OsString, usize),
}

/// What becomes of changes that were not synced.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unsynced {
    Lost,
    /// Some survive, writes also in part, as this seed draws it.
    Drawn(u64),
}

impl Disk {
    pub(crate) fn new(root: &Path, ignored: &Path) -> Self {
        let node = Node { durable: Body::Folder(BTreeMap::new()), pending: vec![] };
        let live = [(root.to_owned(), ROOT)].into();
        Self { root: root.into(), ignored: ignored.into(), nodes: vec![node], live, now: 0 }
    }

    /// Whether the call is about anything on this disk.
    fn is_ours(&self, path: &Path) -> bool {
        path.starts_with(&self.root) && !path.starts_with(&self.ignored)
    }

    /// Does what the call did.
    pub(crate) fn apply(&mut self, call: &Call) {
        self.now += 1;
        match &call.name[..] {
            "openat" => self.open(call),
            "mkdir" => self.make(call.path(0), Body::Folder(BTreeMap::new())),
            "mkdirat" => self.make(call.path(1), Body::Folder(BTreeMap::new())),
            "unlink" | "rmdir" => self.remove(&call.path(0)),
            "unlinkat" => self.remove(&call.path(1)),
            "rename" => self.rename(&call.path(0), &call.path(1)),
            "renameat" | "renameat2" => self.rename(&call.path(1), &call.path(3)),
            "linkat" => assert!(!self.is_ours(&call.path(3)), "only the view has links"),
            "pwrite64" => self.write(call),
            "ftruncate" => self.change_open(call, Change::Cut(call.number(1) as usize)),
            "fchmod" => self.change_open(call, Change::Mode(octal(call.number(1)))),
            "chmod" => self.change(&call.path(0), Change::Mode(octal(call.number(1)))),
            "fchmodat" => self.change(&call.path(1), Change::Mode(octal(call.number(2)))),
            "fsync" | "fdatasync" => self.sync(call),
            "syncfs" => self.nodes.iter_mut().for_each(|node| node.sync(call.begun)),
            other => assert!(
                !matches!(&call.arguments[0], Argument::File(Some(path)) if self.is_ours(path)),
                "{other} is not understood yet"
            ),
        }
    }

    /// Leaves a call out, as if it had not been made.
    pub(crate) fn pass_over(&mut self) {
        self.now += 1;
    }

    fn open(&mut self, call: &Call) {
        let path = call.path(1);
        let flags = call.text(2);
        if flags.contains("O_CREAT") && !self.live.contains_key(&path) {
            let mode = octal(call.number(3));
            self.make(path, Body::File { bytes: vec![], mode });
        } else if flags.contains("O_TRUNC") {
            self.change(&path, Change::Cut(0));
        }
    }

    fn make(&mut self, path: PathBuf, durable: Body) {
        if !self.is_ours(&path) {
            return;
        }
        let node = self.nodes.len();
        self.nodes.push(Node { durable, pending: vec![] });
        let (folder, name) = self.place(&path);
        self.note(folder, Change::Enter(name, node));
        self.live.insert(path, node);
    }

    fn remove(&mut self, path: &Path) {
        if self.is_ours(path) {
            let (folder, name) = self.place(path);
            self.note(folder, Change::Leave(name));
            self.live.remove(path).expect("it was there");
        }
    }

    fn rename(&mut self, from: &Path, to: &Path) {
        if !self.is_ours(from) {
            return assert!(!self.is_ours(to), "nothing comes out of the view");
        }
        let node = self.live.remove(from).expect("it was there");
        assert!(matches!(self.nodes[node].durable, Body::File { .. }), "no folder is renamed");
        let ((source, old), (target, new)) = (self.place(from), self.place(to));
        if source == target {
            self.note(source, Change::Rename(old, new, node));
        } else {
            // Nobody promises that both folders change at the same time.
            self.note(source, Change::Leave(old));
            self.note(target, Change::Enter(new, node));
        }
        self.live.insert(to.to_owned(), node);
    }

    fn write(&mut self, call: &Call) {
        let Argument::Number(written) = call.result else { unreachable!("a number of bytes") };
        let bytes = call.bytes(1)[..usize::try_from(written).expect("it succeeded")].to_vec();
        self.change_open(call, Change::Write { offset: call.number(3) as usize, bytes });
    }

    fn change_open(&mut self, call: &Call, change: Change) {
        if let Some(path) = call.file(0) {
            self.change(path, change);
        }
    }

    fn change(&mut self, path: &Path, change: Change) {
        if self.is_ours(path) {
            self.note(self.live[path], change);
        }
    }

    fn note(&mut self, node: usize, change: Change) {
        self.nodes[node].pending.push((self.now, change));
    }

    /// The folder of a path, and its name there.
    fn place(&self, path: &Path) -> (usize, OsString) {
        let folder = path.parent().and_then(|folder| self.live.get(folder));
        let folder = folder.unwrap_or_else(|| panic!("{} has a folder", path.display()));
        (*folder, path.file_name().map(OsStr::to_owned).expect("a name"))
    }

    fn sync(&mut self, call: &Call) {
        if let Some(node) = call.file(0).and_then(|path| self.live.get(path)) {
            self.nodes[*node].sync(call.begun);
        }
    }

    /// Writes what a power loss now would leave into an empty folder.
    pub(crate) fn after_power_loss(&self, into: &Path, unsynced: Unsynced) {
        let mut dice = match unsynced {
            Unsynced::Lost => None,
            Unsynced::Drawn(seed) => Some(Dice::new(seed)),
        };
        self.leave(ROOT, into, &mut dice);
    }

    fn leave(&self, node: usize, path: &Path, dice: &mut Option<Dice>) {
        match self.nodes[node].survives(dice) {
            Body::File { bytes, mode } => {
                fs::write(path, bytes).expect("room for a file");
                fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
            }
            Body::Folder(entries) => {
                fs::create_dir_all(path).expect("room for a folder");
                for (name, node) in entries {
                    self.leave(node, &path.join(name), dice);
                }
            }
        }
    }
}

impl Node {
    /// Makes what had ended durable when so many calls had.
    fn sync(&mut self, begun: usize) {
        let covered = self.pending.partition_point(|(ended, _)| *ended <= begun);
        self.pending.drain(..covered).for_each(|(_, change)| self.durable.apply(change));
    }

    fn survives(&self, dice: &mut Option<Dice>) -> Body {
        let mut body = self.durable.clone();
        if let Some(dice) = dice {
            // Everything, nothing, or some: the extremes would be too rare otherwise.
            let percent = [0, 50, 90, 100][dice.below(4)];
            for (_, change) in &self.pending {
                if dice.below(100) < percent {
                    body.apply(change.clone().torn(dice, percent));
                }
            }
        }
        body
    }
}

impl Change {
    /// Of a write perhaps only the beginning.
    fn torn(self, dice: &mut Dice, percent: usize) -> Self {
        match self {
            Self::Write { offset, mut bytes } if dice.below(100) >= percent => {
                bytes.truncate(dice.below(bytes.len() / SECTOR + 1) * SECTOR);
                Self::Write { offset, bytes }
            }
            whole => whole,
        }
    }
}

impl Body {
    fn apply(&mut self, change: Change) {
        match (self, change) {
            (Self::File { bytes, .. }, Change::Write { offset, bytes: new }) => {
                let end = offset + new.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[offset..end].copy_from_slice(&new);
            }
            (Self::File { bytes, .. }, Change::Cut(length)) => bytes.resize(length, 0),
            (Self::File { mode, .. }, Change::Mode(new)) => *mode = new,
            (Self::Folder(_), Change::Mode(_)) => {}
            (Self::Folder(entries), Change::Enter(name, node)) => {
                entries.insert(name, node);
            }
            (Self::Folder(entries), Change::Leave(name)) => {
                entries.remove(&name);
            }
            (Self::Folder(entries), Change::Rename(old, new, node)) => {
                entries.remove(&old);
                entries.insert(new, node);
            }
            (body, change) => panic!("{change:?} of {body:?}"),
        }
    }
}

/// A mode as strace writes it.
fn octal(digits: u64) -> u32 {
    u32::from_str_radix(&digits.to_string(), 8).expect("a mode")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strace::calls;

    /// Paths as they would be in a record: in hexadecimal.
    fn hex(text: &str) -> String {
        text.bytes().map(|byte| format!("\\x{byte:02x}")).collect()
    }

    /// What is left of `/t` after these calls, in which `'` stands around text.
    fn left(lines: &[&str]) -> Vec<(String, String)> {
        let quoted = |line: &&str| {
            let parts = line.split('\'').enumerate();
            let parts = parts.map(|(n, part)| if n % 2 == 1 { hex(part) } else { part.to_owned() });
            format!("1 {}\n", parts.collect::<String>())
        };
        let mut disk = Disk::new(Path::new("/t"), Path::new("/t/view"));
        calls(&lines.iter().map(quoted).collect::<String>()).iter().for_each(|c| disk.apply(c));
        let folder = tempfile::tempdir().expect("a folder");
        disk.after_power_loss(folder.path(), Unsynced::Lost);
        let entries = fs::read_dir(folder.path()).expect("made").map(|entry| entry.expect("made"));
        let read = |entry: fs::DirEntry| {
            let text = fs::read_to_string(entry.path()).expect("text");
            (entry.file_name().into_string().expect("text"), text)
        };
        entries.map(read).collect()
    }

    const MADE: &str = r#"openat(AT_FDCWD<'/'>, "'/t/a'", O_CREAT|O_WRONLY, 0600) = 3<'/t/a'>"#;
    const WRITTEN: &str = r#"pwrite64(3<'/t/a'>, "'abc'", 3, 0) = 3"#;
    const FILE_SYNCED: &str = "fsync(3<'/t/a'>) = 0";
    const FOLDER_SYNCED: &str = "fsync(4<'/t'>) = 0";

    #[test]
    fn only_a_synced_file_in_a_synced_folder_survives() {
        let a = |text: &str| vec![("a".to_owned(), text.to_owned())];
        assert_eq!(left(&[MADE, WRITTEN, FILE_SYNCED, FOLDER_SYNCED]), a("abc"));
        assert_eq!(left(&[MADE, FOLDER_SYNCED, WRITTEN, FILE_SYNCED]), a("abc"));
        assert_eq!(left(&[MADE, WRITTEN, "syncfs(4</t>) = 0"]), a("abc"));
        assert_eq!(left(&[MADE, "syncfs(4</t>) = 0", WRITTEN]), a(""));
        assert_eq!(left(&[MADE, WRITTEN, FILE_SYNCED]), []);
        assert_eq!(left(&[MADE, WRITTEN, FOLDER_SYNCED]), a(""));
        assert_eq!(left(&[MADE, FOLDER_SYNCED, FILE_SYNCED, WRITTEN]), a(""));
    }

    #[test]
    fn a_sync_covers_what_had_ended_before_it_began() {
        let lines = [
            MADE,
            FOLDER_SYNCED,
            "fsync(3<'/t/a'> <unfinished ...>",
            // Another thread, but the model does not care.
        ];
        let text = |lines: &[&str]| left(lines).remove(0).1;
        assert_eq!(text(&lines), "");
        let write = r#"pwrite64(3<'/t/a'>, "'abc'", 3, 0) = 3"#;
        assert_eq!(text(&[&lines[..], &[write, "<... fsync resumed>) = 0"]].concat()), "");
        assert_eq!(
            text(
                &[&[MADE, FOLDER_SYNCED, write], &lines[2..], &["<... fsync resumed>) = 0"]]
                    .concat()
            ),
            "abc"
        );
    }

    #[test]
    fn a_removal_and_a_new_name_come_with_the_folder() {
        let before = [MADE, WRITTEN, FILE_SYNCED, FOLDER_SYNCED];
        let removed = r#"unlink("'/t/a'") = 0"#;
        let renamed = r#"rename("'/t/a'", "'/t/b'") = 0"#;
        assert_eq!(left(&[&before[..], &[removed]].concat()).len(), 1);
        assert_eq!(left(&[&before[..], &[removed, FOLDER_SYNCED]].concat()).len(), 0);
        assert_eq!(left(&[&before[..], &[renamed]].concat())[0].0, "a");
        assert_eq!(left(&[&before[..], &[renamed, FOLDER_SYNCED]].concat())[0].0, "b");
    }
}
