//! How far this machine's clock is from AWS's, as its answers' `Date` headers show.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use aws_sdk_secretsmanager::{
    config::{
        ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeDeserializationInterceptorContextRef,
    },
    error::BoxError,
};
use leasehold_core::ports::Clock;

/// The last difference that was seen, by all its clones.
#[derive(Clone)]
pub(crate) struct Skew {
    clock: Arc<dyn Clock>,
    ahead: Arc<AtomicI64>,
}

/// More than this is said; AWS takes a request that is five minutes off.
const WORTH_SAYING: i64 = 60;

impl Skew {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, ahead: Arc::default() }
    }

    /// What is worth saying of it, such as `ahead of AWS's by 7min 3s`.
    pub(crate) fn worth_saying(&self) -> Option<String> {
        let ahead = self.ahead.load(Ordering::Relaxed);
        let side = if ahead > 0 { "ahead of" } else { "behind" };
        let by = ahead.unsigned_abs();
        let (minutes, seconds) = (by.checked_div(60)?, by.checked_rem(60)?);
        (by > WORTH_SAYING.unsigned_abs()).then(|| format!("{side} AWS's by {minutes} min {seconds} s"))
    }

    fn note(&self, date: &str) {
        // The fixed form of RFC 9110, section 5.6.7, is one of RFC 2822.
        if let Ok(theirs) = jiff::fmt::rfc2822::parse(date) {
            let ahead = self.clock.now().as_second().saturating_sub(theirs.timestamp().as_second());
            self.ahead.store(ahead, Ordering::Relaxed);
        }
    }
}

impl Intercept for Skew {
    fn name(&self) -> &'static str {
        "clock skew"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(date) = context.response().headers().get("date") {
            self.note(date);
        }
        Ok(())
    }
}

impl std::fmt::Debug for Skew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Skew").field("ahead", &self.ahead).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use leasehold_core::Timestamp;

    use super::*;

    struct Noon;

    #[async_trait]
    impl Clock for Noon {
        fn now(&self) -> Timestamp {
            "2026-11-22T12:00:00Z".parse().unwrap()
        }

        async fn sleep_until(&self, _deadline: Timestamp) {}
    }

    #[test]
    fn a_clock_that_is_off_is_told_by_how_much() {
        let skew = Skew::new(Arc::new(Noon));
        for (date, said) in [
            ("Sun, 22 Nov 2026 12:00:59 GMT", None),
            ("Sun, 22 Nov 2026 11:52:57 GMT", Some("ahead of AWS's by 7 min 3 s")),
            ("Sun, 22 Nov 2026 13:00:00 GMT", Some("behind AWS's by 60 min 0 s")),
            ("yesterday", Some("behind AWS's by 60 min 0 s")),
        ] {
            skew.note(date);
            assert_eq!(skew.worth_saying().as_deref(), said, "{date}");
        }
    }
}
