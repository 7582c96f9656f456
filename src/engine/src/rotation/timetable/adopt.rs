//! Adoption: how old the current version of a secret is that the broker has not met.

use std::sync::Arc;

use leasehold_core::{
    SecretPath,
    catalog::Source,
    provider::{ErrorClass, Fetch, ProviderError},
    record::Kind,
    rotation::{Event, Rotation},
    secret::VersionId,
    state::Revision,
};

use crate::{engine::Engine, error::EngineError, upstream::Upstream};

/// The current version, and when it was made if the back end says so.
type Current = (VersionId, Option<leasehold_core::Timestamp>);

impl Engine {
    /// Asks the back end for the current version of a secret and makes it durable: from its age on, the secret has a
    /// schedule. The inner error is why the back end does not say.
    pub(super) async fn adopt(
        self: &Arc<Self>,
        path: &SecretPath,
        (rotation, revision): (&Rotation, Option<Revision>),
    ) -> Result<Result<(), ProviderError>, EngineError> {
        let Some((resolved, upstream)) = self.resolve(path) else { return Ok(Ok(())) };
        let Source::Static { reference } = &resolved.entry.source else { return Ok(Ok(())) };
        let (version, made_at) = match current(&upstream, reference).await {
            Ok(current) => current,
            Err(problem) => return Ok(Err(problem)),
        };
        let mut record = self.record(Kind::RotationSeen, &self.rotation_parts.scheduler);
        record.secret = Some(path.clone());
        record.provider = Some(upstream.name.clone());
        record.version = Some(version.clone());
        if let Some(made_at) = made_at {
            record.details.insert("made_at".to_owned(), made_at.to_string());
        }
        let now = record.time;
        let event = Event::Seen { version, made_at };
        match self.step_rotation(rotation, revision, event, now, record).await {
            // Somebody made a version current in the same moment: it is known.
            Ok(_) | Err(EngineError::Conflict) => Ok(Ok(())),
            Err(problem) => Err(problem),
        }
    }
}

/// A list of versions has no values in it: where there is one, none is read.
async fn current(upstream: &Upstream, reference: &str) -> Result<Current, ProviderError> {
    if upstream.capabilities().versions {
        match upstream.call(upstream.provider.versions(reference)).await {
            Ok(versions) => {
                if let Some(facts) = versions.into_iter().find(|facts| facts.current) {
                    return Ok((facts.version, facts.created_at));
                }
            }
            // Whoever may read need not be allowed to list.
            Err(problem) if problem.class.is_retryable() || problem.class == ErrorClass::Absent => {
                return Err(problem);
            }
            Err(_) => {}
        }
    }
    let fetched = upstream.call(upstream.provider.fetch(Fetch { reference, version: None })).await?;
    Ok((fetched.version, fetched.created_at))
}
