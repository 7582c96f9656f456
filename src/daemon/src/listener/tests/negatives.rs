//! Who is not let in.

use std::sync::Arc;

use rcgen::SanType;
use rustls::{
    AlertDescription, HandshakeKind, NamedGroup, ProtocolVersion,
    version::{TLS12, TLS13},
};
use tokio::{io::AsyncReadExt, net::TcpStream};

use super::world::{Client, World};
use crate::tls::authority::{Authority, HOUR, Leaf, START, uri};

#[tokio::test]
async fn a_workload_is_let_in_and_named() {
    let world = World::new();
    let server = world.start();
    let identity = world.clients.issue(&Leaf::spiffe("/prod/payments/api"));
    let client = Client::connect(&server, world.tls13(&identity)).await.unwrap();
    let (headers, _) = client.ask("/").await.unwrap();
    assert_eq!(headers["x-principal"], "spiffe://example.org/prod/payments/api");
    assert_eq!(headers["x-certificate"], *crate::identity::fingerprint(&identity.chain[0]));
    assert_eq!(server.listener.stats().connections, 1);
}

#[tokio::test]
async fn the_newest_tls_with_the_hybrid_key_exchange_comes_first() {
    let mut world = World::new();
    world.tls.allow_tls12 = true;
    let server = world.start();
    let identity = world.clients.issue(&Leaf::spiffe("/a"));
    let tls = server.shake_hands(world.client(Some(&identity), &[&TLS13, &TLS12])).await.unwrap();
    let session = tls.get_ref().1;
    assert_eq!(session.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(session.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519MLKEM768);
    assert_eq!(session.alpn_protocol(), Some(&b"h2"[..]));

    let old = Client::connect(&server, world.client(Some(&identity), &[&TLS12])).await.unwrap();
    assert_eq!(old.ask_who().await, "spiffe://example.org/a");
}

#[tokio::test]
async fn nobody_without_a_good_certificate() {
    let world = World::new();
    let server = world.start();
    let good = Leaf::spiffe("/a");
    let spiffe = |path: &str| uri(&format!("spiffe://example.org{path}"));
    let cases = [
        ("unknown authority", Authority::new("strangers").issue(&good), AlertDescription::UnknownCA),
        // The name of one that we know, and another key.
        ("imposter", Authority::new("clients").issue(&good), AlertDescription::DecryptError),
        (
            "expired",
            world.clients.issue(&Leaf { to: START - 1, ..good.clone() }),
            AlertDescription::CertificateExpired,
        ),
        (
            "not yet valid",
            world.clients.issue(&Leaf { from: START + 1, ..good.clone() }),
            AlertDescription::CertificateExpired,
        ),
        (
            "no SPIFFE ID",
            world.clients.issue(&Leaf::new(vec![SanType::DnsName("a".try_into().unwrap())])),
            AlertDescription::CertificateUnknown,
        ),
        (
            "two URIs",
            world.clients.issue(&Leaf::new(vec![spiffe("/a"), spiffe("/b")])),
            AlertDescription::CertificateUnknown,
        ),
        (
            "another trust domain",
            world.clients.issue(&Leaf::new(vec![uri("spiffe://example.com/a")])),
            AlertDescription::CertificateUnknown,
        ),
    ];
    for (name, identity, alert) in cases {
        assert_eq!(server.alert(world.tls13(&identity)).await, alert, "{name}");
    }
    let nobody = world.client(None, &[&TLS13]);
    assert_eq!(server.alert(nobody).await, AlertDescription::CertificateRequired);
    let stats = server.until(|stats| stats.failed_handshakes == 8).await;
    assert_eq!((stats.connections, stats.accepted), (0, 8));
}

#[tokio::test]
async fn an_authority_is_no_client() {
    let world = World::new();
    let server = world.start();
    let identity = world.clients.issue(&Leaf { authority: true, ..Leaf::spiffe("/a") });
    let alert = server.alert(world.tls13(&identity)).await;
    assert!(
        matches!(alert, AlertDescription::BadCertificate | AlertDescription::CertificateUnknown),
        "{alert:?}"
    );
}

#[tokio::test]
async fn tls_1_2_is_refused_when_it_is_not_configured() {
    let world = World::new();
    let server = world.start();
    let identity = world.clients.issue(&Leaf::spiffe("/a"));
    let alert = server.alert(world.client(Some(&identity), &[&TLS12])).await;
    assert_eq!(alert, AlertDescription::ProtocolVersion);
}

#[tokio::test]
async fn another_protocol_is_refused() {
    let world = World::new();
    let server = world.start();
    let identity = world.clients.issue(&Leaf::spiffe("/a"));
    let mut config = Arc::unwrap_or_clone(world.tls13(&identity));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    assert_eq!(server.alert(Arc::new(config)).await, AlertDescription::NoApplicationProtocol);
}

#[tokio::test]
async fn a_session_is_resumed_only_while_its_certificate_is_good() {
    let world = World::new();
    let server = world.start();
    let identity = world.clients.issue(&Leaf { to: START + HOUR, ..Leaf::spiffe("/a") });
    let config = world.tls13(&identity);
    let first = Client::connect(&server, Arc::clone(&config)).await.unwrap();
    first.ask_who().await;

    let second = Client::connect(&server, Arc::clone(&config)).await.unwrap();
    assert_eq!(second.handshake, Some(HandshakeKind::Resumed));
    assert_eq!(second.ask_who().await, "spiffe://example.org/a");

    world.clock.set(START + HOUR + 1);
    let mut third = server.shake_hands(Arc::clone(&config)).await.unwrap();
    assert_eq!(third.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
    assert!(!matches!(third.read(&mut [0; 64]).await, Ok(1..)), "it is closed without a word");
    server.until(|stats| stats.failed_handshakes == 1).await;

    // New material, new ticket key: nothing that the old one let in is resumed.
    world.clock.set(START);
    server.store.publish(world.material());
    let fourth = server.shake_hands(config).await.unwrap();
    assert_eq!(fourth.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stalls_is_cut() {
    let world = World::new();
    let server = world.start();
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let began = tokio::time::Instant::now();
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or(0), 0);
    assert_eq!(began.elapsed().as_secs(), world.limits.handshake_timeout.as_secs());
    assert_eq!(server.listener.stats().failed_handshakes, 1);
}

#[tokio::test(start_paused = true)]
async fn clients_that_stall_hold_nobody_up() {
    let mut world = World::new();
    world.limits.max_handshakes = 4;
    let server = world.start();
    let mut silent = Vec::new();
    for _ in 0..6 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let began = tokio::time::Instant::now();
    let client = world.connect(&server, "/a").await;
    assert_eq!(client.ask_who().await, "spiffe://example.org/a");
    assert!(began.elapsed() < world.limits.handshake_timeout / 2, "{:?}", began.elapsed());
}
