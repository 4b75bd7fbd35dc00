//! The server without its sockets and threads: the same machines, workers, store and catalog, one step at a time.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use coffer_protocol::cipher::SessionKey;
use coffer_tls::Identity;
use cofferd::buffer::Pool;
use cofferd::catalog::{CatalogError, Change, Content, Delivery, Writer};
use cofferd::connection::{Connection, Surroundings};
use cofferd::job::{Completion, ConnectionId, Done, Job, Work};
use cofferd::limits::CATALOG_QUEUE_MAX;
use cofferd::moment::Moment;
use cofferd::queue::Queue;
use cofferd::recovery::Opened;
use cofferd::server::{completion, fatal};
use cofferd::session::{Classic, Context, Load, Shared};
use cofferd::storage::{DataLock, FaultyStore, Operation};
use cofferd::worker::{Answers, CatalogQueue, Stepper, Tag, Tools};

use crate::dice::Dice;
use crate::disk::Blobs;
use crate::link::{DOWN_MAX, Links};
use crate::profile::Profile;

/// Session keys by the public key that they were wrapped for, and the wrapping.
pub(crate) type Keyring = BTreeMap<(Vec<u8>, Vec<u8>), Arc<SessionKey>>;

/// One process of the server.
pub(crate) struct Server {
    slots: Vec<Option<Slot>>,
    generation: u32,
    shared: Shared,
    pool: Pool,
    jobs: Vec<Job>,
    pub(crate) stepper: Stepper,
    pub(crate) store: FaultyStore,
    writer: Writer,
    changes: CatalogQueue,
    /// Committed, and not yet told.
    delivered: VecDeque<Vec<Delivery<Tag>>>,
    answers: Arc<AnswerList>,
    /// Whose key a connection has asked to wrap for.
    wrapping: BTreeMap<ConnectionId, Vec<u8>>,
    pub(crate) keyring: Keyring,
    /// Keeps the data folder locked while the process lives.
    lock: Option<DataLock>,
}

struct Slot {
    id: ConnectionId,
    link: usize,
    machine: Connection,
    end_seen: bool,
}

#[derive(Default)]
struct AnswerList(Mutex<VecDeque<Completion>>);

impl Answers for AnswerList {
    fn push(&self, completion: Completion) {
        self.list().push_back(completion);
    }
}

impl AnswerList {
    fn list(&self) -> std::sync::MutexGuard<'_, VecDeque<Completion>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of a commit.
pub(crate) enum Committed {
    Fine,
    /// The process has to stop.
    Fatal,
}

impl Server {
    pub(crate) fn start(
        profile: &Profile,
        opened: Opened,
        blobs: Blobs,
        faults: impl FnMut(Operation) -> io::Result<()> + Send + 'static,
    ) -> Self {
        let store = FaultyStore::new(opened.report.start, faults);
        blobs.into_iter().for_each(|(id, bytes)| store.restore(id, bytes));
        let changes: CatalogQueue = Arc::new(Queue::new(CATALOG_QUEUE_MAX));
        let answers = Arc::<AnswerList>::default();
        let tools = Tools {
            store: Arc::new(store.clone()),
            catalog: Arc::clone(&changes),
            answers: Arc::<AnswerList>::clone(&answers),
            catalog_path: opened.dir.catalog(),
            tls: Identity::generate().server_config(),
        };
        Self {
            slots: Vec::new(),
            generation: 0,
            shared: Shared::new(profile.existing, profile.quotas, Classic::Everywhere),
            pool: Pool::default(),
            jobs: Vec::new(),
            stepper: Stepper::new(profile.workers, &tools).expect("a readable catalog"),
            store,
            writer: opened.writer,
            changes,
            delivered: VecDeque::new(),
            answers,
            wrapping: BTreeMap::new(),
            keyring: Keyring::new(),
            lock: Some(opened.lock),
        }
    }

    /// The process is killed: the system takes back its lock. What it had not committed is never told to anybody.
    pub(crate) fn die(&mut self) {
        self.lock = None;
    }

    /// Accepts a connection, in the first slot that is free.
    pub(crate) fn accept(&mut self, links: &Links, link: usize, now: Moment) {
        let index = self.slots.iter().position(Option::is_none).unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.generation += 1;
        let peer = (links[link].address, 9).into();
        let machine = match self.shared.admit(links[link].address) {
            None => Connection::new(peer, now),
            Some(reason) => Connection::refused(peer, now, reason),
        };
        let id = ConnectionId { slot: index as u32, generation: self.generation };
        self.slots[index] = Some(Slot { id, link, machine, end_seen: false });
    }

    /// The slots in which a read or a write would do something.
    pub(crate) fn ready<'a>(&'a mut self, links: &'a Links) -> impl Iterator<Item = usize> + 'a {
        let dry = self.pool.is_empty();
        self.slots.iter_mut().enumerate().filter_map(move |(index, slot)| {
            let slot = slot.as_mut()?;
            let link = &links[slot.link];
            let news = link.cut || !link.up.is_empty() || (link.up_ended && !slot.end_seen);
            let reads = news && !dry && slot.machine.wants_input();
            let writes = !slot.machine.outbox().is_empty() && has_room(link);
            (reads || writes).then_some(index)
        })
    }

    /// What the shell does when a socket is ready: one read of at most `most` bytes, and a write of what fits.
    pub(crate) fn touch(&mut self, links: &mut Links, index: usize, most: usize, now: Moment) {
        let Some(slot) = &mut self.slots[index] else { return };
        let link = &mut links[slot.link];
        let news = link.cut || !link.up.is_empty() || (link.up_ended && !slot.end_seen);
        if news
            && slot.machine.wants_input()
            && let Some(mut buffer) = self.pool.take()
        {
            slot.machine.prepare(&mut buffer);
            let cut = link.cut;
            let count = if cut { 0 } else { link.up.len().min(most).min(buffer.spare_mut().len()) };
            for (to, from) in buffer.spare_mut().iter_mut().zip(link.up.drain(..count)) {
                *to = from;
            }
            buffer.advance(count);
            let ended = !cut && count == 0;
            slot.end_seen |= ended;
            self.with(links, index, now, |machine, cx| {
                machine.receive(cx, buffer, count);
                if ended {
                    machine.end_of_input(cx);
                } else if cut {
                    machine.lost();
                }
            });
        } else {
            self.with(links, index, now, |_, _| {});
        }
    }

    fn with(
        &mut self,
        links: &mut Links,
        index: usize,
        now: Moment,
        call: impl FnOnce(&mut Connection, &mut Surroundings),
    ) {
        let Some(slot) = &mut self.slots[index] else { return };
        let session =
            Context { shared: &mut self.shared, jobs: &mut self.jobs, now, connection: slot.id };
        let mut cx = Surroundings { session, pool: &mut self.pool };
        call(&mut slot.machine, &mut cx);
        flush(slot, links);
        if slot.machine.is_finished() {
            slot.machine.close(&mut cx);
            let link = &mut links[slot.link];
            link.freed = true;
            link.down_ended = true;
            if !link.up.is_empty() {
                // Closing with something unread resets the connection, and the peer may lose the last answer.
                link.cut = true;
                link.down.clear();
            }
            self.slots[index] = None;
        }
        self.dispatch();
    }

    fn dispatch(&mut self) {
        for job in self.jobs.drain(..) {
            if let Work::WrapKey { public_key, .. } = &job.work {
                self.wrapping.insert(job.connection, public_key.clone());
            }
            self.stepper.dispatch(job);
        }
    }

    /// Time has come to `now`.
    pub(crate) fn expire(&mut self, links: &mut Links, now: Moment) {
        for index in 0..self.slots.len() {
            if let Some(slot) = &self.slots[index]
                && slot.machine.deadline().is_some_and(|deadline| deadline <= now)
            {
                self.with(links, index, now, Connection::expire);
            }
        }
        for upload in self.shared.expire(now) {
            let nobody = ConnectionId { slot: u32::MAX, generation: 0 };
            self.stepper.dispatch(Job { connection: nobody, work: Work::Discard(upload) });
        }
    }

    /// When [`Server::expire`] would do something.
    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        let slots = self.slots.iter().flatten().filter_map(|slot| slot.machine.deadline());
        slots.chain(self.shared.next_expiry()).min()
    }

    /// Makes room as if too many strangers had come.
    pub(crate) fn give_way(&mut self, links: &mut Links, chosen: usize, now: Moment) {
        if !self.slots.is_empty() {
            self.with(links, chosen % self.slots.len(), now, Connection::give_way);
        }
    }

    pub(crate) fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Commits a group. `failure` says that the catalog fails; whether a fatally failed group is there after a restart
    /// is open, so `dice` decide.
    pub(crate) fn commit(
        &mut self,
        most: usize,
        failure: Option<CatalogError>,
        now: Moment,
        dice: &mut Dice,
    ) -> Committed {
        let mut group = Vec::new();
        self.changes.take_all(most, &mut group);
        let (tags, changes): (Vec<Tag>, Vec<Change>) = group.into_iter().unzip();
        for change in &changes {
            if let Change::AddVersion { content: Content::Blob(blob), .. } = change {
                assert!(self.store.is_durable(*blob), "{blob} is committed before it is durable");
            }
        }
        let deliveries: Vec<Delivery<Tag>> = match failure {
            None => {
                let outcomes = self.writer.commit(&changes, now.0 as i64).expect("no fault");
                tags.into_iter().zip(outcomes.into_iter().map(Ok)).collect()
            }
            Some(error) => {
                if error.is_fatal() && dice.once_in(2) {
                    self.writer.commit(&changes, now.0 as i64).expect("no fault");
                }
                let error = Arc::new(error);
                tags.into_iter().map(|tag| (tag, Err(Arc::clone(&error)))).collect()
            }
        };
        if deliveries.iter().any(|(_, result)| fatal(result).is_some()) {
            return Committed::Fatal;
        }
        self.delivered.push_back(deliveries);
        Committed::Fine
    }

    pub(crate) fn has_deliveries(&self) -> bool {
        !self.delivered.is_empty()
    }

    /// What the catalog's thread does after a commit.
    pub(crate) fn deliver(&mut self) {
        for delivery in self.delivered.pop_front().into_iter().flatten() {
            self.answers.push(completion(&self.store, delivery));
        }
    }

    pub(crate) fn has_answers(&self) -> bool {
        !self.answers.list().is_empty()
    }

    /// Takes the oldest answer to whom it is for, if that one is still there.
    pub(crate) fn answer(&mut self, links: &mut Links, now: Moment) {
        let Some(Completion { connection, done }) = self.answers.list().pop_front() else { return };
        if let Done::KeyWrapped(result) = &done {
            let public_key = self.wrapping.remove(&connection).expect("was asked for");
            if let Ok(wrapped) = result {
                self.keyring
                    .insert((public_key, wrapped.wrapped.clone()), Arc::clone(&wrapped.key));
            }
        }
        let index = connection.slot as usize;
        if self.slots.get(index).and_then(Option::as_ref).is_some_and(|slot| slot.id == connection)
        {
            self.with(links, index, now, |machine, cx| machine.complete(cx, done));
        }
    }

    /// What is held in memory: connections, buffers, uploads on the workers, and what connections share.
    pub(crate) fn load(&self) -> (usize, usize, usize, Load) {
        let connections = self.slots.iter().flatten().count();
        (connections, self.pool.in_use(), self.stepper.uploads(), self.shared.load())
    }
}

fn has_room(link: &crate::link::Link) -> bool {
    link.cut || link.abandoned || link.down.len() < DOWN_MAX
}

/// Sends what the network takes.
fn flush(slot: &mut Slot, links: &mut Links) {
    let link = &mut links[slot.link];
    if link.cut {
        if !slot.machine.outbox().is_empty() {
            slot.machine.lost();
        }
        return;
    }
    let room = if link.abandoned { usize::MAX } else { DOWN_MAX - link.down.len().min(DOWN_MAX) };
    let count = slot.machine.outbox().unsent().len().min(room);
    if !link.abandoned {
        link.down.extend(&slot.machine.outbox().unsent()[..count]);
    }
    if count > 0 {
        slot.machine.outbox().advance(count);
    }
    if slot.machine.ends_output() && slot.machine.outbox().is_empty() {
        link.down_ended = true;
    }
}
