//! How often one call is tried: with full jitter, within one deadline, and as the back end asks.

use std::{future::Future, sync::Arc, time::Duration};

use leasehold_core::ports::Entropy;
use tokio::time::{sleep, timeout};

use crate::{config::AzureConfig, failure::Failure};

/// The limits of one call.
pub(crate) struct Attempts {
    deadline: Duration,
    most: u32,
    entropy: Arc<dyn Entropy>,
}

/// The longest wait that is waited here. Longer hints go to the caller, who has better things to do.
const PATIENCE: Duration = Duration::from_secs(1);
/// The first wait is at most this; each further one at most twice the one before.
const FIRST: Duration = Duration::from_millis(100);

impl Attempts {
    pub(crate) fn of(config: &AzureConfig, entropy: Arc<dyn Entropy>) -> Self {
        Self { deadline: config.timeout, most: config.max_attempts, entropy }
    }

    /// Tries until it works, will never work, or time is up. Only for what may be done twice.
    pub(crate) async fn run<T, F>(&self, mut once: impl FnMut() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let mut last = None;
        let tries = async {
            for tried in 1_u32.. {
                let failure = match once().await {
                    Ok(done) => return Ok(done),
                    Err(failure) => failure,
                };
                let wait = failure.retry_after().unwrap_or_else(|| self.jitter(tried));
                let again = failure.class().is_retryable() && tried < self.most && wait <= PATIENCE;
                if !again {
                    return Err(failure);
                }
                last = Some(failure);
                sleep(wait).await;
            }
            Err(Failure::TooLong)
        };
        let ended = timeout(self.deadline, tries).await;
        ended.unwrap_or_else(|_| Err(last.unwrap_or(Failure::TooLong)))
    }

    /// Between nothing and a bound that doubles. Source: <https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/>.
    fn jitter(&self, tried: u32) -> Duration {
        let bound = FIRST.saturating_mul(2_u32.saturating_pow(tried.saturating_sub(1))).min(PATIENCE);
        let mut random = [0; 4];
        // Without randomness all wait equally long, which is worse and not wrong.
        let share = self
            .entropy
            .fill(&mut random)
            .map_or(1.0, |()| f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX));
        bound.mul_f64(share)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use leasehold_core::ports::NoEntropy;
    use tokio::time::Instant;

    use super::*;
    use crate::answer::Party;

    struct Half;

    impl Entropy for Half {
        fn fill(&self, buffer: &mut [u8]) -> Result<(), NoEntropy> {
            buffer.fill(0x7f);
            Ok(())
        }
    }

    fn attempts(most: u32) -> Attempts {
        Attempts { deadline: Duration::from_secs(9), most, entropy: Arc::new(Half) }
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_again_and_what_will_not_is_not() {
        for (failure, most, tries) in [
            (Failure::Unreachable(Party::Vault), 3, 3),
            (Failure::Cut(Party::Vault), 1, 1),
            (Failure::Challenge, 3, 1),
        ] {
            let tried = Cell::new(0);
            let ended: Result<(), _> = attempts(most)
                .run(async || {
                    tried.set(tried.get() + 1);
                    Err(failure.clone())
                })
                .await;
            assert_eq!((ended, tried.get()), (Err(failure), tries));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waits_are_jittered_and_the_deadline_keeps_the_last_reason() {
        let started = Instant::now();
        let ended: Result<(), _> = attempts(3).run(async || Err(Failure::Unreachable(Party::Vault))).await;
        assert!(ended.is_err());
        let waited = started.elapsed().as_millis();
        assert!((145..155).contains(&waited), "half of 100 ms and half of 200 ms, and it was {waited}");

        let tried = Cell::new(0);
        let ended: Result<(), _> = attempts(3)
            .run(async || {
                tried.set(tried.get() + 1);
                if tried.get() > 1 {
                    std::future::pending::<()>().await;
                }
                Err(Failure::Unreachable(Party::Vault))
            })
            .await;
        assert_eq!(ended, Err(Failure::Unreachable(Party::Vault)));
    }
}
