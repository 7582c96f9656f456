//! The SDK's own logs. In a process of its own: a subscriber sees everything only where no other test runs beside it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use leasehold_core::{
    LeaseId, SecretValue, Timestamp,
    ports::{Clock, Entropy, NoEntropy, Provider},
    provider::{Fetch, IssueCredential, Stage, WriteVersion},
};
use leasehold_provider_conformance::scripted::{
    Answer, Reply, ScriptedServer,
    gcp::{Cloud, refusal},
};
use leasehold_provider_gcp::{Credentials, GcpConfig, GcpProvider, GcpRole, Grant};
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
        Timestamp::UNIX_EPOCH
    }

    async fn sleep_until(&self, _deadline: Timestamp) {}
}

impl Entropy for World {
    fn fill(&self, _buffer: &mut [u8]) -> Result<(), NoEntropy> {
        Err(NoEntropy)
    }
}

fn private_file(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn not_even_a_trace_of_the_sdk_holds_a_value_or_a_token() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().with_env_filter("trace").with_writer(move || writer.clone()).init();

    let cloud = Cloud::new();
    cloud.grant("canary-granted");
    cloud.put("projects/my-project/secrets/db", b"canary-read");
    let served = cloud.clone();
    let odd = |text: &str| Reply::Answer(Answer::new(200, "application/json", text));
    let server = ScriptedServer::start(move |request, _| match request.path() {
        path if path.contains("/secrets/odd/") => odd(r#"{"name":{"canary-odd":1},"payload":"canary-odd"}"#),
        path if path.contains("/secrets/cut/") => odd(r#"{"payload":{"data":"canary-cut"#),
        path if path.contains("/secrets/no/") => {
            Reply::Answer(refusal("PERMISSION_DENIED", "canary-no", &[]))
        }
        _ => served.answer(request),
    })
    .await
    .unwrap();
    let home = tempfile::tempdir().unwrap();
    let (subject, file) = (home.path().join("subject"), home.path().join("federation.json"));
    private_file(&subject, "subject-token");
    let federation = json!({
        "type": "external_account", "audience": "//iam.googleapis.com/projects/1/x",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": format!("{}/token", server.url()), "credential_source": { "file": subject },
    });
    private_file(&file, &federation.to_string());
    let role = GcpRole {
        service_account: "app@my-project.iam.gserviceaccount.com".into(),
        delegates: vec![],
        grant: Grant::AccessToken { scopes: vec!["x".into()], lifetime_extension: false },
    };
    let config = GcpConfig {
        endpoint_url: Some(server.url()),
        iam_endpoint_url: Some(server.url()),
        credentials: Credentials::File(file),
        writable: true,
        max_attempts: 1,
        roles: [("deploy".to_owned(), role)].into(),
        ..GcpConfig::new("my-project")
    };
    let provider = GcpProvider::new(config, Arc::new(World), Arc::new(World)).unwrap();

    for (reference, good) in [("db", true), ("odd", false), ("cut", false), ("no", false)] {
        let answer = provider.fetch(Fetch { reference, version: None }).await;
        assert_eq!(answer.is_ok(), good, "{answer:?}");
        assert!(!format!("{answer:?}").contains("canary"), "{answer:?}");
    }
    let value = SecretValue::plain("canary-write".to_owned());
    let request =
        WriteVersion { reference: "db", value: &value, token: "t", expected: None, stage: Stage::Current };
    provider.write(request).await.unwrap();
    let holder = "spiffe://example.org/app".parse().unwrap();
    let request = IssueCredential {
        lease: LeaseId::from_bits([1; 16]),
        holder: &holder,
        role: "deploy",
        ttl: std::time::Duration::from_secs(60),
        max_ttl: std::time::Duration::from_secs(60),
        within: std::time::Duration::from_secs(60),
        reservation: None,
    };
    provider.issuer().unwrap().issue(request).await.unwrap();

    let said = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(said.contains("hyper"), "no trace");
    // Payloads travel in base64.
    let encoded = data_encoding::BASE64.encode(b"canary-read");
    let leak = |line: &&str| line.contains("canary") || line.contains(&encoded) || line.contains("ya29");
    assert_eq!(said.lines().find(leak), None);
}
