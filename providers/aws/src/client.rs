//! The narrow face of AWS Secrets Manager that the provider needs, and the SDK behind it.

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::{
    Credentials as Key,
    provider::{ProvideCredentials, error::CredentialsError, future},
};
use aws_sdk_secretsmanager::{
    Client,
    config::{
        ConfigBag, IdentityCache, Intercept, RuntimeComponents,
        interceptors::{BeforeTransmitInterceptorContextRef, InterceptorContext},
        retry::{ClassifyRetry, RetryAction, RetryConfig},
        timeout::TimeoutConfig,
    },
    error::BoxError,
    primitives::{Blob, DateTime},
};
use aws_smithy_runtime_api::client::retries::classifiers::{RetryClassifierPriority, RetryReason};
use leasehold_core::{
    SecretBytes, Timestamp,
    provider::{ErrorClass, ProviderError},
};

use crate::{
    config::{AwsConfig, Credentials, Endpoint},
    error::{Call, PlaintextRefused, classify, retry_hint},
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

/// The longest wait, asked for by AWS, that is waited here. Longer hints go to the caller, who has better things to do.
const PATIENCE: Duration = Duration::from_secs(1);

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
                    secret: secret_access_key_file.as_path().into(),
                    token: session_token_file.as_deref().map(Arc::from),
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

/// An access key whose secret is read from its file for each call.
#[derive(Debug)]
struct KeyFiles {
    id: String,
    secret: Arc<Path>,
    token: Option<Arc<Path>>,
}

impl ProvideCredentials for KeyFiles {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let secret = read_key(&self.secret).await?;
            let token = match &self.token {
                Some(path) => Some(read_key(path).await?),
                None => None,
            };
            Ok(Key::new(self.id.clone(), secret, token, None, "leasehold-key-file"))
        })
    }
}

/// One line from a file that nobody but its owner, or its owner's group, can read (systemd's credentials are 0440).
async fn read_key(path: &Path) -> Result<String, CredentialsError> {
    use std::os::unix::fs::MetadataExt;
    let wrong = |why: String| CredentialsError::invalid_configuration(format!("{}: {why}", path.display()));
    let meta = tokio::fs::metadata(path).await.map_err(|error| wrong(error.to_string()))?;
    if !meta.is_file() || meta.len() > 16 * 1024 {
        return Err(wrong("a key is a file of at most 16 KiB".to_owned()));
    }
    if meta.mode() & 0o027 != 0 {
        return Err(wrong("others can read or change this key: chmod 600".to_owned()));
    }
    let text = tokio::fs::read_to_string(path).await.map_err(|error| wrong(error.to_string()))?;
    let key = text.trim();
    if key.is_empty() || key.contains(char::is_whitespace) {
        return Err(wrong("a key is one word on one line".to_owned()));
    }
    Ok(key.to_owned())
}

/// Does as AWS says: waits as long as the hint asks, or, when that is longer than [`PATIENCE`], lets the caller know.
#[derive(Debug)]
struct HintedRetry;

impl ClassifyRetry for HintedRetry {
    fn classify_retry(&self, _context: &InterceptorContext) -> RetryAction {
        RetryAction::NoActionIndicated
    }

    fn classify_retry_v2(&self, context: &InterceptorContext, previous: &RetryAction) -> RetryAction {
        let (RetryAction::RetryIndicated(RetryReason::RetryableError { kind, .. }), Some(hint)) =
            (previous, context.response().and_then(retry_hint))
        else {
            return RetryAction::NoActionIndicated;
        };
        if hint > PATIENCE {
            RetryAction::RetryForbidden
        } else {
            RetryAction::retryable_error_with_explicit_delay(*kind, hint)
        }
    }

    fn name(&self) -> &'static str {
        "retry as hinted"
    }

    fn priority(&self) -> RetryClassifierPriority {
        RetryClassifierPriority::run_after(RetryClassifierPriority::transient_error_classifier())
    }
}

/// Refuses to send anything in clear to another machine, wherever the endpoint came from: the environment and the
/// profile can name one too.
#[derive(Debug)]
struct NoPlaintext;

impl Intercept for NoPlaintext {
    fn name(&self) -> &'static str {
        "no plaintext"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        match Endpoint::of(context.request().uri()) {
            Some(Endpoint { plain: true, local: false }) | None => Err(PlaintextRefused.into()),
            Some(_) => Ok(()),
        }
    }
}

fn timestamp(time: &DateTime) -> Option<Timestamp> {
    Timestamp::new(time.secs(), i32::try_from(time.subsec_nanos()).ok()?).ok()
}

fn into_text(bytes: SecretBytes) -> Result<String, ProviderError> {
    String::from_utf8(bytes.into_exposed())
        .map_err(|_| ProviderError::new(ErrorClass::Invalid, "the value is not UTF-8"))
}
