//! RetryLease: a person wants the end of a credential tried now.

use std::sync::Arc;

use leasehold_core::{Lease, access::Action, lease::Event, record::Kind};

use crate::{endings::Place, engine::Engine, error::EngineError, request::RetryLease};

impl Engine {
    /// Tries at once to end the credential of a lease that is on its way out. The answer does not wait for the back end.
    ///
    /// # Errors
    /// [`EngineError::NotRevoking`] of any other lease, and of one whose credential nothing can end; otherwise as
    /// [`EngineError`] says. Whatever was decided or failed has been recorded.
    pub async fn retry_lease(self: &Arc<Self>, request: RetryLease) -> Result<Lease, EngineError> {
        self.shielded(request, Self::retry_now).await
    }

    async fn retry_now(self: &Arc<Self>, request: &RetryLease) -> Result<Lease, EngineError> {
        let mut record = self.record(Kind::LeaseRevoking, &request.actor);
        record.request_id = request.request_id.clone();
        record.details.insert("retry".to_owned(), "true".to_owned());
        let found = self.load_for(&mut record, Action::RevokeLease, request.lease).await?;
        let next = self.step_on_its_way_out(record, found, Event::Retry).await?;
        self.end_soon(&next, Place::First);
        Ok(next)
    }
}
