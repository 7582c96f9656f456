//! Several brokers of which any will do, and the connections that a channel asks for.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::stream::{FuturesUnordered, StreamExt};
use http::Uri;
use rustls::pki_types::ServerName;
use tower::Service;

use super::{
    ConnectError,
    dial::{Connected, dial},
};
use crate::{CredentialError, address::Address, credentials::Credentials};

/// A broker that is silent for so long has the next one asked as well (RFC 8305 does so between addresses).
const STAGGER: Duration = Duration::from_millis(300);

/// One broker.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: Address,
    pub(crate) server_name: ServerName<'static>,
}

/// What every new connection is made with.
pub(crate) struct Dialer {
    targets: Box<[Target]>,
    limit: Duration,
    /// The one that was reached last: it is asked first.
    favourite: AtomicUsize,
    credentials: RwLock<Result<Arc<Credentials>, Arc<CredentialError>>>,
}

/// Makes the connections of one channel. A `tower` service, as tonic wants it.
#[derive(Clone)]
pub(crate) struct Connector {
    dialer: Arc<Dialer>,
    /// The first connection, when it is there already.
    first: Arc<Mutex<Option<Connected>>>,
}

impl Dialer {
    pub(crate) fn new(
        targets: Vec<Target>,
        limit: Duration,
        credentials: Result<Arc<Credentials>, Arc<CredentialError>>,
    ) -> Self {
        Self {
            targets: targets.into(),
            limit,
            favourite: AtomicUsize::new(0),
            credentials: RwLock::new(credentials),
        }
    }

    /// What connections are made with from now on.
    pub(crate) fn credentials(&self) -> Result<Arc<Credentials>, Arc<CredentialError>> {
        self.credentials.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_credentials(&self, credentials: Result<Arc<Credentials>, Arc<CredentialError>>) {
        *self.credentials.write().unwrap_or_else(PoisonError::into_inner) = credentials;
    }

    /// Connects to whichever broker is there: the one that was reached last is asked first, the others when it fails or is
    /// silent for a while.
    pub(crate) async fn open(&self, credentials: &Credentials) -> Result<Connected, ConnectError> {
        let favourite = self.favourite.load(Ordering::Relaxed);
        let all = self.targets.iter().enumerate();
        let mut waiting: VecDeque<_> = all.clone().skip(favourite).chain(all.take(favourite)).collect();
        let attempt = |(place, target)| async move { (place, dial(target, credentials, self.limit).await) };
        let mut going: FuturesUnordered<_> = waiting.pop_front().map(attempt).into_iter().collect();
        let mut tried = Vec::new();
        loop {
            tokio::select! {
                done = going.next() => match done {
                    Some((place, Ok(connected))) => {
                        self.favourite.store(place, Ordering::Relaxed);
                        return Ok(connected);
                    }
                    Some((_, Err(error))) => {
                        tried.push(error);
                        going.extend(waiting.pop_front().map(attempt));
                    }
                    None => break,
                },
                () = tokio::time::sleep(STAGGER), if !waiting.is_empty() => {
                    going.extend(waiting.pop_front().map(attempt));
                }
            }
        }
        match <[ConnectError; 1]>::try_from(tried) {
            Ok([only]) => Err(only),
            Err(tried) => Err(ConnectError::NoneOf { tried: tried.into() }),
        }
    }
}

impl Connector {
    /// One whose first connection is made when it is asked for.
    pub(crate) fn new(dialer: Arc<Dialer>) -> Self {
        Self { dialer, first: Arc::default() }
    }

    /// One that has its first connection.
    pub(crate) fn with(dialer: Arc<Dialer>, first: Connected) -> Self {
        Self { dialer, first: Arc::new(Mutex::new(Some(first))) }
    }
}

impl Service<Uri> for Connector {
    type Response = Connected;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Connected, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let dialer = Arc::clone(&self.dialer);
        Box::pin(async move {
            if let Some(first) = first {
                return Ok(first);
            }
            let credentials = dialer.credentials().map_err(|cause| ConnectError::NoIdentity { cause })?;
            dialer.open(&credentials).await
        })
    }
}
