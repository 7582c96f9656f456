//! A server that answers as a test says: errors, delays and cuts that no real back end shows on demand.
//!
//! HTTP/1.1 on loopback, with TLS or without, and no more of the protocol than clients of a cloud's REST interface use.
//! What a back end answers is written down in a file of its own, from that back end's public documentation.

pub mod aws;
pub mod azure;
pub mod gcp;
mod message;
pub mod vault;
mod wire;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

pub use self::message::{Answer, Request};
use crate::authority::Authority;

/// A server, until it is dropped.
pub struct ScriptedServer {
    address: SocketAddr,
    scheme: &'static str,
    served: Arc<Served>,
    serving: JoinHandle<()>,
}

/// What is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    /// An answer; the connection stays open for the next request.
    Answer(Answer),
    /// The same, after a while.
    Late(Duration, Box<Reply>),
    /// The connection is closed instead.
    Cut,
    /// The connection is closed in the middle of the answer's body.
    CutInBody(Answer),
    /// An answer that promises to leave the connection open, and a closed connection.
    CutAfterBody(Answer),
    /// Nothing, for ever.
    Silence,
    /// Half of the answer's body, then nothing, for ever.
    StallInBody(Answer),
}

type Script = dyn Fn(&Request, u64) -> Reply + Send + Sync;

/// What all connections share.
struct Served {
    script: Box<Script>,
    calls: AtomicU64,
    requests: Mutex<Vec<Request>>,
}

impl ScriptedServer {
    /// Starts on a free port, without TLS. The script gets each request and how many came before it.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start(script: impl Fn(&Request, u64) -> Reply + Send + Sync + 'static) -> io::Result<Self> {
        Self::serve(None, Box::new(script)).await
    }

    /// Starts on a free port with a certificate for these names, and for `localhost` and `127.0.0.1`, that the
    /// authority signs. Only requests count, not connections whose handshake fails.
    ///
    /// # Errors
    /// When there is no port, or no certificate.
    pub async fn start_tls(
        authority: &Authority,
        names: &[&str],
        script: impl Fn(&Request, u64) -> Reply + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::serve(Some(authority.accepting(names)?), Box::new(script)).await
    }

    async fn serve(tls: Option<Arc<ServerConfig>>, script: Box<Script>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let served = Arc::new(Served { script, calls: AtomicU64::new(0), requests: Mutex::default() });
        let shared = Arc::clone(&served);
        let acceptor = tls.map(TlsAcceptor::from);
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (served, acceptor) = (Arc::clone(&shared), acceptor.clone());
                let _ = stream.set_nodelay(true);
                connections.spawn(async move {
                    // A client that goes away early is no fault of the script's.
                    let _ = match acceptor {
                        None => served.converse(stream).await,
                        Some(acceptor) => match acceptor.accept(stream).await {
                            Ok(stream) => served.converse(stream).await,
                            Err(error) => Err(error),
                        },
                    };
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, scheme, served, serving })
    }

    /// Where it is, such as `http://127.0.0.1:4567`.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Where it is, for a client that is told to find a cloud's name there.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests came.
    pub fn calls(&self) -> &AtomicU64 {
        &self.served.calls
    }

    /// The requests that came.
    pub fn requests(&self) -> Vec<Request> {
        self.served.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Served {
    /// Answers one connection's requests until either side has enough.
    async fn converse(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
        let mut unread = Vec::new();
        while let Some(request) = wire::read_request(&mut stream, &mut unread).await? {
            let before = self.calls.fetch_add(1, Ordering::SeqCst);
            let mut reply = (self.script)(&request, before);
            let last = request.wants_close();
            self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
            while let Reply::Late(pause, next) = reply {
                tokio::time::sleep(pause).await;
                reply = *next;
            }
            match reply {
                Reply::Answer(answer) => wire::write(&mut stream, &answer.head(last), &answer.body).await?,
                Reply::CutAfterBody(answer) => {
                    wire::write(&mut stream, &answer.head(false), &answer.body).await?;
                    return stream.shutdown().await;
                }
                Reply::CutInBody(answer) => {
                    wire::write(&mut stream, &answer.head(true), answer.half()).await?;
                    return stream.shutdown().await;
                }
                Reply::StallInBody(answer) => {
                    wire::write(&mut stream, &answer.head(true), answer.half()).await?;
                    std::future::pending::<()>().await;
                }
                Reply::Cut | Reply::Late(..) => return Ok(()),
                Reply::Silence => std::future::pending().await,
            }
            if last {
                return stream.shutdown().await;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::{io::AsyncReadExt, net::TcpStream};

    use super::*;
    use crate::http::Call;

    async fn ask(server: &ScriptedServer, request: &str) -> String {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn it_answers_by_script_and_remembers() {
        let server = ScriptedServer::start(|request, before| match before {
            0 => Reply::Answer(Answer::json(418, request.body.clone()).header("x-y", "z")),
            1 => Reply::CutInBody(Answer::json(200, "abcd")),
            2 => Reply::CutAfterBody(Answer::json(200, "abcd")),
            _ => Reply::Cut,
        })
        .await
        .unwrap();
        let post = "POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello";
        let answer = ask(&server, post).await;
        assert!(answer.starts_with("HTTP/1.1 418") && answer.contains("x-y: z"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
        assert!(ask(&server, post).await.ends_with("content-length: 4\r\n\r\nab"));
        let whole = ask(&server, post).await;
        assert!(whole.ends_with("\r\n\r\nabcd") && !whole.contains("connection: close"), "{whole}");
        assert_eq!(ask(&server, post).await, "");
        assert_eq!(server.calls().load(Ordering::SeqCst), 4);
        assert_eq!(server.requests().first().unwrap().body, b"hello");
    }

    #[tokio::test]
    async fn a_connection_serves_several_requests_in_either_framing() {
        let server =
            ScriptedServer::start(|request, _| Reply::Answer(Answer::json(200, request.body.clone())));
        let server = server.await.unwrap();
        let answer = ask(
            &server,
            "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n\
             PUT /b HTTP/1.1\r\nContent-Length: 2\r\nConnection: close\r\n\r\nxy",
        )
        .await;
        assert!(answer.contains("\r\n\r\nabcdeHTTP/1.1 200") && answer.ends_with("\r\n\r\nxy"), "{answer}");
        let paths: Vec<_> = server.requests().iter().map(|request| request.path().to_owned()).collect();
        assert_eq!(paths, ["/a", "/b"]);
    }

    #[tokio::test]
    async fn with_tls_it_shows_its_authoritys_certificate_and_counts_no_strangers() {
        let authority = Authority::new("test").unwrap();
        let server = ScriptedServer::start_tls(&authority, &["vault.example"], |request, _| {
            Reply::Answer(Answer::of(200, &json!({ "name": request.query("name") })))
        })
        .await
        .unwrap();
        let call = |authority: &Authority| {
            Call::new("GET", format!("{}/x?name=a%20b", server.url())).trusting(authority, None).unwrap()
        };
        assert_eq!(call(&authority).send().await.unwrap().json(), json!({ "name": "a b" }));
        let stranger = Authority::new("stranger").unwrap();
        assert!(call(&stranger).send().await.is_err());
        assert_eq!(server.calls().load(Ordering::SeqCst), 1);
    }
}
