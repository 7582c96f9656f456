//! RevokeLease: the holder gives a lease back, or an operator takes it.

use std::sync::Arc;

use leasehold_core::{
    Lease,
    access::Action,
    lease::{Cause, Event, LeaseState, StepError},
    record::Kind,
    state::{Commit, Condition, Key},
};

use crate::{access::why, engine::Engine, error::EngineError, request::RevokeLease, shield::shield};

impl Engine {
    /// Ends a lease. To end one that is over already is a success, so that a retry is safe. A dynamic lease comes back
    /// as `revoking`: its credential is dead when it is `revoked`.
    ///
    /// # Errors
    /// As [`EngineError`] says; whatever was decided or failed has been recorded.
    pub async fn revoke_lease(self: &Arc<Self>, request: RevokeLease) -> Result<Lease, EngineError> {
        let engine = self.clone();
        shield(async move {
            match engine.revoke(&request).await {
                Err(EngineError::Conflict) => engine.revoke(&request).await,
                result => result,
            }
        })
        .await
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
        record.kind = match next.state {
            LeaseState::Expired { .. } => Kind::LeaseExpired,
            LeaseState::Revoking { .. } => Kind::LeaseRevoking,
            _ => Kind::LeaseRevoked,
        };
        Self::note_irrevocable(&mut record, &next);
        let commit = Commit {
            record,
            conditions: vec![Condition::Unchanged(Key::lease(lease.id), revision)],
            writes: next.writes(Some(&lease))?,
        };
        let revision = self.ledger.commit(commit).await?;
        if effects.revoke_upstream {
            tokio::spawn(self.clone().end_upstream(next.clone(), revision));
        }
        Ok(next)
    }
}
