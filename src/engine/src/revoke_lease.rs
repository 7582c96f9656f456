//! RevokeLease: the holder gives a lease back, or an operator takes it.

use std::sync::Arc;

use leasehold_core::{
    Lease,
    access::Action,
    lease::{Cause, Effects, Event, LeaseState, StepError},
    record::{Kind, Record},
    state::{Commit, Condition, Key, Revision, Write},
};

use crate::{
    access::why, endings::Place, engine::Engine, error::EngineError, request::RevokeLease,
    rotation::Consequence,
};

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
    /// What it does to its secret.
    pub(crate) consequence: Option<Consequence>,
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
        if request.rotate {
            self.may_have_it_rotated(&record, &lease).await?;
        }
        let cause = if own { Cause::Holder } else { Cause::Operator };
        let (next, effects) = match lease.clone().step(Event::Revoke { cause }, now) {
            Ok(step) => step,
            Err(StepError::Revoked | StepError::Revoking | StepError::Expired) => {
                record.details.insert("already".to_owned(), lease.state.name().to_owned());
                return self.note_over(request, record, lease).await;
            }
            Err(error) => return self.fail(record, error.into()).await,
        };
        if let Err(held) = self.unless_on_hold() {
            return self.fail(record, held).await;
        }
        // Who gives back what it holds is no reason to make it worthless, nor is an end whose time has come.
        let taken = !own && !matches!(next.state, LeaseState::Expired { .. });
        let consequence = if taken || request.rotate {
            let asked_by = request.rotate.then_some(&request.actor.id);
            self.consequence_of(&lease, asked_by, now).await?
        } else {
            None
        };
        let ending = Ending { record, next, effects, place: Place::First, also: None, consequence };
        self.end(ending, &lease, revision).await
    }

    /// Writes down that a lease was over already. Whoever wants its secret rotated wants that no less.
    async fn note_over(
        &self,
        request: &RevokeLease,
        mut record: Record,
        lease: Lease,
    ) -> Result<Lease, EngineError> {
        let asked_by = Some(&request.actor.id).filter(|_| request.rotate);
        let consequence = match asked_by {
            Some(_) => self.consequence_of(&lease, asked_by, record.time).await?,
            None => None,
        };
        let Some(consequence) = consequence else {
            self.ledger.commit(Commit::record_only(record)).await?;
            return Ok(lease);
        };
        consequence.note(&mut record);
        let Consequence { condition, writes, not_before } = consequence;
        self.ledger.commit(Commit { record, conditions: vec![condition], writes }).await?;
        self.expect_rotation(&lease.secret, not_before);
        Ok(lease)
    }

    /// Makes the end of a lease, or its beginning, durable, and goes on with it at the back end.
    pub(crate) async fn end(
        self: &Arc<Self>,
        ending: Ending,
        lease: &Lease,
        revision: Revision,
    ) -> Result<Lease, EngineError> {
        let Ending { mut record, mut next, effects, place, also, consequence } = ending;
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
        let mut conditions = vec![Condition::Unchanged(Key::lease(lease.id), revision)];
        let rotation = consequence.map(|consequence| {
            consequence.note(&mut record);
            conditions.push(consequence.condition);
            writes.extend(consequence.writes);
            consequence.not_before
        });
        self.ledger.commit(Commit { record, conditions, writes }).await?;
        if let Some(not_before) = rotation {
            self.expect_rotation(&lease.secret, not_before);
        }
        if effects.revoke_upstream {
            self.end_soon(&next, place);
        }
        Ok(next)
    }
}
