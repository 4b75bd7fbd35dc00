//! Compares the contents on disk with those that the catalog refers to, and sets aside what nobody knows.

use std::fs;
use std::io;
use std::iter;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use coffer_protocol::name::escape;

use super::{Options, RecoveryError, Report};
use crate::catalog::Reader;
use crate::limits::{FILE_WARNINGS_MAX, ORPHAN_PERCENT_MAX};
use crate::storage::{BlobId, DataDir, blobs_in_order, sync_folder};

/// Any write permission: a content that was published has none.
const WRITABLE: u32 = 0o222;

/// A content that no row refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Orphan {
    pub(crate) id: BlobId,
    pub(crate) bytes: u64,
    /// Whether it was acknowledged once; otherwise it is what a crash left.
    pub(crate) is_published: bool,
}

/// Sets aside the contents of earlier starts that the catalog, which knows starts up to `known_start`, does not refer
/// to. Logs the versions whose contents are not there. Adds what it found to the report.
pub(super) fn sweep(
    dir: &DataDir,
    reader: &Reader,
    known_start: u64,
    options: Options,
    report: &mut Report,
) -> Result<(), RecoveryError> {
    let mut orphans = Vec::new();
    let files =
        blobs_in_order(&dir.blobs()).map(|id| id.map_err(|error| failed_at(dir.blobs(), error)));
    compare(rows_in_order(reader), files, |found| {
        match found {
            Found::Stored(bytes) => {
                report.blobs += 1;
                report.bytes += bytes;
            }
            Found::Orphan(id) => orphans.push(look_at(dir, id)?),
            Found::Missing(id) => {
                report.missing += 1;
                log_missing(reader, id, report.missing)?;
            }
        }
        Ok(())
    })?;
    if !options.set_aside_orphans {
        judge(&orphans, report.bytes, known_start, &dir.blobs())?;
    }
    set_aside(dir, &orphans)?;
    report.set_aside = orphans.len() as u64;
    report.set_aside_bytes = total_bytes(&orphans);
    Ok(())
}

/// What stands in the catalog, on the disk, or in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// In both; its bytes.
    Stored(u64),
    /// Only on the disk.
    Orphan(BlobId),
    /// Only in the catalog.
    Missing(BlobId),
}

/// Merges two sequences that are in the order of ids.
pub(crate) fn compare(
    mut rows: impl Iterator<Item = Result<(BlobId, u64), RecoveryError>>,
    mut files: impl Iterator<Item = Result<BlobId, RecoveryError>>,
    mut each: impl FnMut(Found) -> Result<(), RecoveryError>,
) -> Result<(), RecoveryError> {
    let mut row = rows.next().transpose()?;
    let mut file = files.next().transpose()?;
    loop {
        let found = match (row, file) {
            (None, None) => return Ok(()),
            (Some((row, bytes)), Some(file)) if row == file => Found::Stored(bytes),
            (Some((row, _)), None) => Found::Missing(row),
            (Some((row, _)), Some(file)) if row < file => Found::Missing(row),
            (_, Some(file)) => Found::Orphan(file),
        };
        each(found)?;
        if !matches!(found, Found::Orphan(_)) {
            row = rows.next().transpose()?;
        }
        if !matches!(found, Found::Missing(_)) {
            file = files.next().transpose()?;
        }
    }
}

/// The contents that rows refer to, with their bytes, page by page.
pub(crate) fn rows_in_order(
    reader: &Reader,
) -> impl Iterator<Item = Result<(BlobId, u64), RecoveryError>> {
    let mut last = None;
    let next_page = move || {
        let page = reader.blobs_after(last).map_err(RecoveryError::Catalog);
        last = page.as_ref().ok().and_then(|page| page.last()).map(|&(id, _)| id).or(last);
        match page {
            Ok(page) if page.is_empty() => None,
            Ok(page) => Some(page.into_iter().map(Ok).collect::<Vec<_>>()),
            Err(error) => Some(vec![Err(error)]),
        }
    };
    iter::from_fn(next_page).flatten()
}

/// Decides whether `orphans` may be set aside without asking. Leftovers of crashes may; what was acknowledged once may
/// only if it is next to nothing, and of starts that the catalog knows.
pub(crate) fn judge(
    orphans: &[Orphan],
    stored_bytes: u64,
    known_start: u64,
    blobs: &Path,
) -> Result<(), RecoveryError> {
    let published: Vec<Orphan> =
        orphans.iter().copied().filter(|orphan| orphan.is_published).collect();
    let bytes = total_bytes(&published);
    let total = stored_bytes + total_bytes(orphans);
    let is_older = published.iter().any(|orphan| orphan.id.start() > known_start);
    if !is_older && u128::from(bytes) * 100 <= u128::from(total) * u128::from(ORPHAN_PERCENT_MAX) {
        return Ok(());
    }
    let path = blobs.to_owned();
    Err(RecoveryError::Orphans { path, blobs: published.len() as u64, bytes, total_bytes: total })
}

fn total_bytes(orphans: &[Orphan]) -> u64 {
    orphans.iter().map(|orphan| orphan.bytes).sum()
}

/// Looks at a content that no row refers to.
pub(crate) fn look_at(dir: &DataDir, id: BlobId) -> Result<Orphan, RecoveryError> {
    let path = dir.blobs().join(id.path());
    let metadata = fs::symlink_metadata(&path).map_err(|error| failed_at(path, error))?;
    Ok(Orphan { id, bytes: metadata.len(), is_published: metadata.mode() & WRITABLE == 0 })
}

/// Moves contents to `lost`, durably.
pub(crate) fn set_aside(dir: &DataDir, orphans: &[Orphan]) -> Result<(), RecoveryError> {
    for orphan in orphans {
        let target = free_name(&dir.lost(), orphan.id);
        let moved = fs::rename(dir.blobs().join(orphan.id.path()), &target);
        moved.map_err(|error| failed_at(target, error))?;
    }
    if orphans.is_empty() {
        return Ok(());
    }
    sync_folder(&dir.lost()).map_err(|error| failed_at(dir.lost(), error))
}

/// Where in `lost` a content may go. It may be there already: of a file that is moved between two folders, a power loss
/// can leave both names.
fn free_name(lost: &Path, id: BlobId) -> PathBuf {
    let mut path = lost.join(id.to_string());
    let mut copy = 1_u64;
    while fs::symlink_metadata(&path).is_ok() {
        copy += 1;
        path = lost.join(format!("{id}~{copy}"));
    }
    path
}

/// Logs the version that lost its content, unless `count` of them were more than a log should hold.
fn log_missing(reader: &Reader, id: BlobId, count: u64) -> Result<(), RecoveryError> {
    if count > FILE_WARNINGS_MAX as u64 {
        return Ok(());
    }
    if let Some((client, file, version)) = reader.owner(id).map_err(RecoveryError::Catalog)? {
        let (client, file) = (escape(client.as_bytes()), escape(&file));
        tracing::error!(%client, %file, version, blob = %id, "the content of a stored version is missing: restore it from a backup");
    }
    Ok(())
}

fn failed_at(path: PathBuf, error: io::Error) -> RecoveryError {
    RecoveryError::Io { path, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> BlobId {
        BlobId::new(3, number)
    }

    #[test]
    fn both_sequences_are_followed_to_their_ends() {
        for (rows, files) in [
            (vec![1, 2, 4, 9], vec![0, 2, 3, 4]),
            (vec![], vec![5]),
            (vec![5], vec![]),
            (vec![], vec![]),
        ] {
            let mut expected: Vec<(u64, Found)> = Vec::new();
            for n in 0..10 {
                match (rows.contains(&n), files.contains(&n)) {
                    (true, true) => expected.push((n, Found::Stored(n))),
                    (true, false) => expected.push((n, Found::Missing(id(n)))),
                    (false, true) => expected.push((n, Found::Orphan(id(n)))),
                    (false, false) => {}
                }
            }
            let mut found = Vec::new();
            let rows = rows.iter().map(|&n| Ok((id(n), n)));
            compare(rows, files.iter().map(|&n| Ok(id(n))), |one| {
                found.push(one);
                Ok(())
            })
            .expect("no errors");
            assert_eq!(found, expected.into_iter().map(|(_, found)| found).collect::<Vec<_>>());
        }
    }

    #[test]
    fn only_what_was_acknowledged_counts() {
        let orphan =
            |start, bytes, is_published| Orphan { id: BlobId::new(start, 0), bytes, is_published };
        let judge = |orphans: &[Orphan], stored| judge(orphans, stored, 3, Path::new("blobs"));
        judge(&[], 0).expect("nothing to set aside");
        judge(&[orphan(3, 500, false), orphan(4, 500, false)], 0).expect("leftovers of crashes");
        judge(&[orphan(3, 10, true)], 990).expect("one percent");
        judge(&[orphan(3, 11, true)], 990).expect_err("more than one percent");
        let error = judge(&[orphan(4, 1, true), orphan(3, 7, false)], 10_000)
            .expect_err("an older catalog");
        assert!(error.to_string().contains("1 blobs (1 of 10008 bytes)"), "{error}");
    }
}
