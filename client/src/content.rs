//! A file's content on its way to the wire, in bounded memory.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use coffer_protocol::Dialect;
use coffer_protocol::cipher::SessionKey;
use coffer_protocol::encode::{Encoder, TooLarge, encrypted_size};
use coffer_protocol::{ClientId, PACKET};

use crate::Error;

/// Plain bytes read and encoded at once. Encoded they are at most 1.3 times as many, so that a file of any size takes
/// well under a MiB; reading further ahead is left to the kernel.
pub(crate) const PIECE_BYTES: usize = 256 * PACKET;

/// An open file that can be sent, more than once.
pub(crate) struct Content {
    path: PathBuf,
    file: File,
    size: u64,
    encrypted_size: u32,
}

impl Content {
    /// Opens a file, if it can be sent in this dialect.
    pub(crate) fn open(path: &Path, dialect: Dialect) -> Result<Self, Error> {
        let unreadable = |source: std::io::Error| {
            let path = path.to_path_buf();
            if source.kind() == std::io::ErrorKind::NotFound {
                Error::Missing(path)
            } else {
                Error::Unreadable { path, source }
            }
        };
        // Looked at before it is opened: opening a named pipe would wait for a writer.
        let kind = fs::metadata(path).map_err(unreadable)?.file_type();
        if !kind.is_file() {
            let what = if kind.is_dir() { "a folder" } else { "no plain file" };
            return Err(Error::NoFile { path: path.to_path_buf(), what });
        }
        let file = File::open(path).map_err(unreadable)?;
        let size = file.metadata().map_err(unreadable)?.len();
        let encrypted_size = encrypted_size(dialect, size)
            .map_err(|problem: TooLarge| Error::TooLarge { path: path.to_path_buf(), problem })?;
        Ok(Self { path: path.to_path_buf(), file, size, encrypted_size })
    }

    /// Its size, in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of ciphertext that it becomes.
    pub(crate) fn encrypted_size(&self) -> u32 {
        self.encrypted_size
    }

    /// Begins a sending of it, from the start.
    pub(crate) fn encode(
        &mut self,
        key: &SessionKey,
        client: ClientId,
        name: &[u8],
    ) -> Result<Pieces<'_>, Error> {
        let encoder = Encoder::new(key, client, name, self.size)
            .map_err(|problem| Error::TooLarge { path: self.path.clone(), problem })?;
        self.file.rewind().map_err(|source| Error::Read { path: self.path.clone(), source })?;
        let plain = vec![0; PIECE_BYTES];
        Ok(Pieces { content: self, encoder, plain, wire: Vec::new(), state: Progress::Head })
    }

    /// Fills `plain` as far as the file goes.
    fn read(&mut self, plain: &mut [u8]) -> Result<usize, Error> {
        let mut filled = 0;
        while filled < plain.len() {
            match self.file.read(&mut plain[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Read { path: self.path.clone(), source }),
            }
        }
        Ok(filled)
    }

    fn changed(&self, now: u64) -> Error {
        Error::Changed { path: self.path.clone(), before: self.size, now }
    }
}

enum Progress {
    Head,
    Content,
    Done,
}

/// One sending of a file, piece by piece.
pub(crate) struct Pieces<'a> {
    content: &'a mut Content,
    encoder: Encoder,
    plain: Vec<u8>,
    wire: Vec<u8>,
    state: Progress,
}

impl Pieces<'_> {
    /// The next bytes for the wire; `None` when all are out.
    ///
    /// A file that is not as long as announced is noticed before the server could take it for complete.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, Error> {
        self.wire.clear();
        match self.state {
            Progress::Head => {
                self.encoder.push_head(&mut self.wire);
                self.state = Progress::Content;
                if self.wire.is_empty() {
                    return self.next();
                }
            }
            Progress::Content => self.push_piece()?,
            Progress::Done => return Ok(None),
        }
        Ok(Some(&self.wire))
    }

    /// Plain bytes that went out.
    pub(crate) fn sent(&self) -> u64 {
        self.content.size - self.encoder.missing()
    }

    /// The dialect's checksum of what went out.
    pub(crate) fn checksum(&self) -> u32 {
        self.encoder.checksum()
    }

    fn push_piece(&mut self) -> Result<(), Error> {
        let wanted = self.encoder.missing().min(PIECE_BYTES as u64) as usize;
        let read = self.content.read(&mut self.plain[..wanted])?;
        if read < wanted {
            return Err(self.content.changed(self.sent() + read as u64));
        }
        if read as u64 == self.encoder.missing() {
            let beyond = self.content.read(&mut [0])?;
            if beyond > 0 {
                return Err(self.content.changed(self.content.size + beyond as u64));
            }
            self.state = Progress::Done;
        }
        self.encoder.push(&self.plain[..read], &mut self.wire);
        if matches!(self.state, Progress::Done) {
            self.encoder.finish(&mut self.wire);
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "content_tests.rs"]
mod tests;
