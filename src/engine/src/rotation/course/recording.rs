//! What the journal and the log are told of a rotation's steps. No value is in it.

use leasehold_core::{
    Timestamp,
    provider::Verification,
    record::{Kind, Outcome, Record},
    rotation::{Event, Rotation, Why},
    secret::VersionId,
};
use tracing::info;

use super::{Driver, Step};

impl Driver<'_> {
    /// The record of a step that is about to be taken.
    pub(super) fn record(&self, step: &Step, now: Timestamp) -> Record {
        let event = &step.event;
        let mut record = Record::new(now, kind(event), self.engine.rotation_parts.scheduler.clone());
        let course = self.rotation.course.as_ref();
        record.secret = Some(self.rotation.secret.clone());
        record.decision.clone_from(&step.decision);
        record.value_hmac.clone_from(&step.tags);
        record.provider = match event {
            Event::Begin { provider, .. } => Some(provider.clone()),
            _ => course.map(|course| course.provider.clone()),
        };
        record.version = match event {
            Event::Written { version }
            | Event::Promoted { version }
            | Event::Reverted { version }
            | Event::Overtaken { version }
            | Event::Discarded { rewritten: Some(version) }
            | Event::Seen { version, .. } => Some(version.clone()),
            Event::Begin { old, .. } => old.clone(),
            Event::Drained { .. } | Event::Dead { .. } | Event::Retired => {
                course.and_then(|course| course.old.clone())
            }
            _ => course.and_then(|course| course.new.clone()),
        };
        let mut say = |name: &str, what: String| drop(record.details.insert(name.to_owned(), what));
        if let Some(course) = course {
            say("stage", course.stage.name().to_owned());
            say("strategy", course.plan.strategy.name().to_owned());
        }
        match event {
            Event::Begin { why, plan, .. } => {
                say("strategy", plan.strategy.name().to_owned());
                say("why", name(why).to_owned());
                if let Why::Request { by } = why {
                    say("asked_by", by.to_string());
                }
            }
            Event::MadeAnew { .. } => {
                say("anew", "the value made before was not written, and is lost".to_owned())
            }
            Event::Drained { holders } => say("holders", holders.to_string()),
            Event::Dead { verification, .. } => say("verification", verification.name().to_owned()),
            Event::Failed { message, retry_at } | Event::Rejected { message, retry_at } => {
                let attempts = self.rotation.failure().map_or(0, |failure| failure.attempts);
                say("error", message.to_string());
                say("attempt", attempts.saturating_add(1).to_string());
                say("next_try", retry_at.to_string());
            }
            Event::Overtaken { .. } => say("error", "somebody else made another version current".to_owned()),
            Event::Promoted { .. } | Event::Reverted { .. } => {
                let before = self.rotation.current.as_ref().map(|current| current.version.to_string());
                before.into_iter().for_each(|before| say("before", before));
            }
            _ => {}
        }
        record.outcome = match event {
            Event::Failed { .. } if step.decision.as_ref().is_some_and(|said| !said.is_allowed()) => {
                Outcome::Denied
            }
            Event::Failed { .. } | Event::Rejected { .. } | Event::Overtaken { .. } => {
                failed("ROTATION_STEP_FAILED")
            }
            Event::Dead { verification: Verification::StillValid, .. } => failed("STILL_VALID"),
            _ => Outcome::Ok,
        };
        record
    }

    /// What operators see of a step that was taken.
    pub(super) fn say(&self, next: &Rotation) {
        let version = next.current.as_ref().map(|current| VersionId::as_str(&current.version));
        match (&self.rotation.course, &next.course) {
            (None, Some(course)) => {
                info!(secret = %next.secret, why = name(&course.why), "a rotation begins");
            }
            (Some(before), Some(after)) if !before.is_promoted() && after.is_promoted() => {
                info!(secret = %next.secret, version, "a secret has a new version");
            }
            (Some(_), None) => {
                let outcome = next.last.as_ref().map(|last| last.outcome.name());
                info!(secret = %next.secret, version, outcome, "a rotation has ended");
            }
            _ => {}
        }
    }
}

const fn kind(event: &Event) -> Kind {
    match event {
        Event::Made { .. } | Event::Seen { .. } => Kind::RotationSeen,
        Event::Want { .. } => Kind::RotationRequested,
        Event::Begin { .. } | Event::MadeAnew { .. } => Kind::RotationStarted,
        Event::Written { .. } => Kind::RotationCreated,
        Event::Applied => Kind::RotationApplied,
        Event::Tested => Kind::RotationTested,
        Event::Promoted { .. } => Kind::RotationPromoted,
        Event::Drained { .. } => Kind::RotationDrained,
        Event::Dead { .. } => Kind::RotationVerified,
        Event::Retired => Kind::RotationRetired,
        Event::Failed { .. } => Kind::RotationFailed,
        Event::Rejected { .. } | Event::Overtaken { .. } => Kind::RotationGivenUp,
        Event::Discarded { .. } => Kind::RotationDiscarded,
        Event::RollBack => Kind::RotationRollingBack,
        Event::Reverted { .. } => Kind::RotationRolledBack,
        Event::Pause => Kind::RotationPaused,
        Event::Resume => Kind::RotationResumed,
    }
}

const fn name(why: &Why) -> &'static str {
    match why {
        Why::Schedule => "schedule",
        Why::Request { .. } => "request",
        Why::Revocation => "revocation",
    }
}

fn failed(reason: &str) -> Outcome {
    Outcome::Failed { reason: reason.to_owned() }
}
