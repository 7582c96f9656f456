//! Whom we trust: the client authorities and what they have revoked.

use std::{fmt, sync::Arc, time::Duration};

use leasehold_core::{Timestamp, principal::TrustDomain};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, UnixTime};
use thiserror::Error;

use crate::identity::{self, Identity, IdentityError};

/// The client authorities and revocation lists of one generation. As a rustls verifier it also demands an identity,
/// so a client without one is told in the handshake.
pub struct Trust {
    domain: TrustDomain,
    verifier: Arc<dyn ClientCertVerifier>,
    /// When each list is to be replaced, in Unix seconds; empty when stale lists count.
    list_ends: Vec<i64>,
}

/// Why a peer is not, or is no longer, let in. Sent to the peer: it says nothing that its certificate does not.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Distrust {
    /// Its certificate, or an intermediate's, has expired.
    #[error("the client certificate has expired: connect again with a new one")]
    Expired,
    /// An authority has revoked it.
    #[error("the client certificate has been revoked")]
    Revoked,
    /// No authority that is trusted now issued it.
    #[error("the client certificate is not trusted: {0}")]
    Untrusted(String),
    /// It speaks for nobody here.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// More certificates than an honest chain has; bounds the work and the memory that a client can ask for.
const MAX_CHAIN: usize = 8;

impl Trust {
    pub(crate) fn new(
        domain: TrustDomain,
        verifier: Arc<dyn ClientCertVerifier>,
        list_ends: Vec<i64>,
    ) -> Self {
        Self { domain, verifier, list_ends }
    }

    /// Verifies a chain (leaf first) as of `now`: path to an authority, validity, revocation, identity.
    ///
    /// # Errors
    /// Why it is not let in.
    pub fn verify(&self, chain: &[CertificateDer<'_>], now: Timestamp) -> Result<Identity, Distrust> {
        let [leaf, intermediates @ ..] = chain else {
            return Err(Distrust::Untrusted("there is none".to_owned()));
        };
        if chain.len() > MAX_CHAIN {
            return Err(Distrust::Untrusted(format!("its chain is longer than {MAX_CHAIN}")));
        }
        let identity = identity::identify(leaf, &self.domain)?;
        let seconds = u64::try_from(now.as_second()).unwrap_or(0);
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        self.verifier.verify_client_cert(leaf, intermediates, now)?;
        Ok(identity)
    }

    /// The trust domain that identities must be of.
    pub fn domain(&self) -> &TrustDomain {
        &self.domain
    }

    /// Until when, in Unix seconds, a verification of `chain` at `now` needs no repeat: the next time that a
    /// certificate expires or a list is due.
    pub(crate) fn good_until(&self, chain: &[CertificateDer<'_>], now: Timestamp) -> i64 {
        let now = now.as_second();
        let ends = chain.iter().filter_map(|certificate| {
            identity::parse(certificate).ok().map(|parsed| parsed.validity().not_after.timestamp())
        });
        ends.chain(self.list_ends.iter().copied()).filter(|end| *end >= now).min().unwrap_or(i64::MAX)
    }
}

impl Distrust {
    /// The stable reason for `google.rpc.ErrorInfo`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Expired | Self::Identity(IdentityError::Expired(_)) => "IDENTITY_EXPIRED",
            Self::Revoked => "IDENTITY_REVOKED",
            Self::Untrusted(_) | Self::Identity(_) => "IDENTITY_UNTRUSTED",
        }
    }
}

impl From<rustls::Error> for Distrust {
    fn from(error: rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            ) => Self::Expired,
            rustls::Error::InvalidCertificate(CertificateError::Revoked) => Self::Revoked,
            other => Self::Untrusted(other.to_string()),
        }
    }
}

impl ClientCertVerifier for Trust {
    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if intermediates.len() >= MAX_CHAIN {
            return Err(CertificateError::UnknownIssuer.into());
        }
        let verified = self.verifier.verify_client_cert(leaf, intermediates, now)?;
        match identity::identify(leaf, &self.domain) {
            Ok(_) => Ok(verified),
            Err(error) => Err(CertificateError::Other(OtherError(Arc::new(error))).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("domain", &self.domain).finish_non_exhaustive()
    }
}
