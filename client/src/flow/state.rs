//! The states of a [`Session`](super::Session) and what leads from one to the next.

use coffer_protocol::reply::{Reply, ReplyError};
use coffer_protocol::request::Verdict;
use coffer_protocol::{ClientId, Dialect};

use super::wire::Wire;
use super::{Failure, Output, Step, TRIES_MAX, Upload};

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
    pub(super) attempts: u8,
    /// The sending in hand goes over a connection that carried one before.
    pub(super) over_used_connection: bool,
}

impl Job {
    pub(super) fn new(upload: Upload) -> Self {
        Self { upload, attempts: 0, over_used_connection: false }
    }

    pub(super) fn step(&self) -> Step {
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
    pub(super) task: Task,
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
    pub(super) task: Task,
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
    pub(super) task: Task,
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
    pub(super) task: Task,
}

/// The shell streams the content.
pub(super) struct AwaitContent {
    pub(super) job: Job,
}

impl AwaitContent {
    fn on_answer(self, answer: Answer, wire: &mut Wire) -> State {
        wire.sending_failed(self.job, answer)
    }
}

/// All content is sent.
pub(super) struct ExpectChecksum {
    pub(super) job: Job,
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
    pub(super) job: Job,
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
    pub(super) job: Job,
}

/// 902 / 1106 is sent. Whatever is answered, the upload failed.
pub(super) struct ExpectFarewell {
    mismatch: Failure,
}
