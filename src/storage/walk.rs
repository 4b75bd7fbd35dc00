//! What lies in the folder of the contents. Names that are not ours are passed over and left alone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::BlobId;
use super::blob_id::parse_start;

/// All contents in the folder `blobs`, in the order of their ids. It holds the names of one folder at a time.
///
/// # Errors
/// The first item if `blobs` cannot be read, an item for each folder below it that cannot.
pub fn blobs_in_order(blobs: &Path) -> impl Iterator<Item = io::Result<BlobId>> + use<> {
    let folders = entries(blobs).flat_map(|start| below(start, entries));
    folders.flat_map(|folder| below(folder, blobs_of_folder))
}

/// The highest number of a start that has a folder in `blobs`, even an empty one; 0 if there is none.
///
/// # Errors
/// If `blobs` cannot be read.
pub fn newest_start(blobs: &Path) -> io::Result<u64> {
    entries(blobs)
        .try_fold(0, |newest, start| Ok(newest.max(parse_start(file_name(&start?)).unwrap_or(0))))
}

/// Removes the folders in `blobs` that hold nothing. What cannot be removed stays: it does no harm.
pub fn remove_empty_folders(blobs: &Path) {
    for start in entries(blobs).flatten() {
        for folder in entries(&start).flatten() {
            let _ = fs::remove_dir(folder);
        }
        let _ = fs::remove_dir(start);
    }
}

/// Whether there is any file below `path`, up to `depth` folders deep; folders alone do not count, nor do names that
/// begin with a dot.
///
/// # Errors
/// If a folder cannot be read.
pub fn holds_files(path: &Path, depth: u32) -> io::Result<bool> {
    for entry in entries(path) {
        let entry = entry?;
        if file_name(&entry).starts_with('.') {
            continue;
        }
        if !fs::symlink_metadata(&entry)?.is_dir() || (depth > 0 && holds_files(&entry, depth - 1)?)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn blobs_of_folder(folder: &Path) -> impl Iterator<Item = io::Result<BlobId>> + use<> {
    let above = folder.parent().unwrap_or(folder).to_owned();
    let folder = folder.to_owned();
    entries(&folder).filter_map(move |file| match file {
        Ok(file) => {
            BlobId::from_names(file_name(&above), file_name(&folder), file_name(&file)).map(Ok)
        }
        Err(error) => Some(Err(error)),
    })
}

/// The paths in a folder, sorted by name; nothing if it is no folder.
fn entries(folder: &Path) -> impl Iterator<Item = io::Result<PathBuf>> + use<> {
    let list = || -> io::Result<Vec<PathBuf>> {
        let mut paths =
            fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        paths.sort_unstable();
        Ok(paths)
    };
    match list() {
        Ok(paths) => paths.into_iter().map(Ok).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Vec::new(),
        Err(error) => {
            vec![Err(io::Error::new(error.kind(), format!("{}: {error}", folder.display())))]
        }
    }
    .into_iter()
}

/// What `list` finds in a folder, or the error with which the folder was found.
fn below<T, I>(
    folder: io::Result<PathBuf>,
    list: impl FnOnce(&Path) -> I,
) -> impl Iterator<Item = io::Result<T>>
where
    I: Iterator<Item = io::Result<T>>,
{
    let (found, error) = match folder {
        Ok(folder) => (Some(list(&folder)), None),
        Err(error) => (None, Some(Err(error))),
    };
    found.into_iter().flatten().chain(error)
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(blobs: &Path, path: &str) {
        let path = blobs.join(path);
        fs::create_dir_all(path.parent().expect("has a parent")).expect("a folder");
        fs::write(path, "x").expect("a file");
    }

    #[test]
    fn contents_come_in_order_and_strangers_do_not() {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let blobs = temp.path();
        assert_eq!((blobs_in_order(blobs).count(), newest_start(blobs).expect("readable")), (0, 0));
        for path in ["0000000a/00000000/0001", "00000002/00000001/0000", "00000002/00000000/0fff"] {
            put(blobs, path);
        }
        for path in ["README", "00000002/README", "00000002/00000000/README", "other/00000000/0000"]
        {
            put(blobs, path);
        }
        let found: Vec<_> = blobs_in_order(blobs).collect::<io::Result<_>>().expect("readable");
        assert_eq!(found, [BlobId::new(2, 4095), BlobId::new(2, 4096), BlobId::new(10, 1)]);
        assert_eq!(newest_start(blobs).expect("readable"), 10);
    }

    #[test]
    fn only_empty_folders_are_removed() {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let blobs = temp.path();
        fs::create_dir_all(blobs.join("00000001/00000000")).expect("folders");
        fs::create_dir_all(blobs.join("00000002/00000000")).expect("folders");
        assert!(!holds_files(blobs, 2).expect("readable"));
        put(blobs, "00000002/00000001/0000");
        assert!(holds_files(blobs, 2).expect("readable"));
        remove_empty_folders(blobs);
        assert!(!blobs.join("00000001").exists());
        assert!(!blobs.join("00000002/00000000").exists());
        assert!(blobs.join("00000002/00000001/0000").exists());
    }
}
