//! After a clock that was ahead has been taken back: leases that were issued at times which are yet to come.

use std::sync::Arc;

use leasehold_core::{
    Lease, Timestamp,
    lease::{Cause, Event, LeaseState},
    state::{KeyRange, Revision},
    ttl::after,
};
use tokio::task::coop;

use crate::{endings::Place, engine::Engine, error::EngineError};

const PAGE: usize = 256;

impl Engine {
    /// Ends every lease that was issued later than now, since nobody can say how long it has lived, and tries the end of
    /// credentials again whose next attempt has moved away. Answers how many leases it ended; on hold, none. For the start,
    /// before the reconciler runs.
    ///
    /// # Errors
    /// When the ledger cannot be used.
    pub async fn end_what_is_yet_to_come(self: &Arc<Self>) -> Result<u64, EngineError> {
        if self.held().is_some() {
            return Ok(0);
        }
        let (now, mut range, mut ended) = (self.now(), KeyRange::leases(), 0_u64);
        loop {
            let page = self.ledger.scan(&range, PAGE).await?;
            for entry in &page {
                coop::consume_budget().await;
                let lease = Lease::decode(&entry.value)?;
                if let Some(event) = self.missing_event(&lease, now) {
                    ended = ended.saturating_add(u64::from(matches!(event, Event::Revoke { .. })));
                    self.set_right(&lease, entry.revision, event, now).await?;
                }
            }
            match page.last() {
                Some(last) if page.len() == PAGE => range = range.after(&last.key),
                _ => return Ok(ended),
            }
        }
    }

    fn missing_event(&self, lease: &Lease, now: Timestamp) -> Option<Event> {
        match lease.state {
            LeaseState::Pending { .. } | LeaseState::Active => {
                (lease.issued_at > now).then_some(Event::Revoke { cause: Cause::Operator })
            }
            LeaseState::Revoking { next_try, .. } | LeaseState::Quarantined { next_try, .. } => {
                let longest = after(now, self.settings.quarantine_retry.saturating_mul(2));
                (lease.irrevocable_until.is_none() && next_try > longest).then_some(Event::Retry)
            }
            _ => None,
        }
    }

    async fn set_right(
        self: &Arc<Self>,
        lease: &Lease,
        revision: Revision,
        event: Event,
        now: Timestamp,
    ) -> Result<(), EngineError> {
        match self.advance(lease, revision, event, now, None).await {
            Ok((next, effects, _)) => {
                if effects.revoke_upstream {
                    self.end_soon(&next, Place::Last);
                }
                Ok(())
            }
            Err(EngineError::Conflict | EngineError::Lease(_)) => Ok(()),
            Err(problem) => Err(problem),
        }
    }
}
