//! What a rotation would do, and whether it could: everything up to the first write.

use std::{sync::Arc, time::Duration};

use leasehold_core::{
    SecretPath,
    access::Action,
    provider::{Finding, Turn},
    rotation::{Generator, Plan, Retire, Strategy},
};

use super::{
    Aim, Driver, Shelf, Trouble,
    begin::{Ready, static_reference},
    retire::change,
};
use crate::{access::Context, engine::Engine, error::EngineError};

/// What a rotation would do, and whether it could.
#[derive(Clone, Debug)]
pub struct RotationPreview {
    /// What would be tried, in order, each with how far that is possible.
    pub steps: Vec<Finding>,
    /// How many live leases are on the current version: who would have to move.
    pub leases: u64,
    /// How long they would have.
    pub drain: Duration,
}

impl Engine {
    /// What a rotation of the secret would do. Asks its back end and its target, and changes nothing; whoever calls has
    /// asked policy, and writes the record.
    ///
    /// # Errors
    /// [`EngineError::NotRotated`], or when the ledger cannot be read.
    pub async fn preview_rotation(
        self: &Arc<Self>,
        path: &SecretPath,
    ) -> Result<RotationPreview, EngineError> {
        let (resolved, _) = self.resolve(path).ok_or_else(EngineError::denied)?;
        let plan = resolved.entry.rotation.clone().ok_or(EngineError::NotRotated)?;
        let driver = Driver::of(self, path).await?;
        let mut steps = vec![driver.may_rotate(path)];
        let looked = async {
            let reference = static_reference(&resolved)?;
            let shelf = Shelf::of(self, &resolved.entry.provider, reference)?;
            let ready = driver.ready(&plan, &shelf).await?;
            Ok((shelf, ready))
        };
        let mut leases = 0;
        match looked.await {
            Err(trouble) => steps.push(Finding::failed(READ, told(trouble)?, REMEDY)),
            Ok((shelf, ready)) => {
                if let Some(old) = &ready.old {
                    leases = self.holders_of(path, &old.version, 0).await?.0;
                }
                driver.foresee(&plan, &shelf, &ready, &mut steps).await?;
            }
        }
        Ok(RotationPreview { steps, leases, drain: plan.drain })
    }
}

const READ: &str = "read the current version by its id";
const REMEDY: &str = "see docs/rotation.md";

impl Driver<'_> {
    fn may_rotate(&self, path: &SecretPath) -> Finding {
        let scheduler = &self.engine.rotation_parts.scheduler;
        let said = self.engine.decide_on(scheduler, Action::RotateSecret, path, Context::new());
        let step = "ask policy whether it may be rotated by schedule";
        if said.is_allowed() {
            return Finding::passed(step, "");
        }
        let problem = format!("policy does not allow `RotateSecret` to `{}`", scheduler.id);
        Finding::failed(step, problem, "permit it in a policy: see docs/policy.md")
    }

    async fn foresee(
        &self,
        plan: &Arc<Plan>,
        shelf: &Shelf<'_>,
        ready: &Ready,
        steps: &mut Vec<Finding>,
    ) -> Result<(), EngineError> {
        let name = &shelf.upstream.name;
        match &ready.old {
            Some(old) => steps.push(Finding::passed(READ, format!("it is {}", old.version))),
            None => steps.push(Finding::passed(READ, "there is none: the first one would be made")),
        }
        if plan.strategy == Strategy::Native {
            let step = format!("have `{name}` rotate it");
            steps.push(Finding::not_tried(step, "only the rotation itself shows whether it works"));
            return Ok(());
        }
        let old = ready.old.as_ref().map(|old| &old.value);
        let step = "make a new value";
        let new = match &plan.generator {
            // It is asked like any other: what it makes is nobody's until it is written.
            Generator::BackEnd { policy } => self
                .new_value(plan, shelf, old)
                .await
                .map(|new| (new, format!("by the rule `{policy}` of `{name}`"))),
            _ => self.new_value(plan, shelf, old).await.map(|new| (new, String::new())),
        };
        let new = match new {
            Ok((new, note)) => {
                steps.push(Finding::passed(step, note));
                new
            }
            Err(trouble) => {
                steps.push(Finding::failed(step, told(trouble)?, REMEDY));
                return Ok(());
            }
        };
        let step = format!("write a new version to `{name}`");
        steps.push(match (ready.staged, &ready.old) {
            (_, None) => Finding::not_tried(step, "it would be current at once, since it is the first"),
            (true, _) => Finding::not_tried(step, "it would wait there until it is promoted"),
            (false, _) => Finding::not_tried(step, "the old one would be lent until the new one is promoted"),
        });
        if let Some(target) = plan.strategy.target() {
            let turn = Turn {
                secret: &self.rotation.secret,
                token: "preview",
                user_field: &plan.user_field,
                field: &plan.field,
                old,
                new: &new,
            };
            let checked = match Aim::of(self.engine, target) {
                Ok(aim) => aim.check(turn).await.map_err(Trouble::Party),
                Err(trouble) => Err(trouble),
            };
            match checked {
                Ok(findings) => steps.extend(findings),
                Err(trouble) => steps.push(Finding::failed("ask the target", told(trouble)?, REMEDY)),
            }
        }
        steps.push(end(plan, shelf));
        Ok(())
    }
}

/// What would become of the old version.
fn end(plan: &Plan, shelf: &Shelf<'_>) -> Finding {
    let step = "put the old version away";
    match change(plan.retire) {
        None => Finding::passed(step, "`retire = \"keep\"`: it would stay readable in its back end"),
        Some(change) if shelf.upstream.capabilities().can(change) => {
            Finding::not_tried(step, format!("it would be {}", past(plan.retire)))
        }
        Some(change) => {
            let name = &shelf.upstream.name;
            Finding::passed(step, format!("`{name}` cannot {change} versions: it would stay readable there"))
        }
    }
}

const fn past(retire: Retire) -> &'static str {
    match retire {
        Retire::Keep => "kept",
        Retire::Disable => "disabled",
        Retire::Destroy => "destroyed",
    }
}

fn told(trouble: Trouble) -> Result<String, EngineError> {
    match trouble {
        Trouble::Engine(problem) => Err(problem),
        Trouble::Words(words) => Ok(words),
        Trouble::Party(problem) => Ok(problem.to_string()),
    }
}
