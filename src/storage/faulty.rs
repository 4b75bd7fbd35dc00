//! Contents in memory that behave as badly as a disk may. For tests.

use std::collections::BTreeMap;
use std::io::{self, Cursor};
use std::sync::{Arc, Mutex, MutexGuard};

use super::{BlobId, BlobReader, BlobStore, BlobWriter, Reserved};

/// What is about to be done to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// [`BlobStore::create`].
    Create,
    /// [`BlobWriter::write_at`].
    Write,
    /// [`BlobWriter::seal`], or the one sync of a [`BlobStore::store`].
    Seal,
    /// [`BlobStore::remove`].
    Remove,
}

/// What a power loss makes of a content, or of a removal, that was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is as if it had never been: the content is gone, the removed one is there again.
    Lost,
    /// It reached the disk by chance.
    Kept,
    /// The name reached the disk, and the first half of the bytes.
    Torn,
}

type Faults = Box<dyn FnMut(Operation) -> io::Result<()> + Send>;

/// A store in memory, for tests, that fails when it is told to and forgets at a [crash](Self::crash) what was not
/// synced. Cloning it gives another handle on the same contents.
#[derive(Clone)]
pub struct FaultyStore {
    state: Arc<Mutex<State>>,
}

struct State {
    start: u64,
    next: u64,
    blobs: BTreeMap<BlobId, Blob>,
    /// Removed, but not durably so.
    removed: BTreeMap<BlobId, Blob>,
    faults: Faults,
}

struct Blob {
    bytes: Vec<u8>,
    sealed: bool,
}

impl FaultyStore {
    /// An empty store that creates contents as those of start `start`. `faults` is asked before every operation, and
    /// its error is what the operation fails with.
    pub fn new(
        start: u64,
        faults: impl FnMut(Operation) -> io::Result<()> + Send + 'static,
    ) -> Self {
        let state = State {
            start,
            next: 0,
            blobs: BTreeMap::new(),
            removed: BTreeMap::new(),
            faults: Box::new(faults),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Puts a content there that an earlier start sealed.
    pub fn restore(&self, id: BlobId, bytes: Vec<u8>) {
        self.lock().blobs.insert(id, Blob { bytes, sealed: true });
    }

    /// Whether the content is there and would survive a crash.
    #[must_use]
    pub fn is_durable(&self, id: BlobId) -> bool {
        self.lock().blobs.get(&id).is_some_and(|blob| blob.sealed)
    }

    /// How many contents there are, finished or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().blobs.len()
    }

    /// Whether there is no content at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().blobs.is_empty()
    }

    /// The power goes: what is on the disk afterwards. What was sealed and not removed is among it; `fate` decides on
    /// everything else.
    #[must_use]
    pub fn crash(&self, mut fate: impl FnMut(BlobId) -> Fate) -> Vec<(BlobId, Vec<u8>)> {
        let mut state = self.lock();
        let mut survivors = Vec::new();
        for (id, Blob { bytes, sealed }) in std::mem::take(&mut state.blobs) {
            match if sealed { Fate::Kept } else { fate(id) } {
                Fate::Lost => {}
                Fate::Kept => survivors.push((id, bytes)),
                Fate::Torn => survivors.push((id, bytes[..bytes.len() / 2].to_vec())),
            }
        }
        for (id, Blob { bytes, .. }) in std::mem::take(&mut state.removed) {
            if fate(id) == Fate::Lost {
                survivors.push((id, bytes));
            }
        }
        survivors
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

impl State {
    fn seal(&mut self, id: BlobId) -> io::Result<()> {
        (self.faults)(Operation::Seal)?;
        self.keep(id);
        Ok(())
    }

    fn keep(&mut self, id: BlobId) -> BlobId {
        if let Some(blob) = self.blobs.get_mut(&id) {
            blob.sealed = true;
        }
        id
    }
}

impl BlobStore for FaultyStore {
    /// There is always room, until an operation fails.
    fn reserve(&self, _: u64) -> io::Result<Reserved> {
        Ok(Reserved::default())
    }

    fn create(&self) -> io::Result<Box<dyn BlobWriter>> {
        let mut state = self.lock();
        (state.faults)(Operation::Create)?;
        let id = BlobId::new(state.start, state.next);
        state.next += 1;
        state.blobs.insert(id, Blob { bytes: Vec::new(), sealed: false });
        Ok(Box::new(FaultyWriter { store: self.clone(), id }))
    }

    fn store(&self, contents: &[Vec<u8>]) -> Vec<io::Result<BlobId>> {
        let write = |bytes: &Vec<u8>| {
            let mut writer = self.create()?;
            writer.write_at(0, bytes)?;
            Ok(writer)
        };
        let written: Vec<io::Result<_>> = contents.iter().map(write).collect();
        let synced = (self.lock().faults)(Operation::Seal);
        let seal = |writer: Box<dyn BlobWriter>| match &synced {
            Ok(()) => Ok(self.lock().keep(writer.id())),
            Err(error) => Err(error.kind().into()),
        };
        written.into_iter().map(|writer| writer.and_then(seal)).collect()
    }

    fn open(&self, id: BlobId) -> io::Result<Box<dyn BlobReader>> {
        let state = self.lock();
        let blob = state.blobs.get(&id).filter(|blob| blob.sealed);
        let blob = blob.ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Cursor::new(blob.bytes.clone())))
    }

    fn remove(&self, id: BlobId) -> io::Result<()> {
        let mut state = self.lock();
        (state.faults)(Operation::Remove)?;
        if let Some(blob) = state.blobs.remove(&id) {
            state.removed.insert(id, blob);
        }
        Ok(())
    }
}

struct FaultyWriter {
    store: FaultyStore,
    id: BlobId,
}

impl BlobWriter for FaultyWriter {
    fn id(&self) -> BlobId {
        self.id
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.store.lock();
        (state.faults)(Operation::Write)?;
        let Some(blob) = state.blobs.get_mut(&self.id) else { return Ok(()) };
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        blob.bytes.resize(blob.bytes.len().max(end), 0);
        blob.bytes[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn seal(self: Box<Self>) -> io::Result<()> {
        // The lock is let go before the writer is dropped.
        self.store.lock().seal(self.id)
    }
}

impl Drop for FaultyWriter {
    fn drop(&mut self) {
        let mut state = self.store.lock();
        // A sealed content is finished; an unfinished one goes with its writer.
        if state.blobs.get(&self.id).is_some_and(|blob| !blob.sealed)
            && let Some(blob) = state.blobs.remove(&self.id)
        {
            state.removed.insert(self.id, blob);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> FaultyStore {
        FaultyStore::new(1, |_| Ok(()))
    }

    fn write(store: &FaultyStore, bytes: &[u8]) -> Box<dyn BlobWriter> {
        let mut writer = store.create().expect("no fault");
        writer.write_at(0, bytes).expect("no fault");
        writer
    }

    #[test]
    fn a_crash_keeps_what_was_sealed_and_decides_on_the_rest() {
        for (fate, expected) in
            [(Fate::Lost, vec![0]), (Fate::Kept, vec![0, 1]), (Fate::Torn, vec![0, 1])]
        {
            let store = store();
            write(&store, b"sealed").seal().expect("no fault");
            let _unfinished = write(&store, b"half");
            let survivors = store.crash(|_| fate);
            let numbers: Vec<u64> = survivors.iter().map(|(id, _)| id.number()).collect();
            assert_eq!(numbers, expected);
            assert_eq!(survivors[0].1, b"sealed");
            if fate == Fate::Torn {
                assert_eq!(survivors[1].1, b"ha");
            }
        }
    }

    #[test]
    fn a_removal_is_not_durable() {
        let store = store();
        let writer = write(&store, b"x");
        let id = writer.id();
        writer.seal().expect("no fault");
        store.remove(id).expect("no fault");
        assert!(store.open(id).is_err() && store.is_empty());
        assert_eq!(store.crash(|_| Fate::Lost), [(id, b"x".to_vec())]);
    }

    #[test]
    fn a_failed_seal_removes_the_content() {
        let store = FaultyStore::new(1, |operation| match operation {
            Operation::Seal => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        });
        let error = write(&store, b"x").seal().expect_err("told to");
        assert_eq!((error.kind(), store.len()), (io::ErrorKind::StorageFull, 0));
    }
}
