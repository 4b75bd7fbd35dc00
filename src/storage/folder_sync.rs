//! One sync of a folder for all who wait for it.

use std::fs::File;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard};

/// A folder in which files are created, and which must be durable itself.
///
/// A sync covers every file created before the sync *started*. So whoever comes while one is running waits for the
/// next one, and all who came in the meantime share that. The first sync also makes the folder's own name durable, by
/// syncing the folder above it.
///
/// A failed sync is final: the kernel reports a lost write once and then forgets it, so no later success of the same
/// folder can be believed.
#[derive(Debug)]
pub(super) struct FolderSync {
    folder: File,
    parent: File,
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Syncs that have been started; the last of them runs if `running`.
    started: u64,
    running: bool,
    /// The first failure, as the disk put it.
    failure: Option<(io::ErrorKind, String)>,
}

impl FolderSync {
    /// For an open `folder` and the open folder above it.
    pub(super) fn new(folder: File, parent: File) -> Self {
        Self { folder, parent, state: Mutex::default(), ended: Condvar::new() }
    }

    /// The folder itself.
    pub(super) fn folder(&self) -> &File {
        &self.folder
    }

    /// Returns once a sync of the folder has ended that started after this call.
    ///
    /// # Errors
    /// If that sync failed, or any before it.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.sync_with(|first| {
            if first {
                self.parent.sync_all()?;
            }
            self.folder.sync_all()
        })
    }

    fn sync_with(&self, run: impl FnOnce(bool) -> io::Result<()>) -> io::Result<()> {
        let mut state = self.lock();
        let mine = state.started + 1;
        while state.running && state.started <= mine {
            state = self.ended.wait(state).expect("no holder of this lock panics");
        }
        if state.started < mine && state.failure.is_none() {
            state.started = mine;
            state.running = true;
            drop(state);
            let result = run(mine == 1);
            state = self.lock();
            state.running = false;
            state.failure = result.err().map(|error| (error.kind(), error.to_string()));
            self.ended.notify_all();
        }
        match &state.failure {
            None => Ok(()),
            Some((kind, text)) => {
                Err(io::Error::new(*kind, format!("a folder of blobs could not be synced: {text}")))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc;
    use std::thread;

    fn folder() -> FolderSync {
        let open = || File::open(".").expect("the working directory");
        FolderSync::new(open(), open())
    }

    #[test]
    fn a_running_sync_does_not_cover_later_files_but_the_next_covers_all() {
        let sync = Arc::new(folder());
        let runs = Arc::new(AtomicU32::new(0));
        let (release, held) = mpsc::channel::<()>();
        let (started, running) = mpsc::channel::<()>();
        let first = thread::spawn({
            let (sync, runs) = (Arc::clone(&sync), Arc::clone(&runs));
            move || {
                sync.sync_with(|_| {
                    runs.fetch_add(1, Ordering::SeqCst);
                    started.send(()).expect("the test waits");
                    held.recv().expect("the test releases");
                    Ok(())
                })
            }
        });
        running.recv().expect("the first sync runs");
        let later: Vec<_> = (0..8)
            .map(|_| {
                let (sync, runs) = (Arc::clone(&sync), Arc::clone(&runs));
                thread::spawn(move || {
                    sync.sync_with(|_| {
                        runs.fetch_add(1, Ordering::SeqCst);
                        Ok(())
                    })
                })
            })
            .collect();
        // Give them time to queue up behind the running one.
        thread::sleep(std::time::Duration::from_millis(100));
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        release.send(()).expect("the first sync waits");
        for thread in later.into_iter().chain([first]) {
            thread.join().expect("no panic").expect("no failure");
        }
        assert_eq!(runs.load(Ordering::SeqCst), 2, "eight late comers share one sync");
    }

    #[test]
    fn a_failed_sync_is_final() {
        let sync = folder();
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(sync.sync_with(|_| Err(full())).expect_err("fails").kind(), full().kind());
        assert_eq!(sync.sync_with(|_| Ok(())).expect_err("not believed").kind(), full().kind());
    }

    #[test]
    fn the_parent_is_synced_once() {
        let sync = folder();
        for expected in [true, false, false] {
            sync.sync_with(|first| {
                assert_eq!(first, expected);
                Ok(())
            })
            .expect("no failure");
        }
    }
}
