//! The accept loop, and each connection's life from the handshake to its end.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use hyper::{
    body::{Body, Incoming},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use leasehold_core::{ports::Clock, record::Actor};
use rustls::HandshakeKind;
use thiserror::Error;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service;

use super::{
    Peer, Settings,
    admission::{Bounds, Refused},
    connection::Connection,
    handshakes::{Handshakes, Place as HandshakePlace},
    refusal::Ending,
    registry::{Place, Registry},
    service,
    throttle::Throttle,
};
use crate::{
    identity,
    tls::{Distrust, PeerGuard, Store},
};

/// The listener. [`Listener::run`] serves until it is told to stop.
pub struct Listener {
    settings: Settings,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    http: http2::Builder<TokioExecutor>,
    handshakes: Arc<Handshakes>,
    registry: Arc<Registry>,
    connections: TaskTracker,
    /// Ends the connections that have not ended in time.
    cut: CancellationToken,
    throttle: Throttle,
    accepted: AtomicU64,
    failed_handshakes: AtomicU64,
    refused_connections: AtomicU64,
}

/// What the listener has seen and has open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections that are open, after their handshake.
    pub connections: usize,
    /// Principals who have some.
    pub principals: usize,
    /// Handshakes that are going on.
    pub handshakes: usize,
    /// TCP connections accepted since the start.
    pub accepted: u64,
    /// Handshakes that failed since the start: no or a bad certificate, no identity, stalled.
    pub failed_handshakes: u64,
    /// Authenticated connections refused since the start because of a limit.
    pub refused_connections: u64,
}

/// How a stop went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still open when the time was up, and were cut.
    pub cut: usize,
}

/// Why a TCP connection did not become an open connection.
#[derive(Debug, Error)]
enum HandshakeError {
    #[error("it took longer than {0:?}")]
    TooSlow(Duration),
    #[error("{0}")]
    Tls(#[source] io::Error),
    #[error("there is no client certificate")]
    NoCertificate,
    #[error("{0}")]
    Distrusted(#[from] Distrust),
    #[error("{0} ({1})")]
    Refused(Refused, leasehold_core::SpiffeId),
}

/// How long a connection that is ended for cause may take to finish what it does.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long accepting rests when the system has no more descriptors or memory.
const SCARCITY_REST: Duration = Duration::from_millis(100);

impl Listener {
    /// A listener with these limits; it serves nobody yet.
    pub fn new(store: Arc<Store>, clock: Arc<dyn Clock>, settings: Settings) -> Arc<Self> {
        let bounds =
            Bounds { total: settings.max_connections, per_principal: settings.max_connections_per_principal };
        Arc::new(Self {
            http: http2_builder(&settings),
            handshakes: Handshakes::new(settings.max_handshakes),
            registry: Registry::new(bounds),
            connections: TaskTracker::new(),
            cut: CancellationToken::new(),
            throttle: Throttle::default(),
            accepted: AtomicU64::new(0),
            failed_handshakes: AtomicU64::new(0),
            refused_connections: AtomicU64::new(0),
            settings,
            store,
            clock,
        })
    }

    /// What it has seen and has open.
    pub fn stats(&self) -> Stats {
        let (connections, principals) = self.registry.counts();
        Stats {
            connections,
            principals,
            handshakes: self.handshakes.len(),
            accepted: self.accepted.load(Ordering::Relaxed),
            failed_handshakes: self.failed_handshakes.load(Ordering::Relaxed),
            refused_connections: self.refused_connections.load(Ordering::Relaxed),
        }
    }

    /// Serves the sockets until `stop` is true or its sender is gone; then accepts no more, tells the clients to go
    /// elsewhere (GOAWAY), ends waiting streams with `UNAVAILABLE`, and returns when all requests have been answered
    /// or the time for it is up.
    ///
    /// Every request has an `Arc<Peer>` in its extensions.
    pub async fn run<S, B>(
        self: Arc<Self>,
        sockets: Vec<TcpListener>,
        service: S,
        mut stop: watch::Receiver<bool>,
    ) -> Drained
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Default + Unpin + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let stopped = async {
            // An error means that nobody is left to say so: as good as a stop.
            let _ = stop.wait_for(|stop| *stop).await;
        };
        tokio::select! {
            () = stopped => {}
            () = self.accept(&sockets, &service) => {}
            () = self.sweep() => {}
        }
        drop(sockets);
        self.drain().await
    }

    async fn accept<S, B>(self: &Arc<Self>, sockets: &[TcpListener], service: &S)
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Default + Unpin + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut turn = 0_usize;
        loop {
            if self.handshakes.room().await {
                self.failed_handshakes.fetch_add(1, Ordering::Relaxed);
                self.say(|left_out| {
                    tracing::warn!(left_out, "cut a stalled handshake to make room for another");
                });
            }
            turn = turn.wrapping_add(1);
            match accept_any(sockets, turn).await {
                Ok((tcp, address)) => self.take_up(tcp, address, service.clone()),
                Err(error) if is_the_peers(&error) => {}
                Err(error) => {
                    self.say(|left_out| tracing::error!(left_out, %error, "cannot accept connections"));
                    sleep(SCARCITY_REST).await;
                }
            }
        }
    }

    /// Starts one handshake on a task of its own, so that it delays nobody.
    fn take_up<S, B>(self: &Arc<Self>, tcp: TcpStream, address: SocketAddr, service: S)
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Default + Unpin + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        let place = self.handshakes.enter();
        let number = place.number();
        let listener = Arc::clone(self);
        let task = self.connections.spawn(async move {
            if let Some((tls, connection, held)) = listener.shake_hands(tcp, address, place).await {
                // A task of its own: the handshake's is large, and a connection is long.
                let life = Arc::clone(&listener).live(tls, connection, held, service);
                listener.connections.spawn(life);
            }
        });
        self.handshakes.started(number, task.abort_handle());
    }

    async fn shake_hands(
        &self,
        tcp: TcpStream,
        address: SocketAddr,
        _place: HandshakePlace,
    ) -> Option<(TlsStream<TcpStream>, Arc<Connection>, Place)> {
        let limit = self.settings.handshake_timeout;
        let outcome = timeout(limit, self.establish(tcp, address)).await;
        match outcome.unwrap_or(Err(HandshakeError::TooSlow(limit))) {
            Ok(established) => Some(established),
            Err(error) => {
                let counter = match error {
                    HandshakeError::Refused(..) => &self.refused_connections,
                    _ => &self.failed_handshakes,
                };
                counter.fetch_add(1, Ordering::Relaxed);
                // No audit record: a stranger must not be able to fill the disk.
                self.say(|left_out| tracing::warn!(%address, left_out, "refused a connection: {error}"));
                None
            }
        }
    }

    async fn establish(
        &self,
        tcp: TcpStream,
        address: SocketAddr,
    ) -> Result<(TlsStream<TcpStream>, Arc<Connection>, Place), HandshakeError> {
        tcp.set_nodelay(true).map_err(HandshakeError::Tls)?;
        let in_force = Arc::clone(&self.store.current());
        let acceptor = TlsAcceptor::from(Arc::clone(in_force.server()));
        let tls = acceptor.accept(tcp).await.map_err(HandshakeError::Tls)?;

        let (_, session) = tls.get_ref();
        let chain: Vec<_> = session
            .peer_certificates()
            .ok_or(HandshakeError::NoCertificate)?
            .iter()
            .map(|certificate| certificate.clone().into_owned())
            .collect();
        let leaf = chain.first().ok_or(HandshakeError::NoCertificate)?;
        let now = self.clock.now();
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
        };
        let guard = PeerGuard::new(Arc::clone(&self.store), chain, in_force.generation(), now);
        let connection = Connection::new(Peer::new(actor, identity.not_after), guard);
        let held = self
            .registry
            .admit(&connection)
            .map_err(|why| HandshakeError::Refused(why, connection.peer().principal().clone()))?;
        Ok((tls, connection, held))
    }

    async fn live<S, B>(
        self: Arc<Self>,
        tls: TlsStream<TcpStream>,
        connection: Arc<Connection>,
        _held: Place,
        service: S,
    ) where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Default + Unpin + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let answer = {
            let (connection, clock) = (Arc::clone(&connection), Arc::clone(&self.clock));
            service_fn(move |request| {
                service::answer(Arc::clone(&connection), Arc::clone(&clock), service.clone(), request)
            })
        };
        let mut http = pin!(self.http.serve_connection(TokioIo::new(tls), answer));
        let end = tokio::select! {
            end = &mut http => end,
            () = self.cut.cancelled() => return,
            () = connection.ended() => {
                http.as_mut().graceful_shutdown();
                let limit = match connection.ending() {
                    // The drain as a whole is timed.
                    Some(Ending::Stopping) => Duration::MAX,
                    _ => FAREWELL,
                };
                tokio::select! {
                    end = timeout(limit, http) => end.unwrap_or(Ok(())),
                    () = self.cut.cancelled() => return,
                }
            }
        };
        if let Err(error) = end {
            tracing::debug!(principal = %connection.peer().principal(), %error, "a connection broke");
        }
    }

    /// Looks at every connection whenever the TLS material changes, and now and then.
    async fn sweep(&self) {
        let every = self
            .settings
            .idle_timeout
            .checked_div(8)
            .unwrap_or_default()
            .clamp(Duration::from_millis(50), Duration::from_secs(10));
        let mut tick = interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut changes = self.store.changes();
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                // INVARIANT: the store lives as long as this listener, so its sender does.
                _ = changes.changed() => {}
            }
            self.registry.sweep(self.clock.now(), self.settings.idle_timeout).await;
        }
    }

    async fn drain(&self) -> Drained {
        self.handshakes.abort_all();
        self.registry.close();
        self.connections.close();
        let in_time = timeout(self.settings.drain_timeout, self.connections.wait()).await;
        let cut = if in_time.is_ok() { 0 } else { self.registry.counts().0 };
        self.cut.cancel();
        self.connections.wait().await;
        Drained { cut }
    }

    fn say(&self, line: impl FnOnce(u64)) {
        if let Some(left_out) = self.throttle.allow() {
            line(left_out);
        }
    }
}

fn http2_builder(settings: &Settings) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.max_streams)
        .max_header_list_size(settings.max_header_bytes)
        .max_frame_size(settings.max_frame_bytes)
        .initial_stream_window_size(settings.stream_window_bytes)
        .initial_connection_window_size(settings.connection_window_bytes)
        .max_send_buf_size(settings.send_buffer_bytes)
        .keep_alive_interval(settings.keepalive_interval)
        .keep_alive_timeout(settings.keepalive_timeout)
        .max_pending_accept_reset_streams(settings.max_pending_resets)
        .max_local_error_reset_streams(settings.max_error_resets)
        // gRPC has no use for it.
        .auto_date_header(false);
    builder
}

/// Accepts from whichever socket has somebody waiting, beginning with another one each turn.
async fn accept_any(sockets: &[TcpListener], turn: usize) -> io::Result<(TcpStream, SocketAddr)> {
    let first = turn.checked_rem(sockets.len()).unwrap_or(0);
    poll_fn(|cx| {
        let (before, after) = sockets.split_at_checked(first).unwrap_or((sockets, &[]));
        for socket in after.iter().chain(before) {
            if let Poll::Ready(accepted) = socket.poll_accept(cx) {
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    })
    .await
}

/// Whether the peer went away before it was accepted, which says nothing about the next one.
fn is_the_peers(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// An IPv4 peer of a dual-stack socket as the IPv4 address that it has.
fn canonical(address: SocketAddr) -> SocketAddr {
    let ip: IpAddr = address.ip().to_canonical();
    SocketAddr::new(ip, address.port())
}
