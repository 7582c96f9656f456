//! The process dies, or an answer is lost, at every point there is.

use std::sync::Arc;

use leasehold_core::{
    provider::{Verification, VersionState},
    record::Kind,
    rotation::{Event, Outcome, Stage},
};

use super::kit::{Cut, Keeps, Process, World, shows_no_value};

type Make = fn(Keeps) -> Arc<World>;
const MAKES: [(&str, Make); 3] =
    [("generate", World::generate), ("single", World::single), ("alternating", World::alternating)];

/// Whether the rotation did what it was for, and nothing twice.
async fn is_done(world: &Arc<World>, process: &Process, at: &str) {
    let rotation = world.rotation().await;
    let last = rotation.last.clone().unwrap();
    assert_eq!(last.outcome, Outcome::Retired, "{at}: {rotation:?}");
    assert_eq!(last.verification, Some(Verification::Verified), "{at}");
    assert_eq!(rotation.serial, 1, "{at}: one rotation is one");
    let current = world.store.current();
    assert_eq!(rotation.current.map(|current| current.version), current, "{at}");
    assert_eq!(world.store.state("v1"), VersionState::Disabled, "{at}");
    let (user, password) = process.lend().await.1;
    if world.target_is_asked() {
        assert!(world.target.accepts(&user, &password), "{at}: what is lent works");
        assert!(!world.target.accepts("app_a", "canary-0"), "{at}: what was lent does not");
    }
    assert_eq!(world.records(Kind::RotationPromoted).len(), 1, "{at}: it was promoted once");
    assert_eq!(world.records(Kind::RotationRetired).len(), 1, "{at}: and retired once");
    shows_no_value(world);
}

#[tokio::test(start_paused = true)]
async fn wherever_the_process_dies_the_next_one_brings_it_to_its_end() {
    for (name, make) in MAKES {
        for keeps in [Keeps::Staged, Keeps::Unstaged] {
            for point in 0.. {
                let world = make(keeps);
                world.want().await;
                let process = world.start_until(Some((point, Cut::Death)));
                if process.settle(&world).await {
                    assert!(point > 30, "{name}, {keeps:?}: {point} points are not all that there are");
                    break;
                }
                let next = world.start();
                next.engine.resume_rotations().await.unwrap();
                assert!(next.settle(&world).await);
                is_done(&world, &next, &format!("{name}, {keeps:?}, point {point}")).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_dies_twice_leaves_nothing_that_a_third_one_cannot_mend() {
    for (name, make) in MAKES {
        for first in (0..60).step_by(3) {
            for second in (0..60).step_by(4) {
                let world = make(Keeps::Unstaged);
                world.want().await;
                if world.start_until(Some((first, Cut::Death))).settle(&world).await {
                    break;
                }
                let process = world.start_until(Some((second, Cut::Death)));
                process.engine.resume_rotations().await.unwrap();
                if process.settle(&world).await {
                    break;
                }
                let next = world.start();
                next.engine.resume_rotations().await.unwrap();
                assert!(next.settle(&world).await);
                is_done(&world, &next, &format!("{name}, points {first} and {second}")).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whichever_answer_is_lost_it_is_looked_up_before_anything_is_repeated() {
    for (name, make) in MAKES {
        for keeps in [Keeps::Staged, Keeps::Unstaged] {
            for cut in [Cut::Before, Cut::After] {
                for point in 0.. {
                    let world = make(keeps);
                    world.want().await;
                    let process = world.start_until(Some((point, cut)));
                    if !process.settle(&world).await {
                        // The point was one of those at which a process can only die.
                        continue;
                    }
                    is_done(&world, &world.start(), &format!("{name}, {keeps:?}, {cut:?} {point}")).await;
                    if process.points() <= point {
                        break;
                    }
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_way_back_is_found_wherever_the_process_dies_on_it() {
    for (name, make) in MAKES {
        for keeps in [Keeps::Staged, Keeps::Unstaged] {
            for stage in [Stage::Draining, Stage::Creating] {
                for point in 0.. {
                    let world = make(keeps);
                    if stage == Stage::Creating {
                        *world.store.refusing.lock().unwrap() =
                            Some(leasehold_core::provider::ErrorClass::Transient);
                    }
                    let process = world.start();
                    let (_, lent) = process.lend().await;
                    world.want().await;
                    process.until(&world, stage).await;
                    world.step(Event::RollBack).await;
                    *world.store.refusing.lock().unwrap() = None;
                    let process = world.start_until(Some((point, Cut::Death)));
                    process.engine.resume_rotations().await.unwrap();
                    if process.settle(&world).await {
                        assert!(point > 4, "{point} points are not all that there are");
                        break;
                    }
                    let next = world.start();
                    next.engine.resume_rotations().await.unwrap();
                    assert!(next.settle(&world).await);
                    let at = format!("{name}, {keeps:?}, back from {stage:?}, point {point}");
                    let (_, now) = next.lend().await;
                    assert_eq!(now, lent, "{at}");
                    if world.target_is_asked() {
                        assert!(world.target.accepts(&now.0, &now.1), "{at}");
                    }
                    let last = world.rotation().await.last.unwrap();
                    let expected = match stage {
                        Stage::Draining => Outcome::RolledBack,
                        _ => Outcome::Discarded,
                    };
                    assert_eq!(last.outcome, expected, "{at}");
                }
            }
        }
    }
}
