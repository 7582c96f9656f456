//! A directory with a clock that a test sets.

use std::{
    fs,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::SeqCst},
    },
};

use async_trait::async_trait;
use leasehold_core::{
    SecretValue, Timestamp,
    ports::{Clock, Provider},
    provider::{Change, ChangeSecret, Fetch, ProviderError, Stage, VersionFacts, VersionState, WriteVersion},
    secret::VersionId,
};
use leasehold_provider_local::{LocalConfig, LocalProvider, OpenError};
use leasehold_seal::{KeyRing, SystemEntropy};
use tempfile::TempDir;

/// A clock that stands where it was set.
pub(crate) struct SetClock(AtomicI64);

impl SetClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(1_800_000_000)))
    }
}

#[async_trait]
impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(SeqCst)).unwrap()
    }

    async fn sleep_until(&self, _deadline: Timestamp) {}
}

/// No two writes of a test are the same write, in whatever directory.
pub(crate) fn token() -> String {
    static TOKENS: AtomicU64 = AtomicU64::new(0);
    format!("t{}", TOKENS.fetch_add(1, SeqCst))
}

pub(crate) struct Local {
    pub(crate) provider: LocalProvider,
    pub(crate) config: LocalConfig,
    keys: Arc<KeyRing>,
    clock: Arc<SetClock>,
    pub(crate) home: TempDir,
}

impl Local {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut LocalConfig)) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut config = LocalConfig::new(home.path().join("local"));
        change(&mut config);
        let keys = Arc::new(KeyRing::generate(&SystemEntropy).unwrap());
        let clock = SetClock::new();
        let provider = open(&config, &keys, &clock).unwrap();
        Self { provider, config, keys, clock, home }
    }

    /// The same directory, as after a restart.
    pub(crate) fn reopened(self) -> Self {
        let Self { provider, config, keys, clock, home } = self;
        drop(provider);
        Self { provider: open(&config, &keys, &clock).unwrap(), config, keys, clock, home }
    }

    pub(crate) fn pass(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds, SeqCst);
    }

    pub(crate) async fn write(&self, reference: &str, text: &str) -> VersionId {
        let token = token();
        self.stage(reference, text, &token, Stage::Current).await.unwrap()
    }

    pub(crate) async fn stage(
        &self,
        reference: &str,
        text: &str,
        token: &str,
        stage: Stage,
    ) -> Result<VersionId, ProviderError> {
        let value = SecretValue::plain(text.to_owned());
        self.provider.write(WriteVersion { reference, value: &value, token, expected: None, stage }).await
    }

    pub(crate) async fn write_over(
        &self,
        reference: &str,
        text: &str,
        expected: &VersionId,
    ) -> Result<VersionId, ProviderError> {
        let value = SecretValue::plain(text.to_owned());
        let token = token();
        let expected = Some(expected);
        let write = WriteVersion { reference, value: &value, token: &token, expected, stage: Stage::Current };
        self.provider.write(write).await
    }

    pub(crate) async fn read(
        &self,
        reference: &str,
        version: Option<&VersionId>,
    ) -> Result<String, ProviderError> {
        let fetched = self.provider.fetch(Fetch { reference, version }).await?;
        Ok(String::from_utf8(fetched.value.fields.values().next().unwrap().expose().to_vec()).unwrap())
    }

    pub(crate) async fn change(
        &self,
        reference: &str,
        version: Option<&VersionId>,
        change: Change,
    ) -> Result<(), ProviderError> {
        self.provider.change(ChangeSecret { reference, version, change, expected: None }).await
    }

    pub(crate) async fn versions(&self, reference: &str) -> Vec<VersionFacts> {
        self.provider.versions(reference).await.unwrap()
    }

    pub(crate) async fn current(&self, reference: &str) -> Option<VersionId> {
        let listed = self.versions(reference).await;
        listed.into_iter().find(|facts| facts.current).map(|facts| facts.version)
    }

    pub(crate) async fn state(&self, reference: &str, version: &VersionId) -> Option<VersionState> {
        let listed = self.versions(reference).await;
        listed.into_iter().find(|facts| facts.version == *version).map(|facts| facts.state)
    }

    pub(crate) fn folder(&self, reference: &str) -> PathBuf {
        self.config.directory.join("secrets").join(reference).join("@")
    }

    pub(crate) fn file(&self, reference: &str, name: &str) -> PathBuf {
        self.folder(reference).join(name)
    }
}

/// Puts a file there as the provider would.
pub(crate) fn put_private(path: &Path, bytes: &[u8]) {
    use std::io::Write;
    let mut file =
        fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(path).unwrap();
    file.write_all(bytes).unwrap();
}

pub(crate) fn open(
    config: &LocalConfig,
    keys: &Arc<KeyRing>,
    clock: &Arc<SetClock>,
) -> Result<LocalProvider, OpenError> {
    LocalProvider::open(config.clone(), keys.clone(), clock.clone(), Arc::new(SystemEntropy))
}
