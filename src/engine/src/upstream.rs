//! One back end as the engine calls it: with a time limit, a bounded number of calls, and a circuit that opens when it
//! keeps failing, so that one broken back end costs the others nothing.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use leasehold_core::{
    Lease, Timestamp,
    ports::{Clock, Provider},
    provider::{
        Capabilities, ErrorClass, ProviderError, ProviderName, RevokeCredential, Tagged, Verification,
    },
    ttl::until,
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};
use tracing::{info, warn};

use crate::{
    circuit::{Circuit, Leave, Refusal},
    engine::ProviderLimits,
    orphans::Known,
    request::{CallCounts, CircuitState, EndingCounts, ProviderStatus},
    resting::Resting,
};

/// A back end with its limits.
pub(crate) struct Upstream {
    pub(crate) name: ProviderName,
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) limits: ProviderLimits,
    clock: Arc<dyn Clock>,
    turns: Semaphore,
    /// Ending credentials takes at most half of the turns: when many end at once, whoever wants one does not wait for all.
    endings: Semaphore,
    /// A check is a person's, and one at a time is enough.
    pub(crate) checks: Semaphore,
    waiting: AtomicUsize,
    circuit: Mutex<Circuit>,
    resting: Resting,
    counts: Counts,
    /// What is known of its orphans; whoever sweeps it holds this.
    pub(crate) orphans: tokio::sync::Mutex<Known>,
}

/// How long the ending of a credential waits behind others: shorter than [`Lease::ATTEMPT`], so that nobody else tries
/// meanwhile.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Counts {
    calls: AtomicU64,
    failures: AtomicU64,
    throttled: AtomicU64,
    turned_away: AtomicU64,
    circuit_opened: AtomicU64,
    orphans: AtomicU64,
    orphans_revoked: AtomicU64,
    orphans_failed: AtomicU64,
    still_valid: AtomicU64,
}

impl Upstream {
    pub(crate) fn new(
        name: ProviderName,
        provider: Arc<dyn Provider>,
        clock: Arc<dyn Clock>,
        limits: ProviderLimits,
        resting: Resting,
    ) -> Self {
        let turns = limits.max_calls.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            name,
            provider,
            limits,
            clock,
            turns: Semaphore::new(turns),
            endings: Semaphore::new((turns / 2).max(1)),
            checks: Semaphore::new(1),
            waiting: AtomicUsize::new(0),
            circuit: Mutex::new(Circuit::default()),
            resting,
            counts: Counts::default(),
            orphans: tokio::sync::Mutex::default(),
        }
    }

    /// Makes one call to the back end within the limits. Whatever goes wrong names the back end.
    pub(crate) async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        let (turn, under_way) = match self.begin().await {
            Ok(begun) => begun,
            Err(error) => {
                self.counts.turned_away.fetch_add(1, Relaxed);
                return Err(error.of(&self.name));
            }
        };
        self.counts.calls.fetch_add(1, Relaxed);
        let result = match timeout(self.limits.call_timeout, call).await {
            Ok(result) => result,
            Err(_) => Err(ProviderError::new(
                ErrorClass::Transient,
                format!("`{}` did not answer within {:?}", self.name, self.limits.call_timeout),
            )),
        };
        under_way.ended(result.as_ref().err());
        drop(turn);
        result.map_err(|error| error.of(&self.name))
    }

    /// Ends a lease's credential.
    pub(crate) async fn revoke(&self, lease: &Lease) -> Result<Verification, ProviderError> {
        self.end(RevokeCredential { lease: lease.id, handle: lease.handle.as_ref() }).await
    }

    /// Ends a credential.
    pub(crate) async fn end(&self, request: RevokeCredential<'_>) -> Result<Verification, ProviderError> {
        let Some(issuer) = self.provider.issuer() else {
            return Err(ProviderError::unsupported("revoke credentials").of(&self.name));
        };
        let Ok(Ok(_turn)) = timeout(LONGEST_WAIT, self.endings.acquire()).await else {
            return Err(self.busy().of(&self.name));
        };
        let ended = self.call(issuer.revoke(request)).await;
        if matches!(ended, Ok(Verification::StillValid)) {
            self.counts.still_valid.fetch_add(1, Relaxed);
        }
        ended
    }

    /// What carries the broker's tag there.
    pub(crate) async fn tagged(&self) -> Result<Vec<Tagged>, ProviderError> {
        let Some(issuer) = self.provider.issuer() else {
            return Err(ProviderError::unsupported("list the credentials made for the broker").of(&self.name));
        };
        self.call(issuer.tagged()).await
    }

    /// How many orphans the last sweep left.
    pub(crate) fn note_orphans(&self, left: usize) {
        self.counts.orphans.store(u64::try_from(left).unwrap_or(u64::MAX), Relaxed);
    }

    /// Whether an orphan was ended, or could not be.
    pub(crate) fn note_orphan_ended(&self, ended: bool) {
        let count = if ended { &self.counts.orphans_revoked } else { &self.counts.orphans_failed };
        count.fetch_add(1, Relaxed);
    }

    /// Notes that a value of a secret works on although it was retired.
    pub(crate) fn note_still_valid(&self) {
        self.counts.still_valid.fetch_add(1, Relaxed);
    }

    /// How many credentials are ended at once at most.
    pub(crate) fn endings_at_once(&self) -> usize {
        (self.limits.max_calls / 2).max(1)
    }

    fn busy(&self) -> ProviderError {
        let message = format!("too many calls are waiting for `{}`", self.name);
        ProviderError::new(ErrorClass::Throttled, message).retry_after(Some(Duration::from_secs(1)))
    }

    pub(crate) fn capabilities(&self) -> Capabilities {
        self.provider.capabilities()
    }

    pub(crate) fn status(&self) -> ProviderStatus {
        let now = self.clock.now();
        let (refusal, circuit) = {
            let circuit = self.circuit();
            (circuit.refusal(now), circuit.state(now))
        };
        ProviderStatus {
            name: self.name.clone(),
            capabilities: self.capabilities(),
            sign_in: self.provider.sign_in(),
            unavailable: refusal.map(|refusal| self.refused(refusal, now).to_string()),
            circuit,
            calls: self.counts.read(),
            waiting: self.waiting.load(Relaxed),
            endings: self.counts.endings(),
        }
    }

    /// Waits for a turn, and for the circuit to let it through.
    async fn begin(&self) -> Result<(SemaphorePermit<'_>, UnderWay<'_>), ProviderError> {
        let now = self.clock.now();
        let refusal = self.circuit().refusal(now);
        if let Some(refusal) = refusal {
            return Err(self.refused(refusal, now));
        }
        let turn = self.take_turn().await?;
        // Those who went before may have found out meanwhile that it does not answer.
        let now = self.clock.now();
        let leave = self.circuit().admit(now).map_err(|refusal| self.refused(refusal, now))?;
        Ok((turn, UnderWay { upstream: self, leave: Some(leave) }))
    }

    async fn take_turn(&self) -> Result<SemaphorePermit<'_>, ProviderError> {
        /// Counts a caller for as long as it waits, even if it gives up.
        struct Waiting<'a>(&'a AtomicUsize);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Relaxed);
            }
        }
        if let Ok(turn) = self.turns.try_acquire() {
            return Ok(turn);
        }
        let ahead = self.waiting.fetch_add(1, Relaxed);
        let _waiting = Waiting(&self.waiting);
        if ahead >= self.limits.max_queue {
            return Err(self.busy());
        }
        match timeout(self.limits.call_timeout, self.turns.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) => Err(ProviderError::new(ErrorClass::Transient, "the broker is stopping")),
            Err(_) => Err(self.busy()),
        }
    }

    fn refused(&self, refusal: Refusal, now: Timestamp) -> ProviderError {
        let (name, left) = (&self.name, |end| Some(until(now, end)));
        match refusal {
            Refusal::Resting { until, failures } => {
                let message = format!("`{name}` has failed {failures} times in a row and is given a rest");
                ProviderError::new(ErrorClass::Transient, message).retry_after(left(until))
            }
            Refusal::Probing { failures } => {
                let message = format!("`{name}` has failed {failures} times in a row and is being tried");
                ProviderError::new(ErrorClass::Transient, message).retry_after(Some(Duration::from_secs(1)))
            }
            Refusal::Throttled { until } => {
                let message = format!("`{name}` was asked too often and wants to be left alone");
                ProviderError::new(ErrorClass::Throttled, message).retry_after(left(until))
            }
        }
    }

    fn learn(&self, leave: Leave, error: Option<&ProviderError>) {
        let now = self.clock.now();
        match error.map(|error| error.class) {
            Some(ErrorClass::Transient) => drop(self.counts.failures.fetch_add(1, Relaxed)),
            Some(ErrorClass::Throttled) => drop(self.counts.throttled.fetch_add(1, Relaxed)),
            _ => {}
        }
        let (opened, answers_again) = {
            let mut circuit = self.circuit();
            let before = circuit.state(now);
            let opened = circuit.learn(leave, error, now);
            let open_until = circuit.open_until();
            let answers_again = !opened && before != CircuitState::Closed && open_until.is_none();
            // Told with the circuit in hand, so that of two changes the later one is told last.
            if opened || answers_again {
                self.resting.tell(&self.name, open_until);
            }
            (opened, answers_again)
        };
        if opened {
            self.counts.circuit_opened.fetch_add(1, Relaxed);
            let why = error.map(ToString::to_string).unwrap_or_default();
            warn!(provider = %self.name, error = why, "a back end keeps failing and is given a rest");
        } else if answers_again {
            info!(provider = %self.name, "a back end answers again");
        }
    }

    fn circuit(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that the circuit let through: how it went is learnt, even when it is given up.
struct UnderWay<'a> {
    upstream: &'a Upstream,
    leave: Option<Leave>,
}

impl UnderWay<'_> {
    fn ended(mut self, error: Option<&ProviderError>) {
        if let Some(leave) = self.leave.take() {
            self.upstream.learn(leave, error);
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(leave) = self.leave.take() {
            self.upstream.circuit().give_up(leave, self.upstream.clock.now());
        }
    }
}

impl Counts {
    fn read(&self) -> CallCounts {
        CallCounts {
            calls: self.calls.load(Relaxed),
            failures: self.failures.load(Relaxed),
            throttled: self.throttled.load(Relaxed),
            turned_away: self.turned_away.load(Relaxed),
            circuit_opened: self.circuit_opened.load(Relaxed),
        }
    }

    fn endings(&self) -> EndingCounts {
        EndingCounts {
            orphans: self.orphans.load(Relaxed),
            orphans_revoked: self.orphans_revoked.load(Relaxed),
            orphans_failed: self.orphans_failed.load(Relaxed),
            still_valid: self.still_valid.load(Relaxed),
        }
    }
}
