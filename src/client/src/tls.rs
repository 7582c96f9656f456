//! The client's side of TLS: version 1.3 with aws-lc-rs, HTTP/2, and the broker named by its host or by its SPIFFE ID.

use std::sync::Arc;

use leasehold_core::SpiffeId;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
    version::TLS13,
};
use thiserror::Error as ThisError;
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

use crate::credentials::{CredentialError, Identity, TrustBundle};

/// How the broker proves that it is the one that is meant.
#[derive(Clone, Debug)]
pub(crate) enum Expected {
    /// Its certificate names the host that is connected to, or this name.
    Host,
    /// Its certificate has this SPIFFE ID, whatever the host is.
    Id(SpiffeId),
}

/// The broker's certificate has another SPIFFE ID than expected.
#[derive(Debug, ThisError)]
#[error("its certificate is of {}, not of `{expected}`", shown(found))]
pub(crate) struct OtherServer {
    expected: SpiffeId,
    found: Option<Box<str>>,
}

/// The configuration of every connection of one client.
///
/// # Errors
/// When the certificate and the key do not go together.
pub(crate) fn config(
    identity: Option<Identity>,
    trust: &TrustBundle,
    expected: &Expected,
) -> Result<ClientConfig, CredentialError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let unusable =
        |cause| CredentialError::BadCertificate { what: "trust bundle", origin: trust.origin.clone(), cause };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])
        .map_err(unusable)?;
    let builder = match expected {
        Expected::Host => builder.with_root_certificates(trust.roots.clone()),
        Expected::Id(id) => builder.dangerous().with_custom_certificate_verifier(Arc::new(SpiffeVerifier {
            roots: trust.roots.clone(),
            expected: id.clone(),
            provider,
        })),
    };
    let mut config = match identity {
        Some(Identity { chain, key, summary }) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|cause| CredentialError::Mismatch { origin: summary.origin, cause })?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Verifies the chain as always, and the SPIFFE ID instead of the host's name (X.509-SVID specification, section 5).
#[derive(Debug)]
struct SpiffeVerifier {
    roots: RootCertStore,
    expected: SpiffeId,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for SpiffeVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)?;
        let found = only_uri(end_entity);
        if found.as_deref() == Some(self.expected.as_str()) {
            return Ok(ServerCertVerified::assertion());
        }
        let other = OtherServer { expected: self.expected.clone(), found };
        Err(Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(other)))))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The certificate's URI SAN when there is exactly one, as an X.509-SVID must have.
fn only_uri(certificate: &CertificateDer<'_>) -> Option<Box<str>> {
    let (_, parsed) = parse_x509_certificate(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    match (uris.next(), uris.next()) {
        (Some(uri), None) => Some(uri.into()),
        _ => None,
    }
}

fn shown(found: &Option<Box<str>>) -> String {
    found.as_ref().map_or_else(|| "no SPIFFE ID".to_owned(), |id| format!("`{id}`"))
}
