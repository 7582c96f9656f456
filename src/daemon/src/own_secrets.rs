//! Secrets of the broker's own by which it signs in at its back ends: what a back end is given when its administrator is
//! in another secret. Back ends are opened before there is anybody who could read it, so who reads is said later.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock, Weak},
};

use async_trait::async_trait;
use leasehold_core::{
    SecretPath,
    catalog::{Catalog, Source},
    ports::{CredentialSource, Provider},
    provider::{ErrorClass, Fetch, Fetched, ProviderError, ProviderName},
    secret::VersionId,
};
use leasehold_engine::{Engine, EngineError};

/// Who reads them.
#[derive(Default)]
pub struct OwnSecrets(OnceLock<Reader>);

/// Held weakly: back ends hold their sources, and whoever reads holds the back ends.
enum Reader {
    /// A broker that serves: through its cache, each reading with its record.
    Engine(Weak<Engine>),
    /// `check-config --live`: from the back end, for nobody else.
    Direct(Catalog, BTreeMap<ProviderName, Weak<dyn Provider>>),
}

/// One of them.
struct OwnSecret {
    path: SecretPath,
    all: Arc<OwnSecrets>,
}

impl OwnSecrets {
    /// What reads one of them.
    pub fn source(self: &Arc<Self>, path: SecretPath) -> Arc<dyn CredentialSource> {
        Arc::new(OwnSecret { path, all: Arc::clone(self) })
    }

    /// From now on they are read by this engine. Whoever was said first stays.
    pub fn read_by(&self, engine: &Arc<Engine>) {
        let _ = self.0.set(Reader::Engine(Arc::downgrade(engine)));
    }

    /// From now on they are read from these back ends. Whoever was said first stays.
    pub fn read_from(&self, catalog: Catalog, providers: &BTreeMap<ProviderName, Arc<dyn Provider>>) {
        let weakly = |(name, port): (&ProviderName, &Arc<dyn Provider>)| (name.clone(), Arc::downgrade(port));
        let _ = self.0.set(Reader::Direct(catalog, providers.iter().map(weakly).collect()));
    }
}

#[async_trait]
impl CredentialSource for OwnSecret {
    async fn read(&self, refused: Option<&VersionId>) -> Result<Fetched, ProviderError> {
        let transient = |why| ProviderError::new(ErrorClass::Transient, why);
        match self.all.0.get() {
            None => Err(transient("the broker is still starting")),
            Some(Reader::Engine(engine)) => {
                let engine = engine.upgrade().ok_or_else(|| transient("the broker is stopping"))?;
                engine.own_secret(&self.path, refused).await.map_err(in_turn)
            }
            Some(Reader::Direct(catalog, providers)) => read_from(&self.path, catalog, providers).await,
        }
    }
}

async fn read_from(
    path: &SecretPath,
    catalog: &Catalog,
    providers: &BTreeMap<ProviderName, Weak<dyn Provider>>,
) -> Result<Fetched, ProviderError> {
    let absent = || ProviderError::new(ErrorClass::Absent, "there is no such secret in the catalog");
    let entry = catalog.resolve(path).ok_or_else(absent)?.entry;
    let Source::Static { reference } = &entry.source else { return Err(absent()) };
    let Some(port) = providers.get(&entry.provider).and_then(Weak::upgrade) else {
        let why = format!("its back end `{}` could not be opened: see there", entry.provider);
        return Err(ProviderError::new(ErrorClass::Transient, why));
    };
    port.fetch(Fetch { reference, version: None }).await
}

/// Why a secret could not be read, for the back end that needs it.
fn in_turn(error: EngineError) -> ProviderError {
    let class = match &error {
        EngineError::Provider(cause) => {
            return ProviderError::new(cause.class, cause.to_string()).retry_after(cause.retry_after);
        }
        EngineError::Denied(_) => ErrorClass::Denied,
        _ => ErrorClass::Transient,
    };
    ProviderError::new(class, error.to_string())
}
