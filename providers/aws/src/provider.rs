//! The port's implementation.

use std::sync::Arc;

use async_trait::async_trait;
use data_encoding::HEXLOWER;
use leasehold_core::{
    ports::Provider,
    provider::{Capabilities, Demand, ErrorClass, Fetch, Fetched, Finding, ProviderError, WriteVersion},
    secret::VersionId,
};
use tokio::{sync::OnceCell, time::timeout};

use crate::{
    client::{Sdk, SecretsClient, Which},
    config::{AwsConfig, AwsConfigFault},
    reference::{CURRENT, Reference, is_version},
    value::{decode, encode},
};

/// Secrets of one account and region.
pub struct AwsProvider {
    config: AwsConfig,
    client: OnceCell<Arc<dyn SecretsClient>>,
}

/// The label of a version that waits to be made current; it moves on with the next write.
const WAITING: &str = "leasehold-pending";

impl AwsProvider {
    /// A provider that connects on its first call, so that a broker starts without a network.
    ///
    /// # Errors
    /// Every fault of the configuration.
    pub fn new(config: AwsConfig) -> Result<Self, Vec<AwsConfigFault>> {
        let faults = config.faults();
        if faults.is_empty() { Ok(Self { config, client: OnceCell::new() }) } else { Err(faults) }
    }

    async fn client(&self) -> Result<&dyn SecretsClient, ProviderError> {
        let connect = || async {
            let sdk = timeout(self.config.timeout, Sdk::connect(&self.config)).await.map_err(|_| {
                ProviderError::new(
                    ErrorClass::Transient,
                    "finding AWS's region and credentials took too long",
                )
            })??;
            Ok::<Arc<dyn SecretsClient>, ProviderError>(Arc::new(sdk))
        };
        Ok(&**self.client.get_or_try_init(connect).await?)
    }

    /// Writes only if `expected` is current. AWS moves a label only from the version that has it, which is the condition.
    async fn write_if_current(
        &self,
        reference: Reference<'_>,
        body: crate::value::Body,
        token: &str,
        expected: &str,
    ) -> Result<String, ProviderError> {
        let client = self.client().await?;
        let written = client.write(reference.secret, body, token, Some(WAITING)).await?;
        match client.promote(reference.secret, CURRENT, expected, &written).await {
            Ok(()) => Ok(written),
            Err(error) if error.class == ErrorClass::Invalid => {
                // A repeated write finds its own version current.
                let current = client.read(reference.secret, Which::Stage(CURRENT)).await?.id;
                if current.as_deref() == Some(&*written) {
                    Ok(written)
                } else {
                    Err(ProviderError::new(
                        ErrorClass::Invalid,
                        format!(
                            "`{}` is at version {}, not at {expected}",
                            reference.secret,
                            current.as_deref().unwrap_or("unknown"),
                        ),
                    ))
                }
            }
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl Provider for AwsProvider {
    fn capabilities(&self) -> Capabilities {
        Capabilities { read: true, versions: true, write: self.config.writable, ..Capabilities::default() }
    }

    async fn fetch(&self, request: Fetch<'_>) -> Result<Fetched, ProviderError> {
        let reference = Reference::parse(request.reference)?;
        let which = match request.version {
            None => Which::Stage(reference.stage),
            Some(version) => Which::Id(checked(version)?),
        };
        let version = self.client().await?.read(reference.secret, which).await?;
        let odd = |what: &str| {
            ProviderError::new(
                ErrorClass::Permanent,
                format!("AWS answered `{}` without {what}", reference.secret),
            )
        };
        Ok(Fetched {
            value: decode(version.body.ok_or_else(|| odd("a value"))?, reference.format),
            version: version.id.and_then(|id| id.parse().ok()).ok_or_else(|| odd("a version id"))?,
            created_at: version.created_at,
        })
    }

    async fn write(&self, request: WriteVersion<'_>) -> Result<VersionId, ProviderError> {
        if !self.config.writable {
            return Err(ProviderError::unsupported("be written: its `writable` is not set"));
        }
        let reference = Reference::parse(request.reference)?;
        if reference.stage != CURRENT {
            return Err(ProviderError::new(
                ErrorClass::Invalid,
                format!("only `{CURRENT}` is written, and the `ref` names another stage"),
            ));
        }
        let body = encode(request.value)?;
        let token = version_token(request.token);
        let id = match request.expected {
            None => self.client().await?.write(reference.secret, body, &token, None).await?,
            Some(expected) => self.write_if_current(reference, body, &token, checked(expected)?).await?,
        };
        id.parse().map_err(|_| {
            ProviderError::new(ErrorClass::Permanent, "AWS answered a write without a good version id")
        })
    }

    async fn check(&self, demands: &[Demand]) -> Vec<Finding> {
        let mut findings = Vec::new();
        for demand in demands {
            if let Demand::Read { reference } = demand {
                let step = format!("read `{reference}`");
                findings.push(match self.fetch(Fetch { reference, version: None }).await {
                    Ok(_) => Finding::passed(step, ""),
                    Err(error) => Finding::failed(step, error.to_string(), "see docs/providers/aws.md"),
                });
            }
        }
        findings
    }
}

/// A version's id, when it can be one of AWS's.
fn checked(version: &VersionId) -> Result<&str, ProviderError> {
    let text = version.as_str();
    if is_version(text) {
        Ok(text)
    } else {
        Err(ProviderError::new(ErrorClass::Invalid, format!("`{text}` is not the id of an AWS version")))
    }
}

/// AWS takes tokens of 32 to 64 characters and makes them the version's id; another one is hashed (SHA-256).
fn version_token(token: &str) -> String {
    if is_version(token) {
        return token.to_owned();
    }
    HEXLOWER.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes()).as_ref())
}
