//! The new version comes to be: written by the broker, or made by the back end itself.

use std::time::Duration;

use leasehold_core::{
    provider::{ErrorClass, Followed, Stage, VersionState, WriteVersion},
    rotation::{Course, Event, Tags},
    secret::VersionId,
    ttl::{after, until},
};

use super::{Driver, Next, Step, Trouble};

/// So many of the newest versions are looked at for one that waits.
const NEWEST: usize = 8;
/// A back end that rotates by itself is asked how far it has come no more and no less often than this.
const SOONEST: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(30);
/// What takes a back end longer than this is worth saying.
const LONG: Duration = Duration::from_secs(900);

/// What there is of the new version.
pub(super) enum Looked {
    /// It was written.
    Ours(VersionId, Tags),
    /// Somebody else made this version current.
    Theirs(VersionId),
    /// Nothing.
    Nothing,
}

impl Driver<'_> {
    pub(super) async fn write(&self, course: &Course, fresh: bool) -> Result<Next, Trouble> {
        let (path, serial) = (&self.rotation.secret, self.rotation.serial);
        let shelf = self.shelf(course)?;
        // One whose tags did not become durable is not written: nobody would know it again.
        let begun = self.engine.rotations.begun.value(path, serial);
        let value = begun.filter(|value| course.recognises(&self.engine.tags(value)));
        // Only what this process has just begun cannot have been written.
        let first = fresh && value.is_some();
        if !first && let Some(found) = found(self.look(course).await?) {
            return Ok(found);
        }
        let Some(value) = value else {
            let old = self.before(course).await?;
            let new = self.new_value(&course.plan, &shelf, old.as_ref()).await?;
            let tags = self.engine.tags(&new);
            self.engine.rotations.begun.note(path, serial, Some(new));
            return Ok(Event::MadeAnew { tags }.into());
        };
        let waits = course.staged && course.old.is_some();
        let written = shelf
            .write(WriteVersion {
                reference: shelf.reference,
                value: &value,
                token: &self.rotation.write_token(),
                expected: course.old.as_ref(),
                // Nobody can hold one before the first, and nobody waits for it in vain.
                stage: if waits { Stage::Pending } else { Stage::Current },
            })
            .await;
        match written {
            Ok(version) => Ok(created(version, self.engine.tags(&value))),
            Err(problem) if problem.class.is_retryable() => Err(problem.into()),
            Err(problem) => match found(self.look(course).await?) {
                Some(found) => Ok(found),
                None => {
                    let unwritten = first && course.tags.len() == 1;
                    let event = self.rejection(problem.to_string());
                    Ok(Next::Step(Box::new(Step { unwritten, ..event.into() })))
                }
            },
        }
    }

    /// Looks for the new version.
    pub(super) async fn look(&self, course: &Course) -> Result<Looked, Trouble> {
        let shelf = self.shelf(course)?;
        match shelf.current().await {
            Ok(current) if course.old.as_ref() == Some(&current.version) => {}
            Ok(current) => {
                let tags = self.engine.tags(&current.value);
                return Ok(if course.recognises(&tags) {
                    Looked::Ours(current.version, tags)
                } else {
                    Looked::Theirs(current.version)
                });
            }
            Err(problem) if problem.class == ErrorClass::Absent && course.old.is_none() => {}
            Err(problem) => return Err(problem.into()),
        }
        if course.staged && course.old.is_some() {
            let versions = shelf.versions().await?;
            let readable = versions.into_iter().filter(|known| known.state == VersionState::Enabled);
            for known in readable.filter(|known| !known.current).take(NEWEST) {
                let value = match shelf.at(&known.version).await {
                    Err(problem) if problem.class == ErrorClass::Absent => continue,
                    value => value?,
                };
                let tags = self.engine.tags(&value);
                if course.recognises(&tags) {
                    return Ok(Looked::Ours(known.version, tags));
                }
            }
        }
        Ok(Looked::Nothing)
    }

    pub(super) async fn follow(&self, course: &Course) -> Result<Next, Trouble> {
        let (path, serial) = (&self.rotation.secret, self.rotation.serial);
        let shelf = self.shelf(course)?;
        let Some(native) = shelf.upstream.provider.native() else {
            return Ok(self.rejected("its back end rotates nothing by itself any more".to_owned()));
        };
        let token = self.rotation.token();
        let follow = || shelf.upstream.call(native.follow(shelf.reference, &token, course.old.as_ref()));
        let begun = &self.engine.rotations.begun;
        let mut come = Followed::Running;
        // What an earlier process began may be done, and is not to be begun again then.
        if begun.has(path, serial) || !self.fresh {
            come = follow().await?;
        }
        if come == Followed::Running && !begun.has(path, serial) {
            match shelf.upstream.call(native.start(shelf.reference, &token)).await {
                Err(problem) if !problem.class.is_retryable() => {
                    return Ok(self.rejected(problem.to_string()));
                }
                started => started?,
            }
            begun.note(path, serial, None);
            come = follow().await?;
        }
        match come {
            Followed::Done(version) => {
                self.engine.cache.invalidate(&course.provider, &course.reference);
                Ok(Event::Promoted { version }.into())
            }
            Followed::Failed(why) => Ok(self.rejected(why)),
            Followed::Running => {
                let now = self.engine.now();
                let begun = course.reached.first().map_or(now, |(_, at)| *at);
                let taken = until(begun, now);
                if taken > LONG && course.failure.is_none() {
                    let minutes = taken.as_secs() / 60;
                    let words = format!("the back end has not come to an end in {minutes} minutes");
                    return Err(Trouble::Words(words));
                }
                Ok(Next::Wait(Some(after(now, taken.div_f64(4.0).clamp(SOONEST, LATEST)))))
            }
        }
    }
}

fn found(looked: Looked) -> Option<Next> {
    match looked {
        Looked::Ours(version, tags) => Some(created(version, tags)),
        Looked::Theirs(version) => Some(Event::Overtaken { version }.into()),
        Looked::Nothing => None,
    }
}

fn created(version: VersionId, tags: Tags) -> Next {
    Next::Step(Box::new(Step { tags, ..Event::Written { version }.into() }))
}
