//! Revoke means rotate: what the revocation of a static lease has done to its secret, durable together with it.

use leasehold_core::{
    Lease, SpiffeId, Timestamp,
    access::Action,
    lease::LeaseKind,
    record::{Kind, Record},
    rotation::{Event, Rotation, Stage, Why},
    secret::VersionId,
    state::{Condition, Write},
    ttl::after,
};

use crate::{
    access::{Context, why},
    engine::Engine,
    error::EngineError,
    rotation::rotation_writes,
};

/// What goes into the commit that ends a lease, so that its secret is rotated.
pub(crate) struct Consequence {
    /// That nobody else has changed the rotation meanwhile.
    pub(crate) condition: Condition,
    /// The wish.
    pub(crate) writes: Vec<Write>,
    /// When it may begin.
    pub(crate) not_before: Timestamp,
}

impl Consequence {
    /// Says in the record of the lease's end what it does to the secret.
    pub(crate) fn note(&self, record: &mut Record) {
        let wanted = format!("wanted not before {}", self.not_before);
        record.details.insert("rotation".to_owned(), wanted);
    }
}

impl Engine {
    /// Asks policy whether whoever takes a lease away may have its secret rotated, when it is one that can be. A denial, or
    /// a secret that is not rotated, is recorded and returned before anything is done.
    pub(crate) async fn may_have_it_rotated(
        &self,
        record: &Record,
        lease: &Lease,
    ) -> Result<(), EngineError> {
        if lease.kind != LeaseKind::Static {
            return Ok(());
        }
        let mut record = Record { kind: Kind::RotationRequested, ..record.clone() };
        let decision = self.decide_on(&record.actor, Action::RotateSecret, &lease.secret, Context::new());
        let allowed = decision.is_allowed();
        record.decision = Some(decision);
        if !allowed {
            let own = lease.holder == record.actor.id;
            let denied =
                if own { self.deny(record, why::POLICY) } else { self.deny_silently(record, why::POLICY) };
            return denied.await;
        }
        match self.plan_of(&lease.secret) {
            Some(_) => Ok(()),
            None => self.fail(record, EngineError::NotRotated).await,
        }
    }

    /// What the revocation of a lease by somebody else than its holder has done to its secret: what `asked_by` asked for,
    /// else what the configuration says. Nothing when the version is replaced anyway, or is current no longer.
    pub(crate) async fn consequence_of(
        &self,
        lease: &Lease,
        asked_by: Option<&SpiffeId>,
        now: Timestamp,
    ) -> Result<Option<Consequence>, EngineError> {
        let (LeaseKind::Static, Some(version)) = (lease.kind, &lease.version) else { return Ok(None) };
        let Some(plan) = self.plan_of(&lease.secret) else { return Ok(None) };
        if asked_by.is_none() && plan.on_revoke.is_none() {
            return Ok(None);
        }
        let (before, revision) = self.rotation(&lease.secret).await?;
        if is_on_its_way_out(&before, version) {
            return Ok(None);
        }
        let (why, not_before) = match asked_by {
            Some(by) => (Why::Request { by: by.clone() }, now),
            None => {
                let rested = before.current.as_ref().zip(plan.on_revoke);
                let rested = rested.map_or(now, |(current, cool_down)| after(current.made_at, cool_down));
                (Why::Revocation, rested.max(now))
            }
        };
        // A person's wish is decided already; another one may be denied when its time comes.
        let is_wanted = before.wanted.as_ref().is_some_and(|wanted| {
            wanted.not_before <= not_before
                && (asked_by.is_none() || matches!(wanted.why, Why::Request { .. }))
        });
        if is_wanted {
            return Ok(None);
        }
        let next = before.clone().step(Event::Want { why, not_before }, now)?;
        let (condition, writes) = rotation_writes(&before, revision, &next)?;
        Ok(Some(Consequence { condition, writes, not_before }))
    }
}

/// Whether holders of the version have to move anyway, or had to.
fn is_on_its_way_out(rotation: &Rotation, version: &VersionId) -> bool {
    if let Some(course) = &rotation.course
        && !matches!(course.stage, Stage::Discarding | Stage::Reverting)
    {
        // A rotation back makes the version current again that it calls new.
        return course.new.as_ref() != Some(version);
    }
    rotation
        .current
        .as_ref()
        .is_some_and(|current| current.version != *version && !current.twins.contains(version))
}

#[cfg(test)]
mod tests {
    use leasehold_core::rotation::{Plan, Strategy};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn version(id: &str) -> VersionId {
        id.parse().unwrap()
    }

    #[test]
    fn only_a_version_that_stays_is_rotated_for_a_revocation() {
        let mut rotation = Rotation::new("prod/payments/db".parse().unwrap());
        assert!(!is_on_its_way_out(&rotation, &version("v1")), "nothing is known of it");
        let seen = Event::Seen { version: version("v2"), made_at: None };
        rotation = rotation.step(seen, at(0)).unwrap();
        assert!(is_on_its_way_out(&rotation, &version("v1")));
        assert!(!is_on_its_way_out(&rotation, &version("v2")));
        let begun = rotation.clone().step(begin(), at(1)).unwrap();
        assert!(is_on_its_way_out(&begun, &version("v2")), "it is being replaced");
        let given_up = begun.clone().step(Event::RollBack, at(2)).unwrap();
        assert!(!is_on_its_way_out(&given_up, &version("v2")), "it stays");
        let promoted = begun.step(Event::Promoted { version: version("v3") }, at(2)).unwrap();
        assert!(
            is_on_its_way_out(&promoted, &version("v2")) && !is_on_its_way_out(&promoted, &version("v3"))
        );
    }

    fn begin() -> Event {
        Event::Begin {
            why: Why::Schedule,
            plan: Box::new(Plan::new(Strategy::Generate)),
            provider: "main".parse().unwrap(),
            reference: "db".into(),
            staged: true,
            old: Some(version("v2")),
            tags: None,
        }
    }
}
