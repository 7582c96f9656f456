//! The back ends that this build has, made from what the configuration says of them.

use std::{collections::BTreeMap, sync::Arc};

use leasehold_core::{
    ports::{Clock, Entropy, Provider},
    provider::ProviderName,
};
use leasehold_seal::KeyRing;
use thiserror::Error;

use crate::{
    config::provider::{self, Kind},
    own_secrets::OwnSecrets,
};

/// What back ends may need of the broker.
#[derive(Clone)]
pub struct Means {
    /// For what is kept at rest.
    pub keys: Arc<KeyRing>,
    /// The time for what others have dated.
    pub clock: Arc<dyn Clock>,
    /// The time that leases go by.
    pub lease_clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The broker's own name, which no other broker has.
    pub broker: Arc<str>,
    /// Secrets of the broker's own, by which it signs in at back ends.
    pub secrets: Arc<OwnSecrets>,
}

/// Why a back end could not be opened.
#[derive(Debug, Error)]
#[error("the provider `{name}` cannot be opened: {reason}")]
pub struct ProviderFault {
    /// Which.
    pub name: ProviderName,
    /// Why, with the way out.
    pub reason: String,
}

/// Opens every back end. Those that need a network connect on their first call. Blocking.
///
/// # Errors
/// Every one that could not be opened.
pub fn open(
    providers: &[provider::Provider],
    means: &Means,
) -> Result<BTreeMap<ProviderName, Arc<dyn Provider>>, Vec<ProviderFault>> {
    let mut opened = BTreeMap::new();
    let mut faults = Vec::new();
    for provider in providers {
        match open_one(&provider.kind, means) {
            Ok(port) => drop(opened.insert(provider.name.clone(), port)),
            Err(reason) => faults.push(ProviderFault { name: provider.name.clone(), reason }),
        }
    }
    if faults.is_empty() { Ok(opened) } else { Err(faults) }
}

/// Why a back end could not be tried out.
#[derive(Debug)]
pub enum Unopened {
    /// A running broker has it.
    InUse,
    /// It cannot be opened.
    Fault(ProviderFault),
}

/// Opens one back end beside a broker that may be running. Blocking.
///
/// # Errors
/// When it is in use, or cannot be opened.
pub fn try_out(provider: &provider::Provider, means: &Means) -> Result<Arc<dyn Provider>, Unopened> {
    #[cfg(feature = "local")]
    if let Kind::Local(config) = &provider.kind
        && leasehold_provider_local::is_in_use(&config.directory)
    {
        return Err(Unopened::InUse);
    }
    open_one(&provider.kind, means)
        .map_err(|reason| Unopened::Fault(ProviderFault { name: provider.name.clone(), reason }))
}

fn open_one(kind: &Kind, means: &Means) -> Result<Arc<dyn Provider>, String> {
    match kind {
        #[cfg(feature = "local")]
        Kind::Local(config) => {
            make_place(config)?;
            let Means { keys, clock, entropy, .. } = means.clone();
            leasehold_provider_local::LocalProvider::open(config.clone(), keys, clock, entropy)
                .map(|provider| Arc::new(provider) as Arc<dyn Provider>)
                .map_err(|error| with_causes(&error))
        }
        #[cfg(feature = "aws")]
        Kind::Aws(config) => {
            opened(leasehold_provider_aws::AwsProvider::new(config.clone(), Arc::clone(&means.clock)))
        }
        #[cfg(feature = "gcp")]
        Kind::Gcp(config) => {
            let Means { clock, entropy, .. } = means.clone();
            opened(leasehold_provider_gcp::GcpProvider::new(config.clone(), clock, entropy))
        }
        #[cfg(feature = "vault")]
        Kind::Vault(config) => {
            let Means { clock, entropy, .. } = means.clone();
            opened(leasehold_provider_vault::VaultProvider::new((**config).clone(), clock, entropy))
        }
        #[cfg(feature = "azure")]
        Kind::Azure(config) => {
            let Means { clock, entropy, .. } = means.clone();
            opened(leasehold_provider_azure::AzureProvider::new((**config).clone(), clock, entropy))
        }
        #[cfg(feature = "postgres")]
        Kind::Postgres(config) => {
            let Means { lease_clock: clock, entropy, secrets, broker, .. } = means.clone();
            let administrator = config.administrator.secret().map(|path| secrets.source(path.clone()));
            let config = leasehold_provider_postgres::PostgresConfig {
                broker: broker.to_string(),
                ..(**config).clone()
            };
            opened(leasehold_provider_postgres::PostgresProvider::new(config, administrator, clock, entropy))
        }
    }
}

/// A provider as the broker uses it, or everything that is wrong with its configuration in one line.
#[cfg(any(feature = "aws", feature = "gcp", feature = "vault", feature = "azure", feature = "postgres"))]
fn opened<P: Provider, F: ToString>(made: Result<P, Vec<F>>) -> Result<Arc<dyn Provider>, String> {
    match made {
        Ok(provider) => Ok(Arc::new(provider)),
        Err(faults) => Err(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
    }
}

/// Makes the folders above a local provider's own.
///
/// # Errors
/// When they cannot be made: which, and why.
#[cfg(feature = "local")]
pub(crate) fn make_place(config: &leasehold_provider_local::LocalConfig) -> Result<(), String> {
    use std::os::unix::fs::DirBuilderExt;
    let Some(parent) = config.directory.parent() else { return Ok(()) };
    let made = std::fs::DirBuilder::new().mode(0o700).recursive(true).create(parent);
    made.map_err(|error| format!("cannot make {}: {error}", parent.display()))
}

/// An error with everything below it, in one line.
pub(crate) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(below) = cause {
        let below_text = below.to_string();
        if !text.ends_with(&below_text) {
            text.push_str(": ");
            text.push_str(&below_text);
        }
        cause = below.source();
    }
    text
}
