//! A cloud that is played, and a provider that is connected to it.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use azure_core::time::OffsetDateTime;
use leasehold_core::{
    SecretValue, Timestamp,
    ports::{Clock, Entropy, NoEntropy, Provider},
    provider::{Fetch, Fetched, ProviderError, Stage, WriteVersion},
    secret::VersionId,
};
use leasehold_provider_azure::{AzureConfig, AzureProvider, Cloud, Identity};
use leasehold_provider_conformance::{
    authority::Authority,
    scripted::{
        Reply, Request, ScriptedServer,
        azure::{Azure, CLIENT, CLIENT_SECRET, TENANT, VAULT_HOST},
    },
};
use tempfile::TempDir;

/// What goes wrong before the cloud is asked; `None` when nothing does.
pub(crate) type Trouble = Box<dyn Fn(&Azure, &Request) -> Option<Reply> + Send + Sync>;

/// A cloud behind TLS, with the files that a provider needs to reach it.
pub(crate) struct Site {
    pub(crate) azure: Arc<Azure>,
    pub(crate) server: ScriptedServer,
    pub(crate) clock: Arc<WallClock>,
    pub(crate) home: TempDir,
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::in_trouble(Box::new(|_, _| None)).await
    }

    pub(crate) async fn in_trouble(trouble: Trouble) -> Self {
        let authority = Authority::new("scripted cloud").unwrap();
        let azure = Arc::new(Azure::new());
        let answering = Arc::clone(&azure);
        let script = move |request: &Request, _| {
            trouble(&answering, request).unwrap_or_else(|| answering.answer(request))
        };
        let server = ScriptedServer::start_tls(&authority, &[VAULT_HOST], script).await.unwrap();
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("ca.pem"), authority.pem()).unwrap();
        private(&home.path().join("client-secret"), CLIENT_SECRET);
        let site = Self { azure, server, clock: Arc::default(), home };
        site.azure.sign_in_at(site.sign_in());
        site
    }

    /// Where is signed in.
    pub(crate) fn sign_in(&self) -> String {
        format!("https://localhost:{}", self.server.address().port())
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// A configuration as a platform engineer would write it, but for the addresses.
    pub(crate) fn config(&self) -> AzureConfig {
        AzureConfig {
            vault: Some("myvault".into()),
            cloud: Cloud::Custom { authority_host: self.sign_in(), vault_domain: "vault.azure.net".into() },
            identity: Identity::ClientSecret {
                tenant_id: TENANT.into(),
                client_id: CLIENT.into(),
                secret_file: self.file("client-secret"),
            },
            private_endpoint: Some(self.server.address()),
            ca_file: Some(self.file("ca.pem")),
            writable: true,
            attempt_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(20),
            ..AzureConfig::default()
        }
    }

    pub(crate) fn provider(&self, change: impl FnOnce(&mut AzureConfig)) -> AzureProvider {
        let mut config = self.config();
        change(&mut config);
        AzureProvider::new(config, Arc::clone(&self.clock) as Arc<dyn Clock>, Arc::new(Constant)).unwrap()
    }

    /// The paths of the vault's requests so far, with their methods.
    pub(crate) fn asked(&self) -> Vec<String> {
        let of_vault = |request: &Request| request.header("host") == Some(VAULT_HOST);
        let requests = self.server.requests();
        requests.iter().filter(|r| of_vault(r)).map(|r| format!("{} {}", r.method(), r.path())).collect()
    }
}

/// A file that nobody else can read.
pub(crate) fn private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

pub(crate) async fn fetch(provider: &AzureProvider, reference: &str) -> Result<Fetched, ProviderError> {
    provider.fetch(Fetch { reference, version: None }).await
}

pub(crate) fn shown(fetched: &Fetched) -> String {
    let bytes = fetched.value.fields.values().next().unwrap().expose().to_vec();
    String::from_utf8(bytes).unwrap()
}

pub(crate) async fn write(
    provider: &AzureProvider,
    reference: &str,
    text: &str,
    token: &str,
    expected: Option<&str>,
) -> Result<VersionId, ProviderError> {
    let value = SecretValue::plain(text.to_owned());
    let expected = expected.map(|id| id.parse().unwrap());
    let request =
        WriteVersion { reference, value: &value, token, expected: expected.as_ref(), stage: Stage::Current };
    provider.write(request).await
}

/// The machine's clock, moved by so many seconds.
#[derive(Default)]
pub(crate) struct WallClock(AtomicI64);

impl WallClock {
    pub(crate) fn forward(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        let moved = self.0.load(Ordering::SeqCst);
        let seconds = OffsetDateTime::now_utc().unix_timestamp().saturating_add(moved);
        Timestamp::from_second(seconds).unwrap()
    }

    async fn sleep_until(&self, _deadline: Timestamp) {}
}

/// No jitter to wait for.
pub(crate) struct Constant;

impl Entropy for Constant {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoEntropy> {
        buffer.fill(0);
        Ok(())
    }
}
