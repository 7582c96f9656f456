//! Snapshots made up, for tests.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use leasehold_core::{LeaseId, SecretValue, Timestamp, ports::Clock};

use crate::{
    clock::{self, MachineClock},
    snapshot::{Loan, Snapshot, Standing},
};

/// A clock that stands.
pub(crate) struct Frozen(pub(crate) Timestamp);

#[async_trait]
impl Clock for Frozen {
    fn now(&self) -> Timestamp {
        self.0
    }

    async fn sleep_until(&self, _deadline: Timestamp) {
        std::future::pending().await
    }
}

impl MachineClock for Frozen {
    fn time_of_day(&self) -> Timestamp {
        self.0
    }

    /// The machine's own, which does not stand.
    fn up(&self) -> Duration {
        clock::up()
    }
}

/// A loan of this secret, of version `v1`, until then.
pub(crate) fn loan_of(path: &str, value: SecretValue, until: i64) -> Loan {
    let (lease, until) = (LeaseId::from_bits([7; 16]), Timestamp::from_second(until).unwrap());
    let mut loan = Loan::kept(path.parse().unwrap(), lease, Some("v1".parse().unwrap()), until, value);
    loan.standing = Standing::Fresh;
    loan
}

/// A loan of `prod/db` with the one field `value`, until then.
pub(crate) fn loan(until: i64) -> Loan {
    loan_of("prod/db", SecretValue::plain("canary-7b1e".to_owned()), until)
}

/// All of these, and nothing else wanted.
pub(crate) fn snapshot(loans: &[(&str, Loan)]) -> Snapshot {
    let named = |(name, loan): &(&str, Loan)| (name.parse().unwrap(), Arc::new(loan.clone()));
    Snapshot {
        generation: 1,
        secrets: loans.iter().map(named).collect(),
        wanted: loans.iter().map(|(name, _)| name.parse().unwrap()).collect(),
        ..Snapshot::default()
    }
}
