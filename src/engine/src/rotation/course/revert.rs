//! The way back: the old value is accepted and current again, while the old version lives.

use leasehold_core::{
    SecretValue,
    provider::{Change, Stage, Trial, WriteVersion},
    rotation::{Course, Event},
    secret::VersionId,
};

use super::{
    Driver, Next, Trouble,
    parties::{Shelf, turn},
};

impl Driver<'_> {
    pub(super) async fn revert(&self, course: &Course) -> Result<Next, Trouble> {
        let (Some(old), Some(new)) = (&course.old, &course.new) else {
            return Err(Trouble::Words("there is no older version to go back to".to_owned()));
        };
        let shelf = self.shelf(course)?;
        let before = shelf.at(old).await?;
        let current = shelf.current().await?;
        let rewritten = self.engine.tags(&current.value) == self.engine.tags(&before);
        if current.version != *new && current.version != *old && !rewritten {
            if let Some(aim) = self.aim(course)? {
                self.set_back(course, &aim, Some(new), &current.value).await?;
            }
            return Ok(Event::Overtaken { version: current.version }.into());
        }
        if let Some(aim) = self.aim(course)? {
            let after = shelf.at(new).await?;
            let token = self.rotation.token();
            let back = turn(course, &self.rotation.secret, &token, Some(&after), &before);
            if aim.test(back, &before).await? == Trial::Refused {
                aim.apply(back).await?;
                if aim.test(back, &before).await? == Trial::Refused {
                    let words = "the target took the old value back and refuses it now that it is tried";
                    return Err(Trouble::Words(words.to_owned()));
                }
            }
        }
        let version = if current.version != *new {
            current.version
        } else if course.staged {
            shelf.change(Change::Promote, old, Some(new)).await?;
            old.clone()
        } else {
            self.write_back(&shelf, &before, new, course.reached.len()).await?
        };
        self.engine.cache.invalidate(&course.provider, &course.reference);
        Ok(Event::Reverted { version }.into())
    }

    /// Writes an old value once more, as the newest version, where no other way leads back. The same however often it is
    /// done in one stage of a rotation, which is the so-manieth that it has reached.
    pub(super) async fn write_back(
        &self,
        shelf: &Shelf<'_>,
        before: &SecretValue,
        expected: &VersionId,
        reached: usize,
    ) -> Result<VersionId, Trouble> {
        let token = format!("{}-back-{reached}", self.rotation.token());
        let write = WriteVersion {
            reference: shelf.reference,
            value: before,
            token: &token,
            expected: Some(expected),
            stage: Stage::Current,
        };
        Ok(shelf.write(write).await?)
    }
}
