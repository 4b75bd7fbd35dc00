//! The view: the newest version of every file as a plain, read-only file that can be read without us.
//!
//! It is made off the hot path, by a thread that follows the catalog, and nothing ever reads it back. It keeps no state
//! of its own: an entry is right if its size and its time are those of the version, so at every start what is missing
//! or stale is found by looking. Whoever deletes the view gets it back with the next start.

mod signal;
mod tree;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use coffer_protocol::name::escape;
use thiserror::Error;

use crate::catalog::{CatalogError, Reader, ViewRow};
use crate::limits::{FILE_WARNINGS_MAX, VIEW_RETRY_MAX, VIEW_RETRY_MIN};
use crate::storage::{DataDir, open_blob};

pub use signal::ViewSignal;
pub use tree::is_shown;
use tree::{Entry, Tree};

/// The thread that makes the view.
#[derive(Debug)]
pub struct View {
    signal: Arc<ViewSignal>,
    thread: JoinHandle<()>,
}

impl View {
    /// Starts the thread. It first looks at all that is stored, then at what [`ViewSignal::wake`] announces.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn spawn(dir: DataDir, reader: Reader) -> io::Result<Self> {
        let signal = Arc::new(ViewSignal::default());
        let follower = Follower::new(dir, reader, Arc::clone(&signal));
        let thread = Builder::new().name("view".to_owned()).spawn(move || follow(follower))?;
        Ok(Self { signal, thread })
    }

    /// What to wake it with after commits.
    #[must_use]
    pub fn signal(&self) -> Arc<ViewSignal> {
        Arc::clone(&self.signal)
    }

    /// Stops the thread after the entry that it is making. What is missing then is made after the next start.
    pub fn stop(self) {
        self.signal.stop();
        if self.thread.join().is_err() {
            tracing::error!("the thread of the view had panicked");
        }
    }
}

/// Follows the catalog until it is stopped.
fn follow(mut follower: Follower) {
    let mut pause = VIEW_RETRY_MIN;
    let mut retry: Option<Retry> = None;
    loop {
        match (follower.catch_up(), &mut retry) {
            (Some(failed), Some(retry)) => retry.after = retry.after.min(failed - 1),
            (Some(failed), None) => {
                retry = Some(Retry { after: failed - 1, at: Instant::now() + pause });
                pause = (pause * 2).min(VIEW_RETRY_MAX);
            }
            (None, Some(_)) => {}
            (None, None) => pause = VIEW_RETRY_MIN,
        }
        if !follower
            .signal
            .wait(retry.map(|retry| retry.at.saturating_duration_since(Instant::now())))
        {
            return;
        }
        if let Some(due) = retry.take_if(|retry| retry.at <= Instant::now()) {
            follower.start_over_after(due.after);
        }
    }
}

/// When to look again at all versions after which row, because at least one failed.
#[derive(Debug, Clone, Copy)]
struct Retry {
    after: i64,
    at: Instant,
}

/// Why a version could not be shown.
#[derive(Debug, Error)]
enum ShowError {
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error("{0}")]
    Disk(#[from] io::Error),
}

/// Makes one entry after the other, in the order in which versions came.
#[derive(Debug)]
struct Follower {
    dir: DataDir,
    reader: Reader,
    signal: Arc<ViewSignal>,
    /// Opened anew after failures: somebody may have deleted the folder.
    tree: Option<Tree>,
    /// The last row that was looked at.
    cursor: i64,
}

impl Follower {
    fn new(dir: DataDir, reader: Reader, signal: Arc<ViewSignal>) -> Self {
        Self { dir, reader, signal, tree: None, cursor: 0 }
    }

    fn start_over_after(&mut self, row: i64) {
        self.cursor = row;
        self.tree = None;
    }

    /// Looks at every version after the cursor. Returns the first row that failed, if any did; the others are done.
    fn catch_up(&mut self) -> Option<i64> {
        let mut failures = Failures::default();
        while !self.signal.is_stopped() {
            let page = match self.reader.view_after(self.cursor) {
                Ok(page) => page,
                Err(error) => {
                    failures.add(self.cursor + 1, "the catalog", &error.into());
                    break;
                }
            };
            let Some(last) = page.last().map(|row| row.row) else { break };
            self.show_page(&page, &mut failures);
            self.cursor = last;
        }
        failures.finish()
    }

    fn show_page(&mut self, page: &[ViewRow], failures: &mut Failures) {
        for row in page {
            if self.signal.is_stopped() {
                return;
            }
            if let Err(error) = self.show(row) {
                failures.add(row.row, &format!("{}/{}", row.folder, row.path), &error);
            }
        }
        if let Err(error) = self.take_back_removed(page) {
            failures.add(page[0].row, "removed clients", &error);
        }
    }

    fn show(&mut self, row: &ViewRow) -> Result<(), ShowError> {
        let entry = Entry {
            folder: &row.folder,
            path: &row.path,
            size: row.size,
            received_at: row.received_at,
        };
        let tree = match &mut self.tree {
            Some(tree) => tree,
            none => none.insert(Tree::open(&self.dir)?),
        };
        let Some(blob) = row.blob else {
            // Read only when needed: most entries of an old catalog are there.
            if row.is_newest
                && !tree.shows(&entry)?
                && let Some(content) = self.reader.small_content(row.row)?
            {
                tree.show_bytes(&entry, row.row, &content)?;
            }
            return Ok(());
        };
        let file = match open_blob(&self.dir.blobs(), blob) {
            // Pruned in the meantime.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && self.reader.owner(blob)?.is_none() =>
            {
                return Ok(());
            }
            file => file?,
        };
        tree::publish(&file, row.received_at)?;
        if row.is_newest && !tree.shows(&entry)? {
            tree.show_blob(&entry, row.row, blob, &file)?;
        }
        Ok(())
    }

    /// Removes the entries of clients that somebody began to remove while the page was shown. Whoever begins later
    /// finds the entries in place and removes them himself.
    fn take_back_removed(&self, page: &[ViewRow]) -> Result<(), ShowError> {
        let mut is_there = HashMap::new();
        for row in page.iter().filter(|row| row.is_newest) {
            let there = match is_there.get(&row.client) {
                Some(there) => *there,
                None => *is_there.entry(row.client).or_insert(self.reader.has_client(row.client)?),
            };
            if !there && let Some(tree) = &self.tree {
                tree.take_back(&row.folder, &row.path)?;
            }
        }
        Ok(())
    }
}

/// What failed in one go: the first ones are logged, all are counted.
#[derive(Debug, Default)]
struct Failures {
    count: usize,
    first: Option<i64>,
}

impl Failures {
    fn add(&mut self, row: i64, path: &str, error: &ShowError) {
        self.count += 1;
        self.first.get_or_insert(row);
        if self.count <= FILE_WARNINGS_MAX {
            let path = escape(path.as_bytes());
            tracing::warn!(%path, %error, "the view cannot show a file now; its content is safe, and it is tried again");
        }
    }

    fn finish(self) -> Option<i64> {
        if self.count > FILE_WARNINGS_MAX {
            tracing::warn!(files = self.count, "the view cannot show many files now");
        }
        self.first
    }
}

#[cfg(test)]
mod tests;
