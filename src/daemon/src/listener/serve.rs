//! The accept loop, and each connection's life from the handshake to its end.

use std::{
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use leasehold_core::ports::Clock;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Settings,
    admission::Bounds,
    establish::{Established, HandshakeError, establish},
    gathered::Gathered,
    handshakes::{Handshakes, Place as HandshakePlace},
    refusal::Ending,
    registry::Registry,
    service::{self, Answers},
    sockets::{accept_any, is_the_peers},
    throttle::Throttle,
};
use crate::tls::Store;

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
            http: settings.http2(),
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
    pub async fn run<S: Answers>(
        self: Arc<Self>,
        sockets: Vec<TcpListener>,
        service: S,
        mut stop: watch::Receiver<bool>,
    ) -> Drained {
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

    async fn accept<S: Answers>(self: &Arc<Self>, sockets: &[TcpListener], service: &S) {
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
    fn take_up<S: Answers>(self: &Arc<Self>, tcp: TcpStream, address: SocketAddr, service: S) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        let place = self.handshakes.enter();
        let number = place.number();
        let listener = Arc::clone(self);
        let task = self.connections.spawn(async move {
            if let Some(established) = listener.shake_hands(tcp, address, place).await {
                // A task of its own: the handshake's is large, and a connection is long.
                let life = Arc::clone(&listener).live(established, service);
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
    ) -> Option<Established> {
        let limit = self.settings.handshake_timeout;
        let establishing = establish(tcp, address, &self.store, &*self.clock, &self.registry);
        let outcome = timeout(limit, establishing).await;
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

    async fn live<S: Answers>(self: Arc<Self>, established: Established, service: S) {
        let Established { tls, connection, held: _held } = established;
        let answer = {
            let (connection, clock) = (Arc::clone(&connection), Arc::clone(&self.clock));
            service_fn(move |request| {
                service::answer(Arc::clone(&connection), Arc::clone(&clock), service.clone(), request)
            })
        };
        let mut http = pin!(self.http.serve_connection(TokioIo::new(Gathered(tls)), answer));
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
