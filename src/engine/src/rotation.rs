//! Rotation: one current version of a secret replaced by another, by the state machine of `leasehold_core::rotation`.
//!
//! This file reads and writes the durable state; whatever changes it goes through [`Engine::step_rotation`].

mod course;
mod drain;
mod timetable;
mod verbs;

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
};

use leasehold_core::{
    SecretPath, Timestamp,
    ports::{Generate, Programs},
    record::{Actor, Record},
    rotation::{Event, Rotation},
    secret::VersionId,
    state::{Commit, Condition, Key, KeyRange, LedgerError, Revision, Write},
};

use self::{course::Begun, timetable::Timetable};
pub use self::{
    course::RotationPreview,
    drain::VersionHolder,
    timetable::{RotationFigures, Standing, TooOld},
};
pub(crate) use self::{drain::Draining, verbs::Consequence};
use crate::{engine::Engine, error::EngineError};

/// What rotation needs beside the back ends.
pub struct RotationParts {
    /// What makes new values.
    pub generate: Arc<dyn Generate>,
    /// What runs operators' programs.
    pub programs: Arc<dyn Programs>,
    /// As whom the broker rotates by schedule.
    pub scheduler: Actor,
}

/// What is known of rotations in memory.
#[derive(Default)]
pub(crate) struct Rotations {
    pins: Pins,
    begun: Begun,
    /// How many versions were replaced: whoever read one before that may have an old one.
    replaced: AtomicU64,
    /// How many are being replaced: whoever reads one now may get an old one from the cache.
    replacing: AtomicU64,
    /// Every commit is shown to it.
    pub(crate) draining: Arc<Draining>,
    pub(crate) timetable: Timetable,
}

/// The versions that are lent although their back ends have newer ones, which are not promoted. Empty nearly always.
#[derive(Default)]
struct Pins {
    any: AtomicBool,
    versions: RwLock<HashMap<SecretPath, VersionId>>,
}

impl Pins {
    fn of(&self, path: &SecretPath) -> Option<VersionId> {
        // Every lease asks.
        if !self.any.load(Relaxed) {
            return None;
        }
        self.versions.read().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }

    fn set(&self, path: &SecretPath, version: Option<&VersionId>) {
        if version.is_none() && !self.any.load(Relaxed) {
            return;
        }
        let mut versions = self.versions.write().unwrap_or_else(PoisonError::into_inner);
        match version {
            Some(version) => drop(versions.insert(path.clone(), version.clone())),
            None => drop(versions.remove(path)),
        }
        self.any.store(!versions.is_empty(), Relaxed);
    }
}

/// When a version was read; absent while some version is being replaced.
#[derive(Clone, Copy)]
pub(crate) struct Reading(Option<u64>);

/// A version is being replaced until this is dropped.
struct Replacing<'a>(&'a AtomicU64);

impl Rotations {
    /// To be asked before a version is read that is to be lent.
    pub(crate) fn reading(&self) -> Reading {
        let replaced = self.replaced.load(SeqCst);
        Reading(Some(replaced).filter(|_| self.replacing.load(SeqCst) == 0))
    }

    /// Whether no version was replaced since.
    pub(crate) fn is_as_read(&self, reading: Reading) -> bool {
        reading.0 == Some(self.replaced.load(SeqCst))
    }

    /// A version is about to be replaced: from before that is durable until nothing in memory is of the old one any more.
    fn replacing(&self) -> Replacing<'_> {
        self.replacing.fetch_add(1, SeqCst);
        self.replaced.fetch_add(1, SeqCst);
        Replacing(&self.replacing)
    }
}

impl Drop for Replacing<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Engine {
    /// What must hold when a lease on a version is committed that was read before some version was replaced, or meanwhile:
    /// nobody waits any more for new holders of one that is draining. Whoever tries again reads anew.
    ///
    /// # Errors
    /// [`EngineError::Conflict`] when it was replaced.
    pub(crate) async fn still_lent(
        &self,
        path: &SecretPath,
        version: &VersionId,
    ) -> Result<Option<Condition>, EngineError> {
        let (rotation, revision) = self.rotation(path).await?;
        let replaced = rotation.course.as_ref().is_some_and(|course| {
            course.is_promoted() && course.replaced().any(|replaced| replaced == version)
        });
        if replaced {
            self.note_rotation(&rotation);
            if let Some(course) = &rotation.course {
                self.cache.invalidate(&course.provider, &course.reference);
            }
            return Err(EngineError::Conflict);
        }
        Ok(revision.map(|revision| Condition::Unchanged(Key::rotation(path), revision)))
    }

    /// Takes note of where a rotation is, as the ledger has it.
    fn note_rotation(&self, rotation: &Rotation) {
        self.rotations.pins.set(&rotation.secret, rotation.pinned());
        self.rotations.draining.note(rotation);
    }

    /// The version that is lent whatever the back end's newest is.
    pub(crate) fn pinned(&self, path: &SecretPath) -> Option<VersionId> {
        self.rotations.pins.of(path)
    }

    /// Reads what an earlier process left unfinished. Nothing may be issued before that.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn resume_rotations(&self) -> Result<Vec<SecretPath>, EngineError> {
        const PAGE: usize = 1000;
        let (mut range, mut open) = (KeyRange::open_rotations(), Vec::new());
        loop {
            let page = self.ledger.scan(&range, PAGE).await?;
            for path in page.iter().filter_map(|entry| entry.key.rotation_of()) {
                let (rotation, _) = self.rotation(&path).await?;
                self.note_rotation(&rotation);
                open.push(path);
            }
            match page.last() {
                Some(last) if page.len() == PAGE => range = range.after(&last.key),
                _ => return Ok(open),
            }
        }
    }

    /// What is known of a secret's rotation, with the record that wrote it; nothing is a rotation too.
    pub(crate) async fn rotation(
        &self,
        path: &SecretPath,
    ) -> Result<(Rotation, Option<Revision>), EngineError> {
        match self.ledger.get(&Key::rotation(path)).await? {
            Some(entry) => {
                let rotation = Rotation::decode(&entry.value)
                    .map_err(|problem| EngineError::Internal(problem.to_string()))?;
                Ok((rotation.written_by(entry.revision), Some(entry.revision)))
            }
            None => Ok((Rotation::new(path.clone()), None)),
        }
    }

    /// What makes a version the current one with whoever commits it, so that holders of others learn of it: nothing when it
    /// is so already, as after a write that was repeated.
    pub(crate) async fn made_current(
        &self,
        secret: &SecretPath,
        version: &VersionId,
        now: Timestamp,
    ) -> Result<(Vec<Condition>, Vec<Write>), EngineError> {
        let (before, revision) = self.rotation(secret).await?;
        let next = before.clone().step(Event::Made { version: version.clone() }, now)?;
        if next.told == before.told {
            return Ok((Vec::new(), Vec::new()));
        }
        let (condition, writes) = rotation_writes(&before, revision, &next)?;
        Ok((vec![condition], writes))
    }

    /// Writes down that somebody made a version the current one. It is so already: whoever changes the rotation at the same
    /// time does not undo it.
    pub(crate) async fn record_current(
        &self,
        record: Record,
        secret: &SecretPath,
        version: &VersionId,
    ) -> Result<(), EngineError> {
        loop {
            let (conditions, writes) = self.made_current(secret, version, record.time).await?;
            match self.ledger.commit(Commit { record: record.clone(), conditions, writes }).await {
                Ok(_) => {
                    self.reconsider_rotation(secret);
                    return Ok(());
                }
                Err(LedgerError::Conflict(_)) => {}
                Err(problem) => return Err(problem.into()),
            }
        }
    }

    /// Takes a rotation a step on and makes that durable with its record, on condition that nobody else did.
    ///
    /// # Errors
    /// [`EngineError::Rotation`] when the event does not apply, [`EngineError::Conflict`] when somebody was faster.
    pub(crate) async fn step_rotation(
        &self,
        before: &Rotation,
        revision: Option<Revision>,
        event: Event,
        now: Timestamp,
        record: Record,
    ) -> Result<(Rotation, Revision), EngineError> {
        let next = before.clone().step(event, now)?;
        let (condition, writes) = rotation_writes(before, revision, &next)?;
        // Before it is durable: who asks in between is lent what was current.
        let pins = next.pinned().is_some() && before.pinned().is_none();
        if pins {
            self.rotations.pins.set(&next.secret, next.pinned());
        }
        let revision = match self.ledger.commit(Commit { record, conditions: vec![condition], writes }).await
        {
            Ok(revision) => revision,
            Err(problem) => {
                // Whoever was faster has pinned what is pinned now.
                if pins {
                    self.rotations.pins.set(&before.secret, None);
                }
                return Err(problem.into());
            }
        };
        self.note_rotation(&next);
        Ok((next.written_by(revision), revision))
    }
}

/// The writes that turn `before` into `next`, on condition that nobody else wrote.
pub(crate) fn rotation_writes(
    before: &Rotation,
    revision: Option<Revision>,
    next: &Rotation,
) -> Result<(Condition, Vec<Write>), EngineError> {
    let key = Key::rotation(&next.secret);
    let condition = match revision {
        Some(revision) => Condition::Unchanged(key.clone(), revision),
        None => Condition::Absent(key.clone()),
    };
    let stored = next.encode().map_err(|problem| EngineError::Internal(problem.to_string()))?;
    let mut writes = vec![Write::put(key, stored)];
    let (was_open, is_open) = (is_open(before), is_open(next));
    if is_open && !was_open {
        writes.push(Write::mark(Key::rotation_open(&next.secret)));
    } else if was_open && !is_open {
        writes.push(Write::delete(Key::rotation_open(&next.secret)));
    }
    Ok((condition, writes))
}

/// Whether something is to be done about it, or is deliberately not done.
const fn is_open(rotation: &Rotation) -> bool {
    rotation.course.is_some() || rotation.wanted.is_some() || rotation.paused.is_some()
}
