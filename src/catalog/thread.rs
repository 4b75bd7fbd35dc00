//! The thread that commits: group by group, whatever is queued.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{CatalogError, Change, Outcome, Writer};
use crate::limits::{CATALOG_BATCH_BYTES_MAX, CATALOG_BATCH_ROWS_MAX};
use crate::queue::Queue;

/// One change's tag and what became of it.
pub type Delivery<T> = (T, Result<Outcome, Arc<CatalogError>>);

/// Starts the thread that takes changes from `queue` and commits them with `writer`, as many at a time as wait, until
/// the queue is closed and empty. Every change is delivered with its tag, after its commit and in its order. After a
/// fatal error (see [`CatalogError::is_fatal`]) everything that still comes is delivered as failed.
///
/// # Errors
/// If the system has no thread left.
pub fn spawn<T: Send + 'static>(
    mut writer: Writer,
    queue: Arc<Queue<(T, Change)>>,
    mut deliver: impl FnMut(Vec<Delivery<T>>) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    Builder::new().name("catalog".to_owned()).spawn(move || {
        let mut waiting = Vec::new();
        while queue.take_all(CATALOG_BATCH_ROWS_MAX, &mut waiting) {
            while !waiting.is_empty() {
                let batch = split_batch(&mut waiting);
                deliver(commit(&mut writer, batch));
            }
        }
        writer.close();
    })
}

/// Takes the oldest changes whose contents stay within one transaction's bytes, at least one.
fn split_batch<T>(waiting: &mut Vec<(T, Change)>) -> Vec<(T, Change)> {
    let mut bytes = 0;
    let fits = waiting.iter().take_while(|(_, change)| {
        bytes += change.content_bytes();
        bytes <= CATALOG_BATCH_BYTES_MAX
    });
    let count = fits.count().max(1);
    let rest = waiting.split_off(count);
    std::mem::replace(waiting, rest)
}

fn commit<T>(writer: &mut Writer, batch: Vec<(T, Change)>) -> Vec<Delivery<T>> {
    let (tags, changes): (Vec<T>, Vec<Change>) = batch.into_iter().unzip();
    match writer.commit(&changes, now_ms()) {
        Ok(outcomes) => tags.into_iter().zip(outcomes.into_iter().map(Ok)).collect(),
        Err(error) => {
            tracing::error!(changes = changes.len(), %error, "the catalog could not store changes");
            let error = Arc::new(error);
            tags.into_iter().map(|tag| (tag, Err(Arc::clone(&error)))).collect()
        }
    }
}

/// Now, as the catalog dates things: milliseconds since 1970, UTC; 0 if the clock is before that.
#[must_use]
pub fn now_ms() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
}
