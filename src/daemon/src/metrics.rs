//! `[metrics]`: figures for Prometheus over plain HTTP, on this machine only. They are read when somebody asks for them:
//! no lease is slower for them, and a broker without the section has none of this.

mod figures;

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use leasehold_engine::{Engine, request::LeaseCounts};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Mutex, Semaphore, watch},
    time::{Instant, sleep, timeout},
};

use self::figures::Figures;
use crate::grpc::{Facts, RateLimits};

/// Shows the figures to whoever asks.
pub(crate) struct Exporter {
    socket: TcpListener,
    source: Arc<Source>,
}

/// Where the figures come from.
struct Source {
    engine: Arc<Engine>,
    facts: Arc<dyn Facts>,
    rates: Arc<RateLimits>,
    /// Counting leases reads a key for each: one count at a time, and none before the last one is old enough.
    counted: Mutex<Counted>,
}

#[derive(Default)]
struct Counted {
    leases: Option<LeaseCounts>,
    good_until: Option<Instant>,
}

/// Whoever else comes waits for its turn.
const CONNECTIONS: usize = 8;
/// One request with its answer; a connection is not kept for another one.
const LONGEST_REQUEST: Duration = Duration::from_secs(10);
/// The least that hyper reads at once.
const REQUEST_BYTES: usize = 8192;
/// How long a count of the leases is shown at least.
const COUNT_PERIOD: Duration = Duration::from_secs(5);
/// Counting takes at most this part of the time.
const COUNT_SHARE: u32 = 20;
/// When no connection can be taken, such as for want of files.
const PAUSE: Duration = Duration::from_secs(1);
/// The text format's media type, <https://prometheus.io/docs/instrumenting/exposition_formats/>.
const TEXT: header::HeaderValue =
    header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const PATH: &str = "/metrics";

impl Exporter {
    pub(crate) fn new(
        socket: TcpListener,
        engine: Arc<Engine>,
        facts: Arc<dyn Facts>,
        rates: Arc<RateLimits>,
    ) -> Self {
        figures::prepare();
        Self { socket, source: Arc::new(Source { engine, facts, rates, counted: Mutex::default() }) }
    }

    /// Answers until the broker ends.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        if let Ok(address) = self.socket.local_addr() {
            tracing::info!("figures for Prometheus are at http://{address}{PATH}");
        }
        let seats = Arc::new(Semaphore::new(CONNECTIONS));
        tokio::select! {
            _ = stop.wait_for(|stopping| *stopping) => {}
            () = self.accept(seats) => {}
        }
    }

    async fn accept(&self, seats: Arc<Semaphore>) {
        while let Ok(seat) = seats.clone().acquire_owned().await {
            match self.socket.accept().await {
                Ok(accepted) => {
                    let source = self.source.clone();
                    tokio::spawn(async move {
                        serve(accepted, source).await;
                        drop(seat);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "nobody can ask for figures just now");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

async fn serve((stream, peer): (TcpStream, SocketAddr), source: Arc<Source>) {
    let service = service_fn(|request| {
        let source = source.clone();
        async move { Ok::<_, Infallible>(answer(&request, &source).await) }
    });
    let mut http = http1::Builder::new();
    http.keep_alive(false).max_buf_size(REQUEST_BYTES);
    let served = timeout(LONGEST_REQUEST, http.serve_connection(TokioIo::new(stream), service)).await;
    if !matches!(served, Ok(Ok(()))) {
        tracing::debug!(%peer, "a request for figures came to nothing");
    }
}

async fn answer<B>(request: &Request<B>, source: &Source) -> Response<Full<Bytes>> {
    let refused = |status, text: &'static str| {
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = status;
        response
    };
    if request.uri().path() != PATH {
        return refused(StatusCode::NOT_FOUND, "the figures are at /metrics\n");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = refused(StatusCode::METHOD_NOT_ALLOWED, "figures can only be read\n");
        response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let mut response = Response::new(Full::from(source.read().await.render()));
    response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
    response
}

impl Source {
    async fn read(&self) -> Figures {
        let leases = self.leases().await;
        Figures {
            broker: self.facts.broker(),
            ledger: self.facts.ledger(),
            leases,
            providers: self.engine.provider_states(),
            on_hold: self.engine.held().is_some(),
            revocations: self.engine.revocation_figures(),
            rotations: self.engine.rotation_figures(),
            limited: self.rates.totals().into_iter().chain(self.engine.refused_leases()).collect(),
        }
    }

    /// How many leases there are; `None` when that cannot be read.
    async fn leases(&self) -> Option<LeaseCounts> {
        let mut counted = self.counted.lock().await;
        let began = Instant::now();
        if counted.good_until.is_none_or(|end| end <= began) {
            counted.leases = self.engine.lease_counts().await.ok();
            let rest = began.elapsed().saturating_mul(COUNT_SHARE).max(COUNT_PERIOD);
            counted.good_until = Instant::now().checked_add(rest);
        }
        counted.leases
    }
}
