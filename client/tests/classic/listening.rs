//! Accepting connections on a free port of the loopback, until dropped.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Time between two looks for a new connection.
const POLL: Duration = Duration::from_millis(2);
/// Tries to listen again on the port, [`POLL`] apart.
const BIND_TRIES: u32 = 500;

/// How connections are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Each by a thread of its own.
    Threads,
    /// One after the other. With a gap, nobody listens from an accept until that long after the connection's end.
    OneByOne { gap: Option<Duration> },
}

type Serve = dyn Fn(TcpStream) + Send + Sync;

/// A listening server.
#[derive(Debug)]
pub(crate) struct Listening {
    addr: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listening {
    /// Serves connections with `serve`, the first of them after `refuse_for`.
    pub(crate) fn start(
        style: Style,
        refuse_for: Duration,
        serve: impl Fn(TcpStream) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let addr = listener.local_addr().expect("it is bound");
        // Of the port only its number is kept while connects are to be refused.
        let listener = refuse_for.is_zero().then_some(listener);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            thread::sleep(refuse_for);
            accept(listener.unwrap_or_else(|| listen(addr)), style, &stopped, &Arc::new(serve));
        });
        Self { addr, stop, thread: Some(thread) }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It panicked where a test's expectation broke, and has said so.
            let _ = thread.join();
        }
    }
}

fn accept(
    mut listener: TcpListener,
    style: Style,
    stop: &AtomicBool,
    serve: &Arc<impl Fn(TcpStream) + Send + Sync + 'static>,
) {
    listener.set_nonblocking(true).expect("a listener can be polled");
    while !stop.load(Ordering::Relaxed) {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                thread::sleep(POLL);
                continue;
            }
            Err(error) => panic!("accepting failed: {error}"),
        };
        stream.set_nonblocking(false).expect("a stream can block");
        match style {
            Style::Threads => {
                let serve = Arc::clone(serve);
                thread::spawn(move || serve(stream));
            }
            Style::OneByOne { gap: None } => serve(stream),
            Style::OneByOne { gap: Some(gap) } => {
                let addr = listener.local_addr().expect("it is bound");
                drop(listener);
                serve(stream);
                thread::sleep(gap);
                listener = listen(addr);
                listener.set_nonblocking(true).expect("a listener can be polled");
            }
        }
    }
}

/// Listens on a port that was ours before.
fn listen(addr: SocketAddr) -> TcpListener {
    for _ in 0..BIND_TRIES {
        if let Ok(listener) = TcpListener::bind(addr) {
            return listener;
        }
        thread::sleep(POLL);
    }
    panic!("{addr} was taken by somebody else meanwhile")
}
