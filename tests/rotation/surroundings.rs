//! What changes around a rotation that is under way: its secret is taken out of the catalog, and a second broker is started
//! by accident.

use std::{
    net::TcpListener,
    process::{Command, Stdio},
};

use leasehold_audit::Head;
use leasehold_client::proto;
use leasehold_core::record::Kind;
use leasehold_tests::{
    binaries,
    daemon::{self, Daemon},
    evidence::verified,
    rotations::{self, is_idle},
    site::SECRET,
    wait::until,
};

use crate::kit::{count, lease, local, operator, path, rotation, site, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_taken_out_of_the_catalog_while_it_drains_is_retired_all_the_same() {
    let site = site(&local("drain_deadline = \"1h\""));
    let mut broker = Daemon::start(&site).await;
    let with = std::fs::read_to_string(site.path("leasehold.toml")).unwrap();
    let without = with.split("[[secret]]").next().unwrap();
    for (serial, dies) in [(1, false), (2, true)] {
        if serial == 1 {
            daemon::put(&site, SECRET, "one").await;
        }
        let held = lease(&site).await;
        rotations::ask(&operator(&site).await, &path()).await;
        let drains = |rotation: &proto::Rotation| rotation.state() == proto::RotationState::Draining;
        rotations::when(&operator(&site).await, &path(), drains).await;
        site.write("leasehold.toml", without);
        assert_eq!(broker.reload(&site).await.rejection, "");
        assert_eq!(rotation(&site).await.state(), proto::RotationState::Draining);
        if dies {
            broker.kill();
            broker = Daemon::start(&site).await;
        }
        assert_eq!(count(&site, Kind::RotationRetired), serial - 1, "somebody holds it");
        daemon::workload(&site).await.revoke_lease(held.lease.id, None).await.unwrap();
        until("it is retired", async || count(&site, Kind::RotationRetired) == serial).await;

        site.write("leasehold.toml", &with);
        assert_eq!(broker.reload(&site).await.rejection, "");
        let after = rotation(&site).await;
        assert!(is_idle(&after) && after.serial == i64::try_from(serial).unwrap(), "{after:?}");
        let now = lease(&site).await;
        assert_ne!(text(&now.value, "value"), text(&held.value, "value"));
        let versions = operator(&site).await.secret_versions(&path(), 100, None).await.unwrap().items;
        let old = held.lease.version.unwrap().to_string();
        let put_away = versions.iter().find(|one| one.version == old).unwrap();
        assert_eq!(put_away.state(), proto::SecretVersionState::Disabled, "{put_away:?}");
        daemon::workload(&site).await.revoke_lease(now.lease.id, None).await.unwrap();
    }
    assert!(broker.stop().await.success());
    verified(&site.state().join("journal"), Head::START);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_broker_on_the_same_state_rotates_nothing() {
    let site = site(&local("every = \"1s\", drain_deadline = \"1h\""));
    let broker = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "one").await;
    let held = lease(&site).await;
    let drains = |rotation: &proto::Rotation| rotation.state() == proto::RotationState::Draining;
    rotations::when(&operator(&site).await, &path(), drains).await;
    let before = verified(&site.state().join("journal"), Head::START).head;

    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let toml = std::fs::read_to_string(site.path("leasehold.toml")).unwrap();
    site.write("second.toml", &toml.replace(&site.address.to_string(), &free.to_string()));
    let mut second = Command::new(binaries::leaseholdd());
    second.args(["run", "--config"]).arg(site.path("second.toml")).stdin(Stdio::null());
    let second = tokio::task::spawn_blocking(move || second.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(4), "{said}");
    assert!(said.contains(&format!("in use by the broker with process id {}", broker.id())), "{said}");

    // The first goes on as if nothing had been.
    assert_eq!(verified(&site.state().join("journal"), before).head, before, "somebody wrote to it");
    daemon::workload(&site).await.revoke_lease(held.lease.id, None).await.unwrap();
    rotations::when(&operator(&site).await, &path(), |rotation| rotation.last.is_some()).await;
    assert!(broker.stop().await.success());
    verified(&site.state().join("journal"), before);
}
