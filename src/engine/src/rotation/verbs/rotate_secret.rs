//! RotateSecret: somebody wants a secret rotated now, or wants to know what that would do.

use std::sync::Arc;

use leasehold_core::{
    access::Action,
    record::Kind,
    rotation::{Event, StepError, Why},
    state::Commit,
};

use super::Found;
use crate::{
    engine::Engine,
    error::EngineError,
    request::{RotateAnswer, RotateSecret},
};

impl Engine {
    /// Has a secret rotated as soon as possible; one that is wanted already is the same. With `dry_run` everything up to
    /// the first write is tried, and nothing changed.
    ///
    /// # Errors
    /// [`EngineError::Rotation`] when one is under way; otherwise as [`EngineError`] says. Whatever was decided or failed
    /// has been recorded.
    pub async fn rotate_secret(self: &Arc<Self>, request: RotateSecret) -> Result<RotateAnswer, EngineError> {
        self.shielded(request, Self::ask_for_rotation).await
    }

    async fn ask_for_rotation(self: &Arc<Self>, request: &RotateSecret) -> Result<RotateAnswer, EngineError> {
        let kind = if request.dry_run { Kind::RotationPreviewed } else { Kind::RotationRequested };
        let mut record = self.record(kind, &request.actor);
        record.request_id.clone_from(&request.request_id);
        if let Some(reason) = &request.reason {
            record.details.insert("reason".to_owned(), reason.clone());
        }
        let found = self.find_rotation(&mut record, Action::RotateSecret, &request.secret).await?;
        let Found { rotation, revision, plan } = found;
        if plan.is_none() {
            return self.fail(record, EngineError::NotRotated).await;
        }
        if request.dry_run {
            let preview = match self.preview_rotation(&request.secret).await {
                Ok(preview) => preview,
                Err(problem) => return self.fail(record, problem).await,
            };
            self.ledger.commit(Commit::record_only(record)).await?;
            let rotation = self.report(rotation, plan).await?;
            return Ok(RotateAnswer { rotation, preview: Some(preview) });
        }
        if rotation.course.is_some() {
            return self.fail(record, StepError::UnderWay.into()).await;
        }
        if self.held().is_some() {
            return self.fail(record, EngineError::OnHold).await;
        }
        let now = record.time;
        let why = Why::Request { by: request.actor.id.clone() };
        let event = Event::Want { why, not_before: now };
        let (rotation, _) = self.step_rotation(&rotation, revision, event, now, record).await?;
        self.expect_rotation(&request.secret, now);
        Ok(RotateAnswer { rotation: self.report(rotation, plan).await?, preview: None })
    }
}
