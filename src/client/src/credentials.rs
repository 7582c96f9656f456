//! What the client shows to the broker, and what it trusts: PEM from files or from memory.
//!
//! Nothing here talks to the network.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use leasehold_core::{SpiffeId, Timestamp};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
};
use thiserror::Error;
use x509_parser::{extensions::GeneralName, parse_x509_certificate};
use zeroize::Zeroizing;

/// A client's certificate chain with its private key.
pub struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) summary: Summary,
}

/// The authorities that the broker's certificate must come from.
#[derive(Clone, Debug)]
pub struct TrustBundle {
    pub(crate) roots: RootCertStore,
    pub(crate) origin: Box<str>,
}

/// What connections are made with: valid as far as can be told without a broker.
#[derive(Debug)]
pub(crate) struct Credentials {
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) identity: Option<Summary>,
    /// What the trust bundle came from.
    pub(crate) bundle: Box<str>,
}

/// What a message may say of an identity.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    /// The file, or a word for memory.
    pub(crate) origin: Box<str>,
    /// The SPIFFE ID, if the certificate has one.
    pub(crate) id: Option<SpiffeId>,
    /// The end of its life.
    pub(crate) not_after: Option<Timestamp>,
}

/// Why a certificate, a key or a trust bundle cannot be used. Names the file.
#[derive(Debug, Error)]
pub enum CredentialError {
    /// The file cannot be read.
    #[error("the {what} `{}` cannot be read: {cause}", path.display())]
    Unreadable {
        /// What was to be read.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The text is no PEM.
    #[error("the {what} `{origin}` is not PEM: {cause}")]
    NotPem {
        /// What was to be read.
        what: &'static str,
        /// The file, or a word for memory.
        origin: Box<str>,
        /// Why.
        cause: pem::Error,
    },
    /// PEM with nothing in it that is wanted.
    #[error("the {what} `{origin}` has no `{wanted}` block")]
    Empty {
        /// What was to be read.
        what: &'static str,
        /// The file, or a word for memory.
        origin: Box<str>,
        /// The PEM block that should be there.
        wanted: &'static str,
    },
    /// A certificate that no TLS library would take.
    #[error("the {what} `{origin}` holds a certificate that cannot be used: {cause}")]
    BadCertificate {
        /// What was to be read.
        what: &'static str,
        /// The file, or a word for memory.
        origin: Box<str>,
        /// Why.
        cause: rustls::Error,
    },
    /// The key is of another certificate, or of a kind that is not supported.
    #[error("the certificate `{origin}` and its private key do not go together: {cause}")]
    Mismatch {
        /// The certificate's file, or a word for memory.
        origin: Box<str>,
        /// Why.
        cause: rustls::Error,
    },
    /// The SPIFFE Workload API gives no identity, or not yet.
    #[error("the Workload API at `{endpoint}` gives no identity: {cause}")]
    Workload {
        /// Its address.
        endpoint: Box<str>,
        /// Why, as far as it can be said without what it gave.
        cause: Box<str>,
    },
}

const CERTIFICATE: &str = "client certificate";
const KEY: &str = "private key";
const BUNDLE: &str = "trust bundle";
const IN_MEMORY: &str = "(in memory)";

impl Identity {
    /// The certificate chain (leaf first) and the key in these PEM files. They are read once, here.
    ///
    /// # Errors
    /// When a file cannot be read or does not hold what it should.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, CredentialError> {
        let key_pem = Zeroizing::new(read(KEY, key)?);
        Self::parse(&read(CERTIFICATE, certificate)?, &origin(certificate), &key_pem, &origin(key))
    }

    /// The same from PEM in memory.
    ///
    /// # Errors
    /// When the text does not hold what it should.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, CredentialError> {
        Self::parse(certificate, IN_MEMORY, key, IN_MEMORY)
    }

    /// Whose it is, when the certificate carries a SPIFFE ID.
    pub fn id(&self) -> Option<&SpiffeId> {
        self.summary.id.as_ref()
    }

    /// When the certificate ends.
    pub fn not_after(&self) -> Option<Timestamp> {
        self.summary.not_after
    }

    fn parse(
        chain: &[u8],
        chain_origin: &str,
        key: &[u8],
        key_origin: &str,
    ) -> Result<Self, CredentialError> {
        let chain = certificates(CERTIFICATE, chain, chain_origin)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|cause| match cause {
            pem::Error::NoItemsFound => {
                CredentialError::Empty { what: KEY, origin: key_origin.into(), wanted: "PRIVATE KEY" }
            }
            cause => CredentialError::NotPem { what: KEY, origin: key_origin.into(), cause },
        })?;
        Ok(Self::of(chain, key, chain_origin))
    }

    /// One that is parsed already.
    pub(crate) fn of(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>, origin: &str) -> Self {
        let summary = summarise(origin, chain.first());
        Self { chain, key, summary }
    }

    /// The same once more: the key is not copied by accident.
    pub(crate) fn duplicate(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key(), summary: self.summary.clone() }
    }
}

// The key is nobody's business.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("certificate", &self.summary).finish_non_exhaustive()
    }
}

impl TrustBundle {
    /// The certificates in this PEM file.
    ///
    /// # Errors
    /// When the file cannot be read or holds no usable certificate.
    pub fn from_file(path: &Path) -> Result<Self, CredentialError> {
        Self::parse(&read(BUNDLE, path)?, &origin(path))
    }

    /// The certificates in this PEM text.
    ///
    /// # Errors
    /// When it holds no usable certificate.
    pub fn from_pem(pem: &[u8]) -> Result<Self, CredentialError> {
        Self::parse(pem, IN_MEMORY)
    }

    fn parse(pem: &[u8], origin: &str) -> Result<Self, CredentialError> {
        Self::of(certificates(BUNDLE, pem, origin)?, origin)
    }

    /// One of certificates that are parsed already.
    pub(crate) fn of(
        certificates: impl IntoIterator<Item = CertificateDer<'static>>,
        origin: &str,
    ) -> Result<Self, CredentialError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate).map_err(|cause| CredentialError::BadCertificate {
                what: BUNDLE,
                origin: origin.into(),
                cause,
            })?;
        }
        Ok(Self { roots, origin: origin.into() })
    }
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, CredentialError> {
    fs::read(path).map_err(|cause| CredentialError::Unreadable { what, path: path.to_owned(), cause })
}

fn origin(path: &Path) -> Box<str> {
    path.display().to_string().into()
}

fn certificates(
    what: &'static str,
    pem: &[u8],
    origin: &str,
) -> Result<Vec<CertificateDer<'static>>, CredentialError> {
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|cause| CredentialError::NotPem { what, origin: origin.into(), cause })?;
    if found.is_empty() {
        return Err(CredentialError::Empty { what, origin: origin.into(), wanted: "CERTIFICATE" });
    }
    Ok(found)
}

fn summarise(origin: &str, leaf: Option<&CertificateDer<'_>>) -> Summary {
    let mut summary = Summary { origin: origin.into(), id: None, not_after: None };
    let Some((_, leaf)) = leaf.and_then(|der| parse_x509_certificate(der).ok()) else { return summary };
    summary.not_after = Timestamp::from_second(leaf.validity().not_after.timestamp()).ok();
    summary.id = leaf
        .subject_alternative_name()
        .ok()
        .flatten()
        .into_iter()
        .flat_map(|extension| extension.value.general_names.iter())
        .find_map(|name| match name {
            GeneralName::URI(uri) => uri.parse().ok(),
            _ => None,
        });
    summary
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let missing = TrustBundle::from_file(&file).unwrap_err().to_string();
        assert!(missing.contains("the trust bundle") && missing.contains("ca.pem"), "{missing}");
        fs::write(&file, "no pem at all").unwrap();
        let empty = TrustBundle::from_file(&file).unwrap_err().to_string();
        assert!(empty.ends_with("has no `CERTIFICATE` block"), "{empty}");
        fs::write(&file, "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n").unwrap();
        let broken = TrustBundle::from_file(&file).unwrap_err().to_string();
        assert!(broken.contains("is not PEM"), "{broken}");
    }

    #[test]
    fn the_parts_of_an_identity() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.not_after = rcgen::date_time_ymd(2030, 1, 2);
        let uri = "spiffe://example.org/prod/api".try_into().unwrap();
        params.subject_alt_names = vec![rcgen::SanType::URI(uri)];
        let certificate = params.self_signed(&key).unwrap().pem();
        let identity = Identity::from_pem(certificate.as_bytes(), key.serialize_pem().as_bytes()).unwrap();
        assert_eq!(identity.id().map(SpiffeId::as_str), Some("spiffe://example.org/prod/api"));
        assert_eq!(identity.not_after().unwrap().to_string(), "2030-01-02T00:00:00Z");
        let shown = format!("{identity:?}");
        assert!(!shown.contains("key"), "{shown}");
        let swapped = Identity::from_pem(certificate.as_bytes(), certificate.as_bytes()).unwrap_err();
        assert!(matches!(swapped, CredentialError::Empty { what: KEY, .. }), "{swapped}");
    }
}
