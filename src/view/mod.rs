//! The view: the newest version of every file as a plain, read-only file that can be read without us.
//!
//! It is made off the hot path, by a thread that follows the catalog, and nothing ever reads it back. It keeps no state
//! of its own: an entry is right if its size and its time are those of the version, so at every start what is missing
//! or stale is found by looking. Whoever deletes the view gets it back with the next start.
//!
//! [`Mender`] makes single entries anew beside that thread. Two who show different versions of a file at the same time
//! agree in the end, because each looks again at what the catalog says after it has put an entry in its place.

mod folders;
mod mender;
mod signal;
mod tree;

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use coffer_protocol::name::escape;
use rustix::process::setpriority_process;
use rustix::thread::gettid;
use thiserror::Error;

use crate::catalog::{CatalogError, Reader, Standing, ViewRow};
use crate::limits::{
    FILE_WARNINGS_MAX, VIEW_LOOKS_MAX, VIEW_NICENESS, VIEW_RETRY_MAX, VIEW_RETRY_MIN,
};
use crate::storage::{BlobId, DataDir, open_blob};

pub use mender::{Mender, Seen};
pub use signal::ViewSignal;
pub use tree::{CHECK_STAGING, STAGING, is_shown};
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
        let follower = Follower::new(dir, reader, STAGING, Arc::clone(&signal));
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

/// Follows the catalog until it is stopped. Whoever waits for an answer comes first: the view only lags a little more
/// behind where both want the same core.
fn follow(mut follower: Follower) {
    if let Err(error) = setpriority_process(Some(gettid()), VIEW_NICENESS) {
        tracing::debug!(%error, "the view keeps the priority of all others");
    }
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
pub enum ShowError {
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The disk refused.
    #[error("{0}")]
    Disk(#[from] io::Error),
}

/// Makes one entry after the other, in the order in which versions came.
#[derive(Debug)]
struct Follower {
    dir: DataDir,
    reader: Reader,
    /// The folder of the view where entries are made.
    staging: &'static str,
    signal: Arc<ViewSignal>,
    /// Opened anew after failures: somebody may have deleted the folder.
    tree: Option<Tree>,
    /// The last row that was looked at.
    cursor: i64,
}

impl Follower {
    fn new(dir: DataDir, reader: Reader, staging: &'static str, signal: Arc<ViewSignal>) -> Self {
        Self { dir, reader, staging, signal, tree: None, cursor: 0 }
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
    }

    /// Makes the entry of a version if the view shows it and it is not there.
    fn show(&mut self, row: &ViewRow) -> Result<(), ShowError> {
        match row.standing {
            Standing::Shown if self.place(row, false)? => self.settle(row, Some(row.row)),
            Standing::Shown | Standing::Damaged => Ok(()),
            Standing::Older => self.publish(row).map(drop),
            Standing::Withdrawn => {
                self.tree()?.take_back(&row.folder, &row.path)?;
                self.settle(row, None)
            }
        }
    }

    /// Looks again at what the view should show of the file of `row` after the entry of version `made` was put in its
    /// place, or an entry was removed, until both agree: the file may have got another version, or lost one, and somebody
    /// else may have shown that first. Nothing of a client that is being removed stays.
    fn settle(&mut self, row: &ViewRow, mut made: Option<i64>) -> Result<(), ShowError> {
        for _ in 0..VIEW_LOOKS_MAX {
            let now = self.reader.shown(row.client, row.file)?;
            let wanted = now.as_ref().map(|now| now.row);
            if wanted == made {
                break;
            }
            match &now {
                Some(now) => drop(self.place(now, true)?),
                None => self.tree()?.take_back(&row.folder, &row.path)?,
            }
            made = wanted;
        }
        Ok(())
    }

    /// Makes the entry of a version if it is not there, or, with `anew`, in any case. True if it was made; false also if
    /// the version is gone.
    fn place(&mut self, row: &ViewRow, anew: bool) -> Result<bool, ShowError> {
        let entry = Entry::of(row);
        let Some(blob) = row.blob else {
            // Read only when needed: most entries of an old catalog are there.
            if (anew || !self.tree()?.shows(&entry)?)
                && let Some(content) = self.reader.small_content(row.row)?
            {
                self.tree()?.show_bytes(&entry, row.row, &content)?;
                return Ok(true);
            }
            return Ok(false);
        };
        let Some(file) = self.publish(row)? else { return Ok(false) };
        let tree = self.tree()?;
        let is_wanted = anew || !tree.shows(&entry)?;
        if !is_wanted {
            return Ok(false);
        }
        match tree.show_blob(&entry, row.row, blob, &file) {
            Err(error) if self.is_gone(blob, &error)? => Ok(false),
            made => Ok(made.map(|()| true)?),
        }
    }

    /// Makes the blob of a version, if it has one and was not pruned meanwhile, what an acknowledged one is.
    fn publish(&self, row: &ViewRow) -> Result<Option<File>, ShowError> {
        let Some(blob) = row.blob else { return Ok(None) };
        match open_blob(&self.dir.blobs(), blob) {
            Err(error) if self.is_gone(blob, &error)? => Ok(None),
            file => {
                let file = file?;
                tree::publish(&file, row.received_at)?;
                Ok(Some(file))
            }
        }
    }

    /// Whether this went wrong because the blob was pruned meanwhile, or its client removed.
    fn is_gone(&self, blob: BlobId, error: &io::Error) -> Result<bool, CatalogError> {
        Ok(error.kind() == io::ErrorKind::NotFound && self.reader.owner(blob)?.is_none())
    }

    fn tree(&mut self) -> io::Result<&mut Tree> {
        match &mut self.tree {
            Some(tree) => Ok(tree),
            none => Ok(none.insert(Tree::open(&self.dir, self.staging)?)),
        }
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
