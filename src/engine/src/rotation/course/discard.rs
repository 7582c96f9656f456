//! A new version is thrown away: the target and the back end are set back, unless somebody else has the last word there.

use leasehold_core::{
    SecretValue,
    provider::{Change, ErrorClass, ProviderError, Trial},
    rotation::{Course, Event, Stage, Strategy},
    secret::VersionId,
};
use tracing::error;

use super::{
    Driver, Next, Trouble,
    create::Looked,
    parties::{Aim, Shelf, turn},
    retire::change,
};

impl Driver<'_> {
    pub(super) async fn discard(&self, course: &Course) -> Result<Next, Trouble> {
        let shelf = self.shelf(course)?;
        if course.plan.strategy == Strategy::Native {
            return self.let_be(&shelf).await;
        }
        let mut new = course.new.clone();
        let looked = match &new {
            None => Some(self.look(course).await?),
            Some(_) => None,
        };
        if let Some(Looked::Ours(version, _)) = &looked {
            new = Some(version.clone());
        }
        let current = match shelf.current().await {
            Err(problem) if problem.class == ErrorClass::Absent && course.old.is_none() => {
                return Ok(Event::Discarded { rewritten: None }.into());
            }
            current => current?,
        };
        let Some(old) = &course.old else {
            // The first one is nobody's to be replaced by: it stays.
            return Ok(self.seen_or_discarded(current.version));
        };
        let ours = new.as_ref() == Some(&current.version);
        let before = shelf.at(old).await?;
        let rewritten = self.engine.tags(&current.value) == self.engine.tags(&before);
        let theirs = current.version != *old && !ours && !rewritten;
        let keep = if theirs { &current.value } else { &before };
        if let (Some(aim), true) = (self.aim(course)?, course.reached(Stage::Created)) {
            self.set_back(course, &aim, new.as_ref(), keep).await?;
        }
        let mut version = None;
        if theirs {
            if self.rotation.current.as_ref().is_none_or(|known| known.version != current.version) {
                return Ok(self.seen_or_discarded(current.version));
            }
        } else if course.staged {
            if ours {
                shelf.change(Change::Promote, old, new.as_ref()).await?;
            }
        } else if ours {
            version = Some(self.write_back(&shelf, &before, &current.version, course.reached.len()).await?);
        } else if current.version == *old && new.is_none() && !self.unwritten {
            // A write that comes late finds another version current than it expects.
            version = match self.write_back(&shelf, &before, old, course.reached.len()).await {
                // As that one would.
                Err(Trouble::Party(problem)) if !problem.class.is_retryable() => None,
                written => Some(written?),
            };
        } else if current.version != *old {
            version = Some(current.version);
        }
        if let Some(new) = &new {
            self.put_aside(course, &shelf, new).await?;
        }
        self.engine.cache.invalidate(&course.provider, &course.reference);
        Ok(Event::Discarded { rewritten: version }.into())
    }

    /// What a back end did by itself is its own; what is current there is noted.
    async fn let_be(&self, shelf: &Shelf<'_>) -> Result<Next, Trouble> {
        match shelf.current().await {
            Ok(current) => Ok(self.seen_or_discarded(current.version)),
            Err(problem) if problem.class.is_retryable() => Err(problem.into()),
            Err(_) => Ok(Event::Discarded { rewritten: None }.into()),
        }
    }

    fn seen_or_discarded(&self, version: VersionId) -> Next {
        let known = self.rotation.current.as_ref().is_some_and(|known| known.version == version);
        if known {
            return Event::Discarded { rewritten: None }.into();
        }
        Event::Seen { version, made_at: None }.into()
    }

    /// Has the target accept what stays, and not what is thrown away.
    pub(super) async fn set_back(
        &self,
        course: &Course,
        aim: &Aim,
        new: Option<&VersionId>,
        keep: &SecretValue,
    ) -> Result<(), Trouble> {
        let thrown = match new {
            Some(new) => match self.shelf(course)?.at(new).await {
                Err(problem) if problem.class == ErrorClass::Absent => None,
                value => Some(value?),
            },
            None => None,
        };
        let token = self.rotation.token();
        let back = turn(course, &self.rotation.secret, &token, thrown.as_ref(), keep);
        let mut settled = Ok(());
        if matches!(aim.test(back, keep).await, Ok(Trial::Refused)) {
            settled = aim.apply(back).await;
        }
        if settled.is_ok() && course.plan.strategy.keeps_the_old_alive() && thrown.is_some() {
            settled = aim.retire(back).await;
        }
        self.unless_in_vain(course, settled)
    }

    /// A target that refuses to be set back, and that nothing is known to be changed at, is left as it is.
    fn unless_in_vain(&self, course: &Course, settled: Result<(), ProviderError>) -> Result<(), Trouble> {
        match settled {
            Err(problem) if problem.class.is_retryable() || course.reached(Stage::Applied) => {
                Err(problem.into())
            }
            Err(problem) => {
                error!(secret = %self.rotation.secret, error = %problem,
                    "the target of a rotation that was given up cannot be set back: look whether the current value works");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    async fn put_aside(&self, course: &Course, shelf: &Shelf<'_>, new: &VersionId) -> Result<(), Trouble> {
        if course.staged {
            shelf.discard(new).await?;
            return Ok(());
        }
        let change = change(course.plan.retire).filter(|change| shelf.upstream.capabilities().can(*change));
        let Some(change) = change else { return Ok(()) };
        match shelf.change(change, new, None).await {
            Err(problem) if problem.class.is_retryable() => Err(problem.into()),
            // It is of no use to anybody.
            _ => Ok(()),
        }
    }
}
