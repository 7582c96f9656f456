//! RetryLease: a person wants the end of a credential tried now.

use std::sync::Arc;

use leasehold_core::{
    Lease,
    access::Action,
    lease::Event,
    record::Kind,
    state::{Commit, Condition, Key},
};

use crate::{
    access::why, endings::Place, engine::Engine, error::EngineError, request::RetryLease, shield::shield,
};

impl Engine {
    /// Tries at once to end the credential of a lease that is on its way out. The answer does not wait for the back end.
    ///
    /// # Errors
    /// [`EngineError::NotRevoking`] of any other lease, and of one whose credential nothing can end; otherwise as
    /// [`EngineError`] says. Whatever was decided or failed has been recorded.
    pub async fn retry_lease(self: &Arc<Self>, request: RetryLease) -> Result<Lease, EngineError> {
        let engine = self.clone();
        shield(async move {
            match engine.retry_now(&request).await {
                Err(EngineError::Conflict) => engine.retry_now(&request).await,
                result => result,
            }
        })
        .await
    }

    async fn retry_now(self: &Arc<Self>, request: &RetryLease) -> Result<Lease, EngineError> {
        let mut record = self.record(Kind::LeaseRevoking, &request.actor);
        let now = record.time;
        record.lease = Some(request.lease);
        record.request_id = request.request_id.clone();
        record.details.insert("retry".to_owned(), "true".to_owned());
        let Some((lease, revision)) = self.load(request.lease).await? else {
            return self.deny(record, why::NO_SUCH_LEASE).await;
        };
        self.authorize_on_lease(&mut record, Action::RevokeLease, &lease).await?;
        record.provider = Some(lease.provider.clone());
        let Ok((next, _)) = lease.clone().step(Event::Retry, now) else {
            return self.fail(record, EngineError::NotRevoking).await;
        };
        if let Err(held) = self.unless_on_hold() {
            return self.fail(record, held).await;
        }
        let conditions = vec![Condition::Unchanged(Key::lease(lease.id), revision)];
        let writes = next.writes(Some(&lease))?;
        self.ledger.commit(Commit { record, conditions, writes }).await?;
        self.end_soon(&next, Place::First);
        Ok(next)
    }
}
