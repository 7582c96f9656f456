//! WatchSecret.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream::BoxStream};
use leasehold_core::{
    access::Action,
    record::{Kind, Outcome},
    rotation::{Rotation, Told},
};
use leasehold_engine::{
    EngineError,
    request::{SecretNews, SecretNotice, WatchSecret, WriteSecret},
};

use crate::kit::{ADMIN, API, Broker, DYNAMIC, OTHER, STATIC, actor, two_fields};

type Watch = BoxStream<'static, Result<Arc<SecretNotice>, EngineError>>;

async fn watch(broker: &Broker, after: Option<u64>) -> Watch {
    let request = WatchSecret { actor: actor(API), secret: STATIC.parse().unwrap(), after };
    broker.engine.watch_secret(request).await.unwrap()
}

async fn next(watch: &mut Watch) -> Arc<SecretNotice> {
    tokio::time::timeout(Duration::from_secs(5), watch.next()).await.unwrap().unwrap().unwrap()
}

async fn is_quiet(watch: &mut Watch) -> bool {
    tokio::time::timeout(Duration::from_secs(1), watch.next()).await.is_err()
}

async fn write(broker: &Broker) {
    let write = WriteSecret {
        actor: actor(ADMIN),
        secret: STATIC.parse().unwrap(),
        value: two_fields("app", "another"),
        expected: None,
        request_id: None,
    };
    broker.engine.write_secret(write).await.unwrap();
}

fn rotated(notice: &SecretNotice) -> String {
    match &notice.news {
        SecretNews::Told(Told::Rotated { version }) => version.to_string(),
        other => panic!("{other:?}"),
    }
}

fn standing(notice: &SecretNotice) -> Option<String> {
    match &notice.news {
        SecretNews::Standing { current, draining: None } => current.as_ref().map(ToString::to_string),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn who_cares_for_a_secret_is_told_how_it_is_and_then_what_happens_in_order() {
    let broker = Broker::new();
    let mut first = watch(&broker, None).await;
    assert_eq!(standing(&*next(&mut first).await), None);
    let mut second = watch(&broker, None).await;
    next(&mut second).await;
    for n in 1..=20 {
        write(&broker).await;
        let told = next(&mut first).await;
        assert_eq!((told.number, rotated(&told)), (n, format!("v{}", n + 1)));
        assert!(Arc::ptr_eq(&told, &next(&mut second).await), "each has a copy of its own");
    }
    assert!(is_quiet(&mut first).await);
    assert_eq!(standing(&*next(&mut watch(&broker, None).await).await).as_deref(), Some("v21"));
    let watched = broker.kinds().into_iter().filter(|kind| *kind == (Kind::SecretWatched, Outcome::Ok));
    assert_eq!(watched.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_where_it_was_even_with_another_broker() {
    let broker = Broker::new();
    write(&broker).await;
    let place = next(&mut watch(&broker, None).await).await.number;
    write(&broker).await;
    let (ledger, back_end) = (broker.ledger.clone(), broker.back_end.clone());
    drop(broker);
    let broker = Broker::over(ledger, back_end);
    let mut missed = watch(&broker, Some(place)).await;
    assert_eq!(rotated(&*next(&mut missed).await), "v3");
    write(&broker).await;
    let told = next(&mut missed).await;
    assert_eq!(rotated(&told), "v4");
    assert!(is_quiet(&mut watch(&broker, Some(told.number)).await).await, "nothing was missed");

    // What is not kept any more cannot be told, and neither can what never was.
    for _ in 0..=Rotation::NOTICES {
        write(&broker).await;
    }
    for unknown in [place, 1_000] {
        let told = next(&mut watch(&broker, Some(unknown)).await).await;
        assert_eq!(standing(&told).as_deref(), Some("v21"), "after {unknown}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_may_not_have_a_secret_is_not_told_of_it() {
    let broker = Broker::new();
    let ask = |who: &str, path: &str| {
        let request = WatchSecret { actor: actor(who), secret: path.parse().unwrap(), after: None };
        broker.engine.watch_secret(request)
    };
    for (who, path) in [(OTHER, STATIC), (API, "prod/payments/none")] {
        let Err(error) = ask(who, path).await else { panic!("{who} watches {path}") };
        assert_eq!(error.reason(), "DENIED_OR_NOT_FOUND");
    }
    assert_eq!(
        broker.kinds(),
        [(Kind::SecretWatched, Outcome::Denied), (Kind::SecretWatched, Outcome::Denied)]
    );
    // A dynamic secret has no versions that others hold.
    let mut quiet = ask(API, DYNAMIC).await.unwrap();
    assert_eq!(standing(&*next(&mut quiet).await), None);
    broker.issue(DYNAMIC).await.unwrap();
    assert!(is_quiet(&mut quiet).await);
}

#[tokio::test(start_paused = true)]
async fn a_slow_watcher_is_told_that_it_missed_something_and_goes_on() {
    let broker = Broker::new();
    let mut slow = watch(&broker, None).await;
    let place = next(&mut slow).await.number;
    for _ in 0..200 {
        write(&broker).await;
    }
    let mut last = None;
    while let Some(told) = slow.next().await {
        last = Some(told);
    }
    assert!(matches!(last, Some(Err(EngineError::WatchLagged))), "{last:?}");
    assert_eq!(standing(&*next(&mut watch(&broker, Some(place)).await).await).as_deref(), Some("v201"));
}

#[tokio::test(start_paused = true)]
async fn who_loses_the_right_to_a_secret_hears_no_more_of_it() {
    let broker = Broker::new();
    let mut told = watch(&broker, None).await;
    next(&mut told).await;
    write(&broker).await;
    assert_eq!(rotated(&*next(&mut told).await), "v2");
    broker.rules.closed.lock().unwrap().insert(Action::IssueLease);
    write(&broker).await;
    assert!(matches!(told.next().await, Some(Err(EngineError::Denied(_)))));
    assert!(told.next().await.is_none());
    assert!(broker.kinds().contains(&(Kind::SecretWatched, Outcome::Denied)));
}
