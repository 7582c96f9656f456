//! The SPIFFE Workload API: the identity that the machine's agent gives to this process, and each one after it.

use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use spiffe::x509_source::{X509Source, X509SourceError, X509SourceUpdates};

use crate::{CredentialError, Identity, TrustBundle};

/// An agent that is not there is asked again so often at first, and so seldom later.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// One process's identity at the agent.
#[derive(Debug)]
pub(crate) struct Workload {
    endpoint: Box<str>,
    source: Option<(X509Source, X509SourceUpdates)>,
}

impl Workload {
    /// The agent at this endpoint, such as `unix:///run/spire/agent.sock`.
    pub(crate) fn new(endpoint: &str) -> Self {
        Self { endpoint: endpoint.into(), source: None }
    }

    /// The identity of now, once the agent gives one.
    pub(super) async fn first(&mut self) -> Result<(Identity, TrustBundle), CredentialError> {
        if self.source.is_none() {
            let builder =
                X509Source::builder().endpoint(&self.endpoint).reconnect_backoff(FIRST_WAIT, LONGEST_WAIT);
            let source = builder.build().await.map_err(|error| self.fault(&error))?;
            let updates = source.updated();
            self.source = Some((source, updates));
        }
        self.read()
    }

    /// The identity after that.
    pub(super) async fn next(&mut self) -> Result<(Identity, TrustBundle), CredentialError> {
        let Some((_, updates)) = &mut self.source else { return self.first().await };
        if let Err(error) = updates.changed().await {
            // It has ended: a new one is begun, not at once.
            let fault = self.fault(&error);
            self.source = None;
            tokio::time::sleep(LONGEST_WAIT).await;
            return Err(fault);
        }
        self.read()
    }

    fn read(&self) -> Result<(Identity, TrustBundle), CredentialError> {
        let Some((source, _)) = &self.source else { return Err(self.nothing("it was not asked")) };
        let svid = source.svid().map_err(|error| self.fault(&error))?;
        let bundles = source.bundle_set().map_err(|error| self.fault(&error))?;
        let Some(bundle) = bundles.get(svid.spiffe_id().trust_domain()) else {
            return Err(self.nothing("it has no trust bundle for its own trust domain"));
        };
        let chain = svid.cert_chain().iter();
        let chain = chain.map(|certificate| CertificateDer::from(certificate.as_bytes().to_vec()));
        let key = PrivatePkcs8KeyDer::from(svid.private_key().as_bytes().to_vec());
        let identity = Identity::of(chain.collect(), PrivateKeyDer::Pkcs8(key), &self.endpoint);
        let roots = bundle.authorities().iter();
        let roots = roots.map(|root| CertificateDer::from(root.as_bytes().to_vec()));
        Ok((identity, TrustBundle::of(roots, &self.endpoint)?))
    }

    fn fault(&self, error: &X509SourceError) -> CredentialError {
        let cause = match error {
            X509SourceError::NoSuitableSvid => {
                "it knows this process by no identity that is valid now".into()
            }
            error => error.to_string(),
        };
        self.nothing(&cause)
    }

    fn nothing(&self, cause: &str) -> CredentialError {
        CredentialError::Workload { endpoint: self.endpoint.clone(), cause: cause.into() }
    }
}
