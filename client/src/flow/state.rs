//! The states of a [`Session`](super::Session) and what leads from one to the next.

use coffer_protocol::reply::{Reply, ReplyError};
use coffer_protocol::request::{Request, Verdict};
use coffer_protocol::{ClientId, Dialect};

use super::{Failure, Link, Outbox, Output, Step, TRIES_MAX, Upload};

/// What a request came to.
pub(super) enum Answer {
    Reply(Reply),
    Garbage(ReplyError),
    /// The classic d825 server's 1604.
    MalformedAck(ClientId),
    Lost,
}

/// What is to be reached.
pub(super) enum Task {
    Identify,
    Upload(Job),
}

/// An upload and how far it came.
pub(super) struct Job {
    upload: Upload,
    /// Sendings begun.
    attempts: u8,
    /// The sending in hand goes over a connection that carried one before.
    over_used_connection: bool,
}

impl Job {
    pub(super) fn new(upload: Upload) -> Self {
        Self { upload, attempts: 0, over_used_connection: false }
    }

    fn step(&self) -> Step {
        if self.attempts > 1 { Step::SendingAgain } else { Step::Sending }
    }
}

pub(super) enum State {
    Idle,
    ExpectRegistered(ExpectRegistered),
    ExpectReconnected(ExpectReconnected),
    ExpectKey(ExpectKey),
    AwaitSessionKey(AwaitSessionKey),
    AwaitContent(AwaitContent),
    ExpectChecksum(ExpectChecksum),
    ExpectAcknowledgement(ExpectAcknowledgement),
    ExpectLeave(ExpectLeave),
    ExpectFarewell(ExpectFarewell),
}

impl State {
    pub(super) fn on_answer(self, answer: Answer, wire: &mut Wire) -> Self {
        match self {
            Self::Idle => Self::Idle,
            Self::ExpectRegistered(state) => state.on_answer(answer, wire),
            Self::ExpectReconnected(state) => state.on_answer(answer, wire),
            Self::ExpectKey(state) => state.on_answer(answer, wire),
            Self::AwaitSessionKey(_) => wire.fail_on(Step::OpeningKey, answer),
            Self::AwaitContent(state) => state.on_answer(answer, wire),
            Self::ExpectChecksum(state) => state.on_answer(answer, wire),
            Self::ExpectAcknowledgement(state) => state.on_answer(answer, wire),
            Self::ExpectLeave(state) => wire.stream(state.job),
            Self::ExpectFarewell(state) => wire.fail(state.mismatch),
        }
    }

    pub(super) fn on_key(self, opened: bool, wire: &mut Wire) -> Self {
        match self {
            Self::AwaitSessionKey(_) if !opened => wire.fail(Failure::Key),
            Self::AwaitSessionKey(AwaitSessionKey { task: Task::Identify }) => {
                wire.keyed = true;
                wire.outbox.push(Output::Identified);
                Self::Idle
            }
            Self::AwaitSessionKey(AwaitSessionKey { task: Task::Upload(job) }) => {
                wire.keyed = true;
                wire.stream(job)
            }
            other => other,
        }
    }

    pub(super) fn on_content(self, checksum: u32, _: &mut Wire) -> Self {
        match self {
            Self::AwaitContent(AwaitContent { job }) => {
                Self::ExpectChecksum(ExpectChecksum { job, checksum })
            }
            other => other,
        }
    }
}

/// 825 / 1100 is sent.
pub(super) struct ExpectRegistered {
    task: Task,
}

impl ExpectRegistered {
    fn on_answer(self, answer: Answer, wire: &mut Wire) -> State {
        match answer {
            Answer::Reply(Reply::Registered { id }) => wire.send_key(id, self.task),
            Answer::Reply(Reply::RegistrationRefused) => wire.fail(Failure::NameRefused),
            other => wire.fail_on(Step::Registering, other),
        }
    }
}

/// 827 / 1102 is sent.
pub(super) struct ExpectReconnected {
    task: Task,
}

impl ExpectReconnected {
    fn on_answer(self, answer: Answer, wire: &mut Wire) -> State {
        match (answer, wire.dialect) {
            (Answer::Reply(Reply::Reconnected { id, wrapped }), _) => {
                wire.unwrap_key(Step::Reconnecting, id, wrapped, self.task)
            }
            (Answer::Reply(Reply::ReconnectRefused { id }), Dialect::D825) => {
                wire.send_key(id, self.task)
            }
            (Answer::Reply(Reply::ReconnectRefused { .. }), Dialect::D1100) => {
                wire.id = None;
                wire.identify(self.task)
            }
            (other, _) => wire.fail_on(Step::Reconnecting, other),
        }
    }
}

/// 826 / 1101 is sent.
pub(super) struct ExpectKey {
    task: Task,
}

impl ExpectKey {
    fn on_answer(self, answer: Answer, wire: &mut Wire) -> State {
        match answer {
            Answer::Reply(Reply::Key { id, wrapped }) => {
                wire.unwrap_key(Step::SendingKey, id, wrapped, self.task)
            }
            other => wire.fail_on(Step::SendingKey, other),
        }
    }
}

/// The shell opens the session key.
pub(super) struct AwaitSessionKey {
    task: Task,
}

/// The shell streams the content.
pub(super) struct AwaitContent {
    job: Job,
}

impl AwaitContent {
    fn on_answer(self, answer: Answer, wire: &mut Wire) -> State {
        wire.sending_failed(self.job, answer)
    }
}

/// All content is sent.
pub(super) struct ExpectChecksum {
    job: Job,
    checksum: u32,
}

impl ExpectChecksum {
    fn on_answer(self, answer: Answer, wire: &mut Wire) -> State {
        let Answer::Reply(Reply::FileReceived { id, encrypted_size, file, checksum }) = answer
        else {
            return wire.sending_failed(self.job, answer);
        };
        let Upload { file: sent, encrypted_size: sent_size } = &self.job.upload;
        let step = self.job.step();
        if wire.id != Some(id) {
            return wire.fail(Failure::Foreign { step, what: "client id" });
        }
        if *sent != file {
            return wire.fail(Failure::Foreign { step, what: "file name" });
        }
        // The classic d1100 client does not look at this field, so its servers may put anything there.
        if wire.dialect == Dialect::D825 && *sent_size != encrypted_size {
            return wire.fail(Failure::Foreign { step, what: "encrypted size" });
        }
        if checksum == self.checksum {
            wire.tell(Verdict::Right, sent);
            State::ExpectAcknowledgement(ExpectAcknowledgement { job: self.job })
        } else {
            self.mismatch(checksum, wire)
        }
    }

    fn mismatch(self, theirs: u32, wire: &mut Wire) -> State {
        let Self { job, checksum: ours } = self;
        wire.outbox.push(Output::Mismatch { attempt: job.attempts, ours, theirs });
        if job.attempts == TRIES_MAX {
            wire.tell(Verdict::GivingUp, &job.upload.file);
            let mismatch = Failure::Mismatch { ours, theirs };
            return State::ExpectFarewell(ExpectFarewell { mismatch });
        }
        wire.tell(Verdict::SendingAgain, &job.upload.file);
        match wire.dialect {
            Dialect::D825 => wire.stream(job),
            Dialect::D1100 => State::ExpectLeave(ExpectLeave { job }),
        }
    }
}

/// 900 / 1104 is sent.
pub(super) struct ExpectAcknowledgement {
    job: Job,
}

impl ExpectAcknowledgement {
    fn on_answer(self, answer: Answer, wire: &mut Wire) -> State {
        let attempts = self.job.attempts;
        let (id, acknowledged) = match (answer, wire.dialect) {
            (Answer::Reply(Reply::FileReceived { id, .. }), Dialect::D825) => (id, true),
            (Answer::Reply(Reply::Acknowledged { id }), _) => (id, true),
            (Answer::MalformedAck(id), _) => (id, false),
            (other, _) => return wire.fail_on(Step::Confirming, other),
        };
        if wire.id != Some(id) {
            return wire.fail(Failure::Foreign { step: Step::Confirming, what: "client id" });
        }
        if !acknowledged {
            // Only a classic server answers so. It closes now, and where its answer ends is anybody's guess.
            wire.drop_session();
        }
        wire.outbox.push(Output::Stored { attempts, acknowledged });
        State::Idle
    }
}

/// d1100: 1105 is sent. Whatever is answered, the content follows once more.
pub(super) struct ExpectLeave {
    job: Job,
}

/// 902 / 1106 is sent. Whatever is answered, the upload failed.
pub(super) struct ExpectFarewell {
    mismatch: Failure,
}

/// What the states act on: who we are, and what the shell is asked to do.
pub(super) struct Wire {
    pub(super) dialect: Dialect,
    pub(super) id: Option<ClientId>,
    name: Vec<u8>,
    public_key: Vec<u8>,
    /// A session key is agreed on. d825's ends with its connection.
    keyed: bool,
    /// The connection carried content.
    used: bool,
    outbox: Outbox,
}

impl Wire {
    pub(super) fn new(
        dialect: Dialect,
        name: &str,
        public_key: Vec<u8>,
        id: Option<ClientId>,
    ) -> Self {
        Self {
            dialect,
            id,
            name: name.as_bytes().to_vec(),
            public_key,
            keyed: false,
            used: false,
            outbox: Outbox::default(),
        }
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outbox.poll()
    }

    pub(super) fn begin(&mut self, task: Task) -> State {
        match task {
            Task::Upload(job) if self.keyed => self.stream(job),
            task => self.identify(task),
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.outbox.is_connected()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.outbox.is_closed()
    }

    pub(super) fn connected(&mut self) {
        if self.outbox.link == Link::Connecting {
            self.outbox.link = Link::Open;
            self.used = false;
        }
    }

    pub(super) fn close(&mut self) {
        self.outbox.push(Output::Close);
    }

    pub(super) fn lost(&mut self) {
        self.outbox.lost();
        if self.dialect == Dialect::D825 {
            self.keyed = false;
        }
    }

    /// Ends what is in hand. What the server thinks of the session now is unknown, so the next upload begins with a
    /// new connection and a new key.
    pub(super) fn fail(&mut self, failure: Failure) -> State {
        self.drop_session();
        self.outbox.push(Output::Failed(failure));
        State::Idle
    }

    fn fail_on(&mut self, step: Step, answer: Answer) -> State {
        self.fail(match answer {
            Answer::Lost => Failure::Lost(step),
            Answer::Garbage(error) => Failure::Garbage { step, error },
            Answer::MalformedAck(id) => {
                let code = Reply::Acknowledged { id }.code(self.dialect);
                Failure::Unexpected { step, code }
            }
            Answer::Reply(Reply::Error) => Failure::Refused(step),
            Answer::Reply(reply) => Failure::Unexpected { step, code: reply.code(self.dialect) },
        })
    }

    /// A d825 server may close between two sendings: the classic one does after every verdict. That is no reason to
    /// fail the next sending, once.
    fn sending_failed(&mut self, mut job: Job, answer: Answer) -> State {
        if self.dialect == Dialect::D825
            && job.over_used_connection
            && matches!(answer, Answer::Lost)
        {
            job.attempts -= 1;
            self.outbox.push(Output::Reconnecting);
            return self.identify(Task::Upload(job));
        }
        self.fail_on(job.step(), answer)
    }

    /// Drops what is in hand, unsent requests included.
    pub(super) fn abandon(&mut self) -> State {
        self.outbox.queue.clear();
        self.drop_session()
    }

    fn drop_session(&mut self) -> State {
        self.keyed = false;
        self.close();
        State::Idle
    }

    fn identify(&mut self, task: Task) -> State {
        if self.id.is_some() {
            self.outbox.push(self.request(&Request::Reconnect { name: &self.name }));
            State::ExpectReconnected(ExpectReconnected { task })
        } else {
            self.outbox.push(self.request(&Request::Register { name: &self.name }));
            State::ExpectRegistered(ExpectRegistered { task })
        }
    }

    fn send_key(&mut self, id: ClientId, task: Task) -> State {
        self.id = Some(id);
        self.outbox.push(Output::SaveId(id));
        let request = Request::PublicKey { name: &self.name, key: &self.public_key };
        self.outbox.push(self.request(&request));
        State::ExpectKey(ExpectKey { task })
    }

    fn unwrap_key(&mut self, step: Step, id: ClientId, wrapped: Vec<u8>, task: Task) -> State {
        if self.id != Some(id) {
            return self.fail(Failure::Foreign { step, what: "client id" });
        }
        self.outbox.push(Output::Unwrap { wrapped });
        State::AwaitSessionKey(AwaitSessionKey { task })
    }

    fn stream(&mut self, mut job: Job) -> State {
        job.attempts += 1;
        job.over_used_connection = std::mem::replace(&mut self.used, true);
        self.outbox.push(Output::Content { attempt: job.attempts });
        State::AwaitContent(AwaitContent { job })
    }

    fn tell(&mut self, verdict: Verdict, file: &[u8]) {
        self.outbox.push(self.request(&Request::Verdict { verdict, file }));
    }

    fn request(&self, request: &Request<'_>) -> Output {
        let mut bytes = Vec::new();
        request.push(self.dialect, self.id.unwrap_or(ClientId::NONE), &mut bytes);
        Output::Send(bytes)
    }
}
