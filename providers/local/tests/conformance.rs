//! The suite, against a directory; and what files alone can do wrong.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use leasehold_core::{
    SecretValue, Timestamp,
    ports::{Clock, Provider},
    provider::{ErrorClass, Fetch, ProviderError, Stage, WriteVersion},
    secret::VersionId,
};
use leasehold_provider_conformance::{Against, Fixture, Placed, Scene, Trouble, Unplayed, run};
use leasehold_provider_local::{LocalConfig, LocalProvider, OpenError};
use leasehold_seal::{KeyRing, SystemEntropy};
use tempfile::TempDir;

struct StoppedClock;

#[async_trait]
impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    async fn sleep_until(&self, _deadline: Timestamp) {}
}

struct Local {
    provider: LocalProvider,
    config: LocalConfig,
    keys: Arc<KeyRing>,
    tokens: AtomicU64,
    _home: TempDir,
}

fn open(config: &LocalConfig, keys: &Arc<KeyRing>) -> Result<LocalProvider, OpenError> {
    LocalProvider::open(config.clone(), Arc::clone(keys), Arc::new(StoppedClock), Arc::new(SystemEntropy))
}

impl Local {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut LocalConfig)) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut config = LocalConfig::new(home.path().join("local"));
        change(&mut config);
        let keys = Arc::new(KeyRing::generate(&SystemEntropy).unwrap());
        let provider = open(&config, &keys).unwrap();
        Self { provider, config, keys, tokens: AtomicU64::new(0), _home: home }
    }

    /// The same directory, as after a restart.
    fn reopened(self) -> Self {
        let Self { provider, config, keys, tokens, _home } = self;
        drop(provider);
        Self { provider: open(&config, &keys).unwrap(), config, keys, tokens, _home }
    }

    async fn write(&self, reference: &str, text: &str, token: &str) -> Result<VersionId, ProviderError> {
        let value = SecretValue::plain(text.to_owned());
        self.provider
            .write(WriteVersion { reference, value: &value, token, expected: None, stage: Stage::Current })
            .await
    }

    async fn read(&self, reference: &str, version: Option<&VersionId>) -> Result<String, ProviderError> {
        let fetched = self.provider.fetch(Fetch { reference, version }).await?;
        Ok(String::from_utf8(fetched.value.fields.values().next().unwrap().expose().to_vec()).unwrap())
    }

    fn versions(&self, reference: &str) -> PathBuf {
        self.config.directory.join("secrets").join(reference).join("@")
    }

    fn file(&self, reference: &str, version: &VersionId) -> PathBuf {
        self.versions(reference).join(version.as_str())
    }
}

#[async_trait]
impl Fixture for Local {
    fn back_end(&self) -> &'static str {
        "local"
    }

    fn against(&self) -> Against {
        Against::Peer("files")
    }

    async fn trouble(&self, _trouble: Trouble) -> Result<Scene, Unplayed> {
        Err(Unplayed::Impossible("there is nobody else to whom it talks"))
    }

    fn provider(&self) -> &dyn Provider {
        &self.provider
    }

    async fn put(&self, name: &str, value: &SecretValue) -> Result<Placed, String> {
        let reference = format!("conformance/{name}");
        let token = format!("put-{}", self.tokens.fetch_add(1, Ordering::SeqCst));
        let request = WriteVersion {
            reference: &reference,
            value,
            token: &token,
            expected: None,
            stage: Stage::Current,
        };
        let version = self.provider.write(request).await.map_err(|error| error.to_string())?;
        Ok(Placed { reference, version })
    }

    fn absent_reference(&self) -> String {
        "conformance/nothing-here".to_owned()
    }

    fn absent_version(&self) -> VersionId {
        "v99-aaaaaaaa".parse().unwrap()
    }

    fn malformed_version(&self) -> Option<VersionId> {
        Some("latest".parse().unwrap())
    }

    fn hostile_references(&self) -> Vec<String> {
        ["/etc/passwd", "a/", "conformance/current/@", "a:b", "a/".repeat(17).as_str()]
            .map(str::to_owned)
            .to_vec()
    }

    fn largest_value(&self) -> usize {
        self.config.max_value_bytes
    }
}

#[tokio::test]
async fn the_suite_passes() {
    let report = run(&Local::new()).await;
    report.record().unwrap();
    let report = report.passed().unwrap();
    assert_eq!(report.lines().filter(|line| line.starts_with("passed")).count(), 28, "{report}");
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let local = Local::new();
    let first = local.write("a/b", "one", "t1").await.unwrap();
    let second = local.write("a/b", "two", "t2").await.unwrap();
    let local = local.reopened();
    assert_eq!(local.read("a/b", None).await.unwrap(), "two");
    assert_eq!(local.read("a/b", Some(&first)).await.unwrap(), "one");
    assert_eq!(local.write("a/b", "two", "t2").await.unwrap(), second);
}

#[tokio::test]
async fn the_history_is_bounded_and_numbers_go_on() {
    let local = Local::with(|config| config.history = 3);
    let mut versions = Vec::new();
    for round in 0..7 {
        versions.push(local.write("a", &round.to_string(), &format!("t{round}")).await.unwrap());
    }
    assert_eq!(fs::read_dir(local.versions("a")).unwrap().count(), 3);
    assert_eq!(local.read("a", Some(&versions[4])).await.unwrap(), "4");
    assert_eq!(local.read("a", Some(&versions[3])).await.unwrap_err().class, ErrorClass::Absent);
    assert!(versions[6].as_str().starts_with("v7-"), "{}", versions[6]);
}

#[tokio::test]
async fn nothing_is_in_clear_and_nobody_else_can_read_it() {
    let local = Local::new();
    let version = local.write("prod/db", "canary-91c2", "t").await.unwrap();
    let mut modes = vec![];
    let mut look = vec![local.config.directory.clone()];
    while let Some(path) = look.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        modes.push((meta.permissions().mode() & 0o7777, meta.is_dir()));
        if meta.is_dir() {
            look.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let bytes = fs::read(&path).unwrap();
            for clear in [b"canary-91c2".as_slice(), data_encoding::BASE64.encode(b"canary-91c2").as_bytes()]
            {
                assert!(!bytes.windows(clear.len()).any(|window| window == clear), "{}", path.display());
            }
        }
    }
    assert!(local.file("prod/db", &version).is_file());
    assert!(
        modes.iter().all(|(mode, directory)| *mode == if *directory { 0o700 } else { 0o600 }),
        "{modes:?}"
    );
}

#[tokio::test]
async fn a_version_in_anothers_place_does_not_open() {
    let local = Local::new();
    let mine = local.write("mine", "mine", "t").await.unwrap();
    let theirs = local.write("theirs", "theirs", "t").await.unwrap();
    fs::copy(local.file("mine", &mine), local.file("theirs", &theirs)).unwrap();
    assert_eq!(local.read("theirs", None).await.unwrap_err().class, ErrorClass::Permanent);
    let newer = local.versions("mine").join("v2-aaaaaaaa");
    fs::copy(local.file("mine", &mine), &newer).unwrap();
    assert_eq!(local.read("mine", None).await.unwrap_err().class, ErrorClass::Permanent);
}

#[tokio::test]
async fn a_file_that_cannot_be_trusted_is_refused_and_named() {
    type Damage = fn(&Path);
    let cases: [(&str, Damage); 7] = [
        ("cut", |path| fs::write(path, &fs::read(path).unwrap()[..20]).unwrap()),
        ("emptied", |path| fs::write(path, b"").unwrap()),
        ("flipped", |path| {
            let mut bytes = fs::read(path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(path, bytes).unwrap();
        }),
        ("exposed", |path| fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap()),
        ("huge", |path| fs::OpenOptions::new().write(true).open(path).unwrap().set_len(1 << 40).unwrap()),
        ("linked", |path| {
            let away = path.with_file_name("away");
            fs::rename(path, &away).unwrap();
            symlink(&away, path).unwrap();
        }),
        ("replaced", |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }),
    ];
    let local = Local::new();
    for (name, damage) in cases {
        let version = local.write(name, "value", "t").await.unwrap();
        let file = local.file(name, &version);
        damage(&file);
        let error = local.read(name, None).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Permanent, "{name}: {error}");
        assert!(error.to_string().contains(file.to_str().unwrap()), "{name}: {error}");
        local.write(name, "mended", "t2").await.unwrap();
        assert_eq!(local.read(name, None).await.unwrap(), "mended", "{name}");
    }
}

#[tokio::test]
async fn another_key_ring_is_said_to_be_the_wrong_one() {
    let local = Local::new();
    local.write("a", "value", "t").await.unwrap();
    let Local { provider, config, _home, .. } = local;
    drop(provider);
    let other = open(&config, &Arc::new(KeyRing::generate(&SystemEntropy).unwrap())).unwrap();
    let read = other.fetch(Fetch { reference: "a", version: None }).await.unwrap_err();
    let value = SecretValue::plain("another".to_owned());
    let write =
        WriteVersion { reference: "a", value: &value, token: "t2", expected: None, stage: Stage::Current };
    for error in [read, other.write(write).await.unwrap_err()] {
        assert_eq!(error.class, ErrorClass::Permanent);
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("not in the key ring"), "{cause}");
    }
}

#[tokio::test]
async fn two_versions_of_one_number_are_not_chosen_between() {
    let local = Local::new();
    let version = local.write("a", "value", "t").await.unwrap();
    fs::copy(local.file("a", &version), local.versions("a").join("v1-aaaaaaaa")).unwrap();
    let error = local.read("a", None).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Permanent);
    assert!(error.to_string().contains("two versions numbered 1"), "{error}");
}

#[tokio::test]
async fn what_a_crash_left_is_no_version_and_is_no_obstacle() {
    let local = Local::new();
    local.write("a", "one", "t1").await.unwrap();
    fs::write(local.versions("a").join(".new"), b"half a ver").unwrap();
    let local = local.reopened();
    assert_eq!(local.read("a", None).await.unwrap(), "one");
    local.write("a", "two", "t2").await.unwrap();
    assert_eq!(local.read("a", None).await.unwrap(), "two");
    assert!(!local.versions("a").join(".new").exists());
}

#[tokio::test]
async fn a_write_that_fails_changes_nothing() {
    let local = Local::new();
    local.write("a", "one", "t1").await.unwrap();
    // A directory in the way of the new file: removing it as a file fails, whoever runs this.
    fs::create_dir(local.versions("a").join(".new")).unwrap();
    let error = local.write("a", "two", "t2").await.unwrap_err();
    assert!(error.class.is_retryable() || error.class == ErrorClass::Denied, "{error}");
    assert_eq!(local.read("a", None).await.unwrap(), "one");
    fs::remove_dir(local.versions("a").join(".new")).unwrap();
    local.write("a", "two", "t2").await.unwrap();
    assert_eq!(local.read("a", None).await.unwrap(), "two");
}

#[test]
fn a_directory_that_is_not_safe_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let keys = Arc::new(KeyRing::generate(&SystemEntropy).unwrap());
    let config = LocalConfig::new(home.path().join("local"));

    let held = open(&config, &keys).unwrap();
    assert!(matches!(open(&config, &keys), Err(OpenError::InUse { .. })));
    drop(held);
    drop(open(&config, &keys).unwrap());

    fs::set_permissions(&config.directory, fs::Permissions::from_mode(0o750)).unwrap();
    assert!(matches!(open(&config, &keys), Err(OpenError::Exposed { mode: 0o750, .. })));

    let link = LocalConfig::new(home.path().join("link"));
    symlink(&config.directory, &link.directory).unwrap();
    assert!(matches!(open(&link, &keys), Err(OpenError::NotADirectory { .. })));

    let orphan = LocalConfig::new(home.path().join("no/parent"));
    assert!(matches!(open(&orphan, &keys), Err(OpenError::Io { action: "create", .. })));

    let none = LocalConfig { history: 0, ..LocalConfig::new(home.path().join("none")) };
    assert!(matches!(open(&none, &keys), Err(OpenError::NoHistory)));
}
