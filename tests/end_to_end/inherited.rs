//! A listening socket that outlives the server, as a service manager hands it over.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::classic::{Client825, End};

/// Starts `cofferd` with `listener` as its descriptor 3. Killed by the test.
fn start(listener: &TcpListener, data: &Path) -> Child {
    // It comes as the shell's standard input: not every shell knows descriptors of two digits.
    let hand_over = "exec 3<&0 0</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; \
                     exec \"$0\" --config /dev/null --data \"$1\"";
    let handle = OwnedFd::from(listener.try_clone().expect("a descriptor"));
    let mut server = Command::new("sh")
        .args(["-c", hand_over, env!("CARGO_BIN_EXE_cofferd")])
        .arg(data)
        .stdin(Stdio::from(handle))
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell");
    let mut line = String::new();
    let out = server.stdout.as_mut().expect("piped");
    BufReader::new(out).read_line(&mut line).expect("a line");
    let address = listener.local_addr().expect("bound");
    assert_eq!(line, format!("listening on {address}\n"), "not the configured address");
    server
}

fn send(address: SocketAddr, name: &str) -> End {
    Client825::new(address, name, "file", b"content").run().end
}

#[test]
fn a_restart_behind_an_inherited_socket_refuses_no_connection() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");

    let mut first = start(&listener, &data);
    assert_eq!(send(address, "before"), End::Success);
    first.kill().expect("killed");
    first.wait().expect("dead");

    let waiting = thread::spawn(move || send(address, "between"));
    let mut second = start(&listener, &data);
    assert_eq!(
        waiting.join().expect("no panic"),
        End::Success,
        "nobody listened when it connected"
    );
    second.kill().expect("killed");
    second.wait().expect("dead");
}
