//! A back end that does not answer costs the others nothing.

use leasehold_provider_conformance::peers::or_skip;
use leasehold_tests::{
    load::Connection,
    neighbours::{NEIGHBOUR, Neighbours, STALLED, lease},
    site::WORKLOAD,
    wait::until,
};
use tokio::task::JoinSet;

/// More than one back end may be asked at once, so that some of them wait for their turn.
const CALLERS: usize = 100;

#[tokio::test]
async fn leases_on_one_back_end_do_not_wait_for_three_that_are_stalled() {
    let Some(scene) = or_skip(Neighbours::start_patient().await).unwrap() else { return };
    let tls = scene.site.tls(Some(&scene.site.identity(WORKLOAD)));
    let mut neighbour = Connection::open(scene.site.address, tls.clone()).await.unwrap();
    let others = Connection::open(scene.site.address, tls).await.unwrap();

    scene.stall();
    let mut waiting = JoinSet::new();
    for n in 0..CALLERS * STALLED.len() {
        let (mut connection, call) = (others.clone(), lease(STALLED[n % STALLED.len()]));
        waiting.spawn(async move { connection.call(&call).await.is_ok() });
    }
    until("every one of them has been asked", async || scene.held().iter().all(|held| *held > 0)).await;

    for _ in 0..50 {
        neighbour.call(&lease(NEIGHBOUR)).await.unwrap();
    }
    let over = std::iter::from_fn(|| waiting.try_join_next()).count();
    assert_eq!(over, 0, "a stalled back end answered");

    scene.heal();
    let answered = waiting.join_all().await.into_iter().filter(|answered| *answered).count();
    assert_eq!(answered, CALLERS * STALLED.len(), "who had waited was not answered:\n{}", scene.broker.log());
    scene.broker.stop().await;
}
