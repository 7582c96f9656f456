//! One generation's certificates and lists, read from files and judged as a whole.

use std::{fmt, path::Path, sync::Arc, time::Duration};

use leasehold_core::{Timestamp, ports::Clock, principal::TrustDomain};
use rustls::{
    InconsistentKeys, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::NoServerSessionStorage,
    sign::{CertifiedKey, SingleCertAndKey},
    time_provider::TimeProvider,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::GeneralName;

use super::{Fault, FileRole, Settings, TlsError, TlsErrors, Trust, clients::client_verifier, files};
use crate::identity;

/// Certificates, authorities and lists that fit together and can be put in force.
pub struct Material {
    pub(super) server: Arc<ServerConfig>,
    pub(super) trust: Arc<Trust>,
    pub(super) summary: Summary,
}

/// What is in it, for the log and for `status`.
#[derive(Clone, Debug)]
pub struct Summary {
    /// SHA-256 of the broker's certificate, in hexadecimal.
    pub fingerprint: Arc<str>,
    /// The last instant of its validity.
    pub not_after: Timestamp,
    /// The names that clients can verify it by: DNS names, addresses and URIs.
    pub names: Vec<String>,
    /// How many client authorities are trusted.
    pub authorities: usize,
    /// How many authorities of the bundle have expired and were left out.
    pub expired_authorities: usize,
    /// How many revocation lists are in force.
    pub crls: usize,
}

impl Material {
    /// Reads and judges every file.
    ///
    /// # Errors
    /// All faults that were found, each with its file and the way out.
    pub fn load(
        settings: &Settings,
        domain: &TrustDomain,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, TlsErrors> {
        let provider = Arc::new(provider());
        let now = clock.now();
        let own = own_certificate(settings, &provider, now);
        let clients = client_verifier(settings, &provider, now);
        let (own, clients) = match (own, clients) {
            (Ok(own), Ok(clients)) => (own, clients),
            (own, clients) => {
                let faults = [own.err(), clients.err()];
                return Err(TlsErrors(faults.into_iter().flatten().flatten().collect()));
            }
        };
        let trust = Arc::new(Trust::new(domain.clone(), clients.verifier, clients.list_ends));
        let server =
            server_config(settings, provider, clock, own.key, Arc::clone(&trust)).map_err(|error| {
                let fault = Fault::Refused(error.to_string());
                TlsErrors(vec![fault.of(FileRole::Certificate, &settings.certificate)])
            })?;
        let summary = Summary {
            fingerprint: own.fingerprint,
            not_after: own.not_after,
            names: own.names,
            authorities: clients.authorities,
            expired_authorities: clients.expired_authorities,
            crls: clients.crls,
        };
        Ok(Self { server: Arc::new(server), trust, summary })
    }

    /// What is in it.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }
}

impl Fault {
    pub(super) fn of(self, role: FileRole, path: &Path) -> TlsError {
        TlsError { role, path: path.to_owned(), fault: self }
    }
}

struct OwnCertificate {
    key: CertifiedKey,
    fingerprint: Arc<str>,
    not_after: Timestamp,
    names: Vec<String>,
}

/// The time for rustls, from our clock.
struct ClockTime(Arc<dyn Clock>);

/// aws-lc-rs, with the hybrid post-quantum key exchange first.
fn provider() -> CryptoProvider {
    use aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
    CryptoProvider {
        kx_groups: vec![X25519MLKEM768, X25519, SECP256R1, SECP384R1],
        ..aws_lc_rs::default_provider()
    }
}

fn server_config(
    settings: &Settings,
    provider: Arc<CryptoProvider>,
    clock: &Arc<dyn Clock>,
    key: CertifiedKey,
    trust: Arc<Trust>,
) -> Result<ServerConfig, rustls::Error> {
    let versions = if settings.allow_tls12 { &[&TLS13, &TLS12][..] } else { &[&TLS13][..] };
    let mut config = ServerConfig::builder_with_details(provider, Arc::new(ClockTime(Arc::clone(clock))))
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(trust)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    config.alpn_protocols = vec![b"h2".to_vec()];
    // Sessions live in encrypted tickets at the client, under a key of this generation: what an older bundle let in
    // cannot be resumed under a newer one, and idle clients cost no memory here.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    if settings.resumption {
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        config.send_tls13_tickets = 1;
    }
    Ok(config)
}

fn own_certificate(
    settings: &Settings,
    provider: &CryptoProvider,
    now: Timestamp,
) -> Result<OwnCertificate, Vec<TlsError>> {
    let of_certificate = |fault: Fault| fault.of(FileRole::Certificate, &settings.certificate);
    let chain = files::certificates(&settings.certificate).map_err(of_certificate);
    let key = files::private_key(&settings.key).map_err(|fault| fault.of(FileRole::Key, &settings.key));
    let (chain, key) = match (chain, key) {
        (Ok(chain), Ok(key)) => (chain, key),
        (chain, key) => return Err([chain.err(), key.err()].into_iter().flatten().collect()),
    };
    let leaf = chain.first().ok_or_else(|| vec![of_certificate(Fault::Nothing("CERTIFICATE"))])?;
    let (fingerprint, not_after, names) =
        describe_leaf(leaf, now).map_err(|fault| vec![of_certificate(fault)])?;
    let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| {
        let fault = match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                Fault::WrongKey { certificate: settings.certificate.clone() }
            }
            other => Fault::UnsuitableKey(other.to_string()),
        };
        vec![fault.of(FileRole::Key, &settings.key)]
    })?;
    Ok(OwnCertificate { key, fingerprint, not_after, names })
}

fn describe_leaf(
    leaf: &CertificateDer<'_>,
    now: Timestamp,
) -> Result<(Arc<str>, Timestamp, Vec<String>), Fault> {
    let malformed = |why: String| Fault::Malformed { item: 1, why };
    let certificate = identity::parse(leaf).map_err(|error| malformed(error.to_string()))?;
    if certificate.is_ca() {
        return Err(Fault::NotALeaf);
    }
    let not_before = identity::instant(certificate.validity().not_before);
    let not_after = identity::instant(certificate.validity().not_after);
    if now.as_second() > not_after.as_second() {
        return Err(Fault::Expired(not_after));
    }
    if now < not_before {
        return Err(Fault::NotYetValid(not_before));
    }
    let names = certificate.subject_alternative_name().map_err(|error| malformed(error.to_string()))?;
    let names = names.iter().flat_map(|found| &found.value.general_names).filter_map(|name| match name {
        GeneralName::DNSName(name) | GeneralName::URI(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match *bytes {
            [a, b, c, d] => Some(std::net::Ipv4Addr::new(*a, *b, *c, *d).to_string()),
            bytes => Some(std::net::Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_string()),
        },
        _ => None,
    });
    Ok((identity::fingerprint(leaf), not_after, names.collect()))
}

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now().as_second()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

impl fmt::Debug for ClockTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClockTime")
    }
}
