//! How a client is told where the broker is, who it is itself, and whom it trusts.

use std::{env, path::PathBuf, sync::Arc, time::Duration};

use leasehold_core::SpiffeId;
use rustls::pki_types::ServerName;
use tonic::transport::Endpoint;

use crate::{
    Address, Client, Error, Identity, InvalidAddress, TrustBundle,
    connect::Connector,
    tls::{self, Expected},
};

/// Makes a [`Client`].
///
/// The address, the client's identity and a trust bundle are needed; everything else has a default. Without an
/// identity the broker refuses the connection.
#[derive(Debug)]
#[must_use = "a builder does nothing until `connect` is called"]
pub struct Builder {
    address: Option<Address>,
    identity: Option<Identity>,
    trust: Option<TrustBundle>,
    expected: Expected,
    server_name: Option<ServerName<'static>>,
    connect_timeout: Duration,
    request_timeout: Duration,
}

/// The broker's address, `host:port`.
pub const ENV_ADDR: &str = "LEASEHOLD_ADDR";
/// The client's certificate chain, a PEM file.
pub const ENV_CERT: &str = "LEASEHOLD_CERT";
/// The client's private key, a PEM file.
pub const ENV_KEY: &str = "LEASEHOLD_KEY";
/// The trust bundle by which the broker is known, a PEM file.
pub const ENV_CA: &str = "LEASEHOLD_CA";
/// The broker's SPIFFE ID, when it is not known by its host name.
pub const ENV_SERVER_ID: &str = "LEASEHOLD_SERVER_ID";

const KEEPALIVE: Duration = Duration::from_secs(20);

impl Default for Builder {
    fn default() -> Self {
        Self {
            address: None,
            identity: None,
            trust: None,
            expected: Expected::Host,
            server_name: None,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
        }
    }
}

impl Builder {
    /// What the environment says: `LEASEHOLD_ADDR`, `LEASEHOLD_CERT`, `LEASEHOLD_KEY`, `LEASEHOLD_CA` and
    /// `LEASEHOLD_SERVER_ID`. Each may be absent, and be given by the builder's methods instead.
    ///
    /// # Errors
    /// When one of them makes no sense, or names a file that cannot be used.
    pub fn from_env() -> Result<Self, Error> {
        let mut builder = Self::default();
        if let Some(address) = env::var_os(ENV_ADDR) {
            builder = builder.address(address.to_string_lossy().parse()?);
        }
        let file = |name| env::var_os(name).map(PathBuf::from);
        if let (Some(certificate), Some(key)) = (file(ENV_CERT), file(ENV_KEY)) {
            builder = builder.identity(Identity::from_files(&certificate, &key)?);
        }
        if let Some(bundle) = file(ENV_CA) {
            builder = builder.trust(TrustBundle::from_file(&bundle)?);
        }
        if let Some(id) = env::var_os(ENV_SERVER_ID) {
            let id = id.to_string_lossy().parse().map_err(|_| Error::Missing {
                what: "the broker's SPIFFE ID",
                way_out: "set LEASEHOLD_SERVER_ID to one, such as `spiffe://example.org/leasehold/broker`",
            })?;
            builder = builder.server_id(id);
        }
        Ok(builder)
    }

    /// Where the broker listens.
    pub fn address(mut self, address: Address) -> Self {
        self.address = Some(address);
        self
    }

    /// Who the client is.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// The authorities that the broker's certificate must come from; no others are trusted, the system's neither.
    pub fn trust(mut self, bundle: TrustBundle) -> Self {
        self.trust = Some(bundle);
        self
    }

    /// Knows the broker by this SPIFFE ID and not by its host name.
    pub fn server_id(mut self, id: SpiffeId) -> Self {
        self.expected = Expected::Id(id);
        self
    }

    /// Knows the broker by this DNS name or IP address, when it is not the one that is connected to.
    ///
    /// # Errors
    /// When it is neither.
    pub fn server_name(mut self, name: &str) -> Result<Self, Error> {
        let name = ServerName::try_from(name).map_err(|_| InvalidAddress::Host(name.into()))?;
        self.server_name = Some(name.to_owned());
        Ok(self)
    }

    /// How long a connection may take, TLS included; 5 s by default.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// How long an answer may take to begin; 30 s by default.
    pub fn request_timeout(mut self, limit: Duration) -> Self {
        self.request_timeout = limit;
        self
    }

    /// Connects. The client connects again by itself when the connection is lost.
    ///
    /// # Errors
    /// When something is missing or cannot be used, and when there is no connection to be had.
    pub async fn connect(self) -> Result<Client, Error> {
        let address = self.address.ok_or(Error::Missing {
            what: "the broker's address",
            way_out: "give `host:port`, or set LEASEHOLD_ADDR",
        })?;
        let trust = self.trust.ok_or(Error::Missing {
            what: "the trust bundle by which the broker is known",
            way_out: "give its PEM file, or set LEASEHOLD_CA",
        })?;
        let server_name = match self.server_name {
            Some(name) => name,
            None => ServerName::try_from(address.host())
                .map_err(|_| InvalidAddress::Host(address.host().into()))?
                .to_owned(),
        };
        let endpoint = Endpoint::from_shared(format!("https://{address}"))?
            .user_agent(concat!("leasehold-client/", env!("CARGO_PKG_VERSION")))?
            .timeout(self.request_timeout)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE);
        let connector = Connector {
            address,
            server_name,
            limit: self.connect_timeout,
            identity: self.identity.as_ref().map(|identity| identity.summary.clone()),
            bundle: trust.origin.clone(),
            tls: Arc::new(tls::config(self.identity, &trust, &self.expected)?),
        };
        Ok(Client::over(endpoint.connect_with_connector(connector).await?))
    }
}
