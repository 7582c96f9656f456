//! The port's implementation.

use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use leasehold_core::{
    ports::{Clock, Entropy, Issuer, Provider},
    provider::{
        Capabilities, Change, ChangeSecret, Demand, ErrorClass, Fetch, Fetched, Finding, ProviderError,
        SignIn, Stage, VersionFacts, WriteVersion,
    },
    secret::{VersionId, json},
};
use tokio::time::timeout;

use crate::{
    change::change,
    client::{CloudClient, StateChange},
    config::{GcpConfig, GcpConfigFault},
    reference::{LATEST, Reference, number},
    roles::{GcpRole, Grant, HOUR},
    sdk::Sdk,
    sign_in::Account,
    write::{Writes, encode},
};

/// So much longer is waited for a whole call, so that what its last request says of itself is heard first.
const GRACE: Duration = Duration::from_millis(50);

/// Secrets of one project, and of those beside it that the configuration allows.
pub struct GcpProvider {
    config: GcpConfig,
    account: Account,
    client: Arc<dyn CloudClient>,
    writes: Writes,
}

impl GcpProvider {
    /// A provider that connects on its first call, so that a broker starts without a network.
    ///
    /// # Errors
    /// Every fault of the configuration.
    pub fn new(
        config: GcpConfig,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, Vec<GcpConfigFault>> {
        let faults = config.faults();
        if !faults.is_empty() {
            return Err(faults);
        }
        // So that signing in has its own words before the call ends without any.
        let within = config.attempt_timeout.mul_f32(0.8);
        let account = Account::new(&config.credentials, within);
        let client = Arc::new(Sdk::new(&config, account.clone(), clock, entropy));
        Ok(Self { config, account, client, writes: Writes::new() })
    }

    pub(crate) fn config(&self) -> &GcpConfig {
        &self.config
    }

    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    pub(crate) fn client(&self) -> &dyn CloudClient {
        &*self.client
    }

    fn changes(&self) -> &'static [Change] {
        if self.config.writable { &[Change::Disable, Change::Enable, Change::Destroy] } else { &[] }
    }

    fn writable(&self) -> Result<(), ProviderError> {
        if self.config.writable {
            return Ok(());
        }
        Err(ProviderError::unsupported("be written: its `writable` is not set"))
    }

    /// One call of the port, however many requests it takes, with waiting for its turn.
    async fn in_time<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        timeout(self.config.timeout.saturating_add(GRACE), call).await.unwrap_or_else(|_| {
            let why =
                format!("`{what}`: Google Cloud did not answer all of it within the `timeout` of a call");
            Err(ProviderError::new(ErrorClass::Transient, why))
        })
    }

    async fn list(&self, reference: &Reference<'_>) -> Result<Vec<VersionFacts>, ProviderError> {
        let secret = reference.resolve(&self.config)?;
        let mut versions = self.client.versions(&secret).await?;
        versions.sort_unstable_by_key(|version| std::cmp::Reverse(version.number));
        // Only labels, unless the `ref` is one: the permission for it may be missing then.
        let aliases = match self.client.aliases(&secret).await {
            Ok(aliases) => aliases,
            Err(failure) if failure.error.class == ErrorClass::Denied && reference.version.is_none() => {
                Default::default()
            }
            Err(failure) => return Err(failure.error),
        };
        let current = match reference.version {
            None => versions.first().map(|newest| newest.number),
            Some(named) => named
                .parse()
                .ok()
                .or_else(|| aliases.get(named).and_then(|&number| u64::try_from(number).ok())),
        };
        versions
            .into_iter()
            .map(|version| {
                let labels =
                    aliases.iter().filter(|(_, number)| u64::try_from(**number) == Ok(version.number));
                let late = version.destroyed_at.map(|at| format!("destroyed at {at}").into());
                Ok(VersionFacts {
                    version: version_id(version.number)?,
                    created_at: version.created_at,
                    state: version.state,
                    current: current == Some(version.number),
                    labels: labels.map(|(alias, _)| alias.as_str().into()).chain(late).collect(),
                })
            })
            .collect()
    }
}

#[async_trait]
impl Provider for GcpProvider {
    fn capabilities(&self) -> Capabilities {
        let roles = || self.config.roles.values();
        let fixed = roles().any(|role| matches!(role.grant, Grant::IdToken { .. }));
        Capabilities {
            read: true,
            versions: true,
            write: self.config.writable,
            changes: self.changes(),
            issue: !self.config.roles.is_empty(),
            // The life of an identity token is not the broker's to choose.
            min_ttl: fixed.then_some(HOUR),
            max_ttl: roles().map(GcpRole::longest).max(),
            ..Capabilities::default()
        }
    }

    fn sign_in(&self) -> SignIn {
        self.account.standing()
    }

    fn issuer(&self) -> Option<&dyn Issuer> {
        (!self.config.roles.is_empty()).then_some(self)
    }

    async fn fetch(&self, request: Fetch<'_>) -> Result<Fetched, ProviderError> {
        let reference = Reference::parse(request.reference)?;
        let secret = reference.resolve(&self.config)?;
        let payload = match request.version {
            Some(version) => self.client.access(&secret, &number(version)?.to_string()).await?,
            None => self.client.access(&secret, reference.version.unwrap_or(LATEST)).await?,
        };
        Ok(Fetched {
            value: json::decode(json::Body::guess(payload.bytes), reference.format),
            version: version_id(payload.number)?,
            created_at: None,
        })
    }

    async fn versions(&self, reference: &str) -> Result<Vec<VersionFacts>, ProviderError> {
        let parsed = Reference::parse(reference)?;
        self.in_time(reference, self.list(&parsed)).await
    }

    async fn write(&self, request: WriteVersion<'_>) -> Result<VersionId, ProviderError> {
        self.writable()?;
        if request.stage == Stage::Pending {
            return Err(ProviderError::unsupported(
                "write pending versions: the newest one is the current one",
            ));
        }
        let reference = Reference::parse(request.reference)?;
        if reference.version.is_some() {
            return Err(ProviderError::new(
                ErrorClass::Invalid,
                "a new version is the newest one, and the `ref` names another with `@`",
            ));
        }
        let secret = reference.resolve(&self.config)?;
        let expected = request.expected.map(number).transpose()?;
        let value = encode(request.value)?;
        let write = self.writes.write(&*self.client, &secret, &value, request.token, expected);
        version_id(self.in_time(request.reference, write).await?)
    }

    async fn change(&self, request: ChangeSecret<'_>) -> Result<(), ProviderError> {
        self.writable()?;
        let Some(wanted) = StateChange::of(request.change) else {
            return Err(ProviderError::unsupported(request.change.as_str()));
        };
        let reference = Reference::parse(request.reference)?;
        let secret = reference.resolve(&self.config)?;
        let Some(version) = request.version else {
            return Err(ProviderError::new(
                ErrorClass::Invalid,
                format!("to {} is done to a version, and none is named", request.change),
            ));
        };
        let change = change(&*self.client, &secret, reference.version, number(version)?, wanted);
        self.in_time(request.reference, change).await
    }

    async fn check(&self, demands: &[Demand]) -> Vec<Finding> {
        self.check_all(demands).await
    }
}

fn version_id(number: u64) -> Result<VersionId, ProviderError> {
    let odd = |_| ProviderError::new(ErrorClass::Permanent, "a version's number cannot be a version's id");
    number.to_string().parse().map_err(odd)
}
