//! A connection between a provider and its back end that goes wrong as a test says.
//!
//! What passes is bytes; a request begins with the first bytes that the client sends after the server has spoken. That
//! is true of HTTP/1.1 and of PostgreSQL's protocol, and not of HTTP/2. With TLS the proxy has a certificate of its own,
//! so that it sees requests and not handshakes.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustls::{ClientConfig, ServerConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::authority::Authority;

/// A proxy in front of one server, until it is dropped; it passes everything on until it is told otherwise.
pub struct FaultProxy {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection is cut, and the server never hears of the request.
    CutBefore,
    /// The connection is cut, and the server gets the request when the proxy is healed.
    DeliverLate,
    /// The server gets the request and does it; the connection is cut in place of the answer.
    LoseAnswer,
    /// The connection is cut in the middle of the answer's body.
    CutInBody,
    /// The request is held until the proxy is healed.
    StallBefore,
    /// The server gets the request and does it; the answer is held until the proxy is healed.
    Stall,
    /// The second half of the answer's body is held until the proxy is healed.
    StallInBody,
    /// The answer comes this much later.
    Delay(Duration),
}

/// Which requests a fault befalls.
#[derive(Clone, Debug)]
#[must_use]
pub struct Injection {
    fault: Fault,
    only: Option<Vec<u8>>,
    times: u64,
}

struct Shared {
    upstream: SocketAddr,
    injections: Mutex<Vec<Injection>>,
    played: AtomicU64,
    requests: AtomicU64,
    healed: watch::Sender<u64>,
    cut: watch::Sender<u64>,
}

/// TLS on both sides.
struct Tls {
    front: Arc<ServerConfig>,
    back: Arc<ClientConfig>,
}

impl Injection {
    /// Befalls every request.
    pub fn of(fault: Fault) -> Self {
        Self { fault, only: None, times: u64::MAX }
    }

    /// Only requests that begin with bytes in which this occurs, such as `POST /v1/database/` or a header.
    pub fn on(mut self, part: impl Into<Vec<u8>>) -> Self {
        self.only = Some(part.into());
        self
    }

    /// Only so often.
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }
}

impl FaultProxy {
    /// Starts on a free port, before a server without TLS, or before any as long as no fault is to be aimed.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start(upstream: SocketAddr) -> io::Result<Self> {
        Self::serve(upstream, None).await
    }

    /// Starts on a free port before a server with TLS, whose certificate the authority has signed for `127.0.0.1`; the
    /// proxy's own, for these names and loopback, is of the same authority. A client's certificate does not get
    /// through.
    ///
    /// # Errors
    /// When there is no port, or no certificate.
    pub async fn start_tls(upstream: SocketAddr, authority: &Authority, names: &[&str]) -> io::Result<Self> {
        let tls = Tls { front: authority.accepting(names)?, back: authority.trusting(None)? };
        Self::serve(upstream, Some(tls)).await
    }

    async fn serve(upstream: SocketAddr, tls: Option<Tls>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream,
            injections: Mutex::default(),
            played: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            healed: watch::Sender::new(0),
            cut: watch::Sender::new(0),
        });
        let scheme = if tls.is_some() { "https" } else { "http" };
        let tls = tls.map(|tls| (TlsAcceptor::from(tls.front), TlsConnector::from(tls.back)));
        let accepting = Arc::clone(&shared);
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (shared, tls) = (Arc::clone(&accepting), tls.clone());
                connections.spawn(async move {
                    let mut cut = shared.cut.subscribe();
                    tokio::select! {
                        _ = shared.connect(client, tls) => {}
                        _ = cut.changed() => {}
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, scheme, shared, serving })
    }

    /// Where it is, such as `http://127.0.0.1:4567`.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets something go wrong from now on, besides what already does. Of several that fit, the first counts.
    pub fn inject(&self, injection: Injection) {
        self.shared.injections.lock().unwrap_or_else(PoisonError::into_inner).push(injection);
    }

    /// Everything goes right again, and what was held goes on.
    pub fn heal(&self) {
        self.shared.injections.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.shared.healed.send_modify(|times| *times = times.saturating_add(1));
    }

    /// Cuts every connection that is open now; new ones are welcome.
    pub fn cut_connections(&self) {
        self.shared.cut.send_modify(|times| *times = times.saturating_add(1));
    }

    /// How many requests something went wrong with, so that a test can say that it did.
    pub fn played(&self) -> u64 {
        self.shared.played.load(Ordering::SeqCst)
    }

    /// How many requests there were.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Shared {
    async fn connect(&self, client: TcpStream, tls: Option<(TlsAcceptor, TlsConnector)>) -> io::Result<()> {
        let server = TcpStream::connect(self.upstream).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        match tls {
            None => self.relay(client, server).await,
            Some((acceptor, connector)) => {
                let client = acceptor.accept(client).await?;
                let name = ServerName::from(self.upstream.ip());
                self.relay(client, connector.connect(name, server).await?).await
            }
        }
    }

    /// Passes bytes on until one side ends or something goes wrong.
    async fn relay<C, S>(&self, client: C, server: S) -> io::Result<()>
    where
        C: AsyncRead + AsyncWrite,
        S: AsyncRead + AsyncWrite,
    {
        let (mut from_client, mut to_client) = tokio::io::split(client);
        let (mut from_server, mut to_server) = tokio::io::split(server);
        let mut healed = self.healed.subscribe();
        let (mut asked, mut answer) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
        // Absent between the server's first bytes and the client's next ones.
        let mut request: Option<Option<Fault>> = None;
        let mut client_is_done = false;
        loop {
            tokio::select! {
                count = from_client.read(&mut asked), if !client_is_done => {
                    let bytes = asked.get(..count?).unwrap_or_default();
                    if bytes.is_empty() {
                        client_is_done = true;
                        to_server.shutdown().await?;
                        continue;
                    }
                    let fault = *request.get_or_insert_with(|| self.next(bytes));
                    match fault {
                        Some(Fault::CutBefore) => return Ok(()),
                        Some(Fault::DeliverLate) => {
                            to_client.shutdown().await?;
                            let _ = healed.changed().await;
                            to_server.write_all(bytes).await?;
                            to_server.shutdown().await?;
                            while from_server.read(&mut answer).await? > 0 {}
                            return Ok(());
                        }
                        Some(Fault::StallBefore) => {
                            let _ = healed.changed().await;
                            request = Some(None);
                        }
                        _ => {}
                    }
                    to_server.write_all(bytes).await?;
                    to_server.flush().await?;
                }
                count = from_server.read(&mut answer) => {
                    let bytes = answer.get(..count?).unwrap_or_default();
                    if bytes.is_empty() {
                        return to_client.shutdown().await;
                    }
                    match request.take().flatten() {
                        Some(Fault::LoseAnswer) => return Ok(()),
                        Some(Fault::Delay(pause)) => tokio::time::sleep(pause).await,
                        Some(Fault::Stall) => drop(healed.changed().await),
                        Some(fault @ (Fault::CutInBody | Fault::StallInBody)) => {
                            let whole = whole_answer(&mut from_server, bytes).await?;
                            let (first, second) = whole.split_at(middle_of_body(&whole));
                            to_client.write_all(first).await?;
                            to_client.flush().await?;
                            if fault == Fault::CutInBody {
                                return to_client.shutdown().await;
                            }
                            let _ = healed.changed().await;
                            to_client.write_all(second).await?;
                            to_client.flush().await?;
                            continue;
                        }
                        Some(Fault::CutBefore | Fault::DeliverLate | Fault::StallBefore) | None => {}
                    }
                    to_client.write_all(bytes).await?;
                    to_client.flush().await?;
                }
            }
        }
    }

    /// What befalls the request that begins with these bytes.
    fn next(&self, bytes: &[u8]) -> Option<Fault> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let mut injections = self.injections.lock().unwrap_or_else(PoisonError::into_inner);
        let injection = injections.iter_mut().find(|injection| {
            injection.times > 0
                && injection.only.as_ref().is_none_or(|part| {
                    part.is_empty() || bytes.windows(part.len()).any(|window| window == part)
                })
        })?;
        injection.times = injection.times.saturating_sub(1);
        self.played.fetch_add(1, Ordering::SeqCst);
        Some(injection.fault)
    }
}

/// The rest of an HTTP answer's head, and its body so far as its `content-length` tells of one.
async fn whole_answer(server: &mut (impl AsyncRead + Unpin), begun: &[u8]) -> io::Result<Vec<u8>> {
    let mut answer = begun.to_vec();
    loop {
        if let Some(end) = end_of_head(&answer) {
            let head = String::from_utf8_lossy(answer.get(..end).unwrap_or_default()).to_lowercase();
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            let enough = length.map_or(end.saturating_add(1), |length| end.saturating_add(length));
            if answer.len() >= enough {
                return Ok(answer);
            }
        }
        if server.read_buf(&mut answer).await? == 0 {
            return Ok(answer);
        }
    }
}

fn end_of_head(answer: &[u8]) -> Option<usize> {
    answer.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at.saturating_add(4))
}

/// Where to break an answer off: its head and half of its body, or half of what is no HTTP.
fn middle_of_body(answer: &[u8]) -> usize {
    let head = end_of_head(answer).unwrap_or(0);
    head.saturating_add(answer.len().saturating_sub(head) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        http::Call,
        scripted::{Answer, Reply, ScriptedServer},
    };

    const SOON: Duration = Duration::from_millis(200);

    async fn get(proxy: &FaultProxy, path: &str) -> Result<String, io::Error> {
        let answer = Call::new("GET", format!("{}{path}", proxy.url())).send().await?;
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }

    async fn server() -> ScriptedServer {
        ScriptedServer::start(|_, before| Reply::Answer(Answer::json(200, format!("answer {before}"))))
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn without_a_fault_it_passes_everything_on() {
        let server = server().await;
        let proxy = FaultProxy::start(server.address()).await.unwrap();
        assert_eq!(get(&proxy, "/").await.unwrap(), "answer 0");
        assert_eq!((proxy.played(), proxy.requests()), (0, 1));
    }

    #[tokio::test]
    async fn a_cut_before_is_not_heard_and_a_lost_answer_is() {
        for (fault, heard) in [(Fault::CutBefore, 0), (Fault::LoseAnswer, 1)] {
            let server = server().await;
            let proxy = FaultProxy::start(server.address()).await.unwrap();
            proxy.inject(Injection::of(fault).on("GET /wanted").times(1));
            assert_eq!(get(&proxy, "/other").await.unwrap(), "answer 0", "{fault:?}");
            assert!(get(&proxy, "/wanted").await.is_err(), "{fault:?}");
            assert_eq!(server.calls().load(Ordering::SeqCst), 1 + heard, "{fault:?}");
            assert_eq!(get(&proxy, "/wanted").await.unwrap(), format!("answer {}", 1 + heard), "{fault:?}");
            assert_eq!(proxy.played(), 1, "{fault:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_is_cut_in_its_body() {
        let server = server().await;
        let proxy = FaultProxy::start(server.address()).await.unwrap();
        proxy.inject(Injection::of(Fault::CutInBody));
        assert_eq!(get(&proxy, "/").await.unwrap(), "answ");
    }

    #[tokio::test]
    async fn what_stalls_goes_on_when_healed() {
        for (fault, heard) in [(Fault::StallBefore, 0), (Fault::Stall, 1), (Fault::StallInBody, 1)] {
            let server = server().await;
            let proxy = FaultProxy::start(server.address()).await.unwrap();
            proxy.inject(Injection::of(fault));
            let asking = get(&proxy, "/");
            tokio::pin!(asking);
            assert!(tokio::time::timeout(SOON, &mut asking).await.is_err(), "{fault:?}");
            assert_eq!(server.calls().load(Ordering::SeqCst), heard, "{fault:?}");
            proxy.heal();
            assert_eq!(asking.await.unwrap(), "answer 0", "{fault:?}");
        }
    }

    #[tokio::test]
    async fn with_tls_it_sees_requests() {
        let authority = Authority::new("test").unwrap();
        let server =
            ScriptedServer::start_tls(&authority, &[], |_, _| Reply::Answer(Answer::json(200, "hello")))
                .await
                .unwrap();
        let proxy = FaultProxy::start_tls(server.address(), &authority, &[]).await.unwrap();
        proxy.inject(Injection::of(Fault::LoseAnswer).on("GET /wanted"));
        let get = async |path: &str| {
            let call = Call::new("GET", format!("{}{path}", proxy.url())).trusting(&authority, None).unwrap();
            call.send().await
        };
        assert_eq!(get("/").await.unwrap().body, b"hello");
        assert!(get("/wanted").await.is_err());
        assert_eq!(server.calls().load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn open_connections_are_cut_and_new_ones_are_welcome() {
        let server = server().await;
        let proxy = FaultProxy::start(server.address()).await.unwrap();
        let mut idle = TcpStream::connect(proxy.address()).await.unwrap();
        idle.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut seen = [0; 4096];
        assert!(idle.read(&mut seen).await.unwrap() > 0);
        proxy.cut_connections();
        while idle.read(&mut seen).await.is_ok_and(|count| count > 0) {}
        assert_eq!(get(&proxy, "/").await.unwrap(), "answer 1");
    }
}
