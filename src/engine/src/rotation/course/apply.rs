//! The target is told of the new value, and the new value is tried.

use leasehold_core::{
    provider::{ErrorClass, Trial},
    rotation::{Course, Event, Stage},
};

use super::{Driver, Next, Trouble, parties::turn};

/// A value that was applied and is refused so often is no good.
const TRIALS: u32 = 5;

impl Driver<'_> {
    pub(super) async fn apply(&self, course: &Course, fresh: bool) -> Result<Next, Trouble> {
        let Some(aim) = self.aim(course)? else { return Ok(Event::Applied.into()) };
        // Nothing is changed at the target for a value that nobody will lend.
        if let Some(version) = self.overtaken_by(course).await? {
            return Ok(Event::Overtaken { version }.into());
        }
        let (old, new) = (self.before(course).await?, self.made(course).await?);
        let token = self.rotation.token();
        let turn = turn(course, &self.rotation.secret, &token, old.as_ref(), &new);
        if !fresh {
            match aim.test(turn, &new).await {
                Ok(Trial::Accepted) => return Ok(Event::Applied.into()),
                Err(problem) if problem.class.is_retryable() => return Err(problem.into()),
                // It was not applied, or that cannot be told: applying it again is the same.
                Ok(Trial::Refused) | Err(_) => {}
            }
        }
        match aim.apply(turn).await {
            Ok(()) => Ok(Event::Applied.into()),
            Err(problem) if problem.class == ErrorClass::Invalid => Ok(self.rejected(problem.to_string())),
            Err(problem) => Err(problem.into()),
        }
    }

    pub(super) async fn test(&self, course: &Course) -> Result<Next, Trouble> {
        let new = self.made(course).await?;
        let Some(aim) = self.aim(course)? else { return Ok(Event::Tested.into()) };
        let old = self.before(course).await?;
        let token = self.rotation.token();
        let turn = turn(course, &self.rotation.secret, &token, old.as_ref(), &new);
        if let Trial::Accepted = aim.test(turn, &new).await? {
            return Ok(Event::Tested.into());
        }
        let refused = "the target took the new value and refuses it now that it is tried";
        let attempts = course.failure.as_ref().map_or(0, |failure| failure.attempts);
        if course.stage != Stage::Applied || attempts >= TRIALS {
            return Ok(self.rejected(refused.to_owned()));
        }
        // It may have been changed back, or not have come far enough: for the next trial.
        match aim.apply(turn).await {
            Err(problem) if problem.class == ErrorClass::Invalid => Ok(self.rejected(problem.to_string())),
            Err(problem) => Err(problem.into()),
            Ok(()) => Err(Trouble::Words(refused.to_owned())),
        }
    }
}
