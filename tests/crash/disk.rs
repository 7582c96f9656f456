//! The disk fills up, or fails, through the journal's file layer: what is acknowledged is durable, what is refused leaves no
//! trace, and the broker says how it is.

use std::{fs, process::Command};

use leasehold_audit::Head;
use leasehold_client::proto::LedgerHealth;
use leasehold_tests::{
    binaries,
    daemon::{self, Daemon},
    site::{Plan, SECRET, Site},
};

use crate::{
    acknowledged::verified,
    killed::check,
    outside::{self, Serving},
    seed,
    traffic::{Running, VALUE, Workload},
};

/// The exit code of a broker that can promise nothing any more.
const POISONED: i32 = 5;

/// A site whose broker's files fail as its file `faults` says.
struct Faulty {
    site: Site,
    daemon: Daemon,
    workloads: Vec<Workload>,
}

impl Faulty {
    async fn new() -> Self {
        let mut seed = seed::from_env();
        let site = Site::new(Plan { ledger: "segment_size = \"1MiB\"".into(), ..Plan::default() });
        let mut program = Command::new(env!("CARGO_BIN_EXE_leaseholdd-with-faults"));
        program.env("LEASEHOLD_FAULTS", site.path("faults"));
        let mut daemon = Daemon::spawn(&site, program);
        daemon.ready(&site).await;
        daemon::put(&site, SECRET, VALUE).await;
        Self { site, daemon, workloads: (0..16).map(|_| Workload::new(seed.split())).collect() }
    }

    /// From now on this fails. The control file is replaced, so that it is never seen half written.
    fn fail(&self, faults: &str) {
        fs::write(self.site.path("faults.new"), faults).unwrap();
        fs::rename(self.site.path("faults.new"), self.site.path("faults")).unwrap();
    }

    /// Lets the workloads work until each was refused something for this reason.
    async fn work_until_refused(&mut self, faults: &str, reason: &str) {
        let running = Running::start(&self.site, std::mem::take(&mut self.workloads)).await;
        running.may_fail();
        self.fail(faults);
        let (workloads, errors) = running.finish().await;
        self.workloads = workloads;
        assert_eq!(errors.len(), self.workloads.len());
        for error in errors {
            assert_eq!(error.reason(), Some(reason), "{error:?}");
        }
        self.workloads.iter_mut().for_each(Workload::was_refused);
    }

    /// Checks that there is exactly what was acknowledged, and that all of it is in the journal.
    async fn has_exactly_what_was_acknowledged(&mut self) {
        check(&self.site, &mut self.workloads, Head::START).await;
        let held: usize = self.workloads.iter().map(|workload| workload.held.len()).sum();
        let listed = crate::acknowledged::list(&daemon::workload(&self.site).await).await;
        assert_eq!(listed.len(), held, "what was refused is there all the same");
        verified(&self.site.state().join("journal"), Head::START);
    }
}

#[tokio::test]
async fn a_full_disk_refuses_until_there_is_room_and_loses_nothing() {
    let mut faulty = Faulty::new().await;
    // The segment that is written to has its room already.
    faulty.work_until_refused("room 0", "JOURNAL_FULL").await;
    let message = outside::refuses(&faulty.site, &faulty.workloads, "JOURNAL_FULL", LedgerHealth::Full).await;
    assert!(message.contains("there is no room for") && message.contains("free some space"), "{message}");
    faulty.has_exactly_what_was_acknowledged().await;

    // Nobody asks for anything, and yet it is found out.
    faulty.fail("");
    outside::becomes(&faulty.site, Serving::Yes).await;
    outside::works(&faulty.site, &mut faulty.workloads).await;

    faulty.daemon.kill();
    faulty.daemon = Daemon::start(&faulty.site).await;
    faulty.has_exactly_what_was_acknowledged().await;
}

#[tokio::test]
async fn a_disk_that_fills_in_the_middle_of_a_write_leaves_no_trace_of_what_was_refused() {
    let mut faulty = Faulty::new().await;
    outside::works(&faulty.site, &mut faulty.workloads).await;
    for _ in 0..3 {
        faulty.fail("short-writes\nno-space-at 2\n");
        let refused = outside::issue(&faulty.site).await.unwrap_err();
        assert_eq!(refused.reason(), Some("JOURNAL_FULL"), "{refused:?}");
        faulty.fail("");
        outside::becomes(&faulty.site, Serving::Yes).await;
        outside::works(&faulty.site, &mut faulty.workloads).await;
    }
    faulty.has_exactly_what_was_acknowledged().await;
    faulty.daemon.kill();
    faulty.daemon = Daemon::start(&faulty.site).await;
    faulty.has_exactly_what_was_acknowledged().await;
}

#[tokio::test]
async fn a_failing_disk_ends_the_broker_before_anything_is_disclosed_that_is_not_durable() {
    // The first and a later fsync, and a disk that takes no write at all, not even one that undoes another.
    for faults in ["fail-sync 1", "fail-sync 7", "no-space"] {
        let mut faulty = Faulty::new().await;
        let running = Running::start(&faulty.site, std::mem::take(&mut faulty.workloads)).await;
        running.may_fail();
        faulty.fail(faults);
        let status = faulty.daemon.ended().await;
        let log = faulty.daemon.log();
        assert_eq!(status.code(), Some(POISONED), "{faults}: {log}");
        assert!(log.contains("ending: the journal is poisoned"), "{faults}: {log}");
        let errors;
        (faulty.workloads, errors) = running.finish().await;
        assert_eq!(errors.len(), faulty.workloads.len(), "{faults}: somebody was answered after the end");

        faulty.daemon = Daemon::start(&faulty.site).await;
        check(&faulty.site, &mut faulty.workloads, Head::START).await;
        verified(&faulty.site.state().join("journal"), Head::START);
    }
}

#[tokio::test]
async fn the_real_program_cannot_be_told_to_fail() {
    let site = Site::new(Plan::default());
    fs::write(site.path("faults"), "fail-sync 1\nno-space\n").unwrap();
    let mut program = Command::new(binaries::leaseholdd());
    program.env("LEASEHOLD_FAULTS", site.path("faults")).env("LEASEHOLD_FORGETS", "1");
    let mut daemon = Daemon::spawn(&site, program);
    daemon.ready(&site).await;
    daemon::put(&site, SECRET, VALUE).await;
    let mut workloads = [Workload::new(seed::from_env())];
    outside::works(&site, &mut workloads).await;
    daemon.kill();
    let _daemon = Daemon::start(&site).await;
    check(&site, &mut workloads, Head::START).await;
}
