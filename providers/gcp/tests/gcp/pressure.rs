//! Under pressure: answers that lead elsewhere, that never come to an end, and that are odd.

use std::time::Duration;

use leasehold_core::{
    SecretValue,
    ports::Provider,
    provider::{ErrorClass, Stage, WriteVersion},
};
use leasehold_provider_conformance::scripted::{Answer, Reply, ScriptedServer};
use tokio::time::timeout;

use crate::setup::{fetch, provider};

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
