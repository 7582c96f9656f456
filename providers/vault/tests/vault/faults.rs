//! What goes wrong between the broker and Vault.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use leasehold_core::{ports::Provider, provider::ErrorClass};
use leasehold_provider_conformance::{
    proxy::{Fault, FaultProxy, Injection},
    scripted::{Answer, Reply, ScriptedServer, vault},
};
use leasehold_provider_vault::VaultConfig;
use serde_json::json;

use crate::kit::{Home, dev, provider, put, read};

const A: &str = "secret/data/a";

#[tokio::test]
async fn a_used_up_rate_limit_is_throttled_with_vaults_own_hint() {
    let Some(bao) = dev().await else { return };
    put(&bao, "a", json!({ "value": "hunter2" })).await;
    let home = Home::new();
    let provider = provider(home.with_token(bao.url(), bao.token()));
    read(&provider, A).await.unwrap();
    let hints = json!({ "enable_rate_limit_response_headers": true });
    bao.ask("POST", "sys/quotas/config", Some(&hints)).await.unwrap();
    let quota = json!({ "path": "secret/", "rate": 1, "interval": "600s" });
    bao.ask("POST", "sys/quotas/rate-limit/one", Some(&quota)).await.unwrap();
    let mut last = Ok(String::new());
    for _ in 0..5 {
        last = read(&provider, A).await;
    }
    let error = last.unwrap_err();
    assert_eq!(error.class, ErrorClass::Throttled, "{error}");
    let hint = error.retry_after.unwrap();
    assert!(hint > Duration::from_secs(60) && hint <= Duration::from_secs(600), "{hint:?}");
    bao.ask("DELETE", "sys/quotas/rate-limit/one", None).await.unwrap();
    assert_eq!(read(&provider, A).await.unwrap(), "hunter2");
}

#[tokio::test]
async fn a_read_is_repeated_within_its_time_and_no_longer() {
    let Some(bao) = dev().await else { return };
    put(&bao, "a", json!({ "value": "hunter2" })).await;
    let proxy = FaultProxy::start(bao.address()).await.unwrap();
    let home = Home::new();
    let ready = provider(home.with_token(proxy.url(), bao.token()));
    read(&ready, A).await.unwrap();
    proxy.inject(Injection::of(Fault::LoseAnswer).on("GET /v1/secret/").times(2));
    assert_eq!(read(&ready, A).await.unwrap(), "hunter2");
    assert_eq!(proxy.played(), 2);
    proxy.inject(Injection::of(Fault::LoseAnswer).on("GET /v1/secret/"));
    let error = read(&ready, A).await.unwrap_err();
    assert_eq!((error.class, proxy.played()), (ErrorClass::Transient, 5), "{error}");
    proxy.heal();
    proxy.inject(Injection::of(Fault::Stall).on("GET /v1/secret/"));
    let config = VaultConfig {
        attempt_timeout: Duration::from_secs(30),
        timeout: Duration::from_millis(300),
        ..home.with_token(proxy.url(), bao.token())
    };
    let hasty = provider(config);
    let error = read(&hasty, A).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient);
    assert!(error.to_string().contains("within 300ms"), "{error}");
}

/// A node that refuses everything like this, and counts.
async fn node(refusal: Answer) -> ScriptedServer {
    ScriptedServer::start(move |_, _| Reply::Answer(refusal.clone())).await.unwrap()
}

#[tokio::test]
async fn another_node_is_asked_when_one_is_sealed_stands_by_or_is_gone() {
    let Some(bao) = dev().await else { return };
    put(&bao, "a", json!({ "value": "hunter2" })).await;
    let home = Home::new();
    let sealed = node(vault::refusal(503, "Vault is sealed")).await;
    let standby = node(Answer::empty(307).header("location", format!("{}/v1/elsewhere", bao.url()))).await;
    let gone = "http://127.0.0.1:1".to_owned();
    for first in [sealed.url(), standby.url(), gone] {
        let config = VaultConfig { cluster: vec![bao.url()], ..home.with_token(&first, bao.token()) };
        let provider = provider(config);
        assert_eq!(read(&provider, A).await.unwrap(), "hunter2", "{first}");
        assert_eq!(read(&provider, A).await.unwrap(), "hunter2", "{first}");
    }
    // Once it is known which one answers, that one is asked first.
    assert_eq!(sealed.calls().load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_redirect_to_a_stranger_is_not_followed_and_no_token_goes_there() {
    let strange = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&strange);
    let stranger = ScriptedServer::start(move |request, before| {
        counted.fetch_add(1, Ordering::SeqCst);
        vault::kv_of_one_value(request, before)
    });
    let stranger = stranger.await.unwrap();
    let standby =
        node(Answer::empty(307).header("location", format!("{}/v1/secret/data/a", stranger.url()))).await;
    let home = Home::new();
    let error = read(&provider(home.with_token(standby.url(), "s.canary")), A).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Permanent);
    assert!(error.to_string().contains("`cluster`"), "{error}");
    assert_eq!(strange.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_is_not_vaults_answer_is_no_value() {
    for body in ["", "<html>", "{}", r#"{"data":{"data":{"value":"canary"}}"#, r#"{"data":"canary"}"#] {
        let server = ScriptedServer::start(move |request, before| {
            if request.path().ends_with("lookup-self") {
                return vault::kv_of_one_value(request, before);
            }
            Reply::Answer(Answer::new(200, "application/json", body))
        });
        let server = server.await.unwrap();
        let home = Home::new();
        let error = read(&provider(home.with_token(server.url(), "s.x")), A).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Transient, "{body}: {error}");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
}

#[tokio::test]
async fn nobody_there_is_said_without_an_address() {
    let home = Home::new();
    let provider = provider(home.with_token("http://127.0.0.1:1", "s.x"));
    let error = read(&provider, A).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient);
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("cannot be reached: connection refused"), "{shown}");
    assert!(!shown.contains("127.0.0.1") && !shown.contains("s.x"), "{shown}");
    assert!(provider.sign_in().problem.is_some());
}
