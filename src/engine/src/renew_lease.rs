//! RenewLease: the holder moves its lease's end, never past the maximum, and with `accept_rotation` the lease itself to the
//! secret's current version.

use std::sync::Arc;

use leasehold_core::{
    Lease, SecretValue, Timestamp,
    access::Action,
    catalog::Source,
    lease::{Cause, Event, LeaseKind, StepError},
    provider::{ErrorClass, ProviderError, RenewCredential},
    record::{Kind, Record},
    state::{Commit, Condition, Key, Revision},
    ttl::{TtlLimits, after},
};

use crate::{
    access::{Admitted, lending, why},
    cache::Found,
    engine::Engine,
    error::EngineError,
    issue_lease::{describe, select},
    request::{RenewLease, Renewed},
    rotation::Reading,
    upstream::Upstream,
};

/// The current version of the secret of a lease that holds another one.
struct Current {
    found: Found,
    value: SecretValue,
    limits: TtlLimits,
    reading: Reading,
}

impl Engine {
    /// Renews a lease. Policy is asked again: who lost the right to a secret does not keep it by renewing. Whoever accepts
    /// a rotation is given the current version's value, and policy is asked for that, too; when the lease is on that version
    /// already, nothing is disclosed.
    ///
    /// # Errors
    /// As [`EngineError`] says; whatever was decided or failed has been recorded.
    pub async fn renew_lease(self: &Arc<Self>, request: RenewLease) -> Result<Renewed, EngineError> {
        self.shielded(request, Self::renew).await
    }

    async fn renew(self: &Arc<Self>, request: &RenewLease) -> Result<Renewed, EngineError> {
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
        let Admitted { upstream, mut limits, .. } =
            match self.admit(&mut record, Action::RenewLease, &lease.secret, context) {
                Ok(admitted) => admitted,
                Err(why) => return self.deny(record, why).await,
            };
        if lease.kind == LeaseKind::Dynamic
            && let Err(held) = self.unless_on_hold()
        {
            return self.fail(record, held).await;
        }
        let mut current = None;
        if request.accept_rotation && lease.kind == LeaseKind::Static && lease.is_live(now) {
            match Box::pin(self.current(request, &lease, &mut record)).await {
                Ok(found) => current = found,
                Err(NotGiven::Denied(why)) => return self.deny(record, why).await,
                // It is decided anew, and that is recorded.
                Err(NotGiven::Failed(EngineError::Conflict)) => return Err(EngineError::Conflict),
                Err(NotGiven::Failed(error)) => return self.fail(record, error).await,
            }
        }
        if let Some(current) = &current {
            limits = limits.clipped(current.limits.max_ttl());
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
            // There is no more time to be had, but another version.
            Err(StepError::AtMaximum) if current.is_some() => lease.clone(),
            Err(error) => return self.fail(record, error.into()).await,
        };
        let renewed = match &current {
            Some(current) => match moved_to(renewed, &current.found, now) {
                Ok(moved) => moved,
                Err(error) => return self.fail(record, error.into()).await,
            },
            None => renewed,
        };
        match &current {
            Some(current) => describe(&mut record, &renewed, &current.found.cached.tags, now),
            None => record.expires_at = Some(renewed.expires_at),
        }
        let mut conditions = vec![Condition::Unchanged(Key::lease(lease.id), revision)];
        let writes = renewed.writes(Some(&lease))?;
        if let Some(current) = &current
            && !self.rotations.is_as_read(current.reading)
        {
            conditions.extend(self.still_lent(&lease.secret, &current.found.cached.version).await?);
        }
        self.ledger.commit(Commit { record, conditions, writes }).await?;
        Ok(Renewed { lease: renewed, value: current.map(|current| current.value) })
    }

    /// What the lease can be moved to, when it is on another version, and policy lets its holder have that. The record is
    /// then of a move, and of the decision to disclose.
    async fn current(
        self: &Arc<Self>,
        request: &RenewLease,
        lease: &Lease,
        record: &mut Record,
    ) -> Result<Option<Current>, NotGiven> {
        let renewal = record.decision.clone();
        let context = lending(request.ttl, &lease.fields);
        let admitted = self.admit(record, Action::IssueLease, &lease.secret, context);
        if admitted.is_err() {
            record.kind = Kind::LeaseMoved;
        }
        let Admitted { resolved, upstream, limits } = admitted.map_err(NotGiven::Denied)?;
        // What is lent from elsewhere by now is not another version of what this lease is on.
        let Source::Static { reference } = &resolved.entry.source else {
            record.decision = renewal;
            return Ok(None);
        };
        let reading = self.rotations.reading();
        let pinned = self.pinned(&lease.secret);
        let freshness = resolved.entry.freshness;
        let found = self
            .value(&upstream, reference, pinned.as_ref(), freshness, record.time)
            .await
            .map_err(NotGiven::Failed)?;
        if !self.rotations.is_as_read(reading) {
            self.still_lent(&lease.secret, &found.cached.version).await.map_err(NotGiven::Failed)?;
        }
        if lease.version.as_ref() == Some(&found.cached.version) {
            record.decision = renewal;
            return Ok(None);
        }
        let value = select(&found.cached.value, &lease.fields).map_err(NotGiven::Failed)?;
        record.kind = Kind::LeaseMoved;
        if let Some(from) = &lease.version {
            record.details.insert("from_version".to_owned(), from.to_string());
        }
        if let Some(renewal) = renewal {
            record.details.insert("renewal_policies".to_owned(), renewal.policies.join(", "));
        }
        Ok(Some(Current { found, value, limits, reading }))
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
    ) -> Result<Renewed, EngineError> {
        self.end_gone(lease, revision, record.time).await?;
        record.details.insert("cause".to_owned(), Cause::Upstream.name().to_owned());
        self.fail(record, StepError::Revoked.into()).await
    }
}

/// Why a holder is not given the current version.
enum NotGiven {
    Denied(&'static str),
    Failed(EngineError),
}

fn moved_to(lease: Lease, found: &Found, now: Timestamp) -> Result<Lease, StepError> {
    let (mut moved, _) = lease.step(Event::Move { version: found.cached.version.clone() }, now)?;
    moved.stale_since = found.stale_since;
    Ok(moved)
}
