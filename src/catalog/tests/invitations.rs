//! Who comes in by which invitation, with which key, and what that does to everybody else.

use super::*;

const SECRET: [u8; 32] = [1; 32];
const KEY: [u8; 32] = [0xaa; 32];
const OTHER_KEY: [u8; 32] = [0xbb; 32];
const NEW_ID: ClientId = ClientId([0x4e; 16]);

/// A thousand milliseconds long, from the catalog's present on.
fn invitation(
    catalog: &Catalog,
    secret: [u8; 32],
    name: &'static str,
    holder: Door,
) -> NewInvitation<'static> {
    let (created_at, expires_at) = (catalog.now, catalog.now + 1000);
    NewInvitation { secret, name, holder, created_at, expires_at, quota: None }
}

impl Catalog {
    fn invitations(&self) -> Invitations {
        Invitations::open(&self.path).expect("a database")
    }

    fn invite(&self, secret: [u8; 32], name: &'static str, holder: Door) -> Issued {
        let new = invitation(self, secret, name, holder);
        self.invitations().issue(&new).expect("writable")
    }

    fn enroll(&mut self, secret: [u8; 32], pin: [u8; 32]) -> Outcome {
        let mut id = NEW_ID;
        id.0[15] = self.now as u8;
        self.commit(&[Change::Enroll { secret, pin, fresh_id: id }]).remove(0)
    }

    fn by_pin(&self, pin: [u8; 32]) -> Option<SecureClient> {
        self.reader().client_by_pin(&pin).expect("readable")
    }

    fn with_enrolled(name: &'static str) -> Self {
        let mut catalog = Self::new();
        assert_eq!(catalog.invite(SECRET, name, Door::None), OPEN);
        assert!(matches!(catalog.enroll(SECRET, KEY), Outcome::Enrolled { already: false, .. }));
        catalog
    }

    fn access(&self, name: &str) -> Access {
        let clients = self.reader().clients_after(None).expect("readable");
        clients.iter().find(|client| client.name == name).expect("listed").access
    }
}

const OPEN: Issued = Issued::Open { replaced: false };

fn enrolled(name: &str, enrolled_at: i64, already: bool) -> Outcome {
    Outcome::Enrolled { name: name.to_owned(), enrolled_at, already }
}

#[test]
fn an_invitation_lets_one_key_in_which_may_ask_again() {
    let mut catalog = Catalog::new();
    assert_eq!(catalog.invite(SECRET, "Eve", Door::None), OPEN);
    assert_eq!(catalog.by_pin(KEY), None);
    assert_eq!(catalog.enroll([2; 32], KEY), Outcome::BadCode, "another secret");
    assert_eq!(catalog.enroll(SECRET, KEY), enrolled("Eve", 1002, false));
    assert_eq!(catalog.enroll(SECRET, OTHER_KEY), Outcome::BadCode);
    assert_eq!(catalog.enroll(SECRET, KEY), enrolled("Eve", 1002, true));
    catalog.now += 5000;
    assert_eq!(catalog.enroll(SECRET, KEY), enrolled("Eve", 1002, true), "however late");
    let eve = catalog.by_pin(KEY).expect("enrolled");
    assert_eq!((eve.name.as_str(), eve.enrolled_at, eve.is_revoked), ("Eve", 1002, false));
    assert_eq!(catalog.by_pin(OTHER_KEY), None);
    assert_eq!(catalog.access("Eve"), Access::Secure { pin: Some(KEY), quota: None });
}

#[test]
fn two_at_once_are_one_and_a_refusal() {
    let mut catalog = Catalog::new();
    catalog.invite(SECRET, "Eve", Door::None);
    let change = |pin, id| Change::Enroll { secret: SECRET, pin, fresh_id: ClientId([id; 16]) };
    let outcomes = catalog.commit(&[change(KEY, 1), change(OTHER_KEY, 2), change(KEY, 3)]);
    let expected = [enrolled("Eve", 1001, false), Outcome::BadCode, enrolled("Eve", 1001, true)];
    assert_eq!(outcomes, expected);
}

#[test]
fn an_invitation_ends_by_the_catalogs_clock() {
    for (wait, expected) in [(999, enrolled("Eve", 1999, false)), (1000, Outcome::BadCode)] {
        let mut catalog = Catalog::new();
        catalog.invite(SECRET, "Eve", Door::None);
        catalog.now += wait - 1;
        assert_eq!(catalog.enroll(SECRET, KEY), expected, "after {wait} ms");
    }
}

#[test]
fn a_name_is_invited_once_and_the_last_invitation_counts() {
    let mut catalog = Catalog::with_bob();
    assert_eq!(catalog.invite([1; 32], "Bob", Door::None), Issued::NotFor(Door::Classic));
    assert_eq!(catalog.invite([1; 32], "Bob", Door::Secure), Issued::NotFor(Door::Classic));
    assert_eq!(catalog.invite([1; 32], "Eve", Door::Classic), Issued::NotFor(Door::None));
    assert_eq!(catalog.invite([1; 32], "Eve", Door::None), OPEN);
    assert_eq!(catalog.invite([2; 32], "Eve", Door::None), Issued::Open { replaced: true });
    assert_eq!(catalog.enroll([1; 32], KEY), Outcome::BadCode);
    catalog.now += 2000;
    assert_eq!(catalog.invite([3; 32], "Eve", Door::None), OPEN, "the last had ended");
    assert_eq!(catalog.enroll([3; 32], KEY), enrolled("Eve", 3003, false));
    assert_eq!(catalog.invite([4; 32], "Eve", Door::None), Issued::NotFor(Door::Secure));
}

#[test]
fn a_name_that_was_registered_meanwhile_is_taken() {
    let mut catalog = Catalog::new();
    catalog.invite(SECRET, "Bob", Door::None);
    catalog.commit(&[client(BOB, "Bob")]);
    assert_eq!(catalog.enroll(SECRET, KEY), Outcome::NameTaken);
    assert_eq!(catalog.by_pin(KEY), None);
}

#[test]
fn an_adopted_client_keeps_its_files_and_leaves_the_classic_door() {
    let mut catalog = Catalog::with_bob();
    catalog.commit(&[small(BOB, "a"), small(BOB, "b")]);
    let new = NewInvitation {
        quota: Some(1 << 30),
        ..invitation(&catalog, SECRET, "Bob", Door::Classic)
    };
    assert_eq!(catalog.invitations().issue(&new).expect("writable"), OPEN);
    assert_eq!(catalog.commit(&[small(BOB, "c")]), [added(1)], "until it is used all goes on");
    assert!(matches!(catalog.enroll(SECRET, KEY), Outcome::Enrolled { already: false, .. }));
    let bob = catalog.by_pin(KEY).expect("enrolled");
    assert_eq!((bob.name.as_str(), bob.quota), ("Bob", Some(1 << 30)));
    let reader = catalog.reader();
    assert_eq!(reader.usage(bob.client).expect("readable"), Usage { versions: 3, bytes: 9 });
    let known = reader.client_by_id(&BOB).expect("readable").expect("known");
    assert!(known.is_secure && known.public_key.is_none());
    let refused = [Outcome::ClientUnknown, Outcome::NameTaken, Outcome::NameTaken];
    assert_eq!(catalog.commit(&[small(BOB, "d"), client(EVE, "Bob"), client(BOB, "Bob")]), refused);
    assert!(!catalog.retention().reset_key("Bob").expect("writable"), "it has no such key");
}

#[test]
fn another_key_takes_the_place_of_the_old_one() {
    let mut catalog = Catalog::with_enrolled("Eve");
    let eve = catalog.by_pin(KEY).expect("enrolled").client;
    assert_eq!(catalog.invite([2; 32], "Eve", Door::Secure), OPEN);
    assert!(!catalog.by_pin(KEY).expect("enrolled").is_revoked, "not before it is used");
    assert!(matches!(catalog.enroll([2; 32], OTHER_KEY), Outcome::Enrolled { already: false, .. }));
    assert!(catalog.by_pin(KEY).expect("remembered").is_revoked);
    let other = catalog.by_pin(OTHER_KEY).expect("enrolled");
    assert_eq!((other.client, other.is_revoked), (eve, false));
    assert_eq!(
        catalog.enroll(SECRET, KEY),
        Outcome::BadCode,
        "its own invitation is of no use now"
    );
    assert_eq!(catalog.invite([3; 32], "Eve", Door::Secure), OPEN);
    assert_eq!(catalog.enroll([3; 32], KEY), Outcome::BadCode, "once revoked, never again");
    let again = catalog.enroll([3; 32], OTHER_KEY);
    assert_eq!(again, enrolled("Eve", other.enrolled_at, false), "the one that it has may stay");
    assert!(!catalog.by_pin(OTHER_KEY).expect("enrolled").is_revoked);
}

#[test]
fn a_key_is_one_clients() {
    let mut catalog = Catalog::with_enrolled("Eve");
    catalog.commit(&[client(BOB, "Bob")]);
    catalog.invite([2; 32], "Ann", Door::None);
    catalog.invite([3; 32], "Bob", Door::Classic);
    for secret in [[2; 32], [3; 32]] {
        assert_eq!(catalog.enroll(secret, KEY), Outcome::KeyTaken);
    }
    assert_eq!(catalog.by_pin(KEY).expect("enrolled").name, "Eve");
    assert_eq!(catalog.access("Bob"), Access::Classic { has_key: true });
    assert!(matches!(catalog.enroll([2; 32], OTHER_KEY), Outcome::Enrolled { .. }), "still open");
}

#[test]
fn revoking_closes_the_door_and_keeps_what_is_stored() {
    let mut catalog = Catalog::with_enrolled("Eve");
    catalog.invite([2; 32], "Eve", Door::Secure);
    let revoked = catalog.invitations().revoke("Eve", 2000).expect("writable");
    assert_eq!(revoked, Revoked { door: Door::Secure, keys: 1, invitations: 1 });
    assert!(catalog.by_pin(KEY).expect("remembered").is_revoked);
    assert_eq!(catalog.access("Eve"), Access::Secure { pin: None, quota: None });
    assert_eq!(catalog.enroll(SECRET, KEY), Outcome::BadCode);
    assert_eq!(catalog.enroll([2; 32], OTHER_KEY), Outcome::BadCode);
    let nothing = Revoked { door: Door::Secure, keys: 0, invitations: 0 };
    assert_eq!(catalog.invitations().revoke("Eve", 2001).expect("writable"), nothing);
    catalog.invite([3; 32], "Ann", Door::None);
    let withdrawn = Revoked { door: Door::None, keys: 0, invitations: 1 };
    assert_eq!(catalog.invitations().revoke("Ann", 2002).expect("writable"), withdrawn);
    assert_eq!(catalog.enroll([3; 32], OTHER_KEY), Outcome::BadCode);
}

#[test]
fn a_removed_client_takes_its_keys_and_invitations_along() {
    let mut catalog = Catalog::with_enrolled("Eve");
    catalog.invite([2; 32], "Eve", Door::Secure);
    let mut retention = catalog.retention();
    assert!(retention.retire_client("Eve").expect("writable"));
    assert_eq!(catalog.by_pin(KEY), None);
    for secret in [SECRET, [2; 32]] {
        assert_eq!(catalog.enroll(secret, KEY), Outcome::BadCode);
    }
    let retired = retention.retired_client().expect("readable").expect("begun");
    retention.forget_client(&retired).expect("nothing refers to it");
    assert_eq!(catalog.reader().faults().expect("readable"), Vec::<String>::new());
    assert_eq!(catalog.invite([3; 32], "Eve", Door::None), OPEN);
    assert!(matches!(catalog.enroll([3; 32], KEY), Outcome::Enrolled { .. }), "as somebody new");
}

#[test]
fn invitations_are_forgotten_long_after_their_end() {
    let mut catalog = Catalog::with_enrolled("Eve");
    catalog.now += crate::limits::INVITATION_KEPT.as_millis() as i64;
    catalog.invite([2; 32], "Ann", Door::None);
    assert!(matches!(catalog.enroll(SECRET, KEY), Outcome::Enrolled { already: true, .. }));
    catalog.now += 2000;
    catalog.invite([3; 32], "Ann", Door::None);
    assert_eq!(catalog.enroll(SECRET, KEY), Outcome::BadCode);
    assert!(!catalog.by_pin(KEY).expect("enrolled").is_revoked, "the key is not concerned");
}

#[test]
fn a_catalog_of_schema_2_is_brought_up_to_date() {
    let temp = tempfile::tempdir().expect("a temporary folder");
    let path = temp.path().join("catalog.db");
    let old = rusqlite::Connection::open(&path).expect("a new file");
    old.execute_batch(include_str!("../testdata/schema_2.sql")).expect("a catalog of schema 2");
    drop(old);
    assert!(matches!(Invitations::open(&path), Err(CatalogError::Older(_))));
    let writer = Writer::open(&path).expect("brought up to date");
    let mut catalog = Catalog { _temp: temp, path, writer, now: 1_800_000_000_000 };
    let reader = catalog.reader();
    assert_eq!(reader.faults().expect("readable"), Vec::<String>::new());
    let rows = reader.contents_after(0, i64::MAX).expect("readable");
    let marked: Vec<_> = rows.iter().map(|row| row.damage.is_some()).collect();
    assert_eq!(marked, [true, false, false, false, true, false, false, false]);
    assert!(rows.iter().all(|row| row.damage.is_some() != row.blake3.is_some()));
    for name in ["demo-825", "demo-1100"] {
        assert_eq!(catalog.access(name), Access::Classic { has_key: true });
    }
    assert_eq!(catalog.invite(SECRET, "demo-825", Door::Classic), OPEN);
    assert!(matches!(catalog.enroll(SECRET, KEY), Outcome::Enrolled { already: false, .. }));
    let adopted = catalog.by_pin(KEY).expect("enrolled").client;
    let stored = catalog.reader().usage(adopted).expect("readable");
    assert_eq!(stored, Usage { versions: 4, bytes: 60_010 });
}

#[test]
fn a_clients_id_is_drawn_again_if_it_is_taken() {
    let mut catalog = Catalog::with_bob();
    catalog.invite(SECRET, "Eve", Door::None);
    let change = Change::Enroll { secret: SECRET, pin: KEY, fresh_id: BOB };
    assert_eq!(catalog.commit(&[change]), [Outcome::IdTaken]);
    assert!(matches!(catalog.enroll(SECRET, KEY), Outcome::Enrolled { already: false, .. }));
}
