//! The port's implementation: parses what is asked, and lets a blocking thread do it.
//!
//! Work that has begun ends, even if nobody waits for it any more.

use std::sync::Arc;

use async_trait::async_trait;
use leasehold_core::{
    ports::{Clock, Entropy, Provider},
    provider::{
        Capabilities, Change, ChangeSecret, Demand, Fetch, Fetched, Finding, ProviderError, Stage,
        VersionFacts, WriteVersion,
    },
    secret::VersionId,
};
use leasehold_seal::KeyRing;

use crate::{
    config::LocalConfig,
    fault::{Fault, OpenError},
    reference::{Reference, Version},
    store::{NewVersion, Store},
};

/// Versioned secrets in sealed files.
pub struct LocalProvider {
    pub(crate) store: Arc<Store>,
}

impl LocalProvider {
    /// Opens the directory, creating it when absent, and holds its lock until dropped. Blocking.
    ///
    /// # Errors
    /// When the directory is another's, readable by others, or in use.
    pub fn open(
        config: LocalConfig,
        keys: Arc<KeyRing>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, OpenError> {
        Ok(Self { store: Arc::new(Store::open(config, keys, clock, entropy)?) })
    }

    async fn run<T: Send + 'static>(
        &self,
        reference: &str,
        work: impl FnOnce(&Store, &Reference) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, ProviderError> {
        let parsed = Reference::parse(reference)?;
        let store = Arc::clone(&self.store);
        tokio::task::spawn_blocking(move || work(&store, &parsed))
            .await
            .unwrap_or(Err(Fault::Broken("the work on its files was broken off")))
            .map_err(|fault| fault.into_error(reference))
    }
}

#[async_trait]
impl Provider for LocalProvider {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            read: true,
            versions: true,
            write: true,
            staging: true,
            changes: &Change::ALL,
            ..Capabilities::default()
        }
    }

    async fn fetch(&self, request: Fetch<'_>) -> Result<Fetched, ProviderError> {
        let wanted = request.version.map(Version::from_id).transpose()?;
        let (version, stored) = self
            .run(request.reference, move |store, reference| store.read(reference, wanted.as_ref()))
            .await?;
        Ok(Fetched { value: stored.value, version: id(&version)?, created_at: Some(stored.created_at) })
    }

    async fn versions(&self, reference: &str) -> Result<Vec<VersionFacts>, ProviderError> {
        self.run(reference, Store::list).await
    }

    async fn write(&self, request: WriteVersion<'_>) -> Result<VersionId, ProviderError> {
        let new = NewVersion {
            value: request.value.clone(),
            token: request.token.into(),
            expected: request.expected.map(Version::from_id).transpose()?,
            pending: request.stage == Stage::Pending,
        };
        let version =
            self.run(request.reference, move |store, reference| store.write(reference, new)).await?;
        id(&version)
    }

    async fn change(&self, request: ChangeSecret<'_>) -> Result<(), ProviderError> {
        let change = request.change;
        let expected = request.expected.map(Version::from_id).transpose()?;
        match request.version.map(Version::from_id).transpose()? {
            Some(version) => {
                let work = move |store: &Store, reference: &Reference| match change {
                    Change::Promote => store.promote(reference, &version, expected.as_ref()),
                    Change::Disable => store.disable(reference, &version),
                    Change::Enable => store.enable(reference, &version),
                    Change::Destroy => store.destroy(reference, &version),
                    Change::Delete | Change::Restore | Change::Purge => Err(Fault::Unfit(OF_THE_WHOLE)),
                };
                self.run(request.reference, work).await
            }
            None => {
                let work = move |store: &Store, reference: &Reference| match change {
                    Change::Delete => store.delete(reference),
                    Change::Restore => store.restore(reference),
                    Change::Purge => store.purge(reference),
                    Change::Promote | Change::Disable | Change::Enable | Change::Destroy => {
                        Err(Fault::Unfit(OF_A_VERSION))
                    }
                };
                self.run(request.reference, work).await
            }
        }
    }

    async fn discard(&self, reference: &str, pending: &VersionId) -> Result<(), ProviderError> {
        let version = Version::from_id(pending)?;
        self.run(reference, move |store, reference| store.discard(reference, &version)).await
    }

    async fn check(&self, demands: &[Demand]) -> Vec<Finding> {
        let (store, demands) = (Arc::clone(&self.store), demands.to_vec());
        tokio::task::spawn_blocking(move || store.check(&demands)).await.unwrap_or_else(|_| {
            vec![Finding::failed("check", "the work on its files was broken off", "look at the broker's log")]
        })
    }
}

const OF_THE_WHOLE: &str = "this is done to the whole secret, not to a version";
const OF_A_VERSION: &str = "this is done to a version: name it";

fn id(version: &Version) -> Result<VersionId, ProviderError> {
    version
        .to_string()
        .parse()
        .map_err(|_| Fault::Broken("a version has no name").into_error(&version.to_string()))
}
