//! A listener with a small service, and clients of any kind.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use leasehold_core::ports::Clock;
use rustls::{
    AlertDescription, ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion, crypto::aws_lc_rs,
};
use rustls_pki_types::ServerName;
use tempfile::TempDir;
use tokio::{io::AsyncReadExt, net::TcpStream, sync::watch, task::JoinHandle};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::body::Body;

use crate::{
    listener::{Drained, Listener, Peer, Settings, Stats, bind},
    tls::{
        self, Material, Store,
        authority::{Authority, Issued, Leaf, TestClock, domain, write},
    },
};

/// Everything that a listener needs, before it is started.
pub(super) struct World {
    pub(super) clients: Authority,
    pub(super) servers: Authority,
    pub(super) clock: Arc<TestClock>,
    pub(super) dir: TempDir,
    pub(super) tls: tls::Settings,
    pub(super) limits: Settings,
}

/// A listener that serves until it is stopped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) store: Arc<Store>,
    pub(super) listener: Arc<Listener>,
    stop: watch::Sender<bool>,
    task: JoinHandle<Drained>,
}

/// An open connection.
pub(super) struct Client {
    sender: h2::client::SendRequest<Bytes>,
    pub(super) handshake: Option<HandshakeKind>,
    /// Ends when the connection does.
    pub(super) closed: JoinHandle<()>,
}

impl World {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (clients, servers) = (Authority::new("clients"), Authority::new("servers"));
        let server = servers.issue(&Leaf::server());
        let tls = tls::Settings::new(
            write(dir.path(), "server.pem", server.pem(), 0o644),
            write(dir.path(), "server.key", server.key_pem(), 0o600),
            write(dir.path(), "clients.pem", clients.pem(), 0o644),
        );
        Self { clients, servers, clock: TestClock::new(), dir, tls, limits: Settings::default() }
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::<TestClock>::clone(&self.clock)
    }

    pub(super) fn material(&self) -> Material {
        Material::load(&self.tls, &domain(), &self.clock()).unwrap()
    }

    pub(super) fn start(&self) -> Server {
        let store = Store::new(self.material());
        let listener = Listener::new(Arc::clone(&store), self.clock(), self.limits.clone());
        let sockets = bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        let address = sockets[0].local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(Arc::clone(&listener).run(sockets, tower::service_fn(serve), stopped));
        Server { address, store, listener, stop, task }
    }

    pub(super) fn revoke(&mut self, serials: &[u64], next: i64) {
        self.tls.crls = vec![write(self.dir.path(), "clients.crl", self.clients.crl(serials, next), 0o644)];
    }

    /// What a client is configured with.
    pub(super) fn client(
        &self,
        identity: Option<&Issued>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.servers.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            Some(issued) => builder.with_client_auth_cert(issued.chain.clone(), issued.key()).unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }

    pub(super) fn tls13(&self, identity: &Issued) -> Arc<ClientConfig> {
        self.client(Some(identity), &[&rustls::version::TLS13])
    }

    /// A client of this SPIFFE path with a certificate that is good.
    pub(super) async fn connect(&self, server: &Server, path: &str) -> Client {
        let identity = self.clients.issue(&Leaf::spiffe(path));
        Client::connect(server, self.tls13(&identity)).await.unwrap()
    }
}

impl Server {
    /// Shakes hands as far as the client can tell.
    pub(super) async fn shake_hands(
        &self,
        config: Arc<ClientConfig>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(self.address).await?;
        TlsConnector::from(config).connect(ServerName::try_from("localhost").unwrap(), tcp).await
    }

    /// The alert with which it refuses such a client.
    pub(super) async fn alert(&self, config: Arc<ClientConfig>) -> AlertDescription {
        let error = match self.shake_hands(config).await {
            // With TLS 1.3 a client has finished before the server has judged it.
            Ok(mut tls) => match tls.read(&mut [0; 64]).await {
                Ok(n) => panic!("it was let in and read {n} bytes"),
                Err(error) => error,
            },
            Err(error) => error,
        };
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::AlertReceived(alert)) => *alert,
            _ => panic!("no alert but {error}"),
        }
    }

    /// Waits for the listener to have seen or done something.
    pub(super) async fn until(&self, what: impl Fn(&Stats) -> bool) -> Stats {
        for _ in 0..100_000 {
            let stats = self.listener.stats();
            if what(&stats) {
                return stats;
            }
            tokio::task::yield_now().await;
        }
        panic!("it did not come to pass: {:?}", self.listener.stats());
    }

    pub(super) fn tell_to_stop(&self) {
        self.stop.send_replace(true);
    }

    pub(super) async fn stop(self) -> Drained {
        self.tell_to_stop();
        self.task.await.unwrap()
    }
}

impl Client {
    pub(super) async fn connect(server: &Server, config: Arc<ClientConfig>) -> Result<Self, String> {
        let tls = server.shake_hands(config).await.map_err(|error| error.to_string())?;
        let handshake = tls.get_ref().1.handshake_kind();
        let (sender, connection) = h2::client::handshake(tls).await.map_err(|error| error.to_string())?;
        let closed = tokio::spawn(async {
            let _ = connection.await;
        });
        Ok(Self { sender, handshake, closed })
    }

    /// Asks for a path; returns the status and headers with the stream of what follows.
    pub(super) async fn ask(&self, path: &str) -> Result<(HeaderMap, h2::RecvStream), h2::Error> {
        let request = Request::get(format!("https://localhost{path}")).body(()).unwrap();
        let (answer, _) = self.sender.clone().ready().await?.send_request(request, true)?;
        let (head, body) = answer.await?.into_parts();
        Ok((head.headers, body))
    }

    /// Asks and expects an answer in order; returns who the service saw.
    pub(super) async fn ask_who(&self) -> String {
        let (headers, _) = self.ask("/").await.unwrap();
        headers["x-principal"].to_str().unwrap().to_owned()
    }
}

/// Answers with the principal; `/wait` begins an answer and says nothing more, `/hang` does not answer.
async fn serve(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let peer = request.extensions().get::<Arc<Peer>>().cloned().unwrap();
    let body = match request.uri().path() {
        "/wait" => Body::new(http_body_util::StreamBody::new(futures::stream::pending::<
            Result<hyper::body::Frame<Bytes>, Infallible>,
        >())),
        "/hang" => std::future::pending().await,
        _ => Body::empty(),
    };
    let response = Response::builder()
        .header("x-principal", peer.principal().as_str())
        .header("x-certificate", peer.actor().certificate.as_deref().unwrap());
    Ok(response.body(body).unwrap())
}

/// A limit that a healthy test never meets.
pub(super) const LONG: Duration = Duration::from_secs(60);
