//! The end of the old version: its holders let go, its value is made unusable and tried, and it is put away.

use std::time::Duration;

use leasehold_core::{
    SecretValue,
    provider::{Change, ErrorClass, ProviderError, Trial, Verification},
    rotation::{Course, Event, Plan, Retire, Strategy},
    secret::VersionId,
    state::KeyRange,
    ttl::after,
};
use tracing::error;

use super::{
    Driver, Next, Trouble,
    parties::{Aim, Shelf, turn},
    value::other_user,
};

/// Who lets go of a version beside the old one is looked for this often.
const PERIOD: Duration = Duration::from_secs(5);

impl Driver<'_> {
    pub(super) async fn drain(&self, course: &Course) -> Result<Next, Trouble> {
        let (path, now) = (&self.rotation.secret, self.engine.now());
        let mut holders = 0_u64;
        let over = course.drain_deadline.is_none_or(|deadline| deadline <= now);
        for version in course.replaced() {
            if !over && self.engine.is_held(path, version).await? {
                let deadline = course.drain_deadline;
                let twins = !course.twins.is_empty();
                let look = twins.then(|| after(now, PERIOD));
                return Ok(Next::Wait(deadline.into_iter().chain(look).min()));
            }
            if over {
                holders =
                    holders.saturating_add(self.engine.count(KeyRange::on_version(path, version)).await?);
            }
        }
        self.is_replaced(course).await?;
        Ok(Event::Drained { holders }.into())
    }

    /// That no version is current that is about to be retired.
    async fn is_replaced(&self, course: &Course) -> Result<(), Trouble> {
        let known = self.rotation.current.as_ref().map(|current| current.version.clone());
        let current = match self.shelf(course)?.current().await {
            Err(problem) if problem.class.is_retryable() => return Err(problem.into()),
            Err(_) => None,
            Ok(current) => Some(current.version),
        };
        for version in known.into_iter().chain(current) {
            if course.replaced().any(|replaced| *replaced == version) {
                let words =
                    format!("{version} was made current again and is not retired: roll the rotation back");
                return Err(Trouble::Words(words));
            }
        }
        Ok(())
    }

    pub(super) async fn retire(&self, course: &Course) -> Result<Next, Trouble> {
        let shelf = self.shelf(course)?;
        let verification = match (&course.plan.strategy, self.aim(course)?) {
            (_, Some(aim)) => {
                let verification = self.retire_at(course, &aim).await?;
                if verification == Verification::StillValid {
                    aim.note_still_valid();
                }
                verification
            }
            // Where else the old value was good for something, only the back end knows.
            (Strategy::Native, None) => Verification::Unverifiable,
            (_, None) => {
                let verification = self.take_away(course, &shelf).await?;
                if verification == Verification::StillValid {
                    shelf.upstream.note_still_valid();
                }
                verification
            }
        };
        let now = self.engine.now();
        if verification == Verification::StillValid {
            error!(secret = %self.rotation.secret, version = course.old.as_ref().map(VersionId::as_str),
                "an old value WORKS ON although it was retired: it is tried again until it does not");
        }
        let retry_at = after(now, self.engine.settings.quarantine_retry);
        Ok(Event::Dead { verification, retry_at }.into())
    }

    /// Has the target accept the old value no longer, and tries it.
    async fn retire_at(&self, course: &Course, aim: &Aim) -> Result<Verification, Trouble> {
        let shelf = self.shelf(course)?;
        // Somebody may have written another one since, perhaps for the user of the old one.
        let current = shelf.current().await?;
        let (new, theirs) = (current.value, course.new.as_ref() != Some(&current.version));
        let (old, known) = match self.before(course).await {
            Ok(Some(old)) => (old, true),
            Ok(None) => return Ok(Verification::Unverifiable),
            // Somebody removed it: whom it was for is known, and what it was is not.
            Err(Trouble::Party(problem)) if problem.class == ErrorClass::Absent => {
                (without_value(&course.plan, &new), false)
            }
            Err(trouble) => return Err(trouble),
        };
        let token = self.rotation.token();
        let turn = turn(course, &self.rotation.secret, &token, Some(&old), &new);
        aim.retire(turn).await?;
        if !known {
            return Ok(Verification::Unverifiable);
        }
        let mut tried = aim.test(turn, &old).await;
        let user = |value: &SecretValue| value.fields.get(turn.user_field).map(|user| user.expose().to_vec());
        if matches!(tried, Ok(Trial::Accepted)) && theirs && user(&old) == user(&new) {
            // They wrote it for the same user, and told nobody.
            aim.apply(turn).await?;
            tried = aim.test(turn, &old).await;
        }
        match tried {
            Ok(Trial::Refused) => Ok(Verification::Verified),
            Ok(Trial::Accepted) => Ok(Verification::StillValid),
            Err(problem) if problem.class.is_retryable() => Err(problem.into()),
            Err(_) => Ok(Verification::Unverifiable),
        }
    }

    /// Where the back end's copy is the only one: takes it away, and looks whether it can be read.
    async fn take_away(&self, course: &Course, shelf: &Shelf<'_>) -> Result<Verification, Trouble> {
        let Some(change) =
            change(course.plan.retire).filter(|change| shelf.upstream.capabilities().can(*change))
        else {
            return Ok(Verification::Unverifiable);
        };
        let mut verification = Verification::Verified;
        for version in course.replaced() {
            gone(shelf.change(change, version, None).await)?;
            match shelf.at(version).await {
                Ok(_) => return Ok(Verification::StillValid),
                Err(problem) if problem.class == ErrorClass::Absent => {}
                Err(problem) if problem.class.is_retryable() => return Err(problem.into()),
                Err(_) => verification = Verification::Unverifiable,
            }
        }
        Ok(verification)
    }

    pub(super) async fn put_away(&self, course: &Course) -> Result<Next, Trouble> {
        let shelf = self.shelf(course)?;
        // Without a target it was done before it was tried.
        let done = course.plan.strategy == Strategy::Generate;
        let native = course.plan.strategy == Strategy::Native;
        let change = change(course.plan.retire).filter(|change| shelf.upstream.capabilities().can(*change));
        if let Some(change) = change.filter(|_| !done) {
            for version in course.replaced() {
                match shelf.change(change, version, None).await {
                    // What the back end keeps of its own accord is its own.
                    Err(problem) if native && !problem.class.is_retryable() => {}
                    changed => gone(changed)?,
                }
            }
        }
        Ok(Event::Retired.into())
    }
}

/// What is gone needs no putting away.
fn gone(changed: Result<(), ProviderError>) -> Result<(), Trouble> {
    match changed {
        Err(problem) if problem.class == ErrorClass::Absent => Ok(()),
        changed => Ok(changed?),
    }
}

pub(super) const fn change(retire: Retire) -> Option<Change> {
    match retire {
        Retire::Keep => None,
        Retire::Disable => Some(Change::Disable),
        Retire::Destroy => Some(Change::Destroy),
    }
}

/// What is known of a value that is gone, from the one that replaced it: all but what was made anew.
fn without_value(plan: &Plan, new: &SecretValue) -> SecretValue {
    let mut old = new.clone();
    old.fields.remove(&plan.field);
    if let Strategy::Alternating { users, .. } = &plan.strategy
        && let Some(user) = other_user(plan, users, new)
    {
        old.fields.insert(plan.user_field.clone(), user.to_owned().into());
    }
    old
}
