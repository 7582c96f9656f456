//! Expiry, revocation at the back end, crashes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::stream::BoxStream;
use leasehold_core::{
    Lease, LeaseId,
    lease::{Cause, LeaseState, StepError},
    ports::Ledger,
    provider::ErrorClass,
    record::Kind,
    state::{Change, Commit, Entry, Key, KeyRange, LedgerError, Revision},
};
use leasehold_engine::{
    EngineError,
    request::{IssuedLease, RevokeLease},
};
use leasehold_ledger::Memory;
use tokio::{task::JoinHandle, time::sleep};

use crate::kit::{ADMIN, API, Broker, DYNAMIC, STATIC, actor, issue};

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
    let request = RevokeLease { actor: actor(API), lease: id, reason: None, request_id: None, rotate: false };
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

/// A ledger that others get their turn beside, that counts, and that can be full.
#[derive(Default)]
struct Counting {
    memory: Memory,
    scans: AtomicU64,
    refusals: AtomicU64,
    refuse: AtomicU64,
}

#[async_trait]
impl Ledger for Counting {
    async fn commit(&self, commit: Commit) -> Result<Revision, LedgerError> {
        tokio::task::yield_now().await;
        if self.refusals.load(SeqCst) < self.refuse.load(SeqCst) {
            self.refusals.fetch_add(1, SeqCst);
            return Err(LedgerError::Full("no space left".to_owned()));
        }
        self.memory.commit(commit).await
    }

    async fn get(&self, key: &Key) -> Result<Option<Entry>, LedgerError> {
        self.memory.get(key).await
    }

    async fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<Entry>, LedgerError> {
        tokio::task::yield_now().await;
        self.scans.fetch_add(1, SeqCst);
        self.memory.scan(range, limit).await
    }

    fn watch(&self, range: KeyRange) -> BoxStream<'static, Result<Change, LedgerError>> {
        self.memory.watch(range)
    }
}

fn counting() -> (Arc<Counting>, Broker) {
    let ledger = Arc::new(Counting::default());
    let broker = Broker::through(ledger.clone(), ledger.memory.clone(), Arc::default());
    (ledger, broker)
}

#[tokio::test(start_paused = true)]
async fn a_full_journal_with_much_due_is_not_hammered() {
    let (ledger, broker) = counting();
    for _ in 0..1000 {
        broker.issue(STATIC).await.unwrap();
    }
    sleep(Duration::from_secs(61)).await;
    ledger.refuse.store(100_000, SeqCst);
    broker.reconcile();
    sleep(Duration::from_secs(10)).await;
    let refusals = ledger.refusals.load(SeqCst);
    // What was under way when the first was refused, once a second.
    assert!((1..=6_000).contains(&refusals), "{refusals} in ten seconds");
    ledger.refuse.store(0, SeqCst);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(broker.engine.status(actor(ADMIN)).await.unwrap().live_leases, 0);
}

#[tokio::test(start_paused = true)]
async fn leases_that_are_due_later_do_not_keep_the_reconciler_busy() {
    let (ledger, broker) = counting();
    broker.reconcile();
    for _ in 0..500 {
        broker.issue(STATIC).await.unwrap();
    }
    let scans = ledger.scans.load(SeqCst);
    assert!((1..20).contains(&scans), "{scans} scans while nothing was due");
    sleep(Duration::from_secs(61)).await;
    assert_eq!(broker.engine.status(actor(ADMIN)).await.unwrap().live_leases, 0);
}

#[tokio::test(start_paused = true)]
async fn leases_that_end_shortly_after_each_other_are_settled_together() {
    let (ledger, broker) = counting();
    for _ in 0..500 {
        broker.issue(STATIC).await.unwrap();
        sleep(Duration::from_millis(1)).await;
    }
    sleep(Duration::from_secs(59)).await;
    broker.reconcile();
    sleep(Duration::from_secs(2)).await;
    let expired = broker.ledger.records().iter().filter(|r| r.kind == Kind::LeaseExpired).count();
    assert_eq!(expired, 500);
    let scans = ledger.scans.load(SeqCst);
    assert!(scans < 100, "{scans} scans within a second");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_due_soon_wakes_the_reconciler_even_in_the_middle_of_a_look() {
    let (ledger, broker) = counting();
    broker.reconcile();
    while ledger.scans.load(SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let soon = issue(API, STATIC);
    let soon = leasehold_engine::request::IssueLease { ttl: Some(Duration::from_secs(3)), ..soon };
    let id = broker.engine.issue_lease(soon).await.unwrap().lease.id;
    sleep(Duration::from_millis(3_100)).await;
    assert!(matches!(look(&broker, id).await.state, LeaseState::Expired { .. }));
}

/// A dynamic lease that is revoked, and its revocation finished, while its credential is still being made.
async fn revoked_while_it_is_made(
    broker: &Broker,
) -> (LeaseId, JoinHandle<Result<IssuedLease, EngineError>>) {
    let (id, making) = broker.making().await;
    let revoke =
        RevokeLease { actor: actor(ADMIN), lease: id, reason: None, request_id: None, rotate: false };
    broker.engine.revoke_lease(revoke).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert!(matches!(look(broker, id).await.state, LeaseState::Revoking { cause: Cause::Operator, .. }));
    (id, making)
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_is_made_after_its_lease_was_revoked_is_ended() {
    let broker = Broker::new();
    let held = broker.back_end.maker.acquire().await.unwrap();
    let (_, making) = revoked_while_it_is_made(&broker).await;
    drop(held);
    assert!(matches!(making.await.unwrap(), Err(EngineError::Lease(StepError::Revoked))));
    sleep(Duration::from_secs(1)).await;
    assert!(broker.back_end.users.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_comes_after_the_lease_was_revoked_is_all_that_it_waited_for() {
    let broker = Broker::new();
    broker.reconcile();
    let held = broker.back_end.maker.acquire().await.unwrap();
    let (id, making) = revoked_while_it_is_made(&broker).await;
    *broker.back_end.refusing.lock().unwrap() = Some(ErrorClass::Denied);
    sleep(Duration::from_secs(1)).await;
    drop(held);
    assert_eq!(making.await.unwrap().unwrap_err().reason(), "PROVIDER_DENIED_BROKER");
    sleep(Duration::from_millis(10)).await;
    assert!(matches!(look(&broker, id).await.state, LeaseState::Revoked { cause: Cause::Operator, .. }));
    sleep(Lease::ENDED_RETENTION + Duration::from_secs(60)).await;
    let left = broker.ledger.scan(&KeyRange::prefix("expiry/"), 10).await.unwrap();
    assert!(left.is_empty(), "{left:?}");
}
