//! What these tests run on: an authorizer of a few rules, a back end of one secret, tokio's paused clock, and a journal
//! that a test writes itself.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    num::NonZeroU32,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use http::{Request, Response};
use leasehold_audit::{Journal, JournalOptions, SystemFiles};
use leasehold_core::{
    SecretValue, Timestamp,
    access::{AccessRequest, Action, Resource},
    catalog::{Catalog, Entry, Freshness, Source},
    ports::{Authorizer, Clock, Entropy, NoEntropy, Provider, ValueMac},
    provider::{
        Capabilities, Change, ChangeSecret, Demand, ErrorClass, Fetch, Fetched, Finding, ProviderError,
        SignIn, VersionFacts, VersionState, WriteVersion,
    },
    record::{Actor, Decision, Effect, Record, ValueTag},
    rotation::Plan,
    secret::VersionId,
    ttl::{TtlLimits, after, until},
};
use leasehold_engine::Engine;
use leasehold_ledger::{LedgerHealth, LedgerStats, Memory};
use leasehold_proto::v1::{
    lease_service_client::LeaseServiceClient, operator_service_client::OperatorServiceClient,
};
use tokio::sync::watch;
use tonic::{Status, body::Body};
use tonic_types::StatusExt;
use tower::{ServiceExt, util::BoxCloneSyncService};

use crate::{
    compose::rotation_parts,
    grpc::{BrokerFacts, Facts, LedgerFacts, Parts, Rate, RateLimits, Rates, Routes, Settings},
    listener::Peer,
};

pub(super) const API: &str = "spiffe://example.org/prod/payments/api";
pub(super) const OTHER: &str = "spiffe://example.org/dev/other";
pub(super) const ADMIN: &str = "spiffe://example.org/operator/admin";
pub(super) const SECRET: &str = "prod/payments/db";
pub(super) const VALUE: &str = "canary-2d7e";

/// A connection as the services see it.
pub(super) type Channel = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// The edge with its world.
pub(super) struct Edge {
    pub(super) routes: Routes,
    pub(super) engine: Arc<Engine>,
    pub(super) ledger: Memory,
    pub(super) facts: Arc<Told>,
    pub(super) rates: Arc<RateLimits>,
    pub(super) journal: Mutex<Journal>,
    pub(super) dir: tempfile::TempDir,
    pub(super) ledger_health: watch::Sender<LedgerHealth>,
    pub(super) stop: watch::Sender<bool>,
}

impl Edge {
    pub(super) fn new() -> Self {
        Self::with(Settings::default())
    }

    pub(super) fn with(settings: Settings) -> Self {
        // What is asked here takes no time by the paused clock.
        let many = NonZeroU32::MAX;
        let rate = Rate { per_second: many, burst: many, in_flight: usize::MAX };
        Self::within(settings, Rates { workloads: rate, operators: rate })
    }

    pub(super) fn within(settings: Settings, rates: Rates) -> Self {
        let rates = RateLimits::new(rates);
        let ledger = Memory::new();
        let dir = tempfile::tempdir().unwrap();
        let options = JournalOptions {
            dir: dir.path().to_owned(),
            node: "a".into(),
            segment_bytes: 64 * 1024,
            files: Arc::new(SystemFiles),
        };
        let (journal, _) = Journal::open(options, None).unwrap();
        let facts = Arc::new(Told::default());
        let (ledger_health, healthy) = watch::channel(LedgerHealth::Ok);
        let (stop, stopped) = watch::channel(false);
        let engine = engine(ledger.clone(), facts.clone());
        let (routes, health) = Routes::new(Parts {
            engine: engine.clone(),
            journal_dir: dir.path().to_owned(),
            facts: facts.clone(),
            ledger_health: healthy,
            stop: stopped,
            rates: rates.clone(),
            settings,
        });
        tokio::spawn(health);
        Self { routes, engine, ledger, facts, rates, journal: Mutex::new(journal), dir, ledger_health, stop }
    }

    /// A connection of `who`.
    pub(super) fn channel(&self, who: &str) -> Channel {
        let peer = Arc::new(Peer::new(actor(who), Timestamp::MAX));
        let routes = self.routes.clone().map_request(move |mut request: Request<Body>| {
            request.extensions_mut().insert(peer.clone());
            request
        });
        BoxCloneSyncService::new(routes.map_response(|response| response.map(Body::new)))
    }

    pub(super) fn leases(&self, who: &str) -> LeaseServiceClient<Channel> {
        LeaseServiceClient::new(self.channel(who))
    }

    pub(super) fn operators(&self, who: &str) -> OperatorServiceClient<Channel> {
        OperatorServiceClient::new(self.channel(who))
    }

    /// Writes records to the journal and says that they are durable.
    pub(super) fn journal(&self, records: &[Record]) {
        self.facts.head.store(self.write(records), SeqCst);
    }

    /// Writes records to the journal of which nobody knows that they are durable.
    pub(super) fn write(&self, records: &[Record]) -> u64 {
        let mut journal = self.journal.lock().unwrap();
        for record in records {
            journal.stage(record, Some(b"sealed")).unwrap();
        }
        journal.commit().unwrap().seq
    }
}

pub(super) fn actor(id: &str) -> Actor {
    Actor::internal(id.parse().unwrap())
}

/// The stable reason of a status.
pub(super) fn reason(status: &Status) -> String {
    status.get_details_error_info().unwrap().reason
}

/// What a status says, but for the name of the call.
pub(super) fn told(status: &Status) -> (String, String) {
    let mut details = status.get_error_details();
    assert!(details.request_info().is_some());
    details.set_request_info("", "");
    (status.message().to_owned(), format!("{details:?}"))
}

/// The catalog of one secret, which is rotated like this.
pub(super) fn rotated(plan: Plan) -> Catalog {
    catalog(Some(Arc::new(plan)))
}

fn catalog(rotation: Option<Arc<Plan>>) -> Catalog {
    let entry = Entry {
        provider: "main".parse().unwrap(),
        source: Source::Static { reference: "db".into() },
        limits: TtlLimits::new(Duration::from_secs(60), Duration::from_secs(600)).unwrap(),
        max_leases: None,
        freshness: Freshness::default(),
        description: Some("the payments database".into()),
        rotation,
    };
    Catalog::new([(SECRET.parse().unwrap(), entry)], []).unwrap()
}

fn engine(ledger: Memory, facts: Arc<Told>) -> Arc<Engine> {
    let provider: Arc<dyn Provider> = Arc::new(BackEnd(facts.clone()));
    Engine::new(leasehold_engine::Parts {
        clock: Arc::new(PausedClock { start: tokio::time::Instant::now() }),
        entropy: Arc::new(Counter::default()),
        ledger: Arc::new(ledger),
        authorizer: Arc::new(Rules(facts)),
        mac: Arc::new(LengthTag),
        providers: BTreeMap::from([("main".parse().unwrap(), provider)]),
        provider_limits: BTreeMap::new(),
        catalog: catalog(None),
        settings: leasehold_engine::Settings::default(),
        broker: actor("spiffe://example.org/leasehold/broker"),
        rotation: rotation_parts(Arc::new(Counter::default()), &"example.org".parse().unwrap()).unwrap(),
    })
}

/// What a composition would tell.
#[derive(Default)]
pub(super) struct Told {
    pub(super) head: AtomicU64,
    /// Other policies are in force since, by which nobody reads the journal.
    pub(super) closed: AtomicBool,
    /// Whether the back end answers nothing.
    pub(super) failing: AtomicBool,
    /// When the broker's own credentials there end, in seconds of the broker's time; 0 is never.
    pub(super) credentials_end: AtomicI64,
    /// How many versions were written there.
    pub(super) written: AtomicU64,
    /// What was changed there.
    pub(super) changed: Mutex<Vec<(Change, Option<VersionId>)>>,
}

impl Facts for Told {
    fn broker(&self) -> BrokerFacts {
        BrokerFacts {
            version: "0.1.0".into(),
            node: "a".into(),
            trust_domain: "example.org".into(),
            started_at: Timestamp::UNIX_EPOCH,
            policy_digest: if self.closed.load(SeqCst) { "d2" } else { "d1" }.into(),
            policies: 1,
            last_reload: None,
        }
    }

    fn ledger(&self) -> LedgerFacts {
        let stats = LedgerStats { head: self.head.load(SeqCst), ..LedgerStats::default() };
        LedgerFacts { backend: "embedded", health: LedgerHealth::Ok, stats }
    }
}

struct PausedClock {
    start: tokio::time::Instant,
}

#[async_trait]
impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        after(Timestamp::UNIX_EPOCH, self.start.elapsed())
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        tokio::time::sleep(until(self.now(), deadline)).await;
    }
}

#[derive(Default)]
struct Counter(AtomicU64);

impl Entropy for Counter {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoEntropy> {
        let n = self.0.fetch_add(1, SeqCst).to_be_bytes();
        buffer.iter_mut().zip(n.iter().cycle()).for_each(|(byte, n)| *byte = *n);
        Ok(())
    }
}

struct LengthTag;

impl ValueMac for LengthTag {
    fn tag(&self, bytes: &[u8]) -> ValueTag {
        ValueTag(bytes.len().to_string().into())
    }
}

/// Production workloads may use production secrets; operators may do everything but take leases.
struct Rules(Arc<Told>);

impl Authorizer for Rules {
    fn decide(&self, request: &AccessRequest<'_>) -> Decision {
        let path = request.principal.path();
        let own = matches!(request.action, Action::IssueLease | Action::RenewLease);
        let allowed = match request.resource {
            Resource::Secret(secret) if own => path.starts_with(&format!("/{}/", secret.environment())),
            _ => path.starts_with("/operator/"),
        };
        let closed = request.action == Action::ReadAudit && self.0.closed.load(SeqCst);
        let allowed = allowed && !closed;
        Decision {
            action: request.action,
            effect: if allowed { Effect::Allow } else { Effect::Deny },
            policies: Vec::new(),
            max_ttl: None,
            policy_set: "d1".into(),
            inputs: request.context.clone(),
            errors: Vec::new(),
        }
    }
}

struct BackEnd(Arc<Told>);

impl BackEnd {
    fn answer(&self) -> Result<(), ProviderError> {
        match self.0.failing.load(SeqCst) {
            true => Err(ProviderError::new(ErrorClass::Transient, "told to fail")),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Provider for BackEnd {
    async fn check(&self, demands: &[Demand]) -> Vec<Finding> {
        let asked = Finding::passed("sign in", format!("{} demands", demands.len()));
        let denied = Finding::failed("read `db`", "not allowed", "grant it").granted_by("allow read");
        if self.0.failing.load(SeqCst) { vec![asked, denied] } else { vec![asked] }
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            read: true,
            versions: true,
            write: true,
            changes: &Change::ALL,
            ..Capabilities::default()
        }
    }

    fn sign_in(&self) -> SignIn {
        let end = self.0.credentials_end.load(SeqCst);
        let expires_at = (end > 0).then(|| Timestamp::from_second(end).unwrap());
        SignIn { expires_at, problem: expires_at.map(|_| "refused".to_owned()) }
    }

    async fn versions(&self, _reference: &str) -> Result<Vec<VersionFacts>, ProviderError> {
        self.answer()?;
        let facts = |version: &str, state, current| VersionFacts {
            version: version.parse().unwrap(),
            created_at: Some(Timestamp::UNIX_EPOCH),
            state,
            current,
            labels: vec!["label".into()],
        };
        Ok(vec![facts("v1", VersionState::Enabled, true), facts("v0", VersionState::Destroyed, false)])
    }

    async fn change(&self, request: ChangeSecret<'_>) -> Result<(), ProviderError> {
        self.answer()?;
        self.0.changed.lock().unwrap().push((request.change, request.version.cloned()));
        Ok(())
    }

    async fn fetch(&self, _request: Fetch<'_>) -> Result<Fetched, ProviderError> {
        self.answer()?;
        let value = SecretValue::plain(VALUE.to_owned());
        Ok(Fetched { value, version: "v1".parse().unwrap(), created_at: None })
    }

    async fn write(&self, _request: WriteVersion<'_>) -> Result<VersionId, ProviderError> {
        // The first one is there already.
        let written = self.0.written.fetch_add(1, SeqCst);
        Ok(format!("v{}", written.saturating_add(2)).parse().unwrap())
    }
}
