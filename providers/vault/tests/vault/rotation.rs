//! What Vault rotates by itself: static roles and the database engine's own user, of a real OpenBao over a real PostgreSQL.

use std::time::Duration;

use leasehold_core::{
    SecretValue,
    ports::{NativeRotation, Provider},
    provider::{
        Change, ChangeSecret, Demand, ErrorClass, Fetch, Fetched, Followed, ProviderError, Stage, Verdict,
        WriteVersion,
    },
    secret::VersionId,
};
use leasehold_provider_conformance::{
    peers::{Bao, Postgres, or_skip},
    proxy::{Fault, FaultProxy, Injection},
};
use leasehold_provider_vault::{VaultConfig, VaultProvider};
use serde_json::{Value, json};
use toml::Table;

use crate::kit::{Home, dev, field, policy, provider};

const KEEPER: &str = "database/static-creds/keeper";
const ROOT: &str = "database/config/own";

struct World {
    bao: Bao,
    postgres: Postgres,
    home: Home,
}

impl World {
    /// A static role, and a connection whose own user is nobody else's.
    async fn start() -> Option<Self> {
        let bao = dev().await?;
        let postgres = or_skip(Postgres::start().await).unwrap()?;
        bao.mount_database("database", &postgres).await.unwrap();
        postgres
            .run("create role keeper login; create role own superuser login password 'as-it-was-71b0'")
            .await
            .unwrap();
        bao.add_static_role("database", "keeper", "keeper").await.unwrap();
        let connection = json!({
            "plugin_name": "postgresql-database-plugin", "allowed_roles": "*",
            "connection_url": postgres.connection_url(), "username": "own", "password": "as-it-was-71b0",
        });
        bao.ask("POST", ROOT, Some(&connection)).await.unwrap();
        Some(Self { bao, postgres, home: Home::new() })
    }

    fn provider(&self, token: &str) -> VaultProvider {
        provider(VaultConfig { writable: true, ..self.home.with_token(self.bao.url(), token) })
    }

    async fn lets_in(&self, fetched: &Fetched) -> bool {
        let (user, password) = (field(&fetched.value, "username"), field(&fetched.value, "password"));
        self.postgres.lets_in(&user, &password).await.unwrap()
    }
}

async fn read(provider: &VaultProvider, version: Option<&VersionId>) -> Result<Fetched, ProviderError> {
    provider.fetch(Fetch { reference: KEEPER, version }).await
}

async fn change(provider: &VaultProvider, change: Change, version: &VersionId) -> Result<(), ProviderError> {
    let request = ChangeSecret { reference: KEEPER, version: Some(version), change, expected: None };
    provider.change(request).await
}

fn native(provider: &VaultProvider) -> &dyn NativeRotation {
    provider.native().unwrap()
}

#[tokio::test]
async fn a_static_roles_old_password_is_dead_when_its_rotation_is_done() {
    let Some(world) = World::start().await else { return };
    let provider = world.provider(world.bao.token());
    let old = read(&provider, None).await.unwrap();
    assert!(world.lets_in(&old).await && old.created_at.is_some());
    assert_eq!(
        old.value.fields.len(),
        2,
        "what is said of it is no part of it: {:?}",
        old.value.fields.keys()
    );
    assert_eq!(read(&provider, Some(&old.version)).await.unwrap().version, old.version);
    let current = change(&provider, Change::Disable, &old.version).await.unwrap_err();
    assert_eq!(current.class, ErrorClass::Invalid, "{current}");

    native(&provider).start(KEEPER, "prod.db-1").await.unwrap();
    let come = native(&provider).follow(KEEPER, "prod.db-1", Some(&old.version)).await.unwrap();
    let new = read(&provider, None).await.unwrap();
    assert_eq!(come, Followed::Done(new.version.clone()));
    assert!(world.lets_in(&new).await && !world.lets_in(&old).await);
    let listed = provider.versions(KEEPER).await.unwrap();
    assert!(listed.len() == 1 && listed[0].current && listed[0].version == new.version, "{listed:?}");

    assert_eq!(read(&provider, Some(&old.version)).await.unwrap_err().class, ErrorClass::Absent);
    for retire in [Change::Disable, Change::Destroy, Change::Disable] {
        change(&provider, retire, &old.version).await.unwrap();
    }
    assert_eq!(
        change(&provider, Change::Enable, &old.version).await.unwrap_err().class,
        ErrorClass::Permanent
    );
    let odd = "7".parse().unwrap();
    assert_eq!(read(&provider, Some(&odd)).await.unwrap_err().class, ErrorClass::Invalid);
    let value = SecretValue::plain("mine".to_owned());
    let write =
        WriteVersion { reference: KEEPER, value: &value, token: "t", expected: None, stage: Stage::Current };
    assert_eq!(provider.write(write).await.unwrap_err().class, ErrorClass::Permanent);

    // Another broker, or this one after its own death, sees what has happened though it did not start it.
    let other = world.provider(world.bao.token());
    let seen = native(&other).follow(KEEPER, "prod.db-1", Some(&old.version)).await.unwrap();
    assert_eq!(seen, Followed::Done(new.version.clone()));
    let idle = native(&other).follow(KEEPER, "prod.db-2", Some(&new.version)).await.unwrap();
    assert_eq!(idle, Followed::Running);
}

#[tokio::test]
async fn the_engines_own_user_is_rotated_and_never_read() {
    let Some(world) = World::start().await else { return };
    let provider = world.provider(world.bao.token());
    let was = async || world.postgres.lets_in("own", "as-it-was-71b0").await.unwrap();
    assert!(was().await);
    let version = provider.versions(ROOT).await.unwrap()[0].version.clone();
    assert_eq!(native(&provider).follow(ROOT, "root-1", Some(&version)).await.unwrap(), Followed::Running);
    for _ in 0..2 {
        native(&provider).start(ROOT, "root-1").await.unwrap();
        let come = native(&provider).follow(ROOT, "root-1", Some(&version)).await.unwrap();
        assert_eq!(come, Followed::Done(version.clone()));
    }
    assert!(!was().await, "the password that everybody knew is dead");
    let refused = provider.fetch(Fetch { reference: ROOT, version: None }).await.unwrap_err();
    assert_eq!(refused.class, ErrorClass::Permanent);
    let refused = provider.fetch(Fetch { reference: ROOT, version: Some(&version) }).await.unwrap_err();
    assert_eq!(refused.class, ErrorClass::Absent);
    // And Vault goes on working with the one that only it knows.
    native(&provider).start(ROOT, "root-2").await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_rotated_is_told_in_its_class() {
    let Some(world) = World::start().await else { return };
    let provider = world.provider(world.bao.token());
    let start = async |reference: &str| native(&provider).start(reference, "t").await.unwrap_err();
    assert_eq!(start("secret/data/a").await.class, ErrorClass::Invalid);
    assert_eq!(start("kv1:old/a").await.class, ErrorClass::Invalid);
    assert_eq!(start("database/static-creds/nobody").await.class, ErrorClass::Permanent);
    assert_eq!(start("database/config/nobody").await.class, ErrorClass::Permanent);

    // The user is gone behind Vault's back: Vault is well, and its database is not.
    let before = read(&provider, None).await.unwrap().version;
    world.postgres.run("drop role keeper").await.unwrap();
    let failed = start(KEEPER).await;
    assert!(failed.class == ErrorClass::Transient && failed.is_behind(), "{failed:?}");
    assert_eq!(native(&provider).follow(KEEPER, "t", Some(&before)).await.unwrap(), Followed::Running);
    world.postgres.run("create role keeper login").await.unwrap();
    native(&provider).start(KEEPER, "t").await.unwrap();
    let come = native(&provider).follow(KEEPER, "t", Some(&before)).await.unwrap();
    assert!(matches!(come, Followed::Done(_)), "{come:?}");

    let reader = crate::kit::provider(world.home.with_token(world.bao.url(), world.bao.token()));
    assert!(reader.native().is_none() && !reader.capabilities().rotate);
}

#[tokio::test]
async fn a_rotation_whose_answer_was_lost_is_seen_and_one_that_never_arrived_is_not() {
    let Some(world) = World::start().await else { return };
    let proxy = FaultProxy::start(world.bao.address()).await.unwrap();
    let provider =
        provider(VaultConfig { writable: true, ..world.home.with_token(proxy.url(), world.bao.token()) });
    let before = read(&provider, None).await.unwrap();
    let follow = async |token| native(&provider).follow(KEEPER, token, Some(&before.version)).await.unwrap();
    for (fault, token) in [(Fault::CutBefore, "never"), (Fault::LoseAnswer, "lost")] {
        proxy.inject(Injection::of(fault).on("POST /v1/database/rotate-role/").times(1));
        let cut = native(&provider).start(KEEPER, token).await.unwrap_err();
        assert_eq!(cut.class, ErrorClass::Transient, "{token}: {cut}");
        let arrived = token == "lost";
        assert_eq!(follow(token).await != Followed::Running, arrived, "{token}");
        assert_eq!(world.lets_in(&before).await, !arrived, "{token}");
    }
    assert!(world.lets_in(&read(&provider, None).await.unwrap()).await);
}

#[tokio::test]
async fn values_are_made_by_vaults_password_policies() {
    let Some(bao) = dev().await else { return };
    let rule = "length = 20\nrule \"charset\" { charset = \"abc123\" }";
    bao.ask("PUT", "sys/policies/password/few", Some(&json!({ "policy": rule }))).await.unwrap();
    let home = Home::new();
    let provider = provider(home.with_token(bao.url(), bao.token()));
    let (one, other) = (provider.generate("few").await.unwrap(), provider.generate("few").await.unwrap());
    assert!(one.len() == 20 && one.expose().iter().all(|byte| b"abc123".contains(byte)));
    assert_ne!(one.expose(), other.expose());
    for (name, class) in [
        ("none", ErrorClass::Absent),
        ("../acl/root", ErrorClass::Invalid),
        ("", ErrorClass::Invalid),
        ("..", ErrorClass::Invalid),
        ("a?b", ErrorClass::Invalid),
    ] {
        let error = provider.generate(name).await.unwrap_err();
        assert_eq!(error.class, class, "{name}: {error}");
    }
}

#[tokio::test]
async fn a_check_names_the_lines_that_a_rotation_needs_and_they_are_enough() {
    let Some(world) = World::start().await else { return };
    let demands = [
        Demand::Read { reference: KEEPER.into() },
        Demand::Read { reference: ROOT.into() },
        Demand::Write { reference: KEEPER.into() },
        Demand::Rotate { reference: KEEPER.into() },
        Demand::Rotate { reference: ROOT.into() },
        Demand::Rotate { reference: "secret/data/a".into() },
    ];
    let allow = async |lines: &str| {
        policy(&world.bao, "rotating", lines).await;
        let token = world.bao.make_token(&["rotating"], Duration::from_secs(600)).await.unwrap();
        let provider = world.provider(&token);
        let findings = provider.check(&demands).await;
        let told = findings.into_iter().filter(|finding| {
            demands.iter().any(|demand| match demand {
                Demand::Read { reference } => finding.step == format!("read `{reference}`"),
                Demand::Write { reference } => finding.step == format!("write `{reference}`"),
                Demand::Rotate { reference } => finding.step == format!("rotate `{reference}`"),
                Demand::Generate { .. } | Demand::Issue { .. } => false,
            })
        });
        (provider, told.map(|finding| finding.verdict).collect::<Vec<_>>())
    };
    let (_, bare) = allow("path \"secret/data/other\" { capabilities = [\"read\"] }").await;
    let mut lines = String::new();
    for verdict in &bare {
        if let Verdict::Failed { grant: Some(grant), .. } = verdict {
            lines.push_str(grant);
            lines.push('\n');
        }
    }
    for line in [
        "path \"database/static-creds/keeper\" { capabilities = [\"read\"] }",
        "path \"database/rotate-role/keeper\" { capabilities = [\"update\"] }",
        "path \"database/rotate-root/own\" { capabilities = [\"update\"] }",
    ] {
        assert!(lines.contains(line), "{line} is not in {lines}");
    }
    assert_eq!(lines.lines().count(), 3, "{lines}");
    let (provider, verdicts) = allow(&lines).await;
    let [read, root, write, rotate, rotate_root, kv] = &verdicts[..] else { panic!("{verdicts:?}") };
    assert!(matches!(read, Verdict::Passed(_)) && matches!(rotate, Verdict::Passed(_)), "{verdicts:?}");
    assert!(matches!(rotate_root, Verdict::Passed(_)), "{verdicts:?}");
    assert!(matches!(root, Verdict::NotTried(_)) && matches!(write, Verdict::NotTried(_)), "{verdicts:?}");
    assert!(matches!(kv, Verdict::Failed { .. }), "{verdicts:?}");
    native(&provider).start(KEEPER, "t").await.unwrap();
    native(&provider).start(ROOT, "t").await.unwrap();
}

/// What the catalog of an example asks for.
fn demands(example: &str) -> Vec<Demand> {
    let example: Table = example.parse().unwrap();
    let mut demands = Vec::new();
    for secret in example["secret"].as_array().unwrap() {
        if secret["provider"].as_str() != Some("vault-main") {
            continue;
        }
        let reference = || secret["ref"].as_str().unwrap().into();
        demands.push(Demand::Read { reference: reference() });
        demands.push(match secret["rotation"]["strategy"].as_str().unwrap() {
            "provider-native" => Demand::Rotate { reference: reference() },
            _ => Demand::Write { reference: reference() },
        });
        let generator = secret["rotation"].get("generator");
        if let Some(policy) = generator.and_then(|generator| generator.get("policy")?.as_str()) {
            demands.push(Demand::Generate { policy: policy.into() });
        }
    }
    demands
}

#[tokio::test]
async fn each_line_of_the_examples_policies_is_needed_and_all_are_enough() {
    let Some(world) = World::start().await else { return };
    world.bao.mount_kv("kv", 2).await.unwrap();
    for name in ["cookie-key", "partner-password"] {
        let data = json!({ "data": { "value": "first" } });
        world.bao.ask("POST", &format!("kv/data/payments/{name}"), Some(&data)).await.unwrap();
    }
    let rule = json!({ "policy": "length = 20\nrule \"charset\" { charset = \"abc123\" }" });
    world.bao.ask("PUT", "sys/policies/password/partners", Some(&rule)).await.unwrap();
    world.postgres.run("create role report login").await.unwrap();
    world.bao.add_static_role("database", "report", "report").await.unwrap();
    for (example, lines) in [
        (
            include_str!("../../../../config/examples/rotation-generate.toml"),
            include_str!("../../../../config/examples/rotation-generate/policy.hcl"),
        ),
        (
            include_str!("../../../../config/examples/rotation-native.toml"),
            include_str!("../../../../config/examples/rotation-native/policy.hcl"),
        ),
    ] {
        let demands = demands(example);
        let failed = async |lines: &str| {
            policy(&world.bao, "example", lines).await;
            let request = json!({ "policies": ["example"], "no_default_policy": true });
            let made = world.bao.ask("POST", "auth/token/create", Some(&request)).await.unwrap();
            let token = made.pointer("/auth/client_token").and_then(Value::as_str).unwrap();
            let findings = world.provider(token).check(&demands).await;
            let problems = findings.into_iter().filter(|finding| finding.is_failed());
            problems.map(|finding| format!("{finding:?}")).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(failed(lines).await, "", "with the whole policy");
        let needed: Vec<_> = lines
            .lines()
            .filter(|line| {
                line.starts_with("path \"")
                    && !line.contains("auth/token/")
                    && !line.contains("sys/capabilities")
            })
            .collect();
        assert!(needed.len() >= 3, "{needed:?}");
        for line in needed {
            let problems = failed(&lines.replace(line, "")).await;
            let path = line.split('"').nth(1).unwrap();
            assert!(problems.contains(path), "without {path}: {problems}");
        }
    }
}
