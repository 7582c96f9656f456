//! The services put together, as one tower service that every connection gets a clone of.

use std::{
    convert::Infallible,
    future::Future,
    path::PathBuf,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::{Request, Response};
use leasehold_core::{CallId, record::Actor};
use leasehold_engine::Engine;
use leasehold_ledger::LedgerHealth;
use leasehold_proto::{
    FILE_DESCRIPTOR_SET,
    v1::{
        lease_service_server::{LeaseServiceServer, SERVICE_NAME as LEASES},
        operator_service_server::{OperatorServiceServer, SERVICE_NAME as OPERATORS},
    },
};
use prost::Message;
use tokio::sync::watch;
use tonic::{
    Status,
    codegen::{Body, Bytes, StdError},
    server::NamedService,
};
use tonic_health::{
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};
use tower::{Service, util::BoxCloneSyncService};

use super::{
    audit_stream::Journal,
    broker_status::Facts,
    caller, health,
    lease_service::Leases,
    operator_service::Operators,
    rate_limits::{Kind, Pass, RateLimits},
    request_info,
    seats::{Room, Seats},
    status::of_engine,
    unary::{self, Reply},
    watches::{Frames, Rendered},
};
use crate::listener::Peer;

/// What the edge needs.
pub struct Parts {
    /// The use cases.
    pub engine: Arc<Engine>,
    /// Where the journal lies.
    pub journal_dir: PathBuf,
    /// What only the composition knows.
    pub facts: Arc<dyn Facts>,
    /// Whether the ledger takes commits.
    pub ledger_health: watch::Receiver<LedgerHealth>,
    /// Turns true when the broker ends.
    pub stop: watch::Receiver<bool>,
    /// How often may be asked.
    pub rates: Arc<RateLimits>,
    /// The limits.
    pub settings: Settings,
}

/// The edge's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The largest request message, in bytes. The largest value that can be written is 512 KiB.
    pub max_request_bytes: usize,
    /// The largest response message, in bytes.
    pub max_response_bytes: usize,
    /// How many watches may be open.
    pub max_watches: usize,
    /// How many of them may be one principal's, which several processes can share.
    pub max_watches_per_principal: usize,
    /// How many audit queries may be open.
    pub max_audit_queries: usize,
    /// How many of them may be one principal's.
    pub max_audit_queries_per_principal: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_request_bytes: 1 << 20,
            max_response_bytes: 4 << 20,
            max_watches: 16_384,
            max_watches_per_principal: 2048,
            max_audit_queries: 16,
            max_audit_queries_per_principal: 4,
        }
    }
}

/// Every service of the broker. Every request has a clone: it costs one count.
#[derive(Clone)]
pub struct Routes(Arc<Services>);

struct Services {
    issue: Arc<Leases>,
    leases: LeaseServiceServer<Leases>,
    operators: OperatorServiceServer<Operators>,
    health: HealthServer<HealthService>,
    reflection: Option<Reflection>,
    limits: Limits,
    rates: Arc<RateLimits>,
}

/// How long messages may be, in bytes.
#[derive(Clone, Copy)]
struct Limits {
    request: usize,
    response: usize,
}

type Answer = Result<Response<Reply>, Infallible>;
type Reflection = BoxCloneSyncService<Request<tonic::body::Body>, Response<tonic::body::Body>, Infallible>;

/// What workloads ask is short: as many of their requests may be under way as the limits say, each as long as this.
const LONGEST_LEASE_REQUEST: usize = 16 << 10;
const ISSUE_LEASE: &str = "/leasehold.v1.LeaseService/IssueLease";
const WATCH_LEASES: &str = "/leasehold.v1.LeaseService/WatchLeases";
const WATCH_SECRET: &str = "/leasehold.v1.LeaseService/WatchSecret";
const HEALTH: &str = <HealthServer<HealthService> as NamedService>::NAME;
const REFLECTION: &str = tonic_reflection::pb::v1::server_reflection_server::SERVICE_NAME;

impl Routes {
    /// The services, and the task that keeps their health told, and who was turned away; it ends with the broker.
    pub fn new(parts: Parts) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let Parts { engine, journal_dir, facts, ledger_health, stop, rates, settings } = parts;
        let max_lease_request = settings.max_request_bytes.min(LONGEST_LEASE_REQUEST);
        let issue = Arc::new(Leases {
            engine: engine.clone(),
            watches: Seats::new(Room {
                total: settings.max_watches,
                each: settings.max_watches_per_principal,
                names: ["limits.watches", "limits.watches_per_principal"],
            }),
            rendered: Rendered::default(),
        });
        let leases = LeaseServiceServer::from_arc(Arc::clone(&issue))
            .max_decoding_message_size(max_lease_request)
            .max_encoding_message_size(settings.max_response_bytes);
        let operators = OperatorServiceServer::new(Operators {
            engine: engine.clone(),
            facts: facts.clone(),
            journal: Journal::new(journal_dir, facts),
            audits: Seats::new(Room {
                total: settings.max_audit_queries,
                each: settings.max_audit_queries_per_principal,
                names: ["audit queries", "audit queries per principal"],
            }),
        })
        .max_decoding_message_size(settings.max_request_bytes)
        .max_encoding_message_size(settings.max_response_bytes);
        let reporter = HealthReporter::new();
        let health = HealthServer::new(HealthService::from_health_reporter(reporter.clone()))
            .max_decoding_message_size(settings.max_request_bytes);
        // INVARIANT: the descriptors were generated with the code; a test loads them.
        let reflection = reflection(settings.max_request_bytes)
            .inspect_err(|error| tracing::error!(%error, "reflection is not offered"))
            .ok();
        let limits = Limits { request: max_lease_request, response: settings.max_response_bytes };
        let limited = rates.clone().report(engine.clone(), stop.clone());
        let services = Services { issue, leases, operators, health, reflection, limits, rates };
        let told = async move {
            futures::join!(health::report(reporter, engine, ledger_health, stop), limited);
        };
        (Self(Arc::new(services)), told)
    }
}

fn reflection(max_request_bytes: usize) -> Result<Reflection, tonic_reflection::server::Error> {
    let service = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    Ok(BoxCloneSyncService::new(service.max_decoding_message_size(max_request_bytes)))
}

impl<B> Service<Request<B>> for Routes
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = Response<Reply>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Answer>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // All of them are always ready: what there is to wait for is waited for within the call.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let Services { issue, leases, operators, health, reflection, limits, rates } = &*self.0;
        let call = issue.engine.new_call_id();
        if let Some(call) = call {
            request.extensions_mut().insert(call);
        }
        let path = request.uri().path();
        let service =
            path.strip_prefix('/').and_then(|path| path.split_once('/')).map(|(service, _)| service);
        let kind = if service == Some(OPERATORS) { Kind::Operator } else { Kind::Workload };
        // Who has no identity is told so by whatever is asked.
        let peer = request.extensions().get::<Arc<Peer>>();
        let pass = match peer.map(|peer| rates.admit(kind, peer.actor())).transpose() {
            Ok(pass) => pass,
            Err(limited) => {
                let answer = request_info::told(of_engine(&limited).into_http(), call);
                return Box::pin(std::future::ready(Ok(answer)));
            }
        };
        match path {
            ISSUE_LEASE => return Box::pin(issue_lease(Arc::clone(issue), request, *limits, pass)),
            WATCH_LEASES => {
                return Box::pin(begin_watch(
                    Arc::clone(issue),
                    request,
                    *limits,
                    pass,
                    Leases::lease_frames,
                ));
            }
            WATCH_SECRET => {
                return Box::pin(begin_watch(
                    Arc::clone(issue),
                    request,
                    *limits,
                    pass,
                    Leases::secret_frames,
                ));
            }
            _ => {}
        }
        match (service, reflection) {
            (Some(LEASES), _) => replied(leases.clone().call(request), pass, call),
            (Some(OPERATORS), _) => replied(operators.clone().call(request), pass, call),
            (Some(HEALTH), _) => replied(health.clone().call(request), pass, call),
            (Some(REFLECTION), Some(reflection)) => {
                replied(reflection.clone().call(request.map(tonic::body::Body::new)), pass, call)
            }
            _ => {
                let status = Status::unimplemented("there is no such service here");
                Box::pin(std::future::ready(Ok(status.into_http())))
            }
        }
    }
}

/// The call of which there are so many, straight to what answers it.
async fn issue_lease<B>(
    leases: Arc<Leases>,
    request: Request<B>,
    limits: Limits,
    _pass: Option<Pass>,
) -> Answer
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<StdError>,
{
    let (parts, body) = request.into_parts();
    let answer = async {
        let message = unary::read(&parts.headers, body, limits.request).await?;
        let issued = leases.issue(caller::of(&parts.extensions)?, message).await?;
        unary::reply(&issued, limits.response)
    };
    Ok(answer.await.unwrap_or_else(|status| refused(&parts.extensions, status)))
}

/// The calls that last: from when they have begun, they are counted where they have their seats.
async fn begin_watch<B, M, F>(
    leases: Arc<Leases>,
    request: Request<B>,
    limits: Limits,
    pass: Option<Pass>,
    frames: impl FnOnce(Arc<Leases>, Actor, M, usize) -> F + Send,
) -> Answer
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<StdError>,
    M: Message + Default,
    F: Future<Output = Result<Frames, Status>> + Send,
{
    let (parts, body) = request.into_parts();
    let answer = async {
        let message = unary::read(&parts.headers, body, limits.request).await?;
        let frames = frames(leases, caller::of(&parts.extensions)?, message, limits.response).await?;
        Ok::<_, Status>(unary::stream(frames))
    };
    let answered = answer.await.unwrap_or_else(|status| refused(&parts.extensions, status));
    drop(pass);
    Ok(answered)
}

fn refused(extensions: &http::Extensions, status: Status) -> Response<Reply> {
    request_info::told(status.into_http(), extensions.get().copied())
}

/// The answer as it begins: from then on, a stream is counted where it has its seat.
fn replied(
    answer: impl Future<Output = Result<Response<tonic::body::Body>, Infallible>> + Send + 'static,
    pass: Option<Pass>,
    call: Option<CallId>,
) -> BoxFuture<'static, Answer> {
    Box::pin(async move {
        let answered = answer.await.map(|response| request_info::told(response.map(Reply::from), call));
        drop(pass);
        answered
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptors_load() {
        assert!(reflection(1024).is_ok());
    }
}
