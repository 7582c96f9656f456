//! A secret that the broker reads for itself, to sign in at one of its back ends. The configuration names it, and is the
//! leave to read it; each reading has its record all the same.

use std::sync::Arc;

use leasehold_core::{
    SecretPath,
    catalog::Source,
    provider::{ErrorClass, Fetched, ProviderError},
    record::Kind,
    rotation::Rotation,
    secret::VersionId,
    state::Commit,
};

use crate::{engine::Engine, error::EngineError};

impl Engine {
    /// A static secret of the catalog, for the broker itself: from the cache or through it, as for everybody. When
    /// `refused` is what the cache has, the back end is asked again; and when it is what is current, and a rotation is
    /// replacing it, the other version of that rotation is given: the target may have taken it already, and the broker
    /// needs its back end to bring the rotation to its end.
    ///
    /// # Errors
    /// When there is no such secret, its back end does not give it, or the reading cannot be recorded.
    pub async fn own_secret(
        self: &Arc<Self>,
        path: &SecretPath,
        refused: Option<&VersionId>,
    ) -> Result<Fetched, EngineError> {
        let mut record = self.record(Kind::SecretRead, &self.broker);
        record.secret = Some(path.clone());
        let Some((resolved, upstream)) = self.resolve(path) else {
            return self.fail(record, absent("there is no such secret in the catalog")).await;
        };
        record.provider = Some(upstream.name.clone());
        let Source::Static { reference } = &resolved.entry.source else {
            return self
                .fail(record, absent("a secret that is made for each lease is nobody's password"))
                .await;
        };
        let freshness = resolved.entry.freshness;
        let now = record.time;
        let pinned = self.pinned(path);
        let mut found = self.value(&upstream, reference, pinned.as_ref(), freshness, now).await;
        if found.as_ref().is_ok_and(|found| Some(&found.cached.version) == refused) {
            self.cache.invalidate(&upstream.name, reference);
            found = self.value(&upstream, reference, pinned.as_ref(), freshness, now).await;
        }
        if let Some(refused) = refused
            && found.as_ref().is_ok_and(|found| found.cached.version == *refused)
            && let Some(other) = instead(self.rotation(path).await?.0, refused)
        {
            found = self.value(&upstream, reference, Some(&other), freshness, now).await;
        }
        let cached = match found {
            Ok(found) => found.cached,
            Err(error) => return self.fail(record, error).await,
        };
        record.version = Some(cached.version.clone());
        record.value_hmac.clone_from(&cached.tags);
        self.ledger.commit(Commit::record_only(record)).await?;
        Ok(Fetched { value: cached.value.clone(), version: cached.version.clone(), created_at: None })
    }
}

/// What may work where `refused` does not: the other version of a rotation that has not made its new one current, or what
/// was made current meanwhile.
fn instead(rotation: Rotation, refused: &VersionId) -> Option<VersionId> {
    let under_way = rotation.course.filter(|course| !course.is_promoted());
    let versions = under_way.map_or([None, None], |course| [course.new, course.old]);
    let current = rotation.current.map(|current| current.version);
    versions.into_iter().chain([current]).flatten().find(|version| version != refused)
}

fn absent(why: &str) -> EngineError {
    EngineError::Provider(Arc::new(ProviderError::new(ErrorClass::Absent, why)))
}
