//! Region, credentials and endpoints, and a client for each service and region.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_secretsmanager::config::{
    IdentityCache, SharedInterceptor, retry::RetryConfig, timeout::TimeoutConfig,
};
use leasehold_core::{
    ports::Clock,
    provider::{ErrorClass, ProviderError},
};

use super::{Parameters, Secrets, Tokens};
use crate::{
    assumed::Assumed,
    config::{AwsConfig, Credentials, Service, url_for},
    key_files::KeyFiles,
    rules::{Bounded, HintedRetry, NoPlaintext, PATIENCE},
    skew::Skew,
    standing::{Standing, Watched},
};

/// AWS as the broker sees it: one identity, one region that is its home, and the others.
pub(crate) struct Cloud {
    loaded: SdkConfig,
    home: String,
    config: AwsConfig,
    interceptors: Vec<SharedInterceptor>,
    skew: Skew,
    tokens: Tokens,
    secrets: PerRegion<Secrets>,
    parameters: PerRegion<Parameters>,
}

type PerRegion<T> = Mutex<BTreeMap<Box<str>, T>>;

/// How many regions' clients are kept; there are fewer regions than this.
const MOST_REGIONS: usize = 64;

/// How long before their end credentials are renewed, half of it at least.
const RENEW_BEFORE: Duration = Duration::from_secs(180);

impl Cloud {
    /// Finds region and credentials, and makes the clients. Asks the network only when the chain must (the instance's
    /// region).
    ///
    /// # Errors
    /// [`ErrorClass::Permanent`] when there is no region.
    pub(crate) async fn connect(
        config: &AwsConfig,
        standing: &Arc<Standing>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, ProviderError> {
        let loaded = load(config).await;
        let Some(home) = loaded.region().map(ToString::to_string) else {
            return Err(ProviderError::new(
                ErrorClass::Permanent,
                "no AWS region: set `region`, AWS_REGION, or one in the profile",
            ));
        };
        let skew = Skew::new(Arc::clone(clock));
        let mut interceptors = vec![SharedInterceptor::new(skew.clone()), SharedInterceptor::new(Bounded)];
        if !config.allow_plaintext {
            interceptors.push(SharedInterceptor::new(NoPlaintext));
        }
        let watched = |source: Option<SharedCredentialsProvider>, as_they_are: bool| {
            let source = source.map(|source| {
                SharedCredentialsProvider::new(Watched::new(source, Arc::clone(standing), Arc::clone(clock)))
            });
            let cache = match as_they_are {
                true => IdentityCache::no_cache(),
                false => IdentityCache::lazy().buffer_time(RENEW_BEFORE).load_timeout(config.timeout).build(),
            };
            let mut builder = loaded.to_builder().identity_cache(cache);
            builder.set_credentials_provider(source);
            builder.build()
        };
        // Files are read anew for each call; all else is kept until it nears its end.
        let files = matches!(config.credentials, Credentials::Static { .. });
        let base = watched(loaded.credentials_provider(), files);
        let loaded = match &config.assume_role {
            None => base,
            Some(role) => {
                let tokens = tokens(&base, config, &home, &interceptors)?;
                let source = Assumed::new(tokens, role.clone());
                watched(Some(SharedCredentialsProvider::new(source)), false)
            }
        };
        Ok(Self {
            tokens: tokens(&loaded, config, &home, &interceptors)?,
            loaded,
            home,
            config: config.clone(),
            interceptors,
            skew,
            secrets: PerRegion::default(),
            parameters: PerRegion::default(),
        })
    }

    /// The region that is meant when none is named.
    pub(crate) fn home(&self) -> &str {
        &self.home
    }

    /// How far this machine's clock is off.
    pub(crate) fn skew(&self) -> &Skew {
        &self.skew
    }

    /// The Security Token Service.
    pub(crate) fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// The secrets of a region.
    ///
    /// # Errors
    /// [`ErrorClass::Invalid`] when the configured endpoint is another region's.
    pub(crate) fn secrets(&self, region: Option<&str>) -> Result<Secrets, ProviderError> {
        let region = region.unwrap_or(&self.home);
        self.of_region(&self.secrets, region, || {
            let url = endpoint(&self.loaded, &self.config, Service::Secrets, region, &self.home)?;
            let mut builder = aws_sdk_secretsmanager::config::Builder::from(&self.loaded)
                .retry_classifier(HintedRetry)
                .region(Region::new(region.to_owned()));
            if let Some(url) = url {
                builder.set_endpoint_url(Some(url));
            }
            for interceptor in &self.interceptors {
                builder.push_interceptor(interceptor.clone());
            }
            Ok(Secrets::new(aws_sdk_secretsmanager::Client::from_conf(builder.build())))
        })
    }

    /// The parameters of a region.
    ///
    /// # Errors
    /// As [`Self::secrets`].
    pub(crate) fn parameters(&self, region: Option<&str>) -> Result<Parameters, ProviderError> {
        let region = region.unwrap_or(&self.home);
        self.of_region(&self.parameters, region, || {
            let url = endpoint(&self.loaded, &self.config, Service::Parameters, region, &self.home)?;
            let mut builder = aws_sdk_ssm::config::Builder::from(&self.loaded)
                .retry_classifier(HintedRetry)
                .region(Region::new(region.to_owned()));
            if let Some(url) = url {
                builder.set_endpoint_url(Some(url));
            }
            for interceptor in &self.interceptors {
                builder.push_interceptor(interceptor.clone());
            }
            Ok(Parameters::new(aws_sdk_ssm::Client::from_conf(builder.build())))
        })
    }

    fn of_region<T: Clone>(
        &self,
        known: &PerRegion<T>,
        region: &str,
        make: impl FnOnce() -> Result<T, ProviderError>,
    ) -> Result<T, ProviderError> {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = known.get(region) {
            return Ok(client.clone());
        }
        let client = make()?;
        if known.len() < MOST_REGIONS {
            known.insert(region.into(), client.clone());
        }
        Ok(client)
    }
}

async fn load(config: &AwsConfig) -> SdkConfig {
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
    loader = match &config.credentials {
        Credentials::Chain { profile: None } => loader,
        Credentials::Chain { profile: Some(name) } => loader.profile_name(name),
        Credentials::Static { access_key_id, secret_access_key_file, session_token_file } => loader
            .credentials_provider(KeyFiles {
                id: access_key_id.clone(),
                secret: secret_access_key_file.clone(),
                token: session_token_file.clone(),
            }),
    };
    loader.load().await
}

fn tokens(
    loaded: &SdkConfig,
    config: &AwsConfig,
    home: &str,
    interceptors: &[SharedInterceptor],
) -> Result<Tokens, ProviderError> {
    let mut builder = aws_sdk_sts::config::Builder::from(loaded).retry_classifier(HintedRetry);
    if let Some(url) = endpoint(loaded, config, Service::Tokens, home, home)? {
        builder.set_endpoint_url(Some(url));
    }
    for interceptor in interceptors {
        builder.push_interceptor(interceptor.clone());
    }
    Ok(Tokens::new(aws_sdk_sts::Client::from_conf(builder.build())))
}

/// Where a service of a region is asked; `None` for where AWS has it, or where the environment says.
fn endpoint(
    loaded: &SdkConfig,
    config: &AwsConfig,
    service: Service,
    region: &str,
    home: &str,
) -> Result<Option<String>, ProviderError> {
    let elsewhere = || {
        ProviderError::new(
            ErrorClass::Invalid,
            format!(
                "the `ref` is of the region {region}, and the configured endpoint is that of {home}: write `{{region}}` \
                 in the endpoint's URL, or configure another provider for that region"
            ),
        )
    };
    match config.endpoint_of(service) {
        Some(url) => url_for(url, region, home).map(Some).ok_or_else(elsewhere),
        None => match loaded.endpoint_url() {
            Some(url) if url_for(url, region, home).is_none() => Err(elsewhere()),
            _ => Ok(None),
        },
    }
}
