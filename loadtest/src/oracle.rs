//! Is what the server acknowledged what it stores? Every file is read back through the catalog and compared.

use std::collections::HashSet;
use std::io::{self, Read};
use std::path::Path;
use std::thread;

use anyhow::{Context as _, bail};
use coffer_protocol::ClientId;
use cofferd::catalog::{self, Reader, VersionRow};
use cofferd::storage::{DataDir, open_blob};
use serde::Serialize;

use crate::content::Content;
use crate::ledger::{Account, Ledger, file_number};
use crate::limits::ERROR_KINDS_MAX;

/// Bytes compared at a time.
const PIECE_BYTES: usize = 256 << 10;

/// What the comparison found.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Findings {
    /// Acknowledged files that are stored exactly as they were sent.
    pub(crate) identical: u64,
    /// Plain bytes of them.
    pub(crate) identical_bytes: u64,
    /// Files that are stored as they were sent although nobody was told so: the answer was lost.
    pub(crate) identical_unacknowledged: u64,
    /// Acknowledged files that are not stored.
    pub(crate) missing: u64,
    /// Files that are stored and are not what was sent.
    pub(crate) different: u64,
    /// Some of what is missing or different.
    pub(crate) examples: Vec<String>,
}

impl Findings {
    /// Whether everything that was acknowledged is there, and nothing is wrong.
    pub(crate) fn are_good(&self) -> bool {
        self.missing == 0 && self.different == 0
    }

    fn blame(&mut self, text: String) {
        if self.examples.len() < ERROR_KINDS_MAX {
            self.examples.push(text);
        }
    }

    fn add(&mut self, other: Self) {
        self.identical += other.identical;
        self.identical_bytes += other.identical_bytes;
        self.identical_unacknowledged += other.identical_unacknowledged;
        self.missing += other.missing;
        self.different += other.different;
        other.examples.into_iter().for_each(|text| self.blame(text));
    }
}

/// Compares what is in the data folder with what was acknowledged. A server may run beside it.
///
/// # Errors
/// If the catalog cannot be read.
pub(crate) fn compare(ledger: &Ledger, data: &Path) -> anyhow::Result<Findings> {
    let dir = DataDir::existing(data)?;
    let numbers: Vec<usize> = (0..ledger.accounts().len()).collect();
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let share = numbers.len().div_ceil(threads).max(1);
    let compare = |numbers: &[usize]| {
        let mut oracle = Oracle::open(ledger, &dir)?;
        for &number in numbers {
            oracle.compare_account(number).with_context(|| ledger.name(number))?;
        }
        Ok(oracle.findings)
    };
    let parts: Vec<anyhow::Result<Findings>> = thread::scope(|scope| {
        let compare = &compare;
        let threads: Vec<_> =
            numbers.chunks(share).map(|numbers| scope.spawn(move || compare(numbers))).collect();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
    });
    let mut findings = Findings::default();
    for part in parts {
        findings.add(part?);
    }
    Ok(findings)
}

struct Oracle<'a> {
    ledger: &'a Ledger,
    dir: &'a DataDir,
    reader: Reader,
    findings: Findings,
    buffers: [Vec<u8>; 2],
}

impl<'a> Oracle<'a> {
    fn open(ledger: &'a Ledger, dir: &'a DataDir) -> anyhow::Result<Self> {
        let reader = Reader::open(&dir.catalog())?;
        let buffers = [vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]];
        Ok(Self { ledger, dir, reader, findings: Findings::default(), buffers })
    }

    fn compare_account(&mut self, number: usize) -> anyhow::Result<()> {
        let account = &self.ledger.accounts()[number];
        let Some(id) = account.id else { return Ok(()) };
        if !account.acknowledged.is_empty() {
            self.compare_name(number, &id)?;
        }
        let mut missing: HashSet<u32> = account.acknowledged.iter().copied().collect();
        let mut after = (Vec::new(), 0);
        loop {
            let rows = self.reader.versions_after(&id, &after.0, after.1)?;
            let Some(last) = rows.last() else { break };
            after = (last.file.clone(), last.version);
            for row in &rows {
                self.compare_row(number, account, row, &mut missing)?;
            }
        }
        for file in missing {
            self.findings.missing += 1;
            self.findings
                .blame(format!("file {file} of {} is not stored", self.ledger.name(number)));
        }
        Ok(())
    }

    fn compare_name(&mut self, number: usize, id: &ClientId) -> anyhow::Result<()> {
        let name = self.ledger.name(number);
        let stored = self.reader.client_by_id(id)?.map(|client| client.name);
        if stored.as_ref() != Some(&name) {
            self.findings.different += 1;
            self.findings.blame(format!("the client {id} is {stored:?} and not {name}"));
        }
        Ok(())
    }

    fn compare_row(
        &mut self,
        number: usize,
        account: &Account,
        row: &VersionRow,
        missing: &mut HashSet<u32>,
    ) -> anyhow::Result<()> {
        let Some(file) = file_number(&row.file) else { bail!("it has a file that was never sent") };
        let id = account.id.expect("checked by the caller");
        let content = self.ledger.content(number, file);
        let is_the_same = match self.read(&id, row) {
            Ok(mut stored) => self.is_the_same(&content, &mut *stored)?,
            Err(error) if is_about_the_blob(&error) => false,
            Err(error) => return Err(error),
        };
        let acknowledged = missing.remove(&file);
        if !is_the_same {
            let name = self.ledger.name(number);
            self.findings.different += 1;
            self.findings.blame(format!(
                "file {file} (version {}) of {name} is not what was sent",
                row.version
            ));
        } else if acknowledged {
            self.findings.identical += 1;
            self.findings.identical_bytes += content.size();
        } else {
            self.findings.identical_unacknowledged += 1;
        }
        Ok(())
    }

    fn read(&self, id: &ClientId, row: &VersionRow) -> anyhow::Result<Box<dyn Read>> {
        if let Some(blob) = row.blob {
            return Ok(Box::new(open_blob(&self.dir.blobs(), blob)?));
        }
        let stored = self.reader.stored(id, &row.file, Some(row.version))?;
        match stored.map(|stored| stored.content) {
            Some(catalog::Content::Inline(bytes)) => Ok(Box::new(io::Cursor::new(bytes))),
            other => bail!("the catalog says that a content is in it, and then {other:?}"),
        }
    }

    fn is_the_same(&mut self, content: &Content, stored: &mut dyn Read) -> io::Result<bool> {
        let [expected, found] = &mut self.buffers;
        let mut offset = 0;
        while offset < content.size() {
            let length = (content.size() - offset).min(PIECE_BYTES as u64) as usize;
            content.fill(offset, &mut expected[..length]);
            match stored.read_exact(&mut found[..length]) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
                result => result?,
            }
            if expected[..length] != found[..length] {
                return Ok(false);
            }
            offset += length as u64;
        }
        Ok(stored.read(&mut found[..1])? == 0)
    }
}

/// Whether a content is gone, which is what the oracle is there to find, and no failure of its own.
fn is_about_the_blob(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}
