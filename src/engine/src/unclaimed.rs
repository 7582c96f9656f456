//! Credentials that nobody will ever get: those that an earlier process was making when it ended, and those that were
//! made after their lease had been revoked. Whatever is forgotten here by a crash, the sweep for orphans finds.

use std::{mem, sync::Arc, sync::PoisonError, time::Duration};

use leasehold_core::{
    Lease, LeaseId, Timestamp,
    lease::{Cause, Event, LeaseState, StepError},
    provider::{RevokeCredential, Verification},
    ttl::after,
};
use tracing::{error, info, warn};

use crate::{endings::Place, engine::Engine, error::EngineError, upstream::Upstream};

/// The first pause between attempts to end a stray credential; each one in vain doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

impl Engine {
    /// Ends what an earlier process left half made, without waiting until it would be taken for abandoned.
    pub(crate) async fn abandon_inherited(self: &Arc<Self>) -> Result<(), EngineError> {
        let mut inherited = mem::take(&mut *self.inherited.lock().unwrap_or_else(PoisonError::into_inner));
        let mut abandoned = Vec::new();
        let mut outcome = Ok(());
        while let Some(id) = inherited.pop() {
            match self.abandon(id).await {
                Ok(lease) => abandoned.extend(lease),
                Err(problem) => {
                    inherited.push(id);
                    outcome = Err(problem);
                    break;
                }
            }
        }
        if !abandoned.is_empty() {
            info!(leases = abandoned.len(), "what was being made when the broker ended is ended");
            tokio::spawn(self.clone().end_again(abandoned));
        }
        self.inherited.lock().unwrap_or_else(PoisonError::into_inner).append(&mut inherited);
        outcome
    }

    /// The intent as it was, with the time until which its credential may still come to be.
    async fn abandon(self: &Arc<Self>, id: LeaseId) -> Result<Option<(Lease, Timestamp)>, EngineError> {
        let Some((lease, revision)) = self.load(id).await? else { return Ok(None) };
        let LeaseState::Pending { until } = lease.state else { return Ok(None) };
        let event = Event::Revoke { cause: Cause::Abandoned };
        match self.advance(&lease, revision, event, self.now(), None).await {
            Ok((next, effects, _)) => {
                self.expect_at(next.due_at());
                if effects.revoke_upstream {
                    self.end_soon(&next, Place::Last);
                }
                Ok(effects.revoke_upstream.then_some((lease, until)))
            }
            // Somebody else ends it already.
            Err(EngineError::Conflict | EngineError::Lease(_)) => Ok(None),
            Err(problem) => Err(problem),
        }
    }

    /// What the dead process had sent may arrive after what this one sent: when no call of that time can be under way any
    /// more, whatever has come to be is ended once more.
    async fn end_again(self: Arc<Self>, abandoned: Vec<(Lease, Timestamp)>) {
        for (lease, until) in abandoned {
            while self.now() < until {
                self.clock.sleep_until(until).await;
            }
            let Some(upstream) = self.upstreams.get(&lease.provider) else { continue };
            if let Err(problem) = upstream.revoke(&lease).await {
                warn!(lease = %lease.id, provider = %lease.provider, error = %problem,
                    "whether a credential came to be after its broker had ended is not known: the sweep for orphans looks");
            }
        }
    }

    /// Ends a credential that was made when its lease had been revoked already. While the lease is on its way out, it
    /// takes the credential along, durably.
    pub(crate) async fn end_late(self: &Arc<Self>, made: &Lease, event: Event, upstream: &Arc<Upstream>) {
        loop {
            let outcome = match self.load(made.id).await {
                Ok(Some((lease, _))) if lease.is_ended() => break,
                Ok(Some((lease, revision))) => {
                    self.advance(&lease, revision, event.clone(), self.now(), None).await
                }
                Ok(None) => break,
                Err(problem) => Err(problem),
            };
            match outcome {
                Ok((next, effects, _)) => {
                    self.expect_at(next.due_at());
                    if effects.revoke_upstream {
                        self.end_soon(&next, Place::First);
                    }
                    return;
                }
                Err(EngineError::Conflict) => {}
                Err(EngineError::Lease(StepError::OutOfPlace)) => break,
                Err(problem) => {
                    warn!(lease = %made.id, error = %problem,
                        "it could not be written down that a credential was made after its lease had been revoked");
                    break;
                }
            }
        }
        tokio::spawn(self.clone().end_stray(made.clone(), upstream.clone()));
    }

    /// Ends a credential whose lease is over. There is nothing to retry it from but this task, and the sweep for orphans.
    async fn end_stray(self: Arc<Self>, made: Lease, upstream: Arc<Upstream>) {
        let mut problem = match made.irrevocable_until {
            Some(end) => format!("nothing can end it before {end}"),
            None => String::new(),
        };
        let attempts = if made.irrevocable_until.is_some() { 0 } else { self.settings.revoke_attempts };
        let mut pause = FIRST_PAUSE;
        for _ in 0..attempts {
            let request = RevokeCredential { lease: made.id, handle: made.handle.as_ref() };
            match upstream.end(request).await {
                Ok(Verification::Verified | Verification::Unverifiable) => return,
                Ok(Verification::StillValid) => {
                    problem = "the back end says that it ended it, and it still works".to_owned();
                }
                Err(error) => problem = error.to_string(),
            }
            let next = after(self.now(), pause);
            while self.now() < next {
                self.clock.sleep_until(next).await;
            }
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
        error!(lease = %made.id, secret = %made.secret, provider = %made.provider, error = %problem,
            "a credential was made after its lease had been revoked, and could not be ended");
    }
}
