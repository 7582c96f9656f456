//! A client that hides nothing: TLS by hand, one HTTP/2 connection that is never opened again, whole gRPC statuses.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use http::{Request, Response, Uri};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use leasehold_proto::v1::{
    lease_service_client::LeaseServiceClient, operator_service_client::OperatorServiceClient,
};
use rustls::{
    AlertDescription, ClientConfig,
    pki_types::{CertificateDer, ServerName},
};
use tokio::{io::AsyncReadExt, net::TcpStream, task::JoinHandle};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{Status, body::Body};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_types::StatusExt;
use tower::util::BoxCloneSyncService;

/// What generated clients call through.
pub type Channel = BoxCloneSyncService<Request<Body>, Response<Incoming>, hyper::Error>;

/// One connection.
pub struct Raw {
    send: http2::SendRequest<Body>,
    life: JoinHandle<()>,
    /// The certificate that the server showed.
    pub server: CertificateDer<'static>,
}

impl Raw {
    /// Connects, as far as the client can tell: with TLS 1.3 the server may still refuse.
    ///
    /// # Errors
    /// When TCP or TLS fails.
    pub async fn open(address: SocketAddr, tls: Arc<ClientConfig>) -> io::Result<Self> {
        let stream = shake_hands(address, tls).await?;
        let chain = stream.get_ref().1.peer_certificates().expect("a server shows its certificate");
        let server = chain[0].clone().into_owned();
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (send, connection) = handshake.map_err(io::Error::other)?;
        let life = tokio::spawn(async move {
            // The calls on it report what is wrong with the connection.
            let _ = connection.await;
        });
        Ok(Self { send, life, server })
    }

    /// The calls of workloads.
    pub fn leases(&self) -> LeaseServiceClient<Channel> {
        LeaseServiceClient::with_origin(self.channel(), origin())
    }

    /// The calls of operators.
    pub fn operators(&self) -> OperatorServiceClient<Channel> {
        OperatorServiceClient::with_origin(self.channel(), origin())
    }

    /// Asks for the broker's health: the cheapest call that the broker answers, and it leaves no record.
    ///
    /// # Errors
    /// When it does not answer that it serves.
    pub async fn check(&self) -> Result<(), Status> {
        let request = HealthCheckRequest::default();
        let answer = HealthClient::with_origin(self.channel(), origin()).check(request).await?.into_inner();
        match answer.status() {
            ServingStatus::Serving => Ok(()),
            other => Err(Status::unavailable(format!("{other:?}"))),
        }
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.life.is_finished()
    }

    /// Waits until the server has ended the connection.
    ///
    /// # Panics
    /// When it has not after half a minute.
    pub async fn closed(&mut self) {
        let ended = tokio::time::timeout(Duration::from_secs(30), &mut self.life).await;
        ended.expect("the broker ends the connection").expect("a connection's task does not panic");
    }

    fn channel(&self) -> Channel {
        let send = self.send.clone();
        BoxCloneSyncService::new(tower::service_fn(move |request| {
            let mut send = send.clone();
            async move {
                send.ready().await?;
                send.send_request(request).await
            }
        }))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.life.abort();
    }
}

/// TCP and TLS, and nothing more.
///
/// # Errors
/// When either fails.
pub async fn shake_hands(address: SocketAddr, tls: Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    TlsConnector::from(tls).connect(ServerName::try_from("localhost").expect("a host name"), tcp).await
}

/// The alert (RFC 8446, section 6.2) with which the server refuses such a client.
///
/// # Panics
/// When it lets it in, or says nothing.
pub async fn alert(address: SocketAddr, tls: Arc<ClientConfig>) -> AlertDescription {
    let error = match shake_hands(address, tls).await {
        // With TLS 1.3 a client has finished before the server has judged it.
        Ok(mut stream) => match stream.read(&mut [0; 64]).await {
            Ok(read) => panic!("it was let in, or hung up on without a word: {read} bytes"),
            Err(error) => error,
        },
        Err(error) => error,
    };
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => *alert,
        _ => panic!("no alert, but {error}"),
    }
}

/// The broker's stable reason; empty when it was not the broker that spoke.
pub fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

fn origin() -> Uri {
    Uri::from_static("https://localhost")
}
