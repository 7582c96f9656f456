//! How the broker is reached, once it is known who said what.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use leasehold_client::{Address, Builder, Client, Error, Identity, TrustBundle};
use leasehold_core::SpiffeId;

use crate::{exit::Failure, settings::addresses::Addresses};

/// How the broker is reached.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) addr: Option<Addresses>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) server_id: Option<SpiffeId>,
    /// How long an answer may take.
    pub(crate) timeout: Duration,
}

/// A connection that is not there by then will not be.
const CONNECT: Duration = Duration::from_secs(10);

impl Connection {
    /// One to a broker at `addr` with the identity in a folder.
    pub(crate) fn to(addr: Address, identity: &Path) -> Self {
        Self {
            addr: Some(addr.into()),
            cert: Some(identity.join("tls.crt")),
            key: Some(identity.join("tls.key")),
            ca: Some(identity.join("ca.crt")),
            server_id: None,
            timeout: Duration::from_secs(30),
        }
    }

    /// Connects. Without a certificate too, so that it is the broker that says no.
    pub(crate) async fn open(&self) -> Result<Client, Failure> {
        Ok(self.try_open().await?)
    }

    /// Connects for calls to which an answer may take so long, whatever was said of others.
    pub(crate) async fn open_for(&self, patience: Duration) -> Result<Client, Failure> {
        let timeout = self.timeout.max(patience);
        Ok(Self { timeout, ..self.clone() }.try_open().await?)
    }

    /// Connects, or tells a program why not.
    pub(crate) async fn try_open(&self) -> Result<Client, Error> {
        let mut builder = Builder::default()
            .retries(false)
            .connect_timeout(self.timeout.min(CONNECT))
            .request_timeout(self.timeout);
        if let Some(addresses) = &self.addr {
            builder = builder.addresses(addresses.each().cloned());
        }
        if let Some(id) = &self.server_id {
            builder = builder.server_id(id.clone());
        }
        if let Some(bundle) = &self.ca {
            builder = builder.trust(TrustBundle::from_file(bundle)?);
        }
        if let (Some(certificate), Some(key)) = (&self.cert, &self.key) {
            builder = builder.identity(Identity::from_files(certificate, key)?);
        }
        builder.connect().await
    }
}
