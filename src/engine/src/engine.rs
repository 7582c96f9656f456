//! What the use cases share: the ports, the settings, the catalog in force.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock, atomic::AtomicI64},
    time::Duration,
};

use leasehold_core::{
    CallId, LeaseId, SecretPath, Timestamp,
    catalog::{Catalog, Resolved},
    ports::{Authorizer, Clock, Entropy, Ledger, Provider, ValueMac},
    provider::ProviderName,
    record::Actor,
};
use tokio::sync::{Notify, watch};

use crate::{
    cache::Cache,
    desk::Desk,
    endings::Endings,
    error::EngineError,
    known_holders::KnownHolders,
    request::Held,
    resting::Resting,
    revocation::Revocations,
    rotation::{RotationParts, Rotations},
    tally::{Tallied, Tally},
    upstream::Upstream,
    watch_leases::LeaseWatchers,
    watch_secret::SecretWatchers,
};

/// The broker's use cases.
pub struct Engine {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    /// Through it, the tally learns which leases end.
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) mac: Arc<dyn ValueMac>,
    pub(crate) upstreams: BTreeMap<ProviderName, Arc<Upstream>>,
    pub(crate) settings: Settings,
    pub(crate) broker: Actor,
    pub(crate) making: crate::idempotency::Making,
    pub(crate) cache: Arc<Cache>,
    pub(crate) known_holders: KnownHolders,
    pub(crate) lease_watchers: Desk<LeaseWatchers>,
    pub(crate) secret_watchers: Desk<SecretWatchers>,
    pub(crate) endings: Endings,
    pub(crate) revocations: Revocations,
    pub(crate) rotations: Rotations,
    pub(crate) rotation_parts: RotationParts,
    pub(crate) resting: Resting,
    /// Since when and why nothing is ended.
    pub(crate) hold: watch::Sender<Option<Held>>,
    /// The leases whose credentials an earlier process may have been making when it ended.
    pub(crate) inherited: Mutex<Vec<LeaseId>>,
    catalog: RwLock<Arc<Catalog>>,
    /// When the reconciler will look next, in milliseconds of the Unix epoch: whoever makes something due before that
    /// lowers it and wakes the reconciler. While it looks, the soonest that others have made due meanwhile.
    pub(crate) next_look: AtomicI64,
    pub(crate) wake: Notify,
}

/// What an engine is made of.
pub struct Parts {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness for the ids of leases and revocations, and for nothing that is secret.
    pub entropy: Arc<dyn Entropy>,
    /// The durable state.
    pub ledger: Arc<dyn Ledger>,
    /// Who may do what.
    pub authorizer: Arc<dyn Authorizer>,
    /// By which values are recognised in records.
    pub mac: Arc<dyn ValueMac>,
    /// The back ends.
    pub providers: BTreeMap<ProviderName, Arc<dyn Provider>>,
    /// The limits of those that have their own.
    pub provider_limits: BTreeMap<ProviderName, ProviderLimits>,
    /// The secrets.
    pub catalog: Catalog,
    /// The limits.
    pub settings: Settings,
    /// As whom the broker itself acts.
    pub broker: Actor,
    /// What rotation needs.
    pub rotation: RotationParts,
}

/// The engine's limits. Each has a default that suits a small machine.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How many bytes of secret values the cache may hold.
    pub cache_bytes: usize,
    /// What every provider gets that has no limits of its own.
    pub provider: ProviderLimits,
    /// How long the intent of a dynamic lease stands before it is taken for abandoned.
    pub pending_timeout: Duration,
    /// How often the revocation of a credential is tried before the lease is quarantined.
    pub revoke_attempts: u32,
    /// How often it is tried from then on.
    pub quarantine_retry: Duration,
    /// How long a request id is remembered.
    pub request_memory: Duration,
    /// How many leases a principal may have.
    pub leases_per_principal: u64,
    /// How many leases there may be on a secret that has no limit of its own.
    pub leases_per_secret: u64,
    /// How many secrets of one provider are rotated at once.
    pub rotations_at_once: usize,
    /// Over how long rotations are spread whose time came unseen.
    pub rotation_catch_up: Duration,
}

/// How much one provider is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProviderLimits {
    /// How many calls may be under way at once.
    pub max_calls: usize,
    /// How many more may wait for their turn before callers are told to come back.
    pub max_queue: usize,
    /// How long one call may take, and how long one may wait for its turn.
    pub call_timeout: Duration,
    /// How often the credentials of live leases are looked up, to see what was ended without the broker; zero is never.
    pub upstream_check: Duration,
    /// How often it is asked for orphans, where it can list what it made; zero is never.
    pub orphan_sweep: Duration,
    /// How long an orphan is left alone after this process saw it first.
    pub orphan_grace: Duration,
    /// How many leases there may be whose secrets are there; `None` for any number.
    pub max_leases: Option<u64>,
}

impl Default for ProviderLimits {
    fn default() -> Self {
        Self {
            max_calls: 64,
            max_queue: 1024,
            call_timeout: Duration::from_secs(10),
            upstream_check: Duration::from_secs(300),
            orphan_sweep: Duration::from_secs(3600),
            orphan_grace: Duration::from_secs(600),
            max_leases: None,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cache_bytes: 16 << 20,
            provider: ProviderLimits::default(),
            pending_timeout: Duration::from_secs(60),
            revoke_attempts: 10,
            quarantine_retry: Duration::from_secs(600),
            request_memory: Duration::from_secs(600),
            leases_per_principal: 10_000,
            leases_per_secret: 1_000_000,
            rotations_at_once: 4,
            rotation_catch_up: Duration::from_secs(300),
        }
    }
}

impl Engine {
    /// An engine over these parts. It does nothing by itself until [`Engine::reconcile`] runs.
    pub fn new(parts: Parts) -> Arc<Self> {
        let settings = parts.settings;
        let resting = Resting::default();
        let upstreams = parts
            .providers
            .into_iter()
            .map(|(name, provider)| {
                let limits = parts.provider_limits.get(&name).copied().unwrap_or(settings.provider);
                let upstream =
                    Upstream::new(name.clone(), provider, parts.clock.clone(), limits, resting.clone());
                (name, Arc::new(upstream))
            })
            .collect();
        let tally = Arc::new(Tally::of_what_is_there());
        let rotations = Rotations::default();
        Arc::new(Self {
            clock: parts.clock,
            entropy: parts.entropy,
            ledger: Arc::new(Tallied::new(parts.ledger, tally.clone(), rotations.draining.clone())),
            tally,
            authorizer: parts.authorizer,
            mac: parts.mac,
            upstreams,
            settings,
            broker: parts.broker,
            making: crate::idempotency::Making::default(),
            cache: Arc::new(Cache::new(settings.cache_bytes)),
            known_holders: KnownHolders::default(),
            lease_watchers: Desk::default(),
            secret_watchers: Desk::default(),
            endings: Endings::default(),
            revocations: Revocations::default(),
            rotations,
            rotation_parts: parts.rotation,
            resting,
            hold: watch::Sender::new(None),
            inherited: Mutex::default(),
            catalog: RwLock::new(Arc::new(parts.catalog)),
            next_look: AtomicI64::new(i64::MAX),
            wake: Notify::new(),
        })
    }

    /// The broker's time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Puts another catalog in force: for requests that come from now on.
    pub fn replace_catalog(&self, catalog: Catalog) {
        *self.catalog.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(catalog);
        self.rotations.timetable.catalog_replaced();
    }

    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        self.catalog.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The secret's entry with its back end; `None` when either is not configured.
    pub(crate) fn resolve(&self, path: &SecretPath) -> Option<(Resolved, Arc<Upstream>)> {
        let resolved = self.catalog().resolve(path)?;
        let upstream = self.upstreams.get(&resolved.entry.provider)?.clone();
        Some((resolved, upstream))
    }

    /// A name for one call; none when there is no randomness, which does not fail the call.
    pub fn new_call_id(&self) -> Option<CallId> {
        let mut bits = [0; 16];
        self.entropy.fill(&mut bits).ok()?;
        Some(CallId::from_bits(bits))
    }

    pub(crate) fn new_lease_id(&self) -> Result<LeaseId, EngineError> {
        let mut bits = [0; 16];
        self.entropy.fill(&mut bits)?;
        Ok(LeaseId::from_bits(bits))
    }

    /// Wakes the reconciler when `due` comes before its next look.
    pub(crate) fn expect_at(&self, due: Timestamp) {
        use std::sync::atomic::Ordering::Relaxed;
        let due = due.as_millisecond();
        // Looked at before it is written to: most leases are due later than the next look, and come by the thousand.
        if due < self.next_look.load(Relaxed) && due < self.next_look.fetch_min(due, Relaxed) {
            self.wake.notify_one();
        }
    }
}
