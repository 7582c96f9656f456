//! Secrets that are rotated where they live, as `config/examples/rotation-generate.toml` and `rotation-native.toml` have it;
//! and what the tests of each back end have in common.

use leasehold_provider_conformance::peers::{Bao, Moto, Postgres, or_skip};
use serde_json::{Value, json};
use toml::Table;

use crate::{
    aws::{self, put_secret, tell_of},
    examples::{Example, beside},
    kit::{Scene, Taken, patiently},
};

const COOKIE: &str = "prod/payments/cookie-key";
const PARTNER: &str = "prod/payments/partner-password";
const ORDERS: &str = "prod/payments/orders-db";
const REPORT: &str = "prod/payments/report-db";
const OWN_USER: &str = "prod/payments/vaults-own-user";

/// An example's secret that is rotated like this.
pub(crate) fn rotated_by(example: Example, secret: &str, rotation: &str) -> Example {
    example.secret(secret, "rotation", rotation.parse::<Table>().unwrap())
}

/// Lets the operator rotate, and the schedule.
pub(crate) fn allow(scene: &Scene) {
    scene.site.write("policies/21-rotation.cedar", leasehold_tests::rotations::POLICY);
}

/// Has a secret rotated, until the new version is current.
pub(crate) async fn rotate(scene: &mut Scene, secret: &str) {
    let ran = scene.run("operator", &format!("secret rotate {secret} --wait=current -o json"), "").await;
    assert_eq!(ran.code, 0, "{secret}: {ran:?}");
}

/// How the last rotation ended, once there is none under way.
pub(crate) async fn ended(scene: &mut Scene, secret: &str) -> Value {
    let mut last = Value::Null;
    patiently("the rotation ends", async || {
        let shown = scene.operator(&format!("rotation show {secret}")).await;
        last = shown["last"].clone();
        shown["course"].is_null() && shown["wanted_at"].is_null() && last.is_object()
    })
    .await;
    last
}

/// Rotates once: who leases before the end of it goes on with the old version until the lease is given back.
pub(crate) async fn rotates_once(scene: &mut Scene, secret: &str, field: &str) -> (Taken, Taken, Value) {
    let held = scene.lease(secret).await;
    rotate(scene, secret).await;
    let moved = scene.lease(secret).await;
    assert_ne!((held.version(), held.field(field)), (moved.version(), moved.field(field)));
    let shown = scene.operator(&format!("rotation show {secret}")).await;
    assert_eq!((&shown["state"], &shown["old_version_leases"]), (&json!("draining"), &json!(1)), "{shown}");
    assert_eq!(shown["course"]["holders"][0]["lease"], held.id, "{shown}");
    scene.run("workload", &format!("lease revoke {}", held.id), "").await;
    let last = ended(scene, secret).await;
    assert_eq!(last["outcome"], "retired", "{last}");
    assert_eq!(
        (last["old_version"].as_str(), last["new_version"].as_str()),
        (Some(held.version()), Some(moved.version()))
    );
    (held, moved, last)
}

/// A Vault for the examples, with a broker's token that may what the policy beside one says and nothing more.
struct World {
    bao: Bao,
    postgres: Postgres,
    token: String,
}

impl World {
    async fn start(example: &str) -> Option<Self> {
        let bao = or_skip(Bao::start().await).unwrap()?;
        let postgres = or_skip(Postgres::start().await).unwrap()?;
        bao.mount_kv("kv", 2).await.unwrap();
        let policy = beside(&format!("{example}/policy.hcl"));
        bao.ask("PUT", "sys/policies/acl/rotation", Some(&json!({ "policy": policy }))).await.unwrap();
        let hour = std::time::Duration::from_secs(3600);
        let request = json!({ "policies": ["rotation"], "no_default_policy": true, "ttl": format!("{}s", hour.as_secs()) });
        let made = bao.ask("POST", "auth/token/create", Some(&request)).await.unwrap();
        let token = made.pointer("/auth/client_token").and_then(Value::as_str).unwrap().to_owned();
        Some(Self { bao, postgres, token })
    }

    fn at(&self, example: &'static str) -> Example {
        Example::of(example)
            .provider("vault-main", "address", self.bao.url())
            .provider("vault-main", "attempt_timeout", "20s")
            .provider("vault-main", "timeout", "40s")
            .without_of_provider("vault-main", "ca_file")
    }

    fn sign_in(&self, scene: &mut Scene) {
        let token = scene.guard("the broker's token", self.token.clone());
        scene.site.write("vault-token", &token);
    }

    async fn kv(&self, path: &str, version: u64) -> Result<Value, String> {
        self.bao.ask("GET", &format!("kv/data/{path}?version={version}"), None).await
    }

    async fn lets_in(&self, taken: &Taken) -> bool {
        self.postgres.lets_in(taken.field("username"), taken.field("password")).await.unwrap()
    }
}

#[tokio::test]
async fn values_are_made_where_the_back_ends_copy_is_the_only_one() {
    let Some(world) = World::start("rotation-generate").await else { return };
    let rule = "length = 24\nrule \"charset\" { charset = \"kmp9\" }";
    world.bao.ask("PUT", "sys/policies/password/partners", Some(&json!({ "policy": rule }))).await.unwrap();
    let mut scene = Scene::of(world.at("rotation-generate"));
    allow(&scene);
    world.sign_in(&mut scene);
    let daemon = scene.start().await;

    // There was none: the first is made, and nobody has to let go of anything.
    rotate(&mut scene, COOKIE).await;
    let (old, new, last) = rotates_once(&mut scene, COOKIE, "value").await;
    assert_eq!(
        (old.version(), new.version(), &last["verification"]),
        ("1", "2", &json!("verified")),
        "{last}"
    );
    assert!(old.field("value").len() >= 43);
    // Put away, and there to be brought back.
    assert!(world.kv("payments/cookie-key", 1).await.is_err());
    scene.operator(&format!("secret enable {COOKIE} --version 1")).await;
    assert!(world.kv("payments/cookie-key", 1).await.is_ok());

    rotate(&mut scene, PARTNER).await;
    scene.checked("vault-main").await;
    let (_, new, last) = rotates_once(&mut scene, PARTNER, "value").await;
    assert!(new.field("value").len() == 24 && new.field("value").bytes().all(|byte| b"kmp9".contains(&byte)));
    assert_eq!(last["verification"], "verified", "{last}");
    scene.refused("operator", &format!("secret enable {PARTNER} --version 1")).await;

    // Somebody else's value is noticed, and stays; the next rotation replaces it like any other.
    let theirs = scene.canary("somebody else's");
    let data = json!({ "data": { "value": theirs } });
    world.bao.ask("POST", "kv/data/payments/cookie-key", Some(&data)).await.unwrap();
    rotate(&mut scene, COOKIE).await;
    let last = ended(&mut scene, COOKIE).await;
    assert_eq!(
        (last["old_version"].as_str(), last["new_version"].as_str()),
        (Some("3"), Some("4")),
        "{last}"
    );
    scene.close(daemon).await;
}

/// A target that takes a value when it is let: it is told by files in its folder.
const PATIENT: &str = r#"#!/bin/sh
read -r message
field() { printf '%s' "$message" | sed -n "s/.*\"$1\":{\"value\":\"\([^\"]*\)\".*/\1/p"; }
cd "$1" || exit 75
case "$message" in
  *'"step":"apply"'*)
    touch asked
    while [ ! -e go ]; do [ -e no ] && exit 10; sleep 0.1; done
    field new > accepted ;;
  *'"step":"test"'*) [ "$(field value)" = "$(cat accepted)" ] || exit 11 ;;
  *'"step":"retire"'* | *'"step":"check"'*) ;;
  *) exit 64 ;;
esac
"#;

#[tokio::test]
async fn kv_has_the_new_version_before_anybody_is_lent_it() {
    let Some(world) = World::start("rotation-generate").await else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (program, told) = (at("patient"), folder.path().display());
    std::fs::write(&program, PATIENT).unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let rotation = format!(
        "strategy = \"command\"\ncommand = [{:?}, \"{told}\"]\nfield = \"value\"\ntimeout = \"60s\"\n\
         generator = {{ kind = \"hex\", bytes = 16 }}",
        program.to_str().unwrap()
    );
    // What is lent comes from KV each time, and from no memory.
    let example =
        rotated_by(world.at("rotation-generate"), COOKIE, &rotation).secret(COOKIE, "max_age", "0s");
    let mut scene = Scene::of(example);
    allow(&scene);
    world.sign_in(&mut scene);
    let first = scene.canary("first");
    let data = json!({ "data": { "value": first } });
    world.bao.ask("POST", "kv/data/payments/cookie-key", Some(&data)).await.unwrap();
    std::fs::write(at("accepted"), &first).unwrap();
    let daemon = scene.start().await;

    // The new value is in KV, and the target has not taken it yet: the old one is lent, and read again for each lease.
    scene.operator(&format!("secret rotate {COOKIE}")).await;
    patiently("the target is asked", async || at("asked").exists()).await;
    assert!(world.kv("payments/cookie-key", 2).await.is_ok());
    let held = scene.lease(COOKIE).await;
    assert_eq!((held.version(), held.field("value")), ("1", &*first));

    // It refuses: the old value is written again, as the newest version, and lent.
    std::fs::write(at("no"), "").unwrap();
    patiently("the new value is thrown away", async || {
        scene.operator(&format!("rotation show {COOKIE}")).await["last"]["outcome"] == "discarded"
    })
    .await;
    let again = scene.lease(COOKIE).await;
    assert_eq!((again.version(), again.field("value")), ("3", &*first));
    let listed = scene.operator(&format!("secret versions {COOKIE}")).await;
    assert_eq!((&listed[1]["version"], &listed[1]["state"]), (&json!("2"), &json!("disabled")), "{listed}");

    // It takes the next one.
    std::fs::remove_file(at("no")).unwrap();
    std::fs::write(at("go"), "").unwrap();
    rotate(&mut scene, COOKIE).await;
    let moved = scene.lease(COOKIE).await;
    assert_eq!(moved.version(), "4");
    assert_eq!(std::fs::read_to_string(at("accepted")).unwrap().trim(), moved.field("value"));
    for lease in [&held, &again] {
        scene.run("workload", &format!("lease revoke {}", lease.id), "").await;
    }
    let last = ended(&mut scene, COOKIE).await;
    assert_eq!((&last["outcome"], &last["verification"]), (&json!("retired"), &json!("verified")), "{last}");
    // Each version that had the old value.
    for version in [1, 3] {
        assert!(world.kv("payments/cookie-key", version).await.is_err(), "version {version} is there");
    }
    scene.close(daemon).await;
}

#[tokio::test]
async fn what_a_back_end_rotates_by_itself_is_started_followed_and_drained() {
    let Some(world) = World::start("rotation-native").await else { return };
    let Some(moto) = or_skip(Moto::start().await).unwrap() else { return };
    world
        .postgres
        .run("create role report login; create role vaults superuser login password 'as-it-was-d01c'")
        .await
        .unwrap();
    world.bao.ask("POST", "sys/mounts/database", Some(&json!({ "type": "database" }))).await.unwrap();
    let connection = json!({
        "plugin_name": "postgresql-database-plugin", "allowed_roles": "*",
        "connection_url": world.postgres.connection_url(), "username": "vaults", "password": "as-it-was-d01c",
    });
    world.bao.ask("POST", "database/config/payments", Some(&connection)).await.unwrap();
    let role = json!({ "db_name": "payments", "username": "report", "rotation_period": "24h" });
    world.bao.ask("POST", "database/static-roles/report", Some(&role)).await.unwrap();

    let example = world
        .at("rotation-native")
        .provider("aws-main", "endpoint_url", moto.url())
        .provider("aws-main", "attempt_timeout", "20s")
        .provider("aws-main", "timeout", "40s");
    let mut scene = aws::signed_in(Scene::of(example));
    allow(&scene);
    world.sign_in(&mut scene);
    let orders = scene.canary("orders");
    put_secret(&moto, "payments/orders-db", &orders).await;
    let daemon = scene.start().await;
    scene.checked("vault-main").await;

    // The database takes the old password no longer as soon as there is a new one: the holder hears of it at once.
    let (old, new, last) = rotates_once(&mut scene, REPORT, "password").await;
    assert!(world.lets_in(&new).await && !world.lets_in(&old).await);
    assert_eq!(last["verification"], "unverifiable", "what Vault did there is its own: {last}");

    // Nobody leases it, and nobody knows its password but Vault.
    scene.refused("workload", &format!("lease get {OWN_USER}")).await;
    rotate(&mut scene, OWN_USER).await;
    ended(&mut scene, OWN_USER).await;
    assert!(!world.postgres.lets_in("vaults", "as-it-was-d01c").await.unwrap());
    rotate(&mut scene, REPORT).await;

    // moto has no function: the test is it, and finishes the version that moto has made.
    let held = scene.lease(ORDERS).await;
    scene.operator(&format!("secret rotate {ORDERS}")).await;
    let made = scene.canary("made by the function");
    patiently("AWS has begun", async || finish(&moto, "payments/orders-db", &held, &made).await).await;
    patiently("it is current", async || scene.lease(ORDERS).await.field("value") == made).await;
    scene.run("workload", &format!("lease revoke {}", held.id), "").await;
    scene.close(daemon).await;
}

/// Does what a rotation function does: fills the version that was made for it. Whether there was one.
async fn finish(moto: &Moto, name: &str, held: &Taken, value: &str) -> bool {
    let described = tell_of(moto, "DescribeSecret", json!({ "SecretId": name })).await;
    let versions = described["VersionIdsToStages"].as_object().unwrap();
    let Some(version) = versions.keys().find(|version| **version != held.version()) else { return false };
    let mark = json!({ "SecretId": name, "VersionStage": "AWSPENDING", "MoveToVersionId": version });
    tell_of(moto, "UpdateSecretVersionStage", mark).await;
    let put = json!({ "SecretId": name, "ClientRequestToken": version, "SecretString": value });
    tell_of(moto, "PutSecretValue", put).await;
    true
}
