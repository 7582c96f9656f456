//! The suite, against a real `drongo`.

use std::{
    collections::BTreeSet,
    sync::{Mutex, atomic::AtomicU64},
};

use async_trait::async_trait;
use data_encoding::BASE64;
use leasehold_core::{SecretValue, ports::Provider, secret::VersionId};
use leasehold_provider_conformance::{
    Against, Case, Fixture, Issuing, Lossy, Outcome, Placed, Scene, Trouble, Unplayed,
    http::Call,
    peers::{Drongo, or_skip},
    run,
    scripted::{Reply, ScriptedServer},
};
use leasehold_provider_gcp::GcpProvider;
use serde_json::json;
use tempfile::TempDir;

use crate::{
    scenes,
    setup::{PROJECT, cloud, provider},
};

/// A drongo with a client of its own, so that what the provider reads was not written by it. It makes no tokens: those
/// are a script's.
struct Gcp {
    provider: GcpProvider,
    known: Mutex<BTreeSet<String>>,
    nobody: ScriptedServer,
    watched: GcpProvider,
    drongo: Drongo,
    _tokens: ScriptedServer,
    _homes: [TempDir; 2],
}

impl Gcp {
    async fn start(writable: bool) -> Option<Self> {
        let drongo = or_skip(Drongo::start().await).unwrap()?;
        let nobody = ScriptedServer::start(|_, _| Reply::Cut).await.unwrap();
        let (_, tokens) = cloud().await;
        let (watched, first) = provider(&nobody.url(), |config| config.writable = writable);
        let (provider, second) = provider(drongo.url(), |config| {
            config.writable = writable;
            config.require_checksum = false;
            config.iam_endpoint_url = Some(tokens.url());
        });
        let known = Mutex::default();
        Some(Self { provider, known, nobody, watched, drongo, _tokens: tokens, _homes: [first, second] })
    }

    async fn ask(&self, path: &str, body: &serde_json::Value) -> Result<serde_json::Value, String> {
        let url = format!("{}/v1/projects/{PROJECT}/secrets{path}", self.drongo.url());
        let answered = Call::new("POST", url).json(body).send().await.map_err(|error| error.to_string())?;
        if answered.status == 200 { Ok(answered.json()) } else { Err(format!("{answered:?}")) }
    }
}

#[async_trait]
impl Fixture for Gcp {
    fn back_end(&self) -> &'static str {
        "gcp"
    }

    fn against(&self) -> Against {
        Against::Peer(Drongo::VERSION)
    }

    fn provider(&self) -> &dyn Provider {
        &self.provider
    }

    async fn put(&self, name: &str, value: &SecretValue) -> Result<Placed, String> {
        let name = name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        let bytes = match value.fields.len() {
            1 => value.fields.values().next().unwrap().expose().to_vec(),
            _ => {
                let fields = value.fields.iter().map(|(name, bytes)| {
                    (name.to_string(), String::from_utf8(bytes.expose().to_vec()).unwrap())
                });
                serde_json::to_vec(&fields.collect::<std::collections::BTreeMap<_, _>>()).unwrap()
            }
        };
        if self.known.lock().unwrap().insert(name.clone()) {
            self.ask(&format!("?secretId={name}"), &json!({ "replication": { "automatic": {} } })).await?;
        }
        let payload = json!({ "payload": { "data": BASE64.encode(&bytes) } });
        let added = self.ask(&format!("/{name}:addVersion"), &payload).await?;
        let version = added["name"].as_str().unwrap().rsplit('/').next().unwrap().parse().unwrap();
        Ok(Placed { reference: name, version })
    }

    fn absent_reference(&self) -> String {
        "nothing-here".to_owned()
    }

    fn absent_version(&self) -> VersionId {
        "4711".parse().unwrap()
    }

    fn malformed_version(&self) -> Option<VersionId> {
        Some("latest".parse().unwrap())
    }

    fn hostile_references(&self) -> Vec<String> {
        [
            "a/versions/1",
            "a:access",
            "a@1/../2",
            "a@",
            "a.b",
            "projects/my-project/secrets/a/versions/1",
            "projects/evil-project/secrets/a",
            "projects/my-project/locations/mars-north1/secrets/a",
            "//secretmanager.googleapis.com/projects/my-project/secrets/a",
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

    fn issuing(&self) -> Option<&dyn Issuing> {
        Some(self)
    }
}

#[async_trait]
impl Issuing for Gcp {
    fn role(&self) -> String {
        "deploy".to_owned()
    }

    fn absent_role(&self) -> String {
        "nobody".to_owned()
    }

    fn longest(&self) -> Option<std::time::Duration> {
        Some(std::time::Duration::from_secs(3_600))
    }

    async fn works(&self, _value: &SecretValue) -> Result<Option<bool>, String> {
        Ok(None)
    }

    async fn living(&self) -> Result<Option<usize>, String> {
        Ok(None)
    }

    async fn losing_answers(&self) -> Result<Lossy, Unplayed> {
        Err(Unplayed::Excused("a token has no name by which it could be found, and cannot be revoked"))
    }
}

#[tokio::test]
async fn the_suite_passes() {
    let Some(gcp) = Gcp::start(true).await else { return };
    let Some(reader) = Gcp::start(false).await else { return };
    let report = run(&gcp).await;
    assert_eq!(report.of(Case::CredentialRevoked), Some(&Outcome::Incapable));
    assert!(matches!(report.of(Case::DestroyedVersion), Some(Outcome::Passed(Against::Peer(_)))), "{report}");
    let only_read = run(&reader).await;
    assert_eq!(only_read.of(Case::WrittenIsRead), Some(&Outcome::Incapable));
    only_read.passed().unwrap();
    report.record().unwrap();
    let passed = report.count_passed();
    let text = report.passed().unwrap();
    assert_eq!(passed, 44, "{text}");
}
