//! Under pressure: answers that lead elsewhere, that never come to an end, and that are odd.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use leasehold_core::{
    SecretValue,
    ports::Provider,
    provider::{ErrorClass, Stage, WriteVersion},
};
use leasehold_provider_conformance::scripted::{Answer, Reply, ScriptedServer, gcp::Cloud};
use tokio::time::timeout;

use crate::{
    scenes::federated,
    setup::{SECRET, fetch, provider},
};

#[tokio::test]
async fn nothing_is_sent_where_an_answer_leads() {
    let elsewhere = ScriptedServer::start(|_, _| Reply::Answer(Answer::json(200, "{}"))).await.unwrap();
    for status in [301, 302, 307, 308] {
        let to = format!("{}/v1/elsewhere", elsewhere.url());
        let server = ScriptedServer::start(move |request, _| match request.method() {
            "POST" | "GET" => Reply::Answer(Answer::json(status, "").header("location", &to)),
            _ => Reply::Cut,
        });
        let server = server.await.unwrap();
        let (provider, _home) = provider(&server.url(), |config| config.max_attempts = 1);
        fetch(&provider, "db").await.unwrap_err();
        let value = SecretValue::plain("canary-3c1d".to_owned());
        let write = WriteVersion {
            reference: "db",
            value: &value,
            token: "t",
            expected: None,
            stage: Stage::Current,
        };
        provider.write(write).await.unwrap_err();
        provider.versions("db").await.unwrap_err();
    }
    let led: Vec<_> = elsewhere.requests().iter().map(|request| request.head.clone()).collect();
    assert_eq!(led, Vec::<String>::new());
}

#[tokio::test]
async fn a_value_is_not_sent_where_an_answer_leads() {
    let elsewhere = ScriptedServer::start(|_, _| Reply::Answer(Answer::json(200, "{}"))).await.unwrap();
    let to = format!("{}/v1/elsewhere", elsewhere.url());
    let server = ScriptedServer::start(move |request, _| match request.method() {
        "POST" => Reply::Answer(Answer::json(307, "").header("location", &to)),
        _ => {
            Reply::Answer(Answer::json(404, r#"{"error":{"code":404,"status":"NOT_FOUND","message":"no"}}"#))
        }
    });
    let server = server.await.unwrap();
    let (provider, _home) = provider(&server.url(), |config| config.max_attempts = 1);
    let value = SecretValue::plain("canary-3c1d".to_owned());
    let write =
        WriteVersion { reference: "db", value: &value, token: "t", expected: None, stage: Stage::Current };
    provider.write(write).await.unwrap_err();
    assert!(elsewhere.requests().is_empty(), "the value went to another machine");
}

#[tokio::test]
async fn a_call_of_many_requests_ends_in_its_time() {
    let server = ScriptedServer::start(|_, _| {
        let page = Answer::json(200, r#"{"versions":[],"nextPageToken":"more"}"#);
        Reply::Late(Duration::from_millis(200), Box::new(Reply::Answer(page)))
    })
    .await
    .unwrap();
    let (provider, _home) = provider(&server.url(), |config| {
        config.attempt_timeout = Duration::from_secs(1);
        config.timeout = Duration::from_secs(1);
    });
    let listed = timeout(Duration::from_secs(6), provider.versions("db")).await;
    let error = listed.unwrap().unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient, "{error}");
}

#[tokio::test]
async fn a_token_with_an_impossible_end_is_got_over() {
    let (cloud, asked) = (Cloud::new(), AtomicU64::new(0));
    cloud.put(SECRET, b"hunter2");
    let server = ScriptedServer::start(move |request, _| {
        if request.path() == "/token" && asked.fetch_add(1, Ordering::SeqCst) == 0 {
            return Reply::Answer(Answer::json(
                200,
                r#"{"access_token":"canary-4e","expires_in":18446744073709551615,"token_type":"Bearer",
                    "issued_token_type":"urn:ietf:params:oauth:token-type:access_token"}"#,
            ));
        }
        cloud.answer(request)
    });
    let server = server.await.unwrap();
    let (credentials, _folder) = federated(&server.url());
    let (provider, _home) = provider(&server.url(), |config| {
        config.max_attempts = 1;
        config.credentials = credentials;
    });
    let error = fetch(&provider, "db").await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient, "{error}");
    let problem = provider.sign_in().problem.unwrap();
    assert!(problem.contains("cannot be read") && !format!("{error:?}").contains("canary"), "{problem}");
    fetch(&provider, "db").await.unwrap();
    assert_eq!(provider.sign_in().problem, None);
}
