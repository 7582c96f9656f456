//! The rotation of a secret: one current version replaced by another, and everything that can happen on the way.
//!
//! [`Rotation::step`] is the only way in which a rotation changes. It is pure: it takes an event and the time, and gives the
//! next state; [`Course::task`] says what the outside must do then. Every step is durable before the next one begins, and
//! every task can be done twice.

mod due;
#[cfg(test)]
mod explore;
mod generator;
mod news;
mod plan;
mod schedule;
mod step;

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::{
    generator::{Class, Generated, Generator, KeyKind, Password, WeakRule},
    news::{Notice, Told},
    plan::{Plan, Program, Retire, Strategy, TargetName},
    schedule::{
        Blackout, Cron, Hindrance, InvalidBlackout, InvalidCron, NoTimeZone, Opening, Rhythm, Schedule,
        spread_of, time_zone,
    },
    step::{Event, StepError},
};
use crate::{
    path::SecretPath,
    principal::SpiffeId,
    provider::{ProviderName, Verification},
    record::ValueTag,
    secret::{FieldName, SecretBytes, VersionId},
    ttl::after,
};

/// What is known of a secret's versions, and the rotation that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// The secret.
    pub secret: SecretPath,
    /// How many rotations were begun; the last one's number.
    #[serde(default)]
    pub serial: u64,
    /// The version that is current, as far as the broker knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<Current>,
    /// The rotation that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub course: Option<Course>,
    /// That another one was asked for, or is to be tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<Wanted>,
    /// Since when nothing is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Timestamp>,
    /// Why none could be begun although its time has come, or is not to be yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hindered: Option<Failure>,
    /// How many in a row were thrown away.
    #[serde(default, skip_serializing_if = "is_none")]
    pub setbacks: u32,
    /// How the last one ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Ended>,
    /// The number of the newest notice to holders; the first has 1.
    #[serde(default)]
    pub told: u64,
    /// The newest notices, the oldest first.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub notices: VecDeque<Notice>,
}

/// A version that is current.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Current {
    /// The version.
    pub version: VersionId,
    /// When it was made; when the broker saw it first, if its back end does not say.
    pub made_at: Timestamp,
    /// Versions that were current before and have the same value: it was written once more, because a newer one had to
    /// be taken back where no other way leads back. Who holds one of them holds this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub twins: Vec<VersionId>,
}

/// By which the value of each field is recognised.
pub type Tags = BTreeMap<FieldName, ValueTag>;

/// One rotation under way. It holds all that is needed to bring it to its end, even when its catalog entry is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Course {
    /// Why it was begun.
    pub why: Why,
    /// How it is done: as was configured when it began.
    pub plan: Plan,
    /// Where the secret lives.
    pub provider: ProviderName,
    /// The back end's own name of it.
    pub reference: Box<str>,
    /// Whether the back end can hold the new version as pending. Otherwise it is current there as soon as it is written.
    pub staged: bool,
    /// The version that is replaced; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<VersionId>,
    /// Versions with the same value as that one, which were current before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub twins: Vec<VersionId>,
    /// The version that replaces it, once it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<VersionId>,
    /// By which the new value is recognised when it is not known whether it was written. One for each value that was
    /// made, since a write that was given up may be done late; the newest is the last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tags>,
    /// Where it is.
    pub stage: Stage,
    /// When each stage was reached, in order.
    #[serde(default)]
    pub reached: Vec<(Stage, Timestamp)>,
    /// Until when holders may keep the old version; of one that is draining.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_deadline: Option<Timestamp>,
    /// Whether the old credential is dead, once it was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
    /// Whether this is the way back: then `new` is the version that was current before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rolled_back: bool,
    /// Why its new version is thrown away, in words without a value; absent when somebody wanted it so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Box<str>>,
    /// Why its stage could not be left yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// Where a rotation is. `Promoted` is durable together with the beginning of `Draining`, and `Retired` with the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The intent is durable; the new version may or may not be written.
    Creating,
    /// The new version is written, and lent to nobody.
    Created,
    /// The target accepts the new value.
    Applied,
    /// The new value was tried.
    Tested,
    /// The new version is current; the old one has holders, or its deadline has not come.
    Draining,
    /// The old value is being made unusable.
    Retiring,
    /// The old value was tried in vain, or cannot be tried; its version is being put away.
    Closing,
    /// The new version is being thrown away, and the target set back.
    Discarding,
    /// The old version is being made current again.
    Reverting,
}

/// Why a stage could not be left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What the back end or the target answered, in words without a value.
    pub message: Box<str>,
    /// How often it was tried in vain.
    pub attempts: u32,
    /// When it is tried again.
    pub next_try: Timestamp,
}

/// Why a secret is rotated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum Why {
    /// Its time came.
    Schedule,
    /// Somebody asked for it.
    Request {
        /// Who.
        by: SpiffeId,
    },
    /// A lease on the current version was revoked.
    Revocation,
}

/// That a rotation was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Why.
    pub why: Why,
    /// Not before this.
    pub not_before: Timestamp,
}

/// How a rotation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Its number.
    pub serial: u64,
    /// When.
    pub at: Timestamp,
    /// In which way.
    pub outcome: Outcome,
    /// The version that it replaced, or was to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<VersionId>,
    /// The version that it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<VersionId>,
    /// Whether the old credential is dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
    /// Why it was given up, in words without a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Box<str>>,
}

/// In which way a rotation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The new version is current and the old one retired.
    Retired,
    /// The old version is current again and the new one retired.
    RolledBack,
    /// The new version was thrown away.
    Discarded,
}

/// What the outside must do for a rotation to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Look whether the new version was written, else make and write it: [`Event::Written`].
    Write,
    /// Have the back end rotate by itself, and follow it: [`Event::Promoted`].
    Follow,
    /// Look whether the target accepts the new value, else have it accepted: [`Event::Applied`].
    Apply,
    /// Try the new value: [`Event::Tested`].
    Test,
    /// Make the new version current, if nobody made another one so: [`Event::Promoted`].
    Promote,
    /// Wait for the holders of the old version: [`Event::Drained`].
    Drain,
    /// Have the old value accepted no longer, and try it: [`Event::Dead`].
    Retire,
    /// Put the old version away in the back end: [`Event::Retired`].
    PutAway,
    /// Throw the new version away, with the target and the back end as they were: [`Event::Discarded`].
    Discard,
    /// Have the old value accepted and current again: [`Event::Reverted`].
    Revert,
}

/// A stored rotation that cannot be read back.
#[derive(Debug, Error)]
#[error("the stored rotation cannot be read: {0}")]
pub struct Undecodable(#[from] serde_json::Error);

impl Rotation {
    /// What is known of a secret that the broker has not met.
    pub fn new(secret: SecretPath) -> Self {
        Self {
            secret,
            serial: 0,
            current: None,
            course: None,
            wanted: None,
            paused: None,
            hindered: None,
            setbacks: 0,
            last: None,
            told: 0,
            notices: VecDeque::new(),
        }
    }

    /// The form in which it is stored.
    ///
    /// # Errors
    /// When it cannot be written as JSON, which no value of this type causes.
    pub fn encode(&self) -> Result<SecretBytes, Undecodable> {
        Ok(SecretBytes::new(serde_json::to_vec(self)?))
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(stored: &SecretBytes) -> Result<Self, Undecodable> {
        Ok(serde_json::from_slice(stored.expose())?)
    }

    /// What did not work: of the rotation under way, or why none could be begun.
    pub fn failure(&self) -> Option<&Failure> {
        match &self.course {
            Some(course) => course.failure.as_ref(),
            None => self.hindered.as_ref(),
        }
    }

    /// The version that is lent until the promotion of a new one is durable, whatever the back end would give to whoever
    /// names none. When somebody else has made another one current meanwhile, holders were told of that one, and it is lent.
    pub fn pinned(&self) -> Option<&VersionId> {
        let old = self.course.as_ref().filter(|course| course.pins())?.old.as_ref()?;
        self.current.as_ref().is_none_or(|current| current.version == *old).then_some(old)
    }

    /// Its name to back ends and targets: the same at every step and repetition of one rotation, and no other's, even
    /// when this state is an older one that was restored.
    pub fn token(&self) -> String {
        let begun = self.course.as_ref().and_then(|course| course.reached.first());
        let begun = begun.map_or(0, |(_, at)| at.as_millisecond());
        format!("{}-{}-{begun}", self.secret.as_str().replace('/', "."), self.serial)
    }

    /// The name of the newest value that was made in it: the same however often that one is written.
    pub fn write_token(&self) -> String {
        let made = self.course.as_ref().map_or(0, |course| course.tags.len());
        format!("{}-{made}", self.token())
    }
}

impl Course {
    /// What must be done next.
    pub fn task(&self) -> Task {
        let native = self.plan.strategy == Strategy::Native;
        let target = self.plan.strategy.target().is_some();
        match self.stage {
            Stage::Creating if native => Task::Follow,
            Stage::Creating => Task::Write,
            Stage::Created if target => Task::Apply,
            Stage::Created | Stage::Applied => Task::Test,
            Stage::Tested => Task::Promote,
            Stage::Draining => Task::Drain,
            Stage::Retiring => Task::Retire,
            Stage::Closing => Task::PutAway,
            Stage::Discarding => Task::Discard,
            Stage::Reverting => Task::Revert,
        }
    }

    /// Whether these are the tags of a value that was made for it.
    pub fn recognises(&self, tags: &Tags) -> bool {
        self.tags.contains(tags)
    }

    /// Every version that is replaced: the one that was current, and those with the same value.
    pub fn replaced(&self) -> impl Iterator<Item = &VersionId> {
        self.old.iter().chain(&self.twins)
    }

    /// Whether it was at this stage.
    pub fn reached(&self, stage: Stage) -> bool {
        self.reached.iter().any(|(reached, _)| *reached == stage)
    }

    /// When something must be done next: at once, unless it waits.
    fn next_at(&self) -> Timestamp {
        match (&self.failure, self.stage) {
            (Some(failure), _) => failure.next_try,
            (None, Stage::Draining) => self.drain_deadline.unwrap_or(Timestamp::MIN),
            (None, _) => Timestamp::MIN,
        }
    }

    fn pins(&self) -> bool {
        // Also where a new version can wait: between its promotion there and the word of it here, the rotation may be taken
        // back.
        self.plan.strategy != Strategy::Native
            && matches!(
                self.stage,
                Stage::Creating | Stage::Created | Stage::Applied | Stage::Tested | Stage::Discarding
            )
    }

    /// Whether the new version is current.
    pub const fn is_promoted(&self) -> bool {
        matches!(self.stage, Stage::Draining | Stage::Retiring | Stage::Closing)
    }

    fn reach(&mut self, stage: Stage, now: Timestamp) {
        self.stage = stage;
        self.failure = None;
        self.reached.push((stage, now));
    }

    fn drain(&mut self, now: Timestamp) {
        self.drain_deadline = Some(after(now, self.plan.drain));
        self.reach(Stage::Draining, now);
    }
}

impl Stage {
    /// The stage's name, as lists and records show it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Applied => "applied",
            Self::Tested => "tested",
            Self::Draining => "draining",
            Self::Retiring => "retiring",
            Self::Closing => "closing",
            Self::Discarding => "discarding",
            Self::Reverting => "reverting",
        }
    }
}

impl Outcome {
    /// The outcome's name, as lists and records show it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Retired => "retired",
            Self::RolledBack => "rolled-back",
            Self::Discarded => "discarded",
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it so")]
const fn is_none(count: &u32) -> bool {
    *count == 0
}
