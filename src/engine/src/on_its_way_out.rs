//! What a person does about a lease that is on its way out, and whose credential does not end by itself.

use std::sync::Arc;

use leasehold_core::{
    Lease, LeaseId,
    access::Action,
    lease::Event,
    record::Record,
    state::{Commit, Condition, Key, Revision},
};

use crate::{access::why, engine::Engine, error::EngineError};

impl Engine {
    /// Somebody's lease, for whom policy allows `action` on its secret; the record says whose it is.
    pub(crate) async fn load_for(
        &self,
        record: &mut Record,
        action: Action,
        id: LeaseId,
    ) -> Result<(Lease, Revision), EngineError> {
        record.lease = Some(id);
        let Some((lease, revision)) = self.load(id).await? else {
            return self.deny(record.clone(), why::NO_SUCH_LEASE).await;
        };
        self.authorize_on_lease(record, action, &lease).await?;
        record.provider = Some(lease.provider.clone());
        Ok((lease, revision))
    }

    /// Makes durable what `event` makes of a lease that is on its way out; any other lease is refused, and on hold every one.
    pub(crate) async fn step_on_its_way_out(
        self: &Arc<Self>,
        record: Record,
        (lease, revision): (Lease, Revision),
        event: Event,
    ) -> Result<Lease, EngineError> {
        let Ok((next, _)) = lease.clone().step(event, record.time) else {
            return self.fail(record, EngineError::NotRevoking).await;
        };
        if let Err(held) = self.unless_on_hold() {
            return self.fail(record, held).await;
        }
        let conditions = vec![Condition::Unchanged(Key::lease(lease.id), revision)];
        let writes = next.writes(Some(&lease))?;
        self.ledger.commit(Commit { record, conditions, writes }).await?;
        Ok(next)
    }
}
