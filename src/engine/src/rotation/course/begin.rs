//! Whether a rotation is to begin, and its beginning: everything is looked at before anything is durable.

use std::{sync::Arc, time::Duration};

use leasehold_core::{
    SecretValue,
    access::Action,
    catalog::{Resolved, Source},
    provider::{ErrorClass, Fetched},
    rotation::{Event, Plan, Strategy, Why},
    ttl::after,
};
use tracing::warn;

use super::{Aim, Driver, Next, Shelf, Step, Trouble, value::fits};
use crate::access::Context;

/// After policy has said no, it is asked again this often.
const DENIED: Duration = Duration::from_secs(600);

/// What a rotation is to begin with.
pub(super) struct Ready {
    /// The version that is replaced.
    pub(super) old: Option<Fetched>,
    /// Whether the back end can hold the new one as pending.
    pub(super) staged: bool,
}

impl Driver<'_> {
    pub(super) async fn begin(&self) -> Result<Next, Trouble> {
        let path = &self.rotation.secret;
        let Some((resolved, _)) = self.engine.resolve(path) else { return Ok(Next::Wait(None)) };
        let Some(plan) = resolved.entry.rotation.clone() else { return Ok(Next::Wait(None)) };
        let now = self.engine.now();
        let Some(why) = self.rotation.due(&plan, now) else {
            return Ok(Next::Wait(self.rotation.look_at(Some(&plan), now)));
        };
        // What a person asked for was decided when it was asked.
        let mut decision = None;
        if !matches!(why, Why::Request { .. }) {
            let scheduler = &self.engine.rotation_parts.scheduler;
            let said = self.engine.decide_on(scheduler, Action::RotateSecret, path, Context::new());
            let allowed = said.is_allowed();
            decision = Some(said);
            if !allowed {
                let message = format!("policy does not allow `RotateSecret` to `{}`", scheduler.id);
                warn!(secret = %path, why = message, "a secret is not rotated although its time has come");
                let event = Event::Failed { message: message.into(), retry_at: after(now, DENIED) };
                return Ok(Next::Step(Box::new(Step { decision, ..event.into() })));
            }
        }
        let reference = static_reference(&resolved)?;
        let shelf = Shelf::of(self.engine, &resolved.entry.provider, reference)?;
        let ready = self.ready(&plan, &shelf).await?;
        if let Some(old) = &ready.old
            && self.rotation.current.as_ref().is_none_or(|current| current.version != old.version)
        {
            // With it, its time may not have come.
            return Ok(Event::Seen { version: old.version.clone(), made_at: old.created_at }.into());
        }
        let value = ready.old.as_ref().map(|old| &old.value);
        let serial = self.rotation.serial.saturating_add(1);
        let tags = if plan.strategy == Strategy::Native {
            None
        } else {
            let new = self.new_value(&plan, &shelf, value).await?;
            let tags = self.engine.tags(&new);
            self.engine.rotations.begun.note(path, serial, Some(new));
            Some(tags)
        };
        let event = Event::Begin {
            why,
            plan: Box::new(Plan::clone(&plan)),
            provider: resolved.entry.provider.clone(),
            reference: reference.into(),
            staged: ready.staged,
            old: ready.old.map(|old| old.version),
            tags,
        };
        Ok(Next::Step(Box::new(Step { decision, ..event.into() })))
    }

    /// Looks whether everything is there that a rotation needs, and that what it replaces can be brought back.
    pub(super) async fn ready(&self, plan: &Arc<Plan>, shelf: &Shelf<'_>) -> Result<Ready, Trouble> {
        let provider = &shelf.upstream.provider;
        let capabilities = shelf.upstream.capabilities();
        if plan.strategy == Strategy::Native {
            if provider.native().is_none() {
                return unfit("its back end rotates nothing by itself: choose another `strategy`");
            }
            let old = match shelf.current().await {
                // What is not lent, only the back end knows.
                Err(problem) if !problem.class.is_retryable() => None,
                current => Some(current?),
            };
            return Ok(Ready { old, staged: false });
        }
        if !(capabilities.read && capabilities.versions) {
            return unfit(
                "its back end keeps no older versions, so what is replaced could not be brought back",
            );
        }
        if !capabilities.write {
            return unfit("its back end is not configured as `writable`");
        }
        if let Some(target) = plan.strategy.target() {
            Aim::of(self.engine, target)?.is_target()?;
        }
        let old = match shelf.current().await {
            Err(problem) if problem.class == ErrorClass::Absent => {
                self.has_none(shelf).await?;
                None
            }
            current => Some(current?),
        };
        fits(plan, old.as_ref().map(|old| &old.value)).map_err(Trouble::Words)?;
        if let Some(old) = &old {
            let again: SecretValue = shelf.at(&old.version).await?;
            if self.engine.tags(&again) != self.engine.tags(&old.value) {
                return unfit("its back end has another value under the current version's id");
            }
        }
        Ok(Ready { old, staged: capabilities.staging })
    }

    /// That the secret has no version at all, and not only one that nobody may read now.
    async fn has_none(&self, shelf: &Shelf<'_>) -> Result<(), Trouble> {
        match shelf.versions().await {
            Ok(versions) if versions.iter().any(|known| known.current) => {
                unfit("its current version cannot be read: it is disabled or deleted")
            }
            Err(problem) if problem.class != ErrorClass::Absent => Err(problem.into()),
            _ => Ok(()),
        }
    }
}

/// What a static secret is called in its back end.
pub(super) fn static_reference(resolved: &Resolved) -> Result<&str, Trouble> {
    match &resolved.entry.source {
        Source::Static { reference } => Ok(reference),
        Source::Dynamic { .. } => unfit("a secret that is made for each lease is not rotated"),
    }
}

fn unfit<T>(why: &str) -> Result<T, Trouble> {
    Err(Trouble::Words(why.to_owned()))
}
