//! What WatchLeases tells of a rotation: that there is another version, that the old one drains, that it is retired.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream::BoxStream};
use leasehold_core::{
    LeaseId,
    catalog::{Catalog, Entry, Freshness, Source},
    rotation::{Plan, Retire, Strategy},
    ttl::TtlLimits,
};
use leasehold_engine::{
    EngineError,
    request::{
        IssueLease, LeaseChange, LeaseNotice, RenewLease, RevokeLease, RotateSecret, SteerRotation,
        WatchPosition,
    },
};
use tokio::time::{sleep, timeout};

use crate::kit::{ADMIN, API, Broker, OTHER, STATIC, actor, issue};

type Watch = BoxStream<'static, Result<LeaseNotice, EngineError>>;

const HOUR: Duration = Duration::from_secs(3600);
const DRAIN: Duration = Duration::from_secs(600);

/// A broker whose secret is rotated on demand, and whose leases last an hour.
async fn rotating(broker: Broker) -> Broker {
    let plan = Plan { retire: Retire::Keep, drain: DRAIN, ..Plan::new(Strategy::Generate) };
    let plan = Plan { field: "password".parse().unwrap(), ..plan };
    let entry = Entry {
        provider: "main".parse().unwrap(),
        source: Source::Static { reference: "db".into() },
        limits: TtlLimits::new(HOUR, 2 * HOUR).unwrap(),
        max_leases: None,
        freshness: Freshness { max_age: Duration::from_secs(30), max_stale: Duration::ZERO },
        description: None,
        rotation: Some(Arc::new(plan)),
    };
    broker.engine.replace_catalog(Catalog::new([(STATIC.parse().unwrap(), entry)], []).unwrap());
    broker.engine.resume_rotations().await.unwrap();
    broker.reconcile();
    broker
}

async fn lend(broker: &Broker) -> LeaseId {
    broker.engine.issue_lease(IssueLease { ttl: Some(HOUR), ..issue(API, STATIC) }).await.unwrap().lease.id
}

async fn watch(broker: &Broker, after: Option<WatchPosition>) -> Watch {
    broker.engine.watch_leases(actor(API), after).await.unwrap()
}

async fn rotate(broker: &Broker) {
    let request = RotateSecret {
        actor: actor(ADMIN),
        secret: STATIC.parse().unwrap(),
        dry_run: false,
        reason: None,
        request_id: None,
    };
    broker.engine.rotate_secret(request).await.unwrap();
}

async fn next(watch: &mut Watch) -> LeaseNotice {
    timeout(Duration::from_secs(60), watch.next()).await.expect("nothing is told").unwrap().unwrap()
}

/// Everything that is told before nothing is for a second.
async fn all(watch: &mut Watch) -> Vec<LeaseNotice> {
    let mut told = Vec::new();
    while let Ok(notice) = timeout(Duration::from_secs(1), watch.next()).await {
        told.push(notice.unwrap().unwrap());
    }
    told
}

/// In which the times are left out.
fn names(notices: &[LeaseNotice]) -> Vec<(LeaseId, String)> {
    let name = |change: &LeaseChange| match change {
        LeaseChange::Rotated { current } => format!("rotated {current}"),
        LeaseChange::Draining { .. } => "draining".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    };
    notices.iter().map(|notice| (notice.lease.id, name(&notice.change))).collect()
}

fn of(names: &[(LeaseId, String)], lease: LeaseId) -> Vec<&str> {
    names.iter().filter(|(id, _)| *id == lease).map(|(_, name)| name.as_str()).collect()
}

/// Rotates, and returns what is told until the old version has been retired at its deadline.
async fn rotate_to_the_end(broker: &Broker, watch: &mut Watch) -> Vec<LeaseNotice> {
    rotate(broker).await;
    let mut told = Vec::new();
    while told.last().is_none_or(|last: &LeaseNotice| last.change != LeaseChange::Retired) {
        told.push(timeout(2 * DRAIN, watch.next()).await.expect("nothing is told").unwrap().unwrap());
    }
    told.extend(all(watch).await);
    told
}

#[tokio::test(start_paused = true)]
async fn a_holder_is_told_that_its_version_was_replaced_that_it_drains_and_that_it_is_retired() {
    let broker = rotating(Broker::new()).await;
    let leases = [lend(&broker).await, lend(&broker).await];
    let mut seen = watch(&broker, None).await;
    let mut others = broker.engine.watch_leases(actor(OTHER), None).await.unwrap();
    assert_eq!(all(&mut seen).await.len(), 2);
    let told = rotate_to_the_end(&broker, &mut seen).await;
    for lease in leases {
        assert_eq!(of(&names(&told), lease), ["rotated v2", "draining", "retired"]);
    }
    let deadline = told.iter().find_map(|notice| match notice.change {
        LeaseChange::Draining { deadline } => Some(deadline),
        _ => None,
    });
    let left = deadline.unwrap().duration_since(broker.engine.now());
    assert!(left.is_negative() && left.abs().as_secs() < 60, "it was retired at its deadline: {left}");
    assert!(all(&mut others).await.is_empty(), "somebody else was told");
}

#[tokio::test(start_paused = true)]
async fn from_wherever_a_watch_goes_on_nothing_is_missed_and_the_order_is_kept() {
    let broker = rotating(Broker::new()).await;
    let first = lend(&broker).await;
    let mut seen = watch(&broker, None).await;
    let mut told = vec![next(&mut seen).await];
    rotate(&broker).await;
    told.extend([next(&mut seen).await, next(&mut seen).await]);
    let second = lend(&broker).await;
    told.push(next(&mut seen).await);
    let renew = RenewLease {
        actor: actor(API),
        lease: first,
        ttl: Some(HOUR),
        accept_rotation: false,
        request_id: None,
    };
    sleep(Duration::from_secs(5)).await;
    broker.engine.renew_lease(renew).await.unwrap();
    told.push(next(&mut seen).await);
    sleep(DRAIN).await;
    told.extend(all(&mut seen).await);
    told.extend(rotate_to_the_end(&broker, &mut seen).await);
    let names = names(&told);
    assert_eq!(
        of(&names, first),
        ["snapshot", "rotated v2", "draining", "renewed", "retired", "rotated v3"],
        "{names:?}"
    );
    assert_eq!(of(&names, second), ["issued", "rotated v3", "draining", "retired"]);

    for at in 0..told.len() {
        let after = self::names(&all(&mut watch(&broker, Some(told[at].resume)).await).await);
        // What comes again was told before, too; what was not told comes in its order.
        for lease in [first, second] {
            let missed = of(&names[at + 1..], lease);
            let after = of(&after, lease);
            // A lease is told as it is: what it was in between is not.
            let missed: Vec<_> =
                missed.into_iter().filter(|name| *name != "renewed" && *name != "issued").collect();
            let mut rest = after.iter();
            assert!(
                missed.iter().all(|name| rest.any(|told| told == name)),
                "behind {:?}: {after:?} is told, {missed:?} was missed",
                names[at]
            );
        }
    }
    // Behind the last one, nothing.
    assert!(all(&mut watch(&broker, Some(told.last().unwrap().resume)).await).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_begins_anew_is_told_what_holds_and_its_deadline() {
    let broker = rotating(Broker::new()).await;
    let lease = lend(&broker).await;
    let mut seen = watch(&broker, None).await;
    next(&mut seen).await;
    rotate(&broker).await;
    next(&mut seen).await;
    let draining = next(&mut seen).await;
    let renew =
        RenewLease { actor: actor(API), lease, ttl: Some(HOUR), accept_rotation: false, request_id: None };
    sleep(Duration::from_secs(5)).await;
    broker.engine.renew_lease(renew).await.unwrap();
    let told = all(&mut watch(&broker, None).await).await;
    assert_eq!(of(&names(&told), lease), ["snapshot", "rotated v2", "draining"]);
    assert_eq!(told.last().unwrap().change, draining.change);
    // Cut off in between, it is told the rest.
    for (at, rest) in [&["rotated v2", "draining"][..], &["draining"], &[]].into_iter().enumerate() {
        let after = names(&all(&mut watch(&broker, Some(told[at].resume)).await).await);
        assert!(of(&after, lease).ends_with(rest), "{after:?}");
    }
    sleep(DRAIN).await;
    let told = names(&all(&mut watch(&broker, None).await).await);
    assert_eq!(of(&told, lease), ["snapshot", "rotated v2", "retired"]);
}

#[tokio::test(start_paused = true)]
async fn who_has_let_go_of_the_old_version_hears_no_more_of_it() {
    let broker = rotating(Broker::new()).await;
    let [moves, ends] = [lend(&broker).await, lend(&broker).await];
    let mut seen = watch(&broker, None).await;
    all(&mut seen).await;
    rotate(&broker).await;
    for _ in 0..4 {
        next(&mut seen).await;
    }
    let accept =
        RenewLease { actor: actor(API), lease: moves, ttl: None, accept_rotation: true, request_id: None };
    broker.engine.renew_lease(accept).await.unwrap();
    let revoke =
        RevokeLease { actor: actor(API), lease: ends, reason: None, request_id: None, rotate: false };
    broker.engine.revoke_lease(revoke).await.unwrap();
    sleep(2 * DRAIN).await;
    let told = names(&all(&mut seen).await);
    assert_eq!((of(&told, moves), of(&told, ends)), (vec!["moved"], vec!["revoked"]));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_current_again_drains_no_more() {
    let broker = rotating(Broker::new()).await;
    let old = lend(&broker).await;
    let mut seen = watch(&broker, None).await;
    next(&mut seen).await;
    rotate(&broker).await;
    next(&mut seen).await;
    next(&mut seen).await;
    let new = lend(&broker).await;
    next(&mut seen).await;
    let back = SteerRotation {
        actor: actor(ADMIN),
        secret: STATIC.parse().unwrap(),
        reason: None,
        request_id: None,
    };
    broker.engine.roll_back_rotation(back).await.unwrap();
    // The old value is the current one again, under another version.
    let told = names(&[next(&mut seen).await, next(&mut seen).await, next(&mut seen).await]);
    assert_eq!((of(&told, old), of(&told, new)), (vec!["rotated v3"], vec!["rotated v3", "draining"]));
    let anew = names(&all(&mut watch(&broker, None).await).await);
    assert_eq!(
        (of(&anew, old), of(&anew, new)),
        (vec!["snapshot", "rotated v3"], vec!["snapshot", "rotated v3", "draining"])
    );
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_was_too_slow_is_told_that_its_version_drains_when_it_comes_back() {
    let broker = rotating(Broker::new()).await;
    let lease = lend(&broker).await;
    let mut slow = watch(&broker, None).await;
    let place = next(&mut slow).await.resume;
    for _ in 0..300 {
        lend(&broker).await;
    }
    rotate(&broker).await;
    sleep(Duration::from_secs(60)).await;
    let mut last = None;
    while let Some(told) = slow.next().await {
        last = Some(told);
    }
    assert!(matches!(last, Some(Err(EngineError::WatchLagged))), "{last:?}");
    for after in [Some(place), None] {
        let told = all(&mut watch(&broker, after).await).await;
        let drains = told.iter().filter(|notice| matches!(notice.change, LeaseChange::Draining { .. }));
        assert_eq!(drains.count(), 301, "after {after:?}");
        assert!(of(&names(&told), lease).ends_with(&["rotated v2", "draining"]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_beginning_that_is_cut_anywhere_tells_what_drains() {
    let broker = rotating(Broker::new()).await;
    let mut leases = Vec::new();
    for _ in 0..600 {
        leases.push(lend(&broker).await);
    }
    rotate(&broker).await;
    sleep(Duration::from_secs(60)).await;
    let whole = all(&mut watch(&broker, None).await).await;
    assert_eq!(whole.len(), 3 * leases.len());
    // In the middle of a lease, between two leases, and in the last page.
    for cut in [1, 2, 3, 767, 768, 769, 1000, 1001, 1790, 1799] {
        let after = names(&all(&mut watch(&broker, Some(whole[cut - 1].resume)).await).await);
        let before = names(&whole[..cut]);
        for lease in &leases {
            let told = [of(&before, *lease), of(&after, *lease)].concat();
            for name in ["rotated v2", "draining"] {
                assert!(told.contains(&name), "cut behind {cut}: {told:?}");
            }
        }
    }
}
