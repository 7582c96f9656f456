//! How a guard lets go: of leases that its holder has switched from, and of everything in the end.

use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use leasehold_core::LeaseId;
use tokio::time::Instant;

use super::{BETWEEN, Broker, Done, Keeper, Older, Span, may_pass};
use crate::{Error, IssuedLease};

/// A guard that is dropped tries for so long to give its leases back.
pub(super) const PARTING: Duration = Duration::from_secs(5);
/// A guard that is closed does so for so long.
pub(super) const CLOSING: Duration = Duration::from_secs(30);

impl<B: Broker> Keeper<B> {
    pub(super) fn switched(&mut self, to: LeaseId, now: Instant) {
        let before = if to == self.held.lease.id {
            self.older.len()
        } else {
            self.older.iter().position(|older| older.id == to).unwrap_or_default()
        };
        for older in self.older.drain(..before).collect::<Vec<_>>() {
            self.give_back_beside(older, now);
        }
    }

    /// Nobody waits for this lease any more.
    pub(super) fn decline(&mut self, issued: &IssuedLease, now: Instant) {
        let ends = Span::new(&issued.lease, now).ends;
        self.give_back_beside(Older { id: issued.lease.id, ends }, now);
    }

    fn give_back_beside(&mut self, older: Older, now: Instant) {
        let patience = older.ends.saturating_duration_since(now);
        let broker = self.broker.clone();
        self.giving_back.push(Box::pin(async move {
            let _ = give_back(broker, older.id, patience).await;
        }));
    }

    /// Gives everything back.
    pub(super) async fn part(self, patience: Duration) -> Result<(), Error> {
        let now = Instant::now();
        let newest = (!self.ended).then_some(Older { id: self.held.lease.id, ends: self.span.ends });
        let each = newest.into_iter().chain(self.older).filter(|older| older.ends > now);
        let each = each.map(|older| give_back(self.broker.clone(), older.id, patience));
        let each: FuturesUnordered<_> = each.collect();
        // A lease that was being asked for would be held by nobody.
        let asked_for = async {
            let Some(work) = self.work else { return Ok(()) };
            match tokio::time::timeout(patience, work).await {
                Ok(Done::Issued { outcome: Ok(issued), .. }) => {
                    give_back(self.broker.clone(), issued.lease.id, patience).await
                }
                _ => Ok(()),
            }
        };
        let rest = async {
            let _ = tokio::time::timeout(patience, self.giving_back.collect::<()>()).await;
        };
        let (each, asked_for, ()) = tokio::join!(each.collect::<Vec<_>>(), asked_for, rest);
        each.into_iter().chain([asked_for]).collect()
    }
}

/// Gives one lease back, trying again while the broker is away.
async fn give_back<B: Broker>(broker: B, lease: LeaseId, patience: Duration) -> Result<(), Error> {
    let deadline = Instant::now().checked_add(patience);
    let mut failures = 0_u32;
    loop {
        let error = match broker.revoke(lease).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        failures = failures.saturating_add(1);
        let wait = BETWEEN.after(failures, broker.chance()).max(error.retry_after().unwrap_or_default());
        let next = Instant::now().checked_add(wait);
        if !may_pass(&error) || deadline.is_none_or(|deadline| next.is_none_or(|next| next >= deadline)) {
            return Err(error);
        }
        tokio::time::sleep(wait).await;
    }
}
