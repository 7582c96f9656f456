//! One open connection: its peer, its standing, its streams, and how it is ended.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use leasehold_core::Timestamp;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{peer::Peer, refusal::Ending};
use crate::tls::{Distrust, PeerGuard};

/// One open connection.
pub(crate) struct Connection {
    peer: Arc<Peer>,
    guard: PeerGuard,
    streams: AtomicUsize,
    /// Whether there was a stream since the last look.
    used: AtomicBool,
    ended: CancellationToken,
    ending: OnceLock<Ending>,
}

/// One stream of it, from the request's headers to the end of the response.
pub(crate) struct Stream(Arc<Connection>);

impl Connection {
    pub(crate) fn new(peer: Peer, guard: PeerGuard) -> Arc<Self> {
        Arc::new(Self {
            peer: Arc::new(peer),
            guard,
            streams: AtomicUsize::new(0),
            used: AtomicBool::new(true),
            ended: CancellationToken::new(),
            ending: OnceLock::new(),
        })
    }

    pub(crate) fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    pub(crate) fn guard(&self) -> &PeerGuard {
        &self.guard
    }

    /// A new request begins, if the peer is still trusted; if not, the connection ends.
    pub(crate) fn begin(self: &Arc<Self>, now: Timestamp) -> Result<Stream, Distrust> {
        self.check(now)?;
        self.streams.fetch_add(1, Ordering::Relaxed);
        Ok(Stream(Arc::clone(self)))
    }

    /// Whether the peer is still trusted; if not, the connection ends.
    pub(crate) fn check(&self, now: Timestamp) -> Result<(), Distrust> {
        self.guard.check(now).inspect_err(|why| self.end(Ending::Distrusted(why.clone())))
    }

    pub(crate) fn has_streams(&self) -> bool {
        self.streams.load(Ordering::Relaxed) > 0
    }

    /// Whether it has streams now or had some since this was last asked.
    pub(crate) fn take_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed) || self.has_streams()
    }

    /// Ends it: no new requests, and the streams that wait for something to say are told why. The first reason stays.
    pub(crate) fn end(&self, why: Ending) {
        if self.ending.set(why).is_ok() {
            self.ended.cancel();
        }
    }

    /// Why it is ending, once it is.
    pub(crate) fn ending(&self) -> Option<&Ending> {
        self.ending.get()
    }

    /// Returns when it is being ended.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

impl Stream {
    pub(crate) fn connection(&self) -> &Connection {
        &self.0
    }

    pub(crate) fn ended(&self) -> WaitForCancellationFutureOwned {
        self.0.ended.clone().cancelled_owned()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.used.store(true, Ordering::Relaxed);
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}
