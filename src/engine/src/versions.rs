//! ListSecretVersions: which versions a back end has of a secret, and who holds them. It shows no value.

use std::sync::Arc;

use leasehold_core::{
    access::Action,
    catalog::Source,
    provider::{ErrorClass, ProviderError},
    record::Kind,
    state::{Commit, KeyRange},
};
use tokio::task::coop;

use crate::{
    access::{Admitted, Context},
    engine::Engine,
    error::EngineError,
    request::{ListVersions, Page, SecretVersion},
};

const LONGEST_PAGE: usize = 1000;

impl Engine {
    /// The versions of a static secret, the newest first, as its back end lists them.
    ///
    /// # Errors
    /// [`EngineError::Denied`] also when there is no such secret; [`EngineError::BadPageToken`] also when the version at
    /// which the last page ended is gone.
    pub async fn list_versions(&self, request: ListVersions) -> Result<Page<SecretVersion>, EngineError> {
        let ListVersions { actor, secret, page_size, page_token } = request;
        let mut record = self.record(Kind::SecretDescribed, &actor);
        record.secret = Some(secret.clone());
        let Admitted { resolved, upstream, .. } =
            match self.admit(&mut record, Action::DescribeSecret, &secret, Context::new()) {
                Ok(admitted) => admitted,
                Err(why) => return self.deny(record, why).await,
            };
        record.provider = Some(upstream.name.clone());
        let listed = match &resolved.entry.source {
            Source::Static { reference } => upstream.call(upstream.provider.versions(reference)).await,
            Source::Dynamic { .. } => {
                let error = ProviderError::new(ErrorClass::Invalid, "a dynamic secret has no versions");
                Err(error.of(&upstream.name))
            }
        };
        let listed = match listed {
            Ok(listed) => listed,
            Err(error) => return self.fail(record, EngineError::Provider(Arc::new(error))).await,
        };
        let begin = match &page_token {
            None => Some(0),
            Some(last) => {
                let at = listed.iter().position(|facts| facts.version.as_str() == last);
                at.map(|at| at.saturating_add(1))
            }
        };
        let Some(begin) = begin else { return self.fail(record, EngineError::BadPageToken).await };
        let size = page_size.clamp(1, LONGEST_PAGE);
        let more = listed.len().saturating_sub(begin) > size;
        let mut items = Vec::new();
        for facts in listed.into_iter().skip(begin).take(size) {
            coop::consume_budget().await;
            let live_leases = self.count(KeyRange::on_version(&secret, &facts.version)).await?;
            items.push(SecretVersion { facts, live_leases });
        }
        record.details.insert("versions".to_owned(), items.len().to_string());
        self.ledger.commit(Commit::record_only(record)).await?;
        let next_page_token = items.last().filter(|_| more).map(|item| item.facts.version.to_string());
        Ok(Page { items, next_page_token })
    }
}
