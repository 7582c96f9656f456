//! What people do about a rotation while it goes on.

use std::time::Duration;

use leasehold_core::{
    provider::{Verdict, VersionState},
    rotation::{Event, Outcome, Stage},
    ttl::after,
};
use leasehold_engine::EngineError;
use tokio::time::sleep;

use super::kit::{Keeps, World, path, version};

const KEEPS: [Keeps; 2] = [Keeps::Staged, Keeps::Unstaged];

#[tokio::test(start_paused = true)]
async fn one_that_is_paused_stands_still_until_it_is_resumed() {
    let world = World::single(Keeps::Unstaged);
    *world.target.deaf.lock().unwrap() = true;
    let process = world.start();
    world.want().await;
    process.until(&world, Stage::Applied).await;
    world.step(Event::Pause).await;
    *world.target.deaf.lock().unwrap() = false;
    sleep(Duration::from_secs(7200)).await;
    assert_eq!(process.engine.drive_rotation(&path()).await.unwrap(), None);
    assert_eq!(world.stage().await, Some(Stage::Applied));
    assert_eq!(process.lend().await.0.lease.version, Some(version("v1")), "it is pinned all the while");
    world.step(Event::Resume).await;
    process.until(&world, Stage::Draining).await;
}

#[tokio::test(start_paused = true)]
async fn while_the_old_version_lives_it_can_be_brought_back() {
    for keeps in KEEPS {
        for make in [World::generate, World::single, World::alternating] {
            let world = make(keeps);
            let process = world.start();
            let (_, lent) = process.lend().await;
            world.want().await;
            process.until(&world, Stage::Draining).await;
            let (_, newer) = process.lend().await;
            assert_ne!(newer, lent);
            world.step(Event::RollBack).await;
            process.engine.drive_rotation(&path()).await.unwrap();
            assert_eq!(process.lend().await.1, lent);
            assert!(process.settle(&world).await);
            let rotation = world.rotation().await;
            assert_eq!(rotation.last.as_ref().unwrap().outcome, Outcome::RolledBack);
            assert_eq!(rotation.current.unwrap().version, world.store.current().unwrap());
            assert_eq!(world.store.state("v2"), VersionState::Disabled);
            if world.target_is_asked() {
                assert!(world.target.accepts(&lent.0, &lent.1));
                assert!(!world.target.accepts(&newer.0, &newer.1));
            }
            // And on it goes from there.
            world.want().await;
            assert!(process.settle(&world).await);
            assert_eq!(world.rotation().await.last.unwrap().outcome, Outcome::Retired);
            assert_eq!(process.lend().await.1.1, "new-2");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_given_up_in_time_leaves_everything_as_it_was() {
    for keeps in KEEPS {
        let world = World::single(keeps);
        *world.target.deaf.lock().unwrap() = true;
        let process = world.start();
        world.want().await;
        process.until(&world, Stage::Applied).await;
        world.step(Event::RollBack).await;
        assert!(process.settle(&world).await);
        assert!(world.target.accepts("app_a", "canary-0"));
        assert_eq!(process.lend().await.1.1, "canary-0");
        let rotation = world.rotation().await;
        assert_eq!(rotation.last.unwrap().problem, None);
        let left_alone = rotation.hindered.unwrap().next_try;
        assert!(left_alone >= after(world.now(), Duration::from_secs(3000)), "its schedule waits, too");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_catalog_has_no_longer_comes_to_its_end_by_its_own_plan() {
    let world = World::alternating(Keeps::Unstaged);
    let process = world.start();
    process.lend().await;
    world.want().await;
    process.until(&world, Stage::Draining).await;
    *world.plan.lock().unwrap() = None;
    process.engine.replace_catalog(world.catalog());
    assert!(process.settle(&world).await);
    assert!(!world.target.accepts("app_a", "canary-0"));
    assert_eq!(world.store.state("v1"), VersionState::Disabled);
    world.want().await;
    assert_eq!(process.engine.drive_rotation(&path()).await.unwrap(), None, "and no other one begins");
}

#[tokio::test(start_paused = true)]
async fn an_old_version_that_somebody_made_current_again_is_not_retired() {
    let world = World::alternating(Keeps::Staged);
    let process = world.start();
    process.lend().await;
    world.want().await;
    process.until(&world, Stage::Draining).await;
    world.step(Event::Made { version: version("v1") }).await;
    sleep(Duration::from_secs(3700)).await;
    process.engine.drive_rotation(&path()).await.unwrap();
    let course = world.rotation().await.course.unwrap();
    assert_eq!(course.stage, Stage::Draining);
    assert!(course.failure.unwrap().message.contains("made current again"));
    assert!(world.target.accepts("app_a", "canary-0"));
}

#[tokio::test(start_paused = true)]
async fn a_preview_says_what_would_be_done_and_does_nothing() {
    for keeps in KEEPS {
        let world = World::alternating(keeps);
        let process = world.start();
        process.lend().await;
        let preview = process.engine.preview_rotation(&path()).await.unwrap();
        assert!(
            preview.steps.len() >= 5 && preview.steps.iter().all(|step| !step.is_failed()),
            "{preview:?}"
        );
        assert_eq!((preview.leases, preview.drain), (1, Duration::from_secs(3600)));
        assert!(preview.steps.iter().any(|step| step.step == "change the user's password"));
        assert_eq!(world.rotation().await.serial, 0);
        assert_eq!(world.store.current(), Some(version("v1")));
        assert!(!format!("{preview:?}").contains("canary") && !format!("{preview:?}").contains("new-"));
        world.store.put("stranger", "x");
        let preview = process.engine.preview_rotation(&path()).await.unwrap();
        let failed: Vec<_> = preview.steps.iter().filter(|step| step.is_failed()).collect();
        let Verdict::Failed { problem, .. } = &failed[0].verdict else { panic!("{failed:?}") };
        assert!(problem.contains("neither of the two"), "{problem}");
        assert!(!problem.contains("stranger"));
        *world.plan.lock().unwrap() = None;
        process.engine.replace_catalog(world.catalog());
        let refused = process.engine.preview_rotation(&path()).await;
        assert!(matches!(refused, Err(EngineError::NotRotated)));
    }
}
