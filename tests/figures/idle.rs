//! What the broker costs while nobody asks anything of it.

use std::{fs, time::Duration};

use leasehold_tests::{
    daemon::{self, Daemon},
    site::{Plan, SECRET, Site},
};

use crate::figure::{Report, Target};

pub(crate) async fn rss(report: &mut Report) {
    let site = Site::new(Plan { idle_policies: 100, ..Plan::default() });
    let broker = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "an idle broker's only secret").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let status = fs::read_to_string(format!("/proc/{}/status", broker.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    report.figure("idle_rss", kib / 1024.0, "MiB", Target::AtMost(25.0));
    broker.stop().await;
}
