//! What a client came for: its files, one after the other, and what became of each.

use coffer_protocol::ClientId;

use crate::content::File;

/// What became of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// Still to be backed up.
    Open,
    /// Agreed with, but the answer was lost.
    Uncertain,
    Acknowledged,
    /// Uncertain, and refused ever after: it must be there.
    Presumed,
    /// The client itself did not want it any more.
    GivenUp,
}

/// Files and their fates.
pub(crate) struct Errands {
    files: Vec<File>,
    fates: Vec<Fate>,
}

impl Errands {
    pub(crate) fn new(files: Vec<File>) -> Self {
        Self { fates: vec![Fate::Open; files.len()], files }
    }

    fn at(&self) -> Option<usize> {
        self.fates.iter().position(|fate| matches!(fate, Fate::Open | Fate::Uncertain))
    }

    pub(crate) fn is_done(&self) -> bool {
        self.at().is_none()
    }

    /// The file that it is about; one that is done, once all are.
    pub(crate) fn file(&self) -> &File {
        &self.files[self.at().unwrap_or(0)]
    }

    pub(crate) fn is_uncertain(&self) -> bool {
        self.at().is_some_and(|at| self.fates[at] == Fate::Uncertain)
    }

    /// What has just become of the file.
    pub(crate) fn settle(&mut self, fate: Fate) {
        if let Some(at) = self.at() {
            self.fates[at] = fate;
        }
    }

    /// What must have become of all files once the troubles are over.
    pub(crate) fn check(
        &self,
        name: &str,
        id: Option<ClientId>,
        is_stored: impl Fn(ClientId, &File) -> bool,
    ) {
        for (file, fate) in self.files.iter().zip(&self.fates) {
            let fine = match fate {
                Fate::Acknowledged | Fate::GivenUp => true,
                Fate::Presumed => id.is_some_and(|id| is_stored(id, file)),
                Fate::Open | Fate::Uncertain => false,
            };
            assert!(fine, "{name} could not back up {:?}: {fate:?}", file.name);
        }
    }

    /// For the trace.
    pub(crate) fn fates(&self) -> &[Fate] {
        &self.fates
    }
}
