//! The revocation of many leases, and what is done with those that could not be ended.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::{FutureExt, StreamExt, stream::BoxStream};
use leasehold_core::{
    LeaseId,
    access::Action,
    lease::{Cause, LeaseState},
    ports::Ledger,
    provider::ErrorClass,
    record::{Kind, Outcome},
    state::{Change, Commit, Entry, Key, KeyRange, LedgerError, Revision},
};
use leasehold_engine::{
    EngineError, ProviderLimits,
    request::{
        ForgetLease, HoldReason, LeaseFilter, LeaseScope, ListLeases, RetryLease, Revocation,
        RevocationCounts, RevocationState, RevokeLease, StartRevocation, StateName,
    },
};
use leasehold_ledger::Memory;
use tokio::time::sleep;

use crate::kit::{ADMIN, API, Broker, DYNAMIC, STATIC, actor, issue, many_secrets, spiffe};

const BESIDE: &str = "spiffe://example.org/prod/payments/beside";

fn of_holder(holder: &str) -> LeaseFilter {
    LeaseFilter { holder: Some(spiffe(holder)), ..LeaseFilter::default() }
}

fn of_secret(secret: &str) -> LeaseFilter {
    LeaseFilter { secret: Some(secret.parse().unwrap()), ..LeaseFilter::default() }
}

fn under(prefix: &str) -> LeaseFilter {
    LeaseFilter { prefix: Some(prefix.parse().unwrap()), ..LeaseFilter::default() }
}

fn at_main() -> LeaseFilter {
    LeaseFilter { provider: Some("main".parse().unwrap()), ..LeaseFilter::default() }
}

fn start(who: &str, filter: LeaseFilter) -> StartRevocation {
    StartRevocation {
        actor: actor(who),
        filter,
        dry_run: false,
        reason: "it leaked".to_owned(),
        request_id: None,
        rotate: false,
    }
}

fn total(total: u64) -> RevocationCounts {
    RevocationCounts { total, done: total, ..RevocationCounts::default() }
}

impl Broker {
    async fn begin(&self, filter: LeaseFilter) -> Revocation {
        self.engine.start_revocation(start(ADMIN, filter)).await.unwrap()
    }

    /// The revocation when it has come to its end.
    async fn ended(&self, revocation: &Revocation) -> Revocation {
        let id = revocation.id.unwrap();
        let progress = self.engine.watch_revocation(actor(ADMIN), id).await.unwrap();
        let last = progress.collect::<Vec<_>>().await.pop().unwrap().unwrap();
        assert_eq!(last.state, RevocationState::Finished);
        last
    }

    async fn state(&self, id: LeaseId) -> LeaseState {
        self.engine.get_lease(actor(ADMIN), id).await.unwrap().state
    }

    async fn many(&self, path: &str, count: usize) -> Vec<LeaseId> {
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(self.issue(path).await.unwrap().lease.id);
        }
        ids
    }

    /// The paused clock stands while anybody works: so does this one who waits.
    async fn until_revoked(&self, count: usize) {
        while self.recorded(Kind::LeaseRevoked) < count {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
    }

    fn recorded(&self, kind: Kind) -> usize {
        self.ledger.records().iter().filter(|record| record.kind == kind).count()
    }
}

/// Counts what is read of a ledger.
#[derive(Clone, Default)]
struct Counting {
    ledger: Memory,
    gets: Arc<AtomicU64>,
    scanned: Arc<AtomicU64>,
}

impl Counting {
    fn reads(&self) -> (u64, u64) {
        (self.gets.swap(0, SeqCst), self.scanned.swap(0, SeqCst))
    }
}

#[async_trait]
impl Ledger for Counting {
    async fn commit(&self, commit: Commit) -> Result<Revision, LedgerError> {
        self.ledger.commit(commit).await
    }

    async fn get(&self, key: &Key) -> Result<Option<Entry>, LedgerError> {
        self.gets.fetch_add(1, SeqCst);
        self.ledger.get(key).await
    }

    async fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<Entry>, LedgerError> {
        let entries = self.ledger.scan(range, limit).await?;
        self.scanned.fetch_add(u64::try_from(entries.len()).unwrap(), SeqCst);
        Ok(entries)
    }

    fn watch(&self, range: KeyRange) -> BoxStream<'static, Result<Change, LedgerError>> {
        self.ledger.watch(range)
    }
}

#[tokio::test(start_paused = true)]
async fn all_that_a_holder_has_is_ended_and_each_lease_has_its_record() {
    let broker = Broker::new();
    broker.reconcile();
    let mut ids = broker.many(STATIC, 150).await;
    ids.extend(broker.many(DYNAMIC, 3).await);
    let beside = broker.engine.issue_lease(issue(BESIDE, STATIC)).await.unwrap().lease.id;
    let begun = broker.begin(of_holder(API)).await;
    assert_eq!((begun.state, begun.ended_at), (RevocationState::Running, None));
    let ended = broker.ended(&begun).await;
    assert_eq!(ended.counts, total(153));
    assert!(ended.ended_at.is_some() && ended.id == begun.id && ended.reason == "it leaked");
    for id in &ids {
        let state = broker.state(*id).await;
        assert!(matches!(state, LeaseState::Revoked { cause: Cause::Operator, .. }), "{state:?}");
    }
    assert_eq!(broker.state(beside).await, LeaseState::Active);
    assert!(broker.back_end.users.lock().unwrap().is_empty());

    let records = broker.ledger.records();
    let name = begun.id.unwrap().to_string();
    let mut named: Vec<_> = records
        .iter()
        .filter(|record| record.details.get("revocation") == Some(&name) && record.actor == actor(ADMIN))
        .filter_map(|record| {
            Some((record.lease?, record.details["reason"].as_str(), record.decision.is_some()))
        })
        .collect();
    named.sort();
    ids.sort();
    assert_eq!(named, ids.iter().map(|id| (*id, "it leaked", true)).collect::<Vec<_>>());
    let finished = records.iter().find(|record| record.kind == Kind::RevocationFinished).unwrap();
    assert_eq!((finished.details["total"].as_str(), finished.details["quarantined"].as_str()), ("153", "0"));
    assert_eq!(broker.recorded(Kind::RevocationStarted), 1);
    assert_eq!(broker.engine.revocation_figures().running, 0);
}

#[tokio::test(start_paused = true)]
async fn each_filter_ends_what_it_names_and_nothing_else() {
    for (filter, met) in [
        (of_secret("prod/1"), [0, 1, 0]),
        (LeaseFilter { version: Some("v1".parse().unwrap()), ..of_secret("prod/1") }, [0, 1, 0]),
        (LeaseFilter { version: Some("v9".parse().unwrap()), ..of_secret("prod/1") }, [0, 0, 0]),
        (under("prod/"), [1, 1, 1]),
        (under("dev/"), [0, 0, 0]),
        (at_main(), [1, 1, 1]),
        (LeaseFilter { provider: Some("other".parse().unwrap()), ..LeaseFilter::default() }, [0, 0, 0]),
        (LeaseFilter { secret: Some("prod/2".parse().unwrap()), ..of_holder(API) }, [0, 0, 1]),
        (LeaseFilter { secret: Some("prod/2".parse().unwrap()), ..of_holder(BESIDE) }, [0, 0, 0]),
    ] {
        let broker = Broker::new();
        broker.engine.replace_catalog(many_secrets(3));
        broker.reconcile();
        let mut ids = Vec::new();
        for path in ["prod/0", "prod/1", "prod/2"] {
            ids.extend(broker.many(path, 2).await);
        }
        let wanted: u64 = met.iter().sum::<u64>() * 2;
        let preview = StartRevocation { dry_run: true, ..start(ADMIN, filter.clone()) };
        let preview = broker.engine.start_revocation(preview).await.unwrap();
        assert_eq!(
            (preview.state, preview.id, preview.counts.total),
            (RevocationState::Previewed, None, wanted)
        );
        let ended = broker.ended(&broker.begin(filter.clone()).await).await;
        assert_eq!(ended.counts, total(wanted), "{filter:?}");
        for (n, id) in ids.into_iter().enumerate() {
            let over = broker.state(id).await != LeaseState::Active;
            assert_eq!(over, met[n / 2] == 1, "{filter:?}: {n}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_preview_and_a_listing_read_what_their_index_names() {
    let counting = Counting::default();
    let broker = Broker::through(Arc::new(counting.clone()), counting.ledger.clone(), Arc::default());
    broker.engine.replace_catalog(many_secrets(2));
    broker.many("prod/0", 1000).await;
    broker.many("prod/1", 20).await;
    counting.reads();
    let preview = |filter| {
        let engine = broker.engine.clone();
        async move {
            let request = StartRevocation { dry_run: true, ..start(ADMIN, filter) };
            engine.start_revocation(request).await.unwrap().counts.total
        }
    };
    assert_eq!(preview(of_secret("prod/0")).await, 1000);
    assert_eq!(counting.reads(), (0, 1000), "keys tell it all");
    assert_eq!(preview(of_secret("prod/1")).await, 20);
    assert_eq!(counting.reads(), (0, 20));
    assert_eq!(preview(under("prod/")).await, 1020);
    assert_eq!(counting.reads(), (0, 1020));
    assert_eq!(preview(of_holder(BESIDE)).await, 0);
    assert_eq!(counting.reads(), (0, 0));

    let list = |filter| {
        let engine = broker.engine.clone();
        async move {
            let request = ListLeases {
                actor: actor(ADMIN),
                scope: LeaseScope::All,
                filter,
                page_size: 100,
                page_token: None,
            };
            engine.list_leases(request).await.unwrap().items.len()
        }
    };
    assert_eq!(list(LeaseFilter { version: Some("v1".parse().unwrap()), ..of_secret("prod/1") }).await, 20);
    assert_eq!(counting.reads(), (20, 20));
    let aside = LeaseFilter { states: vec![StateName::Quarantined], ..LeaseFilter::default() };
    assert_eq!(list(aside).await, 0);
    assert_eq!(counting.reads(), (0, 0));

    // Each lease is read once, and looked for once more at the end.
    broker.reconcile();
    broker.ended(&broker.begin(of_secret("prod/1")).await).await;
    let (gets, scanned) = counting.reads();
    assert!(gets <= 60 && scanned <= 60, "{gets} reads, {scanned} keys");
}

#[tokio::test(start_paused = true)]
async fn who_may_not_ends_nothing_and_is_written_down_once_a_secret() {
    let broker = Broker::new();
    broker.reconcile();
    let ids = broker.many(STATIC, 20).await;
    let denied = broker.engine.start_revocation(start(API, of_secret(STATIC))).await;
    assert!(matches!(denied, Err(EngineError::Denied(_))));
    assert_eq!(broker.kinds().pop(), Some((Kind::RevocationStarted, Outcome::Denied)));
    let begun = broker.engine.start_revocation(start(API, of_holder(API))).await.unwrap();
    // Its own caller may watch it.
    let progress = broker.engine.watch_revocation(actor(API), begun.id.unwrap()).await.unwrap();
    assert_eq!(progress.collect::<Vec<_>>().await.pop().unwrap().unwrap().counts, total(0));
    let stranger = broker.engine.watch_revocation(actor(BESIDE), begun.id.unwrap()).await;
    assert!(matches!(stranger.map(drop), Err(EngineError::Denied(_))));
    for id in ids {
        assert_eq!(broker.state(id).await, LeaseState::Active);
    }
    let records = broker.ledger.records();
    let named = |kind| {
        records.iter().filter(move |record| record.kind == kind && record.details.contains_key("revocation"))
    };
    let denials: Vec<_> = named(Kind::LeaseRevoked).collect();
    assert_eq!(denials.len(), 1, "{denials:?}");
    assert!(denials.iter().all(|record| record.outcome == Outcome::Denied && record.lease.is_none()));
}

#[tokio::test(start_paused = true)]
async fn what_is_issued_later_is_not_meant() {
    let broker = Broker::new();
    let before = broker.issue(STATIC).await.unwrap().lease.id;
    let begun = broker.begin(of_secret(STATIC)).await;
    sleep(Duration::from_millis(1)).await;
    let later = broker.issue(STATIC).await.unwrap().lease.id;
    broker.reconcile();
    assert_eq!(broker.ended(&begun).await.counts, total(1));
    assert!(matches!(broker.state(before).await, LeaseState::Revoked { .. }));
    assert_eq!(broker.state(later).await, LeaseState::Active);
}

#[tokio::test(start_paused = true)]
async fn a_revocation_goes_on_after_a_crash() {
    for (crash_after, saved) in [(1, 0), (1500, 1000)] {
        let broker = Broker::new();
        let ids = broker.many(STATIC, 3000).await;
        let begun = broker.begin(of_holder(API)).await;
        broker.reconcile();
        broker.until_revoked(crash_after).await;
        let (ledger, back_end) = (broker.ledger.clone(), broker.back_end.clone());
        drop(broker);
        sleep(Duration::from_millis(10)).await;
        let broker = Broker::over(ledger, back_end);
        let ended_before = broker.recorded(Kind::LeaseRevoked);
        assert!((crash_after..3000).contains(&ended_before), "{ended_before}");
        let listed = broker.engine.list_revocations(actor(ADMIN), 10, None).await.unwrap().items.remove(0);
        assert_eq!((listed.state, listed.counts.total), (RevocationState::Running, 3000));
        assert!(listed.counts.done >= saved, "{:?}", listed.counts);
        broker.reconcile();
        assert_eq!(broker.ended(&begun).await.counts, total(3000));
        assert_eq!(broker.recorded(Kind::LeaseRevoked), 3000, "none is ended twice");
        for id in ids {
            assert!(matches!(broker.state(id).await, LeaseState::Revoked { .. }));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_back_end_is_asked_by_few_however_many_end_and_still_makes_credentials() {
    let narrow = ProviderLimits { max_calls: 4, ..ProviderLimits::default() };
    let broker = Broker::with_limits(BTreeMap::from([("main".parse().unwrap(), narrow)]));
    broker.reconcile();
    let ids = broker.many(DYNAMIC, 200).await;
    let calls =
        || async { broker.engine.status(actor(ADMIN)).await.unwrap().providers.remove(0).calls.calls };
    let before = calls().await;
    let held = broker.back_end.ender.acquire().await.unwrap();
    let begun = broker.begin(at_main()).await;
    sleep(Duration::from_secs(2)).await;
    for id in &ids {
        assert!(matches!(broker.state(*id).await, LeaseState::Revoking { attempts: 0, .. }));
    }
    assert_eq!(calls().await - before, 2, "half of the turns");
    let made = broker.issue(DYNAMIC).await.unwrap().lease.id;
    drop(held);
    assert_eq!(broker.ended(&begun).await.counts, total(200));
    assert_eq!(broker.back_end.revocations.load(SeqCst), 200, "each was ended once");
    assert_eq!(broker.state(made).await, LeaseState::Active);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_ended_is_counted_put_aside_and_tried_again_at_once_on_request() {
    let broker = Broker::new();
    broker.reconcile();
    let ids = broker.many(DYNAMIC, 2).await;
    broker.many(STATIC, 3).await;
    broker.back_end.fail(Some(ErrorClass::Transient));
    let begun = broker.begin(of_holder(API)).await;
    sleep(Duration::from_secs(5)).await;
    let mut progress = broker.engine.watch_revocation(actor(ADMIN), begun.id.unwrap()).await.unwrap();
    let now = progress.next().await.unwrap().unwrap();
    let failing = RevocationCounts { total: 5, done: 3, failed: 2, quarantined: 0 };
    assert_eq!((now.state, now.counts), (RevocationState::Running, failing));
    let aside = RevocationCounts { total: 5, done: 3, failed: 0, quarantined: 2 };
    assert_eq!(broker.ended(&begun).await.counts, aside);
    let quarantined = LeaseFilter { states: vec![StateName::Quarantined], ..LeaseFilter::default() };
    let list = ListLeases {
        actor: actor(ADMIN),
        scope: LeaseScope::All,
        filter: quarantined,
        page_size: 10,
        page_token: None,
    };
    assert_eq!(broker.engine.list_leases(list).await.unwrap().items.len(), 2);

    let retry = |who: &str, lease| RetryLease { actor: actor(who), lease, request_id: None };
    assert!(matches!(broker.engine.retry_lease(retry(API, ids[0])).await, Err(EngineError::Denied(_))));
    broker.back_end.fail(None);
    // The back end has failed so often that it is given a rest.
    sleep(Duration::from_secs(60)).await;
    let tried = broker.engine.retry_lease(retry(ADMIN, ids[0])).await.unwrap();
    assert!(matches!(tried.state, LeaseState::Quarantined { .. }));
    sleep(Duration::from_millis(1)).await;
    assert!(matches!(broker.state(ids[0]).await, LeaseState::Revoked { .. }));
    assert!(matches!(broker.state(ids[1]).await, LeaseState::Quarantined { .. }));
    let over = broker.engine.retry_lease(retry(ADMIN, ids[0])).await.unwrap_err();
    assert_eq!(over.reason(), "LEASE_NOT_REVOKING");
    let record =
        broker.ledger.records().into_iter().find(|record| record.details.contains_key("retry")).unwrap();
    assert_eq!((record.kind, record.lease), (Kind::LeaseRevoking, Some(ids[0])));
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_given_up_by_who_may_with_a_reason_and_only_on_its_way_out() {
    let broker = Broker::new();
    broker.reconcile();
    let id = broker.issue(DYNAMIC).await.unwrap().lease.id;
    let forget = |who: &str| ForgetLease {
        actor: actor(who),
        lease: id,
        reason: "the database is gone".to_owned(),
        request_id: None,
    };
    let live = broker.engine.forget_lease(forget(ADMIN)).await.unwrap_err();
    assert_eq!(live.reason(), "LEASE_NOT_REVOKING");
    broker.back_end.fail(Some(ErrorClass::Denied));
    let revoke =
        RevokeLease { actor: actor(ADMIN), lease: id, reason: None, request_id: None, rotate: false };
    broker.engine.revoke_lease(revoke).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    assert!(matches!(broker.state(id).await, LeaseState::Quarantined { .. }));
    broker.rules.closed.lock().unwrap().insert(Action::ForgetLease);
    assert!(matches!(broker.engine.forget_lease(forget(ADMIN)).await, Err(EngineError::Denied(_))));
    broker.rules.closed.lock().unwrap().clear();
    let forgotten = broker.engine.forget_lease(forget(ADMIN)).await.unwrap();
    assert!(matches!(forgotten.state, LeaseState::Forgotten { .. }) && forgotten.handle.is_none());
    let record = broker.ledger.records().pop().unwrap();
    assert_eq!((record.kind, record.lease), (Kind::LeaseForgotten, Some(id)));
    assert_eq!(
        (record.details["reason"].as_str(), record.details["was"].as_str()),
        ("the database is gone", "quarantined")
    );
    assert_eq!(broker.engine.revocation_figures().forgotten, 1);
    assert_eq!(broker.engine.status(actor(ADMIN)).await.unwrap().quarantined_leases, 0);
    // Nobody tries any more.
    broker.back_end.fail(None);
    let before = broker.back_end.revocations.load(SeqCst);
    sleep(Duration::from_secs(1800)).await;
    assert_eq!(broker.back_end.revocations.load(SeqCst), before);
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_is_being_made_is_meant_too() {
    for filter in [of_secret(DYNAMIC), under("prod/payments/"), of_holder(API), at_main()] {
        let broker = Broker::new();
        broker.reconcile();
        let held = broker.back_end.maker.acquire().await.unwrap();
        let engine = broker.engine.clone();
        let asked = tokio::spawn(async move { engine.issue_lease(issue(API, DYNAMIC)).await.map(drop) });
        sleep(Duration::from_millis(1)).await;
        let begun = broker.begin(filter.clone()).await;
        assert_eq!(broker.ended(&begun).await.counts, total(1), "{filter:?}");
        drop(held);
        assert!(asked.await.unwrap().is_err());
        sleep(Duration::from_secs(120)).await;
        assert!(broker.back_end.users.lock().unwrap().is_empty(), "{filter:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_is_told_now_and_then_and_at_the_end() {
    let broker = Broker::new();
    broker.many(STATIC, 500).await;
    broker.many(DYNAMIC, 2).await;
    let held = broker.back_end.ender.acquire().await.unwrap();
    let begun = broker.begin(of_holder(API)).await;
    let began = tokio::time::Instant::now();
    let progress = broker.engine.watch_revocation(actor(ADMIN), begun.id.unwrap()).await.unwrap();
    broker.reconcile();
    let told = tokio::spawn(progress.map(move |told| (told.unwrap(), began.elapsed())).collect::<Vec<_>>());
    sleep(Duration::from_secs(2)).await;
    drop(held);
    let told = told.await.unwrap();
    let (last, _) = told.last().unwrap();
    assert_eq!((last.state, last.counts), (RevocationState::Finished, total(502)));
    assert!(told.iter().any(|(one, _)| one.counts.done == 500), "{told:?}");
    assert!(told.windows(2).all(|pair| pair[0].0.counts.done <= pair[1].0.counts.done), "{told:?}");
    assert!(told.windows(2).all(|pair| pair[1].1 - pair[0].1 >= Duration::from_millis(200)), "{told:?}");
    let nothing = broker
        .engine
        .watch_revocation(actor(ADMIN), "revocation-aeaqcaibaeaqcaibaeaqcaibae".parse().unwrap());
    assert!(matches!(nothing.await.map(drop), Err(EngineError::Denied(_))));
}

#[tokio::test(start_paused = true)]
async fn the_same_request_is_the_same_revocation_for_a_day() {
    let broker = Broker::new();
    broker.reconcile();
    broker.issue(STATIC).await.unwrap();
    let again = || StartRevocation {
        request_id: Some("incident-7".parse().unwrap()),
        ..start(ADMIN, of_secret(STATIC))
    };
    let first = broker.engine.start_revocation(again()).await.unwrap();
    broker.ended(&first).await;
    let second = broker.engine.start_revocation(again()).await.unwrap();
    assert_eq!((second.id, second.state), (first.id, RevocationState::Finished));
    let other = StartRevocation { filter: of_secret(DYNAMIC), ..again() };
    assert!(matches!(broker.engine.start_revocation(other).await, Err(EngineError::RequestIdReused)));

    sleep(Duration::from_secs(3600)).await;
    let later = broker.begin(of_holder(API)).await;
    broker.ended(&later).await;
    let page = broker.engine.list_revocations(actor(ADMIN), 1, None).await.unwrap();
    assert_eq!(page.items[0].id, later.id, "the newest first");
    let page = broker.engine.list_revocations(actor(ADMIN), 1, page.next_page_token).await.unwrap();
    assert_eq!(page.items[0].id, first.id);
    assert!(matches!(broker.engine.list_revocations(actor(API), 1, None).await, Err(EngineError::Denied(_))));
    sleep(Duration::from_secs(25 * 3600)).await;
    assert!(broker.engine.list_revocations(actor(ADMIN), 10, None).await.unwrap().items.is_empty());
    let anew = broker.engine.start_revocation(again()).await.unwrap();
    assert_ne!(anew.id, first.id);
}

#[tokio::test(start_paused = true)]
async fn who_begins_many_revocations_keeps_nobody_else_from_one() {
    let broker = Broker::new();
    broker.issue(STATIC).await.unwrap();
    // Anybody may begin one that names no secret, and ends nothing with it.
    let begin = |who| broker.engine.start_revocation(start(who, under("prod/")));
    for _ in 0..16 {
        begin(BESIDE).await.unwrap();
    }
    for _ in 0..100 {
        assert_eq!(begin(BESIDE).await.unwrap_err().reason(), "RATE_LIMITED");
    }
    let operators = begin(ADMIN).await.unwrap();
    broker.reconcile();
    assert_eq!(broker.ended(&operators).await.counts, total(1));
    begin(BESIDE).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn few_previews_of_one_principal_are_counted_at_once_also_when_nobody_waits_for_them() {
    let broker = Broker::new();
    broker.many(STATIC, 2000).await;
    let preview = |who| StartRevocation { dry_run: true, ..start(who, at_main()) };
    let begun: Vec<_> = (0..10)
        .map(|_| {
            let (engine, request) = (broker.engine.clone(), preview(BESIDE));
            tokio::spawn(async move { engine.start_revocation(request).await })
        })
        .collect();
    sleep(Duration::ZERO).await;
    let other = broker.engine.start_revocation(preview(ADMIN)).await.unwrap();
    assert_eq!(other.counts.total, 2000, "others are not concerned");
    let mut answers = Vec::new();
    for asked in begun {
        answers.push(asked.await.unwrap().map_err(|problem| problem.reason()).map(|seen| seen.counts.total));
    }
    assert_eq!(answers.iter().filter(|answer| **answer == Ok(0)).count(), 2, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| **answer == Err("RATE_LIMITED")).count(), 8, "{answers:?}");
    // A turn is over with its preview, and not with whoever asked.
    for _ in 0..2 {
        assert!(broker.engine.start_revocation(preview(BESIDE)).now_or_never().is_none());
    }
    let refused = broker.engine.start_revocation(preview(BESIDE)).await.unwrap_err();
    assert_eq!(refused.reason(), "RATE_LIMITED");
    sleep(Duration::from_secs(1)).await;
    assert!(broker.engine.start_revocation(preview(BESIDE)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn on_hold_it_says_what_it_would_do_and_ends_nothing() {
    let broker = Broker::new();
    broker.many(STATIC, 2).await;
    broker.engine.take_up(Some(HoldReason::Requested)).await.unwrap();
    let preview = StartRevocation { dry_run: true, ..start(ADMIN, of_secret(STATIC)) };
    assert_eq!(broker.engine.start_revocation(preview).await.unwrap().counts.total, 2);
    let refused = broker.engine.start_revocation(start(ADMIN, of_secret(STATIC))).await.unwrap_err();
    assert_eq!(refused.reason(), "BROKER_ON_HOLD");
    assert_eq!(broker.kinds().pop().unwrap().0, Kind::RevocationStarted);
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_is_full_holds_a_revocation_up_and_loses_none() {
    let broker = Broker::new();
    broker.many(STATIC, 1000).await;
    let begun = broker.begin(of_secret(STATIC)).await;
    broker.reconcile();
    broker.until_revoked(300).await;
    broker.ledger.fail(Some(LedgerError::Full("no room".to_owned())));
    sleep(Duration::from_secs(5)).await;
    assert!(broker.recorded(Kind::LeaseRevoked) < 1000);
    broker.ledger.fail(None);
    assert_eq!(broker.ended(&begun).await.counts, total(1000));
    assert_eq!(broker.recorded(Kind::LeaseRevoked), 1000);
}
