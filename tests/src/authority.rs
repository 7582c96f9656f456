//! A certificate authority for tests, which also signs what a good one never would.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use time::OffsetDateTime;

/// A root that signs leaves directly.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// What is in a leaf.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// The URI names, as they are; a good workload has one SPIFFE ID.
    pub uris: Vec<String>,
    /// The DNS names and IP addresses of a server.
    pub hosts: Vec<String>,
    /// From when it is valid, in seconds from now.
    pub from: i64,
    /// Until when it is valid, in seconds from now.
    pub until: i64,
    /// Whether it claims to be an authority itself.
    pub is_authority: bool,
}

/// A certificate with its key.
pub struct Identity {
    /// The leaf, PEM.
    pub certificate: String,
    /// Its key, PEM.
    pub key: String,
    /// Its serial number, for revocation.
    pub serial: u64,
    der: CertificateDer<'static>,
    key_der: Vec<u8>,
}

impl Leaf {
    /// A workload's or an operator's certificate for a day.
    pub fn client(spiffe_id: &str) -> Self {
        Self {
            uris: vec![spiffe_id.to_owned()],
            hosts: Vec::new(),
            from: -60,
            until: 86_400,
            is_authority: false,
        }
    }

    /// The broker's own certificate for loopback.
    pub fn server(spiffe_id: &str) -> Self {
        Self { hosts: vec!["localhost".to_owned(), "127.0.0.1".to_owned()], ..Self::client(spiffe_id) }
    }
}

impl Authority {
    /// A new root.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = OffsetDateTime::now_utc() - Duration::from_secs(3600);
        params.not_after = OffsetDateTime::now_utc() + Duration::from_secs(30 * 86_400);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    /// The root's certificate, PEM.
    pub fn bundle(&self) -> String {
        self.issuer.pem()
    }

    /// The root's certificate, DER.
    pub fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// Signs a leaf.
    pub fn sign(&self, leaf: &Leaf) -> Identity {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let serial = SERIAL.fetch_add(1, Relaxed);
        let mut params = CertificateParams::new(leaf.hosts.clone()).unwrap();
        let uris = leaf.uris.iter().map(|uri| SanType::URI(uri.as_str().try_into().unwrap()));
        params.subject_alt_names.extend(uris);
        params.serial_number = Some(SerialNumber::from(serial));
        params.is_ca =
            if leaf.is_authority { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let now = OffsetDateTime::now_utc();
        params.not_before = now + time::Duration::seconds(leaf.from);
        params.not_after = now + time::Duration::seconds(leaf.until);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            serial,
            der: certificate.der().clone(),
            key_der: key.serialize_der(),
        }
    }

    /// A revocation list (RFC 5280) with these serial numbers, PEM.
    pub fn crl(&self, serials: &[u64]) -> String {
        let now = OffsetDateTime::now_utc();
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: now - Duration::from_secs(60),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: now - Duration::from_secs(60),
            next_update: now + Duration::from_secs(86_400),
            crl_number: SerialNumber::from(u64::try_from(serials.len()).unwrap() + 1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

impl Identity {
    /// The chain as rustls takes it.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.der.clone()]
    }

    /// The key as rustls takes it.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key_der.clone().into())
    }
}
