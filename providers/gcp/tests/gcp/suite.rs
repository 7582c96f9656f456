//! The suite, against a real `drongo`, and all of it once more against a script, which has checksums and tokens.

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
    scripted::{Reply, ScriptedServer, gcp::Cloud},
};
use leasehold_provider_gcp::GcpProvider;
use serde_json::json;
use tempfile::TempDir;

use crate::{
    scenes,
    setup::{PROJECT, cloud, provider},
};

/// A back end that is filled by another way than the provider, so that what the provider reads was not written by it.
struct Gcp {
    provider: GcpProvider,
    known: Mutex<BTreeSet<String>>,
    nobody: ScriptedServer,
    watched: GcpProvider,
    back: Back,
    _homes: [TempDir; 2],
}

enum Back {
    /// It has no checksums and makes no tokens.
    Drongo(Drongo),
    Scripted(Cloud, ScriptedServer),
}

impl Back {
    async fn drongo() -> Option<Self> {
        Some(Self::Drongo(or_skip(Drongo::start().await).unwrap()?))
    }

    async fn scripted() -> Self {
        let (cloud, server) = cloud().await;
        Self::Scripted(cloud, server)
    }

    fn url(&self) -> String {
        match self {
            Self::Drongo(drongo) => drongo.url().to_owned(),
            Self::Scripted(_, server) => server.url(),
        }
    }
}

impl Gcp {
    async fn start(back: Back, writable: bool) -> Self {
        let nobody = ScriptedServer::start(|_, _| Reply::Cut).await.unwrap();
        let (watched, first) = provider(&nobody.url(), |config| config.writable = writable);
        let (provider, second) = provider(&back.url(), |config| {
            config.writable = writable;
            if let Back::Drongo(_) = back {
                config.require_checksum = false;
                config.roles.clear();
            }
        });
        Self { provider, known: Mutex::default(), nobody, watched, back, _homes: [first, second] }
    }

    async fn ask(&self, path: &str, body: &serde_json::Value) -> Result<serde_json::Value, String> {
        let url = format!("{}/v1/projects/{PROJECT}/secrets{path}", self.back.url());
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
        match self.back {
            Back::Drongo(_) => Against::Peer(Drongo::VERSION),
            Back::Scripted(..) => Against::Scripted,
        }
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
        if let Back::Scripted(cloud, _) = &self.back {
            let version = cloud.put(&format!("projects/{PROJECT}/secrets/{name}"), &bytes);
            return Ok(Placed { reference: name, version: version.to_string().parse().unwrap() });
        }
        if self.known.lock().unwrap().insert(name.clone()) {
            self.ask(&format!("?secretId={name}"), &json!({ "replication": { "automatic": {} } })).await?;
        }
        let payload = json!({ "payload": { "data": BASE64.encode(&bytes) } });
        let added = self.ask(&format!("/{name}:addVersion"), &payload).await?;
        let added = added.get("name").and_then(|name| name.as_str()).unwrap();
        let version = added.rsplit('/').next().unwrap().parse().unwrap();
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
        Err(Unplayed::Impossible("a token has no name by which it could be found, and cannot be revoked"))
    }
}

#[tokio::test]
async fn the_suite_passes() {
    let (Some(drongo), Some(another)) = (Back::drongo().await, Back::drongo().await) else { return };
    let on_drongo = run(&Gcp::start(drongo, true).await).await;
    assert!(matches!(on_drongo.of(Case::DestroyedVersion), Some(Outcome::Passed(Against::Peer(_)))));
    let only_read = run(&Gcp::start(another, false).await).await;
    assert_eq!(only_read.of(Case::WrittenIsRead), Some(&Outcome::Incapable));
    let scripted = run(&Gcp::start(Back::scripted().await, true).await).await;
    assert_eq!(scripted.of(Case::CredentialRevoked), Some(&Outcome::Incapable));
    let report = on_drongo.and(only_read).and(scripted);
    assert_eq!(report.of(Case::CredentialIssued), Some(&Outcome::Passed(Against::Scripted)), "{report}");
    report.record().unwrap();
    let passed = report.count_passed();
    let text = report.passed().unwrap();
    assert_eq!(passed, 46, "{text}");
}
