//! Operators' programs as targets of rotations.

use std::sync::Arc;

use async_trait::async_trait;
use leasehold_core::{
    SecretValue,
    ports::{Programs, Target},
    provider::{Finding, ProviderError, Trial, Turn},
    rotation::Program,
};

/// Runs programs as this process's children.
pub(crate) struct Children;

impl Programs for Children {
    fn target(&self, program: &Program) -> Arc<dyn Target> {
        Arc::new(Child { program: program.clone() })
    }
}

struct Child {
    program: Program,
}

impl Child {
    fn unsupported(&self) -> ProviderError {
        let program = self.program.command.first().map(|file| &**file).unwrap_or_default();
        ProviderError::unsupported(&format!("be asked: running `{program}` is not built yet"))
    }
}

#[async_trait]
impl Target for Child {
    async fn apply(&self, _turn: Turn<'_>) -> Result<(), ProviderError> {
        Err(self.unsupported())
    }

    async fn test(&self, _turn: Turn<'_>, _value: &SecretValue) -> Result<Trial, ProviderError> {
        Err(self.unsupported())
    }

    async fn retire(&self, _turn: Turn<'_>) -> Result<(), ProviderError> {
        Err(self.unsupported())
    }

    async fn check(&self, _turn: Turn<'_>) -> Vec<Finding> {
        Vec::new()
    }
}
