//! HTTP/1.1 for this machine only: one request a connection, and a limit on everything.

use std::{convert::Infallible, future::pending, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::problem::Problem;

/// What answers. At once: everything that it needs is at hand.
pub(crate) trait Answers: Send + Sync + 'static {
    /// The answer to a request whose method is `GET` or `HEAD`.
    fn answer(&self, peer: &Peer, request: &Request<()>) -> Response<Full<Bytes>>;
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A process of this machine, as the kernel names it (unix(7), `SO_PEERCRED`).
    Process {
        /// Its effective user when it connected.
        user: u32,
    },
    /// Whoever reached a loopback address.
    Anybody,
}

/// How much of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Connections at once; whoever else comes waits.
    pub(crate) connections: usize,
    /// A connection with its request and its answer.
    pub(crate) time: Duration,
}

/// The least that hyper reads at once: request line and headers together.
const REQUEST_BYTES: usize = 8192;
const HEADERS: usize = 64;
/// When no connection can be taken, such as for want of files.
const PAUSE: Duration = Duration::from_millis(500);

/// Answers on a Unix socket until it is dropped.
pub(crate) async fn on_unix(
    listener: &UnixListener,
    limits: Limits,
    answers: Arc<dyn Answers>,
) -> Infallible {
    let seats = Seats::new(limits);
    loop {
        let seat = seats.take().await;
        match listener.accept().await {
            Ok((stream, _)) => match stream.peer_cred() {
                Ok(credentials) => {
                    seats.serve(seat, stream, Peer::Process { user: credentials.uid() }, &answers);
                }
                Err(error) => tracing::warn!(%error, "a connection's user cannot be told: it is closed"),
            },
            Err(error) => pause(&error).await,
        }
    }
}

/// Answers on a loopback address until it is dropped.
pub(crate) async fn on_tcp(listener: &TcpListener, limits: Limits, answers: Arc<dyn Answers>) -> Infallible {
    let seats = Seats::new(limits);
    loop {
        let seat = seats.take().await;
        match listener.accept().await {
            Ok((stream, peer)) => {
                // No packet of an answer survives a router. IPv6 has another name for it, and no route from `::1`.
                if peer.is_ipv4() && stream.set_ttl(1).is_err() {
                    tracing::debug!("a connection's time to live could not be set");
                }
                seats.serve(seat, stream, Peer::Anybody, &answers);
            }
            Err(error) => pause(&error).await,
        }
    }
}

/// Where connections are counted.
struct Seats {
    free: Arc<Semaphore>,
    time: Duration,
}

type Seat = Option<tokio::sync::OwnedSemaphorePermit>;

impl Seats {
    fn new(limits: Limits) -> Self {
        Self { free: Arc::new(Semaphore::new(limits.connections)), time: limits.time }
    }

    async fn take(&self) -> Seat {
        match Arc::clone(&self.free).acquire_owned().await {
            Ok(seat) => Some(seat),
            // Nobody closes it.
            Err(_) => pending().await,
        }
    }

    fn serve<S>(&self, seat: Seat, stream: S, peer: Peer, answers: &Arc<dyn Answers>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (time, answers) = (self.time, Arc::clone(answers));
        tokio::spawn(async move {
            let service = service_fn(|request: Request<hyper::body::Incoming>| {
                let response = respond(answers.as_ref(), &peer, request);
                async move { Ok::<_, Infallible>(response) }
            });
            let mut http = http1::Builder::new();
            // A client that has said all it has to say may close its half before it is answered.
            http.half_close(true)
                .keep_alive(false)
                .max_buf_size(REQUEST_BYTES)
                .max_headers(HEADERS)
                .timer(TokioTimer::new())
                .header_read_timeout(time);
            if !matches!(
                timeout(time, http.serve_connection(TokioIo::new(stream), service)).await,
                Ok(Ok(()))
            ) {
                tracing::debug!(?peer, "a request came to nothing");
            }
            drop(seat);
        });
    }
}

/// A request's body is never looked at: nothing that is answered here has one.
pub(super) fn respond<B>(answers: &dyn Answers, peer: &Peer, request: Request<B>) -> Response<Full<Bytes>> {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return answers.answer(peer, &request.map(drop));
    }
    let detail = "everything here can only be read: use GET";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", detail).into()
}

async fn pause(error: &io::Error) {
    tracing::warn!(%error, "no connection can be taken just now");
    sleep(PAUSE).await;
}
