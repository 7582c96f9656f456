//! The rotation's state machine.
//!
//! ```text
//! Idle --Begin--> Creating --Written--> Created --Applied--> Applied --Tested--> Tested --Promoted--> Draining
//!                    |                     `--(no target)-----Tested----------------^
//!                    `--(by the back end itself)--Promoted--------------------------------------------^
//! Draining --Drained--> Retiring --Dead--> Closing --Retired--> Idle
//! Draining --RollBack--> Reverting --Reverted--> Draining (the versions have changed places)
//! Reverting --Overtaken--> Draining (a third version is current: both are retired)
//! Creating .. Tested --Rejected, Overtaken, RollBack--> Discarding --Discarded--> Idle
//! any, and Idle --Failed--> the same, tried again later;  Retiring --Dead (still valid)--> Retiring, loud
//! ```

use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;

use super::{
    Course, Current, Ended, Failure, Outcome, Plan, Rotation, Stage, Strategy, Tags, Told, Wanted, Why,
};
use crate::{
    provider::{ProviderName, Verification},
    secret::VersionId,
    ttl::after,
};

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test that meets one of these has failed")]
mod tests;

/// When a person has given a rotation up, its schedule waits so long before it begins another one.
const LEFT_ALONE: Duration = Duration::from_secs(3600);

/// What happens to a rotation.
#[derive(Clone, Debug)]
pub enum Event {
    /// Somebody made this version current through the broker.
    Made {
        /// The version.
        version: VersionId,
    },
    /// This version was found to be current.
    Seen {
        /// The version.
        version: VersionId,
        /// When it was made, when that is known.
        made_at: Option<Timestamp>,
    },
    /// A rotation is asked for.
    Want {
        /// Why.
        why: Why,
        /// Not before this.
        not_before: Timestamp,
    },
    /// A rotation begins.
    Begin {
        /// Why.
        why: Why,
        /// How it is done.
        plan: Box<Plan>,
        /// Where the secret lives.
        provider: ProviderName,
        /// The back end's own name of it.
        reference: Box<str>,
        /// Whether the back end can hold the new version as pending.
        staged: bool,
        /// The version that is replaced, whose value can be read by its name.
        old: Option<VersionId>,
        /// By which the new value will be recognised; none where the back end makes it.
        tags: Option<Tags>,
    },
    /// The value that was to be written was not, and is lost: another one is made.
    MadeAnew {
        /// By which the new value will be recognised.
        tags: Tags,
    },
    /// The new version is written.
    Written {
        /// The version.
        version: VersionId,
    },
    /// The target accepts the new value.
    Applied,
    /// The new value works.
    Tested,
    /// The new version is current.
    Promoted {
        /// The version.
        version: VersionId,
    },
    /// The old version may be retired.
    Drained {
        /// How many leases on it are live: none, unless the deadline has come.
        holders: u64,
    },
    /// The old value was made unusable, and tried.
    Dead {
        /// What came of that.
        verification: Verification,
        /// When to try again, if it works on.
        retry_at: Timestamp,
    },
    /// The old version is put away.
    Retired,
    /// A stage could not be left, or none be begun.
    Failed {
        /// Why, in words without a value.
        message: Box<str>,
        /// When to try again.
        retry_at: Timestamp,
    },
    /// The target will never take the new value: it is thrown away, and another one made later.
    Rejected {
        /// Why, in words without a value.
        message: Box<str>,
        /// When to make another one.
        retry_at: Timestamp,
    },
    /// Somebody else made another version current: that one stays.
    Overtaken {
        /// The version.
        version: VersionId,
    },
    /// The new version is thrown away.
    Discarded {
        /// The version as which the old value had to be written once more, where no other way leads back.
        rewritten: Option<VersionId>,
    },
    /// A person wants the old version back, or to give the rotation up.
    RollBack,
    /// The old value is current again.
    Reverted {
        /// As this version: the old one, or what it was written as once more, where no other way leads back.
        version: VersionId,
    },
    /// Nothing is to be done until somebody says so.
    Pause,
    /// It may go on.
    Resume,
}

/// Why an event does not apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum StepError {
    /// A rotation is under way.
    #[error("the secret is being rotated already")]
    UnderWay,
    /// There is no rotation under way.
    #[error("no rotation of the secret is under way")]
    Idle,
    /// The old version has holders, and its deadline has not come.
    #[error("the old version is still held")]
    StillHeld,
    /// The old version is being retired, or was: it may not work any more.
    #[error("the old version is being retired already, and cannot be brought back")]
    TooLate,
    /// There was no version before.
    #[error("there is no older version to go back to")]
    NothingBefore,
    /// What the back end rotates by itself, nobody else can bring back.
    #[error("the back end rotated it by itself: only there can it be brought back")]
    NotOurs,
    /// The event belongs to another stage.
    #[error("the event does not fit the rotation's stage")]
    OutOfPlace,
}

impl Rotation {
    /// What the rotation becomes through `event` at `now`.
    ///
    /// # Errors
    /// When the event does not apply; the rotation is then as it was.
    pub fn step(mut self, event: Event, now: Timestamp) -> Result<Self, StepError> {
        match event {
            Event::Made { version } => self.make(version, now),
            Event::Seen { version, made_at } => {
                // What is current in the back end may be the new version, which is nobody's yet.
                if self.course.as_ref().is_some_and(|course| course.stage != Stage::Discarding) {
                    return Err(StepError::UnderWay);
                }
                self.see(version, made_at, now);
            }
            Event::Want { why, not_before } => {
                // Who asks knows what hindered it, and wants it tried all the same.
                if matches!(why, Why::Request { .. }) {
                    self.hindered = None;
                }
                self.want(why, not_before);
            }
            Event::Failed { message, retry_at } if self.course.is_none() => {
                self.hindered = Some(Failure::after(self.hindered.as_ref(), message, retry_at));
            }
            Event::Pause => self.paused = Some(self.paused.unwrap_or(now)),
            Event::Resume => self.paused = None,
            Event::Begin { why, plan, provider, reference, staged, old, tags } => {
                if self.course.is_some() {
                    return Err(StepError::UnderWay);
                }
                self.serial = self.serial.saturating_add(1);
                self.wanted = None;
                self.hindered = None;
                let current = self.current.as_ref().filter(|current| Some(&current.version) == old.as_ref());
                self.course = Some(Course {
                    why,
                    plan: *plan,
                    provider,
                    reference,
                    staged,
                    twins: current.map(|current| current.twins.clone()).unwrap_or_default(),
                    old,
                    new: None,
                    tags: tags.into_iter().collect(),
                    stage: Stage::Creating,
                    reached: vec![(Stage::Creating, now)],
                    drain_deadline: None,
                    verification: None,
                    rolled_back: false,
                    problem: None,
                    failure: None,
                });
            }
            event => {
                let course = self.course.take().ok_or(StepError::Idle)?;
                self.advance(course, event, now)?;
            }
        }
        Ok(self)
    }

    /// Takes the rotation under way a step on.
    fn advance(&mut self, mut course: Course, event: Event, now: Timestamp) -> Result<(), StepError> {
        match (course.stage, event) {
            (Stage::Creating, Event::MadeAnew { tags }) => course.tags.push(tags),
            (Stage::Creating, Event::Written { version }) => {
                course.new = Some(version);
                course.reach(Stage::Created, now);
            }
            (Stage::Created, Event::Applied) => course.reach(Stage::Applied, now),
            (Stage::Created | Stage::Applied, Event::Tested) => course.reach(Stage::Tested, now),
            (Stage::Creating | Stage::Tested, Event::Promoted { version }) => {
                self.replace(version.clone(), now, Vec::new(), now);
                self.setbacks = 0;
                course.new = Some(version);
                course.drain(now);
                self.tell_draining(&course, now);
                if course.old.is_none() {
                    self.end(&course, Outcome::Retired, None, now);
                    return Ok(());
                }
            }
            (Stage::Draining, Event::Drained { holders }) => {
                if holders > 0 && course.drain_deadline.is_some_and(|deadline| now < deadline) {
                    return Err(StepError::StillHeld);
                }
                course.reach(Stage::Retiring, now);
            }
            (Stage::Retiring, Event::Dead { verification: Verification::StillValid, retry_at }) => {
                course.verification = Some(Verification::StillValid);
                let message = "the old value was retired, and it still works";
                course.fail(message.into(), retry_at);
            }
            (Stage::Retiring, Event::Dead { verification, .. }) => {
                course.verification = Some(verification);
                course.reach(Stage::Closing, now);
            }
            (Stage::Closing, Event::Retired) => {
                for version in course.replaced() {
                    self.tell(Told::Retired { version: version.clone() }, now);
                }
                let outcome = if course.rolled_back { Outcome::RolledBack } else { Outcome::Retired };
                self.end(&course, outcome, None, now);
                return Ok(());
            }
            (
                Stage::Creating | Stage::Created | Stage::Applied | Stage::Tested,
                Event::Rejected { message, retry_at },
            ) => {
                self.want(course.why.clone(), retry_at);
                course.discard(Some(message), now);
            }
            (
                Stage::Creating | Stage::Created | Stage::Applied | Stage::Tested,
                Event::Overtaken { version },
            ) => {
                self.see(version, None, now);
                course.discard(Some("another version was made current meanwhile".into()), now);
            }
            (Stage::Creating | Stage::Created | Stage::Applied | Stage::Tested, Event::RollBack) => {
                course.discard(None, now)
            }
            (Stage::Discarding, Event::Discarded { rewritten }) => {
                if let Some(version) = rewritten {
                    let made_at = self.current.as_ref().map_or(now, |current| current.made_at);
                    self.replace(version, made_at, course.replaced().cloned().collect(), now);
                }
                let problem = course.problem.take();
                self.setbacks = self.setbacks.saturating_add(1);
                if problem.is_none() {
                    let message = "the last rotation was given up by a person".into();
                    self.hindered = Some(Failure { message, attempts: 0, next_try: after(now, LEFT_ALONE) });
                }
                self.end(&course, Outcome::Discarded, problem, now);
                return Ok(());
            }
            (Stage::Draining, Event::RollBack) if course.old.is_none() => {
                return Err(StepError::NothingBefore);
            }
            (Stage::Draining, Event::RollBack) if course.plan.strategy == Strategy::Native => {
                return Err(StepError::NotOurs);
            }
            (Stage::Draining, Event::RollBack) => course.reach(Stage::Reverting, now),
            (Stage::Reverting, Event::Overtaken { version }) => {
                self.see(version, None, now);
                course.twins.extend(course.new.clone());
                course.drain(now);
                self.tell_draining(&course, now);
            }
            (Stage::Reverting, Event::Reverted { version }) => {
                let mut twins: Vec<_> = course.replaced().cloned().collect();
                twins.retain(|twin| *twin != version);
                course.old = course.new.replace(version.clone());
                course.twins.clear();
                course.rolled_back = !course.rolled_back;
                self.replace(version, now, twins, now);
                course.drain(now);
                self.tell_draining(&course, now);
            }
            (Stage::Retiring | Stage::Closing | Stage::Reverting, Event::RollBack) => {
                return Err(StepError::TooLate);
            }
            (_, Event::Failed { message, retry_at }) => course.fail(message, retry_at),
            _ => return Err(StepError::OutOfPlace),
        }
        self.course = Some(course);
        Ok(())
    }

    fn make(&mut self, version: VersionId, now: Timestamp) {
        if self.current.as_ref().is_none_or(|current| current.version != version) {
            self.replace(version, now, Vec::new(), now);
        }
    }

    /// Another version is current, and the holders of others are told so.
    fn replace(&mut self, version: VersionId, made_at: Timestamp, twins: Vec<VersionId>, now: Timestamp) {
        self.tell(Told::Rotated { version: version.clone() }, now);
        self.current = Some(Current { version, made_at, twins });
    }

    fn see(&mut self, version: VersionId, made_at: Option<Timestamp>, now: Timestamp) {
        if self.current.as_ref().is_some_and(|current| current.version == version) {
            return;
        }
        // The first one is no news: holders of it have it.
        if self.current.is_some() {
            self.tell(Told::Rotated { version: version.clone() }, now);
        }
        let made_at = made_at.unwrap_or(now).min(now);
        self.current = Some(Current { version, made_at, twins: Vec::new() });
    }

    /// Several wishes are one: the soonest, and a person's before the others'.
    fn want(&mut self, why: Why, not_before: Timestamp) {
        let wanted = match self.wanted.take() {
            None => Wanted { why, not_before },
            Some(before) => Wanted {
                why: if matches!(why, Why::Request { .. }) { why } else { before.why },
                not_before: before.not_before.min(not_before),
            },
        };
        self.wanted = Some(wanted);
    }

    fn tell_draining(&mut self, course: &Course, now: Timestamp) {
        let Some(deadline) = course.drain_deadline else { return };
        for version in course.replaced() {
            self.tell(Told::Draining { version: version.clone(), deadline }, now);
        }
    }

    fn end(&mut self, course: &Course, outcome: Outcome, problem: Option<Box<str>>, now: Timestamp) {
        self.last = Some(Ended {
            serial: self.serial,
            at: now,
            outcome,
            old: course.old.clone(),
            new: course.new.clone(),
            verification: course.verification,
            problem,
        });
    }
}

impl Course {
    fn fail(&mut self, message: Box<str>, next_try: Timestamp) {
        self.failure = Some(Failure::after(self.failure.as_ref(), message, next_try));
    }

    fn discard(&mut self, problem: Option<Box<str>>, now: Timestamp) {
        self.reach(Stage::Discarding, now);
        self.problem = problem;
    }
}

impl Failure {
    /// Another one after these.
    fn after(before: Option<&Self>, message: Box<str>, next_try: Timestamp) -> Self {
        let attempts = before.map_or(0, |failure| failure.attempts).saturating_add(1);
        Self { message, attempts, next_try }
    }
}
