//! The new version becomes current, if nobody made another one so.

use leasehold_core::{
    provider::{Change, ErrorClass},
    rotation::{Course, Event},
};

use super::{Driver, Next, Trouble};

impl Driver<'_> {
    pub(super) async fn promote(&self, course: &Course) -> Result<Next, Trouble> {
        let Some(new) = &course.new else {
            return Err(Trouble::Words("the new version was not written".to_owned()));
        };
        let shelf = self.shelf(course)?;
        let promoted = || {
            self.engine.cache.invalidate(&course.provider, &course.reference);
            Ok(Event::Promoted { version: new.clone() }.into())
        };
        let current = shelf.current().await?.version;
        if current == *new {
            return promoted();
        }
        if course.old.as_ref() != Some(&current) {
            return Ok(Event::Overtaken { version: current }.into());
        }
        if !course.staged {
            let words = format!("{new} is not the newest version any more, and {current} is again");
            return Ok(self.rejected(words));
        }
        let changed = shelf.change(Change::Promote, new, Some(&current)).await;
        // Even a change that failed may have happened.
        self.engine.cache.invalidate(&course.provider, &course.reference);
        let problem = match changed {
            Ok(()) => return promoted(),
            Err(problem) if problem.class.is_retryable() => return Err(problem.into()),
            Err(problem) => problem,
        };
        let now = shelf.current().await?.version;
        if now == *new {
            promoted()
        } else if now != current {
            Ok(Event::Overtaken { version: now }.into())
        } else if matches!(problem.class, ErrorClass::Absent | ErrorClass::Invalid) {
            Ok(self.rejected(problem.to_string()))
        } else {
            Err(problem.into())
        }
    }
}
