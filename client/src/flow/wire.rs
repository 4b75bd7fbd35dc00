//! What the states of a [`Session`](super::Session) act on: who the client is, and what its shell is asked to do.

use std::collections::VecDeque;

use coffer_protocol::reply::Reply;
use coffer_protocol::request::{Request, Verdict};
use coffer_protocol::{ClientId, Dialect};

use super::state::{
    Answer, AwaitContent, AwaitSessionKey, ExpectKey, ExpectReconnected, ExpectRegistered, Job,
    State, Task,
};
use super::{Failure, Output, Step};

/// The client's side of the wire.
pub(super) struct Wire {
    pub(super) dialect: Dialect,
    pub(super) id: Option<ClientId>,
    name: Vec<u8>,
    public_key: Vec<u8>,
    /// A session key is agreed on. d825's ends with its connection.
    pub(super) keyed: bool,
    /// The connection carried content.
    used: bool,
    pub(super) outbox: Outbox,
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

    pub(super) fn fail_on(&mut self, step: Step, answer: Answer) -> State {
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
    pub(super) fn sending_failed(&mut self, mut job: Job, answer: Answer) -> State {
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

    pub(super) fn drop_session(&mut self) -> State {
        self.keyed = false;
        self.close();
        State::Idle
    }

    pub(super) fn identify(&mut self, task: Task) -> State {
        if self.id.is_some() {
            self.outbox.push(self.request(&Request::Reconnect { name: &self.name }));
            State::ExpectReconnected(ExpectReconnected { task })
        } else {
            self.outbox.push(self.request(&Request::Register { name: &self.name }));
            State::ExpectRegistered(ExpectRegistered { task })
        }
    }

    pub(super) fn send_key(&mut self, id: ClientId, task: Task) -> State {
        self.id = Some(id);
        self.outbox.push(Output::SaveId(id));
        let request = Request::PublicKey { name: &self.name, key: &self.public_key };
        self.outbox.push(self.request(&request));
        State::ExpectKey(ExpectKey { task })
    }

    pub(super) fn unwrap_key(
        &mut self,
        step: Step,
        id: ClientId,
        wrapped: Vec<u8>,
        task: Task,
    ) -> State {
        if self.id != Some(id) {
            return self.fail(Failure::Foreign { step, what: "client id" });
        }
        self.outbox.push(Output::Unwrap { wrapped });
        State::AwaitSessionKey(AwaitSessionKey { task })
    }

    pub(super) fn stream(&mut self, mut job: Job) -> State {
        job.attempts += 1;
        job.over_used_connection = std::mem::replace(&mut self.used, true);
        self.outbox.push(Output::Content { attempt: job.attempts });
        State::AwaitContent(AwaitContent { job })
    }

    pub(super) fn tell(&mut self, verdict: Verdict, file: &[u8]) {
        self.outbox.push(self.request(&Request::Verdict { verdict, file }));
    }

    fn request(&self, request: &Request<'_>) -> Output {
        let mut bytes = Vec::new();
        request.push(self.dialect, self.id.unwrap_or(ClientId::NONE), &mut bytes);
        Output::Send(bytes)
    }
}

/// What the session wants done, in order. Whatever needs a connection waits for one.
#[derive(Default)]
pub(super) struct Outbox {
    link: Link,
    queue: VecDeque<Output>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Link {
    #[default]
    Closed,
    Connecting,
    Open,
}

impl Outbox {
    pub(super) fn push(&mut self, output: Output) {
        self.queue.push_back(output);
    }

    fn poll(&mut self) -> Option<Output> {
        loop {
            match (self.queue.front()?, self.link) {
                (Output::Send(_) | Output::Content { .. }, Link::Closed) => {
                    self.link = Link::Connecting;
                    return Some(Output::Connect);
                }
                (Output::Send(_) | Output::Content { .. }, Link::Connecting) => return None,
                (Output::Close, Link::Closed) => drop(self.queue.pop_front()),
                (Output::Close, _) => {
                    self.link = Link::Closed;
                    return self.queue.pop_front();
                }
                _ => return self.queue.pop_front(),
            }
        }
    }

    /// Whether the connection stands and the session still wants it.
    fn is_connected(&self) -> bool {
        self.link == Link::Open && !self.queue.contains(&Output::Close)
    }

    /// Whether there is no connection, or the session is through with it.
    fn is_closed(&self) -> bool {
        self.link != Link::Connecting && !self.is_connected()
    }

    /// The connection is gone, and with it what was to be sent over it.
    fn lost(&mut self) {
        self.link = Link::Closed;
        self.queue.retain(|output| {
            !matches!(output, Output::Send(_) | Output::Content { .. } | Output::Close)
        });
    }
}
