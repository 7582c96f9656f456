//! The time of day, for the ends of leases.

use std::time::Duration;

use async_trait::async_trait;
use leasehold_core::{Timestamp, ports::Clock};

/// This machine's time of day. The one place that asks for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// Nobody sleeps longer in one piece: that the clock was set, or the machine slept, is noticed by then.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        let left = deadline.duration_since(self.now());
        tokio::time::sleep(Duration::try_from(left).unwrap_or_default().min(LONGEST_SLEEP)).await;
    }
}
