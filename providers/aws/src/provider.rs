//! The port's implementation.

use std::sync::Arc;

use async_trait::async_trait;
use leasehold_core::{
    ports::{Clock, Issuer, Provider},
    provider::{
        Capabilities, Change, ChangeSecret, Demand, ErrorClass, Fetch, Fetched, Finding, ProviderError,
        SignIn, VersionFacts, WriteVersion,
    },
    secret::VersionId,
};
use tokio::{sync::Mutex, time::timeout};

use crate::{
    client::Cloud,
    config::{AwsConfig, AwsConfigFault, Credentials},
    error::Trouble,
    issuer::{LONGEST, LONGEST_CHAINED, SHORTEST},
    reference::Reference,
    standing::Standing,
};

/// The secrets, parameters and sessions of one identity.
pub struct AwsProvider {
    pub(crate) config: AwsConfig,
    clock: Arc<dyn Clock>,
    standing: Arc<Standing>,
    cloud: Mutex<Option<Arc<Cloud>>>,
}

impl AwsProvider {
    /// A provider that connects on its first call, so that a broker starts without a network.
    ///
    /// # Errors
    /// Every fault of the configuration.
    pub fn new(config: AwsConfig, clock: Arc<dyn Clock>) -> Result<Self, Vec<AwsConfigFault>> {
        let faults = config.faults();
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Self { config, clock, standing: Arc::default(), cloud: Mutex::default() })
    }

    /// The clients; found and made once.
    pub(crate) async fn cloud(&self) -> Result<Arc<Cloud>, ProviderError> {
        let mut cloud = self.cloud.lock().await;
        if let Some(cloud) = &*cloud {
            return Ok(Arc::clone(cloud));
        }
        let connecting = Cloud::connect(&self.config, &self.standing, &self.clock);
        let connected = timeout(self.config.timeout, connecting).await.map_err(|_| {
            ProviderError::new(ErrorClass::Transient, "finding AWS's region and credentials took too long")
        })??;
        Ok(Arc::clone(cloud.insert(Arc::new(connected))))
    }

    /// Remembers how AWS took the broker's credentials. Those that it does not take are thrown away, so that the next
    /// call finds others.
    pub(crate) async fn noted<T>(&self, answer: Result<T, ProviderError>) -> Result<T, ProviderError> {
        match &answer {
            Ok(_) => self.standing.accepted(),
            Err(error) if matches!(Trouble::of(error), Some(Trouble::BadCredentials | Trouble::Clock)) => {
                self.standing.refused(error.to_string());
                *self.cloud.lock().await = None;
            }
            Err(_) => {}
        }
        answer
    }

    /// Whether another try with new credentials may do what failed: AWS ended a session before its time. The files of a
    /// fixed key are read for each call anyway.
    fn could_sign_in_anew<T>(&self, answer: &Result<T, ProviderError>) -> bool {
        let renewable =
            self.config.assume_role.is_some() || matches!(self.config.credentials, Credentials::Chain { .. });
        let refused = |error| Trouble::of(error) == Some(Trouble::BadCredentials);
        renewable && answer.as_ref().err().is_some_and(refused)
    }

    async fn read(
        &self,
        reference: Reference<'_>,
        version: Option<&VersionId>,
    ) -> Result<Fetched, ProviderError> {
        let answer = match reference {
            Reference::Secret(secret) => self.read_secret(secret, version).await,
            Reference::Parameter(parameter) => self.read_parameter(parameter, version).await,
        };
        self.noted(answer).await
    }

    async fn list(&self, reference: Reference<'_>) -> Result<Vec<VersionFacts>, ProviderError> {
        let answer = match reference {
            Reference::Secret(secret) => self.secret_versions(secret).await,
            Reference::Parameter(parameter) => self.parameter_versions(parameter).await,
        };
        self.noted(answer).await
    }
}

#[async_trait]
impl Provider for AwsProvider {
    fn capabilities(&self) -> Capabilities {
        let issue = !self.config.roles.is_empty();
        let longest = if self.config.assume_role.is_some() { LONGEST_CHAINED } else { LONGEST };
        Capabilities {
            read: true,
            versions: true,
            write: self.config.writable,
            staging: self.config.writable,
            changes: if self.config.writable {
                &[Change::Promote, Change::Delete, Change::Restore, Change::Purge]
            } else {
                &[]
            },
            issue,
            min_ttl: issue.then_some(SHORTEST),
            max_ttl: issue.then_some(longest),
            ..Capabilities::default()
        }
    }

    fn sign_in(&self) -> SignIn {
        self.standing.shown()
    }

    fn issuer(&self) -> Option<&dyn Issuer> {
        (!self.config.roles.is_empty()).then_some(self)
    }

    async fn fetch(&self, request: Fetch<'_>) -> Result<Fetched, ProviderError> {
        let reference = Reference::parse(request.reference)?;
        let answer = self.read(reference, request.version).await;
        if self.could_sign_in_anew(&answer) { self.read(reference, request.version).await } else { answer }
    }

    async fn versions(&self, reference: &str) -> Result<Vec<VersionFacts>, ProviderError> {
        let reference = Reference::parse(reference)?;
        let answer = self.list(reference).await;
        if self.could_sign_in_anew(&answer) { self.list(reference).await } else { answer }
    }

    async fn write(&self, request: WriteVersion<'_>) -> Result<VersionId, ProviderError> {
        if !self.config.writable {
            return Err(ProviderError::unsupported("be written: its `writable` is not set"));
        }
        let secret = Reference::parse_secret(request.reference)?;
        let answer = self.write_secret(secret, &request).await;
        self.noted(answer).await
    }

    async fn change(&self, request: ChangeSecret<'_>) -> Result<(), ProviderError> {
        if !self.capabilities().can(request.change) {
            return Err(ProviderError::unsupported(request.change.as_str()));
        }
        let secret = Reference::parse_secret(request.reference)?;
        let answer = self.change_secret(secret, &request).await;
        self.noted(answer).await
    }

    async fn check(&self, demands: &[Demand]) -> Vec<Finding> {
        self.findings(demands).await
    }
}
