//! ForgetLease: an operator gives up a lease whose credential cannot be ended.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use leasehold_core::{Lease, access::Action, lease::Event, record::Kind};
use tracing::error;

use crate::{engine::Engine, error::EngineError, request::ForgetLease};

impl Engine {
    /// Gives up a lease that is on its way out, although its credential may still work: nobody tries to end it any more.
    ///
    /// # Errors
    /// [`EngineError::NotRevoking`] of any other lease, and of one whose credential ends by itself; otherwise as
    /// [`EngineError`] says. Whatever was decided or failed has been recorded.
    pub async fn forget_lease(self: &Arc<Self>, request: ForgetLease) -> Result<Lease, EngineError> {
        self.shielded(request, Self::forget).await
    }

    async fn forget(self: &Arc<Self>, request: &ForgetLease) -> Result<Lease, EngineError> {
        let mut record = self.record(Kind::LeaseForgotten, &request.actor);
        record.request_id = request.request_id.clone();
        record.details.insert("reason".to_owned(), request.reason.clone());
        let (lease, revision) = self.load_for(&mut record, Action::ForgetLease, request.lease).await?;
        record.details.insert("was".to_owned(), lease.state.name().to_owned());
        let next = self.step_on_its_way_out(record, (lease, revision), Event::Forget).await?;
        self.revocations.forgotten.fetch_add(1, Relaxed);
        self.expect_at(next.due_at());
        error!(lease = %next.id, secret = %next.secret, provider = %next.provider, actor = %request.actor.id,
            reason = request.reason, "a lease was given up: its credential may still work, and nobody tries to end it");
        Ok(next)
    }
}
