//! One blocking connection through TLS: frames out, frames in, each answer by a deadline.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use coffer_protocol::v4::VERSION;
use coffer_protocol::v4::fingerprint::Pin;
use coffer_protocol::v4::frame::{FRAME_HEADER, FrameError, FrameHeader, Kind};
use coffer_protocol::v4::message::{Answer, ErrorMessage, Hello, MessageError, Request, Welcome};
use rustls::{ClientConfig, ClientConnection};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::transport::{CONNECT_MAX, STALL_MAX};

/// How long the handshake, or an answer, may take as a whole, however steadily its bytes come: it is small, so that
/// who takes longer does not mean to finish.
const ANSWER_MAX: Duration = Duration::from_secs(300);

/// The shortest wait: none at all means one without end to the system.
const TICK: Duration = Duration::from_millis(1);

/// The stream of what is asked here: one thing at a time, about the connection itself.
const STREAM: u32 = 0;

/// What this program calls itself.
const SOFTWARE: &str = concat!("coffer ", env!("CARGO_PKG_VERSION"));

/// Why a connection did not bring what it was made for.
#[derive(Debug, Error)]
pub(super) enum Problem {
    /// The name leads nowhere, nobody listens, or the connection broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The server has another key.
    #[error("its key is {0}")]
    WrongServer(Pin),
    /// No TLS, or not ours.
    #[error("{0}")]
    Tls(rustls::Error),
    /// No frame.
    #[error("it sent {0}")]
    Frame(#[from] FrameError),
    /// A frame that holds something else.
    #[error("{0}")]
    Message(#[from] MessageError),
    /// A message that is no answer to what was asked.
    #[error("it answered {asked} with {answer}")]
    Unexpected {
        /// What was asked.
        asked: Kind,
        /// What came.
        answer: Kind,
    },
    /// It agreed on a version that was not offered.
    #[error("it chose version {0}")]
    Version(u16),
    /// The server knows nothing of this key.
    #[error("it does not know this machine's key")]
    Unknown,
    /// It said no.
    #[error("{}", .0.text)]
    Refused(ErrorMessage),
}

impl Problem {
    /// An answer that does not fit the question, unless it is a refusal.
    pub(super) fn unexpected(asked: Kind, answer: Answer) -> Self {
        match answer {
            Answer::Error(message) => Self::Refused(message),
            other => Self::Unexpected { asked, answer: other.kind() },
        }
    }
}

/// A connection that both sides have proved their keys on.
pub(super) struct Connection {
    tcp: TcpStream,
    tls: ClientConnection,
    /// Decrypted, and not yet looked at.
    received: Vec<u8>,
}

impl Connection {
    /// Connects, shows and checks keys, and says HELLO.
    pub(super) fn open(
        address: &str,
        config: &Arc<ClientConfig>,
    ) -> Result<(Self, Welcome), Problem> {
        let tls = coffer_tls::connect(Arc::clone(config)).map_err(Problem::Tls)?;
        let mut connection = Self { tcp: connect(address)?, tls, received: Vec::new() };
        connection.shake_hands()?;
        let welcome = connection.greet()?;
        Ok((connection, welcome))
    }

    /// Asks, and waits for the answer.
    pub(super) fn ask(&mut self, request: &Request) -> Result<Answer, Problem> {
        let mut patience = Patience::new();
        let mut frame = Zeroizing::new(Vec::new());
        request.frame(STREAM, &mut frame);
        self.tls.writer().write_all(&frame)?;
        self.send(&mut patience)?;
        loop {
            if let Some(answer) = self.next_answer()? {
                return Ok(answer);
            }
            self.receive(&mut patience)?;
        }
    }

    /// Says goodbye, to a server that need not hear it any more.
    pub(super) fn close(mut self) {
        self.tls.send_close_notify();
        let _ = self.send(&mut Patience::new());
    }

    fn shake_hands(&mut self) -> Result<(), Problem> {
        let mut patience = Patience::new();
        while self.tls.is_handshaking() {
            self.send(&mut patience)?;
            self.receive(&mut patience)?;
        }
        self.send(&mut patience)
    }

    fn greet(&mut self) -> Result<Welcome, Problem> {
        let software = SOFTWARE.to_owned();
        let hello = Hello { version_min: VERSION, version_max: VERSION, software };
        match self.ask(&Request::Hello(hello))? {
            Answer::Welcome(welcome) if welcome.version == VERSION => Ok(welcome),
            Answer::Welcome(welcome) => Err(Problem::Version(welcome.version)),
            other => Err(Problem::unexpected(Kind::Hello, other)),
        }
    }

    /// Takes the first whole frame out of what was received.
    fn next_answer(&mut self) -> Result<Option<Answer>, Problem> {
        let Some((header, rest)) = self.received.split_first_chunk::<FRAME_HEADER>() else {
            return Ok(None);
        };
        let header = FrameHeader::decode(header)?;
        let Some(payload) = rest.get(..header.length as usize) else { return Ok(None) };
        let answer = Answer::decode(header.kind, payload)?;
        let end = FRAME_HEADER + payload.len();
        self.received.drain(..end);
        Ok(Some(answer))
    }

    /// Sends all that TLS has to send.
    fn send(&mut self, patience: &mut Patience) -> Result<(), Problem> {
        while self.tls.wants_write() {
            self.tcp.set_write_timeout(Some(patience.left()?))?;
            match self.tls.write_tls(&mut self.tcp) {
                Ok(0) => return Err(io::Error::from(ErrorKind::WriteZero).into()),
                Ok(_) => patience.progress(),
                Err(error) if is_worth_waiting(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Waits for bytes and takes them. How many are kept is bounded: frames that are too long are refused by their
    /// header, and no more is asked for once there is a whole one.
    fn receive(&mut self, patience: &mut Patience) -> Result<(), Problem> {
        self.tcp.set_read_timeout(Some(patience.left()?))?;
        match self.tls.read_tls(&mut self.tcp) {
            Ok(0) => return Err(closed().into()),
            Ok(_) => patience.progress(),
            Err(error) if is_worth_waiting(&error) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let state = self.tls.process_new_packets().map_err(|error| self.refuse(error))?;
        let (start, count) = (self.received.len(), state.plaintext_bytes_to_read());
        self.received.resize(start + count, 0);
        self.tls.reader().read_exact(&mut self.received[start..])?;
        Ok(())
    }

    /// Tells the server why, if it still listens.
    fn refuse(&mut self, error: rustls::Error) -> Problem {
        let _ = self.tls.write_tls(&mut self.tcp);
        match coffer_tls::wrong_pin(&error) {
            Some(pin) => Problem::WrongServer(pin),
            None => Problem::Tls(error),
        }
    }
}

/// Tries each address of the host.
fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_MAX) {
            Ok(stream) => {
                // Requests are written whole and answered at once; waiting to fill a segment only costs time.
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// How long is waited on: as long as bytes move, within bounds.
struct Patience {
    stalled: Instant,
    end: Instant,
}

impl Patience {
    fn new() -> Self {
        let now = Instant::now();
        Self { stalled: now + STALL_MAX, end: now + ANSWER_MAX }
    }

    /// Bytes have moved.
    fn progress(&mut self) {
        self.stalled = Instant::now() + STALL_MAX;
    }

    /// What is left of it, which is never nothing.
    fn left(&self) -> io::Result<Duration> {
        let left = |until: Instant| until.saturating_duration_since(Instant::now());
        let text = if left(self.end).is_zero() {
            format!("no whole answer in {} s", ANSWER_MAX.as_secs())
        } else if left(self.stalled).is_zero() {
            format!("the server was silent for {} s", STALL_MAX.as_secs())
        } else {
            return Ok(left(self.stalled.min(self.end)).max(TICK));
        };
        Err(io::Error::new(ErrorKind::TimedOut, text))
    }
}

/// Whether the call is to be made again; the deadline ends that.
fn is_worth_waiting(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

fn closed() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "the server closed the connection")
}
