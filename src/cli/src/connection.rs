//! How the broker is reached: options that every command has, and their variables.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use leasehold_client::{Address, Builder, Client, Error, Identity, TrustBundle};
use leasehold_core::SpiffeId;

use crate::{duration, exit::Failure};

/// How the broker is reached.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// The broker's address, `host:port`
    #[arg(long, global = true, env = leasehold_client::ENV_ADDR, value_name = "ADDRESS")]
    addr: Option<Address>,

    /// A folder with your certificate (`tls.crt`), its key (`tls.key`) and the broker's trust bundle (`ca.crt`), as
    /// Kubernetes mounts them
    #[arg(long, global = true, env = "LEASEHOLD_IDENTITY", value_name = "DIR")]
    identity: Option<PathBuf>,

    /// Your certificate chain (PEM)
    #[arg(long, global = true, env = leasehold_client::ENV_CERT, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,

    /// Your private key (PEM)
    #[arg(long, global = true, env = leasehold_client::ENV_KEY, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,

    /// The authorities that the broker's certificate must come from (PEM)
    #[arg(long, global = true, env = leasehold_client::ENV_CA, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// The broker's SPIFFE ID, when it is not known by its host name
    #[arg(long, global = true, env = leasehold_client::ENV_SERVER_ID, value_name = "SPIFFE-ID")]
    server_id: Option<SpiffeId>,

    /// How long the broker may take to answer
    #[arg(long, global = true, value_parser = duration::parse, default_value = "30s", value_name = "DURATION")]
    timeout: Option<Duration>,
}

impl Connection {
    /// One to a broker at `addr` with the identity in a folder.
    pub(crate) fn to(addr: Address, identity: &Path) -> Self {
        Self { addr: Some(addr), identity: Some(identity.to_owned()), ..Self::default() }
    }

    /// Connects. Without a certificate too, so that it is the broker that says no.
    pub(crate) async fn open(&self) -> Result<Client, Failure> {
        Ok(self.try_open().await?)
    }

    /// Connects for calls to which an answer may take so long, whatever was said of others.
    pub(crate) async fn open_for(&self, patience: Duration) -> Result<Client, Failure> {
        let timeout = self.timeout.map(|timeout| timeout.max(patience));
        Ok(Self { timeout, ..self.clone() }.try_open().await?)
    }

    /// Connects, or tells a program why not.
    pub(crate) async fn try_open(&self) -> Result<Client, Error> {
        let in_folder = |name: &str| self.identity.as_ref().map(|folder| folder.join(name));
        let mut builder = Builder::default().retries(false);
        if let Some(address) = &self.addr {
            builder = builder.address(address.clone());
        }
        if let Some(id) = &self.server_id {
            builder = builder.server_id(id.clone());
        }
        if let Some(timeout) = self.timeout {
            builder = builder.connect_timeout(timeout.min(Duration::from_secs(10))).request_timeout(timeout);
        }
        if let Some(bundle) = self.ca.clone().or_else(|| in_folder("ca.crt")) {
            builder = builder.trust(TrustBundle::from_file(&bundle)?);
        }
        let certificate = self.cert.clone().or_else(|| in_folder("tls.crt"));
        let key = self.key.clone().or_else(|| in_folder("tls.key"));
        if let (Some(certificate), Some(key)) = (certificate, key) {
            builder = builder.identity(Identity::from_files(&certificate, &key)?);
        }
        builder.connect().await
    }
}
