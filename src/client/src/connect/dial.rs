//! One connection to one broker: TCP, TLS, and the broker's first word.
//!
//! In TLS 1.3 a client's handshake is complete before the server has judged its certificate. So a connection is handed
//! out only after the broker has sent something (its HTTP/2 settings): a refusal is seen here, as what it is, and not
//! later as some broken stream.

use std::{io, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use rustls::{AlertDescription, CertificateError};
use tokio::{io::AsyncBufReadExt, net::TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{ClientFault, ConnectError, ServerFault, dialer::Target};
use crate::{
    credentials::{Credentials, Summary},
    tls::OtherServer,
};

/// A connection on which the broker has spoken.
pub(crate) type Connected = TokioIo<TlsStream<TcpStream>>;

/// Connects to one broker within a time.
pub(super) async fn dial(
    target: &Target,
    credentials: &Credentials,
    limit: Duration,
) -> Result<Connected, ConnectError> {
    let attempt = Attempt { target, credentials };
    tokio::time::timeout(limit, attempt.connect())
        .await
        .unwrap_or_else(|_| Err(ConnectError::Timeout { address: target.address.clone(), limit }))
}

struct Attempt<'a> {
    target: &'a Target,
    credentials: &'a Credentials,
}

impl Attempt<'_> {
    async fn connect(self) -> Result<Connected, ConnectError> {
        let tcp = self.tcp().await?;
        let tls = TlsConnector::from(Arc::clone(&self.credentials.tls));
        let handshake = tls.connect(self.target.server_name.clone(), tcp);
        let mut stream = handshake.await.map_err(|error| self.fault(&error))?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(ConnectError::NotBroker { address: self.target.address.clone() });
        }
        match stream.fill_buf().await {
            Ok([]) => Err(self.fault(&io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => Ok(TokioIo::new(stream)),
            Err(error) => Err(self.fault(&error)),
        }
    }

    async fn tcp(&self) -> Result<TcpStream, ConnectError> {
        let (host, port) = (self.target.address.host(), self.target.address.port());
        let addresses: Vec<_> = tokio::net::lookup_host((host, port))
            .await
            .map_err(|cause| ConnectError::UnknownHost { host: host.into(), cause: Arc::new(cause) })?
            .collect();
        let stream = TcpStream::connect(&*addresses).await.map_err(|cause| match cause.kind() {
            io::ErrorKind::ConnectionRefused => {
                ConnectError::NotRunning { address: self.target.address.clone() }
            }
            _ => ConnectError::Unreachable { address: self.target.address.clone(), cause: Arc::new(cause) },
        })?;
        stream.set_nodelay(true).map_err(|cause| ConnectError::Unreachable {
            address: self.target.address.clone(),
            cause: Arc::new(cause),
        })?;
        Ok(stream)
    }

    /// What a failure during or right after the handshake means.
    fn fault(&self, error: &io::Error) -> ConnectError {
        let address = self.target.address.clone();
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
                ServerFault::UnknownAuthority { bundle: self.credentials.bundle.clone() }
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => ServerFault::OutOfTime,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                ServerFault::OtherHost { host: self.target.address.host().into() }
            }
            CertificateError::Other(other) => match other.0.downcast_ref::<OtherServer>() {
                Some(other) => ServerFault::Other(other.to_string()),
                None => ServerFault::Other(other.to_string()),
            },
            fault => ServerFault::Other(format!("its certificate is not valid: {fault}")),
        }
    }

    fn client_fault(&self, alert: AlertDescription) -> Option<ClientFault> {
        let Some(Summary { origin, id, not_after }) = self.credentials.identity.clone() else {
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
