//! Request ids (AIP-155).

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use leasehold_core::{lease::StepError, ports::Ledger, state::KeyRange};
use leasehold_engine::{
    EngineError,
    request::{IssueLease, RevokeLease},
};
use tokio::time::sleep;

use crate::kit::{API, Broker, DYNAMIC, STATIC, actor, issue, shown};

fn named(path: &str, id: &str) -> IssueLease {
    IssueLease { request_id: Some(id.parse().unwrap()), ..issue(API, path) }
}

#[tokio::test(start_paused = true)]
async fn a_retry_gets_the_same_lease_and_value_even_after_a_restart() {
    let broker = Broker::new();
    let first = broker.engine.issue_lease(named(STATIC, "r1")).await.unwrap();
    let again = broker.engine.issue_lease(named(STATIC, "r1")).await.unwrap();
    assert_eq!((first.lease.id, shown(&first.value)), (again.lease.id, shown(&again.value)));
    let broker = Broker::over(broker.ledger.clone(), broker.back_end.clone());
    let again = broker.engine.issue_lease(named(STATIC, "r1")).await.unwrap();
    assert_eq!((first.lease.id, shown(&first.value)), (again.lease.id, shown(&again.value)));
}

#[tokio::test(start_paused = true)]
async fn the_same_id_for_another_request_is_refused() {
    let broker = Broker::new();
    broker.engine.issue_lease(named(STATIC, "r1")).await.unwrap();
    let other = IssueLease { ttl: Some(Duration::from_secs(5)), ..named(STATIC, "r1") };
    assert!(matches!(broker.engine.issue_lease(other).await, Err(EngineError::RequestIdReused)));
    let other = broker.engine.issue_lease(named(DYNAMIC, "r1")).await;
    assert!(matches!(other, Err(EngineError::RequestIdReused)));
}

#[tokio::test(start_paused = true)]
async fn concurrent_tries_make_one_lease() {
    let broker = Broker::new();
    let tries: Vec<_> = (0..50)
        .map(|_| {
            let engine = broker.engine.clone();
            tokio::spawn(async move { engine.issue_lease(named(STATIC, "r1")).await.unwrap().lease.id })
        })
        .collect();
    let mut ids = Vec::new();
    for one in tries {
        ids.push(one.await.unwrap());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_memory_ends_after_ten_minutes_and_is_cleared() {
    let broker = Broker::new();
    let first = broker.engine.issue_lease(named(STATIC, "r1")).await.unwrap();
    sleep(Duration::from_secs(601)).await;
    let second = broker.engine.issue_lease(named(STATIC, "r1")).await.unwrap();
    assert_ne!(first.lease.id, second.lease.id);
    broker.reconcile();
    sleep(Duration::from_secs(700)).await;
    let cleared: u32 = broker
        .ledger
        .records()
        .iter()
        .filter_map(|record| record.details.get("request_ids"))
        .map(|count| count.parse::<u32>().unwrap())
        .sum();
    assert_eq!(cleared, 1);
}

#[tokio::test(start_paused = true)]
async fn a_retry_gets_nothing_of_a_lease_that_is_revoked_while_its_value_is_fetched() {
    let broker = Broker::new();
    let id = broker.engine.issue_lease(named(STATIC, "r1")).await.unwrap().lease.id;
    let fetched = broker.back_end.fetches.load(SeqCst);
    let held = broker.back_end.gate.acquire_many(u32::MAX).await.unwrap();
    let engine = broker.engine.clone();
    let retry = tokio::spawn(async move { engine.issue_lease(named(STATIC, "r1")).await });
    while broker.back_end.fetches.load(SeqCst) == fetched {
        tokio::task::yield_now().await;
    }
    let revoke = RevokeLease { actor: actor(API), lease: id, reason: None, request_id: None };
    assert!(broker.engine.revoke_lease(revoke).await.unwrap().is_ended());
    drop(held);
    assert!(matches!(retry.await.unwrap(), Err(EngineError::Lease(StepError::Revoked))));
}

#[tokio::test(start_paused = true)]
async fn many_memories_that_end_together_are_cleared_together() {
    let broker = Broker::new();
    for n in 0..2000 {
        broker.engine.issue_lease(named(STATIC, &format!("r{n}"))).await.unwrap();
    }
    broker.reconcile();
    sleep(Duration::from_secs(600 + 31)).await;
    let left = broker.ledger.scan(&KeyRange::prefix("request"), 10_000).await.unwrap();
    assert_eq!(left.len(), 0);
}
