//! GetRotation: one secret's rotation, with who holds the version that is being replaced.

use leasehold_core::{
    SecretPath,
    access::Action,
    record::{Actor, Kind},
    state::Commit,
};

use crate::{engine::Engine, error::EngineError, request::RotationReport};

impl Engine {
    /// A secret's rotation as it is, with the holders of the old version.
    ///
    /// # Errors
    /// [`EngineError::Denied`] also when there is no such secret, [`EngineError::NotRotated`] when it is not rotated.
    pub async fn read_rotation(&self, actor: Actor, path: SecretPath) -> Result<RotationReport, EngineError> {
        let mut record = self.record(Kind::RotationRead, &actor);
        let found = self.find_rotation(&mut record, Action::DescribeSecret, &path).await?;
        self.ledger.commit(Commit::record_only(record)).await?;
        self.full_report(found.rotation, found.plan).await
    }
}
