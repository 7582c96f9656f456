//! The SDK's own logs. In a process of its own: a subscriber sees everything only where no other test runs beside it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "aws/clock.rs"]
mod clock;

use std::{
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    sync::{Arc, Mutex},
    time::Duration,
};

use leasehold_core::{
    LeaseId, SecretValue,
    ports::Provider,
    provider::{ErrorClass, Fetch, IssueCredential, Stage, WriteVersion},
};
use leasehold_provider_aws::{AwsConfig, AwsProvider, AwsRole, Credentials, SessionRole};
use leasehold_provider_conformance::scripted::{Answer, Reply, ScriptedServer, aws};

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

const VERSION: &str = "11111111-2222-4333-8444-555555555555";

#[tokio::test]
async fn not_even_a_trace_of_the_sdk_holds_a_value_or_a_key() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().with_env_filter("trace").with_writer(move || writer.clone()).init();

    let server = ScriptedServer::start(|request, before| {
        match &*aws::operation(request) {
            "AmazonSSM.GetParameter" => return aws::parameter(1, "canary-parameter"),
            "sts.AssumeRole" => return aws::assumed("ASIA", "canary-token", "2099-01-01T00:00:00Z"),
            _ => {}
        }
        let (status, body) = match before {
            0 => (200, format!(r#"{{"VersionId":"{VERSION}"}}"#)),
            1 => (200, format!(r#"{{"VersionId":"{VERSION}","SecretString":"canary-read"}}"#)),
            2 => (200, r#"{"SecretString":"canary-cut"#.to_owned()),
            _ => (400, r#"{"__type":"AccessDeniedException","SecretString":"canary-odd"}"#.to_owned()),
        };
        Reply::Answer(Answer::json(status, body))
    })
    .await
    .unwrap();
    let home = tempfile::tempdir().unwrap();
    let [key, token] = ["key", "token"].map(|name| home.path().join(name));
    for path in [&key, &token] {
        std::fs::write(path, "canary-key").unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let arn = "arn:aws:iam::123456789012:role/r".to_owned();
    let role = SessionRole { arn, ..SessionRole::default() };
    let config = AwsConfig {
        region: Some("eu-central-1".into()),
        endpoint_url: Some(server.url()),
        credentials: Credentials::Static {
            access_key_id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret_access_key_file: key,
            session_token_file: Some(token),
        },
        writable: true,
        max_attempts: 1,
        roles: [("r".to_owned(), AwsRole::AssumeRole(role))].into_iter().collect(),
        ..AwsConfig::default()
    };
    let provider = AwsProvider::new(config, clock::clock()).unwrap();

    let value = SecretValue::plain("canary-write".to_owned());
    let request =
        WriteVersion { reference: "a", value: &value, token: VERSION, expected: None, stage: Stage::Current };
    provider.write(request).await.unwrap();
    let fetch = || provider.fetch(Fetch { reference: "a", version: None });
    fetch().await.unwrap();
    for class in [ErrorClass::Transient, ErrorClass::Denied] {
        assert_eq!(fetch().await.unwrap_err().class, class);
    }

    provider.fetch(Fetch { reference: "ssm:/a", version: None }).await.unwrap();
    let holder = "spiffe://example.org/a".parse().unwrap();
    let ask = IssueCredential {
        lease: LeaseId::from_bits([1; 16]),
        holder: &holder,
        role: "r",
        ttl: Duration::from_secs(900),
        max_ttl: Duration::from_secs(900),
        within: Duration::from_secs(60),
        reservation: None,
    };
    let issued = provider.issuer().unwrap().issue(ask).await.unwrap();
    assert_eq!(issued.value.fields.len(), 4);

    let said = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(said.contains("transmitting request") && said.contains("received response"), "no trace");
    assert!(!said.contains("canary"), "{}", said.lines().find(|line| line.contains("canary")).unwrap());
}
