//! What people do about rotations: nobody carries them out here, so that what was asked for stays to be seen.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use leasehold_core::{
    LeaseId, SecretValue, Timestamp,
    access::Action,
    catalog::{Catalog, Entry, Freshness, Source},
    record::{Kind, Outcome},
    rotation::{Plan, StepError, Strategy, Why},
    ttl::{TtlLimits, after},
};
use leasehold_engine::{
    EngineError,
    request::{
        LeaseFilter, ListRotations, RevocationState, RevokeLease, RotateSecret, RotationFilter,
        RotationReport, StartRevocation, SteerRotation, WriteSecret,
    },
};

use crate::kit::{ADMIN, API, Broker, OTHER, STATIC, actor};

const COOL_DOWN: Duration = Duration::from_secs(600);

fn entry(reference: &str, rotation: Option<Plan>) -> Entry {
    Entry {
        provider: "main".parse().unwrap(),
        source: Source::Static { reference: reference.into() },
        limits: TtlLimits::new(Duration::from_secs(60), Duration::from_secs(600)).unwrap(),
        max_leases: None,
        freshness: Freshness { max_age: Duration::ZERO, max_stale: Duration::ZERO },
        description: None,
        rotation: rotation.map(Arc::new),
    }
}

/// A broker of these secrets, and of a mount that is rotated.
fn broker<'a>(secrets: impl IntoIterator<Item = (&'a str, Option<Plan>)>) -> Broker {
    let broker = Broker::new();
    let secrets = secrets.into_iter().map(|(path, plan)| (path.parse().unwrap(), entry("db", plan)));
    let mount = ("prod/shared/".parse().unwrap(), entry("{rest}", Some(Plan::new(Strategy::Generate))));
    broker.engine.replace_catalog(Catalog::new(secrets, [mount]).unwrap());
    broker
}

fn rotated() -> Option<Plan> {
    Some(Plan::new(Strategy::Generate))
}

fn rotated_on_revoke() -> Option<Plan> {
    Some(Plan { on_revoke: Some(COOL_DOWN), ..Plan::new(Strategy::Generate) })
}

fn rotate(who: &str, path: &str) -> RotateSecret {
    RotateSecret {
        actor: actor(who),
        secret: path.parse().unwrap(),
        dry_run: false,
        reason: Some("planned".to_owned()),
        request_id: None,
    }
}

fn steer(who: &str, path: &str) -> SteerRotation {
    SteerRotation { actor: actor(who), secret: path.parse().unwrap(), reason: None, request_id: None }
}

impl Broker {
    async fn rotation(&self, path: &str) -> RotationReport {
        self.engine.read_rotation(actor(ADMIN), path.parse().unwrap()).await.unwrap()
    }

    async fn wanted(&self, path: &str) -> Option<(Why, Timestamp)> {
        self.rotation(path).await.rotation.wanted.map(|wanted| (wanted.why, wanted.not_before))
    }

    async fn put(&self, path: &str, value: &str) {
        let write = WriteSecret {
            actor: actor(ADMIN),
            secret: path.parse().unwrap(),
            value: SecretValue::plain(value.to_owned()),
            expected: None,
            request_id: None,
        };
        self.engine.write_secret(write).await.unwrap();
    }

    async fn take_away(&self, who: &str, lease: LeaseId, rotate: bool) -> Result<(), EngineError> {
        let revoke = RevokeLease { actor: actor(who), lease, reason: None, request_id: None, rotate };
        self.engine.revoke_lease(revoke).await.map(drop)
    }

    fn on_record(&self, kind: Kind, outcome: &Outcome) -> usize {
        self.kinds().iter().filter(|(one, how)| *one == kind && how == outcome).count()
    }
}

#[tokio::test(start_paused = true)]
async fn to_ask_twice_is_to_ask_once_and_not_everybody_may() {
    let broker = broker([(STATIC, rotated()), ("prod/fixed", None)]);
    for _ in 0..2 {
        let answer = broker.engine.rotate_secret(rotate(ADMIN, STATIC)).await.unwrap();
        assert!(answer.preview.is_none() && answer.rotation.rotation.wanted.is_some());
    }
    let (why, at) = broker.wanted(STATIC).await.unwrap();
    assert_eq!((why, at), (Why::Request { by: ADMIN.parse().unwrap() }, broker.engine.now()));
    assert_eq!(broker.on_record(Kind::RotationRequested, &Outcome::Ok), 2, "each is on record");
    let refused = |path| broker.engine.rotate_secret(rotate(ADMIN, path));
    assert!(matches!(refused("prod/fixed").await, Err(EngineError::NotRotated)));
    assert!(matches!(refused("prod/absent").await, Err(EngineError::Denied(_))));
    let denied = broker.engine.rotate_secret(rotate(API, STATIC)).await;
    assert!(matches!(denied, Err(EngineError::Denied(_))));
    assert_eq!(broker.on_record(Kind::RotationRequested, &Outcome::Denied), 2);
}

#[tokio::test(start_paused = true)]
async fn to_pause_twice_is_to_pause_once_and_there_is_nothing_to_take_back() {
    let broker = broker([(STATIC, rotated())]);
    let engine = &broker.engine;
    let first = engine.pause_rotation(steer(ADMIN, STATIC)).await.unwrap().rotation.paused;
    tokio::time::advance(Duration::from_secs(5)).await;
    let second = engine.pause_rotation(steer(ADMIN, STATIC)).await.unwrap();
    assert_eq!((second.rotation.paused, second.next), (first, None));
    assert!(first.is_some());
    for _ in 0..2 {
        let resumed = engine.resume_rotation(steer(ADMIN, STATIC)).await.unwrap();
        assert_eq!(resumed.rotation.paused, None);
    }
    let nothing = engine.roll_back_rotation(steer(ADMIN, STATIC)).await;
    assert!(matches!(nothing, Err(EngineError::Rotation(StepError::Idle))), "{nothing:?}");
    assert!(matches!(engine.pause_rotation(steer(API, STATIC)).await, Err(EngineError::Denied(_))));
    let already: Vec<_> = broker
        .ledger
        .records()
        .into_iter()
        .filter_map(|record| record.details.get("already").cloned())
        .collect();
    assert_eq!(already, ["paused", "not paused"]);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_takes_away_is_rotated_after_the_cool_down_and_what_is_given_back_is_not() {
    let broker = broker([(STATIC, rotated_on_revoke())]);
    broker.put(STATIC, "one").await;
    let made_at = broker.engine.now();
    let mut leases = Vec::new();
    for _ in 0..3 {
        leases.push(broker.issue(STATIC).await.unwrap().lease.id);
    }
    broker.take_away(API, leases[0], false).await.unwrap();
    assert_eq!(broker.wanted(STATIC).await, None, "it was given back");
    tokio::time::advance(Duration::from_secs(30)).await;
    broker.take_away(ADMIN, leases[1], false).await.unwrap();
    assert_eq!(broker.wanted(STATIC).await, Some((Why::Revocation, after(made_at, COOL_DOWN))));
    // What somebody asks for does not wait.
    broker.take_away(ADMIN, leases[2], true).await.unwrap();
    let by = ADMIN.parse().unwrap();
    assert_eq!(broker.wanted(STATIC).await, Some((Why::Request { by }, broker.engine.now())));
    let told = broker.ledger.records().into_iter().filter(|record| record.details.contains_key("rotation"));
    assert_eq!(told.map(|record| record.kind).collect::<Vec<_>>(), [Kind::LeaseRevoked; 2]);
}

#[tokio::test(start_paused = true)]
async fn an_end_whose_time_has_come_rotates_only_what_is_asked_for() {
    let broker = broker([(STATIC, rotated_on_revoke())]);
    broker.put(STATIC, "one").await;
    let lease = broker.issue(STATIC).await.unwrap().lease.id;
    tokio::time::advance(Duration::from_secs(60)).await;
    for _ in 0..2 {
        broker.take_away(ADMIN, lease, false).await.unwrap();
        assert_eq!(broker.wanted(STATIC).await, None);
    }
    broker.take_away(ADMIN, lease, true).await.unwrap();
    assert_eq!(broker.wanted(STATIC).await.map(|(_, at)| at), Some(broker.engine.now()));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_current_no_longer_is_not_rotated_for_a_lease_on_it() {
    let broker = broker([(STATIC, rotated_on_revoke())]);
    broker.put(STATIC, "one").await;
    let old = broker.issue(STATIC).await.unwrap().lease.id;
    broker.put(STATIC, "two").await;
    broker.take_away(ADMIN, old, false).await.unwrap();
    assert_eq!(broker.wanted(STATIC).await, None);
}

#[tokio::test(start_paused = true)]
async fn who_may_not_rotate_takes_nothing_away_with_it() {
    let broker = broker([(STATIC, rotated()), ("prod/fixed", None)]);
    broker.put(STATIC, "one").await;
    let (lease, fixed) =
        (broker.issue(STATIC).await.unwrap().lease.id, broker.issue("prod/fixed").await.unwrap().lease.id);
    let not_rotated = broker.take_away(ADMIN, fixed, true).await;
    assert!(matches!(not_rotated, Err(EngineError::NotRotated)), "{not_rotated:?}");
    broker.rules.closed.lock().unwrap().insert(Action::RotateSecret);
    assert!(matches!(broker.take_away(ADMIN, lease, true).await, Err(EngineError::Denied(_))));
    // Not even of what it holds itself.
    assert!(matches!(broker.take_away(API, lease, true).await, Err(EngineError::Denied(_))));
    for id in [lease, fixed] {
        let lease = broker.engine.get_lease(actor(API), id).await.unwrap();
        assert!(lease.is_live(broker.engine.now()), "{lease:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn many_leases_that_are_ended_are_one_rotation_each_secret() {
    let broker = broker([(STATIC, rotated()), ("prod/other", rotated()), ("prod/fixed", None)]);
    broker.reconcile();
    let paths = [STATIC, "prod/other", "prod/fixed"];
    for path in paths {
        broker.engine.pause_rotation(steer(ADMIN, path)).await.ok();
        for _ in 0..20 {
            broker.issue(path).await.unwrap();
        }
    }
    let end = async |rotate| {
        let start = StartRevocation {
            actor: actor(ADMIN),
            filter: LeaseFilter { prefix: Some("prod/".parse().unwrap()), ..LeaseFilter::default() },
            dry_run: false,
            reason: "it leaked".to_owned(),
            request_id: None,
            rotate,
        };
        let begun = broker.engine.start_revocation(start).await.unwrap();
        let mut progress = broker.engine.watch_revocation(actor(ADMIN), begun.id.unwrap()).await.unwrap();
        let mut last = None;
        while let Some(told) = progress.next().await {
            last = Some(told.unwrap());
        }
        let last = last.unwrap();
        assert_eq!(last.state, RevocationState::Finished);
        last.counts.done
    };
    broker.rules.closed.lock().unwrap().insert(Action::RotateSecret);
    assert_eq!(end(true).await, 60, "they are ended all the same");
    assert_eq!(broker.on_record(Kind::RotationRequested, &Outcome::Denied), 2, "each secret is denied once");
    assert_eq!(broker.wanted(STATIC).await, None);
    broker.rules.closed.lock().unwrap().clear();
    for path in paths {
        broker.issue(path).await.unwrap();
        broker.issue(path).await.unwrap();
    }
    assert_eq!(end(true).await, 6);
    let by = Why::Request { by: ADMIN.parse().unwrap() };
    for path in [STATIC, "prod/other"] {
        assert_eq!(broker.wanted(path).await.map(|(why, _)| why), Some(by.clone()), "{path}");
    }
    let wishes = broker.ledger.records().into_iter().filter(|record| record.details.contains_key("rotation"));
    assert_eq!(wishes.count(), 2, "one for each secret, though two leases of each were ended");
}

#[tokio::test(start_paused = true)]
async fn lists_go_page_by_page_over_what_is_configured_and_what_is_known() {
    let names: Vec<_> = (0..5).map(|n| format!("prod/team/{n}")).collect();
    let secrets = names.iter().map(|name| (name.as_str(), rotated())).chain([("prod/fixed", None)]);
    let broker = broker(secrets);
    // A mount's secrets are known once they were written; what is not rotated is known, too, and not listed.
    for path in ["prod/shared/a", "prod/fixed", "prod/team/3"] {
        broker.put(path, "one").await;
    }
    broker.engine.pause_rotation(steer(ADMIN, "prod/team/1")).await.unwrap();
    let list = async |who: &str, filter: &RotationFilter, page_size| {
        let (mut all, mut page_token) = (Vec::new(), None);
        loop {
            let request = ListRotations { actor: actor(who), filter: filter.clone(), page_size, page_token };
            let page = broker.engine.list_rotations(request).await.unwrap();
            assert!(page.items.len() <= page_size);
            all.extend(page.items.into_iter().map(|one| one.rotation.secret.to_string()));
            page_token = page.next_page_token;
            if page_token.is_none() {
                return all;
            }
        }
    };
    let everything: Vec<_> = ["prod/shared/a".to_owned()].into_iter().chain(names.clone()).collect();
    for size in [1, 2, 100] {
        assert_eq!(list(ADMIN, &RotationFilter::default(), size).await, everything, "pages of {size}");
    }
    let team = RotationFilter { prefix: Some("prod/team/".parse().unwrap()), ..RotationFilter::default() };
    assert_eq!(list(ADMIN, &team, 2).await, names);
    let attention = RotationFilter { attention: true, ..RotationFilter::default() };
    assert_eq!(list(ADMIN, &attention, 100).await, ["prod/team/1"]);
    let draining = leasehold_core::rotation::Stage::Draining;
    let drained = RotationFilter { stages: vec![Some(draining)], ..RotationFilter::default() };
    assert!(list(ADMIN, &drained, 100).await.is_empty());
    let idle = RotationFilter { stages: vec![Some(draining), None], ..RotationFilter::default() };
    assert_eq!(list(ADMIN, &idle, 100).await, everything);
    assert!(list(OTHER, &RotationFilter::default(), 1).await.is_empty());
    let request = ListRotations {
        actor: actor(ADMIN),
        filter: RotationFilter::default(),
        page_size: 1,
        page_token: Some("../etc".to_owned()),
    };
    assert!(matches!(broker.engine.list_rotations(request.clone()).await, Err(EngineError::BadPageToken)));

    // Nor does the end of a page tell that there is something which its reader does not see.
    broker
        .rules
        .hidden
        .lock()
        .unwrap()
        .extend(["prod/team/2", "prod/team/3", "prod/team/4"].map(str::to_owned));
    let request = ListRotations { page_size: 3, page_token: None, ..request };
    let page = broker.engine.list_rotations(request).await.unwrap();
    assert_eq!((page.items.len(), page.next_page_token), (3, None));
}

#[tokio::test(start_paused = true)]
async fn old_leases_are_those_on_other_versions_than_the_current_one() {
    let broker = broker([(STATIC, rotated())]);
    for value in ["one", "two", "three"] {
        broker.put(STATIC, value).await;
        for _ in 0..2 {
            broker.issue(STATIC).await.unwrap();
        }
    }
    let report = broker.rotation(STATIC).await;
    assert_eq!((report.old_leases, report.holders.total), (4, 0));
}

#[tokio::test(start_paused = true)]
async fn a_watch_tells_how_it_is_and_then_every_change() {
    let broker = broker([(STATIC, rotated())]);
    let engine = broker.engine.clone();
    assert!(matches!(
        engine.watch_rotation(actor(API), STATIC.parse().unwrap()).await.map(drop),
        Err(EngineError::Denied(_))
    ));
    let mut watch = engine.watch_rotation(actor(ADMIN), STATIC.parse().unwrap()).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().rotation.wanted, None);
    assert!(futures::poll!(watch.next()).is_pending());
    engine.pause_rotation(steer(ADMIN, STATIC)).await.unwrap();
    assert!(watch.next().await.unwrap().unwrap().rotation.paused.is_some());
    engine.rotate_secret(rotate(ADMIN, STATIC)).await.unwrap();
    assert!(watch.next().await.unwrap().unwrap().rotation.wanted.is_some());
    // Another secret whose path begins alike is another secret.
    broker.put("prod/shared/db", "one").await;
    assert!(futures::poll!(watch.next()).is_pending());
}
