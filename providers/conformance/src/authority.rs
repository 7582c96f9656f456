//! A certificate authority of the test's own, for servers and for clients that sign in with a certificate.

use std::{io, sync::Arc, time::Duration};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer},
};
use time::OffsetDateTime;

/// A root that signs leaves directly.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, for a day.
pub struct Identity {
    /// The leaf, PEM.
    pub certificate: String,
    /// Its key, PEM.
    pub key: String,
    der: CertificateDer<'static>,
    key_der: Vec<u8>,
}

impl Authority {
    /// A new root.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new(name: &str) -> io::Result<Self> {
        let mut params = for_a_day(CertificateParams::default());
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(io::Error::other)?;
        CertifiedIssuer::self_signed(params, key).map(|issuer| Self { issuer }).map_err(io::Error::other)
    }

    /// The root's certificate, PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A server's certificate for these DNS names and IP addresses, and for loopback.
    ///
    /// # Errors
    /// When a name is none.
    pub fn server(&self, names: &[&str]) -> io::Result<Identity> {
        let hosts: Vec<_> =
            ["localhost", "127.0.0.1"].iter().chain(names).map(|&name| name.to_owned()).collect();
        let params = CertificateParams::new(hosts).map_err(io::Error::other)?;
        self.sign(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A client's certificate with this common name, and a URI name such as a SPIFFE ID.
    ///
    /// # Errors
    /// When the URI is none.
    pub fn client(&self, common_name: &str, uri: Option<&str>) -> io::Result<Identity> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        if let Some(uri) = uri {
            params.subject_alt_names.push(SanType::URI(uri.try_into().map_err(io::Error::other)?));
        }
        self.sign(params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(&self, params: CertificateParams, usage: ExtendedKeyUsagePurpose) -> io::Result<Identity> {
        let mut params = for_a_day(params);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(io::Error::other)?;
        Ok(Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.der().clone(),
            key_der: key.serialize_der(),
        })
    }

    /// TLS as a server of this authority, for HTTP/1.1.
    pub(crate) fn accepting(&self, names: &[&str]) -> io::Result<Arc<ServerConfig>> {
        let identity = self.server(names)?;
        let mut config = ServerConfig::builder_with_provider(crypto())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![identity.der], PrivateKeyDer::Pkcs8(identity.key_der.into()))
            .map_err(io::Error::other)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// TLS as a client that trusts this authority alone and, if it has one, shows an identity.
    ///
    /// # Errors
    /// When the authority's certificate or the identity cannot be used.
    pub fn trusting(&self, identity: Option<&Identity>) -> io::Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).map_err(io::Error::other)?;
        let config = ClientConfig::builder_with_provider(crypto())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots);
        let config = match identity {
            None => config.with_no_client_auth(),
            Some(identity) => config
                .with_client_auth_cert(
                    vec![identity.der.clone()],
                    PrivateKeyDer::Pkcs8(identity.key_der.clone().into()),
                )
                .map_err(io::Error::other)?,
        };
        Ok(Arc::new(config))
    }
}

fn crypto() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn for_a_day(mut params: CertificateParams) -> CertificateParams {
    let now = OffsetDateTime::now_utc();
    params.not_before = now.saturating_sub(Duration::from_secs(3_600).try_into().unwrap_or_default());
    params.not_after = now.saturating_add(Duration::from_secs(86_400).try_into().unwrap_or_default());
    params
}
