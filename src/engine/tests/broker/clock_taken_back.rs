//! A clock that was ahead, and was taken back.

use std::time::Duration;

use leasehold_core::lease::LeaseState;
use leasehold_engine::request::IssueLease;
use tokio::time::{advance, sleep};

use crate::kit::{API, Broker, DYNAMIC, STATIC, actor, issue};

#[tokio::test(start_paused = true)]
async fn leases_of_times_that_are_yet_to_come_are_ended_and_others_are_not() {
    // Each of the tests' brokers begins at the same time of day: the second one's clock is behind the first one's.
    let ahead = Broker::new();
    let early = ahead.issue(STATIC).await.unwrap().lease.id;
    advance(Duration::from_secs(300)).await;
    let long = IssueLease { ttl: Some(Duration::from_secs(600)), ..issue(API, STATIC) };
    let late = ahead.engine.issue_lease(long).await.unwrap().lease.id;
    let credential = ahead.issue(DYNAMIC).await.unwrap().lease.id;
    let right = Broker::over(ahead.ledger.clone(), ahead.back_end.clone());
    drop(ahead);
    assert!(right.engine.get_lease(actor(API), late).await.unwrap().issued_at > right.engine.now());

    assert_eq!(right.engine.end_what_is_yet_to_come().await.unwrap(), 2);
    right.reconcile();
    sleep(Duration::from_secs(5)).await;
    for lease in [late, credential] {
        let lease = right.engine.get_lease(actor(API), lease).await.unwrap();
        assert!(matches!(lease.state, LeaseState::Revoked { .. }), "{lease:?}");
    }
    assert!(right.engine.get_lease(actor(API), early).await.unwrap().is_live(right.engine.now()));
    assert!(right.back_end.users.lock().unwrap().is_empty());
    assert_eq!(right.engine.end_what_is_yet_to_come().await.unwrap(), 0);
}
