//! Keys, and the small files of both programs.

use std::sync::LazyLock;

use coffer::files::{Info, Server, Transfer, parse_key_file};
use coffer_protocol::Dialect;
use coffer_protocol::cipher::SessionKey;
use coffer_protocol::key::{PrivateKey, PublicKey};
use coffer_protocol::name::check_client_name;
use cofferd::config::port;

static KEYS: LazyLock<[SessionKey; 2]> = LazyLock::new(|| {
    [Dialect::D825, Dialect::D1100].map(|dialect| {
        SessionKey::from_bytes(dialect, &vec![7; dialect.key_len()]).expect("a key's length")
    })
});

/// What a server takes for a public key, it can wrap any session key with.
pub(crate) fn public_key(data: &[u8]) {
    let Ok(key) = PublicKey::from_der(data) else { return };
    for session_key in &*KEYS {
        let wrapped = key.wrap(session_key, &mut rand::rng());
        assert!((128..=512).contains(&wrapped.len()), "{} bytes", wrapped.len());
    }
}

/// `priv.key`: what is read can be written and read again.
pub(crate) fn priv_key(data: &[u8]) {
    for key in [PrivateKey::from_pkcs8(data), parse_key_file(data)].into_iter().flatten() {
        let written = key.to_pkcs8();
        let again = parse_key_file(&written).expect("our own");
        assert_eq!(*again.to_pkcs8(), *written);
        // It may have a size that no server takes, but it can be told.
        let _ = PublicKey::from_der(&key.public_der());
    }
}

/// `me.info` of either dialect.
pub(crate) fn me_info(data: &[u8]) {
    match Info::parse(data) {
        Ok(info) => assert!(check_client_name(info.name.as_bytes()).is_ok()),
        Err(problem) => assert_printable(&problem),
    }
}

/// `transfer.info`.
pub(crate) fn transfer_info(data: &[u8]) {
    match Transfer::parse(data) {
        Ok(transfer) => {
            assert!(check_client_name(transfer.name.as_bytes()).is_ok());
            let [file] = transfer.files(Dialect::D825)[..] else { panic!("d825 sends one file") };
            assert!(!file.is_empty() && !file.contains(&b'\n'));
            let several = transfer.files(Dialect::D1100);
            assert!(several.iter().all(|name| !name.is_empty() && !name.contains(&b',')));
            let Server { host, port } = &transfer.server;
            assert!(!host.is_empty() && *port != 0);
            let again: Server = transfer.server.to_string().parse().expect("our own text");
            assert_eq!(again, transfer.server);
        }
        Err(problem) => assert_printable(&problem),
    }
}

/// `info.port`.
pub(crate) fn port(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(port) = port::parse(text) {
        assert_ne!(port, 0);
        let digits = text.trim().trim_start_matches('0');
        assert_eq!(digits, port.to_string());
    }
}

/// An error is one line that a terminal can show.
fn assert_printable(problem: &str) {
    assert!(!problem.chars().any(char::is_control), "{problem:?}");
}
