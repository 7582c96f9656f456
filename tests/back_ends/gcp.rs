//! Google Cloud as a script plays it, and as drongo does where it can, as `config/examples/gcp.toml` has it.

use leasehold_provider_conformance::{
    http::Call,
    peers::{Drongo, or_skip},
    scripted::{ScriptedServer, gcp::Cloud},
};
use serde_json::{Value, json};

use crate::{
    examples::Example,
    kit::{Scene, patiently},
    rotation::{allow, rotated_by, rotates_once},
};

const DB: &str = "prod/payments/db";
const PARTNER: &str = "prod/payments/partner-key";
const REGIONAL: &str = "prod/payments/card-key";
const MOUNTED: &str = "prod/shared/tls";
const ACCESS: &str = "prod/payments/deploy";
const IDENTITY: &str = "prod/payments/api-token";

/// What the metadata server and the token service give the broker.
const GRANTED: &str = "ya29.canary-of-the-broker-6f0d2b7a";
const SUBJECT: &str = "subject-token";

/// A cloud, and a server that is it.
async fn cloud() -> (Cloud, ScriptedServer) {
    let cloud = Cloud::new();
    cloud.grant(GRANTED);
    let served = cloud.clone();
    let server = ScriptedServer::start(move |request, _| served.answer(request)).await.unwrap();
    (cloud, server)
}

/// The example, with secrets at one place, and everything else at the scripted cloud.
fn scene(secrets: &str, server: &ScriptedServer, change: impl FnOnce(Example) -> Example) -> Scene {
    let example = Example::of("gcp")
        .provider("gcp-main", "endpoint_url", secrets)
        .provider("gcp-main", "iam_endpoint_url", server.url())
        .provider("gcp-main", "attempt_timeout", "20s")
        .provider("gcp-main", "timeout", "40s")
        .provider("gcp-eu", "endpoint_url", server.url())
        .provider("gcp-eu", "credentials_file", "federation.json")
        .provider("gcp-eu", "attempt_timeout", "20s")
        .provider("gcp-eu", "timeout", "40s");
    let scene = Scene::of(change(example));
    scene.site.write("subject", SUBJECT);
    let federation = json!({
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/k8s",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": format!("{}/token", server.url()),
        "credential_source": { "file": scene.site.path("subject") },
    });
    scene.site.write("federation.json", &federation.to_string());
    let mut scene = scene.with("GCE_METADATA_HOST", server.url().trim_start_matches("http://"));
    scene.guard("the broker's token", GRANTED);
    scene
}

#[tokio::test]
async fn the_example_lends_what_it_says() {
    let (cloud, server) = cloud().await;
    let mut scene = scene(&server.url(), &server, |example| example);
    let [db, partner, card, team] = ["db", "partner", "card", "team"].map(|name| scene.canary(name));
    cloud.put("projects/payments-prod/secrets/payments-db", db.as_bytes());
    let aliased = "projects/shared-prod/secrets/partner-key";
    let stable = cloud.put(aliased, partner.as_bytes());
    cloud.alias(aliased, "stable", stable);
    cloud.put(aliased, b"a newer one that is not stable");
    let regional = json!({ "a": card }).to_string();
    cloud.put("projects/payments-prod/locations/europe-west3/secrets/card-key", regional.as_bytes());
    cloud.put("projects/shared-prod/secrets/team-tls", team.as_bytes());

    let daemon = scene.start().await;
    for (secret, value) in [(DB, &db), (PARTNER, &partner), (REGIONAL, &regional), (MOUNTED, &team)] {
        assert_eq!(scene.lease(secret).await.field("value"), value, "{secret}");
    }
    for (secret, field) in [(ACCESS, "access_token"), (IDENTITY, "id_token")] {
        let token = scene.lease(secret).await;
        assert!(!token.field(field).is_empty());
        let end = token.irrevocable_until().unwrap().to_owned();
        let records = scene.records("lease.issued", &format!("--lease {}", token.id)).await;
        assert_eq!(records[0]["details"]["revocation"], format!("none until {end}"), "{records:?}");
        let shown = scene.run("workload", &format!("lease show {}", token.id), "").await;
        assert!(shown.out.contains("none until"), "{shown:?}");
    }
    for provider in ["gcp-main", "gcp-eu"] {
        let findings = scene.checked(provider).await;
        assert!(findings.iter().any(|finding| finding["verdict"] == "ok"), "{findings:#?}");
    }

    let new = scene.canary("written");
    assert_eq!(scene.put(DB, &new).await, "2");
    assert_eq!(scene.lease(DB).await.field("value"), new);
    scene.operator(&format!("secret disable {DB} --version 1")).await;
    let listed = scene.operator(&format!("secret versions {DB}")).await;
    let state = |at: usize| listed[at]["state"].as_str().unwrap();
    assert_eq!((state(0), state(1)), ("enabled", "disabled"), "{listed}");
    scene.operator(&format!("secret enable {DB} --version 1")).await;
    scene.operator(&format!("secret destroy {DB} --version 1 --yes")).await;
    let why = scene.refused("operator", &format!("secret delete {DB}")).await;
    assert!(why.contains("PROVIDER_UNSUPPORTED"), "{why}");
    scene.close(daemon).await;
}

#[tokio::test]
async fn a_damaged_payload_is_not_lent_and_is_in_the_journal() {
    let (cloud, server) = cloud().await;
    let mut scene = scene(&server.url(), &server, |example| example);
    let value = scene.canary("whole");
    cloud.put("projects/payments-prod/secrets/payments-db", value.as_bytes());
    cloud.damage(true);
    let daemon = scene.start().await;
    let why = scene.refused("workload", &format!("lease get {DB}")).await;
    assert!(why.contains("PROVIDER_UNAVAILABLE") && why.contains("gcp-main"), "{why}");
    let records = scene.records("lease.issued", &format!("--secret {DB} --outcome failed")).await;
    assert_eq!(records[0]["outcome"]["reason"], "PROVIDER_UNAVAILABLE", "{records:?}");
    let told = records[0]["details"]["error"].as_str().unwrap();
    assert!(told.contains("does not match its CRC32C"), "{told}");

    cloud.damage(false);
    patiently("it is lent", async || scene.run("workload", &format!("lease get {DB}"), "").await.code == 0)
        .await;
    assert_eq!(scene.lease(DB).await.field("value"), value);
    scene.close(daemon).await;
}

/// Puts a first value into drongo.
async fn put(drongo: &Drongo, project: &str, secret: &str, value: &str) {
    let ask = async |path: &str, body: Value| {
        let call = Call::new("POST", format!("{}/v1/projects/{project}/{path}", drongo.url())).json(&body);
        let answer = call.send().await.unwrap();
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    };
    let replicated = json!({ "replication": { "automatic": {} } });
    ask(&format!("secrets?secretId={secret}"), replicated).await;
    let data = data_encoding::BASE64.encode(value.as_bytes());
    ask(&format!("secrets/{secret}:addVersion"), json!({ "payload": { "data": data } })).await;
}

/// It sends no checksums.
fn without_checksums(example: Example) -> Example {
    example.provider("gcp-main", "require_checksum", false)
}

#[tokio::test]
async fn another_implementation_lends_what_it_can() {
    let Some(drongo) = or_skip(Drongo::start().await).unwrap() else { return };
    let (_cloud, server) = cloud().await;
    let mut scene = scene(drongo.url(), &server, without_checksums);
    let (db, team) = (scene.canary("db"), scene.canary("team"));
    put(&drongo, "payments-prod", "payments-db", &db).await;
    put(&drongo, "shared-prod", "team-tls", &team).await;
    let daemon = scene.start().await;
    assert_eq!(scene.lease(DB).await.field("value"), db);
    assert_eq!(scene.lease(MOUNTED).await.field("value"), team);
    let new = scene.canary("written");
    assert_eq!(scene.put(DB, &new).await, "2");
    assert_eq!(scene.lease(DB).await.field("value"), new);
    scene.operator(&format!("secret disable {DB} --version 1")).await;
    let listed = scene.operator(&format!("secret versions {DB}")).await;
    let state = |at: usize| listed[at]["state"].as_str().unwrap();
    assert_eq!((state(0), state(1)), ("enabled", "disabled"), "{listed}");
    let why = scene.refused("workload", "lease get prod/shared/nothing").await;
    assert!(why.contains("PROVIDER_SECRET_ABSENT"), "{why}");
    scene.close(daemon).await;
}

#[tokio::test]
async fn a_rotation_disables_the_old_version_when_nobody_holds_it() {
    let Some(drongo) = or_skip(Drongo::start().await).unwrap() else { return };
    let (_cloud, server) = cloud().await;
    let rotated = |example| rotated_by(without_checksums(example), DB, "strategy = \"generate\"");
    let mut scene = scene(drongo.url(), &server, rotated);
    allow(&scene);
    let first = scene.canary("first");
    put(&drongo, "payments-prod", "payments-db", &first).await;
    let daemon = scene.start().await;
    let (old, new, last) = rotates_once(&mut scene, DB, "value").await;
    assert_eq!(
        (old.version(), new.version(), &last["verification"]),
        ("1", "2", &json!("verified")),
        "{last}"
    );
    let listed = scene.operator(&format!("secret versions {DB}")).await;
    let state = |at: usize| listed[at]["state"].as_str().unwrap();
    assert_eq!((state(0), state(1)), ("enabled", "disabled"), "{listed}");
    scene.close(daemon).await;
}
