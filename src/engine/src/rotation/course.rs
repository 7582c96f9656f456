//! A rotation as the engine carries it out: do what its stage asks for, make that durable, go on until it has to wait.
//!
//! Each task stands in its own file. All of them may be cut off at any point and are then done again: whatever was on its way
//! is looked up before it is repeated.

mod apply;
mod begin;
mod create;
mod discard;
mod parties;
mod preview;
mod promote;
mod recording;
mod retire;
mod revert;
mod value;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use leasehold_core::{
    SecretPath, SecretValue, Timestamp,
    ports::NoEntropy,
    provider::ProviderError,
    record::Decision,
    rotation::{Course, Event, Rotation, Stage, Tags, Task, spread_of},
    secret::VersionId,
    state::Revision,
    ttl::after,
};
use tracing::warn;

use self::parties::{Aim, Shelf};
pub use self::preview::RotationPreview;
use crate::{engine::Engine, error::EngineError, shield::shield};

/// No rotation has so many steps: what takes more goes on when others have had their turn.
const STEPS: usize = 64;
/// On hold, it is looked again this often.
const HELD: Duration = Duration::from_secs(30);
/// The first try after a failure comes so soon; each further one after twice the time, up to an hour.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(3600);
/// After a value had to be thrown away, another one is made so soon at first.
const FIRST_REPEAT: Duration = Duration::from_secs(60);

/// What was begun by this process, and is not known to be done: of each secret the number of its rotation, and the value
/// that is being written. A value is in no other place until it is.
#[derive(Default)]
pub(crate) struct Begun(Mutex<HashMap<SecretPath, (u64, Option<SecretValue>)>>);

/// What comes of looking after a rotation.
enum Next {
    /// It goes a step on.
    Step(Box<Step>),
    /// Nothing is to be done before this; never, when absent.
    Wait(Option<Timestamp>),
}

/// A step, with what its record says of it beside.
struct Step {
    event: Event,
    /// By which the new value is recognised, when it was written just now.
    tags: Tags,
    /// What policy said, when it was asked.
    decision: Option<Decision>,
    /// Whether it is known that nothing was written, and that nothing will be by a write that comes late.
    unwritten: bool,
}

/// Why a task was not done.
enum Trouble {
    /// A back end or a target did not do its part: tried again later.
    Party(ProviderError),
    /// Something is not as it has to be, in words without a value: tried again later.
    Words(String),
    /// The broker itself cannot go on.
    Engine(EngineError),
}

/// One who looks after one secret's rotation.
struct Driver<'a> {
    engine: &'a Arc<Engine>,
    /// As the ledger has it.
    rotation: Rotation,
    revision: Option<Revision>,
    /// Whether this one took it to where it is, so that nothing of its next task was tried.
    fresh: bool,
    /// Whether its last step was one with nothing written.
    unwritten: bool,
}

impl Engine {
    /// Takes a secret's rotation as far as it goes now, and begins one when it is due or wanted, and allowed. Says when to
    /// look again; `None` when there is nothing to wait for. Nobody runs two of them for one secret.
    ///
    /// # Errors
    /// When the ledger cannot be used; whatever a back end or a target says is in the rotation's state.
    pub async fn drive_rotation(
        self: &Arc<Self>,
        path: &SecretPath,
    ) -> Result<Option<Timestamp>, EngineError> {
        let (engine, path) = (self.clone(), path.clone());
        shield(async move { Driver::of(&engine, &path).await?.drive().await }).await
    }
}

impl<'a> Driver<'a> {
    async fn of(engine: &'a Arc<Engine>, path: &SecretPath) -> Result<Self, EngineError> {
        let (rotation, revision) = engine.rotation(path).await?;
        engine.note_rotation(&rotation);
        Ok(Self { engine, rotation, revision, fresh: false, unwritten: false })
    }

    async fn drive(mut self) -> Result<Option<Timestamp>, EngineError> {
        for _ in 0..STEPS {
            if self.rotation.paused.is_some() {
                return Ok(None);
            }
            if self.engine.held().is_some() {
                return Ok(Some(after(self.engine.now(), HELD)));
            }
            let step = match self.next().await {
                Ok(Next::Wait(until)) => return Ok(until),
                Ok(Next::Step(step)) => *step,
                Err(trouble) => self.failed(trouble)?.into(),
            };
            match self.take(step).await {
                Ok(()) => self.fresh = true,
                // Somebody paused it, or wants something else of it.
                Err(EngineError::Conflict) => self = Self::of(self.engine, &self.rotation.secret).await?,
                Err(problem) => return Err(problem),
            }
        }
        Ok(Some(self.engine.now()))
    }

    async fn next(&self) -> Result<Next, Trouble> {
        let Some(course) = &self.rotation.course else { return self.begin().await };
        if let Some(failure) = &course.failure
            && self.engine.now() < failure.next_try
        {
            return Ok(Next::Wait(Some(failure.next_try)));
        }
        let fresh = self.fresh && course.failure.is_none();
        match course.task() {
            Task::Write => self.write(course, fresh).await,
            Task::Follow => self.follow(course).await,
            Task::Apply => self.apply(course, fresh).await,
            Task::Test => self.test(course).await,
            Task::Promote => self.promote(course).await,
            Task::Drain => self.drain(course).await,
            Task::Retire => self.retire(course).await,
            Task::PutAway => self.put_away(course).await,
            Task::Discard => self.discard(course).await,
            Task::Revert => self.revert(course).await,
        }
    }

    async fn take(&mut self, step: Step) -> Result<(), EngineError> {
        let now = self.engine.now();
        let (record, unwritten) = (self.record(&step, now), step.unwritten);
        let replaces = matches!(
            step.event,
            Event::Promoted { .. } | Event::Reverted { .. } | Event::Discarded { rewritten: Some(_) }
        );
        // Whoever was given the old version before this commits now, or asks again.
        let engine = self.engine;
        let _replacing = replaces.then(|| engine.rotations.replacing());
        let stepped = self.engine.step_rotation(&self.rotation, self.revision, step.event, now, record).await;
        let (next, revision) = stepped?;
        if replaces && let Some(course) = next.course.as_ref().or(self.rotation.course.as_ref()) {
            let provider = course.provider.clone();
            self.engine.cache.invalidate(&provider, &course.reference);
        }
        if next.course.as_ref().is_none_or(|course| course.stage != Stage::Creating) {
            self.engine.rotations.begun.forget(&next.secret);
        }
        self.say(&next);
        (self.rotation, self.revision, self.unwritten) = (next, Some(revision), unwritten);
        Ok(())
    }

    /// The step that a failure is.
    fn failed(&self, trouble: Trouble) -> Result<Event, EngineError> {
        let (message, hint) = match trouble {
            Trouble::Engine(problem) => return Err(problem),
            Trouble::Words(words) => (words, None),
            Trouble::Party(problem) => (problem.to_string(), problem.retry_after),
        };
        let attempts = self.rotation.failure().map_or(0, |failure| failure.attempts);
        let pause = self.pause(FIRST_RETRY, attempts).max(hint.unwrap_or_default());
        warn!(secret = %self.rotation.secret, stage = self.stage_name(), error = message,
            "a step of a rotation did not work and is tried again");
        Ok(Event::Failed { message: message.into(), retry_at: after(self.engine.now(), pause) })
    }

    /// The new value is to be thrown away, and another one made later.
    fn rejected(&self, message: String) -> Next {
        self.rejection(message).into()
    }

    fn rejection(&self, message: String) -> Event {
        let pause = self.pause(FIRST_REPEAT, self.rotation.setbacks);
        warn!(secret = %self.rotation.secret, stage = self.stage_name(), error = message,
            "the new value of a rotation is thrown away");
        Event::Rejected { message: message.into(), retry_at: after(self.engine.now(), pause) }
    }

    /// Doubling, up to an hour, and a bit more that differs from secret to secret and from time to time.
    fn pause(&self, first: Duration, times: u32) -> Duration {
        let pause = first.saturating_mul(1 << times.min(20)).min(LAST_RETRY);
        let spread = spread_of(&self.rotation.secret).rotate_left(times.saturating_mul(8)) & 0xff;
        let quarter = pause.as_millis().saturating_mul(u128::from(spread)) / 1024;
        pause.saturating_add(Duration::from_millis(u64::try_from(quarter).unwrap_or_default()))
    }

    fn stage_name(&self) -> &'static str {
        self.rotation.course.as_ref().map_or("idle", |course| course.stage.name())
    }

    /// Where the secret lives.
    fn shelf<'c>(&self, course: &'c Course) -> Result<Shelf<'c>, Trouble> {
        Shelf::of(self.engine, &course.provider, &course.reference)
    }

    /// Who accepts its values; `None` when nobody has to be told.
    fn aim(&self, course: &Course) -> Result<Option<Aim>, Trouble> {
        course.plan.strategy.target().map(|target| Aim::of(self.engine, target)).transpose()
    }

    /// The version that somebody else made current, if so.
    async fn overtaken_by(&self, course: &Course) -> Result<Option<VersionId>, Trouble> {
        let current = self.shelf(course)?.current().await?.version;
        let ours = course.old.as_ref() == Some(&current) || course.new.as_ref() == Some(&current);
        Ok((!ours).then_some(current))
    }
}

impl Begun {
    /// Whether this process has begun this rotation's task at its back end.
    fn has(&self, path: &SecretPath, serial: u64) -> bool {
        self.lock().get(path).is_some_and(|(known, _)| *known == serial)
    }

    fn value(&self, path: &SecretPath, serial: u64) -> Option<SecretValue> {
        self.lock().get(path).filter(|(known, _)| *known == serial)?.1.clone()
    }

    fn note(&self, path: &SecretPath, serial: u64, value: Option<SecretValue>) {
        self.lock().insert(path.clone(), (serial, value));
    }

    fn forget(&self, path: &SecretPath) {
        self.lock().remove(path);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SecretPath, (u64, Option<SecretValue>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Event> for Step {
    fn from(event: Event) -> Self {
        Self { event, tags: Tags::new(), decision: None, unwritten: false }
    }
}

impl From<Event> for Next {
    fn from(event: Event) -> Self {
        Self::Step(Box::new(event.into()))
    }
}

impl From<ProviderError> for Trouble {
    fn from(problem: ProviderError) -> Self {
        Self::Party(problem)
    }
}

impl From<EngineError> for Trouble {
    fn from(problem: EngineError) -> Self {
        Self::Engine(problem)
    }
}

impl From<NoEntropy> for Trouble {
    fn from(problem: NoEntropy) -> Self {
        Self::Engine(problem.into())
    }
}
