//! Servers under load whose system calls are recorded, and clients that note what they are told.

use std::ffi::OsString;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, thread};

use coffer_protocol::Dialect;

use crate::content::noise;
use crate::peer::{CHECKSUM, KEY, Peer, RECONNECTED, REGISTERED, Verdict};
use crate::promises::{Ledger, Told};
use crate::server::{Down, Server, Setup, cofferd, wait_for};
use crate::strace::{Call, calls};

/// The calls that change what is on disk, sync it, or tell somebody.
const TRACED: &str = "trace=openat,creat,mkdir,mkdirat,rmdir,unlink,unlinkat,rename,renameat,renameat2,link,linkat,\
    symlink,symlinkat,truncate,ftruncate,fallocate,write,writev,pwrite64,pwritev,pwritev2,sendfile,copy_file_range,\
    ioctl,chmod,fchmod,fchmodat,fsync,fdatasync,sync_file_range,syncfs,sendto,sendmsg";

/// Every third sync of a thread takes 20 ms longer, so that others come while it runs, and overtake it.
const SLOWED: &str = "inject=fsync,fdatasync,syncfs:delay_enter=20000:when=1+3";

/// Longer than anything that the server writes at once, so that no content is cut short in the record.
const STRING_MAX: &str = "33554432";

const CLIENTS: u64 = 8;

/// Small and large contents, at the limits between what goes into the catalog, memory and a file of its own.
const SIZES: [usize; 7] = [700, (16 << 10) - 1, (16 << 10) + 1, 50_001, 66_001, 90_001, 300_001];

/// What was done, and what was answered meanwhile.
pub(crate) struct Recorded {
    pub(crate) calls: Vec<Call>,
    pub(crate) ledgers: Vec<Ledger>,
    /// Where the data folder was made.
    pub(crate) root: PathBuf,
    /// From this call on old versions are being removed.
    pub(crate) pruned_from: usize,
}

impl Recorded {
    /// What holds the data folder, below the root of the disk.
    pub(crate) const DATA: &str = "data";
}

/// Why there is no strace to be used here; nothing if there is.
pub(crate) fn no_strace() -> Option<String> {
    let mut tried = Command::new("strace");
    match tried.args(["-D", "-f", "-o", "/dev/null", "true"]).stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Some(format!("cannot run strace: {error}")),
    }
}

/// strace in front of a command, whose process stays the one that the caller started.
pub(crate) fn strace(options: &[&str], record: &Path) -> Vec<OsString> {
    let fixed = ["strace", "-D", "-f", "-yy", "-xx", "-s", STRING_MAX];
    let mut command: Vec<OsString> = fixed.iter().chain(options).map(OsString::from).collect();
    command.extend(["-o".into(), record.into(), "--".into()]);
    command
}

/// Records a server that is killed after its first load, one that finds what that left, and a prune.
pub(crate) fn record() -> Recorded {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("disk");
    let data = root.join(Recorded::DATA);
    fs::create_dir(&root).expect("room");
    let records: Vec<PathBuf> = (0..3).map(|n| folder.path().join(format!("{n}"))).collect();
    let options = ["-e", TRACED, "-e", SLOWED];
    let start = |record| Setup::new().data(&data).under(strace(&options, record)).start();

    let mut server = start(&records[0]);
    let mut clients: Vec<_> = (0..CLIENTS).map(|n| client(&server, n)).collect();
    load(&mut clients, 0..7);
    leave_half(&server, &mut clients[0]);
    server.take_down(Down::Kill9);
    let mut server = start(&records[1]);
    for (peer, _) in &mut clients {
        peer.hang_up();
        peer.server = server.address();
    }
    load(&mut clients, 7..12);
    server.take_down(Down::Sigterm);
    prune(&data, &records[2]);

    let (mut all, mut pruned_from) = (vec![], 0);
    for record in records {
        pruned_from = all.len();
        let text = fs::read_to_string(record).expect("a record");
        let next = calls(&text).into_iter();
        all.extend(next.map(|call| Call { begun: call.begun + pruned_from, ..call }));
    }
    let ledgers = clients.into_iter().map(|(_, ledger)| ledger).collect();
    Recorded { calls: all, ledgers, root, pruned_from }
}

fn prune(data: &Path, record: &Path) {
    let under = strace(&["-e", TRACED], record);
    let mut command = Command::new(&under[0]);
    let program = cofferd(data).get_program().to_owned();
    command.args(&under[1..]).arg(program).args(["prune", "--keep", "1", "--data"]).arg(data);
    let ended = command.output().expect("it runs");
    assert!(ended.status.success(), "{ended:?}");
}

fn client(server: &Server, number: u64) -> (Peer, Ledger) {
    let dialect = [Dialect::D825, Dialect::D1100][(number % 2) as usize];
    let mut peer = Peer::new(server.address(), dialect, &format!("client {number}"));
    assert_eq!(peer.register(), REGISTERED);
    assert_eq!(peer.send_key(), KEY);
    let ledger =
        Ledger { name: peer.name.clone(), id: peer.id, answers: vec![Told::Id, Told::Registered] };
    peer.hang_up();
    (peer, ledger)
}

/// Lets all clients upload these files at the same time.
fn load(clients: &mut [(Peer, Ledger)], files: Range<usize>) {
    thread::scope(|scope| {
        for (seed, (peer, ledger)) in clients.iter_mut().enumerate() {
            let files = files.clone();
            scope.spawn(move || {
                assert_eq!(peer.reconnect(), RECONNECTED);
                ledger.answers.push(Told::Registered);
                files.for_each(|number| upload(peer, ledger, seed, number));
                peer.hang_up();
            });
        }
    });
}

/// One file, that is sent twice now and then, and one that is given up now and then.
fn upload(peer: &mut Peer, ledger: &mut Ledger, seed: usize, number: usize) {
    let is_changed = peer.dialect == Dialect::D825 && number % 5 == 4;
    let name = if is_changed { "changing".to_owned() } else { format!("file {number}") };
    let size = SIZES[(number + seed) % SIZES.len()];
    let content = noise((seed * 100 + number) as u64, size);
    let (file, wrong) = (name.as_bytes(), noise(1, size));
    if number % 4 == 1 {
        assert_eq!(peer.upload(file, &wrong), CHECKSUM);
        peer.try_again(file).expect("the server is there");
        ledger.answers.push(Told::Checksum);
        if peer.dialect == Dialect::D1100 {
            ledger.answers.push(Told::Dropped);
        }
    }
    assert_eq!(peer.upload(file, &content), CHECKSUM);
    assert_eq!(peer.verdict(Verdict::Right, file), peer.acknowledged());
    ledger.answers.extend([Told::Checksum, Told::Stored { file: name, content }]);
    if number % 6 == 2 {
        assert_eq!(peer.upload(b"never", &wrong), CHECKSUM);
        assert_eq!(peer.verdict(Verdict::GivingUp, b"never"), peer.acknowledged());
        ledger.answers.extend([Told::Checksum, Told::Dropped]);
    }
}

/// Half of a large file, for the next start to find.
fn leave_half(server: &Server, (peer, ledger): &mut (Peer, Ledger)) {
    let store = server.store();
    let stored = store
        .clients()
        .iter()
        .flat_map(|name| store.rows(name))
        .filter(|row| row.blob.is_some())
        .count();
    wait_for("what was given up to be removed", || (store.blob_count() == stored).then_some(()));
    for name in store.clients() {
        // Or the view would be in the middle of something when the server is killed.
        store.wait_for_view(&name);
    }
    assert_eq!(peer.reconnect(), RECONNECTED);
    ledger.answers.push(Told::Registered);
    let request = peer.upload_request(b"half", &noise(1, 400_001));
    peer.link().write_all(&request[..200_000]).expect("the server reads");
    wait_for("half a content", || (store.blob_count() > stored).then_some(()));
}
