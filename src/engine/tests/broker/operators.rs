//! What operators ask: versions, changes, checks; and what they see of a back end's limits.

use std::{collections::BTreeMap, sync::atomic::Ordering::SeqCst, time::Duration};

use leasehold_core::{
    access::Action,
    provider::{Change, Demand, ErrorClass},
    record::{Kind, Outcome},
};
use leasehold_engine::{
    EngineError, ProviderLimits,
    request::{ChangeSecret, CircuitState, ListVersions, ProviderStatus, WriteSecret},
};
use tokio::time::sleep;

use crate::kit::{ADMIN, API, Broker, DYNAMIC, STATIC, actor, two_fields};

fn list(who: &str, page_size: usize, page_token: Option<String>) -> ListVersions {
    ListVersions { actor: actor(who), secret: STATIC.parse().unwrap(), page_size, page_token }
}

fn change(who: &str, change: Change, version: Option<&str>) -> ChangeSecret {
    ChangeSecret {
        actor: actor(who),
        secret: STATIC.parse().unwrap(),
        change,
        version: version.map(|version| version.parse().unwrap()),
        reason: Some("it leaked".to_owned()),
        request_id: None,
    }
}

async fn write(broker: &Broker) {
    let request = WriteSecret {
        actor: actor(ADMIN),
        secret: STATIC.parse().unwrap(),
        value: two_fields("app", "canary-3"),
        expected: None,
        request_id: None,
    };
    broker.engine.write_secret(request).await.unwrap();
}

async fn status(broker: &Broker) -> ProviderStatus {
    broker.engine.status(actor(ADMIN)).await.unwrap().providers.remove(0)
}

#[tokio::test(start_paused = true)]
async fn versions_are_listed_with_who_holds_how_many() {
    let broker = Broker::new();
    broker.issue(STATIC).await.unwrap();
    broker.issue(STATIC).await.unwrap();
    write(&broker).await;
    broker.issue(STATIC).await.unwrap();
    let page = broker.engine.list_versions(list(ADMIN, 10, None)).await.unwrap();
    let shown = |items: &[leasehold_engine::request::SecretVersion]| -> Vec<_> {
        items.iter().map(|one| (one.facts.version.to_string(), one.facts.current, one.live_leases)).collect()
    };
    assert_eq!(shown(&page.items), [("v2".to_owned(), true, 1), ("v1".to_owned(), false, 2)]);
    assert_eq!(page.next_page_token, None);
    let record = broker.ledger.records().pop().unwrap();
    assert_eq!((record.kind, record.details["versions"].as_str()), (Kind::SecretDescribed, "2"));

    let first = broker.engine.list_versions(list(ADMIN, 1, None)).await.unwrap();
    assert_eq!(shown(&first.items), [("v2".to_owned(), true, 1)]);
    let second = broker.engine.list_versions(list(ADMIN, 1, first.next_page_token)).await.unwrap();
    assert_eq!(shown(&second.items), [("v1".to_owned(), false, 2)]);
    assert_eq!(second.next_page_token, None);
    let stray = broker.engine.list_versions(list(ADMIN, 1, Some("v9".to_owned()))).await;
    assert!(matches!(stray, Err(EngineError::BadPageToken)));
    let record = broker.ledger.records().pop().unwrap();
    assert_eq!(record.kind, Kind::SecretDescribed);
    assert!(matches!(record.outcome, Outcome::Failed { .. }), "{record:?}");
}

#[tokio::test(start_paused = true)]
async fn who_may_not_describe_a_secret_sees_no_versions() {
    let broker = Broker::new();
    let denied = broker.engine.list_versions(list(API, 10, None)).await;
    assert!(matches!(denied, Err(EngineError::Denied(_))));
    assert_eq!(broker.kinds(), [(Kind::SecretDescribed, Outcome::Denied)]);
}

#[tokio::test(start_paused = true)]
async fn a_change_is_recorded_before_and_after_and_the_cache_forgets() {
    let broker = Broker::new();
    broker.issue(STATIC).await.unwrap();
    broker.engine.change_secret(change(ADMIN, Change::Disable, Some("v1"))).await.unwrap();
    assert_eq!(*broker.back_end.changed.lock().unwrap(), [(Change::Disable, Some("v1".to_owned()))]);
    let records = broker.ledger.records();
    let [.., intent, done] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((intent.kind, done.kind), (Kind::SecretAttempted, Kind::SecretChanged));
    for record in [intent, done] {
        assert_eq!(record.details["change"], "disable");
        assert_eq!(record.details["reason"], "it leaked");
        assert_eq!(record.version.as_ref().unwrap().as_str(), "v1");
        assert_eq!(record.provider.as_ref().unwrap().as_str(), "main");
    }
    assert_eq!(broker.back_end.fetches.load(SeqCst), 1);
    broker.issue(STATIC).await.unwrap();
    assert_eq!(broker.back_end.fetches.load(SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_change_is_decided_and_never_pretended() {
    let broker = Broker::new();
    broker.rules.closed.lock().unwrap().insert(Action::ChangeSecret);
    let denied = broker.engine.change_secret(change(ADMIN, Change::Delete, None)).await;
    assert!(matches!(denied, Err(EngineError::Denied(_))));
    broker.rules.closed.lock().unwrap().clear();
    let unable = broker.engine.change_secret(change(ADMIN, Change::Purge, None)).await.unwrap_err();
    assert_eq!(unable.reason(), "PROVIDER_UNSUPPORTED");
    assert_eq!(unable.provider().unwrap().as_str(), "main");
    let dynamic = ChangeSecret { secret: DYNAMIC.parse().unwrap(), ..change(ADMIN, Change::Delete, None) };
    let dynamic = broker.engine.change_secret(dynamic).await.unwrap_err();
    assert_eq!(dynamic.reason(), "PROVIDER_REQUEST_INVALID");
    broker.back_end.fail(Some(ErrorClass::Invalid));
    let refused = broker.engine.change_secret(change(ADMIN, Change::Delete, None)).await.unwrap_err();
    assert_eq!(refused.to_string(), "the back end refused it: told to fail");
    assert!(broker.back_end.changed.lock().unwrap().is_empty());
    let failed = Outcome::Failed { reason: "PROVIDER_REQUEST_INVALID".to_owned() };
    assert_eq!(broker.kinds().pop(), Some((Kind::SecretChanged, failed)));
}

#[tokio::test(start_paused = true)]
async fn a_check_asks_for_what_the_catalog_will_ask() {
    let broker = Broker::new();
    let checks = broker.engine.check_providers(actor(ADMIN), None).await.unwrap();
    assert_eq!((checks.len(), checks[0].name.as_str()), (1, "main"));
    let demands = [
        Demand::Read { reference: "db".into() },
        Demand::Write { reference: "db".into() },
        Demand::Issue { role: "readonly".into() },
    ];
    assert_eq!(*broker.back_end.asked.lock().unwrap(), demands);
    broker.back_end.fail(Some(ErrorClass::Denied));
    let checks = broker.engine.check_providers(actor(ADMIN), Some("main".parse().unwrap())).await.unwrap();
    assert!(checks[0].findings[0].is_failed());
    let record = broker.ledger.records().pop().unwrap();
    assert_eq!((record.kind, record.details["failed"].as_str()), (Kind::ProviderChecked, "1"));

    let none = broker.engine.check_providers(actor(ADMIN), Some("other".parse().unwrap())).await;
    assert!(matches!(none, Err(EngineError::NoSuchProvider(_))));
    let denied = broker.engine.check_providers(actor(API), Some("other".parse().unwrap())).await;
    assert!(matches!(denied, Err(EngineError::Denied(_))));
}

#[tokio::test(start_paused = true)]
async fn a_check_that_hangs_ends_and_says_so() {
    let broker = Broker::new();
    let _held = broker.back_end.gate.acquire_many(u32::MAX).await.unwrap();
    let checks = broker.engine.check_providers(actor(ADMIN), None).await.unwrap();
    assert!(checks[0].findings[0].is_failed(), "{checks:?}");
}

#[tokio::test(start_paused = true)]
async fn a_providers_own_limits_hold_for_it() {
    let tight = ProviderLimits {
        max_calls: 1,
        max_queue: 1,
        call_timeout: Duration::from_secs(2),
        ..ProviderLimits::default()
    };
    let broker = Broker::with_limits(BTreeMap::from([("main".parse().unwrap(), tight)]));
    let held = broker.back_end.gate.acquire_many(u32::MAX).await.unwrap();
    let ask = |n: usize| {
        let engine = broker.engine.clone();
        tokio::spawn(async move {
            sleep(Duration::from_millis(u64::try_from(n).unwrap())).await;
            engine.list_versions(list(ADMIN, 10, None)).await.map(drop)
        })
    };
    let began = tokio::time::Instant::now();
    let (first, second, third) = (ask(1), ask(2), ask(3));
    assert_eq!(third.await.unwrap().unwrap_err().reason(), "PROVIDER_THROTTLED");
    assert!(began.elapsed() < Duration::from_millis(10));
    assert_eq!(first.await.unwrap().unwrap_err().reason(), "PROVIDER_UNAVAILABLE");
    drop(held);
    let _ = second.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5));
    let calls = status(&broker).await.calls;
    assert_eq!((calls.failures, calls.turned_away >= 1), (1, true), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_back_end_that_fails_is_counted_rested_and_tried_by_one_call() {
    let broker = Broker::new();
    let resting = broker.engine.resting();
    broker.back_end.fail(Some(ErrorClass::Transient));
    for _ in 0..8 {
        broker.engine.list_versions(list(ADMIN, 10, None)).await.unwrap_err();
    }
    let seen = status(&broker).await;
    assert_eq!(seen.circuit, CircuitState::Open);
    assert_eq!((seen.calls.calls, seen.calls.failures, seen.calls.turned_away), (5, 5, 3));
    assert_eq!(seen.calls.circuit_opened, 1);
    assert!(seen.unavailable.unwrap().contains("given a rest"));
    assert_eq!(resting.borrow().len(), 1);

    sleep(Duration::from_secs(1)).await;
    assert_eq!(status(&broker).await.circuit, CircuitState::HalfOpen);
    broker.back_end.fail(None);
    let held = broker.back_end.gate.acquire_many(u32::MAX).await.unwrap();
    let engine = broker.engine.clone();
    let probe = tokio::spawn(async move { engine.list_versions(list(ADMIN, 10, None)).await.map(drop) });
    sleep(Duration::from_millis(1)).await;
    for _ in 0..20 {
        let turned_away = broker.engine.list_versions(list(ADMIN, 10, None)).await.unwrap_err();
        assert_eq!(turned_away.reason(), "PROVIDER_UNAVAILABLE");
        assert!(turned_away.retry_after().is_some());
    }
    assert_eq!(status(&broker).await.calls.calls, 6);
    drop(held);
    probe.await.unwrap().unwrap();
    assert_eq!(status(&broker).await.circuit, CircuitState::Closed);
    assert!(resting.borrow().is_empty());
}
