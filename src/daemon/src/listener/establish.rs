//! From an accepted TCP connection to an open one: the handshake, the identity, the admission.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use leasehold_core::{SpiffeId, ports::Clock, record::Actor};
use rustls::{CertificateError, HandshakeKind, OtherError};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    Peer,
    admission::Refused,
    connection::Connection,
    registry::{Place, Registry},
};
use crate::{
    identity::{self, IdentityError},
    tls::{Distrust, PeerGuard, Store},
};

/// A connection whose peer is known and that has its place.
pub(crate) struct Established {
    pub(crate) tls: TlsStream<TcpStream>,
    pub(crate) connection: Arc<Connection>,
    pub(crate) held: Place,
}

/// Why a TCP connection did not become an open connection.
#[derive(Debug, Error)]
pub(crate) enum HandshakeError {
    #[error("the handshake took longer than {0:?}")]
    TooSlow(Duration),
    #[error("the handshake failed: {0}")]
    Failed(io::Error),
    #[error("there is no client certificate")]
    NoCertificate,
    #[error(transparent)]
    Distrusted(#[from] Distrust),
    #[error("{1}: {0}")]
    Refused(Refused, SpiffeId),
}

/// Shakes hands and finds the connection a place.
pub(crate) async fn establish(
    tcp: TcpStream,
    address: SocketAddr,
    store: &Arc<Store>,
    clock: &dyn Clock,
    registry: &Arc<Registry>,
) -> Result<Established, HandshakeError> {
    tcp.set_nodelay(true).map_err(HandshakeError::Failed)?;
    let in_force = Arc::clone(&store.current());
    let acceptor = TlsAcceptor::from(Arc::clone(in_force.server()));
    let tls = acceptor.accept(tcp).await.map_err(HandshakeError::from_tls)?;

    let (_, session) = tls.get_ref();
    let chain: Vec<_> = session
        .peer_certificates()
        .ok_or(HandshakeError::NoCertificate)?
        .iter()
        .map(|certificate| certificate.clone().into_owned())
        .collect();
    let leaf = chain.first().ok_or(HandshakeError::NoCertificate)?;
    let now = clock.now();
    // A full handshake has verified the chain; a resumed one has only remembered it.
    let identity = if session.handshake_kind() == Some(HandshakeKind::Resumed) {
        in_force.trust().verify(&chain, now)?
    } else {
        identity::identify(leaf, in_force.trust().domain()).map_err(Distrust::Identity)?
    };
    let actor = Actor {
        id: identity.principal,
        certificate: Some(identity.fingerprint),
        address: Some(canonical(address)),
        call: None,
    };
    let guard = PeerGuard::new(Arc::clone(store), chain, in_force.generation(), now);
    let connection = Connection::new(Peer::new(actor, identity.not_after), guard);
    let principal = connection.peer().principal();
    let held = registry.admit(&connection).map_err(|why| HandshakeError::Refused(why, principal.clone()))?;
    tracing::debug!(%principal, %address, "a peer connected");
    Ok(Established { tls, connection, held })
}

impl HandshakeError {
    /// Unwraps what rustls has wrapped, so that the log says it in our words.
    fn from_tls(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::NoCertificatesPresented) => Self::NoCertificate,
            Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(other)))) => {
                match other.downcast_ref::<IdentityError>() {
                    Some(identity) => Self::Distrusted(identity.clone().into()),
                    None => Self::Failed(error),
                }
            }
            Some(certificate @ rustls::Error::InvalidCertificate(_)) => {
                Self::Distrusted(certificate.clone().into())
            }
            _ => Self::Failed(error),
        }
    }
}

/// An IPv4 peer of a dual-stack socket as the IPv4 address that it has.
fn canonical(address: SocketAddr) -> SocketAddr {
    let ip: IpAddr = address.ip().to_canonical();
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_our_words() {
        let told = |error: rustls::Error| HandshakeError::from_tls(io::Error::other(error)).to_string();
        assert_eq!(told(rustls::Error::NoCertificatesPresented), "there is no client certificate");
        let no_uri = CertificateError::Other(OtherError(Arc::new(IdentityError::NoUri)));
        assert_eq!(
            told(no_uri.into()),
            "the certificate has no URI subject alternative name, so no SPIFFE ID"
        );
        assert_eq!(told(CertificateError::Revoked.into()), "the client certificate has been revoked");
        assert_eq!(told(rustls::Error::HandshakeNotComplete), "the handshake failed: handshake not complete");
    }

    #[test]
    fn an_ipv4_peer_is_named_by_its_ipv4_address() {
        let dual = "[::ffff:192.0.2.7]:443".parse().unwrap();
        assert_eq!(canonical(dual).to_string(), "192.0.2.7:443");
    }
}
