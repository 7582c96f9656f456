//! The power goes: what was written and not made durable is gone, and the kernel that comes up is another one.

use std::{fs, process::Command, time::Duration};

use leasehold_audit::Head;
use leasehold_tests::{
    daemon::{self, Daemon},
    site::{Plan, SECRET, Site},
};
use tokio::time::sleep;

use crate::{
    acknowledged::verified,
    killed::check,
    seed,
    traffic::{Running, VALUE, Workload},
};

const CUTS: u64 = 12;

#[tokio::test]
async fn after_a_power_cut_everything_that_was_acknowledged_is_there() {
    let mut seed = seed::from_env();
    let site = Site::new(Plan { ledger: "segment_size = \"1MiB\"".into(), ..Plan::default() });
    let start = async || {
        let mut program = Command::new(env!("CARGO_BIN_EXE_leaseholdd-with-faults"));
        program.env("LEASEHOLD_FORGETS", "1");
        let mut daemon = Daemon::spawn(&site, program);
        daemon.ready(&site).await;
        daemon
    };
    let mut daemon = start().await;
    daemon::put(&site, SECRET, VALUE).await;
    let mut workloads: Vec<_> = (0..16).map(|_| Workload::new(seed.split())).collect();
    let (mut known, mut answers) = (Head::START, 0);
    for _ in 0..CUTS {
        let running = Running::start(&site, workloads).await;
        running.may_fail();
        sleep(Duration::from_millis(seed.within(5..300))).await;
        daemon.kill();
        (workloads, _) = running.finish().await;
        let note = site.state().join("index/opened");
        let here = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let said = fs::read_to_string(&note).unwrap();
        let before = said.replace(here.trim(), "00000000-0000-0000-0000-000000000000");
        assert_ne!(said, before, "the note says which kernel ran");
        fs::write(&note, before).unwrap();

        daemon = start().await;
        answers += check(&site, &mut workloads, known).await;
        known = verified(&site.state().join("journal"), known).head;
    }
    let log = daemon.log();
    assert!(log.contains("the machine went down while it was open"), "{log}");
    let torn = log.matches("bytes of an unfinished write").count();
    eprintln!("{CUTS} power cuts, {torn} torn writes, {answers} answers, none forgotten");
    assert!(torn > 0, "no cut met a write: this proves little");
    assert!(daemon.stop().await.success());
}
