//! Connections that fail, and what is said of each: against a bare TLS server that asks for client certificates.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test")]

use std::{net::SocketAddr, sync::Arc};

use leasehold_client::{Builder, ClientFault, ConnectError, Error, Identity, ServerFault, TrustBundle};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

const BROKER: &str = "spiffe://example.org/leasehold/broker";

type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca() -> Ca {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate and its key as PEM, valid until the year given.
fn leaf(ca: &Ca, names: Vec<SanType>, until: i32) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    (params.signed_by(&key, ca).unwrap().pem(), key.serialize_pem())
}

fn uri(id: &str) -> SanType {
    SanType::URI(id.try_into().unwrap())
}

fn workload(ca: &Ca, until: i32) -> Identity {
    let (certificate, key) = leaf(ca, vec![uri("spiffe://example.org/prod/api")], until);
    Identity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap()
}

/// Serves until dropped; whoever is let in gets an empty SETTINGS frame (RFC 9113, section 6.5) first.
async fn server(ca: &Ca, until: i32) -> (SocketAddr, JoinHandle<()>) {
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let (certificate, key) = leaf(ca, vec![SanType::IpAddress([127, 0, 0, 1].into()), uri(BROKER)], until);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(tcp).await else { return };
                let _ = stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            });
        }
    });
    (address, task)
}

fn to(address: SocketAddr, ca: &Ca) -> Builder {
    let bundle = TrustBundle::from_pem(ca.pem().as_bytes()).unwrap();
    Builder::default().address(address.to_string().parse().unwrap()).trust(bundle)
}

async fn refused(builder: Builder) -> ConnectError {
    match builder.connect().await {
        Err(Error::Connect(fault)) => fault,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("connected"),
    }
}

#[tokio::test]
async fn whoever_is_known_is_let_in_by_host_or_by_id() {
    let ca = ca();
    let (address, _server) = server(&ca, 2090).await;
    assert!(to(address, &ca).identity(workload(&ca, 2090)).connect().await.is_ok());
    let by_id = to(address, &ca).identity(workload(&ca, 2090)).server_id(BROKER.parse().unwrap());
    assert!(by_id.connect().await.is_ok());
}

#[tokio::test]
async fn the_client_s_certificate_is_named_when_it_is_at_fault() {
    let ca = ca();
    let (address, _server) = server(&ca, 2090).await;
    let fault = |error| match error {
        ConnectError::Refused { fault, .. } => fault,
        other => panic!("{other:?}"),
    };
    assert_eq!(fault(refused(to(address, &ca)).await), ClientFault::Required);
    let expired = fault(refused(to(address, &ca).identity(workload(&ca, 2020))).await);
    assert!(matches!(expired, ClientFault::Expired { .. }), "{expired:?}");
    assert!(expired.to_string().contains("has expired (at 2020-01-01T00:00:00Z)"), "{expired}");
    let foreign = fault(refused(to(address, &ca).identity(workload(&self::ca(), 2090))).await);
    assert!(matches!(foreign, ClientFault::UnknownAuthority { .. }), "{foreign:?}");
}

#[tokio::test]
async fn a_server_that_is_not_to_be_trusted_is_not() {
    let ca = ca();
    let (address, _server) = server(&ca, 2090).await;
    let fault = |error| match error {
        ConnectError::Server { fault, .. } => fault,
        other => panic!("{other:?}"),
    };
    let foreign = fault(refused(to(address, &self::ca()).identity(workload(&ca, 2090))).await);
    assert!(matches!(foreign, ServerFault::UnknownAuthority { .. }), "{foreign:?}");
    let named = to(address, &ca).identity(workload(&ca, 2090)).server_name("broker.example.org").unwrap();
    assert!(matches!(fault(refused(named).await), ServerFault::OtherHost { .. }));
    let other = "spiffe://example.org/leasehold/other".parse().unwrap();
    let other = fault(refused(to(address, &ca).identity(workload(&ca, 2090)).server_id(other)).await);
    assert!(other.to_string().contains(&format!("is of `{BROKER}`, not of")), "{other}");
    let (address, _server) = server(&ca, 2020).await;
    let expired = fault(refused(to(address, &ca).identity(workload(&ca, 2090))).await);
    assert_eq!(expired, ServerFault::OutOfTime);
}

#[tokio::test]
async fn nothing_there_and_something_else_there_are_told_apart() {
    let ca = ca();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let fault = refused(to(address, &ca).identity(workload(&ca, 2090))).await;
    assert!(matches!(fault, ConnectError::NotRunning { .. }), "{fault:?}");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let plain = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let _ = tcp.read_to_end(&mut Vec::new()).await;
    });
    let fault = refused(to(address, &ca).identity(workload(&ca, 2090))).await;
    assert!(matches!(fault, ConnectError::NotBroker { .. }), "{fault:?}");
    plain.abort();
}

#[tokio::test]
async fn what_is_missing_is_said_before_anything_is_tried() {
    let error = Builder::default().connect().await.unwrap_err().to_string();
    assert!(error.contains("LEASEHOLD_ADDR"), "{error}");
    let error =
        Builder::default().address("localhost".parse().unwrap()).connect().await.unwrap_err().to_string();
    assert!(error.contains("LEASEHOLD_CA"), "{error}");
}
