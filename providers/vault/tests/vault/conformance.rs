//! The suite.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use data_encoding::BASE64;
use leasehold_core::{SecretValue, ports::Provider, secret::VersionId};
use leasehold_provider_conformance::{
    Against, Fixture, Issuing, Lossy, Placed, Scene, Trouble, Unplayed,
    authority::Authority,
    peers::{Bao, BaoSetup, Postgres, or_skip},
    proxy::{Fault, FaultProxy, Injection},
    run,
    scripted::{Answer, Reply, ScriptedServer, vault},
};
use leasehold_provider_vault::{Auth, VaultConfig, VaultProvider, VaultRole};
use serde_json::{Value, json};

use crate::kit::{Home, Signer, Wall, dev, policy, provider, put, quick};

const BAO: Against = Against::Peer(Bao::VERSION);
const ROLE: &str = "app";
const TTL: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(150);

struct Vault {
    bao: Bao,
    postgres: Postgres,
    provider: VaultProvider,
    watched: (VaultProvider, ScriptedServer),
    /// A server that is sealed, until its turn.
    sealed: Mutex<Option<Scene>>,
    home: Home,
}

fn writable(home: &Home, url: impl Into<String>, token: &str) -> VaultConfig {
    VaultConfig {
        writable: true,
        roles: BTreeMap::from([(ROLE.to_owned(), VaultRole::new("database/creds/app"))]),
        ..home.with_token(url, token)
    }
}

impl Vault {
    async fn start() -> Option<Self> {
        let bao = dev().await?;
        let postgres = or_skip(Postgres::start().await).unwrap()?;
        bao.mount_database("database", &postgres).await.unwrap();
        bao.add_database_role("database", "app", TTL, LONGEST).await.unwrap();
        let home = Home::new();
        let script = ScriptedServer::start(vault::kv_of_one_value).await.unwrap();
        let watched = provider(writable(&home, script.url(), bao.token()));
        let provider = provider(writable(&home, bao.url(), bao.token()));
        let sealed = Mutex::new(Some(sealed().await.unwrap()));
        Some(Self { bao, postgres, provider, watched: (watched, script), sealed, home })
    }

    /// A secret that nobody changes, and what it holds.
    async fn secret(&self, name: &str) -> (String, SecretValue) {
        let text = format!("canary-of-{name}-41a7");
        put(&self.bao, &format!("scene/{name}"), json!({ "value": text })).await;
        (format!("secret/data/scene/{name}"), SecretValue::plain(text))
    }

    /// A provider on this server behind a proxy, with little patience.
    async fn behind(&self, fault: Option<Injection>) -> (VaultProvider, FaultProxy) {
        let proxy = FaultProxy::start(self.bao.address()).await.unwrap();
        let config = VaultConfig {
            attempt_timeout: Duration::from_millis(700),
            timeout: Duration::from_secs(3),
            ..writable(&self.home, proxy.url(), self.bao.token())
        };
        let provider = provider(config);
        if let Some(fault) = fault {
            proxy.inject(fault);
        }
        (provider, proxy)
    }

    /// A scene in which a proxy does this, until the turn.
    async fn faulty(&self, name: &str, fault: Fault) -> Scene {
        let (reference, value) = self.secret(name).await;
        let (provider, proxy) = self.behind(Some(Injection::of(fault))).await;
        let proxy = Arc::new(proxy);
        let turned = Arc::clone(&proxy);
        Scene::new(provider, reference, value, BAO).keeping(proxy).turning(move || {
            turned.heal();
            async { Ok(()) }
        })
    }

    /// A scene in which a scripted server refuses everything like this, until the turn.
    async fn refusing(&self, refusal: Answer) -> Scene {
        let value = SecretValue::plain("hunter2".to_owned());
        let turned = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&turned);
        let server = ScriptedServer::start(move |request, before| {
            if seen.load(Ordering::SeqCst) || request.path().ends_with("lookup-self") {
                vault::kv_of_one_value(request, before)
            } else {
                Reply::Answer(refusal.clone())
            }
        });
        let server = server.await.unwrap();
        let provider = provider(writable(&self.home, server.url(), "s.scripted"));
        Scene::new(provider, "kv/data/a", value, Against::Scripted).keeping(server).turning(move || {
            turned.store(true, Ordering::SeqCst);
            async { Ok(()) }
        })
    }

    /// A scene whose turn asks something of the server, as its root.
    fn asking(&self, scene: Scene, method: &'static str, path: String, body: Value) -> Scene {
        let url = self.bao.url();
        let token = self.bao.token().to_owned();
        scene.turning(move || {
            let call = leasehold_provider_conformance::http::Call::new(method, format!("{url}/v1/{path}"))
                .header("x-vault-token", token.clone())
                .json(&body);
            async move {
                let answer = call.send().await.map_err(|error| error.to_string())?;
                if answer.status < 300 {
                    Ok(())
                } else {
                    Err(format!("the turn is refused: {}", answer.status))
                }
            }
        })
    }

    async fn denied(&self) -> Scene {
        let (reference, value) = self.secret("denied").await;
        policy(&self.bao, "scene-denied", "path \"secret/data/other\" { capabilities = [\"read\"] }").await;
        let token = self.bao.make_token(&["scene-denied"], Duration::from_secs(600)).await.unwrap();
        let home = Home::new();
        let provider = provider(writable(&home, self.bao.url(), &token));
        let scene = Scene::new(provider, reference, value, BAO).keeping(home);
        let hcl = "path \"secret/data/scene/denied\" { capabilities = [\"read\"] }";
        self.asking(scene, "PUT", "sys/policies/acl/scene-denied".to_owned(), json!({ "policy": hcl }))
    }

    async fn deleted(&self, name: &str) -> Scene {
        let (reference, value) = self.secret(name).await;
        let versions = json!({ "versions": [1] });
        self.bao.ask("POST", &format!("secret/delete/scene/{name}"), Some(&versions)).await.unwrap();
        let provider = provider(writable(&self.home, self.bao.url(), self.bao.token()));
        let scene = Scene::new(provider, reference, value, BAO);
        self.asking(scene, "POST", format!("secret/undelete/scene/{name}"), versions)
    }

    /// A broker of an `AppRole`, whose every token is revoked at the turn.
    async fn expiring(&self) -> Scene {
        let (reference, value) = self.secret("expiring").await;
        self.bao.ask("POST", "sys/auth/expiring", Some(&json!({ "type": "approle" }))).await.unwrap();
        policy(&self.bao, "expiring", "path \"secret/*\" { capabilities = [\"read\"] }").await;
        let role = json!({ "token_policies": ["expiring"], "token_ttl": "1h" });
        self.bao.ask("POST", "auth/expiring/role/broker", Some(&role)).await.unwrap();
        let id = self.bao.ask("GET", "auth/expiring/role/broker/role-id", None).await.unwrap();
        let secret = self.bao.ask("POST", "auth/expiring/role/broker/secret-id", None).await.unwrap();
        let text =
            |value: &Value, pointer: &str| value.pointer(pointer).unwrap().as_str().unwrap().to_owned();
        let home = Home::new();
        let auth = Auth::AppRole {
            mount: "expiring".into(),
            role_id: text(&id, "/data/role_id"),
            secret_id_file: Some(home.put("secret-id", &text(&secret, "/data/secret_id"))),
            wrapped: false,
        };
        let provider = provider(quick(VaultConfig::new(self.bao.url(), auth)));
        let scene = Scene::new(provider, reference, value, BAO).keeping(home);
        self.asking(scene, "PUT", "sys/leases/revoke-prefix/auth/expiring/login".to_owned(), json!({}))
    }

    /// A broker whose token was signed an hour from now.
    async fn too_early(&self) -> Scene {
        let (reference, value) = self.secret("future").await;
        let signer = Signer::new();
        self.bao.ask("POST", "sys/auth/future", Some(&json!({ "type": "jwt" }))).await.unwrap();
        let keys = json!({ "jwt_validation_pubkeys": [signer.public()] });
        self.bao.ask("POST", "auth/future/config", Some(&keys)).await.unwrap();
        let role = json!({ "role_type": "jwt", "bound_audiences": ["vault"], "user_claim": "sub" });
        self.bao.ask("POST", "auth/future/role/broker", Some(&role)).await.unwrap();
        let wall = Wall::default();
        wall.0.store(3600, Ordering::SeqCst);
        let now = leasehold_core::ports::Clock::now(&wall).as_second();
        let claims = json!({ "sub": "b", "aud": "vault", "iat": now, "nbf": now, "exp": now + 600 });
        let home = Home::new();
        let auth = Auth::Jwt {
            mount: "future".into(),
            role: Some("broker".into()),
            jwt_file: home.put("jwt", &signer.sign(&claims)),
        };
        let config = quick(VaultConfig::new(self.bao.url(), auth));
        let provider = VaultProvider::new(config, Arc::new(wall), Arc::new(crate::kit::Dice));
        Scene::new(provider.unwrap(), reference, value, BAO).keeping(home)
    }
}

/// A sealed server with TLS, which is unsealed at the turn.
async fn sealed() -> Result<Scene, String> {
    let authority = Authority::new("sealed").unwrap();
    let bao = Bao::start_configured(BaoSetup::new(&authority)).await.map_err(|error| error.to_string())?;
    bao.mount_kv("secret", 2).await?;
    put(&bao, "a", json!({ "value": "canary-sealed-77" })).await;
    let home = Home::new();
    let config = VaultConfig {
        ca_file: Some(home.put("ca.pem", &authority.pem())),
        ..writable(&home, bao.url(), bao.token())
    };
    bao.seal().await?;
    let bao = Arc::new(bao);
    let turned = Arc::clone(&bao);
    let value = SecretValue::plain("canary-sealed-77".to_owned());
    let scene = Scene::new(provider(config), "secret/data/a", value, BAO).keeping(home).keeping(bao);
    Ok(scene.turning(move || {
        let bao = Arc::clone(&turned);
        async move { bao.unseal().await }
    }))
}

#[async_trait]
impl Fixture for Vault {
    fn back_end(&self) -> &'static str {
        "vault"
    }

    fn against(&self) -> Against {
        BAO
    }

    fn provider(&self) -> &dyn Provider {
        &self.provider
    }

    async fn put(&self, name: &str, value: &SecretValue) -> Result<Placed, String> {
        let octets = &*value.content_type == SecretValue::OCTETS;
        let fields: BTreeMap<String, String> = value
            .fields
            .iter()
            .map(|(name, bytes)| match str::from_utf8(bytes.expose()) {
                Ok(text) if !octets => (name.to_string(), text.to_owned()),
                _ => (format!("{name}:base64"), BASE64.encode(bytes.expose())),
            })
            .collect();
        let path = format!("secret/data/conformance/{name}");
        let made = self.bao.ask("POST", &path, Some(&json!({ "data": fields }))).await?;
        let version = made.pointer("/data/version").ok_or("no version")?.to_string();
        Ok(Placed { reference: path, version: version.parse().map_err(|_| "no version's id")? })
    }

    fn absent_reference(&self) -> String {
        "secret/data/conformance/nothing".to_owned()
    }

    fn absent_version(&self) -> VersionId {
        "4711".parse().unwrap()
    }

    fn malformed_version(&self) -> Option<VersionId> {
        "one".parse().ok()
    }

    fn hostile_references(&self) -> Vec<String> {
        [
            "secret/data/../metadata/a",
            "secret/data/a/../../../sys/raw/x",
            "secret/data//a",
            "secret/data/a?version=1",
            "secret/data/a#x",
            "secret/data/%2e%2e/a",
            "secret/data/a*",
            "secret/metadata/a",
            "sys/data/a",
            "cubbyhole/data/a",
            "ns/sys/data/a",
            "kv1:sys/raw/a",
            "kv1:auth/token/lookup-self",
            "kv1:secret/../sys/raw",
        ]
        .map(str::to_owned)
        .into()
    }

    fn watched(&self) -> Option<(&dyn Provider, &AtomicU64)> {
        Some((&self.watched.0, self.watched.1.calls()))
    }

    fn largest_value(&self) -> usize {
        512 * 1024 - r#"{"value":""}"#.len()
    }

    async fn rotating(&self) -> Result<String, Unplayed> {
        self.postgres.run("create role keeper login").await?;
        self.bao.add_static_role("database", "keeper", "keeper").await?;
        Ok("database/static-creds/keeper".to_owned())
    }

    fn issuing(&self) -> Option<&dyn Issuing> {
        Some(self)
    }

    async fn trouble(&self, trouble: Trouble) -> Result<Scene, Unplayed> {
        Ok(match trouble {
            Trouble::Denied => self.denied().await,
            Trouble::Throttled => {
                let refusal = vault::refusal(429, "request path \"kv/data/a\": rate limit quota exceeded");
                self.refusing(refusal.header("retry-after", "30")).await.hinting(Duration::from_secs(30))
            }
            Trouble::InternalError => self.refusing(vault::refusal(500, "internal error")).await,
            Trouble::Unavailable => {
                self.sealed.lock().unwrap().take().ok_or_else(|| "it was played".to_owned())?
            }
            Trouble::CutBeforeAnswer => self.faulty("cut-before", Fault::LoseAnswer).await,
            Trouble::CutInAnswer => self.faulty("cut-in", Fault::CutInBody).await,
            Trouble::CutAfterAnswer => {
                let (reference, value) = self.secret("cut-after").await;
                let (provider, proxy) = self.behind(None).await;
                let proxy = Arc::new(proxy);
                let turned = Arc::clone(&proxy);
                Scene::new(provider, reference, value, BAO).keeping(proxy).turning(move || {
                    turned.cut_connections();
                    async { Ok(()) }
                })
            }
            Trouble::Silence => self.faulty("silence", Fault::Stall).await,
            Trouble::StalledBody => self.faulty("stalled", Fault::StallInBody).await,
            Trouble::Disabled => self.deleted("disabled").await,
            Trouble::Deleted => self.deleted("deleted").await,
            Trouble::CredentialExpiry => self.expiring().await,
            Trouble::ClockSkew => self.too_early().await,
            Trouble::LostWriteAnswer => {
                let (reference, value) = self.secret("lost-write").await;
                let lost = Injection::of(Fault::LoseAnswer).on("POST /v1/secret/data/").times(1);
                let (provider, proxy) = self.behind(Some(lost)).await;
                Scene::new(provider, reference, value, BAO).keeping(proxy)
            }
        })
    }
}

#[async_trait]
impl Issuing for Vault {
    fn role(&self) -> String {
        ROLE.to_owned()
    }

    fn absent_role(&self) -> String {
        "nobody".to_owned()
    }

    fn ttl(&self) -> Duration {
        TTL
    }

    fn longest(&self) -> Option<Duration> {
        Some(LONGEST)
    }

    async fn works(&self, value: &SecretValue) -> Result<Option<bool>, String> {
        let (user, password) = (crate::kit::field(value, "username"), crate::kit::field(value, "password"));
        self.postgres.lets_in(&user, &password).await.map(Some)
    }

    async fn living(&self) -> Result<Option<usize>, String> {
        self.postgres
            .run("select rolname from pg_roles where rolname like 'v-%'")
            .await
            .map(|rows| Some(rows.len()))
    }

    async fn losing_answers(&self) -> Result<Lossy, Unplayed> {
        let lost = Injection::of(Fault::LoseAnswer).on("GET /v1/database/creds/");
        let proxy = FaultProxy::start(self.bao.address()).await.map_err(|error| error.to_string())?;
        proxy.inject(lost);
        let home = Home::new();
        let provider = provider(writable(&home, proxy.url(), self.bao.token()));
        Ok(Lossy::new(provider, BAO).keeping(proxy).keeping(home))
    }

    /// No real one says that it ended a lease which it has.
    async fn ending_in_vain(&self) -> Result<Lossy, Unplayed> {
        let server = ScriptedServer::start(|request, before| {
            let made = json!({ "username": "u", "password": "hunter2" });
            Reply::Answer(match request.path() {
                "/v1/auth/token/lookup-self" => vault::looked_up(),
                path if path.starts_with("/v1/auth/token/create") => {
                    vault::token(&format!("s.{before}"), &format!("a{before}"), 3600)
                }
                "/v1/database/creds/app" => vault::leased("database/creds/app/x", 60, &made),
                "/v1/sys/leases/lookup" => vault::data(&json!({ "id": "database/creds/app/x", "ttl": 59 })),
                _ => Answer::empty(204),
            })
        });
        let (server, home) = (server.await.map_err(|error| error.to_string())?, Home::new());
        let provider = provider(writable(&home, server.url(), "s.scripted"));
        Ok(Lossy::new(provider, Against::Scripted).keeping(server).keeping(home))
    }
}

#[tokio::test]
async fn it_does_what_every_back_end_does() {
    let Some(vault) = Vault::start().await else { return };
    let report = run(&vault).await;
    report.record().unwrap();
    let text = report.passed().unwrap();
    println!("{text}");
    assert!(!text.contains("excused"), "{text}");
}
