//! Freeing what the catalog has let go of: the contents of removed versions, the folders of removed clients.
//!
//! The catalog lets go first. Whatever is interrupted here is finished by the next command or start.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::catalog::{CatalogError, Doomed, LetGo, Retention, RetiredClient};
use crate::storage::{BlobId, DataDir, remove_blob, sync_folder};

/// How often a folder of the view is removed anew because the view was still writing into it.
const REMOVE_TRIES: u32 = 5;

/// Why something could not be freed.
#[derive(Debug, Error)]
pub enum FreeError {
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The disk refused.
    #[error("cannot remove {}: {error}; what is left is removed at the next start", .path.display())]
    Io {
        /// What was to go.
        path: PathBuf,
        /// What the disk said.
        error: io::Error,
    },
}

/// Removes every doomed content that, at a second look, no version refers to. Returns how many are gone.
///
/// One that cannot be removed stays doomed and is logged. Readers that have opened a content can go on reading it.
///
/// # Errors
/// If the catalog fails, or the removals cannot be made durable; they are repeated at the next start then.
pub fn free_doomed(dir: &DataDir, retention: &mut Retention) -> Result<u64, FreeError> {
    let mut freed = 0;
    let mut last = None;
    loop {
        let page = retention.doomed_after(last)?;
        let Some(end) = page.last() else { return Ok(freed) };
        last = Some(end.blob);
        let (needed, unneeded): (Vec<Doomed>, Vec<Doomed>) =
            page.into_iter().partition(|doomed| doomed.is_needed);
        let removed: Vec<_> =
            unneeded.iter().map(|doomed| doomed.blob).filter(|&blob| unlink(dir, blob)).collect();
        // Durable before it is forgotten: a content that came back would look like one that the catalog lost.
        sync_folders_of(dir, &removed)?;
        freed += removed.len() as u64;
        retention.settle(&removed)?;
        for Doomed { blob, .. } in &needed {
            tracing::error!(%blob, "a content that was to be removed is still needed: it stays");
        }
        retention.settle(&needed.iter().map(|doomed| doomed.blob).collect::<Vec<_>>())?;
    }
}

/// Finishes the removal of every client whose removal was begun: its versions, its folder in the view, its row.
/// Returns how many clients and what of theirs are gone. Their contents are doomed, see [`free_doomed`].
///
/// # Errors
/// If the catalog fails or the folder cannot be removed; the next start goes on from there.
pub fn remove_retired(dir: &DataDir, retention: &mut Retention) -> Result<(u64, LetGo), FreeError> {
    let mut clients = 0;
    let mut gone = LetGo::default();
    while let Some(client) = retention.retired_client()? {
        loop {
            let step = retention.drop_versions(&client)?;
            if step == LetGo::default() {
                break;
            }
            gone.versions += step.versions;
            gone.bytes += step.bytes;
        }
        remove_view_folder(dir, &client)?;
        retention.forget_client(&client)?;
        clients += 1;
    }
    Ok((clients, gone))
}

fn unlink(dir: &DataDir, blob: BlobId) -> bool {
    let removed = remove_blob(&dir.blobs(), blob);
    if let Err(error) = &removed {
        tracing::warn!(%blob, %error, "a content cannot be removed now; the next start tries again");
    }
    removed.is_ok()
}

fn sync_folders_of(dir: &DataDir, blobs: &[BlobId]) -> Result<(), FreeError> {
    let paths = blobs.iter().map(|blob| dir.blobs().join(blob.path()));
    let folders: BTreeSet<PathBuf> =
        paths.filter_map(|path| path.parent().map(Into::into)).collect();
    for path in folders {
        match sync_folder(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(FreeError::Io { path, error });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Removes the client's folder from the view. The view of a running server adds nothing to it any more, but for one
/// file that it may just be making.
fn remove_view_folder(dir: &DataDir, client: &RetiredClient) -> Result<(), FreeError> {
    let path = dir.files().join(&client.folder);
    let mut tries = 0;
    loop {
        tries += 1;
        match fs::remove_dir_all(&path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if tries >= REMOVE_TRIES => return Err(FreeError::Io { path, error }),
            Err(_) => {}
        }
    }
}
