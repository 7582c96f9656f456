//! What operators do with secrets: list, describe, write. None of these shows a value.

use std::sync::Arc;

use leasehold_core::{
    SecretPath,
    access::Action,
    catalog::{Resolved, Source},
    path::PathPrefix,
    provider::{ErrorClass, ProviderError, Stage, WriteVersion},
    record::{Actor, Kind},
    secret::VersionId,
    state::{Commit, KeyRange},
};
use tokio::task::coop;

use crate::{
    access::{Admitted, Context},
    engine::Engine,
    error::EngineError,
    request::{Page, SecretDescription, WriteSecret},
    shield::shield,
    upstream::Upstream,
};

const LONGEST_PAGE: usize = 1000;

impl Engine {
    /// The configured secrets that policy lets the caller see, in the order of their paths. What lies under a mount is
    /// known only to its back end and is not listed.
    ///
    /// # Errors
    /// [`EngineError::BadPageToken`], or when the ledger cannot be used.
    pub async fn list_secrets(
        &self,
        actor: Actor,
        prefix: Option<PathPrefix>,
        page_size: usize,
        page_token: Option<String>,
    ) -> Result<Page<SecretDescription>, EngineError> {
        let after: Option<SecretPath> = match page_token {
            Some(token) => Some(token.parse().map_err(|_| EngineError::BadPageToken)?),
            None => None,
        };
        let size = page_size.clamp(1, LONGEST_PAGE);
        let catalog = self.catalog();
        let asked = catalog
            .secrets()
            .map(|(path, _)| path)
            .filter(|path| prefix.as_ref().is_none_or(|prefix| prefix.rest_of(path).is_some()))
            .filter(|path| after.as_ref().is_none_or(|after| *path > after));
        let (mut items, mut more) = (Vec::<SecretDescription>::new(), false);
        for path in asked {
            // A decision takes its time, and there may be thousands: others get their turn.
            coop::consume_budget().await;
            if !self.decide_on(&actor, Action::DescribeSecret, path, Context::new()).is_allowed() {
                continue;
            }
            if items.len() == size {
                more = true;
                break;
            }
            if let Some((resolved, upstream)) = self.resolve(path) {
                items.push(self.description(path.clone(), resolved, &upstream).await?);
            }
        }
        let next_page_token = items.last().filter(|_| more).map(|item| item.path.to_string());
        let mut record = self.record(Kind::SecretDescribed, &actor);
        record.details.insert("listed".to_owned(), items.len().to_string());
        self.ledger.commit(Commit::record_only(record)).await?;
        Ok(Page { items, next_page_token })
    }

    /// What is configured of one secret.
    ///
    /// # Errors
    /// [`EngineError::Denied`] also when there is no such secret.
    pub async fn describe_secret(
        &self,
        actor: Actor,
        path: SecretPath,
    ) -> Result<SecretDescription, EngineError> {
        let mut record = self.record(Kind::SecretDescribed, &actor);
        record.secret = Some(path.clone());
        let Admitted { resolved, upstream, .. } =
            match self.admit(&mut record, Action::DescribeSecret, &path, Context::new()) {
                Ok(admitted) => admitted,
                Err(why) => return self.deny(record, why).await,
            };
        self.ledger.commit(Commit::record_only(record)).await?;
        self.description(path, resolved, &upstream).await
    }

    /// Writes a new version through the broker and returns its id.
    ///
    /// # Errors
    /// As [`EngineError`] says; whatever was decided or failed has been recorded.
    pub async fn write_secret(self: &Arc<Self>, request: WriteSecret) -> Result<VersionId, EngineError> {
        let engine = self.clone();
        shield(async move { engine.write(request).await }).await
    }

    async fn write(&self, request: WriteSecret) -> Result<VersionId, EngineError> {
        let mut record = self.record(Kind::SecretAttempted, &request.actor);
        record.secret = Some(request.secret.clone());
        record.request_id = request.request_id.clone();
        let Admitted { resolved, upstream, .. } =
            match self.admit(&mut record, Action::WriteSecret, &request.secret, Context::new()) {
                Ok(admitted) => admitted,
                Err(why) => return self.deny(record, why).await,
            };
        record.provider = Some(upstream.name.clone());
        let Source::Static { reference } = &resolved.entry.source else {
            let error = ProviderError::new(ErrorClass::Invalid, "a dynamic secret has no value to write");
            return self.fail(record, refused(error.of(&upstream.name))).await;
        };
        // The intent is durable before the back end changes, so that no change is without a trace.
        self.ledger.commit(Commit::record_only(record.clone())).await?;
        let token = match &request.request_id {
            Some(id) => id.to_string(),
            None => self.new_lease_id()?.suffix(),
        };
        let write = WriteVersion {
            reference,
            value: &request.value,
            token: &token,
            expected: request.expected.as_ref(),
            stage: Stage::Current,
        };
        record.kind = Kind::SecretWritten;
        record.time = self.now();
        let written = upstream.call(upstream.provider.write(write)).await;
        // Even a write that failed may have happened.
        self.cache.invalidate(&upstream.name, reference);
        let version = match written {
            Ok(version) => version,
            Err(error) => return self.fail(record, refused(error)).await,
        };
        record.version = Some(version.clone());
        let fields = request.value.fields.iter();
        record.value_hmac =
            fields.map(|(name, bytes)| (name.clone(), self.mac.tag(bytes.expose()))).collect();
        self.record_current(record, &request.secret, &version).await?;
        Ok(version)
    }

    async fn description(
        &self,
        path: SecretPath,
        resolved: Resolved,
        upstream: &Upstream,
    ) -> Result<SecretDescription, EngineError> {
        Ok(SecretDescription {
            live_leases: self.count(KeyRange::on_secret(&path)).await?,
            path,
            provider: upstream.name.clone(),
            capabilities: upstream.capabilities(),
            source: resolved.entry.source.clone(),
            limits: resolved.entry.limits,
            mount: resolved.mount,
            description: resolved.entry.description.clone(),
        })
    }
}

/// What is wrong with the write itself is for the writer to know; how the back end fares is not.
pub(crate) fn refused(error: ProviderError) -> EngineError {
    match error.class {
        ErrorClass::Invalid => EngineError::WriteRefused(Arc::new(error)),
        _ => EngineError::Provider(Arc::new(error)),
    }
}
