//! Where a file stands in the view: paths unique within the client, folders of clients unique among them.
//!
//! Two different names never share a path, a file never stands where another needs a folder, and no two paths differ
//! only in case or Unicode form.

use std::hash::{BuildHasher, RandomState};
use std::iter;

use rusqlite::{Connection, OptionalExtension, Result, params};

use crate::storage::view_name::{fold_key, numbered, propose, propose_folder};

/// The last number that is tried in order. After it numbers are drawn, so that a client that collects colliding
/// names does not make each of them cost a search through all before it.
const NUMBER_IN_ORDER_MAX: u64 = 9;

/// Draws numbers that no client can foresee, and so none can occupy beforehand.
#[derive(Debug, Default)]
pub(super) struct Numbers(RandomState);

impl Numbers {
    /// `component`, then `component~2` to `component~9`, then `component~N` with numbers drawn for `name`.
    fn candidates(&self, component: &str, name: &[u8]) -> impl Iterator<Item = String> {
        let drawn = (0_u64..).map(move |draw| self.0.hash_one((name, draw)) >> 32 | 1 << 31);
        let numbers = (2..=NUMBER_IN_ORDER_MAX).chain(drawn);
        iter::once(component.to_owned()).chain(numbers.map(|number| numbered(component, number)))
    }

    /// A free folder of the view for the client `name`: its spelling and its key. Not yet taken.
    pub(super) fn client_folder(
        &self,
        catalog: &Connection,
        name: &str,
    ) -> Result<(String, String)> {
        let mut taken = catalog.prepare_cached("SELECT 1 FROM clients WHERE folder_key = ?1")?;
        for folder in self.candidates(&propose_folder(name), name.as_bytes()) {
            let key = fold_key(&folder);
            if !taken.exists([&key])? {
                return Ok((folder, key));
            }
        }
        unreachable!("there are always more candidates")
    }

    /// Takes a path for the file `name` of a client, and the folders on the way that are not there yet.
    pub(super) fn take_path(
        &self,
        catalog: &Connection,
        client: i64,
        name: &[u8],
    ) -> Result<String> {
        let mut components = propose(name);
        let last = components.pop().expect("a proposal has a component");
        let mut place = Place { path: String::new(), key: String::new() };
        for component in components {
            place = self.take_node(
                &Wanted { catalog, client, name, kind: Kind::Folder },
                &place,
                &component,
            )?;
        }
        Ok(self.take_node(&Wanted { catalog, client, name, kind: Kind::File }, &place, &last)?.path)
    }

    fn take_node(&self, wanted: &Wanted<'_>, above: &Place, component: &str) -> Result<Place> {
        let Wanted { catalog, client, name, kind } = *wanted;
        let mut look = catalog.prepare_cached(
            "SELECT spelling, is_file FROM view_nodes WHERE client = ?1 AND key = ?2",
        )?;
        for spelling in self.candidates(component, name) {
            let key = join(&above.key, &fold_key(&spelling));
            let there: Option<(String, bool)> = look
                .query_row(params![client, key], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            match there {
                None => {
                    let is_file = kind == Kind::File;
                    let sql = "INSERT INTO view_nodes (client, key, spelling, is_file) VALUES (?1, ?2, ?3, ?4)";
                    catalog
                        .prepare_cached(sql)?
                        .execute(params![client, key, spelling, is_file])?;
                    return Ok(Place { path: join(&above.path, &spelling), key });
                }
                Some((spelling, false)) if kind == Kind::Folder => {
                    return Ok(Place { path: join(&above.path, &spelling), key });
                }
                Some(_) => {}
            }
        }
        unreachable!("there are always more candidates")
    }
}

/// A node that the file `name` of a client needs.
struct Wanted<'a> {
    catalog: &'a Connection,
    client: i64,
    name: &'a [u8],
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Folder,
    File,
}

/// A node of the view: its path as spelled, and as the least discerning file system sees it.
struct Place {
    path: String,
    key: String,
}

fn join(above: &str, component: &str) -> String {
    if above.is_empty() { component.to_owned() } else { format!("{above}/{component}") }
}
