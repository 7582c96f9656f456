//! The example policy, judged by moto: the broker can do everything with it, and nothing more than it needs is in it.

use std::collections::BTreeMap;

use leasehold_core::{
    LeaseId, SecretValue,
    ports::Provider,
    provider::{Change, ChangeSecret, ErrorClass, IssueCredential, ProviderError, Stage, WriteVersion},
};
use leasehold_provider_aws::{AwsProvider, AwsRole, SessionRole};
use leasehold_provider_conformance::peers::{Moto, or_skip};
use serde_json::Value;

use crate::{
    clock::clock,
    setup::{UserKey, allow, config, fetch, iam, put_parameter, user},
    suite::client,
};

const POLICY: &str = include_str!("../../../../config/examples/aws/broker-policy.json");
const TRUST: &str = include_str!("../../../../config/examples/aws/lent-role-trust-policy.json");

/// What moto does not judge: it neither asks KMS nor looks at what else a session is made with.
const UNJUDGED: [&str; 4] = ["kms:Decrypt", "kms:GenerateDataKey", "sts:TagSession", "sts:SetSourceIdentity"];

/// The example without one action. moto judges roles by their ARNs, and all else as the resource `*`.
fn without(removed: &str) -> Value {
    let mut policy: Value = serde_json::from_str(POLICY).unwrap();
    let statements = policy["Statement"].as_array_mut().unwrap();
    for statement in &mut *statements {
        if statement["Sid"] != "LendSessions" {
            statement["Resource"] = "*".into();
        }
        statement["Action"].as_array_mut().unwrap().retain(|action| action != removed);
    }
    statements.retain(|statement| !statement["Action"].as_array().unwrap().is_empty());
    policy
}

fn actions() -> Vec<String> {
    let policy: Value = serde_json::from_str(POLICY).unwrap();
    let statements = policy["Statement"].as_array().unwrap().clone();
    let actions = statements.iter().flat_map(|statement| statement["Action"].as_array().unwrap().clone());
    actions.map(|action| action.as_str().unwrap().to_owned()).collect()
}

/// All that a broker ever asks for; the first that fails.
async fn do_everything(provider: &AwsProvider, round: u32) -> Result<(), ProviderError> {
    let reference = "payments/db";
    fetch(provider, reference).await?;
    provider.versions(reference).await?;
    let value = SecretValue::plain(format!("round {round}"));
    let token = format!("6f1ed002-ab5c-4a7e-8d2b-{round:012}");
    let write =
        WriteVersion { reference, value: &value, token: &token, expected: None, stage: Stage::Pending };
    let version = provider.write(write).await?;
    for (change, version) in
        [(Change::Promote, Some(&version)), (Change::Delete, None), (Change::Restore, None)]
    {
        provider.change(ChangeSecret { reference, version, change, expected: None }).await?;
    }
    // A token for each round, as AWS begins a rotation once for each.
    provider.native().unwrap().start("payments/rotated", &format!("rotated-{round}")).await?;
    provider.generate("length=20").await?;
    fetch(provider, "ssm:/payments/db").await?;
    provider.versions("ssm:/payments/db").await?;
    let holder = "spiffe://example.org/ci".parse().unwrap();
    let ttl = std::time::Duration::from_secs(900);
    let lease = LeaseId::from_bits([3; 16]);
    let ask = IssueCredential {
        lease,
        holder: &holder,
        role: "deploy",
        ttl,
        max_ttl: ttl,
        within: ttl,
        reservation: None,
    };
    provider.issuer().unwrap().issue(ask).await.map(drop)
}

fn provider(moto: &Moto, key: &UserKey) -> (AwsProvider, tempfile::TempDir) {
    let (mut config, home) = config(moto.url(), key);
    let role = SessionRole {
        arn: "arn:aws:iam::123456789012:role/payments-deploy".into(),
        external_id: Some("leasehold-payments".into()),
        ..SessionRole::default()
    };
    config.roles = BTreeMap::from([("deploy".to_owned(), AwsRole::AssumeRole(role))]);
    (AwsProvider::new(config, clock()).unwrap(), home)
}

#[tokio::test]
async fn the_example_policy_is_enough_and_every_line_of_it_is_needed() {
    let Some(moto) = or_skip(Moto::start().await).unwrap() else { return };
    let key = user(&moto, "broker").await.unwrap();
    let trust = TRUST.replace(":role/leasehold", ":user/broker");
    iam(&moto, "CreateRole", &[("RoleName", "payments-deploy"), ("AssumeRolePolicyDocument", &trust)])
        .await
        .unwrap();
    client(moto.url()).create_secret().name("payments/db").secret_string("first").send().await.unwrap();
    client(moto.url()).create_secret().name("payments/rotated").secret_string("first").send().await.unwrap();
    put_parameter(&moto, "/payments/db", "first").await;
    let (provider, _home) = provider(&moto, &key);

    moto.enforce_iam().await.unwrap();
    let error = fetch(&provider, "payments/db").await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Denied, "without any policy: {error}");

    let judged: Vec<_> = actions().into_iter().filter(|action| !UNJUDGED.contains(&&**action)).collect();
    assert_eq!(judged.len(), 12, "{judged:?}");
    for (round, removed) in (0..).zip(std::iter::once("").chain(judged.iter().map(String::as_str))) {
        moto.waive_iam().await.unwrap();
        allow(&moto, "broker", &without(removed)).await.unwrap();
        // A secret that an earlier round left deleted.
        client(moto.url()).restore_secret().secret_id("payments/db").send().await.unwrap();
        moto.enforce_iam().await.unwrap();
        match do_everything(&provider, round).await {
            Ok(()) => assert_eq!(removed, "", "{removed} is not needed"),
            Err(error) => {
                assert_eq!(error.class, ErrorClass::Denied, "without {removed:?}: {error}");
                let (_, call) = removed.split_once(':').unwrap_or(("", removed));
                assert!(!call.is_empty() && error.to_string().starts_with(call), "{removed}: {error}");
            }
        }
    }
}
