//! A client's way to the broker: one HTTP/2 connection at a time, which is replaced when the credentials change.
//!
//! New calls take the newest connection; those that are under way end on the one that they began on. A new connection is
//! made before the old one is let go, so that no call falls between the two.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, PoisonError, RwLock, Weak},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
};
use tonic::{
    body::Body,
    transport::{Channel, Endpoint},
};
use tower::Service;

use crate::{
    Error,
    backoff::Backoff,
    connect::{ConnectError, Connector, Dialer},
    credentials::{Credentials, Summary},
    source::Source,
};

/// The way to the broker. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Transport {
    shared: Arc<Shared>,
    _keeping: Arc<Keeping>,
}

struct Shared {
    endpoint: Endpoint,
    dialer: Arc<Dialer>,
    channel: RwLock<Channel>,
    /// Counts the connections that have replaced another.
    replaced: watch::Sender<u64>,
    /// Why the newest credentials are not in use.
    fault: RwLock<Option<Arc<Error>>>,
    nudge: Arc<Notify>,
    reloads: bool,
}

/// The task that keeps the credentials; it ends with the last clone.
struct Keeping(Option<AbortHandle>);

/// New credentials that could not be tried, or were refused, are tried again.
const AGAIN: Backoff = Backoff { first: Duration::from_millis(500), most: Duration::from_secs(10) };

impl Transport {
    /// One that connects when it is first asked for something. A task keeps its credentials when they can change.
    pub(crate) fn lazy(endpoint: Endpoint, dialer: Dialer, source: Source) -> Self {
        let dialer = Arc::new(dialer);
        let channel = endpoint.connect_with_connector_lazy(Connector::new(Arc::clone(&dialer)));
        Self::over(endpoint, dialer, channel, source)
    }

    /// One that is connected.
    ///
    /// # Errors
    /// When there is no connection to be had.
    pub(crate) async fn connected(endpoint: Endpoint, dialer: Dialer, source: Source) -> Result<Self, Error> {
        let dialer = Arc::new(dialer);
        let channel = endpoint.connect_with_connector(Connector::new(Arc::clone(&dialer))).await?;
        Ok(Self::over(endpoint, dialer, channel, source))
    }

    fn over(endpoint: Endpoint, dialer: Arc<Dialer>, channel: Channel, source: Source) -> Self {
        let shared = Arc::new(Shared {
            endpoint,
            dialer,
            channel: RwLock::new(channel),
            replaced: watch::channel(0).0,
            fault: RwLock::default(),
            nudge: Arc::default(),
            reloads: source.changes(),
        });
        let keeping = shared.reloads.then(|| {
            let (shared, nudge) = (Arc::downgrade(&shared), Arc::clone(&shared.nudge));
            tokio::spawn(keep(shared, nudge, source)).abort_handle()
        });
        Self { shared, _keeping: Arc::new(Keeping(keeping)) }
    }

    /// The connection of now.
    pub(crate) fn channel(&self) -> Channel {
        self.shared.channel.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes when a connection replaces another: streams on the old one do well to move.
    pub(crate) fn replaced(&self) -> watch::Receiver<u64> {
        self.shared.replaced.subscribe()
    }

    /// Whether other credentials can come.
    pub(crate) fn reloads(&self) -> bool {
        self.shared.reloads
    }

    /// Has the credentials looked at now.
    pub(crate) fn nudge(&self) {
        self.shared.nudge.notify_one();
    }

    /// Why the newest credentials are not in use, when they are not.
    pub(crate) fn fault(&self) -> Option<Arc<Error>> {
        self.shared.fault.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whose the credentials are.
    pub(crate) fn identity(&self) -> Option<Summary> {
        self.shared.dialer.credentials().ok()?.identity.clone()
    }
}

impl Shared {
    /// Connects with new credentials, and has them used from then on. Those that the broker refuses never replace others;
    /// when no broker can be asked they do, for the next connection.
    async fn adopt(&self, credentials: &Arc<Credentials>) -> Result<(), Error> {
        match self.dialer.open(credentials).await {
            Ok(connected) => {
                self.dialer.set_credentials(Ok(Arc::clone(credentials)));
                let connector = Connector::with(Arc::clone(&self.dialer), connected);
                let channel = self.endpoint.connect_with_connector(connector).await?;
                *self.channel.write().unwrap_or_else(PoisonError::into_inner) = channel;
                self.replaced.send_modify(|count| *count = count.wrapping_add(1));
                Ok(())
            }
            Err(error) => {
                if self.dialer.credentials().is_err() || !error.is_about_credentials() {
                    self.dialer.set_credentials(Ok(Arc::clone(credentials)));
                }
                Err(error.into())
            }
        }
    }

    fn tell(&self, fault: Option<Error>) {
        if let Some(fault) = &fault {
            tracing::warn!(%fault, "the client's new credentials are not in use yet");
        }
        *self.fault.write().unwrap_or_else(PoisonError::into_inner) = fault.map(Arc::new);
    }
}

/// Has new credentials used as they come, for as long as there is somebody to use them.
async fn keep(shared: Weak<Shared>, nudge: Arc<Notify>, mut source: Source) {
    let mut untried = None;
    let mut failures = 0_u32;
    loop {
        let again = async {
            match untried {
                Some(_) => tokio::time::sleep(AGAIN.after(failures, 1.0)).await,
                None => std::future::pending().await,
            }
        };
        let news = tokio::select! {
            news = source.next(&nudge) => Some(news),
            () = again => None,
        };
        let Some(shared) = shared.upgrade() else { return };
        match news {
            Some(Ok(credentials)) => {
                failures = 0;
                untried = Some(credentials);
            }
            Some(Err(fault)) => {
                if let Err(before) = shared.dialer.credentials() {
                    tracing::debug!(%before, "there were no credentials before");
                }
                shared.tell(Some(fault.into()));
            }
            None => {}
        }
        let Some(credentials) = &untried else { continue };
        match shared.adopt(credentials).await {
            Ok(()) => {
                shared.tell(None);
                untried = None;
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                shared.tell(Some(error));
            }
        }
    }
}

impl Service<http::Request<Body>> for Transport {
    type Response = http::Response<Body>;
    type Error = tonic::transport::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let mut channel = self.channel();
        Box::pin(async move {
            std::future::poll_fn(|cx| channel.poll_ready(cx)).await?;
            channel.call(request).await
        })
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("identity", &self.identity()).finish_non_exhaustive()
    }
}

impl From<ConnectError> for Error {
    fn from(error: ConnectError) -> Self {
        Self::Connect(error)
    }
}
