//! Two who change one rotation at the same time.

use std::sync::Arc;

use leasehold_core::{
    provider::ErrorClass,
    record::Kind,
    rotation::{Event, Outcome, Stage},
};
use leasehold_engine::{EngineError, request::RotateSecret};
use tokio::{
    sync::Notify,
    time::{Duration, sleep},
};

use super::kit::{Keeps, World, path, version};
use crate::kit::{API, actor};

#[tokio::test(start_paused = true)]
async fn a_value_whose_tags_did_not_become_durable_is_not_written() {
    for keeps in [Keeps::Staged, Keeps::Unstaged] {
        let world = World::single(keeps);
        *world.store.refusing.lock().unwrap() = Some(ErrorClass::Transient);
        world.want().await;
        world.start().until(&world, Stage::Creating).await;
        *world.store.refusing.lock().unwrap() = None;
        // The value of the first process is lost, and while the next one makes another, somebody pauses it.
        let next = world.start();
        sleep(Duration::from_secs(10)).await;
        next.drive_into(&world, Kind::RotationStarted, Event::Pause).await;
        world.step(Event::Resume).await;
        assert!(next.settle(&world).await, "{keeps:?}");
        assert_eq!(world.rotation().await.last.unwrap().outcome, Outcome::Retired, "{keeps:?}");
        let (user, password) = next.lend().await.1;
        assert!(world.target.accepts(&user, &password), "{keeps:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_wants_a_rotation_that_begins_in_the_same_moment_does_not_lift_its_pin() {
    let world = World::single(Keeps::Unstaged);
    *world.store.refusing.lock().unwrap() = Some(ErrorClass::Transient);
    let process = world.start();
    world.want().await;
    let word = Arc::new(Notify::new());
    *world.held_up.lock().unwrap() = Some((Kind::RotationRequested, word.clone()));
    let request =
        RotateSecret { actor: actor(API), secret: path(), reason: None, dry_run: false, request_id: None };
    let engine = process.engine.clone();
    let asking = tokio::spawn(async move { engine.rotate_secret(request).await });
    while world.held_up.lock().unwrap().is_some() {
        sleep(Duration::from_millis(1)).await;
    }
    process.until(&world, Stage::Creating).await;
    word.notify_one();
    assert!(matches!(asking.await.unwrap(), Err(EngineError::Rotation(_))));
    // Now the broker's write arrives, and nobody has applied it.
    *world.meddled.lock().unwrap() = true;
    world.store.put("app_a", "not-applied");
    assert_eq!(process.lend().await.1.1, "canary-0");
}

#[tokio::test(start_paused = true)]
async fn what_somebody_made_current_is_lent_as_soon_as_holders_were_told_of_it() {
    for keeps in [Keeps::Staged, Keeps::Unstaged] {
        let world = World::single(keeps);
        *world.target.refusing.lock().unwrap() = Some((ErrorClass::Denied, true));
        let process = world.start();
        world.want().await;
        process.until(&world, Stage::Created).await;
        assert_eq!(process.lend().await.0.lease.version, Some(version("v1")));
        *world.meddled.lock().unwrap() = true;
        let theirs = world.store.put("app_a", "theirs");
        world.step(Event::Made { version: theirs.clone() }).await;
        // The rotation cannot be taken back while its target refuses everything.
        for _ in 0..3 {
            sleep(Duration::from_secs(60)).await;
            process.engine.drive_rotation(&path()).await.unwrap();
        }
        assert_eq!(world.rotation().await.current.unwrap().version, theirs);
        assert_eq!(process.lend().await.0.lease.version, Some(theirs), "{keeps:?}");
    }
}
