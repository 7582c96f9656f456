//! How credentials end: reservations, credentials that nothing can end, credentials that are gone.

use std::{collections::BTreeMap, sync::atomic::Ordering::SeqCst, time::Duration};

use leasehold_core::{
    LeaseId, Timestamp,
    lease::{Cause, LeaseState, StepError},
    ports::Ledger,
    provider::ErrorClass,
    record::{Kind, Outcome, Record},
    state::{Key, KeyRange},
};
use leasehold_engine::{
    EngineError, ProviderLimits,
    request::{IssueLease, RenewLease, RevokeLease},
};
use tokio::time::sleep;

use crate::kit::{API, Broker, DYNAMIC, actor, issue};

fn reserving() -> Broker {
    let broker = Broker::new();
    broker.back_end.reserves.store(true, SeqCst);
    broker
}

/// A broker whose credentials live for so many seconds and cannot be ended sooner.
fn irrevocable(seconds: i64) -> Broker {
    let broker = Broker::new();
    *broker.back_end.irrevocable_until.lock().unwrap() = Some(Timestamp::from_second(seconds).unwrap());
    broker
}

fn renew(lease: LeaseId, seconds: u64) -> RenewLease {
    let ttl = Some(Duration::from_secs(seconds));
    RenewLease { actor: actor(API), lease, ttl, accept_rotation: false, request_id: None }
}

fn revoke(lease: LeaseId) -> RevokeLease {
    RevokeLease { actor: actor(API), lease, reason: None, request_id: None, rotate: false }
}

async fn state(broker: &Broker, id: LeaseId) -> LeaseState {
    broker.engine.get_lease(actor(API), id).await.unwrap().state
}

fn records(broker: &Broker, kind: Kind) -> Vec<Record> {
    broker.ledger.records().into_iter().filter(|record| record.kind == kind).collect()
}

#[tokio::test(start_paused = true)]
async fn a_reservation_is_durable_before_the_credential_is_asked_for() {
    let broker = reserving();
    let held = broker.back_end.maker.acquire().await.unwrap();
    let engine = broker.engine.clone();
    tokio::spawn(async move { engine.issue_lease(issue(API, DYNAMIC)).await });
    sleep(Duration::from_millis(1)).await;
    let attempts = records(&broker, Kind::LeaseAttempted);
    let id = attempts[0].lease.unwrap();
    let stored = broker.ledger.get(&Key::lease(id)).await.unwrap().unwrap();
    let lease = leasehold_core::Lease::decode(&stored.value).unwrap();
    assert_eq!(lease.handle.unwrap().expose(), b"reservation-0");
    assert!(broker.back_end.users.lock().unwrap().is_empty());

    // The broker dies here, and the credential is made by a call that nobody waits for any more.
    let (ledger, back_end) = (broker.ledger.clone(), broker.back_end.clone());
    back_end.users.lock().unwrap().insert(format!("lh-{}", id.suffix()));
    std::mem::forget(held);
    drop(broker);
    let broker = Broker::over(ledger, back_end);
    broker.reconcile();
    sleep(Duration::from_secs(120)).await;
    assert!(matches!(state(&broker, id).await, LeaseState::Revoked { cause: Cause::Abandoned, .. }));
    assert!(broker.back_end.users.lock().unwrap().is_empty());
    assert!(broker.back_end.reserved.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_credential_whose_answer_was_lost_is_ended_through_its_reservation() {
    let broker = reserving();
    broker.reconcile();
    let held = broker.back_end.maker.acquire().await.unwrap();
    let engine = broker.engine.clone();
    let making = tokio::spawn(async move { engine.issue_lease(issue(API, DYNAMIC)).await });
    sleep(Duration::from_secs(11)).await;
    let lost = making.await.unwrap().unwrap_err();
    assert_eq!(lost.reason(), "PROVIDER_UNAVAILABLE");
    assert_eq!(lost.provider().map(ToString::to_string).as_deref(), Some("main"));
    let id = records(&broker, Kind::LeaseAttempted)[0].lease.unwrap();
    broker.back_end.users.lock().unwrap().insert(format!("lh-{}", id.suffix()));
    drop(held);
    sleep(Duration::from_secs(120)).await;
    assert!(matches!(state(&broker, id).await, LeaseState::Revoked { cause: Cause::Abandoned, .. }));
    assert!(broker.back_end.users.lock().unwrap().is_empty());
    assert!(broker.back_end.reserved.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_reserved_in_vain_is_given_back_at_once() {
    let broker = reserving();
    *broker.back_end.refusing.lock().unwrap() = Some(ErrorClass::Denied);
    let refused = broker.issue(DYNAMIC).await.unwrap_err();
    assert_eq!(refused.reason(), "PROVIDER_DENIED_BROKER");
    assert_eq!(broker.back_end.reserved.lock().unwrap().len(), 1);
    sleep(Duration::from_millis(10)).await;
    assert!(broker.back_end.reserved.lock().unwrap().is_empty());
    let id = records(&broker, Kind::LeaseAttempted)[0].lease.unwrap();
    assert!(matches!(state(&broker, id).await, LeaseState::Revoked { cause: Cause::Abandoned, .. }));
}

#[tokio::test(start_paused = true)]
async fn a_reservation_that_fails_leaves_nothing_behind() {
    let broker = reserving();
    broker.back_end.fail(Some(ErrorClass::Denied));
    assert_eq!(broker.issue(DYNAMIC).await.unwrap_err().reason(), "PROVIDER_DENIED_BROKER");
    let failed = Outcome::Failed { reason: "PROVIDER_DENIED_BROKER".to_owned() };
    assert_eq!(broker.kinds(), [(Kind::LeaseIssued, failed)]);
    assert!(broker.ledger.scan(&KeyRange::leases(), 1).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_nothing_can_end_says_so_when_it_is_issued_and_in_the_record() {
    let broker = irrevocable(3600);
    let lease = broker.issue(DYNAMIC).await.unwrap().lease;
    assert_eq!(lease.irrevocable_until, Some(Timestamp::from_second(3600).unwrap()));
    let record = records(&broker, Kind::LeaseIssued).pop().unwrap();
    assert_eq!(record.details["revocation"], "none until 1970-01-01T01:00:00Z");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_nothing_can_end_is_not_over_before_its_credential_is() {
    let broker = irrevocable(300);
    broker.reconcile();
    let id = broker.issue(DYNAMIC).await.unwrap().lease.id;
    let revoking = broker.engine.revoke_lease(revoke(id)).await.unwrap();
    assert!(matches!(revoking.state, LeaseState::Revoking { cause: Cause::Holder, .. }));
    let record = records(&broker, Kind::LeaseRevoking).pop().unwrap();
    assert_eq!(record.details["revocation"], "none until 1970-01-01T00:05:00Z");
    sleep(Duration::from_secs(290)).await;
    assert!(matches!(state(&broker, id).await, LeaseState::Revoking { .. }));
    sleep(Duration::from_secs(11)).await;
    assert!(matches!(state(&broker, id).await, LeaseState::Revoked { cause: Cause::Holder, .. }));
    assert_eq!(broker.back_end.revocations.load(SeqCst), 0);
    assert!(records(&broker, Kind::LeaseQuarantined).is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_irrevocable_lease_that_expires_waits_for_its_credential_too() {
    let broker = irrevocable(300);
    broker.reconcile();
    let id = broker.issue(DYNAMIC).await.unwrap().lease.id;
    sleep(Duration::from_secs(61)).await;
    assert!(matches!(state(&broker, id).await, LeaseState::Revoking { cause: Cause::Expiry, .. }));
    sleep(Duration::from_secs(240)).await;
    assert!(matches!(state(&broker, id).await, LeaseState::Expired { .. }));
    assert_eq!(broker.back_end.revocations.load(SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn renewing_stops_where_an_irrevocable_credential_ends() {
    let broker = irrevocable(90);
    let id = broker.issue(DYNAMIC).await.unwrap().lease.id;
    let renewed = broker.engine.renew_lease(renew(id, 300)).await.unwrap().lease;
    assert_eq!(renewed.expires_at, Timestamp::from_second(90).unwrap());
    let error = broker.engine.renew_lease(renew(id, 300)).await.unwrap_err();
    assert!(matches!(error, EngineError::Lease(StepError::AtMaximum)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_of_an_irrevocable_credential_is_waited_for() {
    let broker = irrevocable(300);
    broker.reconcile();
    broker.back_end.fail(Some(ErrorClass::Transient));
    broker.issue(DYNAMIC).await.unwrap_err();
    broker.back_end.fail(None);
    let id = records(&broker, Kind::LeaseAttempted)[0].lease.unwrap();
    // Its TTL is a minute, and the call may have taken ten seconds after ten of waiting for its turn.
    sleep(Duration::from_secs(75)).await;
    assert!(matches!(state(&broker, id).await, LeaseState::Revoking { cause: Cause::Abandoned, .. }));
    sleep(Duration::from_secs(10)).await;
    assert!(matches!(state(&broker, id).await, LeaseState::Revoked { cause: Cause::Abandoned, .. }));
    assert_eq!(broker.back_end.revocations.load(SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_finds_the_credential_gone_ends_the_lease() {
    let broker = Broker::new();
    let id = broker.issue(DYNAMIC).await.unwrap().lease.id;
    broker.back_end.users.lock().unwrap().clear();
    let error = broker.engine.renew_lease(renew(id, 60)).await.unwrap_err();
    assert!(matches!(error, EngineError::Lease(StepError::Revoked)), "{error}");
    sleep(Duration::from_millis(10)).await;
    assert!(matches!(state(&broker, id).await, LeaseState::Revoked { cause: Cause::Upstream, .. }));
    let ended = records(&broker, Kind::LeaseRevoked).pop().unwrap();
    assert_eq!((ended.lease, ended.details["cause"].as_str()), (Some(id), "upstream"));
    let renewal = records(&broker, Kind::LeaseRenewed).pop().unwrap();
    assert_eq!(renewal.outcome, Outcome::Failed { reason: "LEASE_REVOKED".to_owned() });
    assert_eq!(renewal.details["cause"], "upstream");
    assert_eq!(broker.back_end.revocations.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_back_end_that_misses_a_credential_has_ended_it_only_when_it_says_so() {
    let broker = Broker::new();
    let id = broker.issue(DYNAMIC).await.unwrap().lease.id;
    // As a proxy's page, another cluster, or a standby that lags would say.
    broker.back_end.forgetful.store(true, SeqCst);
    broker.engine.renew_lease(renew(id, 60)).await.unwrap_err();
    sleep(Duration::from_millis(10)).await;
    assert!(matches!(state(&broker, id).await, LeaseState::Revoked { cause: Cause::Upstream, .. }));
    assert!(broker.back_end.users.lock().unwrap().is_empty(), "the credential outlives its lease");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_for_less_than_is_left_takes_no_time_from_the_credential() {
    let broker = Broker::new();
    let long = IssueLease { ttl: Some(Duration::from_secs(500)), ..issue(API, DYNAMIC) };
    let lease = broker.engine.issue_lease(long).await.unwrap().lease;
    let renewed = broker.engine.renew_lease(renew(lease.id, 60)).await.unwrap().lease;
    assert_eq!(renewed.expires_at, lease.expires_at);
    assert_eq!(*broker.back_end.wanted.lock().unwrap(), Some(lease.expires_at));
}

#[tokio::test(start_paused = true)]
async fn an_intent_is_waited_for_as_long_as_its_call_may_take() {
    let patient = ProviderLimits { call_timeout: Duration::from_secs(120), ..ProviderLimits::default() };
    let broker = Broker::with_limits(BTreeMap::from([("main".parse().unwrap(), patient)]));
    broker.reconcile();
    let held = broker.back_end.maker.acquire().await.unwrap();
    let engine = broker.engine.clone();
    let making = tokio::spawn(async move { engine.issue_lease(issue(API, DYNAMIC)).await });
    sleep(Duration::from_secs(100)).await;
    drop(held);
    let error = making.await.unwrap().map(|issued| issued.lease.state);
    assert!(matches!(error, Ok(LeaseState::Active)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn many_credentials_that_end_at_once_do_not_keep_anybody_waiting() {
    let narrow = ProviderLimits { max_calls: 2, max_queue: 1, ..ProviderLimits::default() };
    let broker = Broker::with_limits(BTreeMap::from([("main".parse().unwrap(), narrow)]));
    broker.reconcile();
    for _ in 0..20 {
        broker.issue(DYNAMIC).await.unwrap();
    }
    let held = broker.back_end.ender.acquire().await.unwrap();
    sleep(Duration::from_secs(62)).await;
    broker.issue(DYNAMIC).await.unwrap();
    drop(held);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(broker.back_end.revocations.load(SeqCst), 20);
    assert!(records(&broker, Kind::LeaseRevoking).iter().all(|record| record.outcome == Outcome::Ok));
}
