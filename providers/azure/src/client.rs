//! The narrow face of a key vault that the provider needs, and the SDK behind it.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use azure_core::{error::Error as SdkError, time::OffsetDateTime};
use azure_security_keyvault_secrets::{
    ResourceExt as _, SecretClient, SecretClientOptions,
    models::{
        SecretAttributes, SecretClientGetSecretOptions, SecretClientUpdateSecretPropertiesOptions,
        SetSecretParameters, UpdateSecretPropertiesParameters,
    },
};
use futures::TryStreamExt as _;
use leasehold_core::Timestamp;

use crate::{
    answer::Party, config::AzureConfigFault, failure::Failure, reference::is_version, sign_in::SignedIn,
    value::Held, wire::Wire,
};

/// What the provider asks of a vault. One request each, but for paging and for signing in.
#[async_trait]
pub(crate) trait Vault: Send + Sync {
    /// Get Secret: one version, or the latest.
    async fn read(&self, name: &str, version: Option<&str>) -> Result<Read, Failure>;

    /// Get Secret Versions: all of them, in no order; none when there is no such secret.
    async fn versions(&self, name: &str) -> Result<Vec<Listed>, Failure>;

    /// Set Secret: a new version, which is the latest from then on.
    async fn set(&self, name: &str, held: Held, tags: Tags) -> Result<String, Failure>;

    /// Update Secret: whether a version can be read.
    async fn enable(&self, name: &str, version: &str, enabled: bool) -> Result<(), Failure>;

    /// Delete Secret: begins to.
    async fn delete(&self, name: &str) -> Result<(), Failure>;

    /// Get Deleted Secret: whether it is deleted and not purged.
    async fn is_deleted(&self, name: &str) -> Result<bool, Failure>;

    /// Recover Deleted Secret: begins to.
    async fn recover(&self, name: &str) -> Result<(), Failure>;

    /// Purge Deleted Secret: begins to.
    async fn purge(&self, name: &str) -> Result<(), Failure>;
}

/// A version's labels.
pub(crate) type Tags = HashMap<String, String>;

/// One version with its value.
pub(crate) struct Read {
    /// What it holds.
    pub(crate) held: Held,
    /// What is known of it.
    pub(crate) about: Listed,
}

/// What is known of a version without its value.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    /// Its id.
    pub(crate) version: String,
    /// Whether it can be read.
    pub(crate) enabled: bool,
    /// When it was made, to the second.
    pub(crate) created_at: Option<Timestamp>,
    /// Before when it should not be used.
    pub(crate) not_before: Option<Timestamp>,
    /// After when it should not be used.
    pub(crate) expires_at: Option<Timestamp>,
    /// Its labels.
    pub(crate) tags: Tags,
}

/// The SDK's client.
pub(crate) struct Sdk {
    client: SecretClient,
    wire: Arc<Wire>,
}

impl Sdk {
    /// A client of the vault at `host`. Asks nobody.
    ///
    /// # Errors
    /// When the SDK takes something that was checked for wrong.
    pub(crate) fn new(
        host: &str,
        signed_in: Arc<SignedIn>,
        wire: Arc<Wire>,
    ) -> Result<Self, AzureConfigFault> {
        let options =
            SecretClientOptions { client_options: wire.options(), ..SecretClientOptions::default() };
        let client = SecretClient::new(&format!("https://{host}"), signed_in, Some(options))
            .map_err(|_| AzureConfigFault::Vault(host.to_owned()))?;
        Ok(Self { client, wire })
    }

    fn failed(&self) -> impl Fn(SdkError) -> Failure {
        let now = self.wire.now();
        move |error| Failure::of(&error, now)
    }
}

#[async_trait]
impl Vault for Sdk {
    async fn read(&self, name: &str, version: Option<&str>) -> Result<Read, Failure> {
        let options = SecretClientGetSecretOptions {
            secret_version: version.map(str::to_owned),
            ..SecretClientGetSecretOptions::default()
        };
        let answer = self.client.get_secret(name, Some(options)).await.map_err(self.failed())?;
        let secret = answer.into_model().map_err(self.failed())?;
        let answered = secret.resource_id().ok().filter(|id| id.name.eq_ignore_ascii_case(name));
        let about = listed(answered.and_then(|id| id.version), secret.attributes, secret.tags)?;
        if version.is_some_and(|asked| asked != about.version) {
            return Err(Failure::Unreadable(Party::Vault));
        }
        let text = secret.value.ok_or(Failure::Unreadable(Party::Vault))?.into();
        Ok(Read { held: Held { text, content_type: secret.content_type }, about })
    }

    async fn versions(&self, name: &str) -> Result<Vec<Listed>, Failure> {
        let mut items = self.client.list_secret_properties_versions(name, None).map_err(self.failed())?;
        let mut versions = Vec::new();
        loop {
            match items.try_next().await.map_err(self.failed()) {
                Ok(Some(item)) => {
                    let version = item.resource_id().ok().and_then(|id| id.version);
                    versions.push(listed(version, item.attributes, item.tags)?);
                }
                Ok(None) => return Ok(versions),
                Err(failure) if failure.is_missing() => return Ok(Vec::new()),
                Err(failure) => return Err(failure),
            }
        }
    }

    async fn set(&self, name: &str, held: Held, tags: Tags) -> Result<String, Failure> {
        let text = String::from_utf8(held.text.into_exposed())
            .map_err(|_| Failure::Unmade("the value is not UTF-8"))?;
        let parameters = SetSecretParameters {
            value: Some(text),
            content_type: held.content_type,
            tags: Some(tags),
            ..SetSecretParameters::default()
        };
        let parameters = parameters.try_into().map_err(self.failed())?;
        let answer = self.client.set_secret(name, parameters, None).await.map_err(self.failed())?;
        let secret = answer.into_model().map_err(self.failed())?;
        let version = secret.resource_id().ok().and_then(|id| id.version);
        Ok(listed(version, secret.attributes, secret.tags)?.version)
    }

    async fn enable(&self, name: &str, version: &str, enabled: bool) -> Result<(), Failure> {
        let attributes = SecretAttributes { enabled: Some(enabled), ..SecretAttributes::default() };
        let parameters = UpdateSecretPropertiesParameters {
            secret_attributes: Some(attributes),
            ..UpdateSecretPropertiesParameters::default()
        };
        let options = SecretClientUpdateSecretPropertiesOptions {
            secret_version: Some(version.to_owned()),
            ..SecretClientUpdateSecretPropertiesOptions::default()
        };
        let parameters = parameters.try_into().map_err(self.failed())?;
        let answer = self.client.update_secret_properties(name, parameters, Some(options)).await;
        answer.map(drop).map_err(self.failed())
    }

    async fn delete(&self, name: &str) -> Result<(), Failure> {
        self.client.delete_secret(name, None).await.map(drop).map_err(self.failed())
    }

    async fn is_deleted(&self, name: &str) -> Result<bool, Failure> {
        match self.client.get_deleted_secret(name, None).await.map_err(self.failed()) {
            Ok(_) => Ok(true),
            Err(failure) if failure.is_missing() => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    async fn recover(&self, name: &str) -> Result<(), Failure> {
        self.client.recover_deleted_secret(name, None).await.map(drop).map_err(self.failed())
    }

    async fn purge(&self, name: &str) -> Result<(), Failure> {
        self.client.purge_deleted_secret(name, None).await.map(drop).map_err(self.failed())
    }
}

fn listed(
    version: Option<String>,
    attributes: Option<SecretAttributes>,
    tags: Option<Tags>,
) -> Result<Listed, Failure> {
    let attributes = attributes.unwrap_or_default();
    Ok(Listed {
        version: version.filter(|id| is_version(id)).ok_or(Failure::Unreadable(Party::Vault))?,
        enabled: attributes.enabled.unwrap_or(true),
        created_at: attributes.created.and_then(timestamp),
        not_before: attributes.not_before.and_then(timestamp),
        expires_at: attributes.expires.and_then(timestamp),
        tags: tags.unwrap_or_default(),
    })
}

fn timestamp(time: OffsetDateTime) -> Option<Timestamp> {
    Timestamp::from_second(time.unix_timestamp()).ok()
}
