//! A broker on hold, and a state that was restored from a backup, by the commands of docs/operations.md.

use std::process::Command;

use leasehold_tests::{
    binaries,
    daemon::{self, Daemon},
    site::{Plan, SECRET, Site},
};
use rustix::process::Signal;
use serde_json::Value;

use crate::kit::{Ran, leasehold, records, run};

fn json(ran: &Ran) -> Value {
    assert_eq!(ran.code, 0, "{ran:?}");
    serde_json::from_str(&ran.out).unwrap()
}

/// Takes a lease as the workload; its id.
fn taken(site: &Site) -> String {
    let got = json(&leasehold(site, "workload", &format!("lease get {SECRET} -o json")));
    got.pointer("/lease/id").unwrap().as_str().unwrap().to_owned()
}

/// A line of a shell that must succeed.
fn shell(site: &Site, line: &str) {
    let ran = run(Command::new("sh").args(["-ec", line]).current_dir(site.dir.path()));
    assert_eq!(ran.code, 0, "{line}: {ran:?}");
}

fn hold(site: &Site) -> Value {
    json(&leasehold(site, "operator", "hold show -o json"))
}

#[tokio::test]
async fn a_broker_that_is_started_on_hold_serves_and_ends_nothing() {
    let site = Site::new(Plan::default());
    let mut daemon = Daemon::spawn_with(&site, Command::new(binaries::leaseholdd()), &["--hold"]);
    daemon.ready(&site).await;
    daemon::put(&site, SECRET, "hunter2").await;
    let id = taken(&site);
    assert_eq!(hold(&site)["reason"], "requested");
    let refused = leasehold(&site, "workload", &format!("lease revoke {id}"));
    assert_eq!(refused.code, 7, "{refused:?}");
    assert!(refused.err.contains("[BROKER_ON_HOLD]"), "{refused:?}");
    let status = leasehold(&site, "operator", "status");
    assert!(status.out.contains("ON HOLD"), "{status:?}");
    assert_eq!(leasehold(&site, "stranger", "hold release --reason mine").code, 3);

    // It outlives the process.
    assert!(daemon.stop().await.success());
    let daemon = Daemon::start(&site).await;
    assert_eq!(hold(&site)["on_hold"], true);
    let released = leasehold(&site, "operator", "hold release --reason compared");
    assert_eq!(released.code, 0, "{released:?}");
    assert_eq!(hold(&site), serde_json::json!({ "on_hold": false }));
    assert_eq!(leasehold(&site, "workload", &format!("lease revoke {id}")).code, 0);
    let [began] = &records(&site, "hold.began").await[..] else { panic!("it began once") };
    assert_eq!(began.details["reason"], "requested");
    // The stranger's attempt has its record, too.
    let [denied, ended] = &records(&site, "hold.released").await[..] else { panic!("it ended once") };
    assert_eq!((&*denied.details["denied"], &*ended.details["reason"]), ("policy", "compared"));
    assert!(daemon.stop().await.success());
}

#[tokio::test]
async fn a_state_that_was_restored_starts_on_hold_and_another_start_does_not() {
    let site = Site::new(Plan::default());
    let daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "hunter2").await;
    let known = taken(&site);
    assert_eq!(hold(&site)["on_hold"], false, "a first start is no restore");
    daemon.kill();
    let daemon = Daemon::start(&site).await;
    assert_eq!(hold(&site)["on_hold"], false, "nor is one after a crash");

    // What a snapshot of the file system has: everything as it is at one moment.
    daemon.signal(Signal::STOP);
    shell(&site, "cp -a state backup");
    daemon.signal(Signal::CONT);
    let later = taken(&site);
    assert_eq!(leasehold(&site, "workload", &format!("lease revoke {known}")).code, 0);
    daemon.kill();

    shell(&site, "mv state lost && cp -a backup state && rm -rf state/index");
    let daemon = Daemon::start(&site).await;
    let held = hold(&site);
    assert_eq!((&held["on_hold"], &held["reason"]), (&true.into(), &"restored".into()));
    assert!(daemon.log().contains("the state was restored from a copy"), "{}", daemon.log());
    let shown = json(&leasehold(&site, "workload", &format!("lease show {known} -o json")));
    assert_eq!(shown["state"], "active", "its end is not in the backup");
    assert_eq!(leasehold(&site, "workload", &format!("lease show {later}")).code, 3, "nor its beginning");
    taken(&site);
    daemon.kill();
    let daemon = Daemon::start(&site).await;
    assert_eq!(hold(&site)["reason"], "restored");
    assert_eq!(leasehold(&site, "operator", "hold release --reason compared").code, 0);
    assert_eq!(leasehold(&site, "workload", &format!("lease revoke {known}")).code, 0);
    assert!(daemon.stop().await.success());
    let daemon = Daemon::start(&site).await;
    assert_eq!(hold(&site)["on_hold"], false);
    assert!(daemon.stop().await.success());
    let verified = leasehold(&site, "operator", &format!("audit verify {}", site.state().display()));
    assert_eq!(verified.code, 0, "{verified:?}");
}
