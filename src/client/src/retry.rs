//! Which calls are made again, and when.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::{Error, backoff::Backoff, random::Random, transport::Transport};

/// What may be done a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Everything: the broker knows a repeated call, or it changes nothing.
    Always,
    /// Only what certainly was not done.
    IfNotDone,
}

/// How the calls of one client are made.
#[derive(Clone, Debug)]
pub(crate) struct Calls {
    pub(crate) transport: Transport,
    pub(crate) random: Random,
    pub(crate) limit: Duration,
    pub(crate) retries: bool,
}

const BETWEEN: Backoff = Backoff { first: Duration::from_millis(50), most: Duration::from_secs(2) };

impl Calls {
    /// Makes a call until it is answered, cannot be mended by waiting, or its time is up.
    pub(crate) async fn make<T, F>(&self, repeat: Repeat, mut once: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let begun = Instant::now();
        let mut error = match once().await {
            Err(error) if self.retries && self.may_pass(&error, repeat) => error,
            answered => return answered,
        };
        let Some(deadline) = begun.checked_add(self.limit) else { return Err(error) };
        let mut failures = 1_u32;
        loop {
            if matches!(error, Error::Identity { .. } | Error::Connect(_)) {
                self.transport.nudge();
            }
            let wait =
                BETWEEN.after(failures, self.random.chance()).max(error.retry_after().unwrap_or_default());
            let next = Instant::now().checked_add(wait).filter(|next| *next < deadline);
            let Some(next) = next else { return Err(error) };
            tokio::time::sleep_until(next).await;
            // The last try is cut short by the deadline, and says less about what is wrong than the one before it.
            let Ok(answer) = timeout_at(deadline, once()).await else { return Err(error) };
            error = match answer {
                Err(error) if self.may_pass(&error, repeat) => error,
                answered => return answered,
            };
            failures = failures.saturating_add(1);
        }
    }

    fn may_pass(&self, error: &Error, repeat: Repeat) -> bool {
        match error {
            Error::Connect(fault) => fault.may_pass() || self.transport.reloads(),
            Error::Identity { .. } => self.transport.reloads(),
            error => may_pass(error, repeat),
        }
    }
}

/// Whether the same call may be answered a little later.
fn may_pass(error: &Error, repeat: Repeat) -> bool {
    match (error, error.reason()) {
        (Error::Unavailable { .. }, Some("CONNECTION_IDLE" | "CONNECTION_DISPLACED")) => true,
        (Error::Throttled { retry_after, .. }, _) => retry_after.is_some(),
        (Error::Unavailable { .. }, Some("JOURNAL_FULL")) => false,
        (Error::Unavailable { .. }, _) | (Error::Refused { .. }, Some("CONFLICT")) => {
            repeat == Repeat::Always
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Answer;

    fn answer(reason: &str) -> Answer {
        Answer { reason: Some(reason.into()), ..Answer::default() }
    }

    #[test]
    fn what_passes_by_itself_is_tried_again() {
        let unavailable = |reason| Error::Unavailable { answer: answer(reason) };
        let lost = Error::Unavailable { answer: Answer::default() };
        let slow = |retry_after| Error::Throttled { retry_after, answer: answer("RATE_LIMITED") };
        let cases = [
            (unavailable("BROKER_STOPPING"), true, false),
            (unavailable("CONNECTION_IDLE"), true, true),
            (unavailable("JOURNAL_FULL"), false, false),
            (lost, true, false),
            (slow(Some(Duration::from_secs(1))), true, true),
            (slow(None), false, false),
            (Error::QuotaExceeded { answer: answer("QUOTA_EXCEEDED") }, false, false),
            (Error::Refused { answer: answer("CONFLICT") }, true, false),
            (Error::Refused { answer: answer("LEASE_EXPIRED") }, false, false),
            (Error::Denied { answer: Answer::default() }, false, false),
            (Error::Failed { answer: answer("INTERNAL") }, false, false),
        ];
        for (error, always, if_not_done) in cases {
            assert_eq!(may_pass(&error, Repeat::Always), always, "{error:?}");
            assert_eq!(may_pass(&error, Repeat::IfNotDone), if_not_done, "{error:?}");
        }
    }
}
