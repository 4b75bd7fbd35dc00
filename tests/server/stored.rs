//! What a server has stored: the catalog's rows, the bytes behind them, and the view.

use std::fs;
use std::path::{Path, PathBuf};

use cofferd::catalog::{Content, Reader, VersionRow};
use cofferd::storage::DataDir;
use rusqlite::Connection;

use super::wait_for;

/// A data folder, looked at from outside; a server may be running on it.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    data: PathBuf,
}

/// One version of a file.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) row: VersionRow,
    pub(crate) content: Vec<u8>,
    /// Where the view shows the file.
    pub(crate) shown: PathBuf,
}

impl Store {
    pub(crate) fn new(data: &Path) -> Self {
        Self { data: data.into() }
    }

    fn dir(&self) -> DataDir {
        DataDir::existing(&self.data).expect("a data folder")
    }

    fn reader(&self) -> Reader {
        Reader::open(&self.dir().catalog()).expect("a catalog")
    }

    /// The names of all clients that have registered.
    pub(crate) fn clients(&self) -> Vec<String> {
        let (reader, mut names) = (self.reader(), Vec::<String>::new());
        loop {
            let after = names.last().map(String::as_str);
            let page = reader.clients_after(after).expect("the catalog is sound");
            if page.is_empty() {
                return names;
            }
            names.extend(page.into_iter().map(|row| row.name));
        }
    }

    /// The client's folder in the view.
    pub(crate) fn folder_of(&self, client: &str) -> PathBuf {
        let page = self.reader().clients_after(None).expect("the catalog is sound");
        let row = page.into_iter().find(|row| row.name == client);
        self.dir().files().join(row.expect("a registered client").folder)
    }

    /// The rows of all versions of a client's files, in the order of names and versions.
    pub(crate) fn rows(&self, client: &str) -> Vec<VersionRow> {
        let reader = self.reader();
        let Some(id) = reader.client_by_name(client).expect("the catalog is sound").map(|c| c.id)
        else {
            return vec![];
        };
        let mut rows = Vec::<VersionRow>::new();
        loop {
            let (file, version) =
                rows.last().map_or((&b""[..], 0), |row| (&row.file[..], row.version));
            let page = reader.versions_after(&id, file, version).expect("the catalog is sound");
            if page.is_empty() {
                return rows;
            }
            rows.extend(page);
        }
    }

    /// The bytes of a version; `None` for the newest one.
    pub(crate) fn content(
        &self,
        client: &str,
        file: &[u8],
        version: Option<u32>,
    ) -> Option<Vec<u8>> {
        let reader = self.reader();
        let id = reader.client_by_name(client).expect("the catalog is sound")?.id;
        let stored = reader.stored(&id, file, version).expect("the catalog is sound")?;
        let bytes = match stored.content {
            Content::Inline(bytes) => bytes,
            Content::Blob(blob) => {
                let path = self.dir().blobs().join(blob.path());
                fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
            }
        };
        assert_eq!(bytes.len() as u64, stored.size, "the catalog knows the size");
        Some(bytes)
    }

    /// Everything about all versions of a client's files.
    pub(crate) fn versions(&self, client: &str) -> Vec<Version> {
        let rows = self.rows(client);
        rows.into_iter()
            .map(|row| Version {
                content: self.content(client, &row.file, Some(row.version)).expect("a row's bytes"),
                shown: self.folder_of(client).join(&row.path),
                row,
            })
            .collect()
    }

    /// Waits until the view shows the newest version of every file of a client as it is.
    pub(crate) fn wait_for_view(&self, client: &str) {
        for version in self.versions(client).into_iter().filter(|version| version.row.is_newest) {
            let what = format!("{} in the view", version.shown.display());
            wait_for(&what, || (fs::read(&version.shown).ok()? == version.content).then_some(()));
        }
    }

    /// All plain files below the view, in no order.
    pub(crate) fn view_files(&self) -> Vec<PathBuf> {
        let (mut folders, mut files) = (vec![self.dir().files()], vec![]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("read"))
            {
                match entry.file_type().expect("its kind is known") {
                    kind if kind.is_dir() => folders.push(entry.path()),
                    kind if kind.is_file() => files.push(entry.path()),
                    kind => panic!("{}: {kind:?} in the view", entry.path().display()),
                }
            }
        }
        files
    }

    /// What SQLite says of the catalog when it looks at all of it: "ok".
    pub(crate) fn integrity(&self) -> String {
        let connection = Connection::open(self.dir().catalog()).expect("a catalog");
        let verdict = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0));
        verdict.expect("the catalog can be read")
    }

    /// How many plain files lie in the folder of contents.
    pub(crate) fn blob_count(&self) -> usize {
        let (mut folders, mut count) = (vec![self.dir().blobs()], 0);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("read"))
            {
                if entry.path().is_dir() { folders.push(entry.path()) } else { count += 1 }
            }
        }
        count
    }
}
