//! ForgetLease: an operator gives up a lease whose credential cannot be ended.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use leasehold_core::{
    Lease,
    access::Action,
    lease::Event,
    record::Kind,
    state::{Commit, Condition, Key},
};
use tracing::error;

use crate::{access::why, engine::Engine, error::EngineError, request::ForgetLease, shield::shield};

impl Engine {
    /// Gives up a lease that is on its way out, although its credential may still work: nobody tries to end it any more.
    ///
    /// # Errors
    /// [`EngineError::NotRevoking`] of any other lease, and of one whose credential ends by itself; otherwise as
    /// [`EngineError`] says. Whatever was decided or failed has been recorded.
    pub async fn forget_lease(self: &Arc<Self>, request: ForgetLease) -> Result<Lease, EngineError> {
        let engine = self.clone();
        shield(async move {
            match engine.forget(&request).await {
                Err(EngineError::Conflict) => engine.forget(&request).await,
                result => result,
            }
        })
        .await
    }

    async fn forget(self: &Arc<Self>, request: &ForgetLease) -> Result<Lease, EngineError> {
        let mut record = self.record(Kind::LeaseForgotten, &request.actor);
        let now = record.time;
        record.lease = Some(request.lease);
        record.request_id = request.request_id.clone();
        record.details.insert("reason".to_owned(), request.reason.clone());
        let Some((lease, revision)) = self.load(request.lease).await? else {
            return self.deny(record, why::NO_SUCH_LEASE).await;
        };
        self.authorize_on_lease(&mut record, Action::ForgetLease, &lease).await?;
        record.provider = Some(lease.provider.clone());
        record.details.insert("was".to_owned(), lease.state.name().to_owned());
        let Ok((next, _)) = lease.clone().step(Event::Forget, now) else {
            return self.fail(record, EngineError::NotRevoking).await;
        };
        if let Err(held) = self.unless_on_hold() {
            return self.fail(record, held).await;
        }
        let conditions = vec![Condition::Unchanged(Key::lease(lease.id), revision)];
        let writes = next.writes(Some(&lease))?;
        self.ledger.commit(Commit { record, conditions, writes }).await?;
        self.revocations.forgotten.fetch_add(1, Relaxed);
        self.expect_at(next.due_at());
        error!(lease = %lease.id, secret = %lease.secret, provider = %lease.provider, actor = %request.actor.id,
            reason = request.reason, "a lease was given up: its credential may still work, and nobody tries to end it");
        Ok(next)
    }
}
