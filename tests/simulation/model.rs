//! What must be true: which clients there are, and which versions of which files they must find again.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::rc::Rc;

use coffer_protocol::checksum::Cksum;
use coffer_protocol::{ClientId, Dialect};
use cofferd::catalog::{Content, Reader, Stored};
use cofferd::session::Existing;
use cofferd::storage::{BlobStore, FaultyStore};

use crate::content::File;

/// What the peers know, and the server must hold to.
#[derive(Default)]
pub(crate) struct Model {
    /// The correct clients that were told that they are registered, by name.
    clients: BTreeMap<String, Client>,
    /// Their files.
    files: BTreeMap<(ClientId, Vec<u8>), Known>,
}

struct Client {
    id: ClientId,
    public_key: Vec<u8>,
    dialect: Dialect,
}

/// What is known of a file.
#[derive(Default)]
struct Known {
    /// Every content that its owner agreed with, how often, and how often that was acknowledged.
    approvals: Vec<Approval>,
    /// What was acknowledged, oldest first, by its place among the approvals.
    acknowledged: Vec<usize>,
}

struct Approval {
    content: Rc<[u8]>,
    times: usize,
}

impl Model {
    /// A correct client got its session key, so its registration is durable.
    pub(crate) fn registered(
        &mut self,
        name: &str,
        id: ClientId,
        public_key: &[u8],
        dialect: Dialect,
    ) {
        let new = Client { id, public_key: public_key.to_vec(), dialect };
        if let Some(old) = self.clients.insert(name.to_owned(), new) {
            assert!(
                old.id == id && old.public_key == public_key,
                "{name} was registered by two clients"
            );
        }
    }

    /// Whether somebody was told that they have this name.
    pub(crate) fn is_registered(&self, name: &str) -> bool {
        self.clients.contains_key(name)
    }

    /// The id and name of somebody who is registered, by number.
    pub(crate) fn victim(&self, number: usize) -> Option<(&str, ClientId)> {
        let count = self.clients.len().max(1);
        self.clients.iter().nth(number % count).map(|(name, client)| (name.as_str(), client.id))
    }

    /// Whether the id is a correct client's.
    pub(crate) fn is_correct(&self, id: ClientId) -> bool {
        self.clients.values().any(|client| client.id == id)
    }

    /// A correct client says that the checksum of this content is right.
    pub(crate) fn approved(&mut self, id: ClientId, file: &[u8], content: &Rc<[u8]>) {
        let file = self.files.entry((id, file.to_vec())).or_default();
        match file.approvals.iter_mut().find(|approval| approval.content == *content) {
            Some(approval) => approval.times += 1,
            None => file.approvals.push(Approval { content: Rc::clone(content), times: 1 }),
        }
    }

    /// The server acknowledged that.
    pub(crate) fn acknowledged(&mut self, id: ClientId, file: &[u8], content: &Rc<[u8]>) {
        let file = self.files.get_mut(&(id, file.to_vec())).expect("approved before");
        let place = file.approvals.iter().position(|approval| approval.content == *content);
        file.acknowledged.push(place.expect("approved before"));
    }

    /// How many versions were acknowledged.
    pub(crate) fn versions(&self) -> u64 {
        self.files.values().map(|file| file.acknowledged.len() as u64).sum()
    }

    /// Compares all that is stored with what must be and may be.
    pub(crate) fn check(&self, reader: &Reader, store: &FaultyStore, existing: Existing) {
        let mut ids = BTreeSet::new();
        let listed = reader.clients_after(None).expect("readable");
        for (name, client) in &self.clients {
            let found = reader.client_by_name(name).expect("readable");
            let found = found.unwrap_or_else(|| panic!("the client {name} is forgotten"));
            assert_eq!(found.id, client.id, "{name} has another id");
            assert_eq!(found.public_key.as_ref(), Some(&client.public_key), "{name}'s key");
        }
        for client in listed {
            assert!(ids.insert(client.id), "an id is given out twice");
            let known = self.clients.get(&client.name);
            let once = match known {
                Some(known) => refuses(existing, known.dialect),
                None => existing == Existing::Refuse,
            };
            self.check_files(reader, store, client.id, known.is_some(), once);
        }
        for ((id, name), file) in &self.files {
            let found = reader.file_exists(id, name).expect("readable");
            assert!(found || file.acknowledged.is_empty(), "an acknowledged file is lost");
        }
    }

    fn check_files(
        &self,
        reader: &Reader,
        store: &FaultyStore,
        id: ClientId,
        is_tracked: bool,
        once: bool,
    ) {
        let mut files: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
        for row in reader.versions_after(&id, b"", 0).expect("readable") {
            let stored = reader.stored(&id, &row.file, Some(row.version)).expect("readable");
            let content = read(&stored.expect("just listed"), store);
            files.entry(row.file).or_default().push(content);
        }
        let refused = "a second version where it is refused";
        assert!(!once || files.values().all(|versions| versions.len() == 1), "{refused}");
        for (name, versions) in files.iter().filter(|_| is_tracked) {
            let file = self.files.get(&(id, name.clone()));
            let file = file.unwrap_or_else(|| panic!("nobody agreed with any {name:?} of {id}"));
            file.check(versions);
        }
    }

    /// Whether this content is a version of this file.
    pub(crate) fn is_stored(
        reader: &Reader,
        store: &FaultyStore,
        id: ClientId,
        file: &File,
    ) -> bool {
        let rows = reader.versions_after(&id, &file.name, 0).expect("readable");
        rows.iter().filter(|row| row.file == file.name).any(|row| {
            let stored = reader.stored(&id, &file.name, Some(row.version)).expect("readable");
            stored.is_some_and(|stored| read(&stored, store) == *file.content)
        })
    }
}

/// Whether a name that exists is refused.
pub(crate) fn refuses(existing: Existing, dialect: Dialect) -> bool {
    match existing {
        Existing::Dialect => dialect == Dialect::D1100,
        Existing::Refuse => true,
        Existing::Version => false,
    }
}

impl Known {
    /// Every version was agreed with, as often as it is there; every acknowledged one is there, in order.
    fn check(&self, versions: &[Vec<u8>]) {
        let places: Vec<usize> = versions
            .iter()
            .map(|version| {
                let known = self.approvals.iter().position(|a| *a.content == **version);
                known.unwrap_or_else(|| {
                    panic!("a version of {} bytes that nobody agreed with", version.len())
                })
            })
            .collect();
        for (place, approval) in self.approvals.iter().enumerate() {
            let stored = places.iter().filter(|&&stored| stored == place).count();
            assert!(stored <= approval.times, "stored more often than agreed");
        }
        let mut rest = places.iter();
        for wanted in &self.acknowledged {
            assert!(rest.any(|stored| stored == wanted), "an acknowledged version is lost");
        }
    }
}

/// A version's bytes, which must be what the catalog says they are.
fn read(stored: &Stored, store: &FaultyStore) -> Vec<u8> {
    let bytes = match &stored.content {
        Content::Inline(bytes) => bytes.clone(),
        Content::Blob(id) => {
            let mut bytes = Vec::new();
            let blob = store.open(*id).unwrap_or_else(|_| panic!("the content {id} is lost"));
            { blob }.read_to_end(&mut bytes).expect("readable");
            bytes
        }
    };
    let mut cksum = Cksum::new();
    cksum.update(&bytes);
    assert_eq!((bytes.len() as u64, cksum.value()), (stored.size, stored.cksum), "rotten");
    bytes
}
