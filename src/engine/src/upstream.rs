//! One back end as the engine calls it: with a time limit, a bounded number of calls, and a circuit that opens when it
//! keeps failing, so that one broken back end costs the others nothing.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicUsize},
    time::Duration,
};

use leasehold_core::{
    Lease, Timestamp,
    ports::{Clock, Provider},
    provider::{Capabilities, ErrorClass, ProviderError, ProviderName, RevokeCredential},
    ttl::{after, until},
};
use tokio::sync::Semaphore;

use crate::{engine::Settings, request::ProviderStatus};

/// A back end with its limits.
pub(crate) struct Upstream {
    pub(crate) name: ProviderName,
    pub(crate) provider: Arc<dyn Provider>,
    clock: Arc<dyn Clock>,
    turns: Semaphore,
    waiting: AtomicUsize,
    queue: usize,
    timeout: Duration,
    circuit: Mutex<Circuit>,
}

/// Failures in a row, and until when nothing is asked because of them.
#[derive(Default)]
struct Circuit {
    failures: u32,
    open_until: Option<Timestamp>,
}

const FAILURES_TO_OPEN: u32 = 5;
const LONGEST_OPEN: Duration = Duration::from_secs(30);

impl Upstream {
    pub(crate) fn new(
        name: ProviderName,
        provider: Arc<dyn Provider>,
        clock: Arc<dyn Clock>,
        settings: &Settings,
    ) -> Self {
        Self {
            name,
            provider,
            clock,
            turns: Semaphore::new(settings.provider_concurrency.clamp(1, Semaphore::MAX_PERMITS)),
            waiting: AtomicUsize::new(0),
            queue: settings.provider_queue,
            timeout: settings.provider_timeout,
            circuit: Mutex::new(Circuit::default()),
        }
    }

    /// Makes one call to the back end within the limits.
    pub(crate) async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        self.check_circuit()?;
        let _turn = self.take_turn().await?;
        // Those who went before may have found out meanwhile that it does not answer.
        self.check_circuit()?;
        let result = match tokio::time::timeout(self.timeout, call).await {
            Ok(result) => result,
            Err(_) => Err(ProviderError::new(
                ErrorClass::Transient,
                format!("`{}` did not answer within {:?}", self.name, self.timeout),
            )),
        };
        self.learn(result.as_ref().err());
        result
    }

    /// Ends a lease's credential.
    pub(crate) async fn revoke(&self, lease: &Lease) -> Result<(), ProviderError> {
        let Some(issuer) = self.provider.issuer() else {
            return Err(ProviderError::unsupported("revoke credentials"));
        };
        self.call(issuer.revoke(RevokeCredential { lease: lease.id, handle: lease.handle.as_ref() })).await
    }

    pub(crate) fn capabilities(&self) -> Capabilities {
        self.provider.capabilities()
    }

    pub(crate) fn status(&self) -> ProviderStatus {
        ProviderStatus {
            name: self.name.clone(),
            capabilities: self.capabilities(),
            sign_in: self.provider.sign_in(),
            unavailable: self.check_circuit().err().map(|error| error.to_string()),
        }
    }

    async fn take_turn(&self) -> Result<impl Drop + '_, ProviderError> {
        use std::sync::atomic::Ordering::Relaxed;
        /// Counts a caller for as long as it waits, even if it gives up.
        struct Waiting<'a>(&'a AtomicUsize);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Relaxed);
            }
        }
        let closed = || ProviderError::new(ErrorClass::Transient, "the broker is stopping");
        if let Ok(turn) = self.turns.try_acquire() {
            return Ok(turn);
        }
        let ahead = self.waiting.fetch_add(1, Relaxed);
        let _waiting = Waiting(&self.waiting);
        if ahead >= self.queue {
            let message = format!("too many calls are waiting for `{}`", self.name);
            return Err(
                ProviderError::new(ErrorClass::Throttled, message).retry_after(Some(Duration::from_secs(1)))
            );
        }
        self.turns.acquire().await.map_err(|_| closed())
    }

    fn check_circuit(&self) -> Result<(), ProviderError> {
        let now = self.clock.now();
        let circuit = self.circuit.lock().unwrap_or_else(PoisonError::into_inner);
        match circuit.open_until {
            Some(end) if now < end => Err(ProviderError::new(
                ErrorClass::Transient,
                format!("`{}` has failed {} times in a row and is given a rest", self.name, circuit.failures),
            )
            .retry_after(Some(until(now, end)))),
            _ => Ok(()),
        }
    }

    fn learn(&self, error: Option<&ProviderError>) {
        let mut circuit = self.circuit.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        match error {
            Some(error) if error.class == ErrorClass::Transient => {
                circuit.failures = circuit.failures.saturating_add(1);
                if circuit.failures >= FAILURES_TO_OPEN {
                    let doublings = circuit.failures.saturating_sub(FAILURES_TO_OPEN).min(5);
                    let rest = Duration::from_secs(1).saturating_mul(1 << doublings).min(LONGEST_OPEN);
                    circuit.open_until = Some(after(now, rest));
                }
            }
            // A hint is an order: nothing is asked before it has passed.
            Some(error) if error.class == ErrorClass::Throttled => {
                circuit.open_until = error.retry_after.map(|hint| after(now, hint.min(LONGEST_OPEN)));
            }
            _ => *circuit = Circuit::default(),
        }
    }
}
