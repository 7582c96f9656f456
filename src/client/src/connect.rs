//! Connections to brokers, and why there is none.

mod dial;
mod dialer;

use std::{io, sync::Arc, time::Duration};

use leasehold_core::Timestamp;
use thiserror::Error;

pub(crate) use self::dialer::{Connector, Dialer, Target};
use crate::{CredentialError, address::Address};

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
    /// There is nothing to show to the broker yet.
    #[error("there is no identity to connect with yet: {cause}")]
    NoIdentity {
        /// Why.
        cause: Arc<CredentialError>,
    },
    /// Of several brokers, none can be reached.
    #[error("none of the brokers can be used: {}", listed(tried))]
    NoneOf {
        /// What became of each.
        tried: Box<[ConnectError]>,
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

impl ConnectError {
    /// Whether it is the credentials that somebody does not take, so that others would be needed.
    pub(crate) fn is_about_credentials(&self) -> bool {
        match self {
            Self::Refused { .. } | Self::Server { .. } => true,
            Self::NoneOf { tried } => tried.iter().any(Self::is_about_credentials),
            _ => false,
        }
    }

    /// Whether the same may work a little later without anybody's doing.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::UnknownHost { .. }
            | Self::NotRunning { .. }
            | Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::NoIdentity { .. } => true,
            Self::NotBroker { .. } | Self::Server { .. } | Self::Refused { .. } | Self::Tls { .. } => false,
            Self::NoneOf { tried } => tried.iter().any(Self::may_pass),
        }
    }
}

fn ended(not_after: Option<Timestamp>) -> String {
    not_after.map_or_else(String::new, |at| format!(" (at {at})"))
}

fn named(id: &Option<Box<str>>) -> String {
    id.as_ref().map_or_else(String::new, |id| format!(" of `{id}`"))
}

fn listed(tried: &[ConnectError]) -> String {
    tried.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
