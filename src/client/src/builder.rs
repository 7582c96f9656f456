//! How a client is told where the broker is, who it is itself, and whom it trusts.

use std::{
    env,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use leasehold_core::SpiffeId;
use rustls::pki_types::ServerName;
use tonic::transport::Endpoint;

#[cfg(feature = "workload-api")]
use crate::source::Workload;
use crate::{
    Address, Client, CredentialError, Error, Identity, InvalidAddress, TrustBundle,
    connect::{Dialer, Target},
    source::{IdentityFrom, Source, TrustFrom},
    tls::Expected,
    transport::Transport,
};

/// Makes a [`Client`].
///
/// An address, the client's identity and a trust bundle are needed; everything else has a default. Without an identity
/// the broker refuses the connection.
///
/// Identities and trust bundles that were given as files are read again when they change, and those of the Workload API
/// when its agent has new ones: the connection is replaced by one with the new identity while the old one still works. New
/// ones that cannot be used, or that the broker refuses, do not replace those that work; [`Client::identity_fault`] says so.
#[derive(Debug)]
#[must_use = "a builder does nothing until `connect` is called"]
pub struct Builder {
    addresses: Vec<Address>,
    identity: IdentityFrom,
    trust: TrustFrom,
    workload: Option<Box<str>>,
    expected: Expected,
    server_name: Option<ServerName<'static>>,
    connect_timeout: Duration,
    request_timeout: Duration,
    retries: bool,
}

/// The brokers' addresses, `host:port`, separated by commas: any of them will do.
pub const ENV_ADDR: &str = "LEASEHOLD_ADDR";
/// A folder with the client's certificate chain (`tls.crt`), its key (`tls.key`) and the trust bundle (`ca.crt`).
pub const ENV_IDENTITY: &str = "LEASEHOLD_IDENTITY";
/// The client's certificate chain, a PEM file.
pub const ENV_CERT: &str = "LEASEHOLD_CERT";
/// The client's private key, a PEM file.
pub const ENV_KEY: &str = "LEASEHOLD_KEY";
/// The trust bundle by which the broker is known, a PEM file.
pub const ENV_CA: &str = "LEASEHOLD_CA";
/// The broker's SPIFFE ID, when it is not known by its host name.
pub const ENV_SERVER_ID: &str = "LEASEHOLD_SERVER_ID";
/// The SPIFFE Workload API's endpoint, such as `unix:///run/spire/agent.sock`; its specification names the variable.
pub const ENV_WORKLOAD_API: &str = "SPIFFE_ENDPOINT_SOCKET";

/// A connection on which calls wait is asked for a sign of life so often, and is given up after so long a silence.
const KEEPALIVE: Duration = Duration::from_secs(10);

impl Default for Builder {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            identity: IdentityFrom::Nowhere,
            trust: TrustFrom::Nowhere,
            workload: None,
            expected: Expected::Host,
            server_name: None,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
            retries: true,
        }
    }
}

impl Builder {
    /// What the environment says: `LEASEHOLD_ADDR`; the identity by `LEASEHOLD_CERT` and `LEASEHOLD_KEY`, by the folder
    /// `LEASEHOLD_IDENTITY`, or by the Workload API at `SPIFFE_ENDPOINT_SOCKET`, whichever comes first in this order;
    /// `LEASEHOLD_CA`, which is before the bundles of the other two; and `LEASEHOLD_SERVER_ID`. Each may be absent, and be
    /// given by the builder's methods instead.
    ///
    /// # Errors
    /// When one of them makes no sense. Files are read by [`connect`](Self::connect).
    pub fn from_env() -> Result<Self, Error> {
        Self::from_variables(|name| env::var_os(name).filter(|value| !value.is_empty()))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Result<Self, Error> {
        let mut builder = Self::default();
        if let Some(addresses) = variable(ENV_ADDR) {
            let addresses = addresses.to_string_lossy();
            let each = addresses.split(',').map(|address| address.trim().parse());
            builder = builder.addresses(each.collect::<Result<Vec<_>, _>>()?);
        }
        let file = |name| variable(name).map(PathBuf::from);
        if let (Some(certificate), Some(key)) = (file(ENV_CERT), file(ENV_KEY)) {
            builder = builder.identity_files(certificate, key);
        } else if let Some(folder) = file(ENV_IDENTITY) {
            builder = builder.identity_folder(&folder);
        } else if let Some(endpoint) = variable(ENV_WORKLOAD_API) {
            builder = builder.workload_api(&endpoint.to_string_lossy());
        }
        if let Some(bundle) = file(ENV_CA) {
            builder = builder.trust_file(bundle);
        }
        if let Some(id) = variable(ENV_SERVER_ID) {
            let id = id.to_string_lossy().parse().map_err(|_| Error::Missing {
                what: "the broker's SPIFFE ID",
                way_out: "set LEASEHOLD_SERVER_ID to one, such as `spiffe://example.org/leasehold/broker`",
            })?;
            builder = builder.server_id(id);
        }
        Ok(builder)
    }

    /// Where the broker listens.
    pub fn address(self, address: Address) -> Self {
        self.addresses([address])
    }

    /// Where brokers listen, any of which will do. The first is preferred until it cannot be reached.
    pub fn addresses(mut self, addresses: impl IntoIterator<Item = Address>) -> Self {
        self.addresses = addresses.into_iter().collect();
        self
    }

    /// Who the client is, for as long as this client lives.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = IdentityFrom::Given(identity);
        self
    }

    /// Who the client is: a certificate chain (leaf first) and its key, in PEM files that are read again when they change.
    pub fn identity_files(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.identity = IdentityFrom::Files { certificate: certificate.into(), key: key.into() };
        self
    }

    /// Who the client is and whom it trusts: a folder with `tls.crt`, `tls.key` and `ca.crt`, as Kubernetes mounts them,
    /// read again when they change.
    pub fn identity_folder(self, folder: &Path) -> Self {
        self.identity_files(folder.join("tls.crt"), folder.join("tls.key")).trust_file(folder.join("ca.crt"))
    }

    /// Who the client is and, unless a trust bundle is given, whom it trusts, by the SPIFFE Workload API at an endpoint such
    /// as `unix:///run/spire/agent.sock`. It comes before an identity that was given otherwise.
    pub fn workload_api(mut self, endpoint: &str) -> Self {
        self.workload = Some(endpoint.into());
        self
    }

    /// The authorities that the broker's certificate must come from; no others are trusted, the system's neither.
    pub fn trust(mut self, bundle: TrustBundle) -> Self {
        self.trust = TrustFrom::Given(bundle);
        self
    }

    /// The same in a PEM file that is read again when it changes.
    pub fn trust_file(mut self, bundle: impl Into<PathBuf>) -> Self {
        self.trust = TrustFrom::File(bundle.into());
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

    /// How long a call may take with all its tries, or an answer that is a stream may take to begin; 30 s by default.
    pub fn request_timeout(mut self, limit: Duration) -> Self {
        self.request_timeout = limit;
        self
    }

    /// Whether the calls of workloads are tried again, within the request's time, when there is no connection or the broker
    /// cannot answer now; so by default. A lease that is asked for again is the same lease: every try carries the same
    /// request id. The calls of operators are made once.
    pub fn retries(mut self, retries: bool) -> Self {
        self.retries = retries;
        self
    }

    /// Connects. The client connects again by itself when the connection is lost.
    ///
    /// # Errors
    /// When something is missing or cannot be used, and when there is no connection to be had.
    pub async fn connect(self) -> Result<Client, Error> {
        let Self { connect_timeout, request_timeout, retries, .. } = self;
        let endpoint = self.endpoint()?;
        let targets = self.targets()?;
        let workload = self.workload.clone();
        let mut source = self.source()?;
        let credentials = tokio::time::timeout(connect_timeout, source.first()).await.map_err(|_| {
            CredentialError::Workload {
                endpoint: workload.unwrap_or_default(),
                cause: format!(
                    "no answer within {} s: is the agent running, and does it know this process?",
                    connect_timeout.as_secs_f32()
                )
                .into(),
            }
        })??;
        let dialer = Dialer::new(targets, connect_timeout, Ok(credentials));
        let transport = Transport::connected(endpoint, dialer, source).await?;
        Ok(Client::over(transport, request_timeout, retries))
    }

    /// A client that connects when it is first used, so that it can be had while the broker, or the Workload API's agent, is
    /// away. To be called within a tokio runtime.
    ///
    /// # Errors
    /// When something is missing, and when a file cannot be used.
    pub async fn connect_lazily(self) -> Result<Client, Error> {
        let Self { connect_timeout, request_timeout, retries, .. } = self;
        let endpoint = self.endpoint()?;
        let targets = self.targets()?;
        let workload = self.workload.clone();
        let mut source = self.source()?;
        let credentials = match workload {
            Some(endpoint) => {
                let cause = "it has not answered yet".into();
                Err(Arc::new(CredentialError::Workload { endpoint, cause }))
            }
            None => Ok(source.first().await?),
        };
        let dialer = Dialer::new(targets, connect_timeout, credentials);
        Ok(Client::over(Transport::lazy(endpoint, dialer, source), request_timeout, retries))
    }

    fn endpoint(&self) -> Result<Endpoint, Error> {
        let Some(address) = self.addresses.first() else {
            return Err(Error::Missing {
                what: "the broker's address",
                way_out: "give `host:port`, or set LEASEHOLD_ADDR",
            });
        };
        Ok(Endpoint::from_shared(format!("https://{address}"))?
            .user_agent(concat!("leasehold-client/", env!("CARGO_PKG_VERSION")))?
            .timeout(self.request_timeout)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE))
    }

    fn targets(&self) -> Result<Vec<Target>, Error> {
        let target = |address: &Address| {
            let server_name = match &self.server_name {
                Some(name) => name.clone(),
                None => ServerName::try_from(address.host())
                    .map_err(|_| InvalidAddress::Host(address.host().into()))?
                    .to_owned(),
            };
            Ok(Target { address: address.clone(), server_name })
        };
        self.addresses.iter().map(target).collect()
    }

    fn source(self) -> Result<Source, Error> {
        let source = Source::new(self.identity, self.trust, self.expected);
        match self.workload {
            None => Ok(source),
            #[cfg(feature = "workload-api")]
            Some(endpoint) => Ok(source.with_workload(Workload::new(&endpoint))),
            #[cfg(not(feature = "workload-api"))]
            Some(_) => Err(Error::Missing {
                what: "the SPIFFE Workload API",
                way_out: "build leasehold-client with its feature `workload-api`, or give an identity in files",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Result<Builder, Error> {
        Builder::from_variables(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        })
    }

    #[test]
    fn the_environment_says_all_of_it() {
        let builder = from(&[
            (ENV_ADDR, "one.example.org, https://two.example.org:9000"),
            (ENV_IDENTITY, "/run/identity"),
            (ENV_WORKLOAD_API, "unix:///run/agent.sock"),
            (ENV_SERVER_ID, "spiffe://example.org/leasehold/broker"),
        ])
        .unwrap();
        let shown: Vec<_> = builder.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["one.example.org:8443", "two.example.org:9000"]);
        assert!(
            matches!(&builder.identity, IdentityFrom::Files { key, .. } if key.ends_with("identity/tls.key"))
        );
        assert!(matches!(&builder.trust, TrustFrom::File(path) if path.ends_with("identity/ca.crt")));
        assert!(builder.workload.is_none() && matches!(builder.expected, Expected::Id(_)));
    }

    #[test]
    fn the_workload_api_is_asked_when_there_are_no_files() {
        let builder = from(&[(ENV_WORKLOAD_API, "unix:///run/agent.sock"), (ENV_CA, "/run/ca.pem")]).unwrap();
        assert_eq!(builder.workload.as_deref(), Some("unix:///run/agent.sock"));
        assert!(matches!(builder.trust, TrustFrom::File(_)));
        let wrong = from(&[(ENV_ADDR, "one,http://two")]).unwrap_err();
        assert!(wrong.to_string().contains("TLS only"), "{wrong}");
    }

    #[tokio::test]
    async fn what_is_missing_is_named() {
        let missing = Builder::default().connect().await.unwrap_err().to_string();
        assert!(missing.contains("address") && missing.contains("LEASEHOLD_ADDR"), "{missing}");
        let address: Address = "localhost".parse().unwrap();
        let missing = Builder::default().address(address).connect_lazily().await.unwrap_err().to_string();
        assert!(missing.contains("trust bundle") && missing.contains("LEASEHOLD_CA"), "{missing}");
    }
}
