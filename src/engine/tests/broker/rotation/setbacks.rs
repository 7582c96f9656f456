//! What a back end or a target does not do.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use leasehold_core::{
    provider::{ErrorClass, Verification, VersionState},
    record::{Kind, Outcome as Went},
    rotation::{Outcome, Stage},
    ttl::after,
};
use tokio::time::sleep;

use super::kit::{Keeps, World, path, shows_no_value, version};

const KEEPS: [Keeps; 2] = [Keeps::Staged, Keeps::Unstaged];

#[tokio::test(start_paused = true)]
async fn a_value_that_the_target_rejects_is_thrown_away_and_another_one_made() {
    for keeps in KEEPS {
        for world in [World::single(keeps), World::alternating(keeps)] {
            *world.target.refusing.lock().unwrap() = Some((ErrorClass::Invalid, false));
            let process = world.start();
            let (_, lent) = process.lend().await;
            world.want().await;
            let again = process.engine.drive_rotation(&path()).await.unwrap();
            let rotation = world.rotation().await;
            let last = rotation.last.unwrap();
            assert_eq!(last.outcome, Outcome::Discarded);
            assert_eq!(last.problem.as_deref(), Some("the target does not take it"));
            assert!(again > Some(world.now()) && rotation.wanted.is_some());
            assert_eq!(process.lend().await.1, lent, "what is lent is what was");
            assert!(world.target.accepts(&lent.0, &lent.1));
            assert_ne!(world.store.state("v2"), VersionState::Enabled, "what was rejected is of no use");
            process.until(&world, Stage::Draining).await;
            let (_, now) = process.lend().await;
            assert_eq!(now.1, "new-2");
            assert!(world.target.accepts(&now.0, &now.1));
            shows_no_value(&world);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_holds_a_version_whose_value_was_written_again_is_waited_for() {
    let world = World::alternating(Keeps::Unstaged);
    *world.target.refusing.lock().unwrap() = Some((ErrorClass::Invalid, false));
    let process = world.start();
    let mut request = crate::kit::issue(crate::kit::API, crate::kit::STATIC);
    request.ttl = Some(Duration::from_secs(1800));
    let held = process.engine.issue_lease(request).await.unwrap();
    assert_eq!(held.lease.version, Some(version("v1")));
    world.want().await;
    process.until(&world, Stage::Draining).await;
    let course = world.rotation().await.course.unwrap();
    assert_eq!((course.old.unwrap(), course.twins), (version("v3"), vec![version("v1")]));
    sleep(Duration::from_secs(600)).await;
    process.engine.drive_rotation(&path()).await.unwrap();
    assert!(world.target.accepts("app_a", "canary-0"), "the holder of v1 has the value of v3");
    let revoke = leasehold_engine::request::RevokeLease {
        actor: crate::kit::actor(crate::kit::API),
        lease: held.lease.id,
        reason: None,
        rotate: false,
        request_id: None,
    };
    process.engine.revoke_lease(revoke).await.unwrap();
    assert!(process.settle(&world).await);
    assert!(!world.target.accepts("app_a", "canary-0"));
    assert_eq!(world.store.state("v1"), VersionState::Disabled);
    assert_eq!(world.store.state("v3"), VersionState::Disabled);
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_done_yet_is_tried_less_and_less_often() {
    let world = World::single(Keeps::Staged);
    *world.target.refusing.lock().unwrap() = Some((ErrorClass::Denied, true));
    let process = world.start();
    world.want().await;
    let mut gaps = Vec::new();
    for _ in 0..16 {
        let at = process.engine.drive_rotation(&path()).await.unwrap().unwrap();
        gaps.push(leasehold_core::ttl::until(world.now(), at));
        sleep(leasehold_core::ttl::until(world.now(), at)).await;
    }
    assert!(gaps[0] >= Duration::from_secs(1) && gaps[0] < Duration::from_secs(2), "{gaps:?}");
    assert!(gaps.windows(2).take(11).all(|pair| pair[0] < pair[1]), "{gaps:?}");
    assert!(gaps.iter().all(|gap| *gap <= Duration::from_secs(4500)), "{gaps:?}");
    let course = world.rotation().await.course.unwrap();
    assert_eq!(course.stage, Stage::Created);
    assert_eq!(&*course.failure.unwrap().message, "the target does not take it");
    assert!(world.target.accepts("app_a", "canary-0"));
    *world.target.refusing.lock().unwrap() = None;
    assert!(process.settle(&world).await);
    assert!(world.target.accepts("app_a", "new-1"));
}

#[tokio::test(start_paused = true)]
async fn a_value_that_was_taken_and_does_not_work_is_given_up_and_the_old_one_works_again() {
    for keeps in KEEPS {
        let world = World::single(keeps);
        *world.target.deaf.lock().unwrap() = true;
        let process = world.start();
        world.want().await;
        process.until(&world, Stage::Applied).await;
        while world.rotation().await.course.is_some() {
            let at = process.engine.drive_rotation(&path()).await.unwrap().unwrap();
            if world.rotation().await.course.is_some() {
                sleep(leasehold_core::ttl::until(world.now(), at)).await;
            }
        }
        assert!(world.target.accepts("app_a", "canary-0"));
        assert_eq!(process.lend().await.1.1, "canary-0");
        assert_eq!(world.rotation().await.last.unwrap().outcome, Outcome::Discarded);
    }
}

#[tokio::test(start_paused = true)]
async fn an_old_value_that_works_on_is_loud_and_tried_until_it_does_not() {
    let world = World::alternating(Keeps::Staged);
    world.target.undead.lock().unwrap().push("canary-0".to_owned());
    let process = world.start();
    world.want().await;
    process.until(&world, Stage::Retiring).await;
    let again = process.engine.drive_rotation(&path()).await.unwrap().unwrap();
    assert!(again > after(world.now(), Duration::from_secs(60)));
    let course = world.rotation().await.course.unwrap();
    assert_eq!((course.stage, course.verification), (Stage::Retiring, Some(Verification::StillValid)));
    let record = &world.records(Kind::RotationVerified)[0];
    assert_eq!(record.outcome, Went::Failed { reason: "STILL_VALID".to_owned() });
    let states = process.engine.provider_states();
    let target = states.iter().find(|state| state.name.as_str() == "pg").unwrap();
    assert_eq!(target.endings.still_valid, 1);
    world.target.undead.lock().unwrap().clear();
    assert!(process.settle(&world).await);
    assert_eq!(world.rotation().await.last.unwrap().verification, Some(Verification::Verified));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_can_be_read_although_it_was_disabled_is_loud_too() {
    let world = World::generate(Keeps::Staged);
    *world.store.leaky.lock().unwrap() = true;
    let process = world.start();
    world.want().await;
    process.until(&world, Stage::Retiring).await;
    process.engine.drive_rotation(&path()).await.unwrap();
    let course = world.rotation().await.course.unwrap();
    assert_eq!(course.verification, Some(Verification::StillValid));
    *world.store.leaky.lock().unwrap() = false;
    assert!(process.settle(&world).await);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_wrote_meanwhile_stays_and_is_audited() {
    for keeps in KEEPS {
        for stage in [Stage::Creating, Stage::Created, Stage::Applied, Stage::Tested] {
            for make in [World::single, World::alternating] {
                let world = make(keeps);
                match stage {
                    Stage::Creating => {
                        *world.store.refusing.lock().unwrap() = Some(ErrorClass::Transient);
                    }
                    Stage::Created => {
                        *world.target.refusing.lock().unwrap() = Some((ErrorClass::Denied, true))
                    }
                    _ => *world.target.deaf.lock().unwrap() = true,
                }
                let process = world.start();
                world.want().await;
                let wanted = if stage == Stage::Tested { Stage::Applied } else { stage };
                process.until(&world, wanted).await;
                if stage == Stage::Tested {
                    world.step(leasehold_core::rotation::Event::Tested).await;
                }
                *world.meddled.lock().unwrap() = true;
                let theirs = world.store.put("app_a", "theirs");
                let works = Some("theirs".to_owned());
                world.target.passwords.lock().unwrap().insert("app_a".to_owned(), works);
                *world.store.refusing.lock().unwrap() = None;
                *world.target.refusing.lock().unwrap() = None;
                *world.target.deaf.lock().unwrap() = false;
                while world.rotation().await.course.is_some() {
                    let at = process.engine.drive_rotation(&path()).await.unwrap();
                    if let Some(at) = at {
                        sleep(leasehold_core::ttl::until(world.now(), at)).await;
                    }
                }
                let at = format!("{keeps:?}, {stage:?}");
                assert_eq!(world.store.current(), Some(theirs.clone()), "{at}");
                let rotation = world.rotation().await;
                assert_eq!(rotation.current.unwrap().version, theirs, "{at}");
                assert_eq!(rotation.last.unwrap().outcome, Outcome::Discarded, "{at}");
                assert!(!world.records(Kind::RotationGivenUp).is_empty(), "{at}");
                let (_, lent) = process.lend().await;
                assert_eq!(lent.1, "theirs", "{at}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_processes_on_one_state_do_nothing_twice() {
    for make in [World::generate, World::single, World::alternating] {
        for keeps in KEEPS {
            let world = make(keeps);
            let (one, other) = (world.start(), world.start());
            world.want().await;
            let (first, second) = tokio::join!(one.settle(&world), other.settle(&world));
            assert!(first && second);
            let rotation = world.rotation().await;
            assert_eq!((rotation.serial, rotation.last.unwrap().outcome), (1, Outcome::Retired));
            assert_eq!(world.records(Kind::RotationPromoted).len(), 1);
            assert!(world.target.applied.load(SeqCst) <= 2);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_back_end_that_keeps_no_versions_says_so_before_anything_is_touched() {
    let world = World::generate(Keeps::Staged);
    *world.versionless.lock().unwrap() = true;
    let process = world.start();
    world.want().await;
    process.engine.drive_rotation(&path()).await.unwrap();
    let rotation = world.rotation().await;
    assert!(rotation.course.is_none());
    let hindered = rotation.hindered.unwrap();
    assert!(hindered.message.contains("no older versions"), "{}", hindered.message);
    assert_eq!(world.store.current(), Some(version("v1")));
}

#[tokio::test(start_paused = true)]
async fn what_a_stranger_wrote_for_the_user_that_is_retired_works_in_the_end() {
    for keeps in KEEPS {
        for stage in [Stage::Draining, Stage::Reverting] {
            let world = World::alternating(keeps);
            let process = world.start();
            process.lend().await;
            world.want().await;
            process.until(&world, Stage::Draining).await;
            *world.meddled.lock().unwrap() = true;
            if stage == Stage::Reverting {
                world.step(leasehold_core::rotation::Event::RollBack).await;
            }
            let theirs = world.store.put("app_a", "theirs");
            assert!(process.settle(&world).await);
            let at = format!("{keeps:?}, {stage:?}");
            assert_eq!(world.store.current(), Some(theirs), "{at}");
            assert!(world.target.accepts("app_a", "theirs"), "{at}");
            assert!(!world.target.accepts("app_a", "canary-0"), "{at}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_comes_late_finds_another_version_than_it_expects() {
    let world = World::generate(Keeps::Unstaged);
    // Nobody knows what became of the first write when the second one is refused for good.
    *world.store.refusals.lock().unwrap() = vec![ErrorClass::Invalid, ErrorClass::Transient];
    let process = world.start();
    world.want().await;
    let again = process.engine.drive_rotation(&path()).await.unwrap().unwrap();
    assert_eq!(world.stage().await, Some(Stage::Creating));
    sleep(leasehold_core::ttl::until(world.now(), again)).await;
    process.engine.drive_rotation(&path()).await.unwrap();
    let rotation = world.rotation().await;
    assert_eq!(rotation.last.unwrap().outcome, Outcome::Discarded);
    let current = rotation.current.unwrap();
    assert_eq!((current.version, current.twins), (version("v2"), vec![version("v1")]));
    let late = leasehold_core::provider::WriteVersion {
        reference: "db",
        value: &crate::kit::two_fields("app_a", "new-1"),
        token: "late",
        expected: Some(&version("v1")),
        stage: leasehold_core::provider::Stage::Current,
    };
    assert_eq!(world.store.write(&late).unwrap_err().class, ErrorClass::Invalid);
    assert_eq!(process.lend().await.1.1, "canary-0");
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_at_once_leaves_no_trace_at_the_back_end() {
    let world = World::generate(Keeps::Unstaged);
    *world.store.refusals.lock().unwrap() = vec![ErrorClass::Invalid];
    let process = world.start();
    world.want().await;
    process.engine.drive_rotation(&path()).await.unwrap();
    assert_eq!(world.rotation().await.last.unwrap().outcome, Outcome::Discarded);
    assert_eq!(world.store.versions.lock().unwrap().len(), 1);
}
