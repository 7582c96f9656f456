//! Each strategy from its beginning to its end.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use leasehold_core::{
    provider::{Verification, VersionState},
    record::Kind,
    rotation::{Event, Outcome, Retire, Schedule, Stage, Told},
};
use tokio::time::sleep;

use super::kit::{Keeps, World, path, shows_no_value, version};

const STEPS: [&str; 8] = [
    "rotation.seen",
    "rotation.started",
    "rotation.created",
    "rotation.tested",
    "rotation.promoted",
    "rotation.drained",
    "rotation.verified",
    "rotation.retired",
];

fn pair(user: &str, password: &str) -> (String, String) {
    (user.to_owned(), password.to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_random_value_replaces_another_where_one_can_wait_and_where_none_can() {
    for keeps in [Keeps::Staged, Keeps::Unstaged] {
        let world = World::generate(keeps);
        let process = world.start();
        world.want().await;
        assert!(process.settle(&world).await);
        assert_eq!(world.told(), STEPS, "{keeps:?}");
        assert_eq!(world.store.current(), Some(version("v2")));
        assert_eq!(world.store.state("v1"), VersionState::Disabled);
        let rotation = world.rotation().await;
        let last = rotation.last.unwrap();
        assert_eq!((last.outcome, last.verification), (Outcome::Retired, Some(Verification::Verified)));
        assert_eq!(rotation.current.unwrap().version, version("v2"));
        assert_eq!(process.lend().await.1, pair("app_a", "new-1"));
        let created = &world.records(Kind::RotationCreated)[0];
        assert_eq!(created.version, Some(version("v2")));
        assert_eq!(created.value_hmac.len(), 2, "the new value is recognised");
        shows_no_value(&world);
    }
}

#[tokio::test(start_paused = true)]
async fn one_user_gets_another_password() {
    for keeps in [Keeps::Staged, Keeps::Unstaged] {
        let world = World::single(keeps);
        let process = world.start();
        world.want().await;
        assert!(process.settle(&world).await);
        assert!(world.target.accepts("app_a", "new-1") && !world.target.accepts("app_a", "canary-0"));
        let last = world.rotation().await.last.unwrap();
        assert_eq!(last.verification, Some(Verification::Verified));
        assert_eq!(world.store.state("v1"), VersionState::Disabled);
        assert_eq!(world.target.applied.load(SeqCst), 1);
        shows_no_value(&world);
    }
}

#[tokio::test(start_paused = true)]
async fn two_users_take_turns_and_nobody_is_locked_out_before_the_last_lease_is_gone() {
    for keeps in [Keeps::Staged, Keeps::Unstaged] {
        let world = World::alternating(keeps);
        let process = world.start();
        let (held, _) = process.lend().await;
        for (user, password, next, made) in
            [("app_a", "canary-0", "app_b", "new-1"), ("app_b", "new-1", "app_a", "new-2")]
        {
            let (_, lent) = process.lend().await;
            assert_eq!(lent, pair(user, password), "{keeps:?}");
            world.want().await;
            process.until(&world, Stage::Draining).await;
            assert!(world.target.accepts(user, password), "the old one works on while it is held");
            assert_eq!(process.lend().await.1, pair(next, made));
            sleep(Duration::from_secs(3601)).await;
            assert!(process.settle(&world).await);
            assert!(world.target.accepts(next, made) && !world.target.accepts(user, password));
        }
        assert_eq!(held.lease.version, Some(version("v1")));
    }
}

#[tokio::test(start_paused = true)]
async fn the_old_version_is_retired_as_soon_as_nobody_holds_it() {
    let world = World::alternating(Keeps::Staged);
    let process = world.start();
    let (held, _) = process.lend().await;
    world.want().await;
    process.until(&world, Stage::Draining).await;
    let wait = process.engine.drive_rotation(&path()).await.unwrap();
    let deadline = world.rotation().await.course.unwrap().drain_deadline;
    assert_eq!(wait, deadline);
    let revoke = leasehold_engine::request::RevokeLease {
        actor: crate::kit::actor(crate::kit::API),
        lease: held.lease.id,
        reason: None,
        rotate: false,
        request_id: None,
    };
    process.engine.revoke_lease(revoke).await.unwrap();
    assert!(process.settle(&world).await);
    assert!(Some(world.now()) < deadline);
    assert!(!world.target.accepts("app_a", "canary-0"));
    let drained = &world.records(Kind::RotationDrained)[0];
    assert_eq!(drained.details["holders"], "0");
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_it_is_retired_whoever_holds_it() {
    let world = World::generate(Keeps::Unstaged);
    let process = world.start();
    let mut request = crate::kit::issue(crate::kit::API, crate::kit::STATIC);
    request.ttl = Some(Duration::from_secs(40_000));
    process.engine.issue_lease(request).await.unwrap();
    world.want().await;
    assert!(process.settle(&world).await);
    assert_eq!(world.records(Kind::RotationDrained)[0].details["holders"], "1");
    assert!(
        world.now()
            >= leasehold_core::ttl::after(leasehold_core::Timestamp::UNIX_EPOCH, Duration::from_secs(3600))
    );
}

#[tokio::test(start_paused = true)]
async fn where_nothing_can_wait_the_old_version_is_lent_until_the_new_one_is_promoted() {
    let world = World::single(Keeps::Unstaged);
    *world.target.deaf.lock().unwrap() = true;
    let process = world.start();
    world.want().await;
    process.until(&world, Stage::Applied).await;
    assert_eq!(world.store.current(), Some(version("v2")));
    assert_eq!(process.lend().await.0.lease.version, Some(version("v1")));
    // A process that starts now lends no other one.
    let next = world.start();
    next.engine.resume_rotations().await.unwrap();
    assert_eq!(next.lend().await.0.lease.version, Some(version("v1")));
    *world.target.deaf.lock().unwrap() = false;
    next.until(&world, Stage::Draining).await;
    assert_eq!(next.lend().await.0.lease.version, Some(version("v2")));
}

#[tokio::test(start_paused = true)]
async fn the_first_version_of_all_is_made_and_nothing_retired() {
    for keeps in [Keeps::Staged, Keeps::Unstaged] {
        let world = World::generate(keeps);
        world.store.empty();
        let process = world.start();
        world.want().await;
        assert!(process.settle(&world).await);
        let rotation = world.rotation().await;
        assert_eq!(rotation.current.unwrap().version, version("v1"));
        assert_eq!(rotation.last.unwrap().old, None);
        let lease = process.engine.issue_lease(crate::kit::issue(crate::kit::API, crate::kit::STATIC)).await;
        assert_eq!(lease.unwrap().lease.version, Some(version("v1")));
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_target_must_accept_needs_a_first_value_from_somebody() {
    let world = World::single(Keeps::Staged);
    world.store.empty();
    let process = world.start();
    world.want().await;
    let again = process.engine.drive_rotation(&path()).await.unwrap();
    assert!(again > Some(world.now()));
    let hindered = world.rotation().await.hindered.unwrap();
    assert!(hindered.message.contains("leasehold secret put"), "{}", hindered.message);
}

#[tokio::test(start_paused = true)]
async fn the_schedule_begins_one_when_its_time_has_come_and_policy_allows_it() {
    let world = World::generate(Keeps::Staged);
    let every = Duration::from_secs(86_400);
    world.plan.lock().unwrap().as_mut().unwrap().schedule = Some(Schedule::every(every));
    *world.denied.lock().unwrap() = true;
    let process = world.start();
    world.step(Event::Seen { version: version("v1"), made_at: None }).await;
    let due = process.engine.drive_rotation(&path()).await.unwrap().unwrap();
    sleep(leasehold_core::ttl::until(world.now(), due)).await;
    let again = process.engine.drive_rotation(&path()).await.unwrap().unwrap();
    assert!(again > world.now(), "policy says no, and is asked again");
    let refused = &world.records(Kind::RotationFailed)[0];
    assert_eq!(refused.outcome, leasehold_core::record::Outcome::Denied);
    assert!(refused.decision.is_some());
    *world.denied.lock().unwrap() = false;
    sleep(leasehold_core::ttl::until(world.now(), again)).await;
    let next = process.engine.drive_rotation(&path()).await.unwrap().unwrap();
    assert_eq!(world.store.current(), Some(version("v2")));
    assert!(next > leasehold_core::ttl::after(world.now(), every / 2), "the next one is a period later");
    assert_eq!(world.records(Kind::RotationStarted)[0].details["why"], "schedule");
}

#[tokio::test(start_paused = true)]
async fn what_is_to_be_kept_is_kept_and_nothing_is_claimed_of_it() {
    let world = World::generate(Keeps::Staged);
    world.plan.lock().unwrap().as_mut().unwrap().retire = Retire::Keep;
    let process = world.start();
    world.want().await;
    assert!(process.settle(&world).await);
    assert_eq!(world.store.state("v1"), VersionState::Enabled);
    let last = world.rotation().await.last.unwrap();
    assert_eq!(last.verification, Some(Verification::Unverifiable));
}

#[tokio::test(start_paused = true)]
async fn holders_are_told_of_each_thing_in_order() {
    let world = World::generate(Keeps::Staged);
    let process = world.start();
    world.want().await;
    assert!(process.settle(&world).await);
    let rotation = world.rotation().await;
    let told: Vec<_> = rotation.notices.iter().map(|notice| (notice.number, notice.told.clone())).collect();
    let (one, two) = (version("v1"), version("v2"));
    assert!(matches!(&told[0], (1, Told::Rotated { version }) if *version == two));
    assert!(matches!(&told[1], (2, Told::Draining { version, .. }) if *version == one));
    assert!(matches!(&told[2], (3, Told::Retired { version }) if *version == one));
    assert!(world.ledger_is_closed().await);
}
