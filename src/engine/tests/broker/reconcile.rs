//! Expiry, revocation at the back end, crashes.

use std::time::Duration;

use leasehold_core::{
    Lease, LeaseId,
    lease::{Cause, LeaseState},
    provider::ErrorClass,
    record::Kind,
    state::LedgerError,
};
use leasehold_engine::request::RevokeLease;
use tokio::time::sleep;

use crate::kit::{ADMIN, API, Broker, DYNAMIC, STATIC, actor};

async fn look(broker: &Broker, id: LeaseId) -> Lease {
    broker.engine.get_lease(actor(API), id).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_static_lease_expires_at_its_time_and_is_purged_later() {
    let broker = Broker::new();
    broker.reconcile();
    let id = broker.issue(STATIC).await.unwrap().lease.id;
    sleep(Duration::from_millis(59_900)).await;
    assert_eq!(look(&broker, id).await.state, LeaseState::Active);
    sleep(Duration::from_millis(200)).await;
    assert!(matches!(look(&broker, id).await.state, LeaseState::Expired { .. }));
    sleep(Lease::ENDED_RETENTION + Duration::from_secs(31)).await;
    assert!(broker.engine.get_lease(actor(API), id).await.is_err());
    assert_eq!(broker.ledger.records().iter().filter(|r| r.kind == Kind::LeasePurged).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn many_leases_expire_together() {
    let broker = Broker::new();
    broker.reconcile();
    for _ in 0..2000 {
        broker.issue(STATIC).await.unwrap();
    }
    sleep(Duration::from_secs(61)).await;
    assert_eq!(broker.ledger.records().iter().filter(|r| r.kind == Kind::LeaseExpired).count(), 2000);
    assert_eq!(broker.engine.status(actor(ADMIN)).await.unwrap().live_leases, 0);
}

#[tokio::test(start_paused = true)]
async fn a_dynamic_credential_is_ended_at_its_back_end() {
    let broker = Broker::new();
    broker.reconcile();
    let id = broker.issue(DYNAMIC).await.unwrap().lease.id;
    sleep(Duration::from_secs(61)).await;
    assert!(matches!(look(&broker, id).await.state, LeaseState::Expired { .. }));
    assert!(broker.back_end.users.lock().unwrap().is_empty());

    let id = broker.issue(DYNAMIC).await.unwrap().lease.id;
    let request = RevokeLease { actor: actor(API), lease: id, reason: None, request_id: None };
    let revoking = broker.engine.revoke_lease(request).await.unwrap();
    assert!(matches!(revoking.state, LeaseState::Revoking { cause: Cause::Holder, .. }));
    sleep(Duration::from_millis(1)).await;
    assert!(matches!(look(&broker, id).await.state, LeaseState::Revoked { cause: Cause::Holder, .. }));
    assert!(broker.back_end.users.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_revocation_that_fails_is_retried_then_quarantined_and_never_dropped() {
    let broker = Broker::new();
    broker.reconcile();
    let id = broker.issue(DYNAMIC).await.unwrap().lease.id;
    broker.back_end.fail(Some(ErrorClass::Transient));
    sleep(Duration::from_secs(60 + 40 * 60)).await;
    assert!(matches!(look(&broker, id).await.state, LeaseState::Quarantined { .. }));
    assert_eq!(broker.engine.status(actor(ADMIN)).await.unwrap().quarantined_leases, 1);
    broker.back_end.fail(None);
    sleep(Duration::from_secs(20 * 60)).await;
    assert!(matches!(look(&broker, id).await.state, LeaseState::Expired { .. }));
    assert!(broker.back_end.users.lock().unwrap().is_empty());
    assert_eq!(broker.engine.status(actor(ADMIN)).await.unwrap().quarantined_leases, 0);
}

#[tokio::test(start_paused = true)]
async fn an_intent_whose_outcome_nobody_knows_ends_in_the_reconciler() {
    let broker = Broker::new();
    broker.reconcile();
    broker.back_end.fail(Some(ErrorClass::Transient));
    broker.issue(DYNAMIC).await.unwrap_err();
    let id = broker.ledger.records().iter().find_map(|r| r.lease).unwrap();
    assert!(matches!(look(&broker, id).await.state, LeaseState::Pending { .. }));
    assert_eq!(broker.back_end.users.lock().unwrap().len(), 1);
    broker.back_end.fail(None);
    sleep(Duration::from_secs(120)).await;
    assert!(matches!(look(&broker, id).await.state, LeaseState::Revoked { cause: Cause::Abandoned, .. }));
    assert!(broker.back_end.users.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_restart_finds_what_is_due_in_the_ledger() {
    let broker = Broker::new();
    let id = broker.issue(DYNAMIC).await.unwrap().lease.id;
    sleep(Duration::from_secs(61)).await;
    let (ledger, back_end) = (broker.ledger.clone(), broker.back_end.clone());
    drop(broker);
    let broker = Broker::over(ledger, back_end);
    sleep(Duration::from_secs(61)).await;
    broker.reconcile();
    sleep(Duration::from_secs(1)).await;
    assert!(matches!(look(&broker, id).await.state, LeaseState::Expired { .. }));
    assert!(broker.back_end.users.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_refuses_for_a_while_loses_nothing() {
    let broker = Broker::new();
    broker.reconcile();
    let id = broker.issue(STATIC).await.unwrap().lease.id;
    broker.ledger.fail(Some(LedgerError::Full("no space left".to_owned())));
    sleep(Duration::from_secs(90)).await;
    broker.ledger.fail(None);
    sleep(Duration::from_secs(2)).await;
    assert!(matches!(look(&broker, id).await.state, LeaseState::Expired { .. }));
}
