//! WatchLeases.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt, future::BoxFuture, stream::BoxStream};
use leasehold_core::{
    ports::Ledger,
    state::{Change, Commit, Entry, Key, KeyRange, LedgerError, Revision},
};
use leasehold_engine::{
    EngineError,
    request::{LeaseChange, LeaseNotice, RenewLease, RevokeLease},
};
use leasehold_ledger::Memory;

use crate::kit::{API, Broker, OTHER, STATIC, actor};

type Watch = BoxStream<'static, Result<LeaseNotice, EngineError>>;

async fn next(watch: &mut Watch) -> LeaseNotice {
    tokio::time::timeout(Duration::from_secs(5), watch.next()).await.unwrap().unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_watch_tells_what_is_and_what_comes() {
    let broker = Broker::new();
    let old = broker.issue(STATIC).await.unwrap().lease.id;
    let mut watch = broker.engine.watch_leases(actor(API), None).await.unwrap();
    let mut others = broker.engine.watch_leases(actor(OTHER), None).await.unwrap();
    let snapshot = next(&mut watch).await;
    assert_eq!((snapshot.lease.id, snapshot.change), (old, LeaseChange::Snapshot));

    let new = broker.issue(STATIC).await.unwrap().lease.id;
    let notice = next(&mut watch).await;
    assert_eq!((notice.lease.id, notice.change), (new, LeaseChange::Issued));
    let request = RenewLease { actor: actor(API), lease: new, ttl: None, request_id: None };
    broker.engine.renew_lease(request).await.unwrap();
    let renewed = next(&mut watch).await;
    assert_eq!(renewed.change, LeaseChange::Renewed);
    broker.reconcile();
    assert_eq!(
        tokio::time::timeout(Duration::from_secs(90), watch.next()).await.unwrap().unwrap().unwrap().change,
        LeaseChange::Expired
    );
    let quiet = tokio::time::timeout(Duration::from_secs(1), others.next()).await;
    assert!(quiet.is_err(), "somebody else's lease was told: {quiet:?}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_resumes_behind_its_position() {
    let broker = Broker::new();
    let mut watch = broker.engine.watch_leases(actor(API), None).await.unwrap();
    broker.issue(STATIC).await.unwrap();
    let position = next(&mut watch).await.resume;
    drop(watch);
    let missed = broker.issue(STATIC).await.unwrap().lease.id;
    let mut watch = broker.engine.watch_leases(actor(API), Some(position)).await.unwrap();
    assert_eq!(next(&mut watch).await.lease.id, missed);
}

#[tokio::test(start_paused = true)]
async fn a_slow_watcher_is_told_that_it_missed_something() {
    let broker = Broker::new();
    let mut watch = broker.engine.watch_leases(actor(API), None).await.unwrap();
    for _ in 0..2000 {
        broker.issue(STATIC).await.unwrap();
    }
    let mut last = None;
    while let Some(notice) = watch.next().await {
        last = Some(notice);
    }
    assert!(matches!(last, Some(Err(EngineError::WatchLagged))), "{last:?}");
}

/// A ledger in which something happens right after a lease was read.
struct Meanwhile {
    memory: Memory,
    event: Mutex<Option<(Key, BoxFuture<'static, ()>)>>,
}

#[async_trait]
impl Ledger for Meanwhile {
    async fn commit(&self, commit: Commit) -> Result<Revision, LedgerError> {
        self.memory.commit(commit).await
    }

    async fn get(&self, key: &Key) -> Result<Option<Entry>, LedgerError> {
        let entry = self.memory.get(key).await;
        let event = self.event.lock().unwrap().take_if(|(after, _)| after == key);
        if let Some((_, event)) = event {
            event.await;
        }
        entry
    }

    async fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<Entry>, LedgerError> {
        self.memory.scan(range, limit).await
    }

    fn watch(&self, range: KeyRange) -> BoxStream<'static, Result<Change, LedgerError>> {
        self.memory.watch(range)
    }
}

#[tokio::test(start_paused = true)]
async fn what_changes_while_the_snapshot_is_read_is_not_lost_to_who_resumes_behind_it() {
    let broker = Broker::new();
    for _ in 0..2 {
        broker.issue(STATIC).await.unwrap();
    }
    let held = broker.ledger.scan(&KeyRange::held_by(&actor(API).id), 10).await.unwrap();
    let [first, second] = [0, 1].map(|at: usize| held[at].key.lease_id().unwrap());
    let engine = broker.engine.clone();
    let event = async move {
        let revoke = RevokeLease { actor: actor(API), lease: first, reason: None, request_id: None };
        engine.revoke_lease(revoke).await.unwrap();
        let renew = RenewLease { actor: actor(API), lease: second, ttl: None, request_id: None };
        engine.renew_lease(renew).await.unwrap();
    };
    let event: BoxFuture<'static, ()> = Box::pin(event);
    let front =
        Meanwhile { memory: broker.ledger.clone(), event: Mutex::new(Some((Key::lease(first), event))) };
    let watched = Broker::through(Arc::new(front), broker.ledger.clone(), broker.back_end.clone());
    let mut watch = watched.engine.watch_leases(actor(API), None).await.unwrap();
    let snapshot = [next(&mut watch).await, next(&mut watch).await];
    assert_eq!(snapshot.each_ref().map(|notice| notice.lease.id), [first, second]);
    let position = snapshot[1].resume;
    drop(watch);
    let mut watch = watched.engine.watch_leases(actor(API), Some(position)).await.unwrap();
    let notice = next(&mut watch).await;
    assert_eq!((notice.lease.id, notice.change), (first, LeaseChange::Revoked));
}
