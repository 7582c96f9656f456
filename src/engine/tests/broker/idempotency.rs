//! Request ids (AIP-155).

use std::time::Duration;

use leasehold_engine::{EngineError, request::IssueLease};
use tokio::time::sleep;

use crate::kit::{API, Broker, DYNAMIC, STATIC, issue, shown};

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
