//! What the cache promises.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use leasehold_core::provider::ErrorClass;
use leasehold_engine::EngineError;
use tokio::time::advance;

use crate::kit::{API, Broker, STATIC, issue, many_secrets};

#[tokio::test(start_paused = true)]
async fn a_thousand_concurrent_misses_are_one_upstream_call() {
    let broker = Broker::new();
    let held = broker.back_end.gate.acquire_many(u32::MAX).await;
    let held = match held {
        Ok(held) => held,
        Err(_) => panic!("the gate is closed"),
    };
    let tasks: Vec<_> = (0..1000)
        .map(|_| {
            let engine = broker.engine.clone();
            tokio::spawn(async move { engine.issue_lease(issue(API, STATIC)).await.is_ok() })
        })
        .collect();
    while broker.back_end.fetches.load(SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    drop(held);
    for task in tasks {
        assert!(task.await.unwrap());
    }
    assert_eq!(broker.back_end.fetches.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_value_is_asked_for_again_when_it_is_no_longer_fresh() {
    let broker = Broker::new();
    for (pause, calls) in [(0, 1), (29, 1), (1, 2), (29, 2), (30, 3)] {
        advance(Duration::from_secs(pause)).await;
        broker.issue(STATIC).await.unwrap();
        assert_eq!(broker.back_end.fetches.load(SeqCst), calls);
    }
}

#[tokio::test(start_paused = true)]
async fn stale_on_error_is_bounded_and_said() {
    let broker = Broker::new();
    assert_eq!(broker.issue(STATIC).await.unwrap().lease.stale_since, None);
    broker.back_end.fail(Some(ErrorClass::Transient));
    advance(Duration::from_secs(50)).await;
    let stale = broker.issue(STATIC).await.unwrap().lease;
    assert_eq!(stale.stale_since.unwrap().as_second(), 30);
    assert_eq!(broker.ledger.records().last().unwrap().details["stale_for"], "20s");
    // While it fails it is left alone for a moment.
    let calls = broker.back_end.fetches.load(SeqCst);
    broker.issue(STATIC).await.unwrap();
    assert_eq!(broker.back_end.fetches.load(SeqCst), calls);

    advance(Duration::from_secs(279)).await;
    broker.issue(STATIC).await.unwrap();
    advance(Duration::from_secs(1)).await;
    let error = broker.issue(STATIC).await.unwrap_err();
    assert!(matches!(error, EngineError::Provider(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_the_back_end_says_is_gone_is_not_answered_from_memory() {
    let broker = Broker::new();
    broker.issue(STATIC).await.unwrap();
    broker.back_end.fail(Some(ErrorClass::Absent));
    advance(Duration::from_secs(31)).await;
    assert_eq!(broker.issue(STATIC).await.unwrap_err().reason(), "PROVIDER_SECRET_ABSENT");
}

#[tokio::test(start_paused = true)]
async fn a_back_end_that_keeps_failing_is_given_a_rest() {
    let broker = Broker::new();
    broker.back_end.fail(Some(ErrorClass::Transient));
    for _ in 0..20 {
        broker.issue(STATIC).await.unwrap_err();
    }
    assert_eq!(broker.back_end.fetches.load(SeqCst), 5);
    let error = broker.issue(STATIC).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
    broker.back_end.fail(None);
    advance(Duration::from_secs(1)).await;
    broker.issue(STATIC).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_back_end_that_does_not_answer_costs_a_bounded_time() {
    let broker = Broker::new();
    let _held = broker.back_end.gate.acquire_many(u32::MAX).await;
    broker.back_end.gate.forget_permits(usize::MAX);
    let error = broker.issue(STATIC).await.unwrap_err();
    assert_eq!(error.reason(), "PROVIDER_UNAVAILABLE");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_turn_is_told_as_soon_as_the_back_end_is_given_a_rest() {
    let broker = Broker::new();
    broker.engine.replace_catalog(many_secrets(300));
    let _held = broker.back_end.gate.acquire_many(u32::MAX).await.unwrap();
    let start = tokio::time::Instant::now();
    let tasks: Vec<_> = (0..300)
        .map(|n| {
            let engine = broker.engine.clone();
            tokio::spawn(async move { engine.issue_lease(issue(API, &format!("prod/{n}"))).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap_err().reason(), "PROVIDER_UNAVAILABLE");
    }
    assert!(start.elapsed() < Duration::from_secs(11), "{:?}", start.elapsed());
}
