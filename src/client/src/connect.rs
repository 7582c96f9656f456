//! One connection: TCP, TLS, and the broker's first word.
//!
//! In TLS 1.3 a client's handshake is complete before the server has judged its certificate. So a connection is handed
//! out only after the broker has sent something (its HTTP/2 settings): a refusal is seen here, as what it is, and not
//! later as some broken stream.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::rt::TokioIo;
use leasehold_core::Timestamp;
use rustls::{AlertDescription, CertificateError, ClientConfig, pki_types::ServerName};
use thiserror::Error;
use tokio::{io::AsyncBufReadExt, net::TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tower::Service;

use crate::{address::Address, credentials::Summary, tls::OtherServer};

/// Why there is no connection. Each says what to look at.
#[derive(Clone, Debug, Error)]
pub enum ConnectError {
    /// The host's name has no address.
    #[error("the broker's host `{host}` cannot be found: {cause}")]
    UnknownHost {
        /// The name.
        host: Box<str>,
        /// Why.
        cause: Arc<io::Error>,
    },
    /// Nothing listens there.
    #[error("nothing listens at {address}: is the broker running, and is this its address?")]
    NotRunning {
        /// The address.
        address: Address,
    },
    /// The network does not lead there.
    #[error("the broker at {address} cannot be reached: {cause}")]
    Unreachable {
        /// The address.
        address: Address,
        /// Why.
        cause: Arc<io::Error>,
    },
    /// It took too long.
    #[error("the broker at {address} did not answer within {} s", limit.as_secs_f32())]
    Timeout {
        /// The address.
        address: Address,
        /// How long it was given.
        limit: Duration,
    },
    /// Whatever listens there is no broker.
    #[error("what listens at {address} is not a Leasehold broker: it does not speak HTTP/2 over TLS 1.3")]
    NotBroker {
        /// The address.
        address: Address,
    },
    /// The broker's certificate is not to be trusted.
    #[error("the broker at {address} is not to be trusted: {fault}")]
    Server {
        /// The address.
        address: Address,
        /// What is wrong with it.
        fault: ServerFault,
    },
    /// The broker does not take the client's certificate.
    #[error("the broker at {address} refused the connection: {fault}")]
    Refused {
        /// The address.
        address: Address,
        /// What is wrong with the client's certificate.
        fault: ClientFault,
    },
    /// TLS failed otherwise.
    #[error("the TLS handshake with {address} failed: {cause}")]
    Tls {
        /// The address.
        address: Address,
        /// Why.
        cause: rustls::Error,
    },
}

/// What is wrong with the broker's certificate.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ServerFault {
    /// Of another authority.
    #[error("its certificate is not signed by an authority in `{bundle}`; is that the right trust bundle?")]
    UnknownAuthority {
        /// The trust bundle.
        bundle: Box<str>,
    },
    /// Expired, or not valid yet.
    #[error("its certificate has expired or is not valid yet (or this machine's clock is wrong)")]
    OutOfTime,
    /// For another host.
    #[error("its certificate is not for `{host}`; connect by the name it has, or give its SPIFFE ID")]
    OtherHost {
        /// The host that was connected to.
        host: Box<str>,
    },
    /// Of another SPIFFE ID, or anything else.
    #[error("{0}")]
    Other(String),
}

/// What is wrong with the client's certificate, by the alert that the broker sent (RFC 8446, section 6.2).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClientFault {
    /// None was shown.
    #[error("a client certificate is required, and none was given")]
    Required,
    /// It has expired.
    #[error("the certificate `{origin}` has expired{}: renew it", ended(*not_after))]
    Expired {
        /// Its file.
        origin: Box<str>,
        /// When it ended.
        not_after: Option<Timestamp>,
    },
    /// It was revoked.
    #[error("the certificate `{origin}` was revoked: a new one is needed")]
    Revoked {
        /// Its file.
        origin: Box<str>,
    },
    /// Of an authority that the broker does not know.
    #[error("the certificate `{origin}` is not signed by an authority that the broker trusts")]
    UnknownAuthority {
        /// Its file.
        origin: Box<str>,
    },
    /// Refused for another reason.
    #[error("the certificate `{origin}`{} was not accepted ({alert}): {ADVICE}", named(id))]
    NotAccepted {
        /// Its file.
        origin: Box<str>,
        /// Whose it is.
        id: Option<Box<str>>,
        /// The alert's name.
        alert: String,
    },
}

const ADVICE: &str =
    "it needs exactly one SPIFFE ID, in the broker's trust domain; the broker's log says more";

/// Makes the connections of one channel. A `tower` service, as tonic wants it.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) address: Address,
    pub(crate) server_name: ServerName<'static>,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) limit: Duration,
    pub(crate) identity: Option<Summary>,
    pub(crate) bundle: Box<str>,
}

type Connected = TokioIo<TlsStream<TcpStream>>;

impl Service<Uri> for Connector {
    type Response = Connected;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Connected, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let timeout = ConnectError::Timeout { address: this.address.clone(), limit: this.limit };
            tokio::time::timeout(this.limit, this.connect()).await.unwrap_or(Err(timeout))
        })
    }
}

impl Connector {
    async fn connect(self) -> Result<Connected, ConnectError> {
        let tcp = self.tcp().await?;
        let handshake = TlsConnector::from(Arc::clone(&self.tls)).connect(self.server_name.clone(), tcp);
        let mut stream = handshake.await.map_err(|error| self.fault(&error))?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(ConnectError::NotBroker { address: self.address });
        }
        match stream.fill_buf().await {
            Ok([]) => Err(self.fault(&io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => Ok(TokioIo::new(stream)),
            Err(error) => Err(self.fault(&error)),
        }
    }

    async fn tcp(&self) -> Result<TcpStream, ConnectError> {
        let (host, port) = (self.address.host(), self.address.port());
        let addresses: Vec<_> = tokio::net::lookup_host((host, port))
            .await
            .map_err(|cause| ConnectError::UnknownHost { host: host.into(), cause: Arc::new(cause) })?
            .collect();
        let stream = TcpStream::connect(&*addresses).await.map_err(|cause| match cause.kind() {
            io::ErrorKind::ConnectionRefused => ConnectError::NotRunning { address: self.address.clone() },
            _ => ConnectError::Unreachable { address: self.address.clone(), cause: Arc::new(cause) },
        })?;
        stream.set_nodelay(true).map_err(|cause| ConnectError::Unreachable {
            address: self.address.clone(),
            cause: Arc::new(cause),
        })?;
        Ok(stream)
    }

    /// What a failure during or right after the handshake means.
    fn fault(&self, error: &io::Error) -> ConnectError {
        let address = self.address.clone();
        // tokio-rustls hands rustls' errors over within an `io::Error`; there is no other way to them.
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(fault)) => {
                ConnectError::Server { address, fault: self.server_fault(fault) }
            }
            Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol))
            | Some(rustls::Error::AlertReceived(AlertDescription::ProtocolVersion))
            | Some(rustls::Error::InvalidMessage(_)) => ConnectError::NotBroker { address },
            Some(rustls::Error::AlertReceived(alert)) => match self.client_fault(*alert) {
                Some(fault) => ConnectError::Refused { address, fault },
                None => ConnectError::Tls { address, cause: rustls::Error::AlertReceived(*alert) },
            },
            Some(cause) => ConnectError::Tls { address, cause: cause.clone() },
            None => {
                let cause = Arc::new(io::Error::new(
                    error.kind(),
                    format!("the connection was closed during the TLS handshake ({error})"),
                ));
                ConnectError::Unreachable { address, cause }
            }
        }
    }

    fn server_fault(&self, fault: &CertificateError) -> ServerFault {
        match fault {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                ServerFault::UnknownAuthority { bundle: self.bundle.clone() }
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => ServerFault::OutOfTime,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                ServerFault::OtherHost { host: self.address.host().into() }
            }
            CertificateError::Other(other) => match other.0.downcast_ref::<OtherServer>() {
                Some(other) => ServerFault::Other(other.to_string()),
                None => ServerFault::Other(other.to_string()),
            },
            fault => ServerFault::Other(format!("its certificate is not valid: {fault}")),
        }
    }

    fn client_fault(&self, alert: AlertDescription) -> Option<ClientFault> {
        let Some(Summary { origin, id, not_after }) = self.identity.clone() else {
            // Without a certificate there is nothing else to refuse; TLS 1.2 brokers say `handshake_failure`.
            return Some(ClientFault::Required);
        };
        match alert {
            AlertDescription::CertificateRequired => Some(ClientFault::Required),
            AlertDescription::CertificateExpired => Some(ClientFault::Expired { origin, not_after }),
            AlertDescription::CertificateRevoked => Some(ClientFault::Revoked { origin }),
            // An authority of the same name with another key shows as a signature that does not hold.
            AlertDescription::UnknownCA | AlertDescription::DecryptError => {
                Some(ClientFault::UnknownAuthority { origin })
            }
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied => Some(ClientFault::NotAccepted {
                origin,
                id: id.map(|id| id.as_str().into()),
                alert: format!("{alert:?}"),
            }),
            _ => None,
        }
    }
}

fn ended(not_after: Option<Timestamp>) -> String {
    not_after.map_or_else(String::new, |at| format!(" (at {at})"))
}

fn named(id: &Option<Box<str>>) -> String {
    id.as_ref().map_or_else(String::new, |id| format!(" of `{id}`"))
}
