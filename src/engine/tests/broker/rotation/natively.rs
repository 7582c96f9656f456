//! Rotations that a back end does by itself.

use leasehold_core::{
    provider::{Followed, Verification},
    rotation::{Event, Outcome, Stage, StepError, Strategy},
};

use super::kit::{Cut, Keeps, World, path, version};

fn world() -> std::sync::Arc<World> {
    World::new(Keeps::Unstaged, Strategy::Native)
}

#[tokio::test(start_paused = true)]
async fn it_is_started_and_followed_to_its_end() {
    let world = world();
    *world.store.native.lock().unwrap() = Some(Followed::Running);
    let process = world.start();
    world.want().await;
    let look = process.engine.drive_rotation(&path()).await.unwrap();
    assert_eq!(world.stage().await, Some(Stage::Creating));
    assert!(look > Some(world.now()));
    *world.store.native.lock().unwrap() = None;
    assert!(process.settle(&world).await);
    let rotation = world.rotation().await;
    assert_eq!(rotation.current.unwrap().version, version("v2"));
    assert_eq!(rotation.last.unwrap().verification, Some(Verification::Unverifiable));
    assert_eq!(world.store.starts.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_back_end_gave_up_is_tried_again_later() {
    let world = world();
    *world.store.native.lock().unwrap() = Some(Followed::Failed("its function timed out".to_owned()));
    let process = world.start();
    world.want().await;
    let again = process.engine.drive_rotation(&path()).await.unwrap();
    let rotation = world.rotation().await;
    let last = rotation.last.unwrap();
    assert_eq!((last.outcome, last.problem.as_deref()), (Outcome::Discarded, Some("its function timed out")));
    assert!(again > Some(world.now()) && rotation.wanted.is_some());
    *world.store.native.lock().unwrap() = None;
    assert!(process.settle(&world).await);
    assert_eq!(world.rotation().await.last.unwrap().outcome, Outcome::Retired);
}

#[tokio::test(start_paused = true)]
async fn only_the_back_end_can_take_it_back() {
    let world = world();
    let process = world.start();
    process.lend().await;
    world.want().await;
    process.until(&world, Stage::Draining).await;
    let refused = world.rotation().await.step(Event::RollBack, world.now());
    assert_eq!(refused.unwrap_err(), StepError::NotOurs);
}

#[tokio::test(start_paused = true)]
async fn wherever_the_process_dies_it_comes_to_its_end_once() {
    for point in 0.. {
        let world = world();
        world.want().await;
        let process = world.start_until(Some((point, Cut::Death)));
        if process.settle(&world).await {
            assert!(point > 10, "{point} points are not all that there are");
            break;
        }
        let next = world.start();
        next.engine.resume_rotations().await.unwrap();
        assert!(next.settle(&world).await);
        assert_eq!(world.store.current(), Some(version("v2")), "at point {point}");
        let starts = world.store.starts.lock().unwrap().clone();
        assert!(starts.iter().all(|token| *token == starts[0]), "each start is the same one: {starts:?}");
    }
}
