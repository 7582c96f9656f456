//! How many leases there may be: exactly, whoever asks at once, whatever fails, and over a restart.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use futures::future::join_all;
use leasehold_core::{
    LeaseId,
    catalog::{Catalog, Entry, Freshness, Source},
    lease::LeaseState,
    provider::ErrorClass,
    record::{Kind, Outcome},
    state::LedgerError,
    ttl::TtlLimits,
};
use leasehold_engine::{
    EngineError, ProviderLimits, Settings,
    request::{IssueLease, IssuedLease, RevokeLease},
};
use leasehold_ledger::Memory;
use tokio::time::sleep;

use crate::kit::{API, BackEnd, Broker, DYNAMIC, STATIC, actor, issue};

const NEIGHBOUR: &str = "spiffe://example.org/prod/payments/web";

fn settings(each: u64, secret: u64) -> Settings {
    Settings { leases_per_principal: each, leases_per_secret: secret, ..Settings::default() }
}

fn over(ledger: Memory, back_end: Arc<BackEnd>, settings: Settings, provider: Option<u64>) -> Broker {
    let limits = ProviderLimits { max_leases: provider, ..ProviderLimits::default() };
    let limits = BTreeMap::from([("main".parse().unwrap(), limits)]);
    Broker::within(Arc::new(ledger.clone()), ledger, back_end, limits, settings)
}

fn limited(settings: Settings) -> Broker {
    over(Memory::new(), Arc::default(), settings, None)
}

/// The limit that was met.
fn limit(result: Result<IssuedLease, EngineError>) -> &'static str {
    let error = result.unwrap_err();
    let EngineError::QuotaExceeded { limit, retry_after } = error else { unreachable!("{error}") };
    assert!(retry_after > Duration::ZERO);
    limit
}

async fn revoke(broker: &Broker, lease: LeaseId) {
    let request = RevokeLease { actor: actor(API), lease, reason: None, request_id: None, rotate: false };
    broker.engine.revoke_lease(request).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_principal_has_so_many_leases_and_takes_nothing_from_another_one() {
    let broker = limited(settings(3, 100));
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(broker.issue(STATIC).await.unwrap().lease.id);
    }
    assert_eq!(limit(broker.issue(STATIC).await), "limits.leases_per_principal");
    let refused = broker.ledger.records().pop().unwrap();
    assert_eq!(refused.kind, Kind::LeaseIssued);
    assert_eq!(refused.outcome, Outcome::Failed { reason: "QUOTA_EXCEEDED".into() });
    broker.engine.issue_lease(issue(NEIGHBOUR, STATIC)).await.unwrap();
    revoke(&broker, held[0]).await;
    broker.issue(STATIC).await.unwrap();
    assert_eq!(limit(broker.issue(STATIC).await), "limits.leases_per_principal");
    assert_eq!(broker.engine.refused_leases(), [("limits.leases_per_principal", 2)]);
}

#[tokio::test(start_paused = true)]
async fn the_limit_is_exact_for_all_who_ask_at_once() {
    let broker = limited(settings(7, 100));
    for path in [STATIC, DYNAMIC] {
        let all = join_all((0..40).map(|_| broker.issue(path))).await;
        let made: Vec<_> = all.into_iter().filter_map(Result::ok).map(|issued| issued.lease.id).collect();
        assert_eq!(made.len(), 7, "{path}");
        join_all(made.into_iter().map(|id| revoke(&broker, id))).await;
        // Credentials end in the background.
        sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_has_so_many_leases_and_its_own_limit_goes_first() {
    let broker = limited(settings(100, 2));
    for who in [API, NEIGHBOUR] {
        broker.engine.issue_lease(issue(who, STATIC)).await.unwrap();
    }
    assert_eq!(limit(broker.issue(STATIC).await), "limits.leases_per_secret");
    broker.issue(DYNAMIC).await.unwrap();

    let entry = Entry {
        provider: "main".parse().unwrap(),
        source: Source::Static { reference: "db".into() },
        limits: TtlLimits::new(Duration::from_secs(60), Duration::from_secs(600)).unwrap(),
        max_leases: Some(3),
        freshness: Freshness::default(),
        description: None,
        rotation: None,
    };
    broker.engine.replace_catalog(Catalog::new([(STATIC.parse().unwrap(), entry)], []).unwrap());
    broker.issue(STATIC).await.unwrap();
    assert_eq!(limit(broker.issue(STATIC).await), "secret.max_leases");
}

#[tokio::test(start_paused = true)]
async fn a_back_end_has_so_many_leases_with_those_being_made_and_those_being_ended() {
    let broker = over(Memory::new(), Arc::default(), Settings::default(), Some(2));
    let held = broker.back_end.maker.acquire().await.unwrap();
    let engine = broker.engine.clone();
    let making = tokio::spawn(async move { engine.issue_lease(issue(API, DYNAMIC)).await });
    sleep(Duration::from_millis(1)).await;
    broker.issue(STATIC).await.unwrap();
    assert_eq!(limit(broker.issue(STATIC).await), "provider.max_leases");
    drop(held);
    let made = making.await.unwrap().unwrap().lease.id;

    let ending = broker.back_end.ender.acquire().await.unwrap();
    revoke(&broker, made).await;
    sleep(Duration::from_millis(1)).await;
    assert_eq!(limit(broker.issue(STATIC).await), "provider.max_leases");
    drop(ending);
    sleep(Duration::from_millis(1)).await;
    broker.issue(STATIC).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_comes_to_nothing_takes_no_place() {
    let broker = limited(settings(1, 100));
    broker.back_end.fail(Some(ErrorClass::Denied));
    for path in [STATIC, DYNAMIC] {
        assert!(matches!(broker.issue(path).await, Err(EngineError::Provider(_))), "{path}");
    }
    broker.back_end.fail(None);
    *broker.back_end.refusing.lock().unwrap() = Some(ErrorClass::Invalid);
    assert!(matches!(broker.issue(DYNAMIC).await, Err(EngineError::Provider(_))));
    broker.ledger.fail(Some(LedgerError::Full("no room".into())));
    assert!(matches!(broker.issue(STATIC).await, Err(EngineError::JournalFull(_))));
    broker.ledger.fail(None);
    let no_such_field = IssueLease { fields: vec!["nothing".parse().unwrap()], ..issue(API, STATIC) };
    assert!(matches!(broker.engine.issue_lease(no_such_field).await, Err(EngineError::NoSuchField(_))));
    broker.issue(STATIC).await.unwrap();
    assert_eq!(limit(broker.issue(STATIC).await), "limits.leases_per_principal");
}

#[tokio::test(start_paused = true)]
async fn a_retry_of_a_request_takes_no_second_place() {
    let broker = limited(settings(1, 100));
    let request = IssueLease { request_id: Some("r1".parse().unwrap()), ..issue(API, STATIC) };
    let first = broker.engine.issue_lease(request.clone()).await.unwrap().lease.id;
    assert_eq!(broker.engine.issue_lease(request).await.unwrap().lease.id, first);
    assert_eq!(limit(broker.issue(STATIC).await), "limits.leases_per_principal");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_expires_gives_its_place_back() {
    let broker = limited(settings(2, 100));
    broker.reconcile();
    broker.issue(STATIC).await.unwrap();
    broker.issue(DYNAMIC).await.unwrap();
    assert_eq!(limit(broker.issue(STATIC).await), "limits.leases_per_principal");
    sleep(Duration::from_secs(62)).await;
    assert!(broker.back_end.users.lock().unwrap().is_empty());
    broker.issue(STATIC).await.unwrap();
    broker.issue(DYNAMIC).await.unwrap();
    assert_eq!(limit(broker.issue(STATIC).await), "limits.leases_per_principal");
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_broker_left_is_counted_once() {
    let first = limited(settings(10_000, 10_000));
    let mut left = Vec::new();
    for n in 0..700 {
        left.push(first.issue(if n % 7 == 0 { DYNAMIC } else { STATIC }).await.unwrap().lease.id);
    }
    for id in left.drain(..100) {
        revoke(&first, id).await;
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(first.back_end.revocations.load(SeqCst), 15);
    let (ledger, back_end) = (first.ledger.clone(), first.back_end.clone());
    drop(first);

    // While the six hundred are counted, fifty of them end and fifty others begin.
    let broker = over(ledger, back_end, settings(700, 10_000), None);
    let ((), begun) = tokio::join!(broker.count(), async {
        let mut begun = Vec::new();
        for id in left.drain(..50) {
            revoke(&broker, id).await;
            begun.push(broker.issue(STATIC).await.unwrap().lease.id);
            sleep(Duration::from_micros(100)).await;
        }
        begun
    });
    sleep(Duration::from_secs(1)).await;
    assert_eq!(begun.len(), 50);
    for _ in 0..100 {
        broker.issue(STATIC).await.unwrap();
    }
    assert_eq!(limit(broker.issue(STATIC).await), "limits.leases_per_principal");
    let state = broker.engine.get_lease(actor(API), left[0]).await.unwrap().state;
    assert_eq!(state, LeaseState::Active);
    revoke(&broker, begun[0]).await;
    broker.issue(STATIC).await.unwrap();
    assert_eq!(limit(broker.issue(STATIC).await), "limits.leases_per_principal");
}

#[tokio::test(start_paused = true)]
async fn requests_that_were_turned_away_are_one_record() {
    let broker = Broker::new();
    broker.engine.note_limited(actor(API), "limits.requests_per_principal", 812).await.unwrap();
    let record = broker.ledger.records().pop().unwrap();
    assert_eq!((record.kind, record.actor.id.as_str()), (Kind::RequestLimited, API));
    assert_eq!(record.outcome, Outcome::Failed { reason: "RATE_LIMITED".into() });
    assert_eq!(record.details["limit"], "limits.requests_per_principal");
    assert_eq!(record.details["requests"], "812");
}
