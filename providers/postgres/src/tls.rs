//! TLS to the server: verified, unless there is none.

use std::{fs, path::Path, sync::Arc};

use leasehold_core::provider::ErrorClass;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{
    config::{PostgresConfig, Tls},
    error::Failure,
};

/// What makes TLS connections as the configuration says; `None` when there is none. The authorities are read anew each
/// time.
pub(crate) fn connector(config: &PostgresConfig) -> Result<Option<MakeRustlsConnect>, Failure> {
    if config.tls == Tls::Disable {
        return Ok(None);
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let broken = |why: String| Failure::ours(ErrorClass::Permanent, why);
    let roots = Arc::new(roots(config.ca_file.as_deref())?);
    let verifier =
        WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build().map_err(|_| {
            broken("there are no authorities that could have signed PostgreSQL's certificate".into())
        })?;
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| broken(format!("TLS cannot be used: {error}")))?;
    let tls = match config.tls {
        Tls::VerifyCa => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyName { verifier, provider }))
            .with_no_client_auth(),
        _ => builder.with_webpki_verifier(verifier).with_no_client_auth(),
    };
    Ok(Some(MakeRustlsConnect::new(tls)))
}

fn roots(file: Option<&Path>) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    let Some(path) = file else {
        // Some of what a system has may be broken; the rest is good.
        let native = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(native.certs);
        return Ok(roots);
    };
    let wrong =
        |why: &dyn std::fmt::Display| Failure::ours(ErrorClass::Permanent, format!("`ca_file`: {why}"));
    let pem = fs::read(path).map_err(|error| wrong(&format!("{}: {}", path.display(), error.kind())))?;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let added = certificate.map_err(|_| ()).and_then(|der| roots.add(der).map_err(|_| ()));
        added.map_err(|()| wrong(&format!("{} has what is no certificate", path.display())))?;
    }
    if roots.is_empty() {
        return Err(wrong(&format!("{} has no certificate (PEM)", path.display())));
    }
    Ok(roots)
}

/// `verify-ca`: everything is verified but the name. A certificate's name is looked at last, when all else is good.
#[derive(Debug)]
struct AnyName {
    verifier: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified =
            self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
