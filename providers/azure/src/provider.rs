//! The port's implementation: what is read.

use std::{
    future::Future,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use leasehold_core::{
    Timestamp,
    ports::{Clock, Entropy, Issuer, Provider},
    provider::{
        Capabilities, Change, ChangeSecret, Demand, ErrorClass, Fetch, Fetched, Finding, ProviderError,
        SignIn, VersionFacts, VersionState, WriteVersion,
    },
    secret::VersionId,
};
use tokio::{sync::Mutex, time::timeout};

use crate::{
    answer::Party,
    attempts::Attempts,
    client::{Listed, Sdk, Vault},
    config::{AzureConfig, AzureConfigFault},
    failure::Failure,
    issuer,
    reference::{Reference, is_version},
    sign_in::SignedIn,
    value::decode,
    wire::Wire,
};

/// Secrets of one vault, and tokens of the roles.
pub struct AzureProvider {
    pub(crate) config: AzureConfig,
    pub(crate) wire: Arc<Wire>,
    pub(crate) signed_in: Arc<SignedIn>,
    pub(crate) attempts: Attempts,
    vault: Option<Box<dyn Vault>>,
    /// A vault has no conditional writes: of this broker's, at least, those of one secret come one after the other.
    writing: Vec<Mutex<()>>,
}

const CHANGES: &[Change] = &[Change::Disable, Change::Enable, Change::Delete, Change::Restore, Change::Purge];
/// Secrets that can be written at once, if their names are kind.
const WRITERS: usize = 64;
/// So much longer is waited for a whole call, so that what its last request says of itself is heard first.
const GRACE: Duration = Duration::from_millis(50);

impl AzureProvider {
    /// A provider that connects on its first call, so that a broker starts without a network. Blocking: it reads the
    /// trusted certificates.
    ///
    /// # Errors
    /// Every fault of the configuration.
    pub fn new(
        config: AzureConfig,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, Vec<AzureConfigFault>> {
        let faults = config.faults();
        if !faults.is_empty() {
            return Err(faults);
        }
        let one = |fault| vec![fault];
        let wire = Arc::new(Wire::new(&config, clock).map_err(one)?);
        let signed_in = Arc::new(SignedIn::new(config.identity.clone(), &config.cloud, Arc::clone(&wire)));
        let vault = match config.vault_host() {
            None => None,
            Some(host) => {
                let sdk = Sdk::new(&host, Arc::clone(&signed_in), Arc::clone(&wire)).map_err(one)?;
                Some(Box::new(sdk) as Box<dyn Vault>)
            }
        };
        let attempts = Attempts::of(&config, entropy);
        let writing = (0..WRITERS).map(|_| Mutex::default()).collect();
        Ok(Self { config, wire, signed_in, attempts, vault, writing })
    }

    pub(crate) fn vault(&self) -> Result<&dyn Vault, ProviderError> {
        self.vault.as_deref().ok_or_else(|| ProviderError::unsupported("hold secrets: it has no `vault`"))
    }

    /// One call of the port, however many requests it takes, with signing in and with waiting for its turn.
    pub(crate) async fn in_time<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        timeout(self.config.timeout.saturating_add(GRACE), call)
            .await
            .unwrap_or_else(|_| Err(Failure::TooLong.during(what)))
    }

    /// What those that write the same secret wait for.
    pub(crate) fn turn(&self, name: &str) -> Option<&Mutex<()>> {
        let mut hasher = DefaultHasher::new();
        name.to_ascii_lowercase().hash(&mut hasher);
        let at = hasher.finish().checked_rem(u64::try_from(WRITERS).unwrap_or(1)).unwrap_or_default();
        self.writing.get(usize::try_from(at).unwrap_or_default())
    }

    /// Why nothing was found: whoever deleted it may want it back.
    pub(crate) async fn absent(&self, name: &str, what: &str) -> ProviderError {
        let deleted = match self.vault() {
            Ok(vault) => vault.is_deleted(name).await.unwrap_or(false),
            Err(_) => false,
        };
        let why = if deleted {
            "the secret is deleted, and can be restored until it is purged"
        } else {
            "there is no such secret or version"
        };
        ProviderError::new(ErrorClass::Absent, format!("{what}: {why}"))
    }

    /// The version that is read when none is named; `None` when there are no versions.
    pub(crate) async fn latest(&self, name: &str, listed: &[Listed]) -> Result<Option<String>, Failure> {
        let newest = listed.iter().map(|version| version.created_at).max().flatten();
        let mut of_that_second = listed.iter().filter(|version| version.created_at == newest);
        let (one, another) = (of_that_second.next(), of_that_second.next());
        let (Some(one), Some(_)) = (one, another) else {
            return Ok(one.map(|version| version.version.clone()));
        };
        // Times are to the second: of several versions of one second only the vault knows the order.
        match (one, self.vault()) {
            (_, Ok(vault)) => match vault.read(name, None).await {
                Ok(read) => Ok(Some(read.about.version)),
                Err(failure) if failure.is_disabled() => Ok(None),
                Err(failure) => Err(failure),
            },
            (one, Err(_)) => Ok(Some(one.version.clone())),
        }
    }
}

#[async_trait]
impl Provider for AzureProvider {
    fn capabilities(&self) -> Capabilities {
        let vault = self.config.vault.is_some();
        let write = vault && self.config.writable;
        Capabilities {
            read: vault,
            versions: vault,
            write,
            changes: if write { CHANGES } else { &[] },
            ..issuer::capabilities(&self.config)
        }
    }

    fn sign_in(&self) -> SignIn {
        self.signed_in.facts()
    }

    fn issuer(&self) -> Option<&dyn Issuer> {
        (!self.config.roles.is_empty()).then_some(self as &dyn Issuer)
    }

    async fn fetch(&self, request: Fetch<'_>) -> Result<Fetched, ProviderError> {
        let reference = Reference::parse(request.reference)?;
        let asked = request.version.map(checked).transpose()?.or(reference.pinned);
        let what = format!("reading `{}`", request.reference);
        let vault = self.vault()?;
        let read = self.in_time(&what, async {
            match self.attempts.run(|| vault.read(reference.name, asked)).await {
                Ok(read) => Ok(read),
                Err(failure) if failure.is_missing() => Err(self.absent(reference.name, &what).await),
                Err(failure) => Err(failure.during(&what)),
            }
        });
        let read = read.await?;
        // The vault only keeps these times, and answers all the same.
        if let Some(why) = out_of_time(&read.about, self.wire.now()) {
            return Err(ProviderError::new(
                ErrorClass::Absent,
                format!("{what}: the version {} {why}", read.about.version),
            ));
        }
        Ok(Fetched {
            value: decode(read.held, reference.format),
            version: version_id(&read.about.version, &what)?,
            created_at: read.about.created_at,
        })
    }

    async fn versions(&self, reference: &str) -> Result<Vec<VersionFacts>, ProviderError> {
        let what = format!("listing the versions of `{reference}`");
        let parsed = Reference::parse(reference)?;
        let vault = self.vault()?;
        let listing = self.attempts.run(|| async {
            let mut listed = vault.versions(parsed.name).await?;
            listed.sort_by(|a, b| (b.created_at, &b.version).cmp(&(a.created_at, &a.version)));
            let current = match parsed.pinned {
                Some(pinned) => Some(pinned.to_owned()),
                None => self.latest(parsed.name, &listed).await?,
            };
            Ok((listed, current))
        });
        let (listed, current) = listing.await.map_err(|failure| failure.during(&what))?;
        if listed.is_empty() {
            return Err(self.absent(parsed.name, &what).await);
        }
        let now = self.wire.now();
        listed
            .into_iter()
            .map(|version| {
                Ok(VersionFacts {
                    version: version_id(&version.version, &what)?,
                    created_at: version.created_at,
                    state: if version.enabled { VersionState::Enabled } else { VersionState::Disabled },
                    current: current.as_ref() == Some(&version.version),
                    labels: out_of_time(&version, now).map(Into::into).into_iter().collect(),
                })
            })
            .collect()
    }

    async fn write(&self, request: WriteVersion<'_>) -> Result<VersionId, ProviderError> {
        let what = format!("writing `{}`", request.reference);
        self.in_time(&what, self.write_version(request)).await
    }

    async fn change(&self, request: ChangeSecret<'_>) -> Result<(), ProviderError> {
        if !self.capabilities().can(request.change) {
            return Err(ProviderError::unsupported(request.change.as_str()));
        }
        let what = format!("to {} `{}`", request.change, request.reference);
        self.in_time(&what, self.change_secret(request)).await
    }

    async fn check(&self, demands: &[Demand]) -> Vec<Finding> {
        self.check_demands(demands).await
    }
}

/// A version's id, when it can be one of a vault's.
pub(crate) fn checked(version: &VersionId) -> Result<&str, ProviderError> {
    let text = version.as_str();
    if is_version(text) {
        Ok(text)
    } else {
        Err(ProviderError::new(
            ErrorClass::Invalid,
            format!("`{text}` is not the id of a key vault's version"),
        ))
    }
}

pub(crate) fn version_id(text: &str, what: &str) -> Result<VersionId, ProviderError> {
    text.parse().map_err(|_| Failure::Unreadable(Party::Vault).during(what))
}

/// Why a version should not be used now.
fn out_of_time(version: &Listed, now: Timestamp) -> Option<String> {
    match (version.not_before, version.expires_at) {
        (_, Some(end)) if end <= now => Some(format!("expired at {end}")),
        (Some(start), _) if now < start => Some(format!("is not valid before {start}")),
        _ => None,
    }
}
