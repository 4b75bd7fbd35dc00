//! A key on disk: PKCS#8 in PEM, for its owner's eyes only.

use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use pem_rfc7468::LineEnding;
use tempfile::NamedTempFile;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::Identity;

/// The longest file that is read, in bytes; ours have 119.
const FILE_MAX: usize = 4096;

/// What stands behind `BEGIN`.
const LABEL: &str = "PRIVATE KEY";

/// The mode bits that let others than the owner use a file.
const OTHERS: u32 = 0o077;

/// Why there is no key to be had from a file.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// Others may read it.
    #[error(
        "{} may be used by others (its mode is {mode:04o}): if nobody has read it, `chmod 600` it; if somebody may have, it is no secret any more, so move it away and have a new key made and enrolled",
        .path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// There is something else in it.
    #[error("{} holds no Ed25519 private key (PKCS#8, PEM): restore it from a copy, or move it away and have a new key made and enrolled", .0.display())]
    NoKey(PathBuf),
    /// The disk refused.
    #[error("cannot use {}: {error}", .path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the disk said.
        error: io::Error,
    },
}

impl KeyFileError {
    fn at(path: &Path) -> impl Fn(io::Error) -> Self {
        move |error| Self::Io { path: path.to_owned(), error }
    }
}

/// The key in the file at `path`; none if there is no such file.
///
/// # Errors
/// If others may read the file, it holds no key of ours, or cannot be read.
pub fn load(path: &Path) -> Result<Option<Identity>, KeyFileError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(KeyFileError::at(path)(error)),
    };
    let mode = file.metadata().map_err(KeyFileError::at(path))?.mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(KeyFileError::Exposed { path: path.to_owned(), mode });
    }
    // Reserved at once, so that no half of a key stays behind in a buffer outgrown.
    let mut text = Zeroizing::new(Vec::with_capacity(FILE_MAX + 1));
    let bounded = file.take(FILE_MAX as u64 + 1).read_to_end(&mut text);
    bounded.map_err(KeyFileError::at(path))?;
    parse(&text).map(Some).ok_or_else(|| KeyFileError::NoKey(path.to_owned()))
}

/// The key in the file at `path`, which is made with a new key if it is not there. When it returns, file and folder are
/// durable. However many do this at once, all get the same key.
///
/// # Errors
/// As for [`load`], and if the file cannot be made.
pub fn load_or_create(path: &Path) -> Result<Identity, KeyFileError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let identity = match load(path)? {
        Some(identity) => identity,
        None => {
            make_folder(folder).map_err(KeyFileError::at(folder))?;
            create(folder, path)?
        }
    };
    // Also for a key that is there: whoever made it may not have come this far.
    sync_folder(folder).map_err(KeyFileError::at(folder))?;
    Ok(identity)
}

/// Puts a new key at `path`, unless another one got there first: then that one is it.
fn create(folder: &Path, path: &Path) -> Result<Identity, KeyFileError> {
    let identity = Identity::generate();
    let written = || -> io::Result<NamedTempFile> {
        let mut file = NamedTempFile::new_in(folder)?; // made 0600
        file.write_all(&pem(&identity))?;
        file.as_file().sync_all()?;
        Ok(file)
    };
    let file = written().map_err(KeyFileError::at(path))?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(identity),
        Err(failed) if failed.error.kind() == ErrorKind::AlreadyExists => {
            let gone = || KeyFileError::at(path)(ErrorKind::NotFound.into());
            load(path)?.ok_or_else(gone)
        }
        Err(failed) => Err(KeyFileError::at(path)(failed.error)),
    }
}

/// Makes a folder that only its owner can enter, and its parents, where they are missing; durably.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    make_folder(parent)?;
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync_folder(parent)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn pem(identity: &Identity) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(vec![0; FILE_MAX]);
    let length = pem_rfc7468::encode(LABEL, LineEnding::LF, identity.pkcs8(), &mut text)
        .expect("a key fits")
        .len();
    text.truncate(length);
    text
}

fn parse(text: &[u8]) -> Option<Identity> {
    let mut der = Zeroizing::new([0; FILE_MAX]);
    match pem_rfc7468::decode(text, &mut der[..]) {
        Ok((LABEL, der)) => Identity::from_pkcs8(der).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::thread;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("there").permissions().mode() & 0o7777
    }

    #[test]
    fn a_key_is_made_once_for_its_owner_only() {
        let temp = tempfile::tempdir().expect("a folder");
        let folder = temp.path().join("state/identity");
        let path = folder.join("tls.key");
        assert!(load(&path).expect("nothing wrong").is_none());
        let made = load_or_create(&path).expect("made");
        assert_eq!((mode(&path), mode(&folder)), (0o600, 0o700));
        assert_eq!(load_or_create(&path).expect("there").pin(), made.pin());
        assert_eq!(load(&path).expect("readable").expect("there").pin(), made.pin());
        assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 1, "nothing else is left");
    }

    /// Made by `openssl genpkey -algorithm ed25519`; its pin by `openssl pkey -pubout -outform DER | sha256sum`.
    #[test]
    fn a_file_of_another_tool_is_read() {
        let text = "-----BEGIN PRIVATE KEY-----\n\
            MC4CAQAwBQYDK2VwBCIEIF04F90Za9CXXp8cpn9qrdQCoJ0XzRuM3dqjty/8KEiP\n\
            -----END PRIVATE KEY-----\n";
        let identity = parse(text.as_bytes()).expect("a key");
        assert_eq!(identity.pin().0[..4], [0x04, 0xb8, 0xf6, 0xcd]);
        assert_eq!(pem(&identity)[..], *text.as_bytes(), "and written alike");
    }

    #[test]
    fn all_who_come_at_once_get_the_same_key() {
        let temp = tempfile::tempdir().expect("a folder");
        let path = temp.path().join("new/tls.key");
        let pins: Vec<_> = thread::scope(|scope| {
            let many: Vec<_> = (0..16)
                .map(|_| scope.spawn(|| load_or_create(&path).expect("made").pin()))
                .collect();
            many.into_iter().map(|one| one.join().expect("no panic")).collect()
        });
        assert!(pins.iter().all(|pin| *pin == pins[0]), "{pins:?}");
    }

    #[test]
    fn a_key_that_others_may_use_is_refused() {
        let temp = tempfile::tempdir().expect("a folder");
        let path = temp.path().join("tls.key");
        load_or_create(&path).expect("made");
        for open in [0o640, 0o604, 0o620, 0o611] {
            fs::set_permissions(&path, Permissions::from_mode(open)).expect("ours");
            let error = load_or_create(&path).expect_err("open to others").to_string();
            assert!(
                error.contains("chmod 600") && error.contains(&format!("{open:04o}")),
                "{error}"
            );
        }
        fs::set_permissions(&path, Permissions::from_mode(0o400)).expect("ours");
        load_or_create(&path).expect("its owner's only");
    }

    #[test]
    fn a_file_without_a_key_is_refused_and_stays() {
        let temp = tempfile::tempdir().expect("a folder");
        let path = temp.path().join("tls.key");
        let certificate = pem(&Identity::generate());
        let certificate =
            String::from_utf8_lossy(&certificate).replace("PRIVATE KEY", "CERTIFICATE");
        for text in [String::new(), "secret".to_owned(), certificate, "x".repeat(FILE_MAX * 2)] {
            fs::write(&path, &text).expect("ours");
            fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("ours");
            let error = load_or_create(&path).expect_err("no key");
            assert!(matches!(&error, KeyFileError::NoKey(found) if *found == path), "{error}");
            assert_eq!(fs::read_to_string(&path).expect("there"), text);
        }
        let error = load_or_create(&temp.path().join("tls.key/below")).expect_err("no folder");
        assert!(error.to_string().contains("tls.key"), "{error}");
    }
}
