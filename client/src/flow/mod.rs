//! One client's session with a server, in either dialect, as a pure machine.
//!
//! It decides what is asked, what each answer means and when a file is sent again. It holds no socket, file, clock,
//! random number or secret: its owner (the *shell*) connects, moves bytes, opens wrapped keys and streams content.
//! After every [`Session::handle`] the shell drains [`Session::poll_output`], in order.

mod failure;
mod inbox;
mod state;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_failure;
mod wire;

use coffer_protocol::{ClientId, Dialect};

pub use failure::{Failure, Step};
use inbox::Inbox;
use state::{Answer, Job, State, Task};
use wire::Wire;

/// How often the content of one file is sent before the client gives up, as the protocol says.
pub const TRIES_MAX: u8 = 3;

/// A file to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Upload {
    /// The name as it goes over the wire: 1 to 254 bytes.
    pub file: Vec<u8>,
    /// Bytes of ciphertext: [`coffer_protocol::encode::encrypted_size`] of the plain size.
    pub encrypted_size: u32,
}

/// What the shell tells the session.
#[derive(Debug)]
pub enum Input<'a> {
    /// Register, or reconnect with the id that is known. Ends in [`Output::Identified`] or [`Output::Failed`].
    Identify,
    /// Send a file, identifying first where there is no session key. Ends in [`Output::Stored`] or
    /// [`Output::Failed`].
    Upload(Upload),
    /// The connection that [`Output::Connect`] asked for stands.
    Connected,
    /// The server sent bytes: any split of them gives the same result.
    Received(&'a [u8]),
    /// The answer to [`Output::Unwrap`]: whether the session key could be opened.
    SessionKey {
        /// It could, and the shell keeps it.
        opened: bool,
    },
    /// All content that [`Output::Content`] asked for was sent.
    ContentSent {
        /// The dialect's checksum of the plain bytes that were sent.
        checksum: u32,
    },
    /// The shell cannot go on with what is in hand, and knows why. The session drops the connection and is idle
    /// again; nothing is said of what was in hand.
    Abandon,
    /// There is no connection any more, or none came about, or the server was silent for too long.
    Lost,
}

/// What the session wants of the shell.
#[derive(PartialEq, Eq, Debug)]
pub enum Output {
    /// Connect to the server, then give [`Input::Connected`] or [`Input::Lost`].
    Connect,
    /// Send these bytes.
    Send(Vec<u8>),
    /// Stream the content of the upload in hand, encoded with the newest session key and the session's id. Stop when
    /// [`Session::awaits_content`] turns false.
    Content {
        /// Which sending of this file it is, from 1 to [`TRIES_MAX`].
        attempt: u8,
    },
    /// Open this wrapped session key with the client's private key and give [`Input::SessionKey`].
    Unwrap {
        /// As long as the client's RSA modulus.
        wrapped: Vec<u8>,
    },
    /// The server gave the client this id. It must be on disk, with the private key, before the next output is
    /// carried out: that one ties the name to the key for good.
    SaveId(ClientId),
    /// Close the connection.
    Close,
    /// The client is known to the server and a session key is agreed on.
    Identified,
    /// The server's checksum was wrong. For information: what follows from it comes by itself.
    Mismatch {
        /// Which sending of this file it was, from 1 to [`TRIES_MAX`].
        attempt: u8,
        /// The checksum of what was sent.
        ours: u32,
        /// The checksum that the server answered.
        theirs: u32,
    },
    /// The server closed a connection on which it had taken a file, or a wrong checksum, before; the session
    /// reconnects and starts this sending over. For information.
    Reconnecting,
    /// The upload in hand is done.
    Stored {
        /// How many sendings it took.
        attempts: u8,
        /// Whether the server answered the verdict as the protocol says. The classic d825 server's answer is
        /// malformed, which is all that it ever says.
        acknowledged: bool,
    },
    /// What was in hand failed, and nothing is in hand any more. The next upload identifies anew.
    Failed(Failure),
}

/// The machine. `Expect*` states wait for the server, `Await*` states for the shell.
///
/// ```text
///               Identify, or Upload without a session key
///     Idle ---------------+----------------------------+
///      ^                  | no id                      | id known
///      |                  v              2106          v
///      |           ExpectRegistered <----------- ExpectReconnected
///      |                  | 1600 2100            | 1606    | 1605 2105
///      |                  v                      |         |
///      |             ExpectKey <-----------------+         |
///      |                  | 1602 2102                      |
///      |                  v                                |
///      | Identify  AwaitSessionKey <-----------------------+
///      +<-----------------+
///      |                  | Upload (from Idle too, with a session key)
///      |                  v
///      |            AwaitContent <----------------------------------+<--------------+
///      |                  | sent                                    | d825          | d1100
///      |                  v           wrong: 901 1105, up to twice  |               |
///      |           ExpectChecksum ----------------------------------+-----> ExpectLeave
///      |            |     | 1603 2103, wrong thrice: 902 1106
///      |   right:   |     v
///      |  900 1104  |   ExpectFarewell --- anything ---> Failed, Idle
///      |            v
///      +<-- ExpectAcknowledgement
///         1603 1604 2104
///
///     anything else, anywhere: Failed, Idle
///     connection lost while d825 content is sent over a connection that carried content before: once more from
///     ExpectReconnected
/// ```
pub struct Session {
    wire: Wire,
    inbox: Inbox,
    state: State,
}

impl Session {
    /// A session of the client `name`, whose public key is `public_key` (SubjectPublicKeyInfo, DER) and whom the
    /// server knows as `id`, if it does.
    #[must_use]
    pub fn new(dialect: Dialect, name: &str, public_key: Vec<u8>, id: Option<ClientId>) -> Self {
        Self {
            wire: Wire::new(dialect, name, public_key, id),
            inbox: Inbox::default(),
            state: State::Idle,
        }
    }

    /// Takes one input. Inputs about something that is over are ignored.
    ///
    /// # Panics
    /// If something is to be begun while something else is in hand.
    pub fn handle(&mut self, input: Input<'_>) {
        match input {
            Input::Identify => self.begin(Task::Identify),
            Input::Upload(upload) => self.begin(Task::Upload(Job::new(upload))),
            Input::Connected => self.wire.connected(),
            Input::Received(bytes) => self.received(bytes),
            Input::SessionKey { opened } => self.step(|state, wire| state.on_key(opened, wire)),
            Input::ContentSent { checksum } => {
                self.step(|state, wire| state.on_content(checksum, wire));
                self.read_inbox(false);
            }
            Input::Abandon => self.step(|_, wire| wire.abandon()),
            Input::Lost => self.lost(),
        }
    }

    /// The next thing to do, if there is one.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.wire.poll_output();
        if output == Some(Output::Close) {
            self.inbox.clear();
        }
        output
    }

    /// The client's id, once it has one.
    #[must_use]
    pub fn id(&self) -> Option<ClientId> {
        self.wire.id
    }

    /// The session's dialect.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.wire.dialect
    }

    /// Whether the content of the upload in hand is still wanted.
    #[must_use]
    pub fn awaits_content(&self) -> bool {
        matches!(self.state, State::AwaitContent(_))
    }

    /// Whether the answer that is waited for changes nothing, so that little patience is due: a classic server may
    /// never send it.
    #[must_use]
    pub fn answer_is_optional(&self) -> bool {
        matches!(self.state, State::ExpectFarewell(_) | State::ExpectLeave(_))
    }

    fn begin(&mut self, task: Task) {
        assert!(matches!(self.state, State::Idle), "one thing at a time");
        self.state = self.wire.begin(task);
    }

    fn received(&mut self, bytes: &[u8]) {
        if !self.wire.is_connected() {
            return;
        }
        if self.inbox.push(bytes) {
            self.read_inbox(false);
        } else {
            self.step(|_, wire| wire.fail(Failure::Flood));
        }
    }

    fn lost(&mut self) {
        if !self.wire.is_closed() {
            self.read_inbox(true);
        }
        if self.wire.is_closed() {
            return; // it had served its purpose
        }
        self.inbox.clear();
        self.wire.lost();
        self.step(|state, wire| state.on_answer(Answer::Lost, wire));
    }

    /// Takes the replies that are complete, as far as the state wants them. `ended`: no more bytes will come.
    fn read_inbox(&mut self, ended: bool) {
        loop {
            let answer = match self.state {
                State::Idle | State::AwaitSessionKey(_) => return,
                State::AwaitContent(_) => self.inbox.next_error(self.wire.dialect),
                State::ExpectAcknowledgement(_) => self.inbox.next_ack(self.wire.dialect, ended),
                _ => self.inbox.next(self.wire.dialect, ended),
            };
            let Some(answer) = answer else { return };
            if self.wire.dialect == Dialect::D1100 {
                self.wire.close();
                self.inbox.clear();
            }
            self.step(|state, wire| state.on_answer(answer, wire));
        }
    }

    fn step(&mut self, transition: impl FnOnce(State, &mut Wire) -> State) {
        let state = std::mem::replace(&mut self.state, State::Idle);
        self.state = transition(state, &mut self.wire);
    }
}
