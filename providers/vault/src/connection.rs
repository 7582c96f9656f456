//! The HTTP client: its TLS, what it does not do, and its files when they change.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use leasehold_core::provider::{ErrorClass, ProviderError};
use leasehold_secret_file::{Readers, SecretFile, Stamp};
use reqwest::{Certificate, Client, Identity, redirect::Policy};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::config::{Auth, VaultConfig};

/// The client, made again when a file of it changes. A broken file never replaces a working client.
#[derive(Default)]
pub(crate) struct Connection {
    client: ArcSwapOption<Client>,
    looked: Mutex<Option<(Instant, Vec<Option<Stamp>>)>>,
}

/// How long the files are taken for unchanged.
const GLANCE: Duration = Duration::from_secs(1);

impl Connection {
    /// The client for now.
    pub(crate) fn client(&self, config: &VaultConfig) -> Result<Arc<Client>, ProviderError> {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let (Some(client), Some((when, _))) = (self.client.load_full(), &*looked)
            && now.duration_since(*when) < GLANCE
        {
            return Ok(client);
        }
        let stamps: Vec<_> = files(config).into_iter().map(Stamp::of).collect();
        let unchanged = looked.as_ref().is_some_and(|(_, before)| *before == stamps);
        *looked = Some((now, stamps));
        match (self.client.load_full(), unchanged) {
            (Some(client), true) => Ok(client),
            (before, _) => match connect(config) {
                Ok(client) => {
                    let client = Arc::new(client);
                    self.client.store(Some(client.clone()));
                    Ok(client)
                }
                Err(why) => {
                    let Some(before) = before else {
                        *looked = None;
                        return Err(why);
                    };
                    tracing::warn!(error = %why, "the files of the connection to Vault have changed and cannot be used: the old ones stay in use");
                    Ok(before)
                }
            },
        }
    }
}

fn files(config: &VaultConfig) -> Vec<&Path> {
    let mut files: Vec<&Path> = config.ca_file.iter().map(|file| &**file).collect();
    if let Auth::Certificate { certificate, key, .. } = &config.auth {
        files.extend([&**certificate, &**key]);
    }
    files
}

fn connect(config: &VaultConfig) -> Result<Client, ProviderError> {
    let wrong = |why: String| ProviderError::new(ErrorClass::Permanent, why);
    let unreadable =
        |path: &Path, error: std::io::Error| wrong(format!("{}: {}", path.display(), error.kind()));
    // One request a connection at a time: a connection that breaks takes one answer with it, not all. No proxy is taken
    // from the environment, and no redirect is followed here: a token goes to configured nodes and to nobody else.
    let mut builder = Client::builder()
        .tls_backend_rustls()
        .http1_only()
        .no_proxy()
        .redirect(Policy::none())
        .tcp_nodelay(true)
        .connect_timeout(config.connect_timeout)
        .pool_idle_timeout(Duration::from_secs(60))
        .timeout(config.attempt_timeout);
    if config.address.starts_with("http://") {
        // Without TLS there is nothing to trust, and the system's certificates need not be read.
        builder = builder.tls_certs_only(Vec::new());
    } else if let Some(path) = &config.ca_file {
        let pem = fs::read(path).map_err(|error| unreadable(path, error))?;
        let certificates = Certificate::from_pem_bundle(&pem).unwrap_or_default();
        if certificates.is_empty() {
            return Err(wrong(format!("{}: no certificate in it", path.display())));
        }
        builder = builder.tls_certs_only(certificates);
    }
    if let Auth::Certificate { certificate, key, .. } = &config.auth {
        let key_pem = SecretFile::read(key, Readers::Group).map_err(|fault| wrong(fault.to_string()))?;
        let mut pem = Zeroizing::new(fs::read(certificate).map_err(|error| unreadable(certificate, error))?);
        pem.push(b'\n');
        pem.extend_from_slice(key_pem.bytes());
        // The SDK's error may quote what it could not read.
        let identity = Identity::from_pem(&pem).map_err(|_| {
            wrong(format!("{} and {}: not a certificate with its key", certificate.display(), key.display()))
        })?;
        builder = builder.identity(identity);
    }
    builder.build().map_err(|_| wrong("the certificates and keys for Vault do not fit together".to_owned()))
}
