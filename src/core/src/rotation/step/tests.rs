use std::time::Duration;

use proptest::{prelude::*, strategy::Strategy as _};

use super::*;
use crate::{
    record::ValueTag,
    rotation::{Outcome, Strategy, TargetName, Task},
    secret::FieldName,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn version(id: &str) -> VersionId {
    id.parse().unwrap()
}

fn begin(strategy: Strategy, staged: bool, old: Option<&str>) -> Event {
    Event::Begin {
        why: Why::Schedule,
        plan: Box::new(Plan::new(strategy)),
        provider: "main".parse().unwrap(),
        reference: "db".into(),
        staged,
        old: old.map(version),
        tags: Some(Tags::from([(FieldName::value(), ValueTag("1".into()))])),
    }
}

fn single() -> Strategy {
    Strategy::Single { target: TargetName::Provider("pg".parse().unwrap()) }
}

/// A rotation from `v1` to `v2`, taken through these.
fn through(strategy: Strategy, events: impl IntoIterator<Item = Event>) -> Rotation {
    let seen = Event::Seen { version: version("v1"), made_at: Some(at(0)) };
    let first = [seen, begin(strategy, false, Some("v1"))];
    let rotation = Rotation::new("prod/db".parse().unwrap());
    first.into_iter().chain(events).fold(rotation, |rotation, event| rotation.step(event, at(10)).unwrap())
}

fn written() -> Event {
    Event::Written { version: version("v2") }
}

fn promoted() -> Event {
    Event::Promoted { version: version("v2") }
}

fn dead(verification: Verification) -> Event {
    Event::Dead { verification, retry_at: at(99) }
}

fn task(rotation: &Rotation) -> Task {
    rotation.course.as_ref().unwrap().task()
}

#[test]
fn each_stage_has_its_task_and_its_pin() {
    let ways: [(Vec<Event>, Task, bool); 8] = [
        (vec![], Task::Write, true),
        (vec![written()], Task::Apply, true),
        (vec![written(), Event::Applied], Task::Test, true),
        (vec![written(), Event::Applied, Event::Tested], Task::Promote, true),
        (vec![written(), Event::Applied, Event::Tested, promoted()], Task::Drain, false),
        (
            vec![written(), Event::Applied, Event::Tested, promoted(), Event::Drained { holders: 0 }],
            Task::Retire,
            false,
        ),
        (
            vec![
                written(),
                Event::Applied,
                Event::Tested,
                promoted(),
                Event::Drained { holders: 0 },
                dead(Verification::Verified),
            ],
            Task::PutAway,
            false,
        ),
        (vec![written(), Event::RollBack], Task::Discard, true),
    ];
    for (events, expected, pinned) in ways {
        let rotation = through(single(), events);
        assert_eq!(task(&rotation), expected);
        assert_eq!(rotation.pinned().is_some(), pinned, "{expected:?}");
    }
    assert_eq!(task(&through(Strategy::Native, [])), Task::Follow);
    assert_eq!(task(&through(Strategy::Generate, [written()])), Task::Test);
}

#[test]
fn an_old_version_is_held_until_its_deadline_and_no_longer() {
    let rotation = through(Strategy::Generate, [written(), Event::Tested, promoted()]);
    let held = Event::Drained { holders: 1 };
    assert_eq!(rotation.clone().step(held.clone(), at(3609)).unwrap_err(), StepError::StillHeld);
    assert_eq!(task(&rotation.step(held, at(3610)).unwrap()), Task::Retire);
}

#[test]
fn a_value_that_works_on_keeps_the_rotation_open() {
    let events = [written(), Event::Tested, promoted(), Event::Drained { holders: 0 }];
    let rotation = through(Strategy::Generate, events);
    let rotation = rotation.step(dead(Verification::StillValid), at(20)).unwrap();
    assert_eq!(task(&rotation), Task::Retire);
    assert_eq!(rotation.failure().unwrap().next_try, at(99));
    let rotation = rotation.step(dead(Verification::Verified), at(99)).unwrap();
    let ended = rotation.step(Event::Retired, at(100)).unwrap();
    assert_eq!(ended.last.unwrap().verification, Some(Verification::Verified));
}

#[test]
fn there_is_a_way_back_while_the_old_version_lives_and_not_after() {
    let draining = [written(), Event::Tested, promoted()];
    let rotation = through(Strategy::Generate, draining.clone()).step(Event::RollBack, at(20)).unwrap();
    assert_eq!(task(&rotation), Task::Revert);
    let back = rotation.step(Event::Reverted { version: version("v3") }, at(21)).unwrap();
    let course = back.course.as_ref().unwrap();
    assert_eq!((course.old.clone(), course.new.clone()), (Some(version("v2")), Some(version("v3"))));
    assert_eq!(back.current.as_ref().unwrap().twins, [version("v1")], "who holds v1 holds v3");
    let retiring = [Event::Drained { holders: 0 }, dead(Verification::Verified), Event::Retired];
    let ended = retiring.into_iter().fold(back, |rotation, event| rotation.step(event, at(22)).unwrap());
    assert_eq!(ended.last.as_ref().unwrap().outcome, Outcome::RolledBack);
    // Both are replaced by the next one.
    let next = ended.step(begin(Strategy::Generate, false, Some("v3")), at(30)).unwrap();
    assert_eq!(next.course.unwrap().replaced().cloned().collect::<Vec<_>>(), [version("v3"), version("v1")]);
    let late = through(Strategy::Generate, draining.into_iter().chain([Event::Drained { holders: 0 }]));
    assert_eq!(late.step(Event::RollBack, at(20)).unwrap_err(), StepError::TooLate);
}

#[test]
fn what_is_thrown_away_is_tried_again_later_unless_a_person_gave_it_up() {
    let rejected = Event::Rejected { message: "too simple".into(), retry_at: at(70) };
    let gone = Event::Discarded { rewritten: None };
    let again = through(single(), [written(), rejected, gone.clone()]);
    assert_eq!((again.wanted.as_ref().unwrap().not_before, again.setbacks), (at(70), 1));
    assert_eq!(again.last.unwrap().problem.as_deref(), Some("too simple"));
    let given_up = through(single(), [written(), Event::RollBack, gone]);
    assert_eq!(given_up.wanted, None);
    assert!(given_up.hindered.as_ref().unwrap().next_try > at(3600), "its schedule waits");
    let why = Why::Request { by: "spiffe://example.org/operator/a".parse().unwrap() };
    let asked = given_up.step(Event::Want { why, not_before: at(11) }, at(11)).unwrap();
    assert_eq!(asked.hindered, None, "and whoever asks does not");
}

#[test]
fn the_first_version_retires_nothing() {
    let rotation = Rotation::new("prod/db".parse().unwrap());
    let events = [begin(Strategy::Generate, true, None), written(), Event::Tested, promoted()];
    let ended = events.into_iter().fold(rotation, |rotation, event| rotation.step(event, at(1)).unwrap());
    assert_eq!((ended.course, ended.last.unwrap().outcome), (None, Outcome::Retired));
}

/// Any event; most of them fit somewhere.
fn events() -> impl proptest::strategy::Strategy<Value = Event> {
    let id = || (1_u8..6).prop_map(|n| version(&format!("v{n}")));
    let message = || Box::<str>::from("why");
    prop_oneof![
        id().prop_map(|version| Event::Made { version }),
        id().prop_map(|version| Event::Seen { version, made_at: None }),
        Just(Event::Want { why: Why::Revocation, not_before: at(5) }),
        (id(), any::<bool>()).prop_map(|(old, staged)| begin(single(), staged, Some(old.as_str()))),
        Just(begin(Strategy::Generate, false, Some("v1"))),
        Just(Event::MadeAnew { tags: Tags::new() }),
        id().prop_map(|version| Event::Written { version }),
        Just(Event::Applied),
        Just(Event::Tested),
        id().prop_map(|version| Event::Promoted { version }),
        (0_u64..2).prop_map(|holders| Event::Drained { holders }),
        prop_oneof![Just(Verification::Verified), Just(Verification::StillValid)].prop_map(dead),
        Just(Event::Retired),
        Just(Event::Failed { message: message(), retry_at: at(50) }),
        Just(Event::Rejected { message: message(), retry_at: at(50) }),
        id().prop_map(|version| Event::Overtaken { version }),
        Just(Event::Discarded { rewritten: None }),
        id().prop_map(|version| Event::Discarded { rewritten: Some(version) }),
        Just(Event::RollBack),
        id().prop_map(|version| Event::Reverted { version }),
        Just(Event::Pause),
        Just(Event::Resume),
    ]
}

proptest! {
    #[test]
    fn whatever_comes_in_whatever_order_nothing_is_forgotten(
        events in prop::collection::vec(events(), 0..60),
    ) {
        let mut rotation = Rotation::new("prod/db".parse().unwrap());
        let mut now = at(0);
        for event in events {
            now = after(now, Duration::from_secs(600));
            let before = rotation.clone();
            let Ok(next) = rotation.step(event.clone(), now) else {
                rotation = before;
                continue;
            };
            if let Some(course) = &next.course {
                let unpromoted = !course.is_promoted() && course.stage != Stage::Reverting;
                let known = next.current.as_ref().map(|known| &known.version);
                // What somebody else made current meanwhile is theirs to lend.
                if course.old.is_none() || known == course.old.as_ref() {
                    let pinned = next.pinned().is_some();
                    prop_assert_eq!(pinned, unpromoted && course.old.is_some(), "{:?}", event);
                }
                prop_assert_eq!(next.pinned().filter(|pinned| Some(*pinned) != course.old.as_ref()), None);
                prop_assert!(course.reached.windows(2).all(|pair| pair[0].1 <= pair[1].1));
            }
            if let Some(course) = &before.course
                && !matches!(course.stage, Stage::Closing | Stage::Discarding | Stage::Creating)
            {
                let kept = next.course.as_ref().is_some_and(|next| {
                    course.replaced().all(|old| {
                        next.replaced().any(|known| known == old)
                            || next.new.as_ref() == Some(old)
                            || next.rolled_back != course.rolled_back
                    })
                });
                let ended = next.last.as_ref() != before.last.as_ref();
                prop_assert!(kept || ended, "the old version is forgotten by {:?}", event);
            }
            // Whoever is told is told everything, in order.
            prop_assert!(next.told >= before.told && next.notices.len() <= Rotation::NOTICES);
            let numbers: Vec<_> = next.notices.iter().map(|notice| notice.number).collect();
            prop_assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]));
            let current = |rotation: &Rotation| rotation.current.as_ref().map(|known| known.version.clone());
            let changed = before.current.is_some() && current(&before) != current(&next);
            prop_assert!(!changed || next.told > before.told, "nobody is told of {:?}", event);
            let stored = Rotation::decode(&next.encode().unwrap()).unwrap();
            prop_assert_eq!(&stored, &next);
            rotation = next;
        }
    }
}
