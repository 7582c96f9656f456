//! What the engine's tests run on: tokio's paused clock, seeded randomness, an authorizer of a few rules, and a back end
//! that does what a test tells it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use leasehold_core::{
    LeaseId, SecretBytes, SecretValue, SpiffeId, Timestamp,
    access::{AccessRequest, Action, Resource},
    catalog::{Catalog, Entry, Freshness, Source},
    explanation::{Explanation, Grounds},
    lease::RevocationHandle,
    ports::{
        Authorizer, Clock, Entropy, Generate, Issuer, Ledger, NoEntropy, Programs, Provider, Target, ValueMac,
    },
    provider::{
        Capabilities, Change, ChangeSecret, Demand, ErrorClass, Fetch, Fetched, Finding, IssueCredential,
        IssuedCredential, ProviderError, ProviderName, RenewCredential, Revocation, RevokeCredential, Tagged,
        Verification, VersionFacts, VersionState, WriteVersion,
    },
    record::{Actor, Decision, Effect, Kind, Outcome, ValueTag},
    rotation::{Generated, Generator, Program},
    secret::VersionId,
    ttl::{TtlLimits, after, until},
};
use leasehold_engine::{
    Engine, EngineError, Parts, ProviderLimits, RotationParts, Settings,
    request::{IssueLease, IssuedLease},
};
use leasehold_ledger::Memory;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
};

pub(crate) const API: &str = "spiffe://example.org/prod/payments/api";
pub(crate) const SCHEDULER: &str = "spiffe://example.org/leasehold/scheduler";
pub(crate) const OTHER: &str = "spiffe://example.org/dev/other";
pub(crate) const ADMIN: &str = "spiffe://example.org/operator/admin";
pub(crate) const STATIC: &str = "prod/payments/db";
pub(crate) const DYNAMIC: &str = "prod/payments/db-user";
pub(crate) const STALE: Duration = Duration::from_secs(300);

/// A broker with its world.
pub(crate) struct Broker {
    pub(crate) engine: Arc<Engine>,
    pub(crate) ledger: Memory,
    pub(crate) back_end: Arc<BackEnd>,
    pub(crate) rules: Arc<Rules>,
    stop: watch::Sender<bool>,
}

impl Broker {
    pub(crate) fn new() -> Self {
        Self::over(Memory::new(), Arc::new(BackEnd::default()))
    }

    /// A broker that starts on what an earlier one left.
    pub(crate) fn over(ledger: Memory, back_end: Arc<BackEnd>) -> Self {
        Self::through(Arc::new(ledger.clone()), ledger, back_end)
    }

    /// A broker that reaches its ledger through another one in front of it.
    pub(crate) fn through(front: Arc<dyn Ledger>, ledger: Memory, back_end: Arc<BackEnd>) -> Self {
        Self::made_of(front, ledger, back_end, BTreeMap::new())
    }

    /// A broker whose back end has limits of its own.
    pub(crate) fn with_limits(limits: BTreeMap<ProviderName, ProviderLimits>) -> Self {
        let ledger = Memory::new();
        Self::made_of(Arc::new(ledger.clone()), ledger, Arc::default(), limits)
    }

    fn made_of(
        front: Arc<dyn Ledger>,
        ledger: Memory,
        back_end: Arc<BackEnd>,
        provider_limits: BTreeMap<ProviderName, ProviderLimits>,
    ) -> Self {
        Self::within(front, ledger, back_end, provider_limits, Settings::default())
    }

    /// A broker with other settings.
    pub(crate) fn within(
        front: Arc<dyn Ledger>,
        ledger: Memory,
        back_end: Arc<BackEnd>,
        provider_limits: BTreeMap<ProviderName, ProviderLimits>,
        settings: Settings,
    ) -> Self {
        let rules = Arc::new(Rules::default());
        // An earlier broker made no more leases than records, and none of its ids comes again.
        let ids = Counter(AtomicU64::new(ledger.records().len() as u64));
        let engine = Engine::new(Parts {
            clock: Arc::new(PausedClock::new()),
            entropy: Arc::new(ids),
            ledger: front,
            authorizer: rules.clone(),
            mac: Arc::new(LengthTag),
            providers: BTreeMap::from([("main".parse().unwrap(), back_end.clone() as Arc<dyn Provider>)]),
            provider_limits,
            catalog: catalog(),
            settings,
            broker: Actor::internal("spiffe://example.org/leasehold/broker".parse().unwrap()),
            rotation: RotationParts {
                generate: Arc::new(Numbered::default()),
                programs: Arc::new(NoPrograms),
                scheduler: Actor::internal(SCHEDULER.parse().unwrap()),
            },
        });
        Self { engine, ledger, back_end, rules, stop: watch::channel(false).0 }
    }

    /// Counts the leases that an earlier broker left, as a start does.
    pub(crate) async fn count(&self) {
        self.engine.clone().count_leases(self.stop.subscribe()).await;
    }

    /// Lets the background loop run from now on.
    pub(crate) fn reconcile(&self) {
        tokio::spawn(self.engine.clone().reconcile(self.stop.subscribe()));
    }

    pub(crate) async fn issue(&self, path: &str) -> Result<IssuedLease, EngineError> {
        self.engine.issue_lease(issue(API, path)).await
    }

    /// A dynamic lease that is asked for, and whose intent is durable. Who wants it made later holds the back end's maker.
    pub(crate) async fn making(&self) -> (LeaseId, JoinHandle<Result<IssuedLease, EngineError>>) {
        let known: BTreeSet<_> = self.ledger.records().iter().filter_map(|record| record.lease).collect();
        let engine = self.engine.clone();
        let issuing = tokio::spawn(async move { engine.issue_lease(issue(API, DYNAMIC)).await });
        loop {
            tokio::task::yield_now().await;
            let mut named = self.ledger.records().into_iter().filter_map(|record| record.lease);
            if let Some(id) = named.find(|id| !known.contains(id)) {
                return (id, issuing);
            }
        }
    }

    pub(crate) fn kinds(&self) -> Vec<(Kind, Outcome)> {
        self.ledger.records().into_iter().map(|record| (record.kind, record.outcome)).collect()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

pub(crate) fn actor(id: &str) -> Actor {
    Actor::internal(id.parse().unwrap())
}

pub(crate) fn issue(who: &str, path: &str) -> IssueLease {
    IssueLease {
        actor: actor(who),
        secret: path.parse().unwrap(),
        ttl: None,
        fields: Vec::new(),
        request_id: None,
    }
}

pub(crate) fn shown(value: &SecretValue) -> BTreeMap<String, String> {
    let text = |bytes: &SecretBytes| String::from_utf8(bytes.expose().to_vec()).unwrap();
    value.fields.iter().map(|(name, bytes)| (name.to_string(), text(bytes))).collect()
}

fn entry(source: Source) -> Entry {
    Entry {
        provider: "main".parse().unwrap(),
        source,
        limits: TtlLimits::new(Duration::from_secs(60), Duration::from_secs(600)).unwrap(),
        max_leases: None,
        freshness: Freshness { max_age: Duration::from_secs(30), max_stale: STALE },
        description: None,
        rotation: None,
    }
}

/// A catalog of so many secrets, `prod/0` and on.
pub(crate) fn many_secrets(count: usize) -> Catalog {
    let one = |n| {
        let source = Source::Static { reference: format!("db{n}").into() };
        (format!("prod/{n}").parse().unwrap(), entry(source))
    };
    Catalog::new((0..count).map(one), []).unwrap()
}

fn catalog() -> Catalog {
    let secrets = [
        (STATIC.parse().unwrap(), entry(Source::Static { reference: "db".into() })),
        (DYNAMIC.parse().unwrap(), entry(Source::Dynamic { role: "readonly".into() })),
    ];
    Catalog::new(secrets, []).unwrap()
}

/// Makes `new-1`, `new-2` and on.
#[derive(Default)]
pub(crate) struct Numbered(AtomicU64);

impl Generate for Numbered {
    fn generate(&self, _: &Generator) -> Result<Generated, NoEntropy> {
        let number = self.0.fetch_add(1, SeqCst) + 1;
        Ok(Generated { value: format!("new-{number}").into(), public: None })
    }
}

pub(crate) struct NoPrograms;

impl Programs for NoPrograms {
    fn target(&self, program: &Program) -> Arc<dyn Target> {
        panic!("{program:?} is run")
    }
}

/// tokio's clock, counted from a fixed day: paused in tests, so nothing sleeps for real.
pub(crate) struct PausedClock {
    start: tokio::time::Instant,
}

impl PausedClock {
    pub(crate) fn new() -> Self {
        Self { start: tokio::time::Instant::now() }
    }
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

/// Randomness that never repeats.
#[derive(Default)]
pub(crate) struct Counter(pub(crate) AtomicU64);

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
        ValueTag(format!("tag-of-{}-bytes", bytes.len()).into())
    }
}

/// Production workloads may use production secrets; operators may do everything but take leases.
#[derive(Default)]
pub(crate) struct Rules {
    pub(crate) closed: Mutex<BTreeSet<Action>>,
    /// Beginnings of paths that nobody sees.
    pub(crate) hidden: Mutex<BTreeSet<String>>,
    /// How often it was asked whether somebody may know why, and why.
    pub(crate) may_know: AtomicU64,
    pub(crate) whys: AtomicU64,
    /// Whether it has no words for it.
    pub(crate) is_mute: AtomicBool,
    /// Whether other policies come into force after each decision.
    pub(crate) is_reloaded: AtomicBool,
}

impl Authorizer for Rules {
    fn decide(&self, request: &AccessRequest<'_>) -> Decision {
        if request.action == Action::ExplainDenial {
            self.may_know.fetch_add(1, SeqCst);
        }
        let path = request.principal.path();
        let own = matches!(request.action, Action::IssueLease | Action::RenewLease);
        let allowed = match request.resource {
            Resource::Secret(secret) if own => path.starts_with(&format!("/{}/", secret.environment())),
            _ => path.starts_with("/operator/"),
        };
        let hidden = match request.resource {
            Resource::Secret(secret) => {
                let hidden = self.hidden.lock().unwrap();
                hidden.iter().any(|beginning| secret.as_str().starts_with(beginning))
            }
            Resource::Broker => false,
        };
        let allowed = allowed && !hidden && !self.closed.lock().unwrap().contains(&request.action);
        Decision {
            action: request.action,
            effect: if allowed { Effect::Allow } else { Effect::Deny },
            policies: Vec::new(),
            max_ttl: None,
            policy_set: "test".into(),
            inputs: request.context.clone(),
            errors: Vec::new(),
        }
    }

    fn explain(&self, request: &AccessRequest<'_>) -> Option<Explanation> {
        self.whys.fetch_add(1, SeqCst);
        let allowed = self.decide(request).is_allowed();
        (!self.is_mute.load(SeqCst)).then(|| Explanation {
            grounds: if allowed { Grounds::Permitted } else { Grounds::NotPermitted },
            policies: vec![format!("{} {:?}", request.action, request.context)],
            principal: request.principal.to_string(),
            policy_set: if self.is_reloaded.load(SeqCst) { "next" } else { "test" }.into(),
        })
    }
}

/// A back end whose calls can be held, failed and counted.
pub(crate) struct BackEnd {
    pub(crate) fetches: AtomicU64,
    pub(crate) failing: Mutex<Option<ErrorClass>>,
    /// Holding `u32::MAX` permits of it holds every call.
    pub(crate) gate: Semaphore,
    /// Holding the one permit of it holds the making of credentials.
    pub(crate) maker: Semaphore,
    /// Holding the one permit of it holds the ending of credentials.
    pub(crate) ender: Semaphore,
    /// What the maker answers in the end, when it is not to be as the others.
    pub(crate) refusing: Mutex<Option<ErrorClass>>,
    pub(crate) users: Mutex<BTreeSet<String>>,
    /// Whether it reserves the end of a credential before it makes one, and what is reserved.
    pub(crate) reserves: AtomicBool,
    pub(crate) reserved: Mutex<BTreeSet<String>>,
    /// When its credentials end by themselves; it cannot end them then.
    pub(crate) irrevocable_until: Mutex<Option<Timestamp>>,
    pub(crate) revocations: AtomicU64,
    pub(crate) lookups: AtomicU64,
    /// What a trial of a credential that was ended comes to.
    pub(crate) verdict: Mutex<Verification>,
    /// How often it was asked what carries the broker's tag.
    pub(crate) listings: AtomicU64,
    /// Whether it does not know the credentials that it made.
    pub(crate) forgetful: AtomicBool,
    /// The end that the last renewal wanted.
    pub(crate) wanted: Mutex<Option<Timestamp>>,
    pub(crate) changed: Mutex<Vec<(Change, Option<String>)>>,
    pub(crate) asked: Mutex<Vec<Demand>>,
    versions: Mutex<Vec<SecretValue>>,
}

impl Default for BackEnd {
    fn default() -> Self {
        Self {
            fetches: AtomicU64::new(0),
            failing: Mutex::new(None),
            gate: Semaphore::new(u32::MAX as usize),
            maker: Semaphore::new(1),
            ender: Semaphore::new(1),
            refusing: Mutex::new(None),
            users: Mutex::default(),
            reserves: AtomicBool::new(false),
            reserved: Mutex::default(),
            irrevocable_until: Mutex::default(),
            revocations: AtomicU64::new(0),
            lookups: AtomicU64::new(0),
            verdict: Mutex::new(Verification::Unverifiable),
            listings: AtomicU64::new(0),
            forgetful: AtomicBool::new(false),
            wanted: Mutex::default(),
            changed: Mutex::default(),
            asked: Mutex::default(),
            versions: Mutex::new(vec![two_fields("app", "canary-1")]),
        }
    }
}

pub(crate) fn two_fields(user: &str, password: &str) -> SecretValue {
    let field = |name: &str, text: &str| (name.parse().unwrap(), SecretBytes::from(text.to_owned()));
    SecretValue {
        fields: BTreeMap::from([field("username", user), field("password", password)]),
        content_type: SecretValue::TEXT.into(),
    }
}

impl BackEnd {
    pub(crate) fn fail(&self, class: Option<ErrorClass>) {
        *self.failing.lock().unwrap() = class;
    }

    async fn pass(&self) -> Result<(), ProviderError> {
        let _turn = self.gate.acquire().await.unwrap();
        match *self.failing.lock().unwrap() {
            Some(class) => Err(ProviderError::new(class, "told to fail")),
            None => Ok(()),
        }
    }

    fn version(index: usize) -> VersionId {
        format!("v{}", index + 1).parse().unwrap()
    }
}

#[async_trait]
impl Provider for BackEnd {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            read: true,
            versions: true,
            write: true,
            issue: true,
            renew: true,
            revoke: self.irrevocable_until.lock().unwrap().is_none(),
            tagged: true,
            changes: &[Change::Disable, Change::Delete],
            ..Capabilities::default()
        }
    }

    async fn versions(&self, _reference: &str) -> Result<Vec<VersionFacts>, ProviderError> {
        self.pass().await?;
        let last = self.versions.lock().unwrap().len();
        let facts = |n| VersionFacts {
            version: Self::version(n),
            created_at: None,
            state: VersionState::Enabled,
            current: n + 1 == last,
            labels: Vec::new(),
        };
        Ok((0..last).rev().map(facts).collect())
    }

    async fn change(&self, request: ChangeSecret<'_>) -> Result<(), ProviderError> {
        self.pass().await?;
        let version = request.version.map(ToString::to_string);
        self.changed.lock().unwrap().push((request.change, version));
        Ok(())
    }

    async fn fetch(&self, request: Fetch<'_>) -> Result<Fetched, ProviderError> {
        self.fetches.fetch_add(1, SeqCst);
        self.pass().await?;
        let versions = self.versions.lock().unwrap();
        let index = match request.version {
            None => versions.len() - 1,
            Some(wanted) => (0..versions.len())
                .find(|index| Self::version(*index) == *wanted)
                .ok_or_else(|| ProviderError::new(ErrorClass::Absent, "no such version"))?,
        };
        Ok(Fetched { value: versions[index].clone(), version: Self::version(index), created_at: None })
    }

    fn issuer(&self) -> Option<&dyn Issuer> {
        Some(self)
    }

    async fn check(&self, demands: &[Demand]) -> Vec<Finding> {
        *self.asked.lock().unwrap() = demands.to_vec();
        match self.pass().await {
            Ok(()) => vec![Finding::passed("sign in", "")],
            Err(error) => vec![Finding::failed("sign in", error.to_string(), "mend it")],
        }
    }

    async fn write(&self, request: WriteVersion<'_>) -> Result<VersionId, ProviderError> {
        self.pass().await?;
        let mut versions = self.versions.lock().unwrap();
        versions.push(request.value.clone());
        Ok(Self::version(versions.len() - 1))
    }
}

#[async_trait]
impl Issuer for BackEnd {
    async fn reserve(&self, _role: &str) -> Result<Option<RevocationHandle>, ProviderError> {
        if !self.reserves.load(SeqCst) {
            return Ok(None);
        }
        self.pass().await?;
        let mut reserved = self.reserved.lock().unwrap();
        let name = format!("reservation-{}", reserved.len());
        reserved.insert(name.clone());
        Ok(Some(RevocationHandle::new(SecretBytes::from(name))))
    }

    async fn look_up(&self, handle: &RevocationHandle) -> Result<Option<Timestamp>, ProviderError> {
        self.lookups.fetch_add(1, SeqCst);
        self.pass().await?;
        let name = std::str::from_utf8(handle.expose()).unwrap();
        if self.users.lock().unwrap().contains(name) { Ok(None) } else { Err(gone()) }
    }

    async fn issue(&self, request: IssueCredential<'_>) -> Result<IssuedCredential, ProviderError> {
        let user = format!("lh-{}", request.lease.suffix());
        if *self.failing.lock().unwrap() == Some(ErrorClass::Transient) {
            // The answer is lost, the credential is there.
            self.users.lock().unwrap().insert(user.clone());
        }
        self.pass().await?;
        let turn = self.maker.acquire().await.unwrap();
        drop(turn);
        if let Some(class) = *self.refusing.lock().unwrap() {
            return Err(ProviderError::new(class, "told to refuse"));
        }
        self.users.lock().unwrap().insert(user.clone());
        let revocation = match *self.irrevocable_until.lock().unwrap() {
            Some(end) => Revocation::NoneUntil(end),
            None => Revocation::By(RevocationHandle::new(SecretBytes::from(user.clone()))),
        };
        Ok(IssuedCredential {
            value: two_fields(&user, "canary-2"),
            version: user.parse().unwrap(),
            revocation,
            expires_at: None,
        })
    }

    async fn renew(&self, request: RenewCredential<'_>) -> Result<Timestamp, ProviderError> {
        self.pass().await?;
        *self.wanted.lock().unwrap() = Some(request.until);
        let user = format!("lh-{}", request.lease.suffix());
        let known = !self.forgetful.load(SeqCst) && self.users.lock().unwrap().contains(&user);
        if known { Ok(request.until) } else { Err(gone()) }
    }

    async fn revoke(&self, request: RevokeCredential<'_>) -> Result<Verification, ProviderError> {
        self.pass().await?;
        drop(self.ender.acquire().await.unwrap());
        self.revocations.fetch_add(1, SeqCst);
        let verdict = *self.verdict.lock().unwrap();
        if verdict == Verification::StillValid {
            return Ok(verdict);
        }
        self.users.lock().unwrap().remove(&format!("lh-{}", request.lease.suffix()));
        if let Some(handle) = request.handle {
            self.reserved.lock().unwrap().remove(std::str::from_utf8(handle.expose()).unwrap());
        }
        Ok(verdict)
    }

    async fn tagged(&self) -> Result<Vec<Tagged>, ProviderError> {
        self.listings.fetch_add(1, SeqCst);
        self.pass().await?;
        let tagged = |name: &String| Tagged {
            lease: name.replace("lh-", LeaseId::PREFIX).parse().unwrap(),
            name: name.clone(),
            handle: Some(RevocationHandle::new(SecretBytes::from(name.clone()))),
        };
        Ok(self.users.lock().unwrap().iter().map(tagged).collect())
    }
}

fn gone() -> ProviderError {
    ProviderError::new(ErrorClass::Absent, "it is gone")
}

/// The same person everywhere.
pub(crate) fn spiffe(id: &str) -> SpiffeId {
    id.parse().unwrap()
}
