//! One run: who does what next, what goes wrong, and what must be true.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use cofferd::catalog::CatalogError;
use cofferd::moment::Moment;
use cofferd::session::Load;
use cofferd::storage::{Fate, Operation};

use crate::around::Around;
use crate::client::Client;
use crate::dice::Dice;
use crate::disk::{Blobs, Disk};
use crate::hostile::Hostile;
use crate::link::Links;
use crate::model::Model;
use crate::profile::Profile;
use crate::server::{Committed, Server};

/// A run that takes more steps than this goes round in circles.
const STEPS_MAX: u64 = 200_000;

/// What a peer is lent for a step.
macro_rules! around {
    ($world:expr) => {
        Around {
            links: &mut $world.links,
            model: &mut $world.model,
            keyring: &$world.server.keyring,
            dice: &mut $world.dice,
            now: $world.now,
            calm: $world.troubles.calm.load(Ordering::Relaxed),
        }
    };
}

pub(crate) struct World {
    profile: Profile,
    dice: Dice,
    now: Moment,
    steps: u64,
    links: Links,
    clients: Vec<Client>,
    hostile: Vec<Hostile>,
    model: Model,
    disk: Disk,
    server: Server,
    troubles: Arc<Troubles>,
    crashes: u64,
    /// Of everything that happened, in order.
    digest: u64,
    trace: bool,
}

/// What the store's faults share with the run.
#[derive(Default)]
struct Troubles {
    calm: AtomicBool,
    /// Removals that failed: what they left is swept at a later start.
    left_behind: AtomicU32,
}

/// What a run was.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) peers: u64,
    pub(crate) connections: u64,
    /// Versions that were acknowledged.
    pub(crate) versions: u64,
    pub(crate) crashes: u64,
    pub(crate) steps: u64,
    pub(crate) digest: u64,
}

/// Something that can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Client(usize),
    Hostile(usize),
    Accept,
    Touch(usize),
    Work(usize),
    Sync,
    Commit,
    Deliver,
    Answer,
}

impl World {
    /// The run of a seed; `trace` prints what happens.
    pub(crate) fn new(seed: u64, trace: bool) -> Self {
        let mut dice = Dice::new(seed);
        let profile = Profile::draw(&mut dice);
        if trace {
            println!("{profile:#?}");
        }
        let clients = (0..profile.correct).map(|n| Client::draw(n, &profile, &mut dice)).collect();
        let hostile =
            (0..profile.hostile).map(|n| Hostile::draw(n, profile.contested, &mut dice)).collect();
        let disk = Disk::new();
        let troubles = Arc::<Troubles>::default();
        let server = start(&profile, &disk, Blobs::new(), &troubles, &mut dice);
        Self {
            profile,
            dice,
            now: Moment(0),
            steps: 0,
            links: Links::default(),
            clients,
            hostile,
            model: Model::default(),
            disk,
            server,
            troubles,
            crashes: 0,
            digest: 0,
            trace,
        }
    }

    /// Runs to the end. Panics when something is not as it must be.
    pub(crate) fn run(mut self) -> Summary {
        let mut actions = Vec::new();
        while self.turn(&mut actions) {
            assert!(self.steps < STEPS_MAX, "it does not end: {}", self.describe());
        }
        assert!(self.is_over(), "somebody is left waiting for ever: {}", self.describe());
        self.check();
        self.check_rest();
        Summary {
            peers: (self.clients.len() + self.hostile.len()) as u64,
            connections: self.links.len() as u64,
            versions: self.model.versions(),
            crashes: self.crashes,
            steps: self.steps,
            digest: self.digest,
        }
    }

    fn is_over(&self) -> bool {
        self.clients.iter().all(Client::is_done) && self.hostile.iter().all(Hostile::is_done)
    }

    /// One thing happens, or time passes. False if nothing ever will.
    fn turn(&mut self, actions: &mut Vec<Action>) -> bool {
        self.steps += 1;
        let calm = self.is_calm();
        self.troubles.calm.store(calm, Ordering::Relaxed);
        if !calm && self.trouble() {
            return true;
        }
        if self.dice.once_in(32) {
            let pause = self.dice.within(0, 100);
            self.pass(self.now + Duration::from_millis(pause));
        }
        if self.dice.once_in(1_000) {
            self.check();
        }
        self.possible(actions);
        if actions.is_empty() {
            return self.wait();
        }
        let action = *self.dice.pick(actions);
        if self.trace {
            println!("{:>6} {:>8} ms {action:?}", self.steps, self.now.0);
        }
        self.note(action);
        self.act(action);
        true
    }

    fn is_calm(&self) -> bool {
        self.steps > self.profile.calm_after || self.is_over()
    }

    fn possible(&mut self, actions: &mut Vec<Action>) {
        actions.clear();
        let (links, now) = (&self.links, self.now);
        let ready = |(at, client): (usize, &Client)| {
            client.is_ready(links, now).then_some(Action::Client(at))
        };
        actions.extend(self.clients.iter().enumerate().filter_map(ready));
        let ready =
            |(at, peer): (usize, &Hostile)| peer.is_ready(now).then_some(Action::Hostile(at));
        actions.extend(self.hostile.iter().enumerate().filter_map(ready));
        if !self.links.arriving.is_empty() {
            actions.push(Action::Accept);
        }
        actions.extend(self.server.ready(&self.links).map(Action::Touch));
        actions.extend(self.server.stepper.busy().map(Action::Work));
        for (possible, action) in [
            (self.server.has_changes(), Action::Commit),
            (self.server.has_deliveries(), Action::Deliver),
            (self.server.has_answers(), Action::Answer),
        ] {
            if possible {
                actions.push(action);
            }
        }
        let waits = self.profile.slow_syncs && !actions.is_empty() && !self.dice.once_in(16);
        if !waits && self.server.stepper.syncs() > 0 {
            actions.push(Action::Sync);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Client(at) => {
                let client = &mut self.clients[at];
                client.step(&mut around!(self));
                if self.trace {
                    println!("         {}", client.describe());
                }
            }
            Action::Hostile(at) => self.hostile[at].step(&mut around!(self)),
            Action::Accept => {
                if let Some(link) = self.links.arriving.pop_front() {
                    self.server.accept(&self.links, link, self.now);
                }
            }
            Action::Touch(slot) => {
                let most = match self.dice.below(6) {
                    0 => 1 + self.dice.below(40),
                    1 => 1 + self.dice.below(3_000),
                    _ => usize::MAX,
                };
                self.server.touch(&mut self.links, slot, most, self.now);
            }
            Action::Work(worker) => {
                let rng = self.dice.rng();
                self.server.stepper.step(worker, rng);
            }
            Action::Sync => {
                let syncs = self.server.stepper.syncs();
                self.server.stepper.sync(self.dice.below(syncs));
            }
            Action::Commit => self.commit(),
            Action::Deliver => self.server.deliver(),
            Action::Answer => self.server.answer(&mut self.links, self.now),
        }
    }

    fn commit(&mut self) {
        let most = 1 + self.dice.below(8);
        let mean = self.profile.catalog_faults;
        let failure = (mean > 0 && !self.is_calm() && self.dice.once_in(mean)).then(|| match self
            .dice
            .below(5)
        {
            0 => CatalogError::Stopped,
            1 => CatalogError::Busy,
            _ => CatalogError::Full,
        });
        let done = self.server.commit(most, failure, self.now, &mut self.dice);
        if let Committed::Fatal = done {
            self.crash();
        }
    }

    /// Something goes wrong, if it is to.
    fn trouble(&mut self) -> bool {
        if self.profile.crashes > 0 && self.dice.once_in(self.profile.crashes) {
            self.crash();
            return true;
        }
        if self.profile.cuts == 0 || !self.dice.once_in(self.profile.cuts) {
            return false;
        }
        let (chosen, kind) = (self.dice.below(64), self.dice.below(4));
        if kind == 0 {
            self.server.give_way(&mut self.links, chosen, self.now);
            return true;
        }
        let link = match self.hostile.len() {
            count if count > 0 && kind == 1 => self.hostile[chosen % count].link(chosen),
            _ => self.clients[chosen % self.clients.len()].link(),
        };
        if let Some(link) = link {
            self.links[link].cut = true;
        }
        link.is_some()
    }

    /// The machine goes down and comes up again.
    fn crash(&mut self) {
        if self.trace {
            println!("{:>6} {:>8} ms the server crashes", self.steps, self.now.0);
        }
        self.crashes += 1;
        self.digest = self.digest.rotate_left(9) ^ 0xdead;
        let dice = &mut self.dice;
        let survivors =
            self.server.store.crash(|_| *dice.pick(&[Fate::Lost, Fate::Kept, Fate::Torn]));
        self.links.cut_all();
        let survivors = survivors.into_iter().collect();
        self.server.die();
        self.server = start(&self.profile, &self.disk, survivors, &self.troubles, &mut self.dice);
        self.check();
    }

    /// Nothing happens until a peer or a deadline is due. False if none is.
    fn wait(&mut self) -> bool {
        let clients = self.clients.iter().filter(|client| !client.is_done()).map(|c| c.wake);
        let hostile = self.hostile.iter().filter(|peer| !peer.is_done()).map(|peer| peer.wake);
        let peers = clients.chain(hostile).filter(|wake| *wake > self.now);
        let Some(next) = peers.chain(self.server.next_deadline()).min() else { return false };
        self.pass(next);
        true
    }

    fn pass(&mut self, now: Moment) {
        self.now = self.now.max(now);
        self.server.expire(&mut self.links, self.now);
    }

    fn check(&self) {
        let (reader, store) = (self.disk.reader(), &self.server.store);
        self.model.check(&reader, store, self.profile.existing);
    }

    /// Nothing is left over when everybody is gone, and everybody has what they came for.
    fn check_rest(&self) {
        let (connections, buffers, uploads, load) = self.server.load();
        assert_eq!((connections, buffers, uploads), (0, 0, 0), "connections, buffers, uploads");
        assert_eq!(load, Load::default());
        let blobs = self.disk.referenced().len();
        let left_behind = self.troubles.left_behind.load(Ordering::Relaxed) as usize;
        let kept = self.server.store.len();
        assert!((blobs..=blobs + left_behind).contains(&kept), "{kept} contents, {blobs} in rows");
        let reader = self.disk.reader();
        for client in &self.clients {
            client.check(|id, file| Model::is_stored(&reader, &self.server.store, id, file));
        }
    }

    fn note(&mut self, action: Action) {
        let code = match action {
            Action::Client(at) => at as u64,
            Action::Hostile(at) => 100 + at as u64,
            Action::Touch(at) => 200 + at as u64,
            Action::Work(at) => 300 + at as u64,
            Action::Accept => 400,
            Action::Sync => 401,
            Action::Commit => 402,
            Action::Deliver => 403,
            Action::Answer => 404,
        };
        self.digest = (self.digest ^ code ^ self.now.0).wrapping_mul(0x0100_0000_01b3);
    }

    fn describe(&self) -> String {
        let clients = self.clients.iter().filter(|client| !client.is_done()).map(Client::describe);
        format!("step {}, {:?}: {}", self.steps, self.now, clients.collect::<Vec<_>>().join("; "))
    }
}

fn start(
    profile: &Profile,
    disk: &Disk,
    survivors: Blobs,
    troubles: &Arc<Troubles>,
    dice: &mut Dice,
) -> Server {
    let (opened, blobs) = disk.recover(survivors, dice);
    let (mean, mut chance, troubles) = (profile.store_faults, dice.fork(), Arc::clone(troubles));
    Server::start(profile, opened, blobs, move |operation| {
        if mean == 0 || troubles.calm.load(Ordering::Relaxed) || !chance.once_in(mean) {
            return Ok(());
        }
        if operation == Operation::Remove {
            troubles.left_behind.fetch_add(1, Ordering::Relaxed);
        }
        Err(chance.pick(&[io::ErrorKind::StorageFull, io::ErrorKind::Other]).to_owned().into())
    })
}
