//! PauseRotation, ResumeRotation and RollBackRotation: what somebody does about a rotation that goes its way, or is to.

use std::sync::Arc;

use leasehold_core::{
    access::Action,
    record::{Kind, Record},
    rotation::{Event, Rotation, Stage, StepError},
    state::{Commit, Revision},
};

use super::Found;
use crate::{
    engine::Engine,
    error::EngineError,
    request::{RotationReport, SteerRotation},
};

/// A rotation that goes its way changes while it is looked at: it is looked at so often.
const TRIES: u32 = 8;

impl Engine {
    /// Has nothing done about a secret's rotation until it is resumed; a step that is being done is done to its end. To
    /// pause what is paused is a success.
    ///
    /// # Errors
    /// As [`EngineError`] says; whatever was decided or failed has been recorded.
    pub async fn pause_rotation(
        self: &Arc<Self>,
        request: SteerRotation,
    ) -> Result<RotationReport, EngineError> {
        self.shielded(request, Self::pause).await
    }

    /// Has it go on. To resume what is not paused is a success.
    ///
    /// # Errors
    /// As [`EngineError`] says; whatever was decided or failed has been recorded.
    pub async fn resume_rotation(
        self: &Arc<Self>,
        request: SteerRotation,
    ) -> Result<RotationReport, EngineError> {
        self.shielded(request, Self::resume).await
    }

    /// Makes the old version current again while it is draining, or gives a rotation up whose new version is not current.
    ///
    /// # Errors
    /// [`EngineError::Rotation`] when none is under way, or it is too late; otherwise as [`EngineError`] says. Whatever
    /// was decided or failed has been recorded.
    pub async fn roll_back_rotation(
        self: &Arc<Self>,
        request: SteerRotation,
    ) -> Result<RotationReport, EngineError> {
        self.shielded(request, Self::roll_back).await
    }

    async fn pause(self: &Arc<Self>, request: &SteerRotation) -> Result<RotationReport, EngineError> {
        self.steer(request, Kind::RotationPaused, Event::Pause).await
    }

    async fn resume(self: &Arc<Self>, request: &SteerRotation) -> Result<RotationReport, EngineError> {
        self.steer(request, Kind::RotationResumed, Event::Resume).await
    }

    async fn roll_back(self: &Arc<Self>, request: &SteerRotation) -> Result<RotationReport, EngineError> {
        self.steer(request, Kind::RotationRollingBack, Event::RollBack).await
    }

    async fn steer(
        self: &Arc<Self>,
        request: &SteerRotation,
        kind: Kind,
        event: Event,
    ) -> Result<RotationReport, EngineError> {
        let mut record = self.record(kind, &request.actor);
        record.request_id.clone_from(&request.request_id);
        if let Some(reason) = &request.reason {
            record.details.insert("reason".to_owned(), reason.clone());
        }
        let mut found = self.find_rotation(&mut record, Action::RotateSecret, &request.secret).await?;
        for _ in 0..TRIES {
            let Found { rotation, revision, plan } = found;
            let stepped = self.try_to_steer(&rotation, revision, &event, record.clone()).await;
            match stepped {
                Ok(rotation) => {
                    self.expect_rotation(&request.secret, record.time);
                    return self.full_report(rotation, plan).await;
                }
                Err(EngineError::Conflict) => {}
                Err(error @ EngineError::Rotation(_)) => return self.fail(record, error).await,
                Err(error) => return Err(error),
            }
            let (rotation, revision) = self.rotation(&request.secret).await?;
            found = Found { rotation, revision, plan };
        }
        Err(EngineError::Conflict)
    }

    /// Writes what the event makes of the rotation: nothing but the record when it is so already.
    async fn try_to_steer(
        &self,
        before: &Rotation,
        revision: Option<Revision>,
        event: &Event,
        mut record: Record,
    ) -> Result<Rotation, EngineError> {
        let now = record.time;
        let next = before.clone().step(event.clone(), now)?;
        if next == *before {
            let already = if before.paused.is_some() { "paused" } else { "not paused" };
            record.details.insert("already".to_owned(), already.to_owned());
            self.ledger.commit(Commit::record_only(record)).await?;
            return Ok(next);
        }
        if let Some(course) = &before.course {
            record.version.clone_from(&course.new);
            record.details.insert("stage".to_owned(), course.stage.name().to_owned());
        }
        if matches!(event, Event::RollBack) {
            if self.held().is_some() {
                return self.fail(record, EngineError::OnHold).await;
            }
            let stage = next.course.as_ref().map(|course| course.stage);
            if stage == Some(Stage::Discarding) {
                if before.course.as_ref().map(|course| course.stage) == stage {
                    return Err(StepError::OutOfPlace.into());
                }
                record.kind = Kind::RotationGivenUp;
            }
        }
        let (next, _) = self.step_rotation(before, revision, event.clone(), now, record).await?;
        Ok(next)
    }
}
