//! RevokeLease: the holder gives a lease back, or an operator takes it.

use std::sync::Arc;

use leasehold_core::{
    Lease,
    access::Action,
    lease::{Cause, Effects, Event, LeaseState, StepError},
    record::{Kind, Record},
    state::{Commit, Condition, Key, Revision, Write},
};

use crate::{access::why, endings::Place, engine::Engine, error::EngineError, request::RevokeLease};

/// The end of a lease that was decided.
pub(crate) struct Ending {
    /// Who wants it and why; its kind follows from what the lease becomes.
    pub(crate) record: Record,
    /// What the lease becomes.
    pub(crate) next: Lease,
    /// What is to be done then.
    pub(crate) effects: Effects,
    /// Whether somebody waits for this one.
    pub(crate) place: Place,
    /// What else becomes durable with it.
    pub(crate) also: Option<Write>,
}

impl Engine {
    /// Ends a lease. To end one that is over already is a success, so that a retry is safe. A dynamic lease comes back
    /// as `revoking`: its credential is dead when it is `revoked`.
    ///
    /// # Errors
    /// As [`EngineError`] says; whatever was decided or failed has been recorded.
    pub async fn revoke_lease(self: &Arc<Self>, request: RevokeLease) -> Result<Lease, EngineError> {
        self.shielded(request, Self::revoke).await
    }

    async fn revoke(self: &Arc<Self>, request: &RevokeLease) -> Result<Lease, EngineError> {
        let mut record = self.record(Kind::LeaseRevoked, &request.actor);
        let now = record.time;
        record.lease = Some(request.lease);
        record.request_id = request.request_id.clone();
        if let Some(reason) = &request.reason {
            record.details.insert("reason".to_owned(), reason.clone());
        }
        let Some((lease, revision)) = self.load(request.lease).await? else {
            return self.deny(record, why::NO_SUCH_LEASE).await;
        };
        let own = lease.holder == request.actor.id;
        if own {
            record.secret = Some(lease.secret.clone());
            record.version.clone_from(&lease.version);
        } else {
            self.authorize_on_lease(&mut record, Action::RevokeLease, &lease).await?;
        }
        let cause = if own { Cause::Holder } else { Cause::Operator };
        let (next, effects) = match lease.clone().step(Event::Revoke { cause }, now) {
            Ok(step) => step,
            Err(StepError::Revoked | StepError::Revoking | StepError::Expired) => {
                record.details.insert("already".to_owned(), lease.state.name().to_owned());
                self.ledger.commit(Commit::record_only(record)).await?;
                return Ok(lease);
            }
            Err(error) => return self.fail(record, error.into()).await,
        };
        if let Err(held) = self.unless_on_hold() {
            return self.fail(record, held).await;
        }
        self.end(Ending { record, next, effects, place: Place::First, also: None }, &lease, revision).await
    }

    /// Makes the end of a lease, or its beginning, durable, and goes on with it at the back end.
    pub(crate) async fn end(
        self: &Arc<Self>,
        ending: Ending,
        lease: &Lease,
        revision: Revision,
    ) -> Result<Lease, EngineError> {
        let Ending { mut record, mut next, effects, place, also } = ending;
        record.kind = match next.state {
            LeaseState::Expired { .. } => Kind::LeaseExpired,
            LeaseState::Revoking { .. } => Kind::LeaseRevoking,
            _ => Kind::LeaseRevoked,
        };
        Self::note_irrevocable(&mut record, &next);
        if effects.revoke_upstream && place == Place::Last {
            self.claim_for_the_wait(&mut next, record.time);
        }
        let mut writes = next.writes(Some(lease))?;
        writes.extend(also);
        let conditions = vec![Condition::Unchanged(Key::lease(lease.id), revision)];
        self.ledger.commit(Commit { record, conditions, writes }).await?;
        if effects.revoke_upstream {
            self.end_soon(&next, place);
        }
        Ok(next)
    }
}
