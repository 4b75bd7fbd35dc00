//! Contents as files on a local disk.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};

use super::blob_id::{BLOBS_PER_FOLDER, folder_name, start_name};
use super::folder_sync::FolderSync;
use super::group_sync::{self, GroupSync};
use super::{BlobId, BlobReader, BlobStore, BlobWriter, Reserved, Room};

/// Contents below the folder `blobs` of a data folder, created under the number of one start of the server.
///
/// A file is created with mode 0600; whoever publishes it makes it 0444. So a content that no catalog row refers to
/// is a crash's leftover if it has 0600, and was acknowledged once if it has 0444.
#[derive(Debug)]
pub struct DiskStore {
    blobs: PathBuf,
    start: u64,
    next: Arc<Mutex<Next>>,
    room: Option<Arc<Room>>,
}

/// Where the next content goes.
#[derive(Debug, Default)]
struct Next {
    number: u64,
    /// The folder of the content created last.
    folder: Option<(u64, Arc<FolderSync>)>,
}

impl DiskStore {
    /// A store in the folder `blobs` that creates its contents as those of start `start`, which was never used
    /// before. It touches the disk only when the first content is created.
    #[must_use]
    pub fn new(blobs: PathBuf, start: u64) -> Self {
        Self { blobs, start, next: Arc::default(), room: None }
    }

    /// Takes contents only as long as `room` has enough for them.
    #[must_use]
    pub fn within(self, room: Room) -> Self {
        Self { room: Some(Arc::new(room)), ..self }
    }

    /// The id for a new content and the folder it goes into.
    fn place(&self) -> io::Result<(BlobId, Arc<FolderSync>)> {
        let mut next = self.next.lock().expect("no holder of this lock panics");
        let id = BlobId::new(self.start, next.number);
        let folder = match &next.folder {
            Some((number, folder)) if *number == id.folder() => Arc::clone(folder),
            _ => {
                let folder = Arc::new(self.make_folder(id)?);
                next.folder = Some((id.folder(), Arc::clone(&folder)));
                folder
            }
        };
        next.number += 1;
        Ok((id, folder))
    }

    fn make_folder(&self, id: BlobId) -> io::Result<FolderSync> {
        let start = self.blobs.join(start_name(self.start));
        if make_private_folder(&start)?
            && let Err(error) = sync_folder(&self.blobs)
        {
            // The next attempt has to make it anew: it would take a folder that is there for durable.
            fs::remove_dir(&start)?;
            return Err(error);
        }
        let folder = start.join(folder_name(id.folder()));
        make_private_folder(&folder)?;
        Ok(FolderSync::new(File::open(&folder)?, File::open(&start)?))
    }
}

/// A folder whose sync failed cannot be trusted any more: what comes now goes into the one after it.
fn leave_folder(next: &Mutex<Next>, failed: u64) {
    let mut next = next.lock().expect("no holder of this lock panics");
    next.number = next.number.max((failed + 1) * BLOBS_PER_FOLDER);
}

/// Makes a folder that is this server's own; false if it was there.
fn make_private_folder(path: &Path) -> io::Result<bool> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

impl DiskStore {
    fn begin(&self) -> io::Result<DiskWriter> {
        let (id, folder) = self.place()?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file =
            File::from(openat(folder.folder(), id.file_name(), flags, Mode::RUSR | Mode::WUSR)?);
        let name = Name { next: Arc::clone(&self.next), id, folder, sealed: false };
        Ok(DiskWriter { file, name })
    }

    fn write(&self, bytes: &[u8]) -> io::Result<DiskWriter> {
        let mut writer = self.begin()?;
        writer.write_at(0, bytes)?;
        Ok(writer)
    }

    fn store_group(&self, contents: &[Vec<u8>]) -> Vec<io::Result<BlobId>> {
        let group = GroupSync::begin(&self.blobs);
        // The files are closed again at once, so that a group needs no more of them than a single content.
        let write = |bytes: &Vec<u8>| self.write(bytes).map(|writer| writer.name);
        let names: Vec<io::Result<Name>> = contents.iter().map(write).collect();
        let synced = group.and_then(GroupSync::end);
        let seal = |mut name: Name| match &synced {
            Ok(()) => Ok(name.keep()),
            Err(error) => Err(name.leave(error)),
        };
        names.into_iter().map(|name| name.and_then(seal)).collect()
    }
}

impl BlobStore for DiskStore {
    fn reserve(&self, bytes: u64) -> io::Result<Reserved> {
        self.room.as_ref().map_or_else(|| Ok(Reserved::default()), |room| room.reserve(bytes))
    }

    fn create(&self) -> io::Result<Box<dyn BlobWriter>> {
        Ok(Box::new(self.begin()?))
    }

    fn store(&self, contents: &[Vec<u8>]) -> Vec<io::Result<BlobId>> {
        if contents.len() > 1 && group_sync::is_reliable() {
            return self.store_group(contents);
        }
        contents.iter().map(|bytes| self.write(bytes)?.sync()).collect()
    }

    fn open(&self, id: BlobId) -> io::Result<Box<dyn BlobReader>> {
        Ok(Box::new(open_blob(&self.blobs, id)?))
    }

    fn remove(&self, id: BlobId) -> io::Result<()> {
        remove_blob(&self.blobs, id)
    }
}

struct DiskWriter {
    file: File,
    name: Name,
}

/// The name of a content that was created. Dropped before the content is kept, it removes it.
struct Name {
    next: Arc<Mutex<Next>>,
    id: BlobId,
    folder: Arc<FolderSync>,
    sealed: bool,
}

impl DiskWriter {
    fn sync(mut self) -> io::Result<BlobId> {
        self.file.sync_all()?;
        self.name.folder.sync().map_err(|error| self.name.leave(&error))?;
        Ok(self.name.keep())
    }
}

impl BlobWriter for DiskWriter {
    fn id(&self) -> BlobId {
        self.name.id
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn seal(self: Box<Self>) -> io::Result<()> {
        self.sync().map(drop)
    }
}

impl Name {
    /// It is durable, and so is the content.
    fn keep(&mut self) -> BlobId {
        self.sealed = true;
        self.id
    }

    /// It may not be durable, and whatever comes now goes into another folder.
    fn leave(&self, error: &io::Error) -> io::Error {
        leave_folder(&self.next, self.id.folder());
        io::Error::new(error.kind(), format!("a blob could not be synced: {error}"))
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if self.sealed {
            return;
        }
        if let Err(error) = unlinkat(self.folder.folder(), self.id.file_name(), AtFlags::empty()) {
            tracing::warn!(blob = %self.id, %error, "an unfinished blob stays until the next start sets it aside");
        }
    }
}

/// Opens content `id` in the folder `blobs` for reading.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] if there is no such content, and whatever else the disk says.
pub fn open_blob(blobs: &Path, id: BlobId) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(blobs.join(id.path()), flags, Mode::empty())?))
}

/// Removes content `id` from the folder `blobs`. That it is gone already is no error.
///
/// # Errors
/// Whatever the disk says; the content may still be there.
pub fn remove_blob(blobs: &Path, id: BlobId) -> io::Result<()> {
    match fs::remove_file(blobs.join(id.path())) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes the names in the folder at `path` durable.
///
/// # Errors
/// Whatever the disk says.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;
    use std::thread;

    fn store() -> (tempfile::TempDir, Arc<DiskStore>) {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let store = Arc::new(DiskStore::new(temp.path().to_owned(), 7));
        (temp, store)
    }

    #[test]
    fn what_was_sealed_can_be_read_and_removed() {
        let (temp, store) = store();
        let mut writer = store.create().expect("room");
        writer.write_at(3, b"def").expect("room");
        writer.write_at(0, b"abc").expect("room");
        let id = writer.id();
        writer.seal().expect("a working disk");
        let mut content = String::new();
        store.open(id).expect("sealed").read_to_string(&mut content).expect("readable");
        assert_eq!(content, "abcdef");
        let mode = fs::metadata(temp.path().join("00000007/00000000/0000"))
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o600);
        store.remove(id).expect("there");
        store.remove(id).expect("being gone is no error");
        let error = store.open(id).map(drop).expect_err("removed");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_group_is_stored_in_its_order_like_single_contents() {
        let (temp, store) = store();
        let contents: Vec<Vec<u8>> = (0..3_u8).map(|n| vec![n; usize::from(n) * 1000]).collect();
        for group in [&contents[..], &contents[..1], &[]] {
            let stored = store.store(group);
            assert_eq!(stored.len(), group.len());
            for (content, id) in group.iter().zip(stored) {
                let path = temp.path().join(id.expect("a working disk").path());
                assert_eq!(&fs::read(path).expect("there"), content);
            }
        }
    }

    #[test]
    fn a_group_that_cannot_be_synced_leaves_nothing() {
        let (temp, store) = store();
        let contents = [vec![1], vec![2]];
        let folder = store.place().expect("room").1;
        // Nothing that is opened by its path is there any more, what is open still works.
        fs::rename(temp.path(), temp.path().with_extension("gone")).expect("ours");
        let stored = store.store_group(&contents);
        assert!(stored.iter().all(Result::is_err), "{stored:?}");
        fs::rename(temp.path().with_extension("gone"), temp.path()).expect("ours");
        let left = fs::read_dir(temp.path().join("00000007/00000000")).expect("there").count();
        assert_eq!(left, 0);
        drop(folder);
        assert_eq!(store.begin().expect("room").name.id.number(), BLOBS_PER_FOLDER);
    }

    #[test]
    fn what_was_not_sealed_leaves_nothing() {
        let (temp, store) = store();
        let mut writer = store.create().expect("room");
        writer.write_at(0, b"half").expect("room");
        let path = temp.path().join(writer.id().path());
        assert!(path.exists());
        drop(writer);
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_that_failed_is_left() {
        let (_temp, store) = store();
        let first = store.create().expect("room").id();
        leave_folder(&store.next, first.folder());
        leave_folder(&store.next, first.folder());
        assert_eq!(store.create().expect("room").id().number(), BLOBS_PER_FOLDER);
    }

    #[test]
    fn many_threads_get_ids_of_their_own() {
        let (temp, store) = store();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let store = Arc::clone(&store);
                thread::spawn(move || {
                    for _ in 0..50 {
                        let mut writer = store.create().expect("room");
                        let text = writer.id().to_string();
                        writer.write_at(0, text.as_bytes()).expect("room");
                        writer.seal().expect("a working disk");
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        for number in 0..200 {
            let id = BlobId::new(7, number);
            let content = fs::read_to_string(temp.path().join(id.path())).expect("there");
            assert_eq!(content, id.to_string());
        }
    }
}
