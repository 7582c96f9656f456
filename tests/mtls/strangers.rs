//! Who is not let in, and that the broker says why to its operators and nothing to its journal.

use std::sync::Arc;

use leasehold_proto::v1::GetStatusRequest;
use leasehold_tests::{
    authority::{Authority, Identity, Leaf},
    daemon::Daemon,
    raw::{Raw, alert, shake_hands},
    site::{OPERATOR, Plan, Site, WORKLOAD, client_tls},
};
use rustls::{
    AlertDescription, NamedGroup, ProtocolVersion,
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// How many records the journal has.
async fn records(site: &Site) -> i64 {
    let operator = Raw::open(site.address, site.tls(Some(&site.identity(OPERATOR)))).await.unwrap();
    let answer = operator.operators().get_status(GetStatusRequest {}).await.unwrap().into_inner();
    answer.status.unwrap().ledger.unwrap().head_sequence
}

#[tokio::test]
async fn nobody_without_a_good_certificate() {
    let site = Site::new(Plan::default());
    let daemon = Daemon::start(&site).await;
    let before = records(&site).await;

    let good = Leaf::client(WORKLOAD);
    let signed = |leaf: Leaf| site.authority.sign(&leaf);
    let cases: [(&str, Identity, AlertDescription, &str); 8] = [
        (
            "of an unknown authority",
            Authority::new("strangers").sign(&good),
            AlertDescription::UnknownCA,
            "UnknownIssuer",
        ),
        (
            "of another authority of the same name",
            Authority::new("tests").sign(&good),
            AlertDescription::DecryptError,
            "BadSignature",
        ),
        (
            "expired",
            signed(Leaf { from: -7200, until: -5, ..good.clone() }),
            AlertDescription::CertificateExpired,
            "has expired",
        ),
        (
            "not valid yet",
            signed(Leaf { from: 3600, until: 7200, ..good.clone() }),
            AlertDescription::CertificateExpired,
            "not valid",
        ),
        (
            "without a SPIFFE ID",
            signed(Leaf { uris: vec![], hosts: vec!["api.example.org".into()], ..good.clone() }),
            AlertDescription::CertificateUnknown,
            "no URI subject alternative name",
        ),
        (
            "with two URIs",
            signed(Leaf { uris: vec![WORKLOAD.into(), OPERATOR.into()], ..good.clone() }),
            AlertDescription::CertificateUnknown,
            "URI",
        ),
        (
            "of another trust domain",
            signed(Leaf::client("spiffe://example.com/prod/payments/api")),
            AlertDescription::CertificateUnknown,
            "example.com",
        ),
        (
            "with a URI that is no SPIFFE ID",
            signed(Leaf::client("https://example.org/prod/payments/api")),
            AlertDescription::CertificateUnknown,
            "SPIFFE",
        ),
    ];
    for (name, identity, expected, _) in &cases {
        assert_eq!(alert(site.address, site.tls(Some(identity))).await, *expected, "{name}");
    }
    assert_eq!(alert(site.address, site.tls(None)).await, AlertDescription::CertificateRequired);

    daemon.says("there is no client certificate").await;
    let log = daemon.log();
    for (name, _, _, said) in &cases {
        let told = log.lines().any(|line| line.contains("refused a connection") && line.contains(said));
        assert!(told, "{name}: nothing of {said:?} in\n{log}");
    }

    // A stranger must not be able to fill the disk: what lies between are the two looks at the status.
    assert!(records(&site).await <= before + 1, "strangers left records");
    let good = site.identity(WORKLOAD);
    Raw::open(site.address, site.tls(Some(&good))).await.unwrap().check().await.unwrap();
}

#[tokio::test]
async fn an_authoritys_certificate_is_no_clients() {
    let site = Site::new(Plan::default());
    let _daemon = Daemon::start(&site).await;
    let authority = site.authority.sign(&Leaf { is_authority: true, ..Leaf::client(WORKLOAD) });
    let alert = alert(site.address, site.tls(Some(&authority))).await;
    assert!(
        matches!(alert, AlertDescription::BadCertificate | AlertDescription::CertificateUnknown),
        "{alert:?}"
    );
}

#[tokio::test]
async fn tls_1_2_only_where_it_is_configured() {
    let strict = Site::new(Plan::default());
    let _strict = Daemon::start(&strict).await;
    let identity = strict.identity(WORKLOAD);
    let old = client_tls(&strict.authority, Some(&identity), &[&TLS12]);
    assert_eq!(alert(strict.address, old).await, AlertDescription::ProtocolVersion);

    let lenient = Site::new(Plan { listen: "min_tls = \"1.2\"".into(), ..Plan::default() });
    let _lenient = Daemon::start(&lenient).await;
    let identity = lenient.identity(WORKLOAD);
    let old = client_tls(&lenient.authority, Some(&identity), &[&TLS12]);
    let stream = shake_hands(lenient.address, old.clone()).await.unwrap();
    assert_eq!(stream.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_2));
    Raw::open(lenient.address, old).await.unwrap().check().await.unwrap();
    // It is let in as before: with a certificate only.
    let nobody = client_tls(&lenient.authority, None, &[&TLS12]);
    let alert = alert(lenient.address, nobody).await;
    assert!(
        matches!(alert, AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure),
        "{alert:?}"
    );
}

#[tokio::test]
async fn the_newest_tls_with_the_hybrid_key_exchange_comes_first() {
    let site = Site::new(Plan { listen: "min_tls = \"1.2\"".into(), ..Plan::default() });
    let _daemon = Daemon::start(&site).await;
    let identity = site.identity(WORKLOAD);
    let both = client_tls(&site.authority, Some(&identity), &[&TLS13, &TLS12]);
    let stream = shake_hands(site.address, both).await.unwrap();
    let session = stream.get_ref().1;
    assert_eq!(session.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(session.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519MLKEM768);
    assert_eq!(session.alpn_protocol(), Some(&b"h2"[..]));
}

#[tokio::test]
async fn no_other_protocol_is_spoken() {
    let site = Site::new(Plan::default());
    let _daemon = Daemon::start(&site).await;
    let identity = site.identity(WORKLOAD);
    let mut old = Arc::unwrap_or_clone(site.tls(Some(&identity)));
    old.alpn_protocols = vec![b"http/1.1".to_vec()];
    assert_eq!(alert(site.address, Arc::new(old)).await, AlertDescription::NoApplicationProtocol);

    let mut plain = TcpStream::connect(site.address).await.unwrap();
    plain.write_all(b"POST /leasehold.v1.LeaseService/IssueLease HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // It may end with a reset: the broker has not read all of it.
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.windows(4).any(|window| window == b"HTTP"), "{answer:?}");

    Raw::open(site.address, site.tls(Some(&identity))).await.unwrap().check().await.unwrap();
}
