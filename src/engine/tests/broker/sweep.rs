//! Credentials that were ended without the broker.

use std::{collections::BTreeMap, sync::atomic::Ordering::SeqCst, time::Duration};

use leasehold_core::{
    LeaseId,
    lease::{Cause, LeaseState},
    provider::ErrorClass,
    record::Kind,
};
use leasehold_engine::{ProviderLimits, request::IssueLease};
use tokio::{sync::watch, time::sleep};

use crate::kit::{API, Broker, DYNAMIC, STATIC, actor, issue};

/// Lets the lookups run for as long as what is given back lives.
fn sweeping(broker: &Broker) -> watch::Sender<bool> {
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(broker.engine.clone().sweep(stopped));
    stop
}

/// A dynamic lease of ten minutes.
async fn long(broker: &Broker) -> LeaseId {
    let request = IssueLease { ttl: Some(Duration::from_secs(600)), ..issue(API, DYNAMIC) };
    broker.engine.issue_lease(request).await.unwrap().lease.id
}

async fn state(broker: &Broker, id: LeaseId) -> LeaseState {
    broker.engine.get_lease(actor(API), id).await.unwrap().state
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_the_back_end_ended_ends_its_lease_and_no_other() {
    let broker = Broker::new();
    let _sweep = sweeping(&broker);
    let (gone, kept) = (long(&broker).await, long(&broker).await);
    let held = broker.issue(STATIC).await.unwrap().lease.id;
    broker.back_end.users.lock().unwrap().remove(&format!("lh-{}", gone.suffix()));
    sleep(Duration::from_secs(290)).await;
    assert_eq!(broker.back_end.lookups.load(SeqCst), 0);
    sleep(Duration::from_secs(12)).await;
    assert!(matches!(state(&broker, gone).await, LeaseState::Revoked { cause: Cause::Upstream, .. }));
    assert_eq!(state(&broker, kept).await, LeaseState::Active);
    assert_eq!(state(&broker, held).await, LeaseState::Active);
    assert_eq!(broker.back_end.lookups.load(SeqCst), 2);
    let record = broker.ledger.records().pop().unwrap();
    assert_eq!((record.kind, record.lease), (Kind::LeaseRevoked, Some(gone)));
    assert_eq!(record.details["cause"], "upstream");
    assert_eq!(broker.back_end.revocations.load(SeqCst), 1);
    assert!(record.actor.id.as_str().ends_with("/leasehold/broker"));
}

#[tokio::test(start_paused = true)]
async fn many_leases_are_looked_up_slowly() {
    let broker = Broker::new();
    let _sweep = sweeping(&broker);
    for _ in 0..600 {
        long(&broker).await;
    }
    sleep(Duration::from_secs(301)).await;
    let first_second = broker.back_end.lookups.load(SeqCst);
    assert!((1..=40).contains(&first_second), "{first_second} in a second");
    sleep(Duration::from_secs(60)).await;
    assert_eq!(broker.back_end.lookups.load(SeqCst), 600);
}

#[tokio::test(start_paused = true)]
async fn a_back_end_that_does_not_answer_ends_no_lease_and_is_asked_again_later() {
    let broker = Broker::new();
    let _sweep = sweeping(&broker);
    sleep(Duration::from_secs(100)).await;
    let id = long(&broker).await;
    broker.back_end.users.lock().unwrap().clear();
    broker.back_end.fail(Some(ErrorClass::Transient));
    sleep(Duration::from_secs(202)).await;
    assert_eq!(broker.back_end.lookups.load(SeqCst), 1);
    assert_eq!(state(&broker, id).await, LeaseState::Active);
    broker.back_end.fail(None);
    sleep(Duration::from_secs(300)).await;
    assert!(matches!(state(&broker, id).await, LeaseState::Revoked { cause: Cause::Upstream, .. }));
}

#[tokio::test(start_paused = true)]
async fn a_back_end_that_cannot_look_up_is_not_asked_for_each() {
    let broker = Broker::new();
    let _sweep = sweeping(&broker);
    let id = long(&broker).await;
    for _ in 0..50 {
        long(&broker).await;
    }
    broker.back_end.fail(Some(ErrorClass::Permanent));
    sleep(Duration::from_secs(330)).await;
    assert_eq!(state(&broker, id).await, LeaseState::Active);
    let lookups = broker.back_end.lookups.load(SeqCst);
    assert!((3..=4).contains(&lookups), "{lookups}");
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_was_just_made_is_not_missed() {
    let broker = Broker::new();
    let _sweep = sweeping(&broker);
    sleep(Duration::from_secs(280)).await;
    let id = long(&broker).await;
    broker.back_end.users.lock().unwrap().clear();
    sleep(Duration::from_secs(25)).await;
    assert_eq!(state(&broker, id).await, LeaseState::Active);
    sleep(Duration::from_secs(300)).await;
    assert!(matches!(state(&broker, id).await, LeaseState::Revoked { cause: Cause::Upstream, .. }));
}

#[tokio::test(start_paused = true)]
async fn it_can_be_switched_off() {
    let off = ProviderLimits { upstream_check: Duration::ZERO, ..ProviderLimits::default() };
    let broker = Broker::with_limits(BTreeMap::from([("main".parse().unwrap(), off)]));
    let _sweep = sweeping(&broker);
    long(&broker).await;
    sleep(Duration::from_secs(500)).await;
    assert_eq!(broker.back_end.lookups.load(SeqCst), 0);
}
