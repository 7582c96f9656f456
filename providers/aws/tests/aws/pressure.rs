//! Under pressure: many callers at once, and answers that are lost, slow without end, or larger than any of AWS's.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use leasehold_core::{
    ports::Provider,
    provider::{Change, ChangeSecret, ErrorClass},
    secret::VersionId,
};
use leasehold_provider_conformance::scripted::{Answer, Reply, ScriptedServer, aws};
use tokio::time::timeout;

use crate::{
    scenes::as_role,
    setup::{fetch, provider},
};

const OLD: &str = "11111111-2222-4333-8444-555555555555";
const NEW: &str = "99999999-2222-4333-8444-555555555555";

#[tokio::test]
async fn many_whose_session_was_ended_take_the_role_on_once() {
    let (ended, taken_on) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (is_ended, counted) = (Arc::clone(&ended), Arc::clone(&taken_on));
    let server = ScriptedServer::start(move |request, before| match aws::session_token(request) {
        None if aws::operation(request) == "sts.AssumeRole" => {
            let token = format!("session-{}", counted.fetch_add(1, Ordering::SeqCst));
            aws::assumed("ASIABROKER", &token, "2099-01-01T00:00:00Z")
        }
        Some("session-0") if is_ended.load(Ordering::SeqCst) => {
            let refused = Reply::Answer(aws::failure(400, "ExpiredTokenException", "it has ended"));
            // Some learn of it when others have a new session already.
            Reply::Late(
                Duration::from_millis(before.checked_rem(8).unwrap().saturating_mul(40)),
                Box::new(refused),
            )
        }
        Some(_) => aws::secret(OLD, "x"),
        None => Reply::Answer(aws::failure(400, "UnrecognizedClientException", "who?")),
    })
    .await
    .unwrap();
    let (provider, _home) = provider(&server.url(), as_role);
    fetch(&provider, "a").await.unwrap();
    ended.store(true, Ordering::SeqCst);
    let provider = Arc::new(provider);
    let many: Vec<_> = (0..40)
        .map(|_| {
            let provider = Arc::clone(&provider);
            tokio::spawn(async move { fetch(&provider, "a").await.map(drop) })
        })
        .collect();
    for one in many {
        one.await.unwrap().unwrap();
    }
    assert_eq!(taken_on.load(Ordering::SeqCst), 2, "one session before, and one after");
    assert_eq!(provider.sign_in().problem, None);
}

#[tokio::test]
async fn a_call_of_many_requests_ends_in_its_time() {
    let server = ScriptedServer::start(|request, _| {
        let reply = match &*aws::operation(request) {
            "secretsmanager.DescribeSecret" => aws::described(),
            _ => aws::versions(&[(OLD, &["AWSCURRENT"])], Some("more")),
        };
        Reply::Late(Duration::from_millis(200), Box::new(reply))
    })
    .await
    .unwrap();
    let (provider, _home) = provider(&server.url(), |config| {
        config.attempt_timeout = Duration::from_secs(1);
        config.timeout = Duration::from_secs(1);
    });
    let listed = timeout(Duration::from_secs(6), provider.versions("a")).await;
    let error = listed.unwrap().unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient, "{error}");
}

#[tokio::test]
async fn an_answer_that_no_secret_can_have_is_not_taken_in() {
    let server = ScriptedServer::start(|_, _| aws::secret(OLD, &"canary".repeat(2 << 20))).await.unwrap();
    let (provider, _home) = provider(&server.url(), |_| {});
    let error = fetch(&provider, "a").await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Permanent, "{error}");
    assert!(error.to_string().contains("larger than"), "{error}");
    let server = ScriptedServer::start(|_, _| aws::secret(OLD, &"\u{1}".repeat(64 << 10))).await.unwrap();
    let (provider, _home) = crate::setup::provider(&server.url(), |_| {});
    // The largest secret, each byte escaped to six.
    fetch(&provider, "a").await.unwrap();
}

#[tokio::test]
async fn a_label_that_was_taken_away_and_answered_to_nobody_is_gone() {
    let asked = AtomicU64::new(0);
    let server = ScriptedServer::start(move |request, _| match &*aws::operation(request) {
        "secretsmanager.DescribeSecret" => aws::described(),
        "secretsmanager.ListSecretVersionIds" => {
            let labels: &[&str] = if asked.load(Ordering::SeqCst) == 0 {
                &["AWSCURRENT", "AWSPENDING"]
            } else {
                &["AWSCURRENT"]
            };
            aws::versions(&[(OLD, &["AWSPREVIOUS"]), (NEW, labels)], None)
        }
        _ => match asked.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::CutInBody(Answer::json(200, r#"{"Name":"a"}"#)),
            _ => Reply::Answer(aws::failure(400, "InvalidParameterException", "the label is not there")),
        },
    })
    .await
    .unwrap();
    let (provider, _home) = provider(&server.url(), |_| {});
    let version: VersionId = NEW.parse().unwrap();
    let promote =
        ChangeSecret { reference: "a", version: Some(&version), change: Change::Promote, expected: None };
    provider.change(promote).await.unwrap();
}

#[tokio::test]
async fn no_time_in_an_answer_is_too_odd() {
    for at in ["1e308", "-1e308", "9223372036854775807", "-62135596801.5", "0", "null", "\"soon\""] {
        let body = format!(r#"{{"Name":"a","VersionId":"{OLD}","SecretString":"x","CreatedDate":{at}}}"#);
        let server = ScriptedServer::start(move |_, _| Reply::Answer(Answer::json(200, body.clone())));
        let server = server.await.unwrap();
        let (provider, _home) = provider(&server.url(), |config| config.max_attempts = 1);
        // Read or refused, whatever AWS's own parser thinks; never a panic.
        if let Err(error) = fetch(&provider, "a").await {
            assert_eq!(error.class, ErrorClass::Transient, "{at}: {error}");
        }
    }
    for end in ["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z"] {
        let server = ScriptedServer::start(move |request, _| match aws::session_token(request) {
            None if aws::operation(request) == "sts.AssumeRole" => aws::assumed("ASIABROKER", "s", end),
            _ => aws::secret(OLD, "x"),
        });
        let server = server.await.unwrap();
        let (provider, _home) = provider(&server.url(), as_role);
        let _ = fetch(&provider, "a").await;
    }
}
