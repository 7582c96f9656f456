//! Request ids (AIP-155).

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use leasehold_core::{
    lease::StepError,
    ports::Ledger,
    provider::ErrorClass,
    state::{Key, KeyRange},
};
use leasehold_engine::{
    EngineError,
    request::{IssueLease, RevokeLease, WriteSecret},
};
use tokio::time::sleep;

use crate::kit::{ADMIN, API, BackEnd, Broker, DYNAMIC, STATIC, actor, issue, shown, two_fields};

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
    let revoke = RevokeLease { actor: actor(API), lease: id, reason: None, request_id: None, rotate: false };
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

/// What is kept for retries, by key.
async fn kept(broker: &Broker) -> Vec<String> {
    let entries = broker.ledger.scan(&KeyRange::prefix("answer/"), 100).await.unwrap();
    entries.iter().map(|entry| entry.key.to_string()).collect()
}

fn users(broker: &Broker) -> usize {
    broker.back_end.users.lock().unwrap().len()
}

#[tokio::test(start_paused = true)]
async fn a_retry_gets_the_same_credential_even_after_a_restart() {
    let broker = Broker::new();
    let first = broker.engine.issue_lease(named(DYNAMIC, "r1")).await.unwrap();
    let broker = Broker::over(broker.ledger.clone(), broker.back_end.clone());
    let again = broker.engine.issue_lease(named(DYNAMIC, "r1")).await.unwrap();
    assert_eq!((first.lease.id, shown(&first.value)), (again.lease.id, shown(&again.value)));
    assert_eq!(again.value.content_type, first.value.content_type);
    assert_eq!(users(&broker), 1);
    let told = broker.ledger.records().pop().unwrap();
    assert_eq!(told.details.get("retry").map(String::as_str), Some("true"));
    assert_eq!(told.value_hmac.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_credential_is_kept_for_who_named_the_request_and_no_longer_than_its_lease() {
    let broker = Broker::new();
    broker.issue(DYNAMIC).await.unwrap();
    assert!(kept(&broker).await.is_empty());
    let id = broker.engine.issue_lease(named(DYNAMIC, "r1")).await.unwrap().lease.id;
    assert_eq!(kept(&broker).await, [Key::answer(id).to_string()]);
    let revoke = RevokeLease { actor: actor(API), lease: id, reason: None, request_id: None, rotate: false };
    broker.engine.revoke_lease(revoke).await.unwrap();
    assert!(kept(&broker).await.is_empty());
    let again = broker.engine.issue_lease(named(DYNAMIC, "r1")).await.unwrap_err();
    assert!(matches!(again, EngineError::Lease(_)), "{again:?}");
    assert_eq!(again.reason(), "LEASE_EXPIRED");
}

#[tokio::test(start_paused = true)]
async fn a_credential_is_not_kept_longer_than_the_window() {
    let broker = Broker::new();
    broker.reconcile();
    let long = |id| IssueLease { ttl: Some(Duration::from_secs(600)), ..named(DYNAMIC, id) };
    let id = broker.engine.issue_lease(long("r1")).await.unwrap().lease.id;
    let due = broker.ledger.scan(&KeyRange::prefix("request-due/"), 10).await.unwrap();
    let named = std::str::from_utf8(due[0].value.expose()).unwrap();
    assert!(named.lines().any(|line| line == Key::answer(id).as_str()), "{named}");
    sleep(Duration::from_secs(631)).await;
    assert!(kept(&broker).await.is_empty());
    assert!(broker.ledger.scan(&KeyRange::prefix("request"), 10).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn concurrent_tries_make_one_credential_and_all_get_it() {
    let broker = Broker::new();
    let held = broker.back_end.maker.acquire().await.unwrap();
    let tries: Vec<_> = (0..50)
        .map(|_| {
            let engine = broker.engine.clone();
            tokio::spawn(async move { engine.issue_lease(named(DYNAMIC, "r1")).await.unwrap() })
        })
        .collect();
    sleep(Duration::from_millis(1)).await;
    drop(held);
    let mut answers = Vec::new();
    for one in tries {
        let issued = one.await.unwrap();
        answers.push((issued.lease.id, shown(&issued.value)));
    }
    answers.dedup();
    assert_eq!((answers.len(), users(&broker)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_a_crash_in_the_middle_gets_a_credential_of_its_own_and_the_first_is_ended() {
    let broker = Broker::new();
    // The tests' chance begins anew with each broker: the first one's lease is not to have the second one's id.
    let write = WriteSecret {
        actor: actor(ADMIN),
        secret: STATIC.parse().unwrap(),
        value: two_fields("app", "canary-3"),
        expected: None,
        request_id: None,
    };
    broker.engine.write_secret(write).await.unwrap();
    let held = broker.back_end.maker.acquire().await.unwrap();
    let engine = broker.engine.clone();
    let dying = tokio::spawn(async move { engine.issue_lease(named(DYNAMIC, "r1")).await });
    sleep(Duration::from_millis(1)).await;
    // The broker dies after its intent is durable; the call that it made arrives all the same.
    let (ledger, back_end) = (broker.ledger.clone(), broker.back_end.clone());
    let intended = ledger.records().iter().find_map(|record| record.lease).unwrap();
    back_end.users.lock().unwrap().insert(format!("lh-{}", intended.suffix()));
    std::mem::forget(held);
    drop(broker);
    let broker = Broker::over(ledger, Arc::new(BackEnd::default()));
    let own = broker.engine.issue_lease(named(DYNAMIC, "r1")).await.unwrap();
    assert_ne!(own.lease.id, intended);
    let again = broker.engine.issue_lease(named(DYNAMIC, "r1")).await.unwrap();
    assert_eq!((own.lease.id, shown(&own.value)), (again.lease.id, shown(&again.value)));
    broker.reconcile();
    sleep(Duration::from_secs(300)).await;
    let first = broker.engine.get_lease(actor(API), intended).await.unwrap();
    assert!(first.is_ended(), "{first:?}");
    dying.abort();
}

#[tokio::test(start_paused = true)]
async fn a_request_that_failed_can_be_tried_again_under_its_name() {
    let broker = Broker::new();
    for class in [ErrorClass::Transient, ErrorClass::Denied] {
        broker.back_end.fail(Some(class));
        broker.engine.issue_lease(named(DYNAMIC, "r1")).await.unwrap_err();
    }
    broker.back_end.fail(None);
    let issued = broker.engine.issue_lease(named(DYNAMIC, "r1")).await.unwrap();
    let again = broker.engine.issue_lease(named(DYNAMIC, "r1")).await.unwrap();
    assert_eq!(issued.lease.id, again.lease.id);
}

#[tokio::test(start_paused = true)]
async fn who_hangs_up_while_a_credential_is_made_finds_it_again() {
    let broker = Broker::new();
    let held = broker.back_end.maker.acquire().await.unwrap();
    let engine = broker.engine.clone();
    let waiting = tokio::spawn(async move { engine.issue_lease(named(DYNAMIC, "r1")).await });
    sleep(Duration::from_millis(1)).await;
    waiting.abort();
    drop(held);
    let found = broker.engine.issue_lease(named(DYNAMIC, "r1")).await.unwrap();
    assert!(found.lease.is_live(broker.engine.now()));
    assert_eq!(users(&broker), 1);
}
