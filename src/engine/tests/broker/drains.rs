//! Draining: an old version goes when its last holder has let go of it, and nobody waits longer than that.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream::BoxStream};
use leasehold_core::{
    LeaseId,
    catalog::{Catalog, Entry, Freshness, Source},
    rotation::{Plan, Retire, Strategy, Told},
    ttl::TtlLimits,
};
use leasehold_engine::{
    EngineError,
    request::{IssueLease, RenewLease, RevokeLease, RotateSecret, SecretNews, SecretNotice, WatchSecret},
};
use tokio::time::{Instant, sleep, timeout};

use crate::kit::{ADMIN, API, Broker, STATIC, actor, issue};

type Watch = BoxStream<'static, Result<Arc<SecretNotice>, EngineError>>;

/// Well before the version would be looked at without being told.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A broker whose secret is rotated on demand.
async fn rotating(broker: Broker) -> Broker {
    let plan = Plan { retire: Retire::Keep, ..Plan::new(Strategy::Generate) };
    let plan = Plan { field: "password".parse().unwrap(), ..plan };
    let entry = Entry {
        provider: "main".parse().unwrap(),
        source: Source::Static { reference: "db".into() },
        limits: TtlLimits::new(Duration::from_secs(3600), Duration::from_secs(7200)).unwrap(),
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

async fn lend(broker: &Broker, count: usize) -> Vec<LeaseId> {
    let mut leases = Vec::new();
    for _ in 0..count {
        let ttl = Some(Duration::from_secs(1800));
        let issued = broker.engine.issue_lease(IssueLease { ttl, ..issue(API, STATIC) }).await.unwrap();
        leases.push(issued.lease.id);
    }
    leases
}

async fn watch(broker: &Broker, after: Option<u64>) -> Watch {
    let request = WatchSecret { actor: actor(API), secret: STATIC.parse().unwrap(), after };
    broker.engine.watch_secret(request).await.unwrap()
}

async fn told(watch: &mut Watch, within: Duration) -> Option<(u64, String)> {
    let notice = timeout(within, watch.next()).await.ok()?.unwrap().unwrap();
    let name = match &notice.news {
        SecretNews::Standing { .. } => "standing".to_owned(),
        SecretNews::Told(Told::Rotated { version }) => format!("rotated {version}"),
        SecretNews::Told(Told::Draining { version, .. }) => format!("draining {version}"),
        SecretNews::Told(Told::Retired { version }) => format!("retired {version}"),
    };
    Some((notice.number, name))
}

/// Rotates, until the old version is draining; says where the watch is then.
async fn rotate(broker: &Broker, watch: &mut Watch) -> u64 {
    let request = RotateSecret {
        actor: actor(ADMIN),
        secret: STATIC.parse().unwrap(),
        dry_run: false,
        reason: None,
        request_id: None,
    };
    broker.engine.rotate_secret(request).await.unwrap();
    loop {
        let (number, name) = told(watch, Duration::from_secs(60)).await.expect("it is rotated");
        if name == "draining v1" {
            return number;
        }
    }
}

async fn renew(broker: &Broker, lease: LeaseId) {
    let request = RenewLease { actor: actor(API), lease, ttl: None, accept_rotation: true, request_id: None };
    assert!(broker.engine.renew_lease(request).await.unwrap().value.is_some());
}

async fn revoke(broker: &Broker, lease: LeaseId) {
    let actor = actor(API);
    let request = RevokeLease { actor, lease, reason: None, request_id: None, rotate: false };
    broker.engine.revoke_lease(request).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_version_is_retired_as_soon_as_its_last_holder_has_moved_or_given_it_back() {
    let broker = rotating(Broker::new()).await;
    let leases = lend(&broker, 12).await;
    let mut watch = watch(&broker, None).await;
    rotate(&broker, &mut watch).await;
    let (last, others) = leases.split_last().unwrap();
    for (n, lease) in others.iter().enumerate() {
        sleep(Duration::from_millis(100)).await;
        if n % 2 == 0 { renew(&broker, *lease).await } else { revoke(&broker, *lease).await }
    }
    assert_eq!(told(&mut watch, Duration::from_secs(20)).await, None, "somebody holds it");
    renew(&broker, *last).await;
    let (_, name) = told(&mut watch, AT_ONCE).await.expect("nobody holds it");
    assert_eq!(name, "retired v1");
}

#[tokio::test(start_paused = true)]
async fn whoever_lets_go_first_in_whatever_order_the_last_one_is_noticed() {
    let broker = rotating(Broker::new()).await;
    let mut leases = lend(&broker, 40).await;
    leases.reverse();
    let mut watch = watch(&broker, None).await;
    rotate(&broker, &mut watch).await;
    let ends = leases.iter().map(|lease| renew(&broker, *lease));
    let began = Instant::now();
    futures::future::join_all(ends).await;
    let (_, name) = told(&mut watch, AT_ONCE).await.expect("nobody holds it");
    assert_eq!(name, "retired v1");
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_new_process_notices_it_too_and_a_watch_goes_on_there() {
    let first = rotating(Broker::new()).await;
    let leases = lend(&first, 2).await;
    let mut seen = watch(&first, None).await;
    let place = rotate(&first, &mut seen).await;
    let (ledger, back_end) = (first.ledger.clone(), first.back_end.clone());
    drop(first);
    sleep(Duration::from_secs(60)).await;
    let broker = rotating(Broker::over(ledger, back_end)).await;
    let mut watch = watch(&broker, Some(place)).await;
    revoke(&broker, leases[1]).await;
    assert_eq!(told(&mut watch, Duration::from_secs(20)).await, None, "somebody holds it");
    revoke(&broker, leases[0]).await;
    let (number, name) = told(&mut watch, AT_ONCE).await.expect("nobody holds it");
    assert_eq!((number, name.as_str()), (place + 1, "retired v1"));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_lease_lets_go_of_its_version_too() {
    let broker = rotating(Broker::new()).await;
    let lease = lend(&broker, 1).await;
    let mut watch = watch(&broker, None).await;
    rotate(&broker, &mut watch).await;
    let ended = lease.len();
    let (_, name) = told(&mut watch, Duration::from_secs(1800) + AT_ONCE).await.expect("it expired");
    assert_eq!((ended, name.as_str()), (1, "retired v1"));
}
