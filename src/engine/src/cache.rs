//! Values of static secrets in memory, so that a thousand concurrent misses are one upstream call.
//!
//! Explicit limits: an entry is answered without asking for at most its `max_age`, and beyond that only when the back end
//! does not answer, within `max_stale`; all entries together hold at most so many bytes, the least recently used leave
//! first. Values are wiped when they leave. Nothing is ever written to disk.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use leasehold_core::{
    SecretValue, Timestamp,
    catalog::Freshness,
    provider::{ErrorClass, ProviderError, ProviderName},
    record::ValueTag,
    secret::{FieldName, VersionId},
    ttl::{after, until},
};
use tokio::sync::watch;

/// One version of one secret as a back end names them; no version means the current one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CacheKey {
    pub(crate) provider: ProviderName,
    pub(crate) reference: Box<str>,
    pub(crate) version: Option<VersionId>,
}

/// A value at one version.
#[derive(Debug)]
pub(crate) struct Cached {
    pub(crate) value: SecretValue,
    pub(crate) version: VersionId,
    pub(crate) tags: BTreeMap<FieldName, ValueTag>,
    pub(crate) fetched_at: Timestamp,
}

/// A value with whether the back end still stands behind it.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) cached: Arc<Cached>,
    /// Since when the value is past its freshness; the back end did not answer.
    pub(crate) stale_since: Option<Timestamp>,
}

type Outcome = Result<Arc<Cached>, Arc<ProviderError>>;
type Flight = watch::Receiver<Option<Outcome>>;

pub(crate) struct Cache {
    shelf: Mutex<Shelf>,
    limit: usize,
}

#[derive(Default)]
struct Shelf {
    slots: HashMap<CacheKey, Slot>,
    by_use: BTreeMap<u64, CacheKey>,
    uses: u64,
    flights: u64,
    bytes: usize,
}

#[derive(Default)]
struct Slot {
    cached: Option<Arc<Cached>>,
    /// The call that is under way, with its number: one that was overtaken by a write lands for its waiters only.
    flight: Option<(u64, Flight)>,
    /// After a failure with a stale value at hand the back end is not asked again before this.
    rest_until: Option<Timestamp>,
    used: u64,
}

/// How long a failing back end is left alone while a stale value can be answered.
const REST: Duration = Duration::from_secs(1);

impl Cache {
    pub(crate) fn new(limit: usize) -> Self {
        Self { shelf: Mutex::new(Shelf::default()), limit }
    }

    /// The value under `key`, from memory or through `fetch`, which is called once for all who wait.
    pub(crate) async fn get<F>(
        self: &Arc<Self>,
        key: &CacheKey,
        freshness: Freshness,
        now: Timestamp,
        fetch: impl FnOnce() -> F,
    ) -> Result<Found, Arc<ProviderError>>
    where
        F: Future<Output = Result<Cached, ProviderError>> + Send + 'static,
    {
        let mut flight = {
            let mut shelf = self.shelf();
            if let Some(found) = shelf.find(key, freshness, now) {
                return Ok(found);
            }
            shelf.flight(key).unwrap_or_else(|| self.depart(&mut shelf, key.clone(), fetch()))
        };
        let landed = match flight.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => None,
        };
        match landed {
            Some(Ok(cached)) => Ok(Found { cached, stale_since: None }),
            Some(Err(error)) => self.stale(key, freshness, now, &error).ok_or(error),
            None => Err(Arc::new(ProviderError::new(ErrorClass::Transient, "the call was given up"))),
        }
    }

    /// Forgets what is known under this reference, in any version: it was just changed.
    pub(crate) fn invalidate(&self, provider: &ProviderName, reference: &str) {
        let mut shelf = self.shelf();
        let keys: Vec<_> = shelf
            .slots
            .keys()
            .filter(|key| key.provider == *provider && *key.reference == *reference)
            .cloned()
            .collect();
        for key in keys {
            shelf.drop_value(&key);
            // A call that is under way still answers those who wait for it, and finds no slot to land in.
            shelf.slots.remove(&key);
        }
    }

    /// Starts the one call for `key`, on a task of its own: the first caller may hang up, the others still wait.
    fn depart<F>(self: &Arc<Self>, shelf: &mut Shelf, key: CacheKey, fetch: F) -> Flight
    where
        F: Future<Output = Result<Cached, ProviderError>> + Send + 'static,
    {
        let (landing, flight) = watch::channel(None);
        shelf.flights = shelf.flights.wrapping_add(1);
        let number = shelf.flights;
        shelf.slots.entry(key.clone()).or_default().flight = Some((number, flight.clone()));
        let cache = self.clone();
        tokio::spawn(async move {
            let outcome = fetch.await.map(Arc::new).map_err(Arc::new);
            cache.shelf().land(&key, number, &outcome, cache.limit);
            landing.send_replace(Some(outcome));
        });
        flight
    }

    /// What can be answered although the back end did not.
    fn stale(
        &self,
        key: &CacheKey,
        freshness: Freshness,
        now: Timestamp,
        error: &ProviderError,
    ) -> Option<Found> {
        if !error.class.is_retryable() {
            return None;
        }
        let mut shelf = self.shelf();
        let slot = shelf.slots.get_mut(key)?;
        let found = slot.stale(freshness, now)?;
        slot.rest_until = Some(after(now, error.retry_after.unwrap_or(REST)));
        Some(found)
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    fn find(&mut self, key: &CacheKey, freshness: Freshness, now: Timestamp) -> Option<Found> {
        let slot = self.slots.get(key)?;
        let found = slot.fresh(freshness, now).or_else(|| {
            let resting = slot.rest_until.is_some_and(|end| now < end);
            if resting { slot.stale(freshness, now) } else { None }
        })?;
        self.touch(key);
        Some(found)
    }

    fn flight(&self, key: &CacheKey) -> Option<Flight> {
        self.slots.get(key)?.flight.as_ref().map(|(_, flight)| flight.clone())
    }

    fn land(&mut self, key: &CacheKey, number: u64, outcome: &Outcome, limit: usize) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        if slot.flight.as_ref().is_none_or(|(current, _)| *current != number) {
            return;
        }
        slot.flight = None;
        match outcome {
            Ok(cached) => {
                slot.rest_until = None;
                self.drop_value(key);
                self.store(key, cached.clone());
                self.evict(limit);
            }
            // What the back end says is gone or forbidden is not answered from memory either.
            Err(error) if !error.class.is_retryable() => self.drop_value(key),
            Err(_) => {}
        }
        if self.slots.get(key).is_some_and(|slot| slot.cached.is_none()) {
            self.slots.remove(key);
        }
    }

    fn store(&mut self, key: &CacheKey, cached: Arc<Cached>) {
        self.bytes = self.bytes.saturating_add(cached.value.len());
        if let Some(slot) = self.slots.get_mut(key) {
            slot.cached = Some(cached);
        }
        self.touch(key);
    }

    fn touch(&mut self, key: &CacheKey) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        // The newest need not move: under load on one secret this is the common case.
        if slot.used != 0 && slot.used == self.uses {
            return;
        }
        self.by_use.remove(&slot.used);
        self.uses = self.uses.saturating_add(1);
        slot.used = self.uses;
        self.by_use.insert(self.uses, key.clone());
    }

    fn drop_value(&mut self, key: &CacheKey) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        if let Some(cached) = slot.cached.take() {
            self.bytes = self.bytes.saturating_sub(cached.value.len());
        }
        self.by_use.remove(&slot.used);
        slot.used = 0;
    }

    fn evict(&mut self, limit: usize) {
        while self.bytes > limit {
            let Some((_, key)) = self.by_use.pop_first() else { return };
            self.drop_value(&key);
            if self.slots.get(&key).is_some_and(|slot| slot.flight.is_none()) {
                self.slots.remove(&key);
            }
        }
    }
}

impl Slot {
    fn fresh(&self, freshness: Freshness, now: Timestamp) -> Option<Found> {
        let cached = self.cached.as_ref()?;
        let age = until(cached.fetched_at, now);
        (age < freshness.max_age).then(|| Found { cached: cached.clone(), stale_since: None })
    }

    fn stale(&self, freshness: Freshness, now: Timestamp) -> Option<Found> {
        let cached = self.cached.as_ref()?;
        let fresh_until = after(cached.fetched_at, freshness.max_age);
        (now < after(fresh_until, freshness.max_stale))
            .then(|| Found { cached: cached.clone(), stale_since: Some(fresh_until) })
    }
}
