//! One generation's certificates and lists, read from files and judged as a whole.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use leasehold_core::{Timestamp, ports::Clock, principal::TrustDomain};
use rustls::{
    InconsistentKeys, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
    time_provider::TimeProvider,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use x509_parser::{
    oid_registry::OID_X509_EXT_ISSUER_DISTRIBUTION_POINT,
    prelude::{CertificateRevocationList, FromDer, GeneralName},
};

use super::{Fault, FileRole, Settings, TlsError, TlsErrors, Trust, files};
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

struct Clients {
    verifier: Arc<dyn ClientCertVerifier>,
    list_ends: Vec<i64>,
    authorities: usize,
    expired_authorities: usize,
    crls: usize,
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

fn client_verifier(
    settings: &Settings,
    provider: &Arc<CryptoProvider>,
    now: Timestamp,
) -> Result<Clients, Vec<TlsError>> {
    let authorities = authorities(&settings.client_bundle, now)
        .map_err(|fault| vec![fault.of(FileRole::ClientBundle, &settings.client_bundle)]);
    let lists = revocation_lists(settings, now);
    let ((roots, expired_authorities), lists) = match (authorities, lists) {
        (Ok(authorities), Ok(lists)) => (authorities, lists),
        (authorities, lists) => {
            return Err([authorities.err(), lists.err()].into_iter().flatten().flatten().collect());
        }
    };
    let roots = Arc::new(roots);
    let build = |crls: Vec<CertificateRevocationListDer<'static>>| {
        let mut builder =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider));
        if !settings.require_crl {
            builder = builder.allow_unknown_revocation_status();
        }
        if !settings.accept_stale_crls {
            builder = builder.enforce_revocation_expiration();
        }
        builder.with_crls(crls).build()
    };
    // One by one first: the builder does not say which list it refuses.
    let refused = lists.iter().filter_map(|list| {
        let error = build(vec![list.der.clone()]).err()?;
        Some(Fault::Refused(error.to_string()).of(FileRole::Crl, &list.path))
    });
    let refused: Vec<_> = refused.collect();
    if !refused.is_empty() {
        return Err(refused);
    }
    let list_ends = if settings.accept_stale_crls {
        Vec::new()
    } else {
        lists.iter().filter_map(|list| list.next_update).map(Timestamp::as_second).collect()
    };
    let crls = lists.len();
    let verifier = build(lists.into_iter().map(|list| list.der).collect()).map_err(|error| {
        vec![Fault::Refused(error.to_string()).of(FileRole::ClientBundle, &settings.client_bundle)]
    })?;
    Ok(Clients { verifier, list_ends, authorities: roots.len(), expired_authorities, crls })
}

/// The bundle's authorities that have not expired, and how many have: rustls itself does not judge a root's validity.
fn authorities(path: &Path, now: Timestamp) -> Result<(RootCertStore, usize), Fault> {
    let mut roots = RootCertStore::empty();
    let mut expired = Vec::new();
    for (place, authority) in files::certificates(path)?.into_iter().enumerate() {
        let item = place.saturating_add(1);
        let malformed = |why: String| Fault::Malformed { item, why };
        let not_after = {
            let parsed = identity::parse(&authority).map_err(|error| malformed(error.to_string()))?;
            if !parsed.is_ca() {
                return Err(Fault::NotAnAuthority { item });
            }
            identity::instant(parsed.validity().not_after)
        };
        if now.as_second() > not_after.as_second() {
            expired.push(not_after);
            continue;
        }
        roots.add(authority).map_err(|error| malformed(error.to_string()))?;
    }
    match expired.iter().max() {
        Some(last) if roots.is_empty() => Err(Fault::AllExpired(*last)),
        _ => Ok((roots, expired.len())),
    }
}

struct RevocationList {
    path: PathBuf,
    der: CertificateRevocationListDer<'static>,
    next_update: Option<Timestamp>,
    issuer: String,
    /// The issuer, and the part of its certificates that the list is for (RFC 5280 section 5.2.5).
    scope: (Vec<u8>, Option<Vec<u8>>),
}

fn revocation_lists(settings: &Settings, now: Timestamp) -> Result<Vec<RevocationList>, Vec<TlsError>> {
    let mut lists: Vec<RevocationList> = Vec::new();
    let mut faults = Vec::new();
    for path in &settings.crls {
        let found = match files::revocation_lists(path) {
            Ok(found) => found,
            Err(fault) => {
                faults.push(fault.of(FileRole::Crl, path));
                continue;
            }
        };
        for (place, der) in found.into_iter().enumerate() {
            match describe_list(path, der, place.saturating_add(1)) {
                Ok(list) => match judge_list(&list, &lists, settings, now) {
                    Some(fault) => faults.push(fault.of(FileRole::Crl, path)),
                    None => lists.push(list),
                },
                Err(fault) => faults.push(fault.of(FileRole::Crl, path)),
            }
        }
    }
    if faults.is_empty() { Ok(lists) } else { Err(faults) }
}

fn describe_list(
    path: &Path,
    der: CertificateRevocationListDer<'static>,
    item: usize,
) -> Result<RevocationList, Fault> {
    let (next_update, issuer, scope) = {
        let (_, list) = CertificateRevocationList::from_der(&der)
            .map_err(|error| Fault::Malformed { item, why: error.to_string() })?;
        let part = list
            .extensions()
            .iter()
            .find(|extension| extension.oid == OID_X509_EXT_ISSUER_DISTRIBUTION_POINT)
            .map(|extension| extension.value.to_vec());
        (
            list.next_update().map(identity::instant),
            list.issuer().to_string(),
            (list.issuer().as_raw().to_vec(), part),
        )
    };
    Ok(RevocationList { path: path.to_owned(), der, next_update, issuer, scope })
}

fn judge_list(
    list: &RevocationList,
    others: &[RevocationList],
    settings: &Settings,
    now: Timestamp,
) -> Option<Fault> {
    if let Some(due) = list.next_update
        && now.as_second() > due.as_second()
        && !settings.accept_stale_crls
    {
        return Some(Fault::Stale(due));
    }
    let first = others.iter().find(|other| other.scope == list.scope)?;
    Some(Fault::SecondList { issuer: list.issuer.clone(), first: first.path.clone() })
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
