//! Credentials that nobody will ever get.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use leasehold_core::{
    LeaseId,
    lease::{Cause, LeaseState, StepError},
    ports::Ledger,
    provider::ErrorClass,
    record::Kind,
    state::KeyRange,
};
use leasehold_engine::{
    EngineError,
    request::{ForgetLease, HoldReason, ReleaseHold, RevokeLease},
};
use tokio::time::sleep;

use crate::kit::{ADMIN, API, Broker, DYNAMIC, actor};

/// A broker that died while it made a credential, whose answer never came.
async fn died(broker: &Broker) -> LeaseId {
    broker.back_end.fail(Some(ErrorClass::Transient));
    broker.issue(DYNAMIC).await.unwrap_err();
    broker.back_end.fail(None);
    assert_eq!(broker.back_end.users.lock().unwrap().len(), 1);
    broker.ledger.records().iter().find_map(|record| record.lease).unwrap()
}

async fn state(broker: &Broker, id: LeaseId) -> LeaseState {
    broker.engine.get_lease(actor(API), id).await.unwrap().state
}

fn revoke(lease: LeaseId) -> RevokeLease {
    RevokeLease { actor: actor(ADMIN), lease, reason: None, request_id: None, rotate: false }
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_process_was_making_is_ended_at_once_and_once_more() {
    let broker = Broker::new();
    let id = died(&broker).await;
    let (ledger, back_end) = (broker.ledger.clone(), broker.back_end.clone());
    drop(broker);
    let broker = Broker::over(ledger, back_end);
    broker.engine.take_up(None).await.unwrap();
    let own = broker.issue(DYNAMIC).await.unwrap().lease;
    broker.reconcile();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(state(&broker, own.id).await, LeaseState::Active);
    assert_eq!(broker.back_end.users.lock().unwrap().len(), 1);
    // It is not over: what the dead process had sent may be carried out still.
    let lease = broker.engine.get_lease(actor(API), id).await.unwrap();
    assert!(matches!(lease.state, LeaseState::Revoking { cause: Cause::Abandoned, .. }), "{:?}", lease.state);
    assert_eq!((lease.unsettled_until.is_some(), lease.verification), (true, None));

    // And so it is.
    broker.back_end.users.lock().unwrap().insert(format!("lh-{}", id.suffix()));
    let (ledger, back_end) = (broker.ledger.clone(), broker.back_end.clone());
    drop(broker);
    let broker = Broker::over(ledger, back_end);
    broker.engine.take_up(None).await.unwrap();
    broker.reconcile();
    sleep(Duration::from_secs(50)).await;
    assert_eq!(broker.back_end.users.lock().unwrap().len(), 2);
    assert!(matches!(state(&broker, id).await, LeaseState::Revoking { .. }));
    sleep(Duration::from_secs(30)).await;
    assert!(!broker.back_end.users.lock().unwrap().contains(&format!("lh-{}", id.suffix())));
    let lease = broker.engine.get_lease(actor(API), id).await.unwrap();
    assert!(matches!(lease.state, LeaseState::Revoked { cause: Cause::Abandoned, .. }), "{:?}", lease.state);
    assert!(lease.verification.is_some() && lease.unsettled_until.is_none());
    let records = broker.ledger.records();
    let ended = records.iter().filter(|r| r.lease == Some(id) && r.kind == Kind::LeaseRevoked);
    assert_eq!(ended.count(), 1, "it is over once");
}

#[tokio::test(start_paused = true)]
async fn on_hold_it_is_left_until_the_release() {
    let broker = Broker::new();
    let id = died(&broker).await;
    let (ledger, back_end) = (broker.ledger.clone(), broker.back_end.clone());
    drop(broker);
    let broker = Broker::over(ledger, back_end);
    broker.engine.take_up(Some(HoldReason::Restored)).await.unwrap();
    broker.reconcile();
    sleep(Duration::from_secs(600)).await;
    assert!(matches!(state(&broker, id).await, LeaseState::Pending { .. }));
    assert_eq!(broker.back_end.users.lock().unwrap().len(), 1);
    let release = ReleaseHold { actor: actor(ADMIN), reason: "compared".into(), request_id: None };
    broker.engine.release_hold(release).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert!(matches!(state(&broker, id).await, LeaseState::Revoked { cause: Cause::Abandoned, .. }));
    assert!(broker.back_end.users.lock().unwrap().is_empty());
}

/// A lease that is revoked while its credential is being made: nobody says that there is none before that is known.
#[tokio::test(start_paused = true)]
async fn a_lease_is_not_over_while_its_credential_is_made() {
    let broker = Broker::new();
    broker.reconcile();
    let making = broker.back_end.maker.acquire().await.unwrap();
    let (id, issuing) = broker.making().await;
    broker.engine.revoke_lease(revoke(id)).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(broker.back_end.revocations.load(SeqCst), 1);
    assert!(matches!(state(&broker, id).await, LeaseState::Revoking { cause: Cause::Operator, .. }));
    drop(making);
    assert!(matches!(issuing.await.unwrap(), Err(EngineError::Lease(StepError::Revoked))));
    // It was answered, so there is nothing to wait for any more.
    sleep(Duration::from_millis(10)).await;
    assert!(matches!(state(&broker, id).await, LeaseState::Revoked { cause: Cause::Operator, .. }));
    assert!(broker.back_end.users.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_process_leaves_its_own_intents_alone() {
    let broker = Broker::new();
    broker.engine.take_up(None).await.unwrap();
    broker.reconcile();
    let id = died(&broker).await;
    sleep(Duration::from_secs(30)).await;
    assert!(matches!(state(&broker, id).await, LeaseState::Pending { .. }));
    assert!(!broker.ledger.scan(&KeyRange::making(), 10).await.unwrap().is_empty());
}

/// A lease that is revoked while its credential is being made, and whose back end does not end anything for a while.
#[tokio::test(start_paused = true)]
async fn a_lease_on_its_way_out_takes_along_what_is_made_for_it_too_late() {
    let broker = Broker::new();
    broker.reconcile();
    let making = broker.back_end.maker.acquire().await.unwrap();
    let ending = broker.back_end.ender.acquire().await.unwrap();
    let (id, issuing) = broker.making().await;
    broker.engine.revoke_lease(revoke(id)).await.unwrap();
    sleep(Duration::from_millis(10)).await;
    drop(making);
    assert!(matches!(issuing.await.unwrap(), Err(EngineError::Lease(StepError::Revoked))));
    let lease = broker.engine.get_lease(actor(API), id).await.unwrap();
    assert!(
        matches!(lease.state, LeaseState::Revoking { cause: Cause::Operator, .. }) && lease.handle.is_some()
    );
    drop(ending);
    sleep(Duration::from_secs(120)).await;
    assert!(broker.back_end.users.lock().unwrap().is_empty());
    assert!(matches!(state(&broker, id).await, LeaseState::Revoked { cause: Cause::Operator, .. }));
    let disclosed =
        broker.ledger.records().iter().any(|r| r.kind == Kind::LeaseIssued && !r.value_hmac.is_empty());
    assert!(!disclosed, "nobody got it");
}

#[tokio::test(start_paused = true)]
async fn a_stray_credential_is_tried_again_when_its_end_fails() {
    let broker = Broker::new();
    let making = broker.back_end.maker.acquire().await.unwrap();
    let (id, issuing) = broker.making().await;
    broker.engine.revoke_lease(revoke(id)).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    let forget = ForgetLease { actor: actor(ADMIN), lease: id, reason: "tired".into(), request_id: None };
    broker.engine.forget_lease(forget).await.unwrap();
    broker.back_end.fail(Some(ErrorClass::Transient));
    drop(making);
    assert!(issuing.await.unwrap().is_err());
    sleep(Duration::from_secs(5)).await;
    assert_eq!(broker.back_end.users.lock().unwrap().len(), 1);
    broker.back_end.fail(None);
    sleep(Duration::from_secs(60)).await;
    assert!(broker.back_end.users.lock().unwrap().is_empty());
    assert!(broker.back_end.revocations.load(SeqCst) >= 2);
}
