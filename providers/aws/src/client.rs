//! The narrow face of AWS Secrets Manager that the provider needs, and the SDK behind it.

use std::time::Duration;

use async_trait::async_trait;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_secretsmanager::{
    Client,
    config::{IdentityCache, retry::RetryConfig, timeout::TimeoutConfig},
    primitives::{Blob, DateTime},
};
use leasehold_core::{
    SecretBytes, Timestamp,
    provider::{ErrorClass, ProviderError},
};

use crate::{
    config::{AwsConfig, Credentials},
    error::{Call, classify},
    key_files::KeyFiles,
    rules::{HintedRetry, NoPlaintext, PATIENCE},
    value::Body,
};

/// What the provider asks of AWS.
#[async_trait]
pub(crate) trait SecretsClient: Send + Sync {
    /// `GetSecretValue`.
    async fn read(&self, secret: &str, which: Which<'_>) -> Result<Version, ProviderError>;

    /// `PutSecretValue` under the id `token`, as the current version or, with a label, under that label only.
    async fn write(
        &self,
        secret: &str,
        body: Body,
        token: &str,
        label: Option<&str>,
    ) -> Result<String, ProviderError>;

    /// `UpdateSecretVersionStage`: moves `label` from one version to another, and fails when it is not there.
    async fn promote(&self, secret: &str, label: &str, from: &str, to: &str) -> Result<(), ProviderError>;
}

/// Which version is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which<'a> {
    /// The one with this staging label.
    Stage(&'a str),
    /// The one with this id.
    Id(&'a str),
}

/// One version, as AWS answers it.
pub(crate) struct Version {
    /// Its id.
    pub(crate) id: Option<String>,
    /// Its value.
    pub(crate) body: Option<Body>,
    /// When it was made.
    pub(crate) created_at: Option<Timestamp>,
}

/// The SDK's client.
pub(crate) struct Sdk {
    client: Client,
}

impl Sdk {
    /// Finds region and credentials, and makes a client. Asks the network only when the chain must (the instance's region).
    ///
    /// # Errors
    /// [`ErrorClass::Permanent`] when there is no region.
    pub(crate) async fn connect(config: &AwsConfig) -> Result<Self, ProviderError> {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(config.connect_timeout)
            .read_timeout(config.attempt_timeout)
            .operation_attempt_timeout(config.attempt_timeout)
            .operation_timeout(config.timeout)
            .build();
        let retries = RetryConfig::standard()
            .with_max_attempts(config.max_attempts)
            .with_initial_backoff(Duration::from_millis(100))
            .with_max_backoff(PATIENCE);
        let mut loader =
            aws_config::defaults(BehaviorVersion::latest()).timeout_config(timeouts).retry_config(retries);
        if let Some(region) = &config.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(url) = &config.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        loader = match &config.credentials {
            Credentials::Chain { profile: None } => loader,
            Credentials::Chain { profile: Some(name) } => loader.profile_name(name),
            Credentials::Static { access_key_id, secret_access_key_file, session_token_file } => {
                let files = KeyFiles {
                    id: access_key_id.clone(),
                    secret: secret_access_key_file.clone(),
                    token: session_token_file.clone(),
                };
                loader.credentials_provider(files).identity_cache(IdentityCache::no_cache())
            }
        };
        Self::new(&loader.load().await, config.allow_plaintext)
    }

    fn new(loaded: &SdkConfig, allow_plaintext: bool) -> Result<Self, ProviderError> {
        if loaded.region().is_none() {
            return Err(ProviderError::new(
                ErrorClass::Permanent,
                "no AWS region: set `region`, AWS_REGION, or one in the profile",
            ));
        }
        let mut config = aws_sdk_secretsmanager::config::Builder::from(loaded).retry_classifier(HintedRetry);
        if !allow_plaintext {
            config = config.interceptor(NoPlaintext);
        }
        Ok(Self { client: Client::from_conf(config.build()) })
    }
}

#[async_trait]
impl SecretsClient for Sdk {
    async fn read(&self, secret: &str, which: Which<'_>) -> Result<Version, ProviderError> {
        let call = self.client.get_secret_value().secret_id(secret);
        let call = match which {
            Which::Stage(label) => call.version_stage(label),
            Which::Id(id) => call.version_id(id),
        };
        let answer = call.send().await.map_err(|error| classify(Call::Read, secret, error))?;
        let text = answer.secret_string.map(|text| Body::Text(text.into()));
        let binary = answer.secret_binary.map(|blob| Body::Binary(blob.into_inner().into()));
        Ok(Version {
            id: answer.version_id,
            body: text.or(binary),
            created_at: answer.created_date.as_ref().and_then(timestamp),
        })
    }

    async fn write(
        &self,
        secret: &str,
        body: Body,
        token: &str,
        label: Option<&str>,
    ) -> Result<String, ProviderError> {
        let call = self.client.put_secret_value().secret_id(secret).client_request_token(token);
        let call = call.set_version_stages(label.map(|label| vec![label.to_owned()]));
        let call = match body {
            Body::Text(text) => call.secret_string(into_text(text)?),
            Body::Binary(bytes) => call.secret_binary(Blob::new(bytes.into_exposed())),
        };
        let answer = call.send().await.map_err(|error| classify(Call::Write, secret, error))?;
        Ok(answer.version_id.unwrap_or_else(|| token.to_owned()))
    }

    async fn promote(&self, secret: &str, label: &str, from: &str, to: &str) -> Result<(), ProviderError> {
        let call = self.client.update_secret_version_stage().secret_id(secret).version_stage(label);
        let call = call.remove_from_version_id(from).move_to_version_id(to);
        call.send().await.map(drop).map_err(|error| classify(Call::Promote, secret, error))
    }
}

fn timestamp(time: &DateTime) -> Option<Timestamp> {
    Timestamp::new(time.secs(), i32::try_from(time.subsec_nanos()).ok()?).ok()
}

fn into_text(bytes: SecretBytes) -> Result<String, ProviderError> {
    String::from_utf8(bytes.into_exposed())
        .map_err(|_| ProviderError::new(ErrorClass::Invalid, "the value is not UTF-8"))
}
