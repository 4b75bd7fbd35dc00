//! The blocking shell of a [`Session`]: carries out its outputs, one connection at a time.

use std::io::{self, ErrorKind};
use std::thread;
use std::time::{Duration, Instant};

use coffer_protocol::cipher::SessionKey;
use coffer_protocol::name::escape;
use coffer_protocol::request::FILE_PACKET;
use coffer_protocol::{ClientId, Dialect, PACKET};

use crate::Error;
use crate::content::Content;
use crate::files::{Identity, save};
use crate::flow::{Failure, Input, Output, Session, Upload};
use crate::observe::{Event, Observer, Verified};
use crate::run::{FileToSend, Options};
use crate::transport::{Connection, OPTIONAL_ANSWER_MAX, STALL_MAX};

/// Between two packets for a server that reads carelessly: measured to be enough for the classic ones.
const PACE: Duration = Duration::from_millis(1);

/// The most that is read of a connection that broke, in pieces: a reply is one or two.
const LAST_WORDS_MAX: usize = 4;

/// A file on its way.
pub(crate) struct Item<'a> {
    file: &'a FileToSend,
    content: Content,
    start: Instant,
    checksum: u32,
}

impl<'a> Item<'a> {
    pub(crate) fn new(file: &'a FileToSend, content: Content, start: Instant) -> Self {
        Self { file, content, start, checksum: 0 }
    }
}

/// How something in hand ended well.
enum Done {
    Identified,
    Stored { attempts: u8, acknowledged: bool },
}

/// A session and what it runs on.
pub(crate) struct Driver<'a> {
    options: &'a Options,
    identity: Identity,
    session: Session,
    session_key: Option<SessionKey>,
    connection: Option<Connection>,
    /// What the last connection ended with.
    cause: Option<io::Error>,
    /// Why there is no connection at all.
    unreachable: Option<Error>,
    gave_up: bool,
    /// The name of the one file that a classic d825 server keeps.
    only_file: Option<&'a [u8]>,
    registered: bool,
    begun: Instant,
}

impl<'a> Driver<'a> {
    pub(crate) fn new(options: &'a Options, identity: Identity) -> Self {
        let id = Some(identity.id).filter(|id| *id != ClientId::NONE);
        let public_key = identity.key.public_der();
        Self {
            options,
            session: Session::new(options.dialect, &identity.name, public_key, id),
            identity,
            session_key: None,
            connection: None,
            cause: None,
            unreachable: None,
            gave_up: false,
            only_file: None,
            registered: false,
            begun: Instant::now(),
        }
    }

    /// The client's id, if it has one.
    pub(crate) fn id(&self) -> Option<ClientId> {
        self.session.id()
    }

    /// Whether there is any use in sending this file.
    pub(crate) fn check(&self, file: &FileToSend) -> Result<(), Error> {
        if self.gave_up {
            return Err(Error::NotTried(file.path.clone()));
        }
        match self.only_file {
            Some(kept) if kept != file.name => {
                let kept = escape(kept).into_owned();
                Err(Error::OneFile { path: file.path.clone(), kept })
            }
            _ => Ok(()),
        }
    }

    /// Registers or reconnects.
    pub(crate) fn identify(&mut self, observer: &mut dyn Observer) -> Result<(), Error> {
        self.begun = Instant::now();
        self.session.handle(Input::Identify);
        self.drive(None, observer).map(|_| ())
    }

    /// Sends a file and has it verified.
    pub(crate) fn upload(
        &mut self,
        item: &mut Item<'a>,
        observer: &mut dyn Observer,
    ) -> Result<Verified, Error> {
        self.begun = Instant::now();
        self.session.handle(Input::Upload(Upload {
            file: item.file.name.clone(),
            encrypted_size: item.content.encrypted_size(),
        }));
        match self.drive(Some(item), observer)? {
            Done::Stored { attempts, acknowledged } => {
                if !acknowledged {
                    self.only_file = Some(&item.file.name);
                }
                Ok(Verified {
                    size: item.content.size(),
                    checksum: item.checksum,
                    attempts,
                    acknowledged,
                    elapsed: item.start.elapsed(),
                })
            }
            Done::Identified => unreachable!("an upload does not end so"),
        }
    }

    fn drive(
        &mut self,
        mut item: Option<&mut Item<'_>>,
        observer: &mut dyn Observer,
    ) -> Result<Done, Error> {
        loop {
            while let Some(output) = self.session.poll_output() {
                match self.carry_out(output, item.as_deref_mut(), observer) {
                    Ok(None) => {}
                    Ok(Some(done)) => return Ok(done),
                    Err(error) => {
                        self.connection = None;
                        self.session.handle(Input::Abandon);
                        return Err(error);
                    }
                }
            }
            self.receive();
        }
    }

    fn carry_out(
        &mut self,
        output: Output,
        item: Option<&mut Item<'_>>,
        observer: &mut dyn Observer,
    ) -> Result<Option<Done>, Error> {
        match output {
            Output::Connect => self.connect(),
            Output::Send(bytes) => self.send(&bytes),
            Output::Content { attempt } => {
                let item = item.expect("content is asked for in uploads only");
                self.stream(attempt, item, observer)?;
            }
            Output::Unwrap { wrapped } => self.unwrap_key(&wrapped, observer)?,
            Output::SaveId(id) => self.save_id(id, observer)?,
            Output::Close => self.connection = None,
            Output::Mismatch { attempt, ours, theirs } => {
                if let Some(item) = item {
                    let path = &item.file.path;
                    observer.notice(&Event::ChecksumWrong { path, attempt, ours, theirs });
                }
            }
            Output::Reconnecting => {
                if let Some(item) = item {
                    observer.notice(&Event::Reconnecting { path: &item.file.path });
                }
            }
            Output::Identified => return Ok(Some(Done::Identified)),
            Output::Stored { attempts, acknowledged } => {
                return Ok(Some(Done::Stored { attempts, acknowledged }));
            }
            Output::Failed(failure) => return Err(self.error(failure, item.as_deref())),
        }
        Ok(None)
    }

    fn connect(&mut self) {
        match Connection::open(&self.options.server, self.options.retry_refused) {
            Ok(connection) => {
                self.connection = Some(connection);
                self.session.handle(Input::Connected);
            }
            Err(error) => {
                self.unreachable = Some(error);
                self.session.handle(Input::Lost);
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        let sent = match &mut self.connection {
            Some(connection) => connection.send(bytes),
            None => Err(ErrorKind::NotConnected.into()),
        };
        if let Err(cause) = sent {
            self.lost(cause);
        }
    }

    /// Waits for the server's answer.
    fn receive(&mut self) {
        let patience =
            if self.session.answer_is_optional() { OPTIONAL_ANSWER_MAX } else { STALL_MAX };
        let received = match &mut self.connection {
            Some(connection) => connection.receive(patience),
            None => Err(ErrorKind::NotConnected.into()),
        };
        match received {
            Ok([]) => self.lost(closed()),
            Ok(bytes) => self.session.handle(Input::Received(bytes)),
            Err(cause) => self.lost(cause),
        }
    }

    /// Takes what the server says while it is being sent to.
    fn overhear(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        match connection.receive_now() {
            Ok(None) => {}
            Ok(Some([])) => self.lost(closed()),
            Ok(Some(bytes)) => self.session.handle(Input::Received(bytes)),
            Err(cause) => self.lost(cause),
        }
    }

    /// The connection broke. What the server said before may still be read, and may be the reason.
    fn lost(&mut self, cause: io::Error) {
        if let Some(mut connection) = self.connection.take() {
            for _ in 0..LAST_WORDS_MAX {
                match connection.receive_now() {
                    Ok(Some(bytes)) if !bytes.is_empty() => {
                        self.session.handle(Input::Received(bytes));
                    }
                    _ => break,
                }
            }
        }
        self.cause = Some(cause);
        self.session.handle(Input::Lost);
    }

    /// Streams the content as long as it is wanted.
    fn stream(
        &mut self,
        attempt: u8,
        item: &mut Item<'_>,
        observer: &mut dyn Observer,
    ) -> Result<(), Error> {
        let (path, size) = (&item.file.path, item.content.size());
        observer.notice(&Event::FileStarted { path, size, attempt });
        let key = self.session_key.as_ref().expect("content is asked for with a session key only");
        let id = self.session.id().expect("and with an id");
        let mut pieces = item.content.encode(key, id, &item.file.name)?;
        while let Some(bytes) = pieces.next()? {
            self.overhear();
            if !self.session.awaits_content() {
                return Ok(());
            }
            if self.options.paced {
                self.send_paced(bytes);
            } else {
                self.send(bytes);
            }
            observer.notice(&Event::FileProgress { path, sent: pieces.sent(), size });
        }
        item.checksum = pieces.checksum();
        self.session.handle(Input::ContentSent { checksum: item.checksum });
        Ok(())
    }

    fn send_paced(&mut self, bytes: &[u8]) {
        let packet = match self.options.dialect {
            Dialect::D825 => FILE_PACKET,
            Dialect::D1100 => PACKET,
        };
        for packet in bytes.chunks(packet) {
            self.send(packet);
            if self.connection.is_none() {
                return;
            }
            thread::sleep(PACE);
        }
    }

    fn unwrap_key(&mut self, wrapped: &[u8], observer: &mut dyn Observer) -> Result<(), Error> {
        let dialect = self.options.dialect;
        let opened = self.identity.key.unwrap_key(dialect, wrapped, &mut rand::rng());
        self.session_key = opened.ok();
        if self.session_key.is_some() {
            if dialect == Dialect::D1100 {
                self.save()?; // its me.info holds the session key
            }
            observer.notice(&Event::KeyReceived {
                client: &self.identity.name,
                id: self.identity.id,
                reconnected: !self.registered,
                elapsed: self.begun.elapsed(),
            });
        }
        self.registered = false;
        self.session.handle(Input::SessionKey { opened: self.session_key.is_some() });
        Ok(())
    }

    fn save_id(&mut self, id: ClientId, observer: &mut dyn Observer) -> Result<(), Error> {
        self.identity.id = id;
        self.session_key = None;
        self.registered = true;
        self.save()?;
        let (client, elapsed) = (self.identity.name.as_str(), self.begun.elapsed());
        observer.notice(&Event::Registered { client, id, elapsed });
        Ok(())
    }

    fn save(&self) -> Result<(), Error> {
        let key = self.session_key.as_ref();
        save(&self.options.state, self.options.dialect, &self.identity, key)
    }

    /// What the user is told of a failure.
    fn error(&mut self, failure: Failure, item: Option<&Item<'_>>) -> Error {
        let cause = self.cause.take().filter(|_| matches!(failure, Failure::Lost(_)));
        if let (Failure::Lost(_), Some(error)) = (failure, self.unreachable.take()) {
            self.gave_up = true;
            return error;
        }
        let subject = match item {
            Some(item) => escape(&item.file.name).into_owned(),
            None => format!("client '{}' at {}", self.identity.name, self.options.server),
        };
        Error::Session { subject, failure, cause }
    }
}

fn closed() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "the server closed the connection")
}
