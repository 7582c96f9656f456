//! The port's implementation.

use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use leasehold_core::{
    SecretBytes,
    ports::{Clock, Issuer, NativeRotation, Provider},
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
    read::{parameter_versions, read_parameter, read_secret, secret_versions},
    reference::Reference,
    rotation::password_rule,
    standing::Standing,
    write::{change_secret, discard_pending, write_secret},
};

/// So much longer is waited for a whole call, so that what its last request says of itself is heard first.
const GRACE: Duration = Duration::from_millis(50);

/// The secrets, parameters and sessions of one identity.
pub struct AwsProvider {
    pub(crate) config: AwsConfig,
    pub(crate) clock: Arc<dyn Clock>,
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

    /// Remembers how AWS took the credentials of `used`. Those that it does not take are thrown away, so that the next
    /// call finds others; unless another call that failed with them has found others already.
    pub(crate) async fn noted<T>(
        &self,
        used: &Arc<Cloud>,
        answer: Result<T, ProviderError>,
    ) -> Result<T, ProviderError> {
        match &answer {
            Ok(_) => self.standing.accepted(),
            Err(error) if matches!(Trouble::of(error), Some(Trouble::BadCredentials | Trouble::Clock)) => {
                let mut cloud = self.cloud.lock().await;
                if cloud.as_ref().is_some_and(|known| Arc::ptr_eq(known, used)) {
                    self.standing.refused(error.to_string());
                    *cloud = None;
                }
            }
            Err(_) => {}
        }
        answer
    }

    /// One call of the port, however many requests it takes: with finding credentials, and with signing in anew.
    pub(crate) async fn in_time<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        timeout(self.config.timeout.saturating_add(GRACE), call).await.unwrap_or_else(|_| {
            let why = format!("`{what}`: AWS did not answer all of it within the `timeout` of a call");
            Err(ProviderError::new(ErrorClass::Transient, why).caused_by(Trouble::Unreachable))
        })
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
        let cloud = self.cloud().await?;
        let answer = match reference {
            Reference::Secret(secret) => read_secret(&cloud, secret, version).await,
            Reference::Parameter(parameter) => read_parameter(&cloud, parameter, version).await,
        };
        self.noted(&cloud, answer).await
    }

    async fn list(&self, reference: Reference<'_>) -> Result<Vec<VersionFacts>, ProviderError> {
        let cloud = self.cloud().await?;
        let answer = match reference {
            Reference::Secret(secret) => secret_versions(&cloud, secret).await,
            Reference::Parameter(parameter) => parameter_versions(&cloud, parameter).await,
        };
        self.noted(&cloud, answer).await
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
            rotate: self.config.writable,
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

    fn native(&self) -> Option<&dyn NativeRotation> {
        self.config.writable.then_some(self)
    }

    async fn fetch(&self, request: Fetch<'_>) -> Result<Fetched, ProviderError> {
        let reference = Reference::parse(request.reference)?;
        let read = async {
            let answer = self.read(reference, request.version).await;
            if self.could_sign_in_anew(&answer) {
                self.read(reference, request.version).await
            } else {
                answer
            }
        };
        self.in_time(request.reference, read).await
    }

    async fn versions(&self, reference: &str) -> Result<Vec<VersionFacts>, ProviderError> {
        let parsed = Reference::parse(reference)?;
        let list = async {
            let answer = self.list(parsed).await;
            if self.could_sign_in_anew(&answer) { self.list(parsed).await } else { answer }
        };
        self.in_time(reference, list).await
    }

    async fn write(&self, request: WriteVersion<'_>) -> Result<VersionId, ProviderError> {
        if !self.config.writable {
            return Err(ProviderError::unsupported("be written: its `writable` is not set"));
        }
        let secret = Reference::parse_secret(request.reference)?;
        let write = async {
            let cloud = self.cloud().await?;
            self.noted(&cloud, write_secret(&cloud, secret, &request).await).await
        };
        self.in_time(request.reference, write).await
    }

    async fn change(&self, request: ChangeSecret<'_>) -> Result<(), ProviderError> {
        if !self.capabilities().can(request.change) {
            return Err(ProviderError::unsupported(request.change.as_str()));
        }
        let secret = Reference::parse_secret(request.reference)?;
        let change = async {
            let cloud = self.cloud().await?;
            let answer = change_secret(&cloud, secret, &request, self.config.recovery_window_days).await;
            self.noted(&cloud, answer).await
        };
        self.in_time(request.reference, change).await
    }

    async fn discard(&self, reference: &str, pending: &VersionId) -> Result<(), ProviderError> {
        if !self.config.writable {
            return Err(ProviderError::unsupported("hold versions that wait: its `writable` is not set"));
        }
        let secret = Reference::parse_secret(reference)?;
        let discard = async {
            let cloud = self.cloud().await?;
            self.noted(&cloud, discard_pending(&cloud, secret, pending).await).await
        };
        self.in_time(reference, discard).await
    }

    async fn generate(&self, policy: &str) -> Result<SecretBytes, ProviderError> {
        let rule = password_rule(policy)?;
        let make = async {
            let cloud = self.cloud().await?;
            let answer = cloud.secrets(None)?.password(&rule).await;
            self.noted(&cloud, answer).await
        };
        self.in_time("GetRandomPassword", make).await
    }

    async fn check(&self, demands: &[Demand]) -> Vec<Finding> {
        self.findings(demands).await
    }
}
