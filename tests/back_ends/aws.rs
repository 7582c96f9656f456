//! AWS as moto plays it, with two accounts and two regions, as `config/examples/aws.toml` has it.

use leasehold_provider_conformance::{
    http::Call,
    peers::{Moto, or_skip},
};
use serde_json::{Value, json};

use crate::{
    examples::Example,
    kit::Scene,
    rotation::{allow, rotated_by, rotates_once},
};

const DB: &str = "prod/payments/db";
const PARTNER: &str = "prod/payments/partner-key";
const PARAMETER: &str = "prod/payments/feature-key";
const MOUNTED: &str = "prod/shared/tls";
const SESSION: &str = "prod/payments/deploy";

const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
const HOME: &str = "eu-central-1";
/// The role of the other account that the second provider takes on.
const READER: &str = "arn:aws:iam::210987654321:role/leasehold-reader";

/// A call of a key's owner to a service in a region; moto believes everybody.
fn call(moto: &Moto, key: &str, region: &str, service: &str) -> Call {
    Call::new("POST", moto.url()).header("x-amz-date", "20260101T000000Z").header(
        "authorization",
        format!(
            "AWS4-HMAC-SHA256 Credential={key}/20260101/{region}/{service}/aws4_request, SignedHeaders=host, Signature=00"
        ),
    )
}

async fn tell(call: Call, operation: &str, body: Value) -> Value {
    let call = call.header("x-amz-target", operation).body("application/x-amz-json-1.1", body.to_string());
    let answer = call.send().await.unwrap();
    assert_eq!(answer.status, 200, "{operation}: {}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

/// Has Secrets Manager do something, as whoever.
pub(crate) async fn tell_of(moto: &Moto, operation: &str, body: Value) -> Value {
    tell(call(moto, KEY, HOME, "secretsmanager"), &format!("secretsmanager.{operation}"), body).await
}

/// Makes a secret.
pub(crate) async fn put_secret(moto: &Moto, name: &str, text: &str) {
    create(moto, KEY, HOME, name, text).await;
}

/// Signed in by the environment as on a machine in AWS.
pub(crate) fn signed_in(scene: Scene) -> Scene {
    let mut scene = scene.with("AWS_ACCESS_KEY_ID", KEY).with("AWS_EC2_METADATA_DISABLED", "true");
    let secret = scene.guard("the broker's secret key", "canary/secret/key/8c15f6e1f9b04f0c8a4e");
    scene.with("AWS_SECRET_ACCESS_KEY", secret)
}

async fn create(moto: &Moto, key: &str, region: &str, name: &str, text: &str) {
    let call = call(moto, key, region, "secretsmanager");
    tell(call, "secretsmanager.CreateSecret", json!({ "Name": name, "SecretString": text })).await;
}

/// The id of a key of the other account.
async fn key_of_the_other_account(moto: &Moto) -> String {
    let form = format!("Action=AssumeRole&Version=2011-06-15&RoleSessionName=test&RoleArn={READER}");
    let call = call(moto, KEY, HOME, "sts").body("application/x-www-form-urlencoded", form);
    let answer = String::from_utf8(call.send().await.unwrap().body).unwrap();
    let (_, rest) = answer.split_once("<AccessKeyId>").unwrap();
    rest.split_once('<').unwrap().0.to_owned()
}

/// The example at this moto.
fn scene(moto: &Moto) -> Scene {
    signed_in(Scene::of(example(moto)))
}

fn example(moto: &Moto) -> Example {
    Example::of("aws")
        .provider("aws-main", "endpoint_url", moto.url())
        .provider("aws-shared", "secretsmanager_endpoint_url", moto.url())
        .provider("aws-shared", "sts_endpoint_url", moto.url())
        .provider("aws-main", "attempt_timeout", "20s")
        .provider("aws-main", "timeout", "40s")
        .provider("aws-shared", "attempt_timeout", "20s")
        .provider("aws-shared", "timeout", "40s")
}

#[tokio::test]
async fn the_example_lends_what_it_says() {
    let Some(moto) = or_skip(Moto::start().await).unwrap() else { return };
    let mut scene = scene(&moto);
    let [password, partner, feature, shared] =
        ["password", "partner", "feature", "shared"].map(|name| scene.canary(name));
    let database = json!({ "user": "canary-user-41cc", "password": password });
    create(&moto, KEY, HOME, "payments/db", &database.to_string()).await;
    // As moto finds what an ARN names.
    create(&moto, KEY, "us-east-1", "payments/partner-key-AbCdEf", &partner).await;
    let other = key_of_the_other_account(&moto).await;
    create(&moto, &other, HOME, "shared/tls", &shared).await;
    let parameters = || call(&moto, KEY, HOME, "ssm");
    let name = "/payments/feature-key";
    let put =
        |value: &str| json!({ "Name": name, "Value": value, "Type": "SecureString", "Overwrite": true });
    tell(parameters(), "AmazonSSM.PutParameter", put(&feature)).await;
    let label = json!({ "Name": name, "ParameterVersion": 1, "Labels": ["live"] });
    tell(parameters(), "AmazonSSM.LabelParameterVersion", label).await;
    tell(parameters(), "AmazonSSM.PutParameter", put("a newer one that is not live")).await;

    let daemon = scene.start().await;
    let held = scene.lease(DB).await;
    assert_eq!((held.field("user"), held.field("password")), ("canary-user-41cc", &*password));
    assert_eq!(scene.lease(PARTNER).await.field("value"), partner);
    assert_eq!(scene.lease(PARAMETER).await.field("value"), feature);
    let foreign = scene.lease(MOUNTED).await;
    assert_eq!(foreign.field("value"), shared);
    assert_eq!(foreign.lease["provider"], "aws-shared");
    for provider in ["aws-main", "aws-shared"] {
        let findings = scene.checked(provider).await;
        assert!(findings.iter().any(|finding| finding["verdict"] == "ok"), "{findings:#?}");
    }
    scene.close(daemon).await;
}

#[tokio::test]
async fn a_session_that_nothing_ends_says_so_everywhere() {
    let Some(moto) = or_skip(Moto::start().await).unwrap() else { return };
    let mut scene = scene(&moto);
    let daemon = scene.start().await;
    let session = scene.lease(SESSION).await;
    for field in ["secret_access_key", "session_token"] {
        assert!(session.field(field).len() > 20, "{field}");
    }
    assert_eq!(session.version(), session.field("access_key_id"));
    let end = session.irrevocable_until().unwrap().to_owned();
    let shown = scene.run("workload", &format!("lease show {}", session.id), "").await;
    assert!(shown.out.contains("revocation") && shown.out.contains("none until"), "{shown:?}");
    let listed = scene.run("operator", "lease list --all", "").await;
    assert!(listed.out.contains("none until"), "{listed:?}");

    let about = format!("--lease {}", session.id);
    let words = format!("none until {end}");
    let issued = scene.records("lease.issued", &about).await;
    assert_eq!(issued[0]["details"]["revocation"], words, "{issued:?}");
    scene.operator(&format!("lease revoke {}", session.id)).await;
    // It is over for the holder, and not at AWS.
    let revoked = scene.records("lease.revoking", &about).await;
    assert_eq!(revoked[0]["details"]["revocation"], words, "{revoked:?}");
    scene.close(daemon).await;
}

#[tokio::test]
async fn people_write_promote_delete_and_restore() {
    let Some(moto) = or_skip(Moto::start().await).unwrap() else { return };
    let mut scene = scene(&moto);
    let (old, new) = (scene.canary("old"), scene.canary("new"));
    create(&moto, KEY, HOME, "payments/db", &old).await;
    let daemon = scene.start().await;
    let first = scene.lease(DB).await;
    assert_eq!(first.field("value"), old);
    let second = scene.put(DB, &new).await;
    let held = scene.lease(DB).await;
    assert_eq!((held.field("value"), held.version()), (&*new, &*second));
    let listed = scene.operator(&format!("secret versions {DB}")).await;
    let versions: Vec<_> = listed.as_array().unwrap().iter().map(|listed| &listed["version"]).collect();
    assert_eq!(versions.len(), 2, "{listed}");
    assert!(versions.contains(&&json!(second)) && versions.contains(&&json!(first.version())), "{listed}");
    scene.operator(&format!("secret promote {DB} --version {}", first.version())).await;
    assert_eq!(scene.lease(DB).await.version(), first.version());

    // Parameters have no such versions, and the other account's secrets are not the broker's to write.
    scene.refused("operator", &format!("secret disable {DB} --version {second}")).await;
    scene.refused("operator", &format!("secret delete {MOUNTED}")).await;
    scene.operator(&format!("secret delete {DB}")).await;
    let why = scene.refused("workload", &format!("lease get {DB}")).await;
    assert!(why.contains("PROVIDER_SECRET_ABSENT"), "{why}");
    scene.operator(&format!("secret restore {DB}")).await;
    assert_eq!(scene.lease(DB).await.field("value"), old);
    scene.close(daemon).await;
}

#[tokio::test]
async fn a_rotation_moves_aws_labels_and_leaves_none_that_waits() {
    let Some(moto) = or_skip(Moto::start().await).unwrap() else { return };
    let example = rotated_by(example(&moto), DB, "strategy = \"generate\"\nfield = \"password\"");
    let mut scene = signed_in(Scene::of(example));
    allow(&scene);
    let password = scene.canary("password");
    let database = json!({ "user": "canary-user-41cc", "password": password });
    create(&moto, KEY, HOME, "payments/db", &database.to_string()).await;
    let daemon = scene.start().await;
    let (old, new, last) = rotates_once(&mut scene, DB, "password").await;
    assert_eq!(new.field("user"), old.field("user"), "the other fields stay");
    // Secrets Manager neither disables nor destroys one version: nothing can be tried.
    assert_eq!(last["verification"], "unverifiable", "{last}");
    let described = tell_of(&moto, "DescribeSecret", json!({ "SecretId": "payments/db" })).await;
    let labels = &described["VersionIdsToStages"];
    assert_eq!(labels[new.version()], json!(["AWSCURRENT"]), "{labels}");
    assert_eq!(labels[old.version()], json!(["AWSPREVIOUS"]), "{labels}");
    assert!(!labels.to_string().contains("AWSPENDING"), "{labels}");
    scene.close(daemon).await;
}
