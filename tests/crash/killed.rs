//! The broker is killed at random times, also while it starts, and started again.

use std::{env, process::Command, time::Duration};

use leasehold_audit::Head;
use leasehold_tests::{
    binaries,
    daemon::{self, Daemon},
    site::{Plan, SECRET, Site},
};
use tokio::time::sleep;

use crate::{
    acknowledged::{list, one_lease_a_request, recorded, verified},
    counter::Counter,
    seed::{self, Seed},
    traffic::{Running, VALUE, Workload},
};

const ROUNDS: u64 = 50;
/// After so many rounds it goes on with a new site: what is old was looked at often enough.
const ROUNDS_OF_A_SITE: u64 = 10;
const WORKLOADS: usize = 16;

#[tokio::test]
async fn a_killed_broker_has_everything_that_it_acknowledged() {
    let rounds = env::var("LEASEHOLD_CRASH_ROUNDS").map_or(ROUNDS, |text| text.parse().expect("a number"));
    let mut seed = seed::from_env();
    let (mut left, mut sum) = (rounds, 0);
    while left > 0 {
        let now = left.min(ROUNDS_OF_A_SITE);
        sum += rounds_on_a_new_site(&mut seed, now).await;
        left -= now;
    }
    eprintln!("{rounds} rounds, {sum} answers, none forgotten");
    assert!(sum > rounds, "hardly anything was answered: this proves nothing");
}

/// Returns how many answers there were.
async fn rounds_on_a_new_site(seed: &mut Seed, rounds: u64) -> u64 {
    let mut plan = Plan { ledger: "segment_size = \"1MiB\"".into(), ..Plan::default() };
    plan.more.push_str(Counter::SECRET);
    let site = Site::new(plan);
    let journal = site.state().join("journal");
    let mut daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, VALUE).await;
    let mut workloads: Vec<_> = (0..WORKLOADS).map(|_| Workload::new(seed.split())).collect();
    let mut counter = Counter::new(&site).await;
    let (mut known, mut sum) = (Head::START, 0);
    for _ in 0..rounds {
        let counting = counter.run(&site).await;
        let running = Running::start(&site, workloads).await;
        sleep(Duration::from_millis(seed.within(5..400))).await;
        running.may_fail();
        daemon.kill();
        (workloads, _) = running.finish().await;
        counter = counting.await.expect("it does not panic");

        while seed.within(0..4) == 0 {
            let starting = Daemon::spawn(&site, Command::new(binaries::leaseholdd()));
            sleep(Duration::from_millis(seed.within(0..200))).await;
            starting.kill();
        }
        daemon = Daemon::start(&site).await;
        sum += check(&site, &mut workloads, known).await;
        counter.check(&site).await;
        known = verified(&journal, known).head;
    }
    assert!(daemon.stop().await.success());
    let _daemon = Daemon::start(&site).await;
    check(&site, &mut workloads, known).await;
    verified(&journal, known);
    one_lease_a_request(&journal);
    sum + counter.check(&site).await
}

/// Checks everything that the workloads were told; returns how many answers those were since `known`.
pub(crate) async fn check(site: &Site, workloads: &mut [Workload], known: Head) -> u64 {
    let client = daemon::workload(site).await;
    let listed = list(&client).await;
    let mut facts = Vec::new();
    for workload in workloads {
        workload.check(&client, &listed).await;
        facts.append(&mut workload.facts);
    }
    recorded(&site.state().join("journal"), known, &facts);
    facts.len() as u64
}
