//! Memory is bounded whatever the clients send.

use std::thread;

use crate::content::noise;
use crate::own::{BOTH, Own, assert_stored};
use crate::server::{Server, wait_for};

const CLIENTS: usize = 32;
const SIZE: usize = 20 << 20;
/// What the server may take at its peak: its buffers, 32 MiB, the program, and room for what allocators keep.
const PEAK_KIB_MAX: u64 = 150 << 10;

#[test]
fn many_large_uploads_at_once_do_not_make_the_server_large() {
    let mut server = Server::start();
    let address = server.address();
    let content = noise(1, SIZE);
    let owns: Vec<Own> =
        (0..CLIENTS).map(|n| Own::new(&format!("client {n}"), BOTH[n % 2])).collect();
    // One original for all of them.
    let original = owns[0].file(b"large", &content);
    thread::scope(|scope| {
        for own in &owns {
            let original = original.clone();
            scope.spawn(move || {
                let report = own.send(address, vec![original], &mut ()).expect("a run");
                report.files.iter().for_each(assert_stored);
            });
        }
    });
    let peak = server.process().memory_kib("VmHWM");
    println!("peak of the server's memory: {peak} KiB");
    assert!(peak < PEAK_KIB_MAX, "{peak} KiB");
    let store = server.store();
    for own in [&owns[0], &owns[CLIENTS - 1]] {
        assert!(store.content(&own.name, b"large", None).as_ref() == Some(&content));
    }
    assert_eq!(wait_for("all contents", || Some(store.blob_count())), CLIENTS);
    server.stop();
}
