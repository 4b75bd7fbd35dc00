//! One blocking connection to a server.
//!
//! Every wait is bounded by progress, not by duration: an upload may take hours, but a peer that moves no byte for
//! [`STALL_MAX`] is lost.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

use crate::Error;
use crate::files::Server;

/// How long one address may take to accept: several retransmissions of a lost SYN, and still bearable.
pub(crate) const CONNECT_MAX: Duration = Duration::from_secs(10);

/// How long no byte may move while the server owes us something. It may be syncing a file, or be a classic server that
/// computes in Python; and the longest that our own server lets a client wait is shorter.
pub(crate) const STALL_MAX: Duration = Duration::from_secs(60);

/// How long an answer is waited for that changes nothing, and that classic servers may not send.
pub(crate) const OPTIONAL_ANSWER_MAX: Duration = Duration::from_secs(5);

/// The first pause before a refused connect is tried again; it doubles each time.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(25);

/// The longest such pause.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Bytes received at once: more than any reply has.
const RECEIVE_BYTES: usize = 4 << 10;

/// A connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Box<[u8; RECEIVE_BYTES]>,
}

impl Connection {
    /// Connects. A refused connect is tried again for `retry`: the classic d1100 server does not listen between two
    /// connections, and a server may just be starting.
    pub(crate) fn open(server: &Server, retry: Duration) -> Result<Self, Error> {
        let start = Instant::now();
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            let source = match connect_once(server)? {
                Ok(stream) => return Ok(Self { stream, buffer: Box::new([0; RECEIVE_BYTES]) }),
                Err(source) => source,
            };
            let tried = start.elapsed();
            if source.kind() != ErrorKind::ConnectionRefused || tried + pause > retry {
                return Err(Error::Connect { server: server.to_string(), tried, source });
            }
            thread::sleep(pause);
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
    }

    /// Sends all of `bytes`.
    pub(crate) fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(stalled(error, STALL_MAX)),
            }
        }
        Ok(())
    }

    /// Waits for bytes, at most for `patience`. None of them: the server closed the connection.
    pub(crate) fn receive(&mut self, patience: Duration) -> io::Result<&[u8]> {
        self.stream.set_read_timeout(Some(patience))?;
        let received = loop {
            match self.stream.read(&mut self.buffer[..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other.map_err(|error| stalled(error, patience))?,
            }
        };
        Ok(&self.buffer[..received])
    }

    /// Takes what has arrived without waiting. `None`: nothing.
    pub(crate) fn receive_now(&mut self) -> io::Result<Option<&[u8]>> {
        self.stream.set_nonblocking(true)?;
        let received = self.stream.read(&mut self.buffer[..]);
        self.stream.set_nonblocking(false)?;
        match received {
            Ok(received) => Ok(Some(&self.buffer[..received])),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Tries each of the server's addresses. The outer error is final, the inner one the last address's.
fn connect_once(server: &Server) -> Result<io::Result<TcpStream>, Error> {
    let resolve = |source| Error::Resolve { host: server.host.clone(), source };
    let addresses = (server.host.as_str(), server.port).to_socket_addrs().map_err(resolve)?;
    let mut last = Err(io::Error::new(ErrorKind::NotFound, "the name has no address"));
    for address in addresses {
        last = TcpStream::connect_timeout(&address, CONNECT_MAX).and_then(|stream| {
            // Requests are written whole and answered at once; waiting to fill a segment only costs time.
            stream.set_nodelay(true)?;
            stream.set_write_timeout(Some(STALL_MAX))?;
            Ok(stream)
        });
        if last.is_ok() {
            break;
        }
    }
    Ok(last)
}

/// A timeout of the socket, in words.
fn stalled(error: io::Error, patience: Duration) -> io::Error {
    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) {
        let text = format!("the server was silent for {} s", patience.as_secs());
        return io::Error::new(ErrorKind::TimedOut, text);
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn listener() -> (TcpListener, Server) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        (listener, address.parse().expect("an address"))
    }

    #[test]
    fn silence_is_not_waited_for_longer_than_told() {
        let (listener, server) = listener();
        let mut connection = Connection::open(&server, Duration::ZERO).expect("connected");
        let (mut peer, _) = listener.accept().expect("accepted");
        assert!(matches!(connection.receive_now(), Ok(None)));
        let error = connection.receive(Duration::from_millis(20)).expect_err("silence");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(error.to_string().contains("silent"), "{error}");
        peer.write_all(b"late").expect("sent");
        assert_eq!(connection.receive(STALL_MAX).expect("bytes"), b"late");
        drop(peer);
        assert_eq!(connection.receive(STALL_MAX).expect("the end"), b"");
    }

    #[test]
    fn a_refused_connect_is_tried_again_for_as_long_as_told() {
        let (listener, server) = listener();
        drop(listener);
        for (retry, least) in [(0, 0), (200, 100)] {
            let error = Connection::open(&server, Duration::from_millis(retry)).err();
            let Some(Error::Connect { tried, source, .. }) = error else { panic!("{error:?}") };
            assert_eq!(source.kind(), ErrorKind::ConnectionRefused);
            assert!((least..=retry + 50).contains(&(tried.as_millis() as u64)), "{tried:?}");
        }
    }
}
