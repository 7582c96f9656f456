//! RenewLease: the holder moves its lease's end, never past the maximum.

use std::sync::Arc;

use leasehold_core::{
    Lease, Timestamp,
    access::Action,
    lease::{Cause, Event, LeaseKind, StepError},
    provider::{ErrorClass, ProviderError, RenewCredential},
    record::{Kind, Record},
    state::{Commit, Condition, Key, Revision},
    ttl::after,
};

use crate::{
    access::{Admitted, lending, why},
    engine::Engine,
    error::EngineError,
    request::RenewLease,
    upstream::Upstream,
};

impl Engine {
    /// Renews a lease. Policy is asked again: who lost the right to a secret does not keep it by renewing.
    ///
    /// # Errors
    /// As [`EngineError`] says; whatever was decided or failed has been recorded.
    pub async fn renew_lease(self: &Arc<Self>, request: RenewLease) -> Result<Lease, EngineError> {
        self.shielded(request, Self::renew).await
    }

    async fn renew(self: &Arc<Self>, request: &RenewLease) -> Result<Lease, EngineError> {
        let mut record = self.record(Kind::LeaseRenewed, &request.actor);
        let now = record.time;
        record.lease = Some(request.lease);
        record.request_id = request.request_id.clone();
        let Some((lease, revision)) = self.load(request.lease).await? else {
            return self.deny(record, why::NO_SUCH_LEASE).await;
        };
        if lease.holder != request.actor.id {
            return self.deny(record, why::NOT_THE_HOLDER).await;
        }
        record.secret = Some(lease.secret.clone());
        record.version.clone_from(&lease.version);
        let context = lending(request.ttl, &lease.fields);
        let Admitted { upstream, limits, .. } =
            match self.admit(&mut record, Action::RenewLease, &lease.secret, context) {
                Ok(admitted) => admitted,
                Err(why) => return self.deny(record, why).await,
            };
        if lease.kind == LeaseKind::Dynamic
            && let Err(held) = self.unless_on_hold()
        {
            return self.fail(record, held).await;
        }
        // Limits that were tightened since the issue hold from now on.
        let latest = after(lease.issued_at, limits.max_ttl()).min(lease.max_expires_at);
        // Back ends count a renewal from now on: one for less than is left would take time away from the credential.
        let until = limits.term(request.ttl, now).expires_at.min(latest).max(lease.expires_at);
        let until = match self.renew_upstream(&lease, &upstream, until).await {
            Ok(granted) => granted,
            Err(error) if error.class == ErrorClass::Absent => {
                return self.gone(record, &lease, revision).await;
            }
            Err(error) => return self.fail(record, EngineError::Provider(Arc::new(error))).await,
        };
        let renewed = match lease.clone().step(Event::Renew { until }, now) {
            Ok((renewed, _)) => renewed,
            Err(error) => return self.fail(record, error.into()).await,
        };
        record.expires_at = Some(renewed.expires_at);
        let commit = Commit {
            record,
            conditions: vec![Condition::Unchanged(Key::lease(lease.id), revision)],
            writes: renewed.writes(Some(&lease))?,
        };
        self.ledger.commit(commit).await?;
        Ok(renewed)
    }

    /// The end that the back end grants; of a static value the broker alone decides.
    async fn renew_upstream(
        &self,
        lease: &Lease,
        upstream: &Upstream,
        until: Timestamp,
    ) -> Result<Timestamp, ProviderError> {
        match (&lease.handle, lease.kind) {
            (Some(handle), LeaseKind::Dynamic) if lease.is_live(self.now()) => {
                let Some(issuer) = upstream.provider.issuer() else {
                    return Err(ProviderError::unsupported("renew credentials").of(&upstream.name));
                };
                let request = RenewCredential { lease: lease.id, handle, until };
                Ok(upstream.call(issuer.renew(request)).await?.min(until))
            }
            _ => Ok(until),
        }
    }

    /// The back end has ended the credential: so has the lease, whatever time it had left.
    async fn gone(
        self: &Arc<Self>,
        mut record: Record,
        lease: &Lease,
        revision: Revision,
    ) -> Result<Lease, EngineError> {
        self.end_gone(lease, revision, record.time).await?;
        record.details.insert("cause".to_owned(), Cause::Upstream.name().to_owned());
        self.fail(record, StepError::Revoked.into()).await
    }
}
