//! The time of day, in tests that talk to servers which know it too.

use std::sync::Arc;

use async_trait::async_trait;
use leasehold_core::{Timestamp, ports::Clock};

struct WallClock;

#[async_trait]
impl Clock for WallClock {
    #[expect(clippy::disallowed_methods, reason = "the servers of tests have the machine's clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep_until(&self, _deadline: Timestamp) {}
}

pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(WallClock)
}
