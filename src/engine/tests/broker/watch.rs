//! WatchLeases.

use std::time::Duration;

use futures::{StreamExt, stream::BoxStream};
use leasehold_engine::{
    EngineError,
    request::{LeaseChange, LeaseNotice, RenewLease},
};

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
    let position = next(&mut watch).await.revision;
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
