//! How the sidecar is, for whoever asks: orchestrators, the service manager, and `leasehold-sidecar check`.
//!
//! *Alive* is a sidecar whose one thread gets round to answering. *Ready* is one whose program can rely on it: every secret
//! is held by a lease that has not ended, and what is to be in files is there. A broker that is away makes nothing unready
//! as long as the leases last; it is told as *degraded*.

mod check;
pub mod notify;
mod report;

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use leasehold_core::{SecretBytes, ports::Clock};
use tokio::sync::watch;

pub use self::{
    check::check,
    report::{Report, SecretReport},
};
#[cfg(test)]
use crate::config;
use crate::{
    act,
    config::Health,
    endpoint::{Answers, EndpointError, Limits, Peer, Problem, Socket, Target, answer, on_unix, users},
    publish, reload,
    snapshot::Snapshot,
};

/// What is told of: what is held, and how publishing and acting go.
#[derive(Clone)]
pub struct Sources {
    /// What is held.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// How publishing goes; absent when nothing is to be published.
    pub publishing: Option<watch::Receiver<publish::Standing>>,
    /// How acting on changes goes.
    pub acting: watch::Receiver<act::Standing>,
    /// How the last reading of the configuration went.
    pub reloading: watch::Receiver<reload::Standing>,
    /// What leases end by.
    pub clock: Arc<dyn Clock>,
}

/// Where a report is, whatever it says.
const STATUS: &str = "/status";
/// The report, with a status that says whether the sidecar is ready.
const READY: &str = "/readyz";
/// Whether it answers at all.
const LIVE: &str = "/livez";
const LIMITS: Limits = Limits { connections: 8, time: Duration::from_secs(5) };

/// Serves until it is dropped; without settings, tells the service manager only.
///
/// # Errors
/// When it cannot listen.
pub async fn serve(settings: Option<Health>, sources: Sources) -> Result<Infallible, EndpointError> {
    let told = notify::tell(sources.clone());
    let Some(Health { socket }) = settings else { return Ok(told.await) };
    let group = socket.group.as_deref().map(users::group).transpose()?;
    let socket = Socket::bind(&socket.path, socket.mode, group)?;
    tokio::select! {
        never = on_unix(socket.listener(), LIMITS, Arc::new(sources)) => Ok(never),
        never = told => Ok(never),
    }
}

impl Answers for Sources {
    fn answer(&self, _peer: &Peer, request: &Request<()>) -> Response<Full<Bytes>> {
        let path = Target::parse(request.uri().path(), None).map(|target| target.path).unwrap_or_default();
        let status = match path.as_str() {
            LIVE | STATUS => StatusCode::OK,
            READY if self.report().ready => StatusCode::OK,
            READY => StatusCode::SERVICE_UNAVAILABLE,
            _ => {
                let detail = format!("ask for {READY}, {LIVE} or {STATUS}");
                return Problem::new(StatusCode::NOT_FOUND, "NO_SUCH_PATH", detail).into();
            }
        };
        let body = match path.as_str() {
            LIVE => br#"{"alive":true}"#.to_vec(),
            _ => serde_json::to_vec(&self.report()).unwrap_or_default(),
        };
        let mut response = answer(SecretBytes::new(body), "application/json");
        *response.status_mut() = status;
        response
    }
}

impl Sources {
    /// How the sidecar is now.
    pub fn report(&self) -> Report {
        let publishing = self.publishing.as_ref().map(|publishing| publishing.borrow().clone());
        let (acting, reloading) = (self.acting.borrow(), self.reloading.borrow());
        Report::new(&self.snapshots.borrow(), publishing.as_ref(), &acting, &reloading, self.clock.now())
    }
}

#[cfg(test)]
mod tests;
