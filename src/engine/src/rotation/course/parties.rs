//! Whom a rotation deals with: the back end that the secret lives in, and whoever accepts its values.

use std::sync::Arc;

use leasehold_core::{
    SecretValue,
    ports::Target,
    provider::{
        Change, ChangeSecret, ErrorClass, Fetch, Fetched, Finding, ProviderError, ProviderName, Trial, Turn,
        VersionFacts, WriteVersion,
    },
    rotation::{Course, TargetName},
    secret::VersionId,
};

use super::Trouble;
use crate::{engine::Engine, upstream::Upstream};

/// A secret in its back end. What is read here does not come from the cache and does not go into it.
pub(super) struct Shelf<'a> {
    pub(super) upstream: Arc<Upstream>,
    pub(super) reference: &'a str,
}

/// Who accepts values.
pub(super) enum Aim {
    /// A configured back end.
    Provider(Arc<Upstream>),
    /// An operator's program, which has its own limits.
    Program(Arc<dyn Target>),
}

impl<'a> Shelf<'a> {
    pub(super) fn of(engine: &Engine, provider: &ProviderName, reference: &'a str) -> Result<Self, Trouble> {
        Ok(Self { upstream: configured(engine, provider)?, reference })
    }

    /// What is read when no version is named.
    pub(super) async fn current(&self) -> Result<Fetched, ProviderError> {
        self.fetch(None).await
    }

    /// The value of one version.
    pub(super) async fn at(&self, version: &VersionId) -> Result<SecretValue, ProviderError> {
        Ok(self.fetch(Some(version)).await?.value)
    }

    async fn fetch(&self, version: Option<&VersionId>) -> Result<Fetched, ProviderError> {
        let fetch = Fetch { reference: self.reference, version };
        self.upstream.call(self.upstream.provider.fetch(fetch)).await
    }

    pub(super) async fn versions(&self) -> Result<Vec<VersionFacts>, ProviderError> {
        self.upstream.call(self.upstream.provider.versions(self.reference)).await
    }

    pub(super) async fn write(&self, write: WriteVersion<'_>) -> Result<VersionId, ProviderError> {
        self.upstream.call(self.upstream.provider.write(write)).await
    }

    pub(super) async fn change(
        &self,
        change: Change,
        version: &VersionId,
        expected: Option<&VersionId>,
    ) -> Result<(), ProviderError> {
        let change = ChangeSecret { reference: self.reference, version: Some(version), change, expected };
        self.upstream.call(self.upstream.provider.change(change)).await
    }

    /// Puts a pending version away. Where nothing can be put away, the next one that waits takes its place.
    pub(super) async fn discard(&self, pending: &VersionId) -> Result<(), ProviderError> {
        match self.upstream.call(self.upstream.provider.discard(self.reference, pending)).await {
            Err(problem) if !problem.class.is_retryable() => Ok(()),
            other => other,
        }
    }
}

impl Aim {
    pub(super) fn of(engine: &Engine, target: &TargetName) -> Result<Self, Trouble> {
        match target {
            TargetName::Provider(name) => Ok(Self::Provider(configured(engine, name)?)),
            TargetName::Program(program) => Ok(Self::Program(engine.rotation_parts.programs.target(program))),
        }
    }

    /// # Errors
    /// When it accepts nobody's values.
    pub(super) fn is_target(&self) -> Result<(), ProviderError> {
        match self {
            Self::Provider(upstream) => target(upstream).map(drop),
            Self::Program(_) => Ok(()),
        }
    }

    pub(super) async fn apply(&self, turn: Turn<'_>) -> Result<(), ProviderError> {
        match self {
            Self::Provider(upstream) => upstream.call(target(upstream)?.apply(turn)).await,
            Self::Program(program) => program.apply(turn).await,
        }
    }

    pub(super) async fn test(&self, turn: Turn<'_>, value: &SecretValue) -> Result<Trial, ProviderError> {
        match self {
            Self::Provider(upstream) => upstream.call(target(upstream)?.test(turn, value)).await,
            Self::Program(program) => program.test(turn, value).await,
        }
    }

    pub(super) async fn retire(&self, turn: Turn<'_>) -> Result<(), ProviderError> {
        match self {
            Self::Provider(upstream) => upstream.call(target(upstream)?.retire(turn)).await,
            Self::Program(program) => program.retire(turn).await,
        }
    }

    pub(super) async fn check(&self, turn: Turn<'_>) -> Result<Vec<Finding>, ProviderError> {
        match self {
            Self::Provider(upstream) => {
                let target = target(upstream)?;
                upstream.call(async { Ok(target.check(turn).await) }).await
            }
            Self::Program(program) => Ok(program.check(turn).await),
        }
    }

    /// Notes that a value works on that should not.
    pub(super) fn note_still_valid(&self) {
        if let Self::Provider(upstream) = self {
            upstream.note_still_valid();
        }
    }
}

/// What a target is told of a rotation.
pub(super) fn turn<'a>(
    course: &'a Course,
    secret: &'a leasehold_core::SecretPath,
    token: &'a str,
    old: Option<&'a SecretValue>,
    new: &'a SecretValue,
) -> Turn<'a> {
    let plan = &course.plan;
    Turn { secret, token, user_field: &plan.user_field, field: &plan.field, old, new }
}

fn configured(engine: &Engine, name: &ProviderName) -> Result<Arc<Upstream>, Trouble> {
    let found = engine.upstreams.get(name).cloned();
    found.ok_or_else(|| Trouble::Words(format!("the provider `{name}` is no longer configured")))
}

fn target(upstream: &Upstream) -> Result<&dyn Target, ProviderError> {
    let unfit = || ProviderError::new(ErrorClass::Permanent, format!("`{}` is no target", upstream.name));
    upstream.provider.target().ok_or_else(unfit)
}
