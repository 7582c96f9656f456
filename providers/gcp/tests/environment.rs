//! Credentials and trust as a machine has them: each in a process with that environment.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, io::Write, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::{KeyPair, KeySize},
};
use data_encoding::BASE64;
use leasehold_core::{
    Timestamp,
    ports::{Clock, Entropy, NoEntropy, Provider},
    provider::Fetch,
};
use leasehold_provider_conformance::{
    authority::Authority,
    scripted::{ScriptedServer, gcp::Cloud},
};
use leasehold_provider_gcp::{GcpConfig, GcpProvider};
use serde_json::json;

/// Set in the processes that this test makes of itself: the endpoint.
const CHILD: &str = "LEASEHOLD_TEST_CHILD";

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

/// What a fetch came to in a process with this environment only.
async fn fetch_with(endpoint: &str, variables: &[(&str, &str)]) -> String {
    let mut command = tokio::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "the_machine_says_who_the_broker_is_and_whom_it_trusts", "--nocapture"]);
    command.env_clear().envs(variables.iter().copied()).env(CHILD, endpoint);
    let output = command.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let outcome =
        said.lines().find_map(|line| line.split_once("outcome: ")).map(|(_, after)| after.to_owned());
    outcome.unwrap_or_else(|| format!("no outcome: {said} {}", String::from_utf8_lossy(&output.stderr)))
}

async fn child(endpoint: String) {
    let config = GcpConfig {
        endpoint_url: Some(endpoint),
        timeout: Duration::from_secs(8),
        max_attempts: 1,
        ..GcpConfig::new("my-project")
    };
    let provider = GcpProvider::new(config, Arc::new(World), Arc::new(World)).unwrap();
    let outcome = match provider.fetch(Fetch { reference: "db", version: None }).await {
        Ok(fetched) => format!("version {}", fetched.version),
        Err(error) => format!("{:?}: {error}", error.class),
    };
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "\noutcome: {outcome}").unwrap();
}

fn private_file(path: &Path, text: &str) -> String {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn service_account_key() -> String {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
    let pem =
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", BASE64.encode(der.as_ref()));
    let json = json!({
        "type": "service_account", "project_id": "my-project", "private_key_id": "1", "private_key": pem,
        "client_email": "broker@my-project.iam.gserviceaccount.com",
    });
    json.to_string()
}

#[tokio::test]
async fn the_machine_says_who_the_broker_is_and_whom_it_trusts() {
    if let Ok(endpoint) = std::env::var(CHILD) {
        return child(endpoint).await;
    }
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    let key = private_file(&at("key.json"), &service_account_key());
    fs::create_dir_all(at(".config/gcloud")).unwrap();
    let place = home.path().to_str().unwrap().to_owned();
    let authority = Authority::new("ours").unwrap();
    let ours = private_file(&at("ours.pem"), &authority.pem());
    let theirs = private_file(&at("theirs.pem"), &Authority::new("theirs").unwrap().pem());

    let cloud = Cloud::new();
    cloud.put("projects/my-project/secrets/db", b"hunter2");
    let served = cloud.clone();
    let plain = ScriptedServer::start(move |request, _| served.answer(request)).await.unwrap();
    let served = cloud.clone();
    let tls =
        ScriptedServer::start_tls(&authority, &[], move |request, _| served.answer(request)).await.unwrap();
    let metadata = plain.url().trim_start_matches("http://").to_owned();

    let with_key = ("GOOGLE_APPLICATION_CREDENTIALS", &*key);
    for (name, endpoint, variables, expected) in [
        ("a key", plain.url(), vec![with_key], "version 1"),
        (
            "the metadata server",
            plain.url(),
            vec![("GCE_METADATA_HOST", &*metadata), ("HOME", &*place)],
            "version 1",
        ),
        ("over TLS", tls.url(), vec![with_key, ("SSL_CERT_FILE", &*ours)], "version 1"),
        (
            "not trusted",
            tls.url(),
            vec![with_key, ("SSL_CERT_FILE", &*theirs)],
            "Transient: `db`, accessing a version: the certificate of the endpoint is not trusted by this machine",
        ),
        (
            "no metadata server",
            plain.url(),
            vec![("GCE_METADATA_HOST", "127.0.0.1:1"), ("HOME", &*place)],
            "Transient: `db`, accessing a version: the broker cannot sign in: the token service or the metadata server cannot be reached",
        ),
        (
            "no such file",
            plain.url(),
            vec![("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")],
            "Denied: `db`, accessing a version: the broker cannot sign in: a file that the credentials name is not there",
        ),
    ] {
        let outcome = fetch_with(&endpoint, &variables).await;
        assert_eq!(outcome, expected, "{name}");
    }
}
