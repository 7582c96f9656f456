//! Google's SDK behind the narrow face.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use google_cloud_gax::{
    client_builder::internal::with_follow_redirects, error::Error, retry_policy::NeverRetry,
};
use google_cloud_iam_credentials_v1::client::IAMCredentials;
use google_cloud_secretmanager_v1::{
    client::SecretManagerService,
    model::{SecretPayload, SecretVersion, secret_version::State},
};
use google_cloud_wkt::Timestamp as Stamp;
use leasehold_core::{
    SecretBytes, Timestamp,
    ports::{Clock, Entropy},
    provider::{ErrorClass, VersionState},
};
use tokio::sync::{Mutex, OnceCell};

use crate::{
    client::{CloudClient, Payload, StateChange, Token, Version},
    config::GcpConfig,
    error::{Call, Cause, Failure, classify},
    patience::Patience,
    reference::Secret,
    roles::{GcpRole, Grant},
    sign_in::{Account, token_end},
};

/// The SDK's clients, each made on its first call.
pub(crate) struct Sdk {
    account: Account,
    patience: Patience,
    clock: Arc<dyn Clock>,
    endpoint_url: Option<String>,
    iam_endpoint_url: Option<String>,
    require_checksum: bool,
    /// By location; the global one under nothing. Only configured locations come here.
    secrets: Mutex<BTreeMap<Option<String>, SecretManagerService>>,
    tokens: OnceCell<IAMCredentials>,
}

/// The most versions that a page has, and the most pages that are asked for.
const PAGE: i32 = 250;
const PAGES: usize = 40;

impl Sdk {
    pub(crate) fn new(
        config: &GcpConfig,
        account: Account,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let patience = Patience {
            attempt: config.attempt_timeout,
            total: config.timeout,
            attempts: config.max_attempts,
            entropy,
        };
        Self {
            account,
            patience,
            clock,
            endpoint_url: config.endpoint_url.clone(),
            iam_endpoint_url: config.iam_endpoint_url.clone(),
            require_checksum: config.require_checksum,
            secrets: Mutex::default(),
            tokens: OnceCell::new(),
        }
    }

    /// Regional secrets have endpoints of their own (<https://cloud.google.com/secret-manager/regional-secrets/>).
    async fn secrets(&self, location: Option<&str>) -> Result<SecretManagerService, Failure> {
        let key = location.map(str::to_owned);
        let mut known = self.secrets.lock().await;
        if let Some(client) = known.get(&key) {
            return Ok(client.clone());
        }
        let mut builder = SecretManagerService::builder()
            .with_credentials(self.account.clone())
            .with_retry_policy(NeverRetry);
        if let Some(url) = &self.endpoint_url {
            builder = builder.with_endpoint(url);
        } else if let Some(location) = location {
            builder = builder.with_endpoint(format!("https://secretmanager.{location}.rep.googleapis.com"));
        }
        // What is sent has a token, and often a value: it goes where it was sent, whatever an answer says.
        let builder = with_follow_redirects(builder, false);
        let client = builder.build().await.map_err(|_| unbuilt(Call::Access))?;
        known.insert(key, client.clone());
        Ok(client)
    }

    async fn tokens(&self) -> Result<&IAMCredentials, Failure> {
        let build = || async {
            let mut builder = IAMCredentials::builder()
                .with_credentials(self.account.clone())
                .with_retry_policy(NeverRetry);
            if let Some(url) = &self.iam_endpoint_url {
                builder = builder.with_endpoint(url);
            }
            with_follow_redirects(builder, false).build().await.map_err(|_| unbuilt(Call::AccessToken))
        };
        self.tokens.get_or_try_init(build).await
    }

    async fn failed(&self, call: Call, subject: &str, error: Error) -> Failure {
        let failure = classify(call, subject, &error, self.clock.now());
        if matches!(failure.cause, Cause::Unauthenticated { .. }) {
            self.account.refused().await;
        }
        failure
    }

    /// The payload, when it is whole.
    fn checked(&self, secret: &Secret<'_>, payload: SecretPayload) -> Result<SecretBytes, Failure> {
        let bytes = SecretBytes::new(Vec::from(payload.data));
        match payload.data_crc32c {
            Some(sum) if sum == checksum(&bytes) => Ok(bytes),
            Some(_) => Err(Failure::new(
                Cause::Other,
                ErrorClass::Transient,
                Call::Access,
                secret.id,
                "the payload does not match its CRC32C checksum: it was damaged on its way",
            )),
            None if self.require_checksum => Err(Failure::new(
                Cause::Other,
                ErrorClass::Permanent,
                Call::Access,
                secret.id,
                "the payload came without a CRC32C checksum, which Secret Manager always sends: is that an emulator? (`require_checksum`)",
            )),
            None => Ok(bytes),
        }
    }
}

#[async_trait]
impl CloudClient for Sdk {
    async fn access(&self, secret: &Secret<'_>, version: &str) -> Result<Payload, Failure> {
        let name = secret.version(version);
        self.patience
            .ask(Call::Access, secret.id, || async {
                let client = self.secrets(secret.location).await?;
                let answer = match client.access_secret_version().set_name(&name).send().await {
                    Ok(answer) => answer,
                    Err(error) => return Err(self.failed(Call::Access, secret.id, error).await),
                };
                let odd = |what| Failure::odd(Call::Access, secret.id, what);
                let number = number_in(&answer.name).ok_or_else(|| odd("version"))?;
                let payload = answer.payload.ok_or_else(|| odd("payload"))?;
                Ok(Payload { number, bytes: self.checked(secret, payload)? })
            })
            .await
    }

    async fn add(&self, secret: &Secret<'_>, value: &SecretBytes) -> Result<u64, Failure> {
        let parent = secret.name();
        self.patience
            .ask(Call::Add, secret.id, || async {
                let client = self.secrets(secret.location).await?;
                let payload = SecretPayload::new()
                    .set_data(Bytes::copy_from_slice(value.expose()))
                    .set_data_crc32c(checksum(value));
                let call = client.add_secret_version().set_parent(&parent).set_payload(payload);
                match call.send().await {
                    Ok(version) => {
                        number_in(&version.name).ok_or_else(|| Failure::odd(Call::Add, secret.id, "version"))
                    }
                    Err(error) => Err(self.failed(Call::Add, secret.id, error).await),
                }
            })
            .await
    }

    async fn version(&self, secret: &Secret<'_>, version: &str) -> Result<Version, Failure> {
        let name = secret.version(version);
        self.patience
            .ask(Call::Get, secret.id, || async {
                let client = self.secrets(secret.location).await?;
                match client.get_secret_version().set_name(&name).send().await {
                    Ok(version) => facts(version).map_err(|what| Failure::odd(Call::Get, secret.id, what)),
                    Err(error) => Err(self.failed(Call::Get, secret.id, error).await),
                }
            })
            .await
    }

    async fn versions(&self, secret: &Secret<'_>) -> Result<Vec<Version>, Failure> {
        let parent = secret.name();
        let mut versions = Vec::new();
        let mut page = String::new();
        for _ in 0..PAGES {
            let answer = self
                .patience
                .ask(Call::List, secret.id, || async {
                    let client = self.secrets(secret.location).await?;
                    let call = client.list_secret_versions().set_parent(&parent).set_page_size(PAGE);
                    match call.set_page_token(&page).send().await {
                        Ok(answer) => Ok(answer),
                        Err(error) => Err(self.failed(Call::List, secret.id, error).await),
                    }
                })
                .await?;
            for version in answer.versions {
                versions.push(facts(version).map_err(|what| Failure::odd(Call::List, secret.id, what))?);
            }
            page = answer.next_page_token;
            if page.is_empty() {
                break;
            }
        }
        Ok(versions)
    }

    async fn aliases(&self, secret: &Secret<'_>) -> Result<BTreeMap<String, i64>, Failure> {
        let name = secret.name();
        self.patience
            .ask(Call::Secret, secret.id, || async {
                let client = self.secrets(secret.location).await?;
                match client.get_secret().set_name(&name).send().await {
                    Ok(answer) => Ok(answer.version_aliases.into_iter().collect()),
                    Err(error) => Err(self.failed(Call::Secret, secret.id, error).await),
                }
            })
            .await
    }

    async fn set_state(
        &self,
        secret: &Secret<'_>,
        version: &Version,
        change: StateChange,
    ) -> Result<(), Failure> {
        let name = secret.version(&version.number.to_string());
        let call = match change {
            StateChange::Disable => Call::Disable,
            StateChange::Enable => Call::Enable,
            StateChange::Destroy => Call::Destroy,
        };
        self.patience
            .ask(call, secret.id, || async {
                let client = self.secrets(secret.location).await?;
                let answer = match change {
                    StateChange::Disable => {
                        client.disable_secret_version().set_name(&name).set_etag(&version.etag).send().await
                    }
                    StateChange::Enable => {
                        client.enable_secret_version().set_name(&name).set_etag(&version.etag).send().await
                    }
                    StateChange::Destroy => {
                        client.destroy_secret_version().set_name(&name).set_etag(&version.etag).send().await
                    }
                };
                match answer {
                    Ok(_) => Ok(()),
                    Err(error) => Err(self.failed(call, secret.id, error).await),
                }
            })
            .await
    }

    async fn permitted(&self, secret: &Secret<'_>, asked: &[&str]) -> Result<Vec<String>, Failure> {
        let name = secret.name();
        self.patience
            .ask(Call::Permissions, secret.id, || async {
                let client = self.secrets(secret.location).await?;
                let call = client.test_iam_permissions().set_resource(&name);
                match call.set_permissions(asked.iter().copied()).send().await {
                    Ok(answer) => Ok(answer.permissions),
                    Err(error) => Err(self.failed(Call::Permissions, secret.id, error).await),
                }
            })
            .await
    }

    async fn access_token(&self, name: &str, role: &GcpRole, lifetime: Duration) -> Result<Token, Failure> {
        let odd = |what| Failure::odd(Call::AccessToken, name, what);
        let Grant::AccessToken { scopes, .. } = &role.grant else { return Err(odd("such role")) };
        let lifetime =
            google_cloud_wkt::Duration::clamp(i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX), 0);
        self.patience
            .ask(Call::AccessToken, name, || async {
                let call =
                    self.tokens().await?.generate_access_token().set_name(resource(&role.service_account));
                let call = call.set_delegates(role.delegates.iter().map(|account| resource(account)));
                let answer = match call.set_scope(scopes.iter()).set_lifetime(lifetime).send().await {
                    Ok(answer) => answer,
                    Err(error) => return Err(self.failed(Call::AccessToken, name, error).await),
                };
                let expires_at =
                    answer.expire_time.as_ref().and_then(timestamp).ok_or_else(|| odd("expiry"))?;
                if answer.access_token.is_empty() {
                    return Err(odd("token"));
                }
                Ok(Token { value: answer.access_token.into(), expires_at })
            })
            .await
    }

    async fn id_token(&self, name: &str, role: &GcpRole) -> Result<Token, Failure> {
        let odd = |what| Failure::odd(Call::IdToken, name, what);
        let Grant::IdToken { audience, include_email } = &role.grant else { return Err(odd("such role")) };
        self.patience
            .ask(Call::IdToken, name, || async {
                let call = self.tokens().await?.generate_id_token().set_name(resource(&role.service_account));
                let call = call.set_delegates(role.delegates.iter().map(|account| resource(account)));
                let answer = match call.set_audience(audience).set_include_email(*include_email).send().await
                {
                    Ok(answer) => answer,
                    Err(error) => return Err(self.failed(Call::IdToken, name, error).await),
                };
                let expires_at = token_end(&answer.token).ok_or_else(|| odd("token with an expiry"))?;
                Ok(Token { value: answer.token.into(), expires_at })
            })
            .await
    }
}

/// A service account's name: its project is found by its address.
fn resource(account: &str) -> String {
    format!("projects/-/serviceAccounts/{account}")
}

/// The CRC32C of a payload, as Secret Manager writes it.
pub(crate) fn checksum(bytes: &SecretBytes) -> i64 {
    i64::from(crc32c::crc32c(bytes.expose()))
}

/// The number at the end of `projects/1234/secrets/S/versions/7`.
fn number_in(name: &str) -> Option<u64> {
    let (_, number) = name.rsplit_once("/versions/")?;
    number.parse().ok()
}

fn facts(version: SecretVersion) -> Result<Version, &'static str> {
    Ok(Version {
        number: number_in(&version.name).ok_or("version")?,
        state: match version.state {
            State::Enabled => VersionState::Enabled,
            State::Disabled => VersionState::Disabled,
            State::Destroyed => VersionState::Destroyed,
            _ => return Err("state that is known"),
        },
        created_at: version.create_time.as_ref().and_then(timestamp),
        destroyed_at: version.scheduled_destroy_time.as_ref().and_then(timestamp),
        etag: version.etag,
    })
}

fn timestamp(time: &Stamp) -> Option<Timestamp> {
    Timestamp::new(time.seconds(), time.nanos()).ok()
}

/// Making a client fails only over its configuration, which was checked, and over the machine's certificates.
fn unbuilt(call: Call) -> Failure {
    let why = "no client can be made: are there trusted certificates on this machine, and is GOOGLE_CLOUD_UNIVERSE_DOMAIN unset?";
    Failure::new(Cause::Other, ErrorClass::Permanent, call, "Google Cloud", why)
}
