//! A real OpenBao with TLS and a namespace, whose credentials open a real PostgreSQL, as `config/examples/vault.toml` has
//! it; and a broker with the policy of the example and nothing more.

use std::time::Duration;

use leasehold_core::Timestamp;
use leasehold_provider_conformance::{
    authority::Authority,
    peers::{Bao, BaoSetup, Postgres, or_skip},
    proxy::{Fault, FaultProxy, Injection},
};
use leasehold_tests::wait::until;
use serde_json::{Value, json};

use crate::{
    examples::{Example, beside},
    kit::{Scene, patiently},
};

const STRIPE: &str = "prod/payments/stripe";
const MOUNTED: &str = "prod/shared/tls";
const USER: &str = "prod/payments/db-user";
const CERTIFICATE: &str = "prod/web/certificate";

/// The servers, with a proxy in front of OpenBao.
struct World {
    bao: Bao,
    postgres: Postgres,
    proxy: FaultProxy,
    authority: Authority,
    role_id: String,
}

impl World {
    /// Sets everything up as docs/providers/vault.md says, with the values that will be lent.
    async fn start(stripe: &str, mounted: &str) -> Option<Self> {
        let authority = Authority::new("vault").unwrap();
        let bao = or_skip(Bao::start_configured(BaoSetup::new(&authority)).await).unwrap()?;
        let postgres = or_skip(Postgres::start().await).unwrap()?;
        let proxy = FaultProxy::start_tls(bao.address(), &authority, &[]).await.unwrap();
        let role_id = String::new();
        bao.ask("POST", "sys/namespaces/platform", Some(&json!({}))).await.unwrap();
        let mut world = Self { bao, postgres, proxy, authority, role_id };
        world.tell("sys/mounts/kv", json!({ "type": "kv", "options": { "version": "2" } })).await;
        // It upgrades itself after it was mounted, and refuses everything until it has.
        until("KV is ready", async || world.bao.ask("GET", "platform/kv/config", None).await.is_ok()).await;
        world.tell("kv/data/payments/stripe", json!({ "data": { "value": stripe } })).await;
        world.tell("kv/data/shared/tls", json!({ "data": { "key": mounted } })).await;
        world.add_database().await;
        world.tell("sys/mounts/pki", json!({ "type": "pki" })).await;
        world.tell("pki/root/generate/internal", json!({ "common_name": "root", "ttl": "24h" })).await;
        let web = json!({ "allowed_uri_sans": "spiffe://*", "require_cn": false, "max_ttl": "1h" });
        world.tell("pki/roles/web", web).await;
        world.allow(&beside("vault/policy.hcl")).await;
        world.tell("sys/auth/approle", json!({ "type": "approle" })).await;
        let role =
            json!({ "token_policies": ["leasehold"], "token_no_default_policy": true, "token_ttl": "1h" });
        world.tell("auth/approle/role/leasehold", role).await;
        let read = world.bao.ask("GET", "platform/auth/approle/role/leasehold/role-id", None).await.unwrap();
        world.role_id = read.pointer("/data/role_id").and_then(Value::as_str).unwrap().to_owned();
        Some(world)
    }

    async fn add_database(&self) {
        self.tell("sys/mounts/database", json!({ "type": "database" })).await;
        let connection = json!({
            "plugin_name": "postgresql-database-plugin",
            "allowed_roles": "payments",
            "connection_url": self.postgres.connection_url(),
            "username": Postgres::SUPERUSER,
            "password": self.postgres.password(),
        });
        self.tell("database/config/main", connection).await;
        let role = json!({
            "db_name": "main",
            "default_ttl": "10m",
            "max_ttl": "1h",
            "creation_statements":
                ["create role \"{{name}}\" with login password '{{password}}' valid until '{{expiration}}'"],
            "renew_statements": ["alter role \"{{name}}\" valid until '{{expiration}}'"],
            "revocation_statements": ["drop role if exists \"{{name}}\""],
        });
        self.tell("database/roles/payments", role).await;
    }

    /// Has OpenBao do something in the namespace of the example.
    async fn tell(&self, path: &str, body: Value) {
        self.bao.ask("POST", &format!("platform/{path}"), Some(&body)).await.unwrap();
    }

    /// The broker's policy from now on.
    async fn allow(&self, policy: &str) {
        self.tell("sys/policies/acl/leasehold", json!({ "policy": policy })).await;
    }

    /// The example at this OpenBao.
    fn example(&self) -> Example {
        Example::of("vault")
            .provider("vault-main", "address", self.proxy.url())
            .provider("vault-main", "cluster", vec![self.bao.url()])
            .provider("vault-main", "role_id", self.role_id.clone())
            // The machine may be busy, and nothing here is to fail for that.
            .provider("vault-main", "attempt_timeout", "20s")
            .provider("vault-main", "timeout", "40s")
            .provider("vault-main", "call_timeout", "60s")
    }

    /// A site with it, and with the files that it names.
    async fn scene(&self, example: Example) -> Scene {
        let mut scene = Scene::of(example);
        scene.site.write("vault-ca.pem", &self.authority.pem());
        self.deliver_secret_id(&mut scene).await;
        scene
    }

    /// Puts a wrapped secret id where the broker looks for it: one that nobody has opened.
    async fn deliver_secret_id(&self, scene: &mut Scene) {
        let call = self.bao.call("POST", "platform/auth/approle/role/leasehold/secret-id");
        let call = call.header("x-vault-token", self.bao.token()).header("x-vault-wrap-ttl", "5m");
        let answer = call.json(&json!({})).send().await.unwrap().json();
        let token = answer.pointer("/wrap_info/token").and_then(Value::as_str).unwrap();
        let token = scene.guard("the wrapping token", token);
        scene.site.write("vault-secret-id", &token);
    }

    async fn lets_in(&self, user: &str, password: &str) -> bool {
        self.postgres.lets_in(user, password).await.unwrap()
    }

    /// How many users OpenBao has made that are still there.
    async fn users(&self) -> usize {
        self.postgres.run("select 1 from pg_roles where rolname like 'v-%'").await.unwrap().len()
    }
}

#[tokio::test]
async fn the_example_lends_what_it_says() {
    let (stripe, mounted) = ("canary-stripe-51fa7c0e", "canary-mounted-9b1e44d2");
    let Some(world) = World::start(stripe, mounted).await else { return };
    let mut scene = world.scene(world.example()).await;
    let daemon = scene.start().await;

    assert_eq!(scene.lease(STRIPE).await.field("value"), stripe);
    let held = scene.lease(MOUNTED).await;
    assert_eq!((held.field("key"), held.version()), (mounted, "1"));

    let user = scene.lease(USER).await;
    let (name, password) = (user.field("username").to_owned(), user.field("password").to_owned());
    assert!(world.lets_in(&name, &password).await);
    assert_eq!(user.irrevocable_until(), None);
    assert!(scene.listed("active").await.contains(&user.id));
    let end = |lease: &Value| lease["expires_at"].as_str().unwrap().parse::<Timestamp>().unwrap();
    let renewed = scene.run("workload", &format!("lease renew {} --ttl 30m -o json", user.id), "").await;
    assert_eq!(renewed.code, 0, "{renewed:?}");
    // OpenBao's role gives ten minutes, and is asked for more.
    assert!(end(&renewed.json()) > end(&user.lease), "{renewed:?}");
    assert!(world.lets_in(&name, &password).await);
    let revoked = scene.run("workload", &format!("lease revoke {}", user.id), "").await;
    assert_eq!(revoked.code, 0, "{revoked:?}");
    until("the user is dropped", async || !world.lets_in(&name, &password).await).await;
    until("the lease is revoked", async || scene.listed("revoked").await.contains(&user.id)).await;

    let short = scene.lease_for(USER, "--ttl 2s").await;
    let (name, password) = (short.field("username").to_owned(), short.field("password").to_owned());
    until("its time ends it", async || !world.lets_in(&name, &password).await).await;
    until("it has expired", async || scene.listed("expired").await.contains(&short.id)).await;
    assert_eq!(world.users().await, 0);

    let certificate = scene.lease(CERTIFICATE).await;
    assert!(certificate.field("certificate").starts_with("-----BEGIN CERTIFICATE-----"));
    assert_eq!(certificate.version(), certificate.field("serial_number"));
    assert_eq!(certificate.irrevocable_until(), None, "the serial number revokes it");
    scene.operator(&format!("lease revoke {}", certificate.id)).await;
    let path = format!("platform/pki/cert/{}", certificate.version());
    until("it is on the list", async || {
        let stored = world.bao.ask("GET", &path, None).await.unwrap();
        stored.pointer("/data/revocation_time").and_then(Value::as_i64).is_some_and(|time| time > 0)
    })
    .await;

    let second = scene.canary("written");
    let version = scene.put(STRIPE, &second).await;
    assert_eq!(version, "2");
    let listed = scene.operator(&format!("secret versions {STRIPE}")).await;
    assert_eq!(listed[0]["version"], "2", "{listed}");
    scene.close(daemon).await;
}

#[tokio::test]
async fn a_certificate_that_nothing_can_revoke_says_so_everywhere() {
    let Some(world) = World::start("canary-a-0c11d3", "canary-b-77ab01").await else { return };
    let without = world.example().without_of_role("web-certificate", "revoke_path");
    let mut scene = world.scene(without).await;
    let daemon = scene.start().await;
    let certificate = scene.lease(CERTIFICATE).await;
    let end = certificate.irrevocable_until().unwrap().to_owned();
    let shown = scene.run("workload", &format!("lease show {}", certificate.id), "").await;
    assert!(shown.out.contains("revocation") && shown.out.contains("none until"), "{shown:?}");
    let records = scene.records("lease.issued", &format!("--lease {}", certificate.id)).await;
    assert_eq!(records[0]["details"]["revocation"], format!("none until {end}"), "{records:?}");
    scene.close(daemon).await;
}

#[tokio::test]
async fn a_user_whose_answer_was_under_way_in_a_crash_is_dropped() {
    let Some(world) = World::start("canary-a-5e0b27", "canary-b-c2c2aa").await else { return };
    let mut scene = world.scene(world.example().provider("vault-main", "call_timeout", "3s")).await;
    let daemon = scene.start().await;
    let kept = scene.lease(USER).await;
    let (name, password) = (kept.field("username").to_owned(), kept.field("password").to_owned());

    world.proxy.inject(Injection::of(Fault::Stall).on("/v1/database/creds/payments").times(1));
    let asking = tokio::spawn({
        let command = scene.site.leasehold("workload");
        let mut command = tokio::process::Command::from(command);
        command.args(["lease", "get", USER, "--field", "password"]).kill_on_drop(true);
        async move { command.output().await.unwrap() }
    });
    until("OpenBao has made the user", async || world.users().await == 2).await;
    daemon.kill();
    let asked = asking.await.unwrap();
    assert!(!asked.status.success() && asked.stdout.is_empty(), "somebody got it");
    world.proxy.cut_connections();
    world.proxy.heal();

    world.deliver_secret_id(&mut scene).await;
    let daemon = scene.start().await;
    patiently("the user that nobody got is dropped", async || world.users().await == 1).await;
    assert!(world.lets_in(&name, &password).await, "somebody else's was ended");
    patiently("the lease is over", async || scene.listed("revoked").await.len() == 1).await;
    let revoked = scene.listed("revoked").await.remove(0);
    assert_ne!(revoked, kept.id);
    let records = scene.operator(&format!("audit query --lease {revoked}")).await;
    let kinds: Vec<_> = records.as_array().unwrap().iter().map(|record| &record["kind"]).collect();
    assert_eq!(kinds.first().unwrap().as_str(), Some("lease.attempted"), "{kinds:?}");
    assert_eq!(kinds.last().unwrap().as_str(), Some("lease.revoked"), "{kinds:?}");
    scene.operator(&format!("lease revoke {}", kept.id)).await;
    until("nobody is left", async || world.users().await == 0).await;
    scene.close(daemon).await;
}

#[tokio::test]
async fn what_vault_has_revoked_is_seen() {
    let Some(world) = World::start("canary-a-3d9f10", "canary-b-10aa4c").await else { return };
    let mut scene = world.scene(world.example().provider("vault-main", "upstream_check", "1s")).await;
    let daemon = scene.start().await;
    let [renewed, idle] = [scene.lease(USER).await, scene.lease(USER).await];
    let leases =
        world.bao.ask("LIST", "platform/sys/leases/lookup/database/creds/payments", None).await.unwrap();
    for lease in leases.pointer("/data/keys").and_then(Value::as_array).unwrap() {
        let id = format!("database/creds/payments/{}", lease.as_str().unwrap());
        world.tell("sys/leases/revoke", json!({ "lease_id": id, "sync": true })).await;
    }
    assert_eq!(world.users().await, 0);

    // At the next renewal, and without one when the broker looks.
    let why = scene.refused("workload", &format!("lease renew {}", renewed.id)).await;
    assert!(why.contains("LEASE_REVOKED"), "{why}");
    for lease in [&renewed, &idle] {
        patiently("the lease is over", async || {
            let shown = scene.operator(&format!("lease show {}", lease.id)).await;
            shown["state"] == "revoked" && shown["end_cause"] == "upstream"
        })
        .await;
    }
    scene.close(daemon).await;
}

#[tokio::test]
async fn while_it_is_sealed_what_is_known_is_lent_and_what_must_be_made_is_not() {
    let stripe = "canary-stripe-e0b1aa93";
    let Some(world) = World::start(stripe, "canary-mounted-17c3").await else { return };
    let neighbour = "[[provider]]\nname = \"local\"\nkind = \"local\"\n\
        [[secret]]\npath = \"prod/payments/neighbour\"\nprovider = \"local\"\nref = \"a\"\nmax_age = \"0s\"\n";
    let example =
        world.example().secret(STRIPE, "max_age", "1ms").secret(STRIPE, "max_stale", "1h").and(neighbour);
    let mut scene = world.scene(example).await;
    let daemon = scene.start().await;
    let near = scene.canary("the neighbour's");
    scene.put("prod/payments/neighbour", &near).await;
    assert_eq!(scene.lease(STRIPE).await.lease["stale_since"], Value::Null);

    world.bao.seal().await.unwrap();
    let stale = scene.lease(STRIPE).await;
    assert_eq!(stale.field("value"), stripe);
    assert!(stale.lease["stale_since"].is_string(), "{}", stale.lease);
    let records = scene.records("lease.issued", &format!("--lease {}", stale.id)).await;
    assert!(records[0]["details"]["stale_for"].is_string(), "{records:?}");
    let workload = leasehold_tests::daemon::workload(&scene.site).await;
    for secret in [USER, MOUNTED] {
        let issue = leasehold_client::Issue {
            secret: secret.parse().unwrap(),
            ttl: None,
            fields: Vec::new(),
            request_id: None,
        };
        let error = workload.issue_lease(issue).await.unwrap_err();
        assert_eq!(error.reason(), Some("PROVIDER_UNAVAILABLE"), "{secret}: {error}");
        assert_eq!(error.provider(), Some("vault-main"), "{secret}: {error}");
        assert!(error.retry_after().is_some_and(|after| after > Duration::ZERO), "{secret}: {error:?}");
    }
    assert_eq!(scene.lease("prod/payments/neighbour").await.field("value"), near);

    world.bao.unseal().await.unwrap();
    patiently("it works again", async || workload_gets(&mut scene, USER).await).await;
    patiently("it is fresh again", async || scene.lease(STRIPE).await.lease["stale_since"].is_null()).await;
    scene.close(daemon).await;
}

async fn workload_gets(scene: &mut Scene, secret: &str) -> bool {
    scene.run("workload", &format!("lease get {secret}"), "").await.code == 0
}

#[tokio::test]
async fn the_policy_of_the_example_is_enough_and_what_is_taken_out_is_named() {
    let Some(world) = World::start("canary-a-c4b8d2", "canary-b-06e1f9").await else { return };
    let mut scene = world.scene(world.example()).await;
    let daemon = scene.start().await;
    let findings = scene.checked("vault-main").await;
    let steps = findings.iter().filter(|finding| finding["verdict"] != "not tried").count();
    assert!(steps >= 8, "{findings:#?}");

    let policy = beside("vault/policy.hcl");
    let missing = "path \"database/creds/payments\" { capabilities = [\"read\"] }";
    assert!(policy.contains(missing));
    world.allow(&policy.replace(missing, "")).await;
    let ran = scene.run("operator", "provider check vault-main", "").await;
    assert!(ran.code == 1 && ran.out.contains(missing), "{ran:?}");
    assert!(daemon.stop().await.success());

    // Without a broker. Each opens the wrapped secret id anew.
    world.deliver_secret_id(&mut scene).await;
    let ran = scene.check_live().await;
    let said = format!("{}{}", ran.out, ran.err);
    assert!(ran.code != 0 && said.contains(missing), "{said}");
    world.allow(&policy).await;
    world.deliver_secret_id(&mut scene).await;
    let ran = scene.check_live().await;
    assert_eq!(ran.code, 0, "{ran:?}");

    world.deliver_secret_id(&mut scene).await;
    let daemon = scene.start().await;
    scene.close(daemon).await;
}
