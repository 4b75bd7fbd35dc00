//! Looks for what stands in the view and belongs to no file of any client.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use super::{Outcome, Scrub, ScrubError, Wrong, failed_at};
use crate::catalog::CatalogError;
use crate::limits::SCRUB_SECOND_LOOK;
use crate::storage::view_name::fold_key;
use crate::view::{CHECK_STAGING, STAGING};

/// What the view's own folder may hold besides the folders of clients: where entries are made, and what every file
/// system of its own has.
const NO_CLIENTS: [&str; 3] = [STAGING, CHECK_STAGING, "lost+found"];

impl Scrub<'_> {
    /// Looks at everything in the view, and again, after a moment, at what seems to be nobody's.
    pub(super) fn check_strangers(&mut self) -> Result<(), ScrubError> {
        let suspects = self.suspects()?;
        if suspects.is_empty() {
            return Ok(());
        }
        thread::sleep(SCRUB_SECOND_LOOK);
        for (number, path) in suspects.into_iter().enumerate() {
            if self.is_stranger(&path)? {
                self.stranger(path, number)?;
            }
        }
        Ok(())
    }

    /// Everything in the view that seems to be nobody's, by its path below `files`.
    pub(super) fn suspects(&self) -> Result<Vec<PathBuf>, ScrubError> {
        let mut suspects = Vec::new();
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            for (path, is_folder) in self.entries(&folder)? {
                match self.is_ours(&path, is_folder)? {
                    false => suspects.push(path),
                    true if is_folder => folders.push(path),
                    true => {}
                }
            }
        }
        Ok(suspects)
    }

    /// Whether a suspect is nobody's at a second look, too.
    pub(super) fn is_stranger(&self, path: &Path) -> Result<bool, CatalogError> {
        let stat = || fs::symlink_metadata(self.dir.files().join(path)).ok();
        let Some(there) = stat() else { return Ok(false) };
        // The catalog before the disk: what it has forgotten is gone from the view by then.
        Ok(!self.is_ours(path, there.is_dir())? && stat().is_some())
    }

    fn stranger(&mut self, path: PathBuf, number: usize) -> Result<(), ScrubError> {
        let outcome = match self.repair {
            false => Outcome::Found,
            true => {
                let name = format!("view-{}-extra-{number}", self.now_ms);
                match self.mender.set_aside(&path, &name) {
                    Ok(_) => Outcome::Mended,
                    Err(error) => Outcome::Failed(format!("it cannot be moved to lost/: {error}")),
                }
            }
        };
        self.found(Wrong::Stranger(Path::new("files").join(path)), outcome)
    }

    /// What a folder of the view holds, with whether each is a folder; paths are below `files`. Nothing if it is gone.
    fn entries(&self, folder: &Path) -> Result<Vec<(PathBuf, bool)>, ScrubError> {
        let full = self.dir.files().join(folder);
        let list = || -> io::Result<Vec<(PathBuf, bool)>> {
            let entries = fs::read_dir(&full)?.map(|entry| {
                let entry = entry?;
                Ok((folder.join(entry.file_name()), entry.file_type()?.is_dir()))
            });
            let is_client = |path: &Path| {
                !folder.as_os_str().is_empty()
                    || !NO_CLIENTS.iter().any(|name| path == Path::new(name))
            };
            entries
                .filter(|entry| entry.as_ref().map_or(true, |(path, _)| is_client(path)))
                .collect()
        };
        match list() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            entries => entries.map_err(failed_at(&full)),
        }
    }

    /// Whether what stands at `path` is an entry, or a folder that entries need, spelled as the catalog has it. Whether a
    /// file is the right one is another question.
    fn is_ours(&self, path: &Path, is_folder: bool) -> Result<bool, CatalogError> {
        let Some(names) = path.iter().map(OsStr::to_str).collect::<Option<Vec<_>>>() else {
            return Ok(false);
        };
        let Some((client, below)) = names.split_first() else { return Ok(false) };
        let Some(client) = self.reader.client_of_folder(client)? else { return Ok(false) };
        let Some(name) = below.last() else { return Ok(is_folder) };
        let key = below.iter().map(|name| fold_key(name)).collect::<Vec<_>>().join("/");
        let node = self.reader.view_node(client, &key)?;
        Ok(node.is_some_and(|(spelling, is_file)| spelling == *name && is_file != is_folder))
    }
}
