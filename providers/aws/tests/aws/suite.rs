//! The suite, against a real `moto_server`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, atomic::AtomicU64},
};

use async_trait::async_trait;
use aws_sdk_secretsmanager::{
    Client,
    config::{BehaviorVersion, Credentials as Key, Region},
    primitives::Blob,
};
use leasehold_core::{SecretValue, ports::Provider, provider::ErrorClass, secret::VersionId};
use leasehold_provider_aws::{AwsProvider, AwsRole, SessionRole};
use leasehold_provider_conformance::{
    Against, Case, Fixture, Issuing, Outcome, Placed, Scene, Trouble, Unplayed,
    peers::{Moto, or_skip},
    run,
    scripted::{Reply, ScriptedServer},
};
use tempfile::TempDir;

use crate::{
    scenes,
    setup::{ACCESS_KEY, ACCOUNT, fetch, iam, provider},
};

/// A moto with a client of its own, so that what the provider reads was not written by it.
pub(crate) struct Aws {
    provider: AwsProvider,
    client: Client,
    references: Mutex<HashMap<String, String>>,
    nobody: ScriptedServer,
    watched: AwsProvider,
    pub(crate) moto: Arc<Moto>,
    _homes: [TempDir; 2],
}

/// The client of somebody else.
pub(crate) fn client(url: &str) -> Client {
    let config = aws_sdk_secretsmanager::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .endpoint_url(url)
        .credentials_provider(Key::new(ACCESS_KEY, "another", None, None, "test"))
        .build();
    Client::from_conf(config)
}

/// A role of moto's that anybody may take on.
pub(crate) async fn role(moto: &Moto, name: &str) -> SessionRole {
    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}]}"#;
    iam(moto, "CreateRole", &[("RoleName", name), ("AssumeRolePolicyDocument", trust)]).await.unwrap();
    SessionRole { arn: format!("arn:aws:iam::{ACCOUNT}:role/{name}"), ..SessionRole::default() }
}

impl Aws {
    pub(crate) async fn start(writable: bool) -> Option<Self> {
        let moto = Arc::new(or_skip(Moto::start().await).unwrap()?);
        let nobody = ScriptedServer::start(|_, _| Reply::Cut).await.unwrap();
        let roles = BTreeMap::from([("deploy".to_owned(), AwsRole::AssumeRole(role(&moto, "deploy").await))]);
        let (watched, first) = provider(&nobody.url(), |config| config.writable = writable);
        let (provider, second) = provider(moto.url(), |config| {
            config.writable = writable;
            config.roles = roles;
        });
        Some(Self {
            provider,
            client: client(moto.url()),
            references: Mutex::default(),
            watched,
            nobody,
            moto,
            _homes: [first, second],
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
        [
            "arn:aws:iam::123456789012:role/x",
            "a:b",
            "a?stage=AWSCURRENT&stage",
            "a*",
            "ssm:/a/../b",
            "ssm:/a:1:2",
            "ssm:/aws/reference/secretsmanager/a",
            "ssm:arn:aws:secretsmanager:eu-central-1:123456789012:secret:a",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    fn watched(&self) -> Option<(&dyn Provider, &AtomicU64)> {
        Some((&self.watched, self.nobody.calls()))
    }

    fn largest_value(&self) -> usize {
        65_536
    }

    async fn trouble(&self, trouble: Trouble) -> Result<Scene, Unplayed> {
        scenes::play(trouble).await
    }

    async fn rotating(&self) -> Result<String, Unplayed> {
        let placed = self.put("rotating", &SecretValue::plain("as it was".to_owned())).await?;
        Ok(placed.reference)
    }

    /// moto without a function makes the version and leaves it empty, and takes a value for what is pending only.
    async fn finish_rotation(&self, reference: &str) -> Result<(), String> {
        let described = self.client.describe_secret().secret_id(reference).send().await;
        let labels = described.map_err(|error| format!("{error:?}"))?.version_ids_to_stages;
        let labels = labels.ok_or("no versions")?;
        let current = labels.iter().find(|(_, labels)| labels.iter().any(|label| label == "AWSCURRENT"));
        let (version, _) = current.ok_or("nothing is current")?;
        let call = self.client.update_secret_version_stage().secret_id(reference).version_stage("AWSPENDING");
        let marked = call.move_to_version_id(version).send().await;
        marked.map_err(|error| format!("{error:?}"))?;
        let call = self.client.put_secret_value().secret_id(reference).client_request_token(version);
        let made = call.secret_string(format!("made for {version}")).send().await;
        made.map(drop).map_err(|error| format!("{error:?}"))
    }

    fn issuing(&self) -> Option<&dyn Issuing> {
        Some(self)
    }
}

#[tokio::test]
async fn the_suite_passes_and_stages_and_deletion_are_told_apart() {
    let Some(aws) = Aws::start(true).await else { return };
    let Some(reader) = Aws::start(false).await else { return };
    let report = run(&aws).await;
    assert_eq!(report.of(Case::DestroyedVersion), Some(&Outcome::Incapable));
    assert_eq!(report.of(Case::CredentialRevoked), Some(&Outcome::Incapable));
    let only_read = run(&reader).await;
    assert_eq!(only_read.of(Case::WrittenIsRead), Some(&Outcome::Incapable));
    let report = report.and(only_read);
    report.record().unwrap();
    let text = report.passed().unwrap();
    assert_eq!(text.lines().filter(|line| line.starts_with("passed")).count(), 50, "{text}");
}

#[tokio::test]
async fn stages_and_arns_lead_to_their_versions() {
    let Some(aws) = Aws::start(false).await else { return };
    let text = |text: &str| SecretValue::plain(text.to_owned());
    let old = aws.put("staged", &text("old")).await.unwrap();
    let new = aws.put("staged", &text("new")).await.unwrap();
    let fetch = async |reference: &str| fetch(&aws.provider, reference).await;
    let previous = fetch(&format!("{}?stage=AWSPREVIOUS", old.reference)).await.unwrap();
    assert_eq!(previous.version, old.version);
    let current = fetch(&new.reference).await.unwrap();
    assert_eq!(current.version, new.version);
    assert!(current.created_at.is_some());
    let error = fetch(&format!("{}?stage=NOBODYS", old.reference)).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Absent);

    let listed = aws.provider.versions(&old.reference).await.unwrap();
    let labels: Vec<_> = listed.iter().map(|facts| (facts.current, &*facts.labels[0])).collect();
    assert_eq!(labels, [(true, "AWSCURRENT"), (false, "AWSPREVIOUS")]);

    let arn = aws.client.describe_secret().secret_id(&old.reference).send().await.unwrap().arn.unwrap();
    assert_eq!(fetch(&arn).await.unwrap().version, new.version);

    aws.client.delete_secret().secret_id(&old.reference).send().await.unwrap();
    let error = fetch(&old.reference).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Absent, "{error}");
    let listed = aws.provider.versions(&old.reference).await.unwrap();
    assert!(listed.iter().all(|facts| facts.state.as_str() == "deleted"), "{listed:?}");
}
