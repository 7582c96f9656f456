//! What people do about rotations, one file a verb, and what they share: who may, and how a rotation is shown.

mod list_rotations;
mod on_revoke;
mod read_rotation;
mod rotate_secret;
mod steer_rotation;
mod watch_rotation;

use std::sync::Arc;

use leasehold_core::{
    SecretPath, Timestamp,
    access::Action,
    catalog::Source,
    record::Record,
    rotation::{Course, Plan, Rotation},
    state::{KeyRange, Revision},
};

pub(crate) use self::on_revoke::Consequence;
use crate::{
    access::{Context, why},
    engine::Engine,
    error::EngineError,
    request::{Holders, RotationReport},
};

/// So many holders are named; the others are counted.
const NAMED: usize = 100;

/// A secret whose rotation the caller may do something about.
struct Found {
    rotation: Rotation,
    revision: Option<Revision>,
    /// How the configuration in force has it rotated.
    plan: Option<Arc<Plan>>,
}

impl Engine {
    /// Asks policy, notes its decision in the record, and finds the secret's rotation: also when the catalog has the
    /// secret no longer, as long as something is left to be done about it.
    async fn find_rotation(
        &self,
        record: &mut Record,
        action: Action,
        path: &SecretPath,
    ) -> Result<Found, EngineError> {
        record.secret = Some(path.clone());
        let decision = self.decide_on(&record.actor, action, path, Context::new());
        let allowed = decision.is_allowed();
        record.decision = Some(decision);
        if !allowed {
            return self.deny(record.clone(), why::POLICY).await;
        }
        let (rotation, revision) = self.rotation(path).await?;
        let resolved = self.resolve(path);
        record.provider = match (&rotation.course, &resolved) {
            (Some(course), _) => Some(course.provider.clone()),
            (None, Some((resolved, _))) => Some(resolved.entry.provider.clone()),
            (None, None) => None,
        };
        let plan = self.plan_of(path);
        if !is_rotated(&rotation, plan.as_deref()) {
            return match resolved {
                Some(_) => self.fail(record.clone(), EngineError::NotRotated).await,
                None => self.deny(record.clone(), why::NOT_IN_CATALOG).await,
            };
        }
        Ok(Found { rotation, revision, plan })
    }

    /// How the configuration in force has a secret rotated.
    pub(crate) fn plan_of(&self, path: &SecretPath) -> Option<Arc<Plan>> {
        let entry = self.catalog().resolve(path)?.entry;
        matches!(entry.source, Source::Static { .. }).then(|| entry.rotation.clone())?
    }

    /// The rotation as people see it, without the holders' names.
    async fn report(
        &self,
        rotation: Rotation,
        plan: Option<Arc<Plan>>,
    ) -> Result<RotationReport, EngineError> {
        let standing = self.rotation_standing(&rotation.secret);
        // What goes on at once has no time.
        let nominal = rotation.look_at(plan.as_deref(), self.now()).filter(|at| *at > Timestamp::MIN);
        let is_idle = rotation.course.is_none() && rotation.wanted.is_none() && rotation.paused.is_none();
        let hindered = rotation.hindered.as_ref().filter(|_| rotation.course.is_none());
        let late = hindered.map(|failure| failure.message.to_string()).or(standing.late);
        let old_leases = self.on_other_versions(&rotation).await?;
        let mut holders = Holders::default();
        for version in rotation.course.iter().filter(|course| course.is_promoted()).flat_map(Course::replaced)
        {
            let on_it = self.count(KeyRange::on_version(&rotation.secret, version)).await?;
            holders.total = holders.total.saturating_add(on_it);
        }
        Ok(RotationReport {
            next: standing.next.filter(|_| is_idle).or(nominal),
            late,
            old_leases,
            holders,
            plan,
            rotation,
        })
    }

    /// The same with who holds the version that is being replaced.
    async fn full_report(
        &self,
        rotation: Rotation,
        plan: Option<Arc<Plan>>,
    ) -> Result<RotationReport, EngineError> {
        let mut report = self.report(rotation, plan).await?;
        let replaced: Vec<_> = report.rotation.course.iter().flat_map(Course::replaced).cloned().collect();
        report.holders = Holders::default();
        for version in replaced {
            let room = NAMED.saturating_sub(report.holders.some.len());
            let (total, some) = self.holders_of(&report.rotation.secret, &version, room).await?;
            report.holders.total = report.holders.total.saturating_add(total);
            report.holders.some.extend(some);
        }
        Ok(report)
    }

    /// How many live leases are on versions with another value than the current one. Those on that are not even counted.
    async fn on_other_versions(&self, rotation: &Rotation) -> Result<u64, EngineError> {
        let Some(current) = &rotation.current else { return Ok(0) };
        let all = KeyRange::on_secret(&rotation.secret);
        let on_current = KeyRange::on_version(&rotation.secret, &current.version);
        let before = self.count(KeyRange { from: all.from, to: on_current.from }).await?;
        let behind = self.count(KeyRange { from: on_current.to, to: all.to }).await?;
        let mut same = 0_u64;
        for twin in &current.twins {
            let on_twin = KeyRange::on_version(&rotation.secret, twin);
            same = same.saturating_add(self.count(on_twin).await?);
        }
        Ok(before.saturating_add(behind).saturating_sub(same))
    }
}

/// Whether the secret is one of those that are rotated: what is known of others is only which version is current.
fn is_rotated(rotation: &Rotation, plan: Option<&Plan>) -> bool {
    plan.is_some()
        || rotation.course.is_some()
        || rotation.wanted.is_some()
        || rotation.paused.is_some()
        || rotation.last.is_some()
}
