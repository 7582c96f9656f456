//! The client authorities and their revocation lists, read from files and judged.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use leasehold_core::Timestamp;
use rustls::{
    RootCertStore,
    crypto::CryptoProvider,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use rustls_pki_types::CertificateRevocationListDer;
use x509_parser::{
    oid_registry::OID_X509_EXT_ISSUER_DISTRIBUTION_POINT,
    prelude::{CertificateRevocationList, FromDer},
};

use super::{Fault, FileRole, Settings, TlsError, files};
use crate::identity;

/// How clients are verified, with what there is to say about it.
pub(super) struct Clients {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    /// When each list is to be replaced, in Unix seconds; empty when stale lists count.
    pub(super) list_ends: Vec<i64>,
    pub(super) authorities: usize,
    pub(super) expired_authorities: usize,
    pub(super) crls: usize,
}

struct RevocationList {
    path: PathBuf,
    der: CertificateRevocationListDer<'static>,
    next_update: Option<Timestamp>,
    issuer: String,
    /// The issuer, and the part of its certificates that the list is for (RFC 5280 section 5.2.5).
    scope: (Vec<u8>, Option<Vec<u8>>),
}

/// Reads and judges the client bundle and the revocation lists.
pub(super) fn client_verifier(
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
