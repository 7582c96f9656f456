//! Labels and deletion: what moto does otherwise than AWS, and answers that are lost on the way, by script.

use std::sync::atomic::{AtomicU64, Ordering};

use leasehold_core::{
    SecretValue,
    ports::Provider,
    provider::{Change, ChangeSecret, ErrorClass, ProviderError, Stage, VersionState, WriteVersion},
    secret::VersionId,
};
use leasehold_provider_aws::AwsProvider;
use leasehold_provider_conformance::scripted::{Answer, Reply, Request, ScriptedServer, aws};
use serde_json::{Value, json};

use crate::setup::provider;

const OLD: &str = "11111111-2222-4333-8444-555555555555";
const NEW: &str = "99999999-2222-4333-8444-555555555555";

async fn change(provider: &AwsProvider, change: Change, version: Option<&str>) -> Result<(), ProviderError> {
    let version = version.map(|version| version.parse::<VersionId>().unwrap());
    provider.change(ChangeSecret { reference: "a", version: version.as_ref(), change, expected: None }).await
}

fn done() -> Reply {
    Reply::Answer(Answer::json(200, "{}"))
}

/// The bodies of the calls of one operation, in order.
fn bodies(server: &ScriptedServer, operation: &str) -> Vec<Value> {
    let operation = format!("secretsmanager.{operation}");
    server
        .requests()
        .iter()
        .filter(|request| aws::operation(request) == operation)
        .map(Request::json)
        .collect()
}

#[tokio::test]
async fn versions_are_listed_page_by_page_with_deprecated_ones() {
    let server = ScriptedServer::start(|request, _| match &*aws::operation(request) {
        "secretsmanager.DescribeSecret" => aws::described(),
        _ if request.json()["NextToken"] == "more" => aws::versions(&[(NEW, &["AWSCURRENT"])], None),
        _ => aws::versions(&[(OLD, &[])], Some("more")),
    })
    .await
    .unwrap();
    let (provider, _home) = provider(&server.url(), |_| {});
    let listed = provider.versions("a").await.unwrap();
    let mut shown: Vec<_> = listed.iter().map(|facts| (facts.version.as_str(), facts.current)).collect();
    shown.sort();
    assert_eq!(shown, [(OLD, false), (NEW, true)]);
    assert!(listed.iter().all(|facts| facts.state == VersionState::Enabled));
    let asked = bodies(&server, "ListSecretVersionIds");
    assert!(asked.len() == 2 && asked.iter().all(|body| body["IncludeDeprecated"] == true), "{asked:?}");
}

#[tokio::test]
async fn promoting_moves_current_and_takes_pending_away() {
    let server = ScriptedServer::start(|request, _| match &*aws::operation(request) {
        "secretsmanager.DescribeSecret" => aws::described(),
        "secretsmanager.ListSecretVersionIds" => {
            aws::versions(&[(OLD, &["AWSCURRENT"]), (NEW, &["AWSPENDING"])], None)
        }
        _ => done(),
    })
    .await
    .unwrap();
    let (provider, _home) = provider(&server.url(), |_| {});
    change(&provider, Change::Promote, Some(NEW)).await.unwrap();
    let moved = json!({
        "SecretId": "a", "VersionStage": "AWSCURRENT", "RemoveFromVersionId": OLD, "MoveToVersionId": NEW,
    });
    let taken = json!({ "SecretId": "a", "VersionStage": "AWSPENDING", "RemoveFromVersionId": NEW });
    assert_eq!(bodies(&server, "UpdateSecretVersionStage"), [moved, taken]);
    let absent = change(&provider, Change::Promote, Some("00000000-2222-4333-8444-555555555555")).await;
    assert_eq!(absent.unwrap_err().class, ErrorClass::Absent);
    let odd = change(&provider, Change::Promote, Some("AWSPENDING")).await;
    assert_eq!(odd.unwrap_err().class, ErrorClass::Invalid);
}

#[tokio::test]
async fn what_was_made_current_meanwhile_is_not_replaced() {
    let server = ScriptedServer::start(|request, _| match &*aws::operation(request) {
        "secretsmanager.DescribeSecret" => aws::described(),
        _ => aws::versions(&[(OLD, &["AWSCURRENT"]), (NEW, &["AWSPENDING"])], None),
    })
    .await
    .unwrap();
    let (provider, _home) = provider(&server.url(), |_| {});
    let (version, expected) = (NEW.parse().unwrap(), "00000000-2222-4333-8444-555555555555".parse().unwrap());
    let over = ChangeSecret {
        reference: "a",
        version: Some(&version),
        change: Change::Promote,
        expected: Some(&expected),
    };
    let refused = provider.change(over).await.unwrap_err();
    assert_eq!(refused.class, ErrorClass::Invalid, "{refused}");
    assert!(bodies(&server, "UpdateSecretVersionStage").is_empty());
}

#[tokio::test]
async fn discarding_takes_pending_away_and_nothing_else() {
    let server = ScriptedServer::start(|request, _| match &*aws::operation(request) {
        "secretsmanager.ListSecretVersionIds" => {
            aws::versions(&[(OLD, &["AWSCURRENT"]), (NEW, &["AWSPENDING", "LIVE"])], None)
        }
        _ => done(),
    })
    .await
    .unwrap();
    let (provider, _home) = provider(&server.url(), |_| {});
    provider.discard("a", &NEW.parse().unwrap()).await.unwrap();
    let taken = json!({ "SecretId": "a", "VersionStage": "AWSPENDING", "RemoveFromVersionId": NEW });
    assert_eq!(bodies(&server, "UpdateSecretVersionStage"), [taken]);
    let current = provider.discard("a", &OLD.parse().unwrap()).await.unwrap_err();
    assert_eq!(current.class, ErrorClass::Invalid);
}

#[tokio::test]
async fn a_promotion_whose_answer_was_lost_has_happened() {
    for (now, class) in [(NEW, None), ("00000000-2222-4333-8444-555555555555", Some(ErrorClass::Invalid))] {
        let server = ScriptedServer::start(move |request, _| match &*aws::operation(request) {
            "secretsmanager.DescribeSecret" => aws::described(),
            "secretsmanager.ListSecretVersionIds" => {
                aws::versions(&[(OLD, &["AWSCURRENT"]), (NEW, &[])], None)
            }
            "secretsmanager.GetSecretValue" => aws::secret(now, "x"),
            _ => Reply::Answer(aws::failure(400, "InvalidParameterException", "the label is not there")),
        })
        .await
        .unwrap();
        let (provider, _home) = provider(&server.url(), |_| {});
        let answer = change(&provider, Change::Promote, Some(NEW)).await;
        assert_eq!(answer.err().map(|error| error.class), class);
    }
}

#[tokio::test]
async fn a_pending_write_on_another_version_than_expected_is_not_made() {
    let server = ScriptedServer::start(|request, _| match &*aws::operation(request) {
        "secretsmanager.GetSecretValue" => aws::secret(OLD, "x"),
        _ => Reply::Answer(Answer::json(200, format!(r#"{{"VersionId":"{NEW}"}}"#))),
    })
    .await
    .unwrap();
    let (provider, _home) = provider(&server.url(), |_| {});
    let value = SecretValue::plain("new".to_owned());
    let write = async |expected: &str| {
        let expected: VersionId = expected.parse().unwrap();
        let write = WriteVersion {
            reference: "a",
            value: &value,
            token: NEW,
            expected: Some(&expected),
            stage: Stage::Pending,
        };
        provider.write(write).await
    };
    let refused = write("00000000-2222-4333-8444-555555555555").await.unwrap_err();
    assert_eq!(refused.class, ErrorClass::Invalid, "{refused}");
    assert!(bodies(&server, "PutSecretValue").is_empty());
    assert_eq!(write(OLD).await.unwrap().as_str(), NEW);
    assert_eq!(bodies(&server, "PutSecretValue")[0]["VersionStages"], json!(["AWSPENDING"]));
}

#[tokio::test]
async fn a_deletion_whose_answer_was_lost_has_happened_and_only_what_is_deleted_is_purged() {
    let described = AtomicU64::new(0);
    let server = ScriptedServer::start(move |request, _| match &*aws::operation(request) {
        "secretsmanager.DescribeSecret" => {
            described.fetch_add(1, Ordering::SeqCst);
            aws::described()
        }
        _ => Reply::Answer(aws::failure(400, "InvalidRequestException", "it is scheduled for deletion")),
    })
    .await
    .unwrap();
    let (provider, _home) = provider(&server.url(), |config| config.recovery_window_days = 7);
    change(&provider, Change::Delete, None).await.unwrap();
    assert_eq!(bodies(&server, "DeleteSecret")[0]["RecoveryWindowInDays"], 7);
    change(&provider, Change::Restore, None).await.unwrap();
    assert!(bodies(&server, "RestoreSecret").is_empty(), "it is there");
    let refused = change(&provider, Change::Purge, None).await.unwrap_err();
    assert_eq!(refused.class, ErrorClass::Invalid);
    assert!(refused.to_string().contains("delete it first"), "{refused}");
    assert_eq!(bodies(&server, "DeleteSecret").len(), 1);
    for impossible in [Change::Disable, Change::Enable, Change::Destroy] {
        let refused = change(&provider, impossible, Some(OLD)).await.unwrap_err();
        assert_eq!(refused.class, ErrorClass::Permanent, "{impossible}");
    }
}
