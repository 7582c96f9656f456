//! Values for whoever on this machine may ask: a Unix socket whose peers the kernel names, and the AWS agent's protocol.
//!
//! Only what the configuration leases is handed out, and only while its lease lasts: nothing is leased because somebody
//! asks, so nobody here can make the sidecar ask the broker for more.

pub mod aws;
mod body;
mod offer;
mod problem;
pub mod query;
mod secrets;
mod serve;
mod socket;
pub mod token;
pub(crate) mod users;

use std::{
    collections::BTreeSet,
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU64},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use leasehold_core::ports::Clock;
use rustix::process::geteuid;
use thiserror::Error;
use tokio::{net::TcpListener, sync::watch};

use self::{aws::Agent, offer::Offer, serve::on_tcp, token::Token};
pub(crate) use self::{
    body::answer,
    offer::is_over,
    problem::Problem,
    query::Target,
    secrets::standing,
    serve::{Answers, Limits, Peer, on_unix},
};
pub use self::{socket::Socket, socket::SocketError, users::UnknownUser};
use crate::{
    config::{self, Endpoint},
    snapshot::Snapshot,
};

/// Why nobody can be answered.
#[derive(Debug, Error)]
pub enum EndpointError {
    /// The Unix socket cannot be had.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// A user or a group of the configuration is not one of this machine.
    #[error(transparent)]
    User(#[from] UnknownUser),
    /// The token for the AWS agent's protocol cannot be had.
    #[error(transparent)]
    Token(#[from] token::TokenError),
    /// Somebody else listens there.
    #[error("`listen` in [endpoint.aws] ({address}) cannot be listened at: {cause}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        cause: io::Error,
    },
}

/// What is handed out to whom, by one reading of the configuration.
#[derive(Debug)]
pub struct Rules {
    offer: Offer,
    allowed: BTreeSet<u32>,
    agent: Option<Agent>,
}

/// What answers, on either listener.
#[derive(Clone)]
struct Desk {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    rules: watch::Receiver<Arc<Rules>>,
    clock: Arc<dyn Clock>,
    refused: Arc<AtomicU64>,
}

impl Rules {
    /// What the section says of these secrets.
    ///
    /// # Errors
    /// When a user is not one of this machine, or there is no token.
    pub fn of(settings: &Endpoint, wanted: &[config::Secret]) -> Result<Self, EndpointError> {
        let mut allowed = BTreeSet::from([geteuid().as_raw()]);
        for user in &settings.allow {
            allowed.insert(users::user(user)?);
        }
        let agent = match &settings.aws {
            None => None,
            Some(aws) => {
                let token = Token::new(aws.token_file.clone());
                token.check()?;
                Some(Agent { token, ids: aws.ids.clone() })
            }
        };
        let offer = Offer::new(wanted.iter().map(|secret| (secret.name.clone(), secret.path.clone())));
        Ok(Self { offer, allowed, agent })
    }
}

/// Listens, and answers by the rules as they are then until it is dropped.
///
/// # Errors
/// When it cannot listen.
pub async fn serve(
    settings: Endpoint,
    rules: watch::Receiver<Arc<Rules>>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    clock: Arc<dyn Clock>,
) -> Result<Infallible, EndpointError> {
    let limits = Limits {
        connections: usize::try_from(settings.connections).unwrap_or(usize::MAX),
        time: settings.time_limit,
    };
    let group = settings.socket.group.as_deref().map(users::group).transpose()?;
    let desk = Arc::new(Desk { snapshots, rules, clock, refused: Arc::default() });
    let loopback = match settings.aws.and_then(|aws| aws.listen) {
        None => None,
        Some(address) => {
            let failed = |cause| EndpointError::Listen { address, cause };
            Some(TcpListener::bind(address).await.map_err(failed)?)
        }
    };
    let socket = Socket::bind(&settings.socket.path, settings.socket.mode, group)?;
    tracing::info!(socket = %socket.path().display(), "values can be asked for");
    let unix = on_unix(socket.listener(), limits, desk.clone());
    match loopback {
        None => Ok(unix.await),
        Some(listener) => {
            if let Ok(address) = listener.local_addr() {
                tracing::info!("the AWS agent's clients are answered at http://{address}");
            }
            tokio::select! {
                never = unix => Ok(never),
                never = on_tcp(&listener, limits, desk) => Ok(never),
            }
        }
    }
}

impl Answers for Desk {
    fn answer(&self, peer: &Peer, request: &Request<()>) -> Response<Full<Bytes>> {
        self.respond(peer, request).unwrap_or_else(Response::from)
    }
}

impl Desk {
    fn respond(&self, peer: &Peer, request: &Request<()>) -> Result<Response<Full<Bytes>>, Problem> {
        let rules = Arc::clone(&self.rules.borrow());
        self.admit(peer, &rules)?;
        let target = Target::parse(request.uri().path(), request.uri().query())
            .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "MALFORMED_TARGET", error.to_string()))?;
        let snapshot = Arc::clone(&self.snapshots.borrow());
        let now = self.clock.now();
        let on_loopback = *peer == Peer::Anybody;
        let agents = rules
            .agent
            .as_ref()
            .and_then(|agent| agent.respond(request, &target, on_loopback, &rules.offer, &snapshot, now));
        let ours = || secrets::respond(&target, &rules.offer, &snapshot, now).filter(|_| !on_loopback);
        agents.or_else(ours).ok_or_else(|| {
            let detail = if on_loopback {
                "only the AWS agent's protocol is spoken here: ask for /secretsmanager/get?secretId=NAME"
            } else {
                "ask for /v1/secrets, or for /v1/secrets/ with a name or a path after it"
            };
            Problem::new(StatusCode::NOT_FOUND, "NO_SUCH_PATH", detail)
        })
    }

    /// Whoever connects over loopback shows a token; a process is known by its user.
    fn admit(&self, peer: &Peer, rules: &Rules) -> Result<(), Problem> {
        let Peer::Process { user } = *peer else { return Ok(()) };
        if rules.allowed.contains(&user) {
            return Ok(());
        }
        // The first of them, and then ever fewer: nobody fills the log by asking.
        let before = self.refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if before.wrapping_add(1).is_power_of_two() {
            tracing::warn!(user, refused = before.wrapping_add(1), "a user who may not ask was refused");
        }
        let detail = format!("the user {user} may not ask here: add it to `allow` in [endpoint]");
        Err(Problem::new(StatusCode::FORBIDDEN, "USER_NOT_ALLOWED", detail))
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
