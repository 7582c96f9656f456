//! How often a principal may ask, and how many requests may be under way: decided when a request's headers are here,
//! before it is read and before policy is asked.
//!
//! What is turned away is counted and not written down each time, or a flood would fill the disk: the journal gets one
//! record for each principal and minute.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use governor::{
    Quota, RateLimiter, clock::Clock, middleware::NoOpMiddleware, state::keyed::HashMapStateStore,
};
use leasehold_core::{SpiffeId, record::Actor};
use leasehold_engine::{Engine, EngineError};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

/// What the limits are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Of everybody who does what workloads do.
    pub workloads: Rate,
    /// Of everybody who does what operators do.
    pub operators: Rate,
}

/// The limits of one kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests a second of one principal.
    pub per_second: NonZeroU32,
    /// How many of them may come at once after a pause.
    pub burst: NonZeroU32,
    /// How many may be under way, all principals' together.
    pub in_flight: usize,
}

/// Who asks what how often.
pub struct RateLimits {
    workloads: Gate,
    operators: Gate,
    /// Who was turned away since the last records.
    limited: Mutex<HashMap<SpiffeId, Limited>>,
}

/// What kind of request it is: by what is asked, not by who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// What workloads do.
    Workload,
    /// What operators do.
    Operator,
}

/// One request that is under way.
pub(super) struct Pass {
    limits: Arc<RateLimits>,
    kind: Kind,
    principal: SpiffeId,
}

struct Gate {
    each: RateLimiter<SpiffeId, HashMapStateStore<SpiffeId>, Monotonic, NoOpMiddleware<Duration>>,
    rate: (&'static str, AtomicU64),
    in_flight: usize,
    under_way: AtomicUsize,
    shares: Option<Shares>,
    load: (&'static str, AtomicU64),
}

/// How many requests that are under way are whose, where each may take long: so that nobody has all the room.
struct Shares {
    each: usize,
    taken: Mutex<HashMap<SpiffeId, usize>>,
}

struct Limited {
    actor: Actor,
    counts: HashMap<&'static str, u64>,
}

/// tokio's clock, which tests can pause, since the limits were made.
#[derive(Clone, Copy, Debug)]
struct Monotonic(Instant);

/// How often the journal is told who was turned away, and the idle are forgotten.
const PERIOD: Duration = Duration::from_secs(60);
/// So many principals are told of in one period; the others are counted all the same.
const MOST_TOLD: usize = 4096;
/// Of what operators ask, one principal has at most this part under way: a look over everything that there is takes long,
/// also for those who see nothing of it.
const SHARE: usize = 4;
/// When to come again while too many requests are under way.
const SOON: Duration = Duration::from_secs(1);

const fn rate(per_second: u32, burst: u32, in_flight: usize) -> Rate {
    const fn positive(n: u32) -> NonZeroU32 {
        match NonZeroU32::new(n) {
            Some(n) => n,
            None => NonZeroU32::MIN,
        }
    }
    Rate { per_second: positive(per_second), burst: positive(burst), in_flight }
}

impl Default for Rates {
    fn default() -> Self {
        Self { workloads: rate(200, 2_000, 10_000), operators: rate(100, 1_000, 256) }
    }
}

impl RateLimits {
    /// Limits that nobody has come near yet.
    pub fn new(rates: Rates) -> Arc<Self> {
        let workloads = ["limits.requests_per_principal", "limits.requests_in_flight"];
        let operators = ["limits.operator_requests_per_principal", "limits.operator_requests_in_flight"];
        Arc::new(Self {
            workloads: Gate::new(rates.workloads, workloads, None),
            operators: Gate::new(rates.operators, operators, Some(Shares::of(rates.operators.in_flight))),
            limited: Mutex::default(),
        })
    }

    /// Lets a request in, or says why not and when to come again.
    pub(super) fn admit(self: &Arc<Self>, kind: Kind, actor: &Actor) -> Result<Pass, EngineError> {
        let gate = self.gate(kind);
        match gate.enter(&actor.id) {
            Ok(()) => Ok(Pass { limits: self.clone(), kind, principal: actor.id.clone() }),
            Err((limit, retry_after)) => {
                self.remember(actor, limit);
                Err(EngineError::RateLimited { limit, retry_after })
            }
        }
    }

    /// How many requests were turned away, by the limits that forbade them.
    pub fn totals(&self) -> [(&'static str, u64); 4] {
        let (workloads, operators) = (&self.workloads, &self.operators);
        [&workloads.rate, &workloads.load, &operators.rate, &operators.load]
            .map(|(limit, count)| (*limit, count.load(Relaxed)))
    }

    /// Tells the journal who was turned away, until the broker ends.
    pub(super) async fn report(self: Arc<Self>, engine: Arc<Engine>, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow_and_update() {
            tokio::select! {
                () = sleep(PERIOD) => {}
                changed = stop.changed() => if changed.is_err() { return },
            }
            self.workloads.each.retain_recent();
            self.operators.each.retain_recent();
            let limited = std::mem::take(&mut *self.lock());
            for Limited { actor, counts } in limited.into_values() {
                for (limit, requests) in counts {
                    tracing::warn!(principal = %actor.id, limit, requests, "requests were turned away");
                    if let Err(error) = engine.note_limited(actor.clone(), limit, requests).await {
                        tracing::warn!(%error, "the journal has no record of it");
                    }
                }
            }
        }
    }

    fn gate(&self, kind: Kind) -> &Gate {
        match kind {
            Kind::Workload => &self.workloads,
            Kind::Operator => &self.operators,
        }
    }

    fn remember(&self, actor: &Actor, limit: &'static str) {
        let mut limited = self.lock();
        if !limited.contains_key(&actor.id) {
            if limited.len() >= MOST_TOLD {
                return;
            }
            limited.insert(actor.id.clone(), Limited { actor: actor.clone(), counts: HashMap::new() });
        }
        if let Some(found) = limited.get_mut(&actor.id) {
            let count = found.counts.entry(limit).or_default();
            *count = count.saturating_add(1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SpiffeId, Limited>> {
        self.limited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    fn new(rate: Rate, [rate_name, load_name]: [&'static str; 2], shares: Option<Shares>) -> Self {
        let quota = Quota::per_second(rate.per_second).allow_burst(rate.burst);
        Self {
            each: RateLimiter::hashmap_with_clock(quota, Monotonic(Instant::now())),
            rate: (rate_name, AtomicU64::new(0)),
            in_flight: rate.in_flight,
            under_way: AtomicUsize::new(0),
            shares,
            load: (load_name, AtomicU64::new(0)),
        }
    }

    fn enter(&self, principal: &SpiffeId) -> Result<(), (&'static str, Duration)> {
        if let Err(not_until) = self.each.check_key(principal) {
            self.rate.1.fetch_add(1, Relaxed);
            return Err((self.rate.0, not_until.wait_time_from(self.each.clock().now())));
        }
        if self.shares.as_ref().is_some_and(|shares| !shares.take(principal)) {
            self.load.1.fetch_add(1, Relaxed);
            return Err((self.load.0, SOON));
        }
        if self.under_way.fetch_add(1, Relaxed) >= self.in_flight {
            self.leave(principal);
            self.load.1.fetch_add(1, Relaxed);
            return Err((self.load.0, SOON));
        }
        Ok(())
    }

    fn leave(&self, principal: &SpiffeId) {
        self.under_way.fetch_sub(1, Relaxed);
        if let Some(shares) = &self.shares {
            shares.give_back(principal);
        }
    }
}

impl Shares {
    fn of(in_flight: usize) -> Self {
        Self { each: in_flight.div_ceil(SHARE), taken: Mutex::default() }
    }

    fn take(&self, principal: &SpiffeId) -> bool {
        let mut taken = self.lock();
        let own = taken.get(principal).copied().unwrap_or_default();
        if own >= self.each {
            return false;
        }
        taken.insert(principal.clone(), own.saturating_add(1));
        true
    }

    fn give_back(&self, principal: &SpiffeId) {
        let mut taken = self.lock();
        match taken.get_mut(principal) {
            Some(own) if *own > 1 => *own = own.saturating_sub(1),
            _ => drop(taken.remove(principal)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SpiffeId, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.limits.gate(self.kind).leave(&self.principal);
    }
}

impl Clock for Monotonic {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: Rates = Rates { workloads: rate(10, 3, 2), operators: rate(1, 1, 1) };

    fn actor(name: &str) -> Actor {
        Actor::internal(format!("spiffe://example.org/{name}").parse().unwrap())
    }

    /// Lets it in and out at once; else says by which limit and for how long it must wait.
    fn ask(limits: &Arc<RateLimits>, kind: Kind, name: &str) -> Result<(), (&'static str, Duration)> {
        match limits.admit(kind, &actor(name)) {
            Ok(_) => Ok(()),
            Err(EngineError::RateLimited { limit, retry_after }) => Err((limit, retry_after)),
            Err(other) => panic!("{other}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_then_one_as_often_as_the_rate_says() {
        let limits = RateLimits::new(RATES);
        for _ in 0..3 {
            ask(&limits, Kind::Workload, "a").unwrap();
        }
        let (limit, wait) = ask(&limits, Kind::Workload, "a").unwrap_err();
        assert_eq!((limit, wait), ("limits.requests_per_principal", Duration::from_millis(100)));
        // Others, and what is asked of the other service, are not concerned.
        ask(&limits, Kind::Workload, "b").unwrap();
        ask(&limits, Kind::Operator, "a").unwrap();
        let (limit, wait) = ask(&limits, Kind::Operator, "a").unwrap_err();
        assert_eq!((limit, wait), ("limits.operator_requests_per_principal", Duration::from_secs(1)));
        tokio::time::advance(wait / 10).await;
        ask(&limits, Kind::Workload, "a").unwrap();
        ask(&limits, Kind::Workload, "a").unwrap_err();
        // What is refused costs nothing: whoever waits as told gets in.
        tokio::time::advance(Duration::from_millis(100)).await;
        ask(&limits, Kind::Workload, "a").unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_are_under_way_and_no_more() {
        let limits = RateLimits::new(RATES);
        let first = limits.admit(Kind::Workload, &actor("a")).unwrap();
        let _second = limits.admit(Kind::Workload, &actor("b")).unwrap();
        assert_eq!(ask(&limits, Kind::Workload, "c"), Err(("limits.requests_in_flight", SOON)));
        ask(&limits, Kind::Operator, "c").unwrap();
        drop(first);
        ask(&limits, Kind::Workload, "c").unwrap();
        assert_eq!(limits.totals().map(|(_, count)| count), [0, 1, 0, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_principal_leaves_room_for_others_among_what_operators_ask() {
        let limits = RateLimits::new(Rates { operators: rate(100, 100, 6), ..RATES });
        let enter = |name| limits.admit(Kind::Operator, &actor(name));
        let first = enter("a").unwrap();
        let _second = enter("a").unwrap();
        for _ in 0..10 {
            assert_eq!(ask(&limits, Kind::Operator, "a"), Err(("limits.operator_requests_in_flight", SOON)));
        }
        let others: Vec<_> = ["b", "c", "d", "e"].map(|name| enter(name).unwrap()).into();
        assert!(enter("f").is_err(), "there is no more room at all");
        drop(others);
        drop(first);
        drop(enter("a").unwrap());
        let shares = limits.operators.shares.as_ref().unwrap();
        assert_eq!(shares.lock().values().copied().collect::<Vec<_>>(), [1], "who left is forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_been_idle_is_forgotten_and_nobody_who_owes() {
        let limits = RateLimits::new(RATES);
        for name in ["a", "b", "c"] {
            ask(&limits, Kind::Workload, name).unwrap();
        }
        tokio::time::advance(Duration::from_secs(60)).await;
        for _ in 0..3 {
            ask(&limits, Kind::Workload, "d").unwrap();
        }
        limits.workloads.each.retain_recent();
        assert_eq!(limits.workloads.each.len(), 1);
        ask(&limits, Kind::Workload, "d").unwrap_err();
    }
}
