//! Reading and replacing small private files.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use crate::Error;

/// The longest state file read, in bytes: many times a key of 4096 bits.
const SMALL_FILE_MAX: u64 = 64 << 10;

/// A file's content, if there is such a file.
pub(crate) fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    let failed = |source| Error::State { path: path.to_path_buf(), doing: "read", source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    // Reserved at once, so that no half of a key stays behind in a buffer outgrown.
    let mut bytes = Zeroizing::new(Vec::with_capacity(SMALL_FILE_MAX as usize + 1));
    file.take(SMALL_FILE_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > SMALL_FILE_MAX {
        return Err(Error::Malformed {
            path: path.to_path_buf(),
            problem: "is far too long for what it should be".to_owned(),
            todo: "move it away",
        });
    }
    Ok(Some(bytes))
}

/// Puts `bytes` in place of a file, with mode 0600. After it returns they are durable; if it fails or the power goes,
/// the file is what it was.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    write(dir, path, bytes).map_err(|source| Error::State {
        path: path.to_path_buf(),
        doing: "written",
        source,
    })
}

fn write(dir: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = NamedTempFile::new_in(dir)?; // created 0600
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(dir)?.sync_all()
}

/// Creates a folder that only its owner can enter, and its parents, where they are missing.
///
/// # Errors
/// [`Error::State`] if that fails.
pub fn create_private_dir(dir: &Path) -> Result<(), Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|source| Error::State {
        path: dir.to_path_buf(),
        doing: "written",
        source,
    })
}
