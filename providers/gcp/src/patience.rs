//! How often and how long Google Cloud is asked: within a deadline, again only where that is safe, and as it hints.

use std::{future::Future, sync::Arc, time::Duration};

use leasehold_core::ports::Entropy;
use tokio::time::{Instant, sleep, timeout};

use crate::error::{Call, Cause, Failure};

/// The rules for one provider's calls.
pub(crate) struct Patience {
    pub(crate) attempt: Duration,
    pub(crate) total: Duration,
    pub(crate) attempts: u32,
    pub(crate) entropy: Arc<dyn Entropy>,
}

/// The first pause is up to this; each next one up to twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest wait, asked for by Google Cloud, that is waited here. Longer hints go to the caller, who has better
/// things to do.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Patience {
    /// Makes a call, and makes it again where that may help.
    pub(crate) async fn ask<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        call: Call,
        subject: &str,
        mut make: impl FnMut() -> F,
    ) -> Result<T, Failure> {
        let began = Instant::now();
        let mut made = 0_u32;
        let mut signed_in_again = false;
        loop {
            made = made.saturating_add(1);
            let one = timeout(self.attempt, make());
            let answer = timeout(self.total.saturating_sub(began.elapsed()), one)
                .await
                .map_err(|_| ())
                .and_then(|one| one.map_err(|_| ()));
            let failure = match answer {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(failure)) => failure,
                Err(()) => Failure::late(call, subject),
            };
            let pause = match failure.cause {
                // The token may have ended or been withdrawn: the next attempt has a new one.
                Cause::Unauthenticated { .. } if !signed_in_again => {
                    signed_in_again = true;
                    Some(Duration::ZERO)
                }
                _ if !call.is_safe() || made >= self.attempts || !failure.error.class.is_retryable() => None,
                Cause::Untrusted | Cause::SignIn => None,
                _ => match failure.error.retry_after {
                    Some(hint) => (hint <= LONGEST_PAUSE).then_some(hint),
                    None => Some(self.jittered(made)),
                },
            };
            match pause {
                Some(pause) if began.elapsed().saturating_add(pause) < self.total => sleep(pause).await,
                _ => return Err(failure),
            }
        }
    }

    /// Full jitter: anything from nothing to the pause of this attempt.
    fn jittered(&self, made: u32) -> Duration {
        let most =
            FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(made.saturating_sub(1))).min(LONGEST_PAUSE);
        let mut byte = [u8::MAX];
        // Without randomness the whole pause is waited.
        let _ = self.entropy.fill(&mut byte);
        let [byte] = byte;
        most.saturating_mul(u32::from(byte)).checked_div(u32::from(u8::MAX)).unwrap_or(most)
    }
}
