//! WatchLeases.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt, future::BoxFuture, stream::BoxStream};
use leasehold_core::{
    LeaseId,
    ports::Ledger,
    state::{Change, Commit, Entry, Key, KeyRange, LedgerError, Revision},
};
use leasehold_engine::{
    EngineError,
    request::{IssueLease, LeaseChange, LeaseNotice, RenewLease, RevokeLease, WriteSecret},
};
use leasehold_ledger::Memory;
use tokio::time::sleep;

use crate::kit::{ADMIN, API, Broker, OTHER, STATIC, actor, issue, two_fields};

type Watch = BoxStream<'static, Result<LeaseNotice, EngineError>>;

/// What is told next, whatever it is.
async fn any(watch: &mut Watch) -> LeaseNotice {
    tokio::time::timeout(Duration::from_secs(5), watch.next()).await.unwrap().unwrap().unwrap()
}

/// What happens next: that the tests' leases of a minute end soon is true of them all their lives.
async fn next(watch: &mut Watch) -> LeaseNotice {
    loop {
        let notice = any(watch).await;
        if notice.change != LeaseChange::ExpiringSoon {
            return notice;
        }
    }
}

async fn is_quiet(watch: &mut Watch) -> bool {
    tokio::time::timeout(Duration::from_secs(1), watch.next()).await.is_err()
}

/// A lease that lives for so long.
async fn lasting(broker: &Broker, seconds: u64) -> LeaseId {
    let ttl = Some(Duration::from_secs(seconds));
    broker.engine.issue_lease(IssueLease { ttl, ..issue(API, STATIC) }).await.unwrap().lease.id
}

async fn renew(broker: &Broker, lease: LeaseId, seconds: u64) {
    let ttl = Some(Duration::from_secs(seconds));
    let request = RenewLease { actor: actor(API), lease, ttl, accept_rotation: false, request_id: None };
    broker.engine.renew_lease(request).await.unwrap();
}

fn to(version: &str) -> LeaseChange {
    LeaseChange::Rotated { current: version.parse().unwrap() }
}

async fn write(broker: &Broker, password: &str, request_id: Option<&str>) {
    let write = WriteSecret {
        actor: actor(ADMIN),
        secret: STATIC.parse().unwrap(),
        value: two_fields("app", password),
        expected: None,
        request_id: request_id.map(|id| id.parse().unwrap()),
    };
    broker.engine.write_secret(write).await.unwrap();
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
    renew(&broker, new, 60).await;
    let renewed = next(&mut watch).await;
    assert_eq!(renewed.change, LeaseChange::Renewed);
    broker.reconcile();
    sleep(Duration::from_secs(61)).await;
    assert_eq!(next(&mut watch).await.change, LeaseChange::Expired);
    assert!(is_quiet(&mut others).await, "somebody else's lease was told");
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

/// A ledger in which something happens right after a lease was read for so many times.
struct Meanwhile {
    memory: Memory,
    event: Mutex<Option<(Key, usize, BoxFuture<'static, ()>)>>,
}

#[async_trait]
impl Ledger for Meanwhile {
    async fn commit(&self, commit: Commit) -> Result<Revision, LedgerError> {
        self.memory.commit(commit).await
    }

    async fn get(&self, key: &Key) -> Result<Option<Entry>, LedgerError> {
        let entry = self.memory.get(key).await;
        let event = self.event.lock().unwrap().take_if(|(after, left, _)| {
            *left -= usize::from(after == key);
            *left == 0
        });
        if let Some((_, _, event)) = event {
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
        let revoke =
            RevokeLease { actor: actor(API), lease: first, reason: None, request_id: None, rotate: false };
        engine.revoke_lease(revoke).await.unwrap();
        let renew = RenewLease {
            actor: actor(API),
            lease: second,
            ttl: None,
            accept_rotation: false,
            request_id: None,
        };
        engine.renew_lease(renew).await.unwrap();
    };
    let event: BoxFuture<'static, ()> = Box::pin(event);
    // It is read once to see how new the page is, and once to be told.
    let front =
        Meanwhile { memory: broker.ledger.clone(), event: Mutex::new(Some((Key::lease(first), 2, event))) };
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

#[tokio::test(start_paused = true)]
async fn that_a_lease_ends_soon_is_told_once_for_each_end() {
    let broker = Broker::new();
    let mut watch = broker.engine.watch_leases(actor(API), None).await.unwrap();
    let id = lasting(&broker, 300).await;
    assert_eq!(any(&mut watch).await.change, LeaseChange::Issued);
    sleep(Duration::from_secs(235)).await;
    assert!(is_quiet(&mut watch).await);
    sleep(Duration::from_secs(4)).await;
    let soon = any(&mut watch).await;
    assert_eq!((soon.lease.id, soon.change), (id, LeaseChange::ExpiringSoon));
    assert!(is_quiet(&mut watch).await);

    renew(&broker, id, 300).await;
    assert_eq!(any(&mut watch).await.change, LeaseChange::Renewed);
    sleep(Duration::from_secs(200)).await;
    assert!(is_quiet(&mut watch).await);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(any(&mut watch).await.change, LeaseChange::ExpiringSoon);

    // It costs no record, and who comes back is not told again.
    let records = broker.ledger.records().len();
    drop(watch);
    let mut back = broker.engine.watch_leases(actor(API), Some(soon.resume)).await.unwrap();
    assert_eq!(any(&mut back).await.change, LeaseChange::Renewed);
    let again = any(&mut back).await;
    assert_eq!(again.change, LeaseChange::ExpiringSoon);
    drop(back);
    let mut back = broker.engine.watch_leases(actor(API), Some(again.resume)).await.unwrap();
    assert!(is_quiet(&mut back).await);
    assert_eq!(broker.ledger.records().len(), records);
}

#[tokio::test(start_paused = true)]
async fn who_was_away_when_an_end_came_near_is_told_at_once() {
    let broker = Broker::new();
    let mut watch = broker.engine.watch_leases(actor(API), None).await.unwrap();
    let [first, second] = [lasting(&broker, 300).await, lasting(&broker, 400).await];
    any(&mut watch).await;
    let position = any(&mut watch).await.resume;
    drop(watch);
    sleep(Duration::from_secs(280)).await;
    let mut watch = broker.engine.watch_leases(actor(API), Some(position)).await.unwrap();
    let soon = any(&mut watch).await;
    assert_eq!((soon.lease.id, soon.change), (first, LeaseChange::ExpiringSoon));
    assert!(is_quiet(&mut watch).await);
    let revoke =
        RevokeLease { actor: actor(API), lease: second, reason: None, request_id: None, rotate: false };
    broker.engine.revoke_lease(revoke).await.unwrap();
    assert_eq!(any(&mut watch).await.change, LeaseChange::Revoked);
    // Nothing is said of the near end of what is over.
    sleep(Duration::from_secs(70)).await;
    assert!(is_quiet(&mut watch).await);
}

#[tokio::test(start_paused = true)]
async fn a_rotation_is_told_once_to_who_holds_another_version() {
    let broker = Broker::new();
    let old = lasting(&broker, 600).await;
    let mut watch = broker.engine.watch_leases(actor(API), None).await.unwrap();
    let mut others = broker.engine.watch_leases(actor(OTHER), None).await.unwrap();
    assert_eq!(any(&mut watch).await.change, LeaseChange::Snapshot);
    write(&broker, "canary-2", None).await;
    let rotated = any(&mut watch).await;
    assert_eq!((rotated.lease.id, rotated.change), (old, to("v2")));
    let new = lasting(&broker, 600).await;
    assert_eq!(any(&mut watch).await.lease.id, new);
    assert!(is_quiet(&mut watch).await);
    assert!(is_quiet(&mut others).await);

    // Behind it, nothing; before it, or from the beginning, the old lease only.
    let mut back = broker.engine.watch_leases(actor(API), Some(rotated.resume)).await.unwrap();
    assert_eq!((any(&mut back).await.lease.id, is_quiet(&mut back).await), (new, true));
    let mut anew = broker.engine.watch_leases(actor(API), None).await.unwrap();
    let told = [any(&mut anew).await, any(&mut anew).await, any(&mut anew).await];
    let mut told = told.map(|notice| (notice.lease.id, notice.change == to("v2")));
    told.sort();
    let mut expected = [(old, false), (old, true), (new, false)];
    expected.sort();
    assert_eq!(told, expected);

    // Another rotation is told to both.
    write(&broker, "canary-3", None).await;
    let both = [any(&mut watch).await, any(&mut watch).await];
    assert!(both.iter().all(|notice| notice.change == to("v3")));
    assert!(is_quiet(&mut watch).await);
}

#[tokio::test(start_paused = true)]
async fn a_rotation_is_not_missed_by_who_was_away() {
    let broker = Broker::new();
    let mut watch = broker.engine.watch_leases(actor(API), None).await.unwrap();
    let old = lasting(&broker, 600).await;
    let position = any(&mut watch).await.resume;
    drop(watch);
    write(&broker, "canary-2", None).await;
    let mut watch = broker.engine.watch_leases(actor(API), Some(position)).await.unwrap();
    let rotated = any(&mut watch).await;
    assert_eq!((rotated.lease.id, rotated.change), (old, to("v2")));
    assert!(is_quiet(&mut watch).await);
}

#[tokio::test(start_paused = true)]
async fn a_beginning_that_was_left_in_the_middle_goes_on_there() {
    let broker = Broker::new();
    let mut all = BTreeSet::new();
    for _ in 0..700 {
        all.insert(lasting(&broker, 600).await);
    }
    let mut watch = broker.engine.watch_leases(actor(API), None).await.unwrap();
    let mut told = BTreeSet::new();
    let mut position = None;
    for _ in 0..300 {
        let notice = any(&mut watch).await;
        assert!(told.insert(notice.lease.id));
        position = Some(notice.resume);
    }
    drop(watch);
    // One that was told changes, and one that was not.
    let (before, behind) = (*told.first().unwrap(), *all.difference(&told).next().unwrap());
    for lease in [before, behind] {
        let revoke = RevokeLease { actor: actor(API), lease, reason: None, request_id: None, rotate: false };
        broker.engine.revoke_lease(revoke).await.unwrap();
    }
    let mut watch = broker.engine.watch_leases(actor(API), position).await.unwrap();
    let revoked = any(&mut watch).await;
    assert_eq!((revoked.lease.id, revoked.change), (before, LeaseChange::Revoked));
    told.insert(behind);
    while told.len() < all.len() {
        let notice = any(&mut watch).await;
        assert_eq!(notice.change, LeaseChange::Snapshot);
        assert!(told.insert(notice.lease.id), "told twice");
    }
    assert_eq!(told, all);
    assert!(is_quiet(&mut watch).await);
}

#[tokio::test(start_paused = true)]
async fn a_beginning_is_read_no_faster_than_it_is_told() {
    let broker = Broker::new();
    for _ in 0..2_000 {
        broker.issue(STATIC).await.unwrap();
    }
    let counting = Arc::new(Counting { memory: broker.ledger.clone(), gets: AtomicU64::new(0) });
    let watched = Broker::through(counting.clone(), broker.ledger.clone(), broker.back_end.clone());
    let mut watch = watched.engine.watch_leases(actor(API), None).await.unwrap();
    any(&mut watch).await;
    assert!(counting.gets.load(SeqCst) < 600, "{} leases were read to tell one", counting.gets.load(SeqCst));
    let mut told = 1;
    while told < 2_000 {
        next(&mut watch).await;
        told += 1;
    }
}

/// A ledger that counts what is read of it.
struct Counting {
    memory: Memory,
    gets: AtomicU64,
}

#[async_trait]
impl Ledger for Counting {
    async fn commit(&self, commit: Commit) -> Result<Revision, LedgerError> {
        self.memory.commit(commit).await
    }

    async fn get(&self, key: &Key) -> Result<Option<Entry>, LedgerError> {
        self.gets.fetch_add(1, SeqCst);
        self.memory.get(key).await
    }

    async fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<Entry>, LedgerError> {
        self.memory.scan(range, limit).await
    }

    fn watch(&self, range: KeyRange) -> BoxStream<'static, Result<Change, LedgerError>> {
        self.memory.watch(range)
    }
}
