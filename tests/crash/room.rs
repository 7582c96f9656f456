//! A disk that is really full: a small tmpfs in a mount namespace of the test's own, which takes no more rights than an
//! unprivileged user has on most systems. Where a system refuses that, the file layer's faults (`disk.rs`) must do.

use std::{
    env,
    fs::{self, File},
    io::Write,
    path::Path,
    process::Command,
};

use leasehold_audit::Head;
use leasehold_client::proto::LedgerHealth;
use leasehold_tests::{
    daemon::{self, Daemon},
    site::{Plan, SECRET, Site},
};

use crate::{
    acknowledged::verified,
    killed::check,
    outside::{Serving, becomes, refuses, works},
    seed,
    traffic::{Running, VALUE, Workload},
};

const INSIDE: &str = "LEASEHOLD_CRASH_NAMESPACE";
const TEST: &str = "room::a_really_full_disk_refuses_until_there_is_room_and_loses_nothing";

#[tokio::test]
async fn a_really_full_disk_refuses_until_there_is_room_and_loses_nothing() {
    if env::var_os(INSIDE).is_some() {
        return on_a_small_disk().await;
    }
    let unshare = |program: &Path, arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount"]).arg(program).args(arguments);
        command
    };
    let dir = tempfile::tempdir().unwrap();
    let mount = ["-t", "tmpfs", "tmpfs", dir.path().to_str().unwrap()];
    let possible = unshare("mount".as_ref(), &mount).output().is_ok_and(|output| output.status.success());
    if !possible {
        eprintln!("this system gives nobody a mount namespace: the full disk is only played");
        return;
    }
    let this = env::current_exe().unwrap();
    let status = unshare(&this, &["--exact", TEST, "--nocapture"]).env(INSIDE, "1").status().unwrap();
    assert!(status.success(), "it failed in its own mount namespace");
}

async fn on_a_small_disk() {
    let mut seed = seed::from_env();
    let site = Site::new(Plan { ledger: "segment_size = \"1MiB\"".into(), ..Plan::default() });
    let mount = ["-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs"];
    assert!(Command::new("mount").args(mount).arg(site.state()).status().unwrap().success());
    let mut workloads: Vec<_> = (0..16).map(|_| Workload::new(seed.split())).collect();
    let mut daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, VALUE).await;

    let running = Running::start(&site, std::mem::take(&mut workloads)).await;
    running.may_fail();
    let ballast = site.state().join("ballast");
    fill(&ballast);
    let errors;
    (workloads, errors) = running.finish().await;
    for error in errors {
        assert_eq!(error.reason(), Some("JOURNAL_FULL"), "{error:?}");
    }
    workloads.iter_mut().for_each(Workload::was_refused);
    let message = refuses(&site, &workloads, "JOURNAL_FULL", LedgerHealth::Full).await;
    assert!(
        message.contains("there is no room for") && message.contains("No space left on device"),
        "{message}"
    );

    fs::remove_file(&ballast).unwrap();
    becomes(&site, Serving::Yes).await;
    works(&site, &mut workloads).await;
    check(&site, &mut workloads, Head::START).await;

    // Killed while it is full, and started while it is full.
    fill(&ballast);
    daemon.kill();
    let mut starting = Daemon::spawn(&site, Command::new(leasehold_tests::binaries::leaseholdd()));
    let status = starting.ended().await;
    let log = starting.log();
    // A code after which the service is started again, until there is room.
    assert!(status.code() == Some(1) && log.contains("No space left on device"), "{status:?}: {log}");
    fs::remove_file(&ballast).unwrap();
    daemon = Daemon::start(&site).await;
    check(&site, &mut workloads, Head::START).await;
    verified(&site.state().join("journal"), Head::START);
    assert!(daemon.stop().await.success());
}

/// Takes all the room that there is.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    let full = |why: std::io::Error| assert_eq!(why.kind(), std::io::ErrorKind::StorageFull, "{why}");
    // In ever smaller pieces: a write takes what it can get only on some file systems.
    for piece in [1 << 20, 4096, 1] {
        loop {
            if let Err(why) = file.write_all(&vec![1; piece]) {
                full(why);
                break;
            }
        }
    }
}
