//! A broker that serves and ends nothing.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use leasehold_core::{
    LeaseId,
    access::Action,
    lease::LeaseState,
    ports::Ledger,
    provider::ErrorClass,
    record::{Kind, Outcome},
    state::{Key, LedgerError},
};
use leasehold_engine::{
    EngineError,
    request::{ForgetLease, HoldReason, IssueLease, ReleaseHold, RenewLease, RetryLease, RevokeLease},
};
use tokio::time::sleep;

use crate::kit::{ADMIN, API, Broker, DYNAMIC, STATIC, actor, issue};

fn release(who: &str) -> ReleaseHold {
    ReleaseHold { actor: actor(who), reason: "compared with the back ends".into(), request_id: None }
}

fn revoke(id: LeaseId) -> RevokeLease {
    RevokeLease { actor: actor(API), lease: id, reason: None, request_id: None, rotate: false }
}

fn renew(id: LeaseId) -> RenewLease {
    RenewLease { actor: actor(API), lease: id, ttl: None, accept_rotation: false, request_id: None }
}

/// A broker that starts on what this one leaves.
async fn again(broker: Broker, reason: Option<HoldReason>) -> Broker {
    let (ledger, back_end) = (broker.ledger.clone(), broker.back_end.clone());
    drop(broker);
    let broker = Broker::over(ledger, back_end);
    broker.engine.take_up(reason).await.unwrap();
    broker
}

async fn state(broker: &Broker, id: LeaseId) -> LeaseState {
    broker.engine.get_lease(actor(API), id).await.unwrap().state
}

fn count(broker: &Broker, kind: Kind) -> usize {
    broker.ledger.records().iter().filter(|record| record.kind == kind).count()
}

#[tokio::test(start_paused = true)]
async fn on_hold_what_is_read_is_served_and_nothing_is_made_or_ended() {
    let broker = Broker::new();
    broker.engine.take_up(Some(HoldReason::Requested)).await.unwrap();
    broker.reconcile();
    let lease = broker.issue(STATIC).await.unwrap().lease;
    assert!(broker.engine.renew_lease(renew(lease.id)).await.is_ok());
    assert!(broker.engine.get_lease(actor(API), lease.id).await.is_ok());

    assert!(matches!(broker.issue(DYNAMIC).await, Err(EngineError::OnHold)));
    assert!(broker.back_end.users.lock().unwrap().is_empty());
    let refused = broker.engine.revoke_lease(revoke(lease.id)).await;
    assert_eq!(refused.unwrap_err().reason(), "BROKER_ON_HOLD");
    let last = broker.ledger.records().pop().unwrap();
    assert_eq!(last.outcome, Outcome::Failed { reason: "BROKER_ON_HOLD".into() });
    assert_eq!(state(&broker, lease.id).await, LeaseState::Active);
    let status = broker.engine.status(actor(ADMIN)).await.unwrap();
    assert!(status.on_hold);
}

#[tokio::test(start_paused = true)]
async fn what_is_due_waits_for_the_release_and_is_over_all_the_same() {
    let broker = Broker::new();
    let dynamic = broker.issue(DYNAMIC).await.unwrap().lease;
    let fixed = broker.issue(STATIC).await.unwrap().lease;
    let broker = again(broker, Some(HoldReason::Requested)).await;
    broker.reconcile();
    sleep(Duration::from_secs(600)).await;
    for id in [dynamic.id, fixed.id] {
        let lease = broker.engine.get_lease(actor(API), id).await.unwrap();
        assert_eq!(lease.state, LeaseState::Active);
        assert!(!lease.is_live(broker.engine.now()), "its time is over, whoever ends what");
    }
    assert!(matches!(broker.engine.renew_lease(renew(dynamic.id)).await, Err(EngineError::OnHold)));
    assert_eq!(broker.back_end.revocations.load(SeqCst), 0);
    assert_eq!((count(&broker, Kind::LeaseExpired), count(&broker, Kind::LeasePurged)), (0, 0));

    broker.engine.release_hold(release(ADMIN)).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert!(matches!(state(&broker, dynamic.id).await, LeaseState::Expired { .. }));
    assert!(matches!(state(&broker, fixed.id).await, LeaseState::Expired { .. }));
    assert!(broker.back_end.users.lock().unwrap().is_empty());
    let released = broker.ledger.records().into_iter().find(|record| record.kind == Kind::HoldReleased);
    let released = released.unwrap();
    assert_eq!(
        (released.actor.id.as_str(), &*released.details["reason"]),
        (ADMIN, "compared with the back ends")
    );
}

#[tokio::test(start_paused = true)]
async fn on_hold_no_lease_is_tried_again_or_given_up() {
    let broker = Broker::new();
    let id = broker.issue(DYNAMIC).await.unwrap().lease.id;
    broker.back_end.fail(Some(ErrorClass::Transient));
    broker.engine.revoke_lease(revoke(id)).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    broker.back_end.fail(None);
    let broker = again(broker, Some(HoldReason::Restored)).await;
    broker.reconcile();
    sleep(Duration::from_secs(600)).await;
    let retry = RetryLease { actor: actor(ADMIN), lease: id, request_id: None };
    assert!(matches!(broker.engine.retry_lease(retry.clone()).await, Err(EngineError::OnHold)));
    let forget = ForgetLease { actor: actor(ADMIN), lease: id, reason: "tired".into(), request_id: None };
    assert!(matches!(broker.engine.forget_lease(forget).await, Err(EngineError::OnHold)));
    assert!(matches!(state(&broker, id).await, LeaseState::Revoking { .. }));
    assert_eq!(broker.back_end.users.lock().unwrap().len(), 1);
    broker.engine.release_hold(release(ADMIN)).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert!(matches!(state(&broker, id).await, LeaseState::Revoked { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_hold_outlives_a_restart_and_is_released_once() {
    let broker = again(Broker::new(), Some(HoldReason::Restored)).await;
    let since = broker.engine.held().unwrap().since;
    sleep(Duration::from_secs(5)).await;
    for reason in [None, Some(HoldReason::Requested), Some(HoldReason::Restored)] {
        let (ledger, back_end) = (broker.ledger.clone(), broker.back_end.clone());
        let next = Broker::over(ledger, back_end);
        next.engine.take_up(reason).await.unwrap();
        let held = next.engine.held().unwrap();
        assert_eq!((held.since, held.reason), (since, HoldReason::Restored));
    }
    assert_eq!(count(&broker, Kind::HoldBegan), 1);

    let refused = broker.engine.release_hold(release(API)).await;
    assert!(matches!(refused, Err(EngineError::Denied(_))) && broker.engine.held().is_some());
    broker.rules.closed.lock().unwrap().insert(Action::ReleaseHold);
    assert!(broker.engine.release_hold(release(ADMIN)).await.is_err());
    broker.rules.closed.lock().unwrap().clear();
    broker.engine.release_hold(release(ADMIN)).await.unwrap();
    broker.engine.release_hold(release(ADMIN)).await.unwrap();
    let releases: Vec<_> = broker
        .ledger
        .records()
        .into_iter()
        .filter(|r| r.kind == Kind::HoldReleased && r.outcome == Outcome::Ok)
        .collect();
    assert_eq!(releases.len(), 2);
    assert_eq!(releases[1].details["already"], "released");
    let broker = again(broker, None).await;
    assert!(broker.engine.held().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_hold_that_cannot_be_written_down_is_in_force_all_the_same() {
    let broker = Broker::new();
    let lease = broker.issue(STATIC).await.unwrap().lease;
    broker.ledger.fail(Some(LedgerError::Full("no space left".into())));
    assert!(broker.engine.take_up(Some(HoldReason::Restored)).await.is_err());
    broker.ledger.fail(None);
    broker.reconcile();
    assert!(matches!(broker.engine.revoke_lease(revoke(lease.id)).await, Err(EngineError::OnHold)));
    sleep(Duration::from_secs(120)).await;
    assert_eq!(state(&broker, lease.id).await, LeaseState::Active);
    broker.engine.release_hold(release(ADMIN)).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert!(matches!(state(&broker, lease.id).await, LeaseState::Expired { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_hold_that_cannot_be_released_durably_stays() {
    let broker = again(Broker::new(), Some(HoldReason::Requested)).await;
    broker.ledger.fail(Some(LedgerError::Full("no space left".into())));
    assert!(matches!(broker.engine.release_hold(release(ADMIN)).await, Err(EngineError::JournalFull(_))));
    assert!(broker.engine.held().is_some());
    broker.ledger.fail(None);
    assert!(broker.ledger.get(&Key::hold()).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn the_report_says_what_would_be_ended() {
    let broker = Broker::new();
    assert!(broker.engine.hold_report(actor(ADMIN)).await.unwrap().is_none());
    let long = IssueLease { ttl: Some(Duration::from_secs(600)), ..issue(API, DYNAMIC) };
    let lost = broker.engine.issue_lease(long.clone()).await.unwrap().lease;
    broker.engine.issue_lease(long).await.unwrap();
    for _ in 0..3 {
        broker.issue(DYNAMIC).await.unwrap();
        broker.issue(STATIC).await.unwrap();
        broker.issue(STATIC).await.unwrap();
    }
    {
        let mut users = broker.back_end.users.lock().unwrap();
        users.remove(&format!("lh-{}", lost.id.suffix()));
        users.insert(format!("lh-{}", LeaseId::from_bits([0xee; 16]).suffix()));
        users.insert(format!("lh-{}", LeaseId::from_bits([0xef; 16]).suffix()));
    }
    let broker = again(broker, Some(HoldReason::Restored)).await;
    sleep(Duration::from_secs(60)).await;
    let report = broker.engine.hold_report(actor(ADMIN)).await.unwrap().unwrap();
    assert_eq!((report.held.reason, report.due_static_leases), (HoldReason::Restored, 6));
    let [main] = &report.providers[..] else { panic!("{report:?}") };
    assert_eq!(main.name.as_str(), "main");
    assert_eq!((main.due_credentials, main.orphans, main.missing, &main.problem), (3, 2, 1, &None));
    assert!(broker.engine.hold_report(actor(API)).await.is_err());

    broker.back_end.fail(Some(ErrorClass::Transient));
    let report = broker.engine.hold_report(actor(ADMIN)).await.unwrap().unwrap();
    assert!(report.providers[0].problem.as_ref().unwrap().contains("told to fail"));
}
