//! The suite that every back end passes. No vault can be had here: all of it is played.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use leasehold_core::{
    SecretValue,
    ports::Provider,
    secret::{FieldName, VersionId},
};
use leasehold_provider_azure::{AzureProvider, AzureRole};
use leasehold_provider_conformance::{
    Against, Fixture, Issuing, Lossy, Placed, Scene, Trouble, Unplayed, run,
    scripted::{Answer, Reply, Request},
};
use serde_json::json;

use crate::kit::Site;

struct KeyVault {
    site: Site,
    provider: AzureProvider,
    untouched: Site,
    unasked: AzureProvider,
}

const SCOPE: &str = "https://storage.azure.com/.default";
const LIFE: Duration = Duration::from_secs(90 * 60);

impl KeyVault {
    async fn new() -> Self {
        let (site, untouched) = (Site::start().await, Site::start().await);
        let role = AzureRole { scope: SCOPE.into(), identity: None };
        let provider = site.provider(|config| drop(config.roles.insert("storage".into(), role)));
        let unasked = untouched.provider(|_| {});
        Self { site, provider, untouched, unasked }
    }
}

/// What somebody would put there with the `az` of Azure.
fn stored(value: &SecretValue) -> (String, Option<&'static str>) {
    let only = value.fields.get(&FieldName::value()).filter(|_| value.fields.len() == 1);
    match only.map(|bytes| str::from_utf8(bytes.expose())) {
        Some(Ok(text)) => (text.to_owned(), None),
        Some(Err(_)) => {
            let bytes = only.map(|bytes| bytes.expose().to_vec()).unwrap_or_default();
            (data_encoding::BASE64.encode(&bytes), Some("application/octet-stream;base64"))
        }
        None => {
            let fields = value.fields.iter();
            let fields: serde_json::Map<_, _> = fields
                .map(|(name, bytes)| (name.to_string(), String::from_utf8_lossy(bytes.expose()).into()))
                .collect();
            (serde_json::Value::from(fields).to_string(), Some("application/json"))
        }
    }
}

#[async_trait]
impl Fixture for KeyVault {
    fn back_end(&self) -> &'static str {
        "azure"
    }

    fn against(&self) -> Against {
        Against::Scripted
    }

    fn provider(&self) -> &dyn Provider {
        &self.provider
    }

    async fn put(&self, name: &str, value: &SecretValue) -> Result<Placed, String> {
        let (text, content_type) = stored(value);
        let version = self.site.azure.put(name, &text, content_type);
        Ok(Placed { reference: name.to_owned(), version: version.parse().map_err(|_| "no version")? })
    }

    fn absent_reference(&self) -> String {
        "nobody-put-this".into()
    }

    fn absent_version(&self) -> VersionId {
        "0123456789abcdef0123456789abcdef".parse().unwrap()
    }

    fn malformed_version(&self) -> Option<VersionId> {
        "0123456789ABCDEF0123456789ABCDEF".parse().ok()
    }

    fn hostile_references(&self) -> Vec<String> {
        [
            "a/versions",
            "a_b",
            "a.b",
            "../deletedsecrets/a",
            "a/0123456789abcdef0123456789abcdef/",
            "a?api-version=7.0",
        ]
        .map(str::to_owned)
        .into()
    }

    fn watched(&self) -> Option<(&dyn Provider, &AtomicU64)> {
        Some((&self.unasked, self.untouched.server.calls()))
    }

    fn largest_value(&self) -> usize {
        25_600
    }

    async fn trouble(&self, trouble: Trouble) -> Result<Scene, Unplayed> {
        play(trouble).await
    }

    fn issuing(&self) -> Option<&dyn Issuing> {
        Some(self)
    }
}

#[async_trait]
impl Issuing for KeyVault {
    fn role(&self) -> String {
        "storage".into()
    }

    fn absent_role(&self) -> String {
        "nobody".into()
    }

    fn ttl(&self) -> Duration {
        LIFE
    }

    async fn works(&self, value: &SecretValue) -> Result<Option<bool>, String> {
        let name: FieldName = "access_token".parse().map_err(|_| "no field")?;
        let token = value.fields.get(&name).ok_or("there is no access token")?;
        Ok(Some(self.site.azure.opens(&String::from_utf8_lossy(token.expose()), SCOPE)))
    }

    async fn living(&self) -> Result<Option<usize>, String> {
        Ok(None)
    }

    async fn losing_answers(&self) -> Result<Lossy, Unplayed> {
        Err(Unplayed::Impossible("a token that was lost can be neither found nor ended: it lives its time"))
    }
}

/// The value of every scene.
const VALUE: &str = "canary-scene-7f3a91";

/// A scene whose trouble is over when the flag is set.
async fn scene(
    reply: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static,
    short: bool,
) -> (Scene, Arc<AtomicBool>) {
    let over = Arc::new(AtomicBool::new(false));
    let (seen, turned) = (Arc::clone(&over), Arc::clone(&over));
    let site = Site::in_trouble(Box::new(move |_, request| {
        let secret = request.path().starts_with("/secrets/") && request.header("authorization").is_some();
        if secret && !seen.load(Ordering::SeqCst) { reply(request) } else { None }
    }))
    .await;
    site.azure.put("scene", VALUE, None);
    let provider = site.provider(|config| {
        if short {
            config.attempt_timeout = Duration::from_millis(700);
        }
    });
    let value = SecretValue::plain(VALUE.to_owned());
    let scene = Scene::new(provider, "scene", value, Against::Scripted)
        .turning(move || {
            turned.store(true, Ordering::SeqCst);
            async { Ok(()) }
        })
        .keeping(site);
    (scene, over)
}

async fn play(trouble: Trouble) -> Result<Scene, Unplayed> {
    let error =
        |status: u16, code: &str| Answer::of(status, &json!({ "error": { "code": code, "message": VALUE } }));
    let body = || Answer::of(200, &json!({ "value": VALUE }));
    let always = |reply: Reply| move |_: &Request| Some(reply.clone());
    Ok(match trouble {
        Trouble::Throttled => {
            let answer = error(429, "TooManyRequests").header("retry-after", "30");
            scene(always(Reply::Answer(answer)), false).await.0.hinting(Duration::from_secs(30))
        }
        Trouble::InternalError => scene(always(Reply::Answer(error(500, "InternalError"))), false).await.0,
        Trouble::Unavailable => scene(always(Reply::Answer(error(503, "ServiceUnavailable"))), false).await.0,
        Trouble::CutBeforeAnswer => scene(always(Reply::Cut), false).await.0,
        Trouble::CutInAnswer => scene(always(Reply::CutInBody(body())), false).await.0,
        Trouble::Silence => scene(always(Reply::Silence), true).await.0,
        Trouble::StalledBody => scene(always(Reply::StallInBody(body())), true).await.0,
        Trouble::CutAfterAnswer => cutting_after().await,
        Trouble::LostWriteAnswer => losing_a_write().await,
        Trouble::Denied | Trouble::Disabled | Trouble::Deleted | Trouble::CredentialExpiry => {
            changed_behind(trouble).await
        }
        Trouble::ClockSkew => {
            let site = Site::start().await;
            site.azure.put("scene", VALUE, None);
            // A federated token is judged by Entra ID's clock, which is the only one here that judges anything.
            site.azure.refuse_sign_in(Some(700_024));
            on(site)
        }
    })
}

fn on(site: Site) -> Scene {
    let provider = site.provider(|_| {});
    Scene::new(provider, "scene", SecretValue::plain(VALUE.to_owned()), Against::Scripted).keeping(site)
}

/// What somebody else does at the vault, and takes back at the turn; or the other way round.
async fn changed_behind(trouble: Trouble) -> Scene {
    let site = Site::start().await;
    let azure = Arc::clone(&site.azure);
    let version = azure.put("scene", VALUE, None);
    match trouble {
        Trouble::Denied => azure.forbid(&["get"]),
        Trouble::Disabled => azure.mark("scene", &version, false, None, None),
        Trouble::Deleted => azure.set_deleted("scene", true),
        _ => {}
    }
    on(site).turning(move || {
        match trouble {
            Trouble::Denied => azure.forbid(&[]),
            Trouble::Disabled => azure.mark("scene", &version, true, None, None),
            Trouble::Deleted => azure.set_deleted("scene", false),
            _ => azure.end_tokens(),
        }
        async { Ok(()) }
    })
}

/// Every connection is closed after one answer that promised to leave it open.
async fn cutting_after() -> Scene {
    let site = Site::in_trouble(Box::new(|azure, request| {
        Some(match azure.answer(request) {
            Reply::Answer(answer) => Reply::CutAfterBody(answer),
            other => other,
        })
    }))
    .await;
    site.azure.put("scene", VALUE, None);
    on(site)
}

/// The first write is done and not answered.
async fn losing_a_write() -> Scene {
    let lost = AtomicBool::new(false);
    let site = Site::in_trouble(Box::new(move |azure, request| {
        let writes = request.method() == "PUT" && request.header("authorization").is_some();
        if writes && !lost.swap(true, Ordering::SeqCst) {
            azure.answer(request);
            return Some(Reply::Cut);
        }
        None
    }))
    .await;
    site.azure.put("scene", VALUE, None);
    on(site)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_vault_passes_the_suite() {
    let subject = KeyVault::new().await;
    let report = run(&subject).await;
    report.record().unwrap();
    report.passed().unwrap_or_else(|text| panic!("{text}"));
}
