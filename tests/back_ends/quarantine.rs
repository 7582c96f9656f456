//! Users of a real PostgreSQL that the broker may not end for a while, as docs/operations.md tells what is done with them.

use leasehold_tests::{daemon::Daemon, wait::until};

use crate::{kit::patiently, orphans::World};

#[tokio::test]
async fn what_cannot_be_ended_is_set_aside_tried_again_or_given_up() {
    let Some(world) = World::start("1h").await else { return };
    let daemon = Daemon::start(&world.site).await;
    let (first, user) = world.take().await;
    let (second, other) = world.take().await;
    world.postgres.run("ALTER ROLE broker NOCREATEROLE").await.unwrap();
    for lease in [&first, &second] {
        assert_eq!(world.ask("workload", &format!("lease revoke {lease}")).await.code, 0);
    }
    let quarantined = async || {
        let listed = world.told("lease list --all --state quarantined").await;
        listed.as_array().unwrap().len()
    };
    until("both are set aside", async || quarantined().await == 2).await;
    assert!(world.has(&user).await && world.has(&other).await);
    let why = world.told(&format!("audit query --lease {first} --kind lease.quarantined")).await;
    assert!(why[0]["details"]["error"].as_str().is_some_and(|error| error.contains("42501")), "{why}");

    world.postgres.run("ALTER ROLE broker CREATEROLE").await.unwrap();
    assert_eq!(world.ask("workload", &format!("lease retry {second}")).await.code, 3);
    world.told(&format!("lease retry {first}")).await;
    patiently("the user is dropped", async || !world.has(&user).await).await;
    until("its lease is over", async || {
        let lease = world.told(&format!("lease show {first}")).await;
        lease["state"] == "revoked" && lease["verification"] == "verified"
    })
    .await;

    let denied = world.ask("workload", &format!("lease forget {second} --reason mine --yes")).await;
    assert_eq!(denied.code, 3, "{denied:?}");
    world.told(&format!("lease forget {second} --reason decommissioned --yes")).await;
    assert_eq!(quarantined().await, 0);
    assert!(world.has(&other).await, "whoever gives a lease up knows that its credential may live on");
    let records = world.told("audit query --kind lease.forgotten").await;
    let given_up: Vec<_> = records
        .as_array()
        .unwrap()
        .iter()
        .filter(|record| record["outcome"]["result"] == "ok")
        .map(|record| (record["lease"].as_str().unwrap(), record["details"]["reason"].as_str().unwrap()))
        .collect();
    assert_eq!(given_up, [(second.as_str(), "decommissioned")]);
    assert!(daemon.stop().await.success());
}
