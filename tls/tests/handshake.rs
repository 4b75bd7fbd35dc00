//! Whole handshakes in memory: who gets through, who does not, and what goes over the wire.

use std::sync::Arc;

use coffer_tls::{ALPN, Identity, Pin, connect, peer_pin, wrong_pin};
use rustls::client::Resumption;
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, ConnectionCommon, Error, HandshakeKind,
    NamedGroup, PeerIncompatible, ProtocolVersion, ServerConfig, ServerConnection, SideData,
};

/// Both ends of a connection, and what the server has sent in all.
struct Pair {
    client: ClientConnection,
    server: ServerConnection,
    server_sent: usize,
}

/// Why a handshake ended, at the side that noticed first.
#[derive(Debug)]
enum End {
    Client(Error),
    Server(Error),
}

impl Pair {
    fn new(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> Self {
        let server = ServerConnection::new(server).expect("a configuration");
        Self { client: connect(client).expect("a configuration"), server, server_sent: 0 }
    }

    /// Moves bytes until nobody has any. `change` may change what the client sends first, and what the server does.
    fn shake(&mut self, mut change: impl FnMut(Side, &mut Vec<u8>)) -> Result<(), End> {
        loop {
            let mut flight = Vec::new();
            while self.client.wants_write() {
                self.client.write_tls(&mut flight).expect("memory");
            }
            change(Side::Client, &mut flight);
            feed(&mut self.server, &flight).map_err(End::Server)?;
            let mut answer = Vec::new();
            while self.server.wants_write() {
                self.server.write_tls(&mut answer).expect("memory");
            }
            self.server_sent += answer.len();
            change(Side::Server, &mut answer);
            feed(&mut self.client, &answer).map_err(End::Client)?;
            if flight.is_empty() && answer.is_empty() {
                return Ok(());
            }
        }
    }

    fn is_complete(&self) -> bool {
        !self.client.is_handshaking() && !self.server.is_handshaking()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Client,
    Server,
}

fn feed<D: SideData>(end: &mut ConnectionCommon<D>, mut bytes: &[u8]) -> Result<(), Error> {
    while !bytes.is_empty() {
        end.read_tls(&mut bytes).expect("memory");
        end.process_new_packets()?;
    }
    Ok(())
}

fn unchanged(_: Side, _: &mut Vec<u8>) {}

/// Two that know each other.
fn friends() -> (Identity, Identity) {
    (Identity::generate(), Identity::generate())
}

fn pair(client: &Identity, server: &Identity) -> Pair {
    Pair::new(client.client_config(server.pin()), server.server_config())
}

/// The client's configuration for `server`, changed.
fn client_with(
    client: &Identity,
    server: Pin,
    change: impl FnOnce(&mut ClientConfig),
) -> Arc<ClientConfig> {
    let mut config = (*client.client_config(server)).clone();
    change(&mut config);
    Arc::new(config)
}

#[test]
fn both_sides_know_each_other_afterwards() {
    let (client, server) = friends();
    let mut pair = pair(&client, &server);
    assert_eq!((peer_pin(&pair.client), peer_pin(&pair.server)), (None, None));
    pair.shake(unchanged).expect("a handshake");
    assert_eq!(peer_pin(&pair.client), Some(server.pin()));
    assert_eq!(peer_pin(&pair.server), Some(client.pin()));
    assert_eq!(pair.client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(pair.server.alpn_protocol(), Some(ALPN));
    let group = pair.server.negotiated_key_exchange_group().expect("agreed").name();
    assert_eq!(group, NamedGroup::X25519MLKEM768);
    assert_eq!(pair.server.server_name(), None, "no name is sent");
}

#[test]
fn the_server_does_not_believe_before_the_client_has_finished() {
    let (client, server) = friends();
    let config = client_with(&client, server.pin(), |config| {
        config.max_fragment_size = Some(64); // so that the Finished is not in one record with the rest
    });
    let mut pair = Pair::new(config, server.server_config());
    let mut flights = 0;
    let cut = |side, flight: &mut Vec<u8>| {
        if side == Side::Client && !flight.is_empty() {
            flights += 1;
            if flights == 2 {
                flight.pop(); // of the client's Finished
            }
        }
    };
    pair.shake(cut).expect("no error yet");
    assert!(pair.server.peer_certificates().is_some(), "the key has been shown and checked");
    assert_eq!(peer_pin(&pair.server), None);
}

#[test]
fn another_server_is_refused_and_named() {
    let (client, server) = friends();
    let stranger = Identity::generate();
    let mut pair = Pair::new(client.client_config(server.pin()), stranger.server_config());
    let Err(End::Client(error)) = pair.shake(unchanged) else { panic!("not refused") };
    assert_eq!(wrong_pin(&error), Some(stranger.pin()));
    assert!(error.to_string().contains(&stranger.pin().to_string()), "{error}");
    assert_eq!(peer_pin(&pair.client), None);
    let told = pair.shake(unchanged);
    let alert = Error::AlertReceived(AlertDescription::CertificateUnknown);
    assert!(matches!(&told, Err(End::Server(error)) if *error == alert), "{told:?}");
    assert_eq!(peer_pin(&pair.server), None);
    assert_eq!(wrong_pin(&alert), None);
}

#[test]
fn a_server_that_only_knows_the_pinned_key_is_refused() {
    let (client, server) = friends();
    let stranger = Identity::generate();
    // It shows the pinned public key and signs with its own.
    let mut config = (*stranger.server_config()).clone();
    config.cert_resolver = Arc::new(liar::Liar::new(&server, &stranger));
    let mut pair = Pair::new(client.client_config(server.pin()), Arc::new(config));
    let ended = pair.shake(unchanged);
    assert!(matches!(ended, Err(End::Client(Error::InvalidCertificate(_)))), "{ended:?}");
    assert_eq!(peer_pin(&pair.client), None);
}

#[test]
fn a_client_that_only_knows_an_enrolled_key_is_refused() {
    let (client, server) = friends();
    let stranger = Identity::generate();
    let config = client_with(&stranger, server.pin(), |config| {
        config.client_auth_cert_resolver = Arc::new(liar::Liar::new(&client, &stranger));
    });
    let mut pair = Pair::new(config, server.server_config());
    let ended = pair.shake(unchanged);
    assert!(matches!(ended, Err(End::Server(Error::InvalidCertificate(_)))), "{ended:?}");
    assert_eq!(peer_pin(&pair.server), None);
}

#[test]
fn a_client_without_a_key_is_refused() {
    let (client, server) = friends();
    let config = client_with(&client, server.pin(), |config| {
        config.client_auth_cert_resolver = Arc::new(liar::Nobody);
    });
    let mut pair = Pair::new(config, server.server_config());
    let ended = pair.shake(unchanged);
    assert!(
        matches!(ended, Err(End::Server(Error::NoCertificatesPresented))),
        "a certificate is demanded: {ended:?}"
    );
}

#[test]
fn another_protocol_or_none_is_refused() {
    let (client, server) = friends();
    for alpn in [vec![], vec![b"h2".to_vec()], vec![b"coffer/5".to_vec(), b"coffer/3".to_vec()]] {
        let config =
            client_with(&client, server.pin(), |config| config.alpn_protocols = alpn.clone());
        let mut pair = Pair::new(config, server.server_config());
        let ended = pair.shake(unchanged);
        assert!(matches!(ended, Err(End::Server(_))), "{alpn:?}: {ended:?}");
        assert_eq!(peer_pin(&pair.server), None);
    }
    let several = vec![b"coffer/5".to_vec(), ALPN.to_vec()];
    let config = client_with(&client, server.pin(), |config| config.alpn_protocols = several);
    let mut pair = Pair::new(config, server.server_config());
    pair.shake(unchanged).expect("one of them fits");
    assert_eq!(peer_pin(&pair.server), Some(client.pin()));
}

#[test]
fn a_server_that_names_no_protocol_is_not_believed() {
    let (client, server) = friends();
    let mut config = (*server.server_config()).clone();
    config.alpn_protocols = vec![];
    let mut pair = Pair::new(client.client_config(server.pin()), Arc::new(config));
    pair.shake(unchanged).expect("rustls lets it pass");
    assert!(pair.is_complete());
    assert_eq!((peer_pin(&pair.client), peer_pin(&pair.server)), (None, None));
}

/// What `openssl s_client -alpn coffer/4 -noservername` of OpenSSL 3.0 says first, with `-tls1_2` and `-tls1_3`.
#[test]
fn clients_of_ordinary_tls_are_refused() {
    let server = Identity::generate();
    let expected = [
        (
            &include_bytes!("testdata/tls12.hello")[..],
            PeerIncompatible::SupportedVersionsExtensionRequired,
        ),
        (
            &include_bytes!("testdata/tls13.hello")[..],
            PeerIncompatible::IncorrectCertificateTypeExtension,
        ),
    ];
    for (hello, reason) in expected {
        let mut end = ServerConnection::new(server.server_config()).expect("a configuration");
        let error = feed(&mut end, hello).expect_err("refused");
        assert_eq!(error, Error::PeerIncompatible(reason));
        assert!(end.wants_write(), "it is told");
    }
}

#[test]
fn no_ticket_is_given_and_no_session_resumed() {
    let (client, server) = friends();
    let server_config = server.server_config();
    // Even for a client that would keep tickets.
    let client_config = client_with(&client, server.pin(), |config| {
        config.resumption = Resumption::in_memory_sessions(8);
    });
    for _ in 0..3 {
        let mut pair = Pair::new(Arc::clone(&client_config), Arc::clone(&server_config));
        let mut server_flights = vec![];
        let mut count = |side, flight: &mut Vec<u8>| {
            if side == Side::Server && !flight.is_empty() {
                server_flights.push(flight.len());
            }
        };
        pair.shake(&mut count).expect("a handshake");
        assert_eq!(server_flights.len(), 1, "nothing comes behind the server's Finished");
        assert_eq!(pair.client.tls13_tickets_received(), 0);
        assert_eq!(pair.server.handshake_kind(), Some(HandshakeKind::Full));
        assert!(!pair.client.is_early_data_accepted());
        assert!(pair.is_complete());
    }
}

#[test]
fn no_flipped_bit_gets_through() {
    let (client, server) = friends();
    let (client_config, server_config) =
        (client.client_config(server.pin()), server.server_config());
    let mut lengths = vec![];
    Pair::new(Arc::clone(&client_config), Arc::clone(&server_config))
        .shake(|side, flight| lengths.push((side, flight.len())))
        .expect("a handshake");
    for (turn, (_, length)) in lengths.into_iter().enumerate() {
        for place in 0..length {
            let mut pair = Pair::new(Arc::clone(&client_config), Arc::clone(&server_config));
            let mut turns = 0;
            let mut skipped = false;
            let ended = pair.shake(|_, flight| {
                if turns == turn && place < flight.len() {
                    skipped = is_unprotected(flight, place);
                    flight[place] ^= 1 << (place % 8);
                }
                turns += 1;
            });
            let both = pair.is_complete() && ended.is_ok();
            assert!(skipped || !both, "turn {turn}, byte {place}");
        }
    }
}

/// The version in the header of a record (RFC 8446, section 5.1: "MUST be ignored for all purposes"; rustls puts the
/// right one in its place before it decrypts), and the records that only please middleboxes and are thrown away.
fn is_unprotected(flight: &[u8], place: usize) -> bool {
    const CHANGE_CIPHER_SPEC: u8 = 20;
    let mut start = 0;
    loop {
        let length = usize::from(u16::from_be_bytes([flight[start + 3], flight[start + 4]]));
        let next = start + 5 + length;
        if place < next {
            return (start + 1..start + 3).contains(&place) || flight[start] == CHANGE_CIPHER_SPEC;
        }
        start = next;
    }
}

#[test]
fn a_handshake_costs_a_bounded_number_of_bytes() {
    let (client, server) = friends();
    let mut pair = pair(&client, &server);
    let mut client_sent = 0;
    pair.shake(|side, flight| {
        if side == Side::Client {
            client_sent += flight.len();
        }
    })
    .expect("a handshake");
    assert!(client_sent < 2048 && pair.server_sent < 2048, "{client_sent} {}", pair.server_sent);
}

/// Peers that show keys which are not theirs, or none.
mod liar {
    use super::*;
    use rustls::SignatureScheme;
    use rustls::client::ResolvesClientCert;
    use rustls::crypto::aws_lc_rs::sign::any_eddsa_type;
    use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
    use rustls::server::{ClientHello, ResolvesServerCert};
    use rustls::sign::CertifiedKey;

    #[derive(Debug)]
    pub(super) struct Liar(Arc<CertifiedKey>);

    impl Liar {
        /// Shows the public key of one and signs with the key of another.
        pub(super) fn new(shown: &Identity, own: &Identity) -> Self {
            let key = |of: &Identity| {
                any_eddsa_type(&PrivatePkcs8KeyDer::from(of.pkcs8())).expect("a key")
            };
            let spki = key(shown).public_key().expect("public").to_vec();
            Self(Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki)], key(own))))
        }
    }

    impl ResolvesServerCert for Liar {
        fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            Some(Arc::clone(&self.0))
        }

        fn only_raw_public_keys(&self) -> bool {
            true
        }
    }

    impl ResolvesClientCert for Liar {
        fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
            Some(Arc::clone(&self.0))
        }

        fn only_raw_public_keys(&self) -> bool {
            true
        }

        fn has_certs(&self) -> bool {
            true
        }
    }

    /// Offers to show a raw key, and has none.
    #[derive(Debug)]
    pub(super) struct Nobody;

    impl ResolvesClientCert for Nobody {
        fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
            None
        }

        fn only_raw_public_keys(&self) -> bool {
            true
        }

        fn has_certs(&self) -> bool {
            false
        }
    }
}
