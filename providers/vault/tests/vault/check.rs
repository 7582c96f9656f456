//! What `check` says, and that the policy which ships beside the example is what the example needs: all of it, and no more.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use leasehold_core::{
    LeaseId, SecretValue, SpiffeId,
    ports::Provider,
    provider::{
        Change, ChangeSecret, Demand, Finding, IssueCredential, RenewCredential, Revocation,
        RevokeCredential, Stage, Verdict, WriteVersion,
    },
    secret::VersionId,
};
use leasehold_provider_conformance::{
    authority::Authority,
    peers::{Bao, Postgres, or_skip},
    scripted::{Answer, Reply, ScriptedServer, vault},
};
use leasehold_provider_vault::{Auth, Method, VaultConfig, VaultProvider, VaultRole};
use serde_json::{Value, json};
use toml::Table;

use crate::kit::{Dice, Home, Wall, dev, policy, provider, put, quick};

const EXAMPLE: &str = include_str!("../../../../config/examples/vault.toml");
const POLICY: &str = include_str!("../../../../config/examples/vault/policy.hcl");

fn text<'t>(table: &'t Table, key: &str) -> Option<&'t str> {
    table.get(key).and_then(toml::Value::as_str)
}

fn tables<'t>(example: &'t Table, key: &str) -> Vec<&'t Table> {
    example[key].as_array().unwrap().iter().filter_map(toml::Value::as_table).collect()
}

/// The example's roles.
fn roles(example: &Table) -> BTreeMap<String, VaultRole> {
    let role = |table: &&Table| {
        let parameters = table.get("parameters").and_then(toml::Value::as_table);
        let parameters =
            parameters.into_iter().flatten().map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned()));
        let role = VaultRole {
            method: text(table, "method").map_or(Method::Get, |method| Method::of(method).unwrap()),
            parameters: parameters.collect(),
            leased: table.get("leased").is_none_or(|leased| leased.as_bool().unwrap()),
            revoke_path: text(table, "revoke_path").map(str::to_owned),
            ..VaultRole::new(text(table, "path").unwrap())
        };
        (text(table, "name").unwrap().to_owned(), role)
    };
    tables(example, "role").iter().map(role).collect()
}

/// What the example's catalog asks.
fn demands(example: &Table) -> Vec<Demand> {
    let mut demands = Vec::new();
    for entry in tables(example, "secret").into_iter().chain(tables(example, "mount")) {
        match (text(entry, "ref"), text(entry, "role")) {
            (Some(reference), _) => {
                demands.push(Demand::Read { reference: reference.into() });
                demands.push(Demand::Write { reference: reference.into() });
            }
            (None, Some(role)) => demands.push(Demand::Issue { role: role.into() }),
            (None, None) => panic!("{entry:?}"),
        }
    }
    demands
}

/// A server as the example has it, without the namespace, with a broker that has the policy and nothing else.
async fn as_in_the_example() -> Option<(Bao, Postgres, Home, VaultProvider)> {
    let bao = dev().await?;
    let postgres = or_skip(Postgres::start().await).unwrap()?;
    bao.mount_kv("kv", 2).await.unwrap();
    bao.ask("POST", "kv/data/payments/stripe", Some(&json!({ "data": { "value": "hunter2" } })))
        .await
        .unwrap();
    bao.mount_database("database", &postgres).await.unwrap();
    let (ttl, max) = (Duration::from_secs(60), Duration::from_secs(600));
    bao.add_database_role("database", "payments", ttl, max).await.unwrap();
    bao.ask("POST", "sys/mounts/pki", Some(&json!({ "type": "pki" }))).await.unwrap();
    bao.ask("POST", "pki/root/generate/internal", Some(&json!({ "common_name": "root", "ttl": "24h" })))
        .await
        .unwrap();
    let web = json!({ "allowed_uri_sans": "spiffe://*", "require_cn": false, "max_ttl": "1h" });
    bao.ask("POST", "pki/roles/web", Some(&web)).await.unwrap();
    policy(&bao, "leasehold", POLICY).await;
    bao.ask("POST", "sys/auth/approle", Some(&json!({ "type": "approle" }))).await.unwrap();
    let role = json!({ "token_policies": ["leasehold"], "token_no_default_policy": true, "token_ttl": "1h" });
    bao.ask("POST", "auth/approle/role/broker", Some(&role)).await.unwrap();
    let string = |value: Value, pointer: &str| value.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    let role_id = bao.ask("GET", "auth/approle/role/broker/role-id", None).await.unwrap();
    let secret_id = bao.ask("POST", "auth/approle/role/broker/secret-id", None).await.unwrap();
    let home = Home::new();
    let auth = Auth::AppRole {
        mount: "approle".into(),
        role_id: string(role_id, "/data/role_id"),
        secret_id_file: Some(home.put("secret-id", &string(secret_id, "/data/secret_id"))),
        wrapped: false,
    };
    let roles = roles(&EXAMPLE.parse().unwrap());
    let config = VaultConfig { roles, writable: true, ..quick(VaultConfig::new(bao.url(), auth)) };
    Some((bao, postgres, home, provider(config)))
}

fn failed(findings: &[Finding]) -> Vec<&Finding> {
    findings.iter().filter(|finding| finding.is_failed()).collect()
}

fn grants(findings: &[Finding]) -> String {
    let grant = |finding: &Finding| match &finding.verdict {
        Verdict::Failed { grant: Some(lines), .. } => Some(lines.clone()),
        _ => None,
    };
    findings.iter().filter_map(grant).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn the_examples_policy_is_enough() {
    let Some((_bao, _postgres, _home, provider)) = as_in_the_example().await else { return };
    let example: Table = EXAMPLE.parse().unwrap();
    let findings = provider.check(&demands(&example)).await;
    assert_eq!(failed(&findings), Vec::<&Finding>::new());
    assert_eq!(findings.len(), 4 + demands(&example).len(), "{findings:#?}");

    // And to do it all, as the broker does.
    let reference = "kv/data/shared/tls";
    let version = |number: u64| number.to_string().parse::<VersionId>().unwrap();
    for (number, value) in [(1, "one"), (2, "two")] {
        let value = SecretValue::plain(value.to_owned());
        let request =
            WriteVersion { reference, value: &value, token: "t", expected: None, stage: Stage::Current };
        let token = number.to_string();
        assert_eq!(provider.write(WriteVersion { token: &token, ..request }).await.unwrap(), version(number));
    }
    assert_eq!(provider.versions(reference).await.unwrap().len(), 2);
    for change in [Change::Disable, Change::Enable, Change::Destroy] {
        let version = version(1);
        provider
            .change(ChangeSecret { reference, version: Some(&version), change, expected: None })
            .await
            .unwrap();
    }
    for change in [Change::Delete, Change::Restore, Change::Delete, Change::Purge] {
        provider.change(ChangeSecret { reference, version: None, change, expected: None }).await.unwrap();
    }
    let issuer = provider.issuer().unwrap();
    let holder: SpiffeId = "spiffe://example.org/prod/web".parse().unwrap();
    for role in roles(&example).keys() {
        let lease = LeaseId::from_bits([1; 16]);
        let reservation = issuer.reserve(role).await.unwrap();
        let (ttl, max_ttl) = (Duration::from_secs(60), Duration::from_secs(600));
        let reservation = reservation.as_ref();
        let issued = issuer
            .issue(IssueCredential { lease, holder: &holder, role, ttl, max_ttl, within: ttl, reservation })
            .await;
        let Revocation::By(handle) = issued.unwrap().revocation else { panic!("{role} is irrevocable") };
        if reservation.is_some() {
            let now = leasehold_core::ports::Clock::now(&Wall::default());
            let until = leasehold_core::ttl::after(now, Duration::from_secs(120));
            issuer.renew(RenewCredential { lease, handle: &handle, until }).await.unwrap();
            issuer.look_up(&handle).await.unwrap();
        }
        issuer.revoke(RevokeCredential { lease, handle: Some(&handle) }).await.unwrap();
    }
}

#[tokio::test]
async fn every_line_of_the_examples_policy_is_needed_and_is_named_when_it_is_missing() {
    let Some((bao, _postgres, _home, provider)) = as_in_the_example().await else { return };
    let demands = demands(&EXAMPLE.parse().unwrap());
    let lines: Vec<_> = POLICY.lines().filter(|line| line.starts_with("path ")).collect();
    assert!(lines.len() > 15, "{POLICY}");
    for line in &lines {
        let rest: Vec<_> = lines.iter().filter(|other| *other != line).copied().collect();
        policy(&bao, "leasehold", &rest.join("\n")).await;
        let findings = provider.check(&demands).await;
        assert!(grants(&findings).contains(line), "without {line}: {findings:#?}");
    }
    policy(&bao, "leasehold", POLICY).await;
    assert_eq!(failed(&provider.check(&demands).await), Vec::<&Finding>::new());
}

/// The one finding that failed, in words.
async fn complaint(provider: &VaultProvider, demands: &[Demand]) -> String {
    let findings = provider.check(demands).await;
    let failed = failed(&findings);
    assert_eq!(failed.len(), 1, "{findings:#?}");
    format!("{:?}", failed[0])
}

fn reading(reference: &str) -> Vec<Demand> {
    vec![Demand::Read { reference: reference.into() }]
}

#[tokio::test]
async fn what_is_wrong_is_told_apart() {
    let Some(bao) = dev().await else { return };
    put(&bao, "a", json!({ "value": "hunter2" })).await;
    policy(&bao, "reads", "path \"secret/data/*\" { capabilities = [\"read\"] }").await;
    let token = bao.make_token(&["reads"], Duration::from_secs(600)).await.unwrap();
    let home = Home::new();
    let config = home.with_token(bao.url(), &token);
    let told = async |config: VaultConfig, reference: &str, expected: &[&str]| {
        let said = complaint(&provider(config), &reading(reference)).await;
        for expected in expected {
            assert!(said.contains(expected), "{expected:?} is not in {said}");
        }
        assert!(!said.contains(&token), "{said}");
    };
    let good = provider(config.clone()).check(&reading("secret/data/a")).await;
    assert_eq!(failed(&good), Vec::<&Finding>::new());
    told(
        config.clone(),
        "secret/data/nothing",
        &["read `secret/data/nothing`", "no such secret", "write it"],
    )
    .await;
    let nowhere = VaultConfig { address: "http://127.0.0.1:1".into(), ..config.clone() };
    told(nowhere, "secret/data/a", &["reach http://127.0.0.1:1", "cannot be reached", "firewall"]).await;
    let elsewhere = VaultConfig { namespace: Some("nobody".into()), ..config.clone() };
    told(elsewhere, "secret/data/a", &["sign in (token)", "no such `namespace`"]).await;
    let stranger = ScriptedServer::start(|_, _| Reply::Answer(Answer::empty(404))).await.unwrap();
    let other = VaultConfig { address: stranger.url(), ..config.clone() };
    told(other, "secret/data/a", &["it is not Vault", "set `address`"]).await;
    for (status, expected) in [(503, "is sealed"), (501, "not initialised"), (429, "standby")] {
        let server = ScriptedServer::start(move |_, _| Reply::Answer(Answer::of(status, &json!({}))));
        let server = server.await.unwrap();
        let config = VaultConfig { address: server.url(), ..config.clone() };
        told(config, "secret/data/a", &["reach http", expected]).await;
    }
    let authority = Authority::new("theirs").unwrap();
    let tls =
        ScriptedServer::start_tls(&authority, &[], |_, _| Reply::Answer(vault::healthy())).await.unwrap();
    let ca_file = Some(home.put("ca.pem", &Authority::new("ours").unwrap().pem()));
    let untrusted = VaultConfig { address: tls.url(), ca_file, ..config.clone() };
    told(untrusted, "secret/data/a", &["certificate is not trusted", "set `ca_file`"]).await;
    let root = home.put("root-token", bao.token());
    let all_powerful = VaultConfig { auth: Auth::Token { file: root }, ..config.clone() };
    told(all_powerful, "secret/data/a", &["policy `root`"]).await;
    home.put("token", "s.nobody");
    told(config.clone(), "secret/data/a", &["sign in (token)", "put a token that is alive"]).await;
    home.put("token", &token);

    let wall = Wall::default();
    wall.0.store(-120, Ordering::SeqCst);
    let late = VaultProvider::new(config, Arc::new(wall), Arc::new(Dice)).unwrap();
    let said = complaint(&late, &reading("secret/data/a")).await;
    assert!(said.contains("compare clocks") && said.contains("s behind Vault's"), "{said}");
}

#[tokio::test]
async fn nothing_is_changed_and_what_follows_a_failure_is_not_tried() {
    let server = ScriptedServer::start(|request, before| match request.path() {
        "/v1/sys/health" => Reply::Answer(vault::healthy()),
        "/v1/sys/capabilities-self" => {
            let paths = request.json()["paths"].as_array().unwrap().clone();
            let all = json!(["create", "read", "update", "delete"]);
            let answer = paths.iter().map(|path| (path.as_str().unwrap().to_owned(), all.clone()));
            Reply::Answer(vault::data(&Value::Object(answer.collect())))
        }
        _ => vault::kv_of_one_value(request, before),
    });
    let server = server.await.unwrap();
    let home = Home::new();
    let config = VaultConfig {
        writable: true,
        roles: BTreeMap::from([("r".to_owned(), VaultRole::new("database/creds/r"))]),
        ..home.with_token(server.url(), "s.x")
    };
    let demands = [
        Demand::Read { reference: "kv/data/a".into() },
        Demand::Write { reference: "kv/data/{rest}".into() },
        Demand::Issue { role: "r".into() },
    ];
    let findings = provider(config.clone()).check(&demands).await;
    assert_eq!(failed(&findings), Vec::<&Finding>::new());
    for request in server.requests() {
        let asks = matches!(request.path(), "/v1/sys/capabilities-self");
        assert!(request.method() == "GET" || asks, "{} {}", request.method(), request.path());
    }
    let gone = VaultConfig { address: "http://127.0.0.1:1".into(), ..config };
    let findings = provider(gone).check(&demands).await;
    let untried = findings.iter().filter(|finding| matches!(finding.verdict, Verdict::NotTried(_))).count();
    assert_eq!(untried, demands.len(), "{findings:#?}");
}
