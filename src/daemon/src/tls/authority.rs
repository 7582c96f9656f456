//! For tests: an authority that issues whatever it is asked for, and a clock that is set by hand.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use leasehold_core::{Timestamp, ports::Clock, principal::TrustDomain};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// 2026-01-01T00:00:00Z, when the tests begin.
pub(crate) const START: i64 = 1_767_225_600;
pub(crate) const HOUR: i64 = 3_600;
const FOREVER: i64 = 10 * 365 * 24 * HOUR;

/// A clock that stands still until it is set.
pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(START)))
    }

    pub(crate) fn set(&self, seconds: i64) {
        self.0.store(seconds, Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(Ordering::SeqCst)).unwrap()
    }

    async fn sleep_until(&self, _deadline: Timestamp) {}
}

pub(crate) fn domain() -> TrustDomain {
    "example.org".parse().unwrap()
}

pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Intermediates from the issuer upwards, without the root.
    intermediates: Vec<CertificateDer<'static>>,
}

/// A certificate with its key.
pub(crate) struct Issued {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

/// What a certificate is to say.
#[derive(Clone)]
pub(crate) struct Leaf {
    pub(crate) sans: Vec<SanType>,
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) serial: u64,
    pub(crate) authority: bool,
    pub(crate) usages: Vec<KeyUsagePurpose>,
}

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

impl Leaf {
    pub(crate) fn new(sans: Vec<SanType>) -> Self {
        Self {
            sans,
            from: START - HOUR,
            to: START + FOREVER,
            serial: 7,
            authority: false,
            usages: vec![KeyUsagePurpose::DigitalSignature],
        }
    }

    pub(crate) fn spiffe(path: &str) -> Self {
        Self::new(vec![uri(&format!("spiffe://example.org{path}"))])
    }

    pub(crate) fn server() -> Self {
        Self::new(vec![SanType::DnsName("localhost".try_into().unwrap())])
    }
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        Self::until(name, START + FOREVER)
    }

    pub(crate) fn until(name: &str, to: i64) -> Self {
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(authority_params(name, to), key).unwrap();
        Self { issuer, intermediates: Vec::new() }
    }

    pub(crate) fn intermediate(&self, name: &str, to: i64) -> Self {
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::signed_by(authority_params(name, to), key, &self.issuer).unwrap();
        let mut intermediates = vec![issuer.as_ref().der().clone()];
        intermediates.extend(self.intermediates.iter().cloned());
        Self { issuer, intermediates }
    }

    pub(crate) fn issue(&self, leaf: &Leaf) -> Issued {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = leaf.sans.clone();
        params.not_before = date_time_ymd(1970, 1, 1) + Duration::from_secs(leaf.from.try_into().unwrap());
        params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(leaf.to.try_into().unwrap());
        params.serial_number = Some(SerialNumber::from(leaf.serial));
        params.key_usages = leaf.usages.clone();
        params.use_authority_key_identifier_extension = true;
        if leaf.authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let mut chain = vec![params.signed_by(&key, &self.issuer).unwrap().der().clone()];
        chain.extend(self.intermediates.iter().cloned());
        Issued { chain, key }
    }

    /// A list of revoked serials (PEM) that is due at `next`.
    pub(crate) fn crl(&self, serials: &[u64], next: i64) -> String {
        let at = |seconds: i64| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds.try_into().unwrap());
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: at(START),
            reason_code: None,
            invalidity_date: None,
        };
        CertificateRevocationListParams {
            this_update: at(START - HOUR),
            next_update: at(next),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        }
        .signed_by(&self.issuer)
        .unwrap()
        .pem()
        .unwrap()
    }

    pub(crate) fn der(&self) -> &CertificateDer<'static> {
        self.issuer.as_ref().der()
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.as_ref().pem()
    }
}

impl Issued {
    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }

    pub(crate) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    pub(crate) fn pem(&self) -> String {
        use data_encoding::BASE64;
        let block = |der: &CertificateDer<'_>| {
            format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", BASE64.encode(der))
        };
        self.chain.iter().map(block).collect()
    }
}

/// Writes a file with its mode; returns its path.
pub(crate) fn write(dir: &Path, name: &str, content: impl AsRef<[u8]>, mode: u32) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

fn authority_params(name: &str, to: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(to.try_into().unwrap());
    params
}
