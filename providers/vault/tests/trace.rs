//! The SDK's own logs. In a process of its own: a subscriber sees everything only where no other test runs beside it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    sync::{Arc, Mutex},
    time::{Duration, UNIX_EPOCH},
};

use async_trait::async_trait;
use leasehold_core::{
    LeaseId, SecretValue, Timestamp,
    ports::{Clock, Entropy, NoEntropy, Provider},
    provider::{
        Demand, Fetch, IssueCredential, RenewCredential, Revocation, RevokeCredential, Stage, WriteVersion,
    },
};
use leasehold_provider_conformance::scripted::{Answer, Reply, ScriptedServer, vault};
use leasehold_provider_vault::{Auth, VaultConfig, VaultProvider, VaultRole};
use serde_json::json;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct World;

#[async_trait]
impl Clock for World {
    fn now(&self) -> Timestamp {
        let now = i64::try_from(UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
        Timestamp::from_second(now).unwrap()
    }

    async fn sleep_until(&self, _deadline: Timestamp) {}
}

impl Entropy for World {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoEntropy> {
        buffer.fill(7);
        Ok(())
    }
}

#[tokio::test]
async fn not_even_a_trace_of_the_sdk_holds_a_value_a_token_or_a_secret_id() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().with_env_filter("trace").with_writer(move || writer.clone()).init();

    let server = ScriptedServer::start(|request, _| {
        Reply::Answer(match (request.method(), request.path()) {
            (_, "/v1/auth/approle/login") => vault::token("canary-own-token", "canary-own-accessor", 3600),
            (_, "/v1/auth/token/create-orphan") => vault::token("canary-child", "canary-accessor", 7200),
            (_, "/v1/auth/token/renew-accessor") => vault::token("", "canary-accessor", 7200),
            (_, "/v1/auth/token/lookup-self") => vault::looked_up(),
            (_, "/v1/database/creds/app") => vault::leased(
                "database/creds/app/canary-lease",
                60,
                &json!({ "password": "canary-password" }),
            ),
            (_, "/v1/sys/leases/renew") => vault::leased("database/creds/app/canary-lease", 60, &json!(null)),
            ("GET", "/v1/kv/data/good") => vault::kv_version(1, &json!({ "value": "canary-read" })),
            ("GET", "/v1/kv/data/odd") => Answer::of(200, &json!({ "data": "canary-odd" })),
            ("GET", "/v1/kv/data/denied") => vault::refusal(403, "canary-denied"),
            ("GET", "/v1/kv/data/broken") => vault::refusal(500, "canary-broken"),
            ("POST", "/v1/kv/data/good") => vault::data(&json!({ "version": 2 })),
            (_, "/v1/sys/health") => vault::healthy(),
            _ => Answer::empty(204),
        })
    })
    .await
    .unwrap();
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("secret-id");
    std::fs::write(&file, "canary-secret-id\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let auth = Auth::AppRole {
        mount: "approle".into(),
        role_id: "a-role".into(),
        secret_id_file: Some(file),
        wrapped: false,
    };
    let config = VaultConfig {
        writable: true,
        roles: BTreeMap::from([("app".to_owned(), VaultRole::new("database/creds/app"))]),
        ..VaultConfig::new(server.url(), auth)
    };
    let shown = format!("{config:?}");
    let provider = VaultProvider::new(config, Arc::new(World), Arc::new(World)).unwrap();
    let mut said = String::new();
    for name in ["good", "odd", "denied", "broken"] {
        let reference = format!("kv/data/{name}");
        match provider.fetch(Fetch { reference: &reference, version: None }).await {
            Ok(fetched) => said.push_str(&format!("{fetched:?}")),
            Err(error) => said.push_str(&format!("{error} {error:?}")),
        }
    }
    let value = SecretValue::plain("canary-written".to_owned());
    let request = WriteVersion {
        reference: "kv/data/good",
        value: &value,
        token: "t",
        expected: None,
        stage: Stage::Current,
    };
    provider.write(request).await.unwrap();
    let issuer = provider.issuer().unwrap();
    let (lease, holder) = (LeaseId::from_bits([1; 16]), "spiffe://example.org/web".parse().unwrap());
    let reservation = issuer.reserve("app").await.unwrap();
    let (ttl, max_ttl) = (Duration::from_secs(60), Duration::from_secs(600));
    let request = IssueCredential {
        lease,
        holder: &holder,
        role: "app",
        ttl,
        max_ttl,
        within: Duration::from_secs(60),
        reservation: reservation.as_ref(),
    };
    let issued = issuer.issue(request).await.unwrap();
    said.push_str(&format!("{issued:?}"));
    let Revocation::By(handle) = &issued.revocation else { unreachable!() };
    issuer.renew(RenewCredential { lease, handle, until: Timestamp::MAX }).await.unwrap();
    issuer.revoke(RevokeCredential { lease, handle: Some(handle) }).await.unwrap();
    let findings = provider.check(&[Demand::Read { reference: "kv/data/good".into() }]).await;
    said.push_str(&format!("{findings:?} {:?}", provider.sign_in()));

    let logged = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(logged.contains("kv/data/good") || logged.contains("reqwest"), "nothing was logged: {logged}");
    for text in [&shown, &said, &logged] {
        let at = text.find("canary");
        let around = at.map(|at| text.get(at.saturating_sub(300)..).unwrap_or_default());
        assert_eq!(around.map(|text| text.chars().take(400).collect::<String>()), None);
    }
}
