//! Credentials for which no lease stands.

use std::{collections::BTreeMap, sync::Arc, sync::atomic::Ordering::SeqCst, time::Duration};

use leasehold_core::{
    Lease, LeaseId,
    lease::{Cause, Event, LeaseState},
    ports::Ledger,
    provider::{ErrorClass, Verification},
    record::{Kind, Outcome, Record},
    state::{Commit, Condition, Key, Write},
};
use leasehold_engine::{
    EngineError, ProviderLimits,
    request::{HoldReason, IssueLease, OrphanState, OrphanSweep, ReleaseHold, RevokeLease, SweepOrphans},
};
use tokio::{sync::watch, time::sleep};

use crate::kit::{ADMIN, API, Broker, DYNAMIC, actor, issue};

/// Lets the sweeps run for as long as what is given back lives.
fn sweeping(broker: &Broker) -> watch::Sender<bool> {
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(broker.engine.clone().sweep_orphans_always(stopped));
    stop
}

fn user(n: u8) -> String {
    format!("lh-{}", LeaseId::from_bits([n; 16]).suffix())
}

fn stray(broker: &Broker, n: u8) -> String {
    broker.back_end.users.lock().unwrap().insert(user(n));
    user(n)
}

fn is_there(broker: &Broker, user: &str) -> bool {
    broker.back_end.users.lock().unwrap().contains(user)
}

fn records(broker: &Broker, kind: Kind) -> Vec<Record> {
    broker.ledger.records().into_iter().filter(|record| record.kind == kind).collect()
}

async fn sweep(broker: &Broker, dry_run: bool) -> OrphanSweep {
    let request = SweepOrphans { actor: actor(ADMIN), provider: None, dry_run };
    broker.engine.sweep_orphans(request).await.unwrap()
}

/// A dynamic lease of ten minutes.
async fn long(broker: &Broker) -> LeaseId {
    let request = IssueLease { ttl: Some(Duration::from_secs(600)), ..issue(API, DYNAMIC) };
    broker.engine.issue_lease(request).await.unwrap().lease.id
}

#[tokio::test(start_paused = true)]
async fn an_orphan_is_found_at_the_start_and_ended_when_its_grace_is_over() {
    let broker = Broker::new();
    let kept = long(&broker).await;
    let orphan = stray(&broker, 0xee);
    let _sweep = sweeping(&broker);
    sleep(Duration::from_secs(590)).await;
    assert!(is_there(&broker, &orphan));
    assert_eq!(broker.engine.status(actor(ADMIN)).await.unwrap().orphans, 1);
    sleep(Duration::from_secs(11)).await;
    assert!(!is_there(&broker, &orphan));
    assert!(is_there(&broker, &format!("lh-{}", kept.suffix())));
    assert_eq!(broker.engine.status(actor(ADMIN)).await.unwrap().orphans, 0);

    let [found] = &records(&broker, Kind::OrphanFound)[..] else { panic!("found once") };
    assert_eq!(
        (found.details["name"].as_str(), found.lease),
        (orphan.as_str(), Some(LeaseId::from_bits([0xee; 16])))
    );
    let [ended] = &records(&broker, Kind::OrphanRevoked)[..] else { panic!("ended once") };
    assert_eq!((&ended.outcome, ended.details["verification"].as_str()), (&Outcome::Ok, "unverifiable"));
    assert_eq!(broker.engine.provider_states()[0].endings.orphans_revoked, 1);
}

#[tokio::test(start_paused = true)]
async fn what_comes_later_is_found_by_the_next_sweep() {
    let broker = Broker::new();
    let _sweep = sweeping(&broker);
    sleep(Duration::from_secs(10)).await;
    let orphan = stray(&broker, 0xee);
    sleep(Duration::from_secs(3500)).await;
    assert_eq!((broker.back_end.listings.load(SeqCst), records(&broker, Kind::OrphanFound).len()), (1, 0));
    sleep(Duration::from_secs(100)).await;
    assert_eq!(records(&broker, Kind::OrphanFound).len(), 1);
    sleep(Duration::from_secs(600)).await;
    assert!(!is_there(&broker, &orphan));
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_ended_is_told_and_tried_again() {
    let broker = Broker::new();
    let _sweep = sweeping(&broker);
    let orphan = stray(&broker, 0xee);
    *broker.back_end.verdict.lock().unwrap() = Verification::StillValid;
    sleep(Duration::from_secs(700)).await;
    assert!(is_there(&broker, &orphan));
    let endings = broker.engine.provider_states()[0].endings;
    assert_eq!((endings.orphans, endings.orphans_failed, endings.still_valid), (1, 1, 1));
    let [ended] = &records(&broker, Kind::OrphanRevoked)[..] else { panic!("tried once") };
    assert_eq!(ended.outcome, Outcome::Failed { reason: "UPSTREAM_REVOCATION_FAILED".into() });
    assert_eq!(ended.details["verification"], "still-valid");
    *broker.back_end.verdict.lock().unwrap() = Verification::Verified;
    sleep(Duration::from_secs(3600)).await;
    assert!(!is_there(&broker, &orphan));
    assert_eq!(records(&broker, Kind::OrphanFound).len(), 1, "it was known");
}

#[tokio::test(start_paused = true)]
async fn a_back_end_that_does_not_answer_is_asked_again_and_nothing_is_forgotten() {
    let broker = Broker::new();
    let orphan = stray(&broker, 0xee);
    broker.back_end.fail(Some(ErrorClass::Transient));
    let _sweep = sweeping(&broker);
    sleep(Duration::from_secs(150)).await;
    assert_eq!(broker.back_end.listings.load(SeqCst), 3);
    broker.back_end.fail(None);
    sleep(Duration::from_secs(40)).await;
    assert_eq!(broker.engine.status(actor(ADMIN)).await.unwrap().orphans, 1);
    sleep(Duration::from_secs(601)).await;
    assert!(!is_there(&broker, &orphan));
}

#[tokio::test(start_paused = true)]
async fn a_back_end_that_ends_none_is_not_asked_for_each() {
    let broker = Broker::new();
    (0..50).for_each(|n| drop(stray(&broker, n)));
    let _sweep = sweeping(&broker);
    sleep(Duration::from_secs(1)).await;
    *broker.back_end.verdict.lock().unwrap() = Verification::StillValid;
    sleep(Duration::from_secs(700)).await;
    let tried = broker.back_end.revocations.load(SeqCst);
    assert!((3..=4).contains(&tried), "{tried}");
    assert_eq!(broker.engine.status(actor(ADMIN)).await.unwrap().orphans, 50);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_ends_or_has_given_up_is_no_orphan() {
    let broker = Broker::new();
    // One lease is revoked and its credential comes back, as from a back end's own backup; it is over, so that is an orphan.
    let over = long(&broker).await;
    let revoke =
        |id| RevokeLease { actor: actor(API), lease: id, reason: None, request_id: None, rotate: false };
    broker.engine.revoke_lease(revoke(over)).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    broker.back_end.users.lock().unwrap().insert(format!("lh-{}", over.suffix()));
    sleep(Duration::from_secs(1)).await;
    // One is being revoked.
    let dying = long(&broker).await;
    broker.back_end.fail(Some(ErrorClass::Transient));
    broker.engine.revoke_lease(revoke(dying)).await.unwrap();
    // One was given up.
    let given_up = LeaseId::from_bits([0xaa; 16]);
    broker.back_end.users.lock().unwrap().insert(format!("lh-{}", given_up.suffix()));
    let record = Record::new(broker.engine.now(), Kind::LeaseForgotten, actor(ADMIN));
    let writes = vec![Write::mark(Key::forgotten(given_up))];
    let commit = Commit { record, conditions: Vec::new(), writes };
    broker.ledger.commit(commit).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    broker.back_end.fail(None);
    let found = sweep(&broker, true).await;
    let leases: Vec<_> = found.orphans.iter().map(|orphan| orphan.lease).collect();
    assert_eq!(leases, [over]);
    // Its lease is known to be over, so there is nothing to wait for.
    assert_eq!(found.orphans[0].state, OrphanState::Left);
    assert_eq!(sweep(&broker, false).await.orphans[0].state, OrphanState::Revoked);
    assert!(!is_there(&broker, &format!("lh-{}", over.suffix())));
}

#[tokio::test(start_paused = true)]
async fn what_is_ended_while_it_is_listed_is_no_orphan() {
    let broker = Broker::new();
    let id = long(&broker).await;
    // The list is answered only after the lease has ended, and names it all the same.
    let held = broker.back_end.gate.acquire_many(u32::MAX).await.unwrap();
    let engine = broker.engine.clone();
    let request = SweepOrphans { actor: actor(ADMIN), provider: None, dry_run: true };
    let sweeping = tokio::spawn(async move { engine.sweep_orphans(request).await.unwrap() });
    sleep(Duration::from_secs(1)).await;
    let (lease, revision) = {
        let entry = broker.ledger.get(&Key::lease(id)).await.unwrap().unwrap();
        (Lease::decode(&entry.value).unwrap(), entry.revision)
    };
    let now = broker.engine.now();
    let (dying, _) = lease.clone().step(Event::Revoke { cause: Cause::Holder }, now).unwrap();
    let (ended, _) = dying.step(Event::UpstreamRevoked { proven: true, asked_at: now }, now).unwrap();
    let commit = Commit {
        record: Record::new(now, Kind::LeaseRevoked, actor(ADMIN)),
        conditions: vec![Condition::Unchanged(Key::lease(id), revision)],
        writes: ended.writes(Some(&lease)).unwrap(),
    };
    broker.ledger.commit(commit).await.unwrap();
    drop(held);
    assert!(sweeping.await.unwrap().orphans.is_empty());
    assert_eq!(records(&broker, Kind::OrphanFound).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_operator_looks_first_and_ends_what_is_past_its_grace() {
    let broker = Broker::new();
    let orphan = stray(&broker, 0xee);
    assert_eq!(sweep(&broker, true).await.orphans[0].state, OrphanState::InGrace);
    assert_eq!(sweep(&broker, false).await.orphans[0].state, OrphanState::InGrace);
    sleep(Duration::from_secs(601)).await;
    assert_eq!(sweep(&broker, true).await.orphans[0].state, OrphanState::Left);
    assert!(is_there(&broker, &orphan));
    assert_eq!(sweep(&broker, false).await.orphans[0].state, OrphanState::Revoked);
    assert!(!is_there(&broker, &orphan));
    assert!(sweep(&broker, false).await.orphans.is_empty());
    assert_eq!(records(&broker, Kind::OrphanSwept).len(), 5);

    broker.back_end.fail(Some(ErrorClass::Transient));
    let failed = sweep(&broker, false).await.failures;
    assert_eq!(failed[0].0.as_str(), "main");
    assert!(failed[0].1.contains("told to fail"));
    let other = SweepOrphans { actor: actor(ADMIN), provider: Some("other".parse().unwrap()), dry_run: true };
    assert!(matches!(broker.engine.sweep_orphans(other).await, Err(EngineError::NoSuchProvider(_))));
    let denied = SweepOrphans { actor: actor(API), provider: None, dry_run: true };
    assert!(matches!(broker.engine.sweep_orphans(denied).await, Err(EngineError::Denied(_))));
}

#[tokio::test(start_paused = true)]
async fn on_hold_orphans_are_found_and_left_until_the_release() {
    let broker = Broker::new();
    broker.engine.take_up(Some(HoldReason::Restored)).await.unwrap();
    let orphan = stray(&broker, 0xee);
    let _sweep = sweeping(&broker);
    sleep(Duration::from_secs(4000)).await;
    assert!(is_there(&broker, &orphan));
    assert_eq!(sweep(&broker, false).await.orphans[0].state, OrphanState::Left);
    let release = ReleaseHold { actor: actor(ADMIN), reason: "compared".into(), request_id: None };
    broker.engine.release_hold(release).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert!(!is_there(&broker, &orphan));
}

#[tokio::test(start_paused = true)]
async fn it_can_be_switched_off_or_made_slower() {
    let off = ProviderLimits { orphan_sweep: Duration::ZERO, ..ProviderLimits::default() };
    let broker = Broker::with_limits(BTreeMap::from([("main".parse().unwrap(), off)]));
    let _sweep = sweeping(&broker);
    sleep(Duration::from_secs(8000)).await;
    assert_eq!(broker.back_end.listings.load(SeqCst), 0);
    let quick = ProviderLimits {
        orphan_sweep: Duration::from_secs(60),
        orphan_grace: Duration::ZERO,
        ..ProviderLimits::default()
    };
    let broker = Broker::with_limits(BTreeMap::from([("main".parse().unwrap(), quick)]));
    let orphan = stray(&broker, 0xee);
    let _sweep = sweeping(&broker);
    sleep(Duration::from_secs(1)).await;
    assert!(!is_there(&broker, &orphan));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_still_valid_is_quarantined_at_once_and_told() {
    let broker = Broker::new();
    broker.reconcile();
    let id = long(&broker).await;
    *broker.back_end.verdict.lock().unwrap() = Verification::StillValid;
    sleep(Duration::from_secs(601)).await;
    let lease = broker.engine.get_lease(actor(API), id).await.unwrap();
    assert!(matches!(lease.state, LeaseState::Quarantined { attempts: 1, .. }), "{:?}", lease.state);
    assert_eq!(lease.verification, Some(Verification::StillValid));
    let [record] = &records(&broker, Kind::LeaseQuarantined)[..] else { panic!("quarantined once") };
    assert_eq!(record.details["verification"], "still-valid");
    assert_eq!(broker.engine.provider_states()[0].endings.still_valid, 1);
    *broker.back_end.verdict.lock().unwrap() = Verification::Verified;
    sleep(Duration::from_secs(800)).await;
    let lease = broker.engine.get_lease(actor(API), id).await.unwrap();
    assert!(matches!(lease.state, LeaseState::Expired { .. }));
    assert_eq!(lease.verification, Some(Verification::Verified));
    let ended = records(&broker, Kind::LeaseExpired).pop().unwrap();
    assert_eq!(ended.details["verification"], "verified");
}

#[tokio::test(start_paused = true)]
async fn two_sweeps_do_not_end_one_orphan_twice() {
    let broker = Arc::new(Broker::new());
    stray(&broker, 0xee);
    sweep(&broker, true).await;
    sleep(Duration::from_secs(601)).await;
    let (one, other) = tokio::join!(sweep(&broker, false), sweep(&broker, false));
    assert_eq!(one.orphans.len() + other.orphans.len(), 1);
    assert_eq!(broker.back_end.revocations.load(SeqCst), 1);
}
