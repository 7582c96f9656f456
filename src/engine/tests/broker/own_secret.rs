//! What the broker reads for itself.

use std::sync::atomic::Ordering::SeqCst;

use leasehold_core::{
    SecretPath, Timestamp,
    ports::{Ledger, Provider},
    provider::{ErrorClass, Stage, WriteVersion},
    record::{Kind, Outcome},
    rotation::{Event, Plan, Rotation, Strategy, Tags, TargetName, Why},
    secret::VersionId,
    state::{Commit, Key, Write},
};
use leasehold_engine::EngineError;

use crate::kit::{Broker, DYNAMIC, STATIC, shown, two_fields};

fn path(text: &str) -> SecretPath {
    text.parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn it_is_recorded_as_the_brokers_own_and_policy_is_not_asked() {
    let broker = Broker::new();
    let found = broker.engine.own_secret(&path(STATIC), None).await.unwrap();
    assert_eq!(shown(&found.value)["password"], "canary-1");
    let record = broker.ledger.records().last().unwrap().clone();
    assert_eq!((record.kind, &record.outcome), (Kind::SecretRead, &Outcome::Ok));
    assert_eq!(record.actor.id.to_string(), "spiffe://example.org/leasehold/broker");
    assert_eq!((record.secret, record.version), (Some(path(STATIC)), Some(found.version)));
    assert_eq!((record.value_hmac.len(), record.decision), (2, None));
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_is_read_past_the_cache_and_only_then() {
    let broker = Broker::new();
    let old = broker.engine.own_secret(&path(STATIC), None).await.unwrap();
    let value = two_fields("app", "canary-2");
    let write =
        WriteVersion { reference: "db", value: &value, token: "t", expected: None, stage: Stage::Current };
    broker.back_end.write(write).await.unwrap();
    let cached = broker.engine.own_secret(&path(STATIC), None).await.unwrap();
    assert_eq!((cached.version, broker.back_end.fetches.load(SeqCst)), (old.version.clone(), 1));
    for _ in 0..2 {
        let new = broker.engine.own_secret(&path(STATIC), Some(&old.version)).await.unwrap();
        assert_eq!(shown(&new.value)["password"], "canary-2");
        assert_eq!(broker.back_end.fetches.load(SeqCst), 2, "whoever comes later finds it in the cache");
    }
}

/// The password of a back end's administrator, which a rotation has changed there and not made current, and then the broker
/// was killed: without the new one it could not even bring that rotation to its end.
#[tokio::test(start_paused = true)]
async fn of_a_rotation_under_way_the_other_version_is_given_when_one_is_refused() {
    let broker = Broker::new();
    let old = broker.engine.own_secret(&path(STATIC), None).await.unwrap().version;
    let value = two_fields("app", "canary-2");
    let write =
        WriteVersion { reference: "db", value: &value, token: "t", expected: None, stage: Stage::Current };
    let new = broker.back_end.write(write).await.unwrap();
    let begin = Event::Begin {
        why: Why::Schedule,
        plan: Box::new(Plan::new(Strategy::Single { target: TargetName::Provider("pg".parse().unwrap()) })),
        provider: "main".parse().unwrap(),
        reference: "db".into(),
        staged: false,
        old: Some(old.clone()),
        tags: Some(Tags::default()),
    };
    let mut rotation = Rotation::new(path(STATIC));
    for (event, current, when_refused) in [
        (begin, &old, &old),
        (Event::Written { version: new.clone() }, &old, &new),
        (Event::Applied, &old, &new),
        (Event::Tested, &old, &new),
        (Event::Promoted { version: new.clone() }, &new, &new),
        (Event::RollBack, &new, &old),
    ] {
        rotation = rotation.step(event, Timestamp::UNIX_EPOCH).unwrap();
        let record = broker.ledger.records().last().unwrap().clone();
        let open = Write::mark(Key::rotation_open(&path(STATIC)));
        let stored = Write::put(Key::rotation(&path(STATIC)), rotation.encode().unwrap());
        let commit = Commit { record, conditions: Vec::new(), writes: vec![open, stored] };
        broker.ledger.commit(commit).await.unwrap();

        let next = Broker::over(broker.ledger.clone(), broker.back_end.clone());
        next.engine.resume_rotations().await.unwrap();
        let given = async |refused: Option<&VersionId>| {
            next.engine.own_secret(&path(STATIC), refused).await.unwrap().version
        };
        let stage = rotation.course.as_ref().unwrap().stage;
        assert_eq!(&given(None).await, current, "{stage:?}");
        assert_eq!(&given(Some(current)).await, when_refused, "{stage:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_recorded_and_none_is_made() {
    let broker = Broker::new();
    for (secret, words) in [("prod/nothing", "no such secret"), (DYNAMIC, "made for each lease")] {
        let error = broker.engine.own_secret(&path(secret), None).await.unwrap_err();
        let EngineError::Provider(error) = error else { panic!("{error}") };
        assert!(error.class == ErrorClass::Absent && error.to_string().contains(words), "{error}");
        let record = broker.ledger.records().last().unwrap().clone();
        assert_eq!(record.outcome, Outcome::Failed { reason: "PROVIDER_SECRET_ABSENT".into() });
    }
    assert!(broker.back_end.users.lock().unwrap().is_empty());
}
