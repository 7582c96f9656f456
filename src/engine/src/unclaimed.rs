//! Credentials that nobody will ever get: those that an earlier process was making when it ended, and those that were
//! made after their lease had been revoked. What the dead process had sent may arrive after what this one sent: the lease
//! says until when, and is ended once more then. Whatever is forgotten here by a crash, the sweep for orphans finds.

use std::{mem, sync::Arc, sync::PoisonError, time::Duration};

use leasehold_core::{
    Lease, LeaseId,
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
        let mut abandoned = 0_usize;
        let mut outcome = Ok(());
        while let Some(id) = inherited.pop() {
            match self.abandon(id).await {
                Ok(true) => abandoned = abandoned.saturating_add(1),
                Ok(false) => {}
                Err(problem) => {
                    inherited.push(id);
                    outcome = Err(problem);
                    break;
                }
            }
        }
        if abandoned > 0 {
            info!(leases = abandoned, "what was being made when the broker ended is ended");
        }
        self.inherited.lock().unwrap_or_else(PoisonError::into_inner).append(&mut inherited);
        outcome
    }

    /// Says whether there is a credential to end.
    async fn abandon(self: &Arc<Self>, id: LeaseId) -> Result<bool, EngineError> {
        let Some((lease, revision)) = self.load(id).await? else { return Ok(false) };
        if !matches!(lease.state, LeaseState::Pending { .. }) {
            return Ok(false);
        }
        let event = Event::Revoke { cause: Cause::Abandoned };
        match self.advance(&lease, revision, event, self.now(), None).await {
            Ok((next, effects, _)) => {
                self.expect_at(next.due_at());
                if effects.revoke_upstream {
                    self.end_soon(&next, Place::Last);
                }
                Ok(effects.revoke_upstream)
            }
            // Somebody else ends it already.
            Err(EngineError::Conflict | EngineError::Lease(_)) => Ok(false),
            Err(problem) => Err(problem),
        }
    }

    /// Ends a credential that was made when its lease had been revoked already. While the lease is on its way out, it
    /// takes the credential along, durably.
    pub(crate) async fn end_late(self: &Arc<Self>, made: &Lease, event: Event, upstream: &Arc<Upstream>) {
        if !self.answered_late(made.id, event).await {
            tokio::spawn(self.clone().end_stray(made.clone(), upstream.clone()));
        }
    }

    /// Tells a lease that is on its way out what came of its credential; says whether it has heard it.
    pub(crate) async fn answered_late(self: &Arc<Self>, id: LeaseId, event: Event) -> bool {
        loop {
            let outcome = match self.load(id).await {
                Ok(Some((lease, _))) if lease.is_ended() => return false,
                Ok(Some((lease, revision))) => {
                    self.advance(&lease, revision, event.clone(), self.now(), None).await
                }
                Ok(None) => return false,
                Err(problem) => Err(problem),
            };
            match outcome {
                Ok((next, effects, _)) => {
                    self.expect_at(next.due_at());
                    if effects.revoke_upstream {
                        self.end_soon(&next, Place::First);
                    }
                    return true;
                }
                Err(EngineError::Conflict) => {}
                Err(EngineError::Lease(StepError::OutOfPlace)) => return false,
                Err(problem) => {
                    warn!(lease = %id, error = %problem,
                        "it could not be written down what came of a credential after its lease had been revoked");
                    return false;
                }
            }
        }
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
