//! The clients' RSA keys, and the threads that open session keys with them: it is the clients' cost, not the server's.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::Context as _;
use coffer_protocol::Dialect;
use coffer_protocol::cipher::SessionKey;
use coffer_protocol::key::PrivateKey;
use cofferd::queue::Queue;
use mio::Waker;

use crate::limits::{CLIENTS_MAX, RSA_KEYS};

/// A key pair.
pub(crate) struct Key {
    pub(crate) private: PrivateKey,
    /// SubjectPublicKeyInfo, DER.
    pub(crate) public_der: Vec<u8>,
}

/// A few keys that all clients share.
#[derive(Clone)]
pub(crate) struct Keys(Arc<Vec<Key>>);

impl Keys {
    /// Makes them, each on a thread of its own.
    ///
    /// # Errors
    /// If no key can be made.
    pub(crate) fn generate() -> anyhow::Result<Self> {
        let generate = || {
            let private = PrivateKey::generate(&mut rand::rng())?;
            Ok(Key { public_der: private.public_der(), private })
        };
        let keys: anyhow::Result<Vec<Key>> = thread::scope(|scope| {
            let threads: Vec<_> = (0..RSA_KEYS).map(|_| scope.spawn(generate)).collect();
            threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
        });
        keys.map(|keys| Self(Arc::new(keys))).context("cannot make RSA keys")
    }

    /// The key of the client with this number.
    pub(crate) fn of(&self, account: usize) -> &Key {
        &self.0[account % self.0.len()]
    }
}

/// A wrapped session key.
pub(crate) struct Sealed {
    pub(crate) slot: usize,
    /// Which of all keys that were ever asked for it is.
    pub(crate) serial: u64,
    pub(crate) account: usize,
    pub(crate) dialect: Dialect,
    pub(crate) wrapped: Vec<u8>,
}

/// A session key that was opened, or could not be.
pub(crate) struct Opened {
    pub(crate) slot: usize,
    pub(crate) serial: u64,
    pub(crate) key: Option<SessionKey>,
}

/// Threads that open session keys.
pub(crate) struct Openers {
    sealed: Arc<Queue<Sealed>>,
    opened: Arc<Mutex<Vec<Opened>>>,
}

impl Openers {
    /// Starts as many threads as there are cores; `waker` wakes whoever takes the keys.
    pub(crate) fn start(keys: &Keys, waker: Waker) -> Self {
        let sealed = Arc::new(Queue::new(CLIENTS_MAX));
        let opened = Arc::new(Mutex::new(Vec::new()));
        let waker = Arc::new(waker);
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            let (keys, sealed) = (keys.clone(), Arc::clone(&sealed));
            let (opened, waker) = (Arc::clone(&opened), Arc::clone(&waker));
            thread::spawn(move || open_all(&keys, &sealed, &opened, &waker));
        }
        Self { sealed, opened }
    }

    pub(crate) fn open(&self, sealed: Sealed) {
        assert!(self.sealed.push(sealed).is_ok(), "each client waits for one key at most");
    }

    /// Takes what was opened.
    pub(crate) fn take(&self) -> Vec<Opened> {
        std::mem::take(&mut self.opened.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Openers {
    fn drop(&mut self) {
        self.sealed.close();
    }
}

fn open_all(keys: &Keys, queue: &Queue<Sealed>, opened: &Mutex<Vec<Opened>>, waker: &Waker) {
    let mut rng = rand::rng();
    while let Some(sealed) = queue.pop() {
        let private = &keys.of(sealed.account).private;
        let key = private.unwrap_key(sealed.dialect, &sealed.wrapped, &mut rng).ok();
        let mut list = opened.lock().unwrap_or_else(PoisonError::into_inner);
        list.push(Opened { slot: sealed.slot, serial: sealed.serial, key });
        drop(list);
        // The loop looks again in a while even if it is not woken.
        let _ = waker.wake();
    }
}
