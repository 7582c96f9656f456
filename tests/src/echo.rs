//! The baseline: a bare tonic server behind the same mutual TLS that answers every IssueLease with one prepared response.
//! It decides nothing, stores nothing and writes nothing.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::stream::BoxStream;
use leasehold_proto::v1::{
    self, IssueLeaseRequest, IssueLeaseResponse,
    lease_service_server::{LeaseService, LeaseServiceServer},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tonic::{Request, Response, Status, transport::server::Connected};

use crate::load::{Call, Connection};

/// Serves until the process ends.
///
/// # Errors
/// When the server cannot go on.
pub async fn serve(
    listener: TcpListener,
    tls: rustls::ServerConfig,
    response: IssueLeaseResponse,
) -> Result<(), tonic::transport::Error> {
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let incoming = futures::stream::unfold((listener, acceptor), |(listener, acceptor)| async {
        loop {
            let Ok((tcp, _)) = listener.accept().await else { continue };
            // Not set by `serve_with_incoming`; without it every answer waits for the next one.
            let _ = tcp.set_nodelay(true);
            if let Ok(stream) = acceptor.accept(tcp).await {
                return Some((Ok::<_, io::Error>(Tls(stream)), (listener, acceptor)));
            }
        }
    });
    tonic::transport::Server::builder()
        .serve_with_incoming(LeaseServiceServer::new(Echo { response }), Box::pin(incoming))
        .await
}

/// The server's side of the same mutual TLS as the broker's, from a folder with its files.
pub fn server_tls(folder: &Path) -> rustls::ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(folder.join("clients.pem")).expect("the bundle is PEM") {
        roots.add(root.expect("the bundle is PEM")).expect("our own root is one");
    }
    let chain: Vec<_> = CertificateDer::pem_file_iter(folder.join("server.pem"))
        .expect("the certificate is PEM")
        .collect::<Result<_, _>>()
        .expect("the certificate is PEM");
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).expect("the key is PEM");
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .expect("there is a root");
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("aws-lc-rs speaks TLS 1.3")
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .expect("key and certificate belong together");
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// Asks a broker once, so that the echo answers with messages of the same size.
///
/// # Errors
/// When the broker does not issue.
pub async fn sample(
    connection: &mut Connection,
    call: &Call,
) -> Result<IssueLeaseResponse, crate::load::CallError> {
    let bytes = connection.call(call).await?;
    Ok(prost::Message::decode(bytes).expect("the broker sends what the contract says"))
}

/// A free loopback address with its listener.
///
/// # Errors
/// When there is none.
pub async fn listen() -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

struct Echo {
    response: IssueLeaseResponse,
}

/// A stream that tonic takes: without its own TLS, it knows nothing of ours.
struct Tls(TlsStream<TcpStream>);

impl Connected for Tls {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Tls {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Tls {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tonic::async_trait]
impl LeaseService for Echo {
    type WatchLeasesStream = BoxStream<'static, Result<v1::WatchLeasesResponse, Status>>;
    type WatchSecretStream = BoxStream<'static, Result<v1::WatchSecretResponse, Status>>;

    async fn issue_lease(
        &self,
        _request: Request<IssueLeaseRequest>,
    ) -> Result<Response<IssueLeaseResponse>, Status> {
        Ok(Response::new(self.response.clone()))
    }

    async fn renew_lease(
        &self,
        _request: Request<v1::RenewLeaseRequest>,
    ) -> Result<Response<v1::RenewLeaseResponse>, Status> {
        Err(Status::unimplemented("echo"))
    }

    async fn revoke_lease(
        &self,
        _request: Request<v1::RevokeLeaseRequest>,
    ) -> Result<Response<v1::RevokeLeaseResponse>, Status> {
        Err(Status::unimplemented("echo"))
    }

    async fn get_lease(
        &self,
        _request: Request<v1::GetLeaseRequest>,
    ) -> Result<Response<v1::GetLeaseResponse>, Status> {
        Err(Status::unimplemented("echo"))
    }

    async fn list_leases(
        &self,
        _request: Request<v1::ListLeasesRequest>,
    ) -> Result<Response<v1::ListLeasesResponse>, Status> {
        Err(Status::unimplemented("echo"))
    }

    async fn watch_leases(
        &self,
        _request: Request<v1::WatchLeasesRequest>,
    ) -> Result<Response<Self::WatchLeasesStream>, Status> {
        Err(Status::unimplemented("echo"))
    }

    async fn watch_secret(
        &self,
        _request: Request<v1::WatchSecretRequest>,
    ) -> Result<Response<Self::WatchSecretStream>, Status> {
        Err(Status::unimplemented("echo"))
    }
}
