//! The suite, against a real `moto_server`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::HashMap,
    os::unix::fs::PermissionsExt,
    sync::{Mutex, atomic::AtomicU64},
};

use async_trait::async_trait;
use aws_sdk_secretsmanager::{
    Client,
    config::{BehaviorVersion, Credentials as Key, Region},
    primitives::Blob,
};
use leasehold_core::{
    SecretValue,
    ports::Provider,
    provider::{ErrorClass, Fetch},
    secret::VersionId,
};
use leasehold_provider_aws::{AwsConfig, AwsProvider, Credentials};
use leasehold_provider_conformance::{
    Against, Case, Fixture, Outcome, Placed, Scene, Trouble, Unplayed,
    peers::{Moto, or_skip},
    run,
    scripted::{Reply, ScriptedServer},
};
use tempfile::TempDir;

/// A moto with a client of its own, so that what the provider reads was not written by it.
struct Aws {
    provider: AwsProvider,
    client: Client,
    references: Mutex<HashMap<String, String>>,
    nobody: ScriptedServer,
    watched: AwsProvider,
    _home: TempDir,
    _moto: Moto,
}

/// A provider with a static key at this endpoint.
fn provider(home: &TempDir, url: &str, writable: bool) -> AwsProvider {
    let key = home.path().join("key");
    std::fs::write(&key, "not-a-real-secret-key\n").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    AwsProvider::new(AwsConfig {
        region: Some("eu-central-1".into()),
        endpoint_url: Some(url.into()),
        credentials: Credentials::Static {
            access_key_id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret_access_key_file: key,
            session_token_file: None,
        },
        writable,
        ..AwsConfig::default()
    })
    .unwrap()
}

impl Aws {
    async fn start(writable: bool) -> Option<Self> {
        let moto = or_skip(Moto::start().await).unwrap()?;
        let home = tempfile::tempdir().unwrap();
        let nobody = ScriptedServer::start(|_, _| Reply::Cut).await.unwrap();
        let config = aws_sdk_secretsmanager::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .endpoint_url(moto.url())
            .credentials_provider(Key::new("AKIAIOSFODNN7EXAMPLE", "another", None, None, "test"))
            .build();
        Some(Self {
            provider: provider(&home, moto.url(), writable),
            client: Client::from_conf(config),
            references: Mutex::default(),
            watched: provider(&home, &nobody.url(), writable),
            nobody,
            _home: home,
            _moto: moto,
        })
    }

    /// What an AWS user would store: a text, bytes, or JSON.
    fn body(value: &SecretValue) -> (Option<String>, Option<Blob>) {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        let only = value.fields.values().next().unwrap().expose();
        match (value.fields.len(), text(only)) {
            (1, Some(text)) => (Some(text), None),
            (1, None) => (None, Some(Blob::new(only))),
            _ => {
                let fields: HashMap<_, _> =
                    value.fields.iter().map(|(k, v)| (k.as_str(), text(v.expose()))).collect();
                (Some(serde_json::to_string(&fields).unwrap()), None)
            }
        }
    }
}

#[async_trait]
impl Fixture for Aws {
    fn back_end(&self) -> &'static str {
        "aws"
    }

    fn against(&self) -> Against {
        Against::Peer(Moto::VERSION)
    }

    async fn trouble(&self, _trouble: Trouble) -> Result<Scene, Unplayed> {
        Err(Unplayed::Excused("played by tests of its own"))
    }

    fn provider(&self) -> &dyn Provider {
        &self.provider
    }

    async fn put(&self, name: &str, value: &SecretValue) -> Result<Placed, String> {
        let (text, binary) = Self::body(value);
        let reference = format!("conformance/{name}");
        let known = self.references.lock().unwrap().contains_key(name);
        let version = if known {
            let call = self.client.put_secret_value().secret_id(&reference);
            let call = call.set_secret_string(text).set_secret_binary(binary).send().await;
            call.map_err(|error| format!("{error:?}"))?.version_id
        } else {
            self.references.lock().unwrap().insert(name.to_owned(), reference.clone());
            let call = self.client.create_secret().name(&reference);
            let call = call.set_secret_string(text).set_secret_binary(binary).send().await;
            call.map_err(|error| format!("{error:?}"))?.version_id
        };
        let version = version.ok_or("no version")?.parse().map_err(|_| "an odd version")?;
        Ok(Placed { reference, version })
    }

    fn absent_reference(&self) -> String {
        "conformance/nothing-here".to_owned()
    }

    fn absent_version(&self) -> VersionId {
        "00000000-0000-4000-8000-000000000000".parse().unwrap()
    }

    fn malformed_version(&self) -> Option<VersionId> {
        Some("AWSCURRENT".parse().unwrap())
    }

    fn hostile_references(&self) -> Vec<String> {
        ["arn:aws:iam::123456789012:role/x", "a:b", "a?stage=AWSCURRENT&stage", "a*"]
            .map(str::to_owned)
            .to_vec()
    }

    fn watched(&self) -> Option<(&dyn Provider, &AtomicU64)> {
        Some((&self.watched, self.nobody.calls()))
    }

    fn largest_value(&self) -> usize {
        65_536
    }
}

#[tokio::test]
async fn the_suite_passes_when_it_may_write() {
    let Some(aws) = Aws::start(true).await else { return };
    let report = run(&aws).await;
    assert_eq!(report.of(Case::DestroyedVersion), Some(&Outcome::Incapable));
    let text = report.passed().unwrap();
    assert_eq!(text.lines().filter(|line| line.starts_with("passed")).count(), 21, "{text}");
}

#[tokio::test]
async fn the_suite_passes_when_it_only_reads_and_stages_and_deletion_are_told_apart() {
    let Some(aws) = Aws::start(false).await else { return };
    let report = run(&aws).await;
    assert_eq!(report.of(Case::WrittenIsRead), Some(&Outcome::Incapable));
    report.passed().unwrap();

    let text = |text: &str| SecretValue::plain(text.to_owned());
    let old = aws.put("staged", &text("old")).await.unwrap();
    let new = aws.put("staged", &text("new")).await.unwrap();
    let fetch = async |reference: &str| aws.provider.fetch(Fetch { reference, version: None }).await;
    let previous = fetch(&format!("{}?stage=AWSPREVIOUS", old.reference)).await.unwrap();
    assert_eq!(previous.version, old.version);
    let current = fetch(&new.reference).await.unwrap();
    assert_eq!(current.version, new.version);
    assert!(current.created_at.is_some());
    let error = fetch(&format!("{}?stage=NOBODYS", old.reference)).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Absent);

    let arn = aws.client.describe_secret().secret_id(&old.reference).send().await.unwrap().arn.unwrap();
    assert_eq!(fetch(&arn).await.unwrap().version, new.version);

    aws.client.delete_secret().secret_id(&old.reference).send().await.unwrap();
    let error = fetch(&old.reference).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Absent, "{error}");
}
