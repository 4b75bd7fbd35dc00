//! Inviting, enrolling as the server does it, and revoking.

use std::net::SocketAddr;

use coffer_protocol::v4::fingerprint::Pin;
use coffer_protocol::v4::invitation::Invitation;
use coffer_tls::key_file;

use super::*;
use crate::catalog::Door;
use crate::commands::invite::{self, Wanted, reachable};
use crate::config::{Period, Size};

const KEY: [u8; 32] = [0xaa; 32];
const OTHER_KEY: [u8; 32] = [0xbb; 32];

fn wanted(name: &str, holder: Door) -> Wanted<'_> {
    let expires = Period(std::time::Duration::from_secs(3600));
    let addresses = vec!["coffer.example:1256".to_owned(), "[2001:db8::1]:1256".to_owned()];
    Wanted { name, holder, expires, quota: None, addresses }
}

impl Server {
    fn with_identity() -> (Self, Pin) {
        let server = Self::new();
        let identity = key_file::load_or_create(&server.opened.dir.identity()).expect("made");
        (server, identity.pin())
    }

    /// The code, and what is said about it.
    fn invite(&self, wanted: &Wanted<'_>) -> Result<(Invitation, String), CommandError> {
        let mut notes = Vec::new();
        let code = output(|out| invite::invite(&self.opened.dir, wanted, out, &mut notes))?;
        let code = code.strip_suffix('\n').expect("a line");
        assert!(code.starts_with("coffer1-") && !code.contains(char::is_whitespace), "{code}");
        let notes = String::from_utf8(notes).expect("text");
        assert!(!notes.contains(code), "a log of what is said holds no secret");
        Ok((Invitation::from_code(code).expect("a code"), notes))
    }

    fn enroll(&mut self, invitation: &Invitation, pin: [u8; 32]) -> Outcome {
        let change = Change::Enroll {
            secret: invitation.secret.hash(),
            pin,
            fresh_id: ClientId([pin[0]; 16]),
        };
        // The invitation was made just now, and not at the tests' time.
        let now_ms = jiff::Timestamp::now().as_millisecond();
        self.opened.writer.commit(&[change], now_ms).expect("a working catalog").remove(0)
    }

    fn clients(&self) -> Vec<Value> {
        let text = output(|out| clients::clients(&self.opened.dir, true, out)).expect("a list");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    fn revoke(&self, name: &str) -> Result<String, CommandError> {
        output(|out| revoke::revoke(&self.opened.dir, name, out))
    }
}

#[test]
fn a_code_holds_what_a_client_needs() {
    let (mut server, pin) = Server::with_identity();
    let wanted = Wanted { quota: Some(Size(50 << 30)), ..wanted("Zoë", Door::None) };
    let (invitation, notes) = server.invite(&wanted).expect("invited");
    assert_eq!((invitation.server, &invitation.addresses), (pin, &wanted.addresses));
    for said in ["the client Zoë", "for 1h (until 2", "coffer.example:1256", &pin.to_string()] {
        assert!(notes.contains(said), "{notes}");
    }
    let enrolled = server.enroll(&invitation, KEY);
    assert!(matches!(enrolled, Outcome::Enrolled { name, .. } if name == "Zoë"));
    let clients = server.clients();
    let zoe = &clients[2];
    assert_eq!(
        (&zoe["client"], &zoe["door"], &zoe["has_key"]),
        (&"Zoë".into(), &"secure".into(), &true.into())
    );
    assert_eq!(zoe["fingerprint"], Pin(KEY).to_string());
    assert_eq!(zoe["quota"], 50_u64 << 30);
    assert_eq!(
        (&clients[0]["door"], &clients[0]["fingerprint"]),
        (&"classic".into(), &Value::Null)
    );
    let text = output(|out| clients::clients(&server.opened.dir, false, out)).expect("a list");
    assert_eq!(text.lines().last(), Some(format!("  key {}", Pin(KEY)).as_str()));
}

#[test]
fn a_later_code_takes_the_place_of_an_earlier_one() {
    let (mut server, _) = Server::with_identity();
    let (first, notes) = server.invite(&wanted("Ann", Door::None)).expect("invited");
    assert!(!notes.contains("earlier"), "{notes}");
    let (second, notes) = server.invite(&wanted("Ann", Door::None)).expect("invited");
    assert!(notes.contains("An earlier code for Ann does not work any more"), "{notes}");
    assert_eq!(server.enroll(&first, KEY), Outcome::BadCode);
    assert!(matches!(server.enroll(&second, KEY), Outcome::Enrolled { .. }));
}

#[test]
fn an_adopted_client_keeps_its_files() {
    let (mut server, _) = Server::with_identity();
    server.store(BOB, b"a", b"one");
    let error = server.invite(&wanted("Bob", Door::None)).expect_err("there is one");
    assert!(
        error
            .to_string()
            .contains("client Bob uses the classic protocol: `cofferd invite --adopt`"),
        "{error}"
    );
    assert_eq!(error.exit_code(), 2);
    let (invitation, notes) = server.invite(&wanted("Bob", Door::Classic)).expect("invited");
    assert!(notes.contains("Bob keeps its files"), "{notes}");
    assert!(matches!(server.enroll(&invitation, KEY), Outcome::Enrolled { .. }));
    assert_eq!(server.cat("Bob", "a", None).expect("still there"), b"one");
    let error = server.invite(&wanted("Bob", Door::Classic)).expect_err("done");
    assert!(error.to_string().contains("client Bob is enrolled: `cofferd reinvite`"), "{error}");
    let reset = output(|out| reset_key::reset_key(&server.opened.dir, "Bob", out));
    assert!(reset.expect_err("no such key").to_string().contains("`cofferd reinvite`"));
}

#[test]
fn a_client_that_lost_its_key_gets_another() {
    let (mut server, _) = Server::with_identity();
    let (invitation, _) = server.invite(&wanted("Ann", Door::None)).expect("invited");
    server.enroll(&invitation, KEY);
    let (invitation, notes) = server.invite(&wanted("Ann", Door::Secure)).expect("invited");
    assert!(notes.contains("All earlier keys of Ann are revoked"), "{notes}");
    assert_eq!(server.clients()[0]["fingerprint"], Pin(KEY).to_string(), "until it is used");
    assert!(matches!(server.enroll(&invitation, OTHER_KEY), Outcome::Enrolled { .. }));
    assert_eq!(server.clients()[0]["fingerprint"], Pin(OTHER_KEY).to_string());
    let error = server.invite(&wanted("Nobody", Door::Secure)).expect_err("nobody");
    assert!(matches!(error, CommandError::NoClient(_)), "{error}");
}

#[test]
fn a_revoked_client_is_let_in_no_more() {
    let (mut server, _) = Server::with_identity();
    let (invitation, _) = server.invite(&wanted("Ann", Door::None)).expect("invited");
    server.enroll(&invitation, KEY);
    server.invite(&wanted("Ann", Door::Secure)).expect("invited");
    let said = server.revoke("Ann").expect("revoked");
    assert_eq!(
        said,
        "revoked 1 key and 1 invitation of Ann; `cofferd reinvite` lets it in with another key\n"
    );
    let reader = Reader::open(&server.opened.dir.catalog()).expect("a catalog");
    assert!(reader.client_by_pin(&KEY).expect("readable").expect("remembered").is_revoked);
    assert_eq!(
        (&server.clients()[0]["has_key"], &server.clients()[0]["fingerprint"]),
        (&false.into(), &Value::Null)
    );
    server.invite(&wanted("Carl", Door::None)).expect("invited");
    assert_eq!(
        server.revoke("Carl").expect("withdrawn"),
        "revoked 0 keys and 1 invitation of Carl\n"
    );
    assert!(matches!(server.revoke("Carl"), Err(CommandError::NoClient(_))));
    let error = server.revoke("Bob").expect_err("classic");
    assert!(
        error.to_string().contains("uses the classic protocol") && error.exit_code() == 2,
        "{error}"
    );
}

#[test]
fn without_a_key_of_the_server_nobody_is_invited() {
    let server = Server::new();
    let error = server.invite(&wanted("Ann", Door::None)).expect_err("no key");
    assert!(error.to_string().contains("identity.pem): start it once"), "{error}");
    let path = server.opened.dir.identity();
    key_file::load_or_create(&path).expect("made");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("ours");
    let error = server.invite(&wanted("Ann", Door::None)).expect_err("open to others");
    assert!(error.to_string().contains("chmod 600") && error.exit_code() == 1, "{error}");
}

#[test]
fn addresses_are_those_that_others_can_use() {
    let listen: Vec<SocketAddr> = [
        "127.0.0.1:7",
        "0.0.0.0:1256",
        "[::]:1256",
        "127.0.0.1:0",
        "[fe80::1%3]:9",
        "192.0.2.1:1",
        "192.0.2.2:1",
    ]
    .map(|text| text.parse().expect("an address"))
    .to_vec();
    let expected = ["127.0.0.1:7", "host:1256", "[fe80::1]:9", "192.0.2.1:1"];
    assert_eq!(reachable(&listen, "host"), expected);
    assert_eq!(reachable(&listen[1..3], "a host"), Vec::<String>::new(), "no name for an address");
    assert_eq!(reachable(&listen[3..4], "host"), Vec::<String>::new());
}
