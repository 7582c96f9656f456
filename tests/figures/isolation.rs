//! Whether a lease on one back end feels that three others are stalled.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use leasehold_tests::{
    load::{Call, Connection, open_loop},
    neighbours::{NEIGHBOUR, Neighbours, STALLED, lease},
    site::WORKLOAD,
};
use tokio::task::JoinSet;

use crate::figure::{Report, Target, median};

/// Leases a second on the one that is not stalled: each is a call to its back end, so this leaves the machine idle.
const RATE: f64 = 150.0;
const SPAN: Duration = Duration::from_secs(4);
const ROUNDS: usize = 5;
/// So many callers want a lease on each stalled back end at any time.
const CALLERS: usize = 32;
/// Who was refused tries again after this, as a client that honours a hint does.
const PAUSE: Duration = Duration::from_millis(250);

pub(crate) async fn p99_ratio(report: &mut Report) {
    let scene = Neighbours::start().await.unwrap();
    let tls = scene.site.tls(Some(&scene.site.identity(WORKLOAD)));
    let mut connections = Vec::new();
    for _ in 0..4 {
        connections.push(Connection::open(scene.site.address, tls.clone()).await.unwrap());
    }
    let calls: Arc<[Call]> = [lease(NEIGHBOUR)].into();
    let p99 = async || {
        let latencies = open_loop(&connections, &calls, RATE, SPAN).await.unwrap();
        latencies.value_at_quantile(0.99) as f64 / 1000.0
    };
    // The first leases pay for connections to the back ends.
    open_loop(&connections, &calls, RATE, SPAN).await.unwrap();
    let (mut calm, mut stalled) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        calm.push(p99().await);
        scene.stall();
        let stop = Arc::new(AtomicBool::new(false));
        let callers = crowd(&connections, &stop);
        stalled.push(p99().await);
        stop.store(true, Relaxed);
        scene.heal();
        callers.join_all().await;
    }
    let held = scene.held();
    assert!(held.iter().all(|held| *held > 0), "a back end was not stalled: {held:?}");
    let (calm, stalled) = (median(&mut calm), median(&mut stalled));
    Report::note(&format!(
        "p99 of a lease on the fourth back end: {calm:.2} ms with the others well, {stalled:.2} ms with the others stalled \
         (answers held: {held:?})"
    ));
    report.figure("isolated_p99_ratio", stalled / calm, "", Target::AtMost(2.0));
    scene.broker.stop().await;
}

/// Keeps asking for leases on the stalled ones, whatever comes back.
fn crowd(connections: &[Connection], stop: &Arc<AtomicBool>) -> JoinSet<()> {
    let mut callers = JoinSet::new();
    for n in 0..CALLERS * STALLED.len() {
        let mut connection = connections[n % connections.len()].clone();
        let (call, stop) = (lease(STALLED[n % STALLED.len()]), stop.clone());
        callers.spawn(async move {
            while !stop.load(Relaxed) {
                if connection.call(&call).await.is_err() {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        });
    }
    callers
}
