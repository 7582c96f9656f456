//! What a sidecar costs beside its program, and how soon its files follow a rotation.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::MetadataExt,
    process::{Child, Command, Stdio},
    time::Duration,
};

use leasehold_client::proto::{AuditFilter, QueryAuditRequest};
use leasehold_tests::{
    binaries,
    daemon::{self, Daemon},
    rotations::{POLICY, rotate},
    site::{Plan, Site},
    wait::until,
};

use crate::figure::{Report, Target};

pub(crate) const NAMES: [&str; 2] = ["sidecar_rss", "sidecar_change_latency_p99"];

/// So many secrets, each in a file of its own, and all of them in one more.
const SECRETS: usize = 20;
const ROTATIONS: usize = 200;

pub(crate) async fn all(report: &mut Report, wants: impl Fn(&str) -> bool) {
    let site = site();
    let broker = Daemon::start(&site).await;
    for n in 0..SECRETS {
        daemon::put(&site, &format!("prod/payments/s{n}"), "a password of thirty-two characters").await;
    }
    let sidecar = Sidecar::start(&site);
    let data = site.path("run/..data");
    until("the files are there", async || data.exists()).await;
    if wants("sidecar_rss") {
        rss(report, &sidecar).await;
    }
    if wants("sidecar_change_latency_p99") {
        latency(report, &site).await;
    }
    drop(sidecar);
    broker.stop().await;
}

async fn rss(report: &mut Report, sidecar: &Sidecar) {
    tokio::time::sleep(Duration::from_secs(5)).await;
    let status = fs::read_to_string(format!("/proc/{}/status", sidecar.0.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    report.figure("sidecar_rss", kib / 1024.0, "MiB", Target::AtMost(15.0));
}

/// From the time of the record that a version was promoted to the time at which the link to its files was made.
async fn latency(report: &mut Report, site: &Site) {
    let operator = daemon::operator(site).await.operator();
    let secret = "prod/payments/s0".parse().unwrap();
    let data = site.path("run/..data");
    let made = || {
        let link = fs::symlink_metadata(&data).unwrap();
        link.mtime() as f64 * 1e3 + link.mtime_nsec() as f64 / 1e6
    };
    let mut swapped = Vec::new();
    for _ in 0..ROTATIONS {
        let before = made();
        // It is over when the sidecar has given the old version back, and that is after the swap.
        rotate(&operator, &secret).await;
        assert!(made() > before, "the files did not follow");
        swapped.push(made());
    }
    let filter = AuditFilter { kinds: vec!["rotation.promoted".to_owned()], ..AuditFilter::default() };
    let query = QueryAuditRequest { filter: Some(filter), ..QueryAuditRequest::default() };
    let mut records = operator.query_audit(query).await.unwrap();
    let mut promoted = Vec::new();
    while let Some(record) = records.next().await.unwrap() {
        let time = record.time.unwrap();
        promoted.push(time.seconds as f64 * 1e3 + f64::from(time.nanos) / 1e6);
    }
    // One way or the other round: pairs in the order of time.
    promoted.sort_by(f64::total_cmp);
    assert_eq!(promoted.len(), swapped.len());
    let mut waits: Vec<_> = promoted.iter().zip(&swapped).map(|(from, to)| to - from).collect();
    waits.sort_by(f64::total_cmp);
    Report::note(&format!("median {:.1} ms, longest {:.1} ms", waits[ROTATIONS / 2], waits[ROTATIONS - 1]));
    let p99 = waits[ROTATIONS * 99 / 100 - 1];
    report.figure("sidecar_change_latency_p99", p99, "ms", Target::AtMost(250.0));
}

/// Killed when it is dropped.
struct Sidecar(Child);

impl Sidecar {
    fn start(site: &Site) -> Self {
        let log = fs::File::create(site.path("sidecar.log")).unwrap();
        let child = Command::new(binaries::sidecar())
            .args(["run", "--config"])
            .arg(site.path("sidecar.toml"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn site() -> Site {
    let mut more = String::new();
    let mut sidecar = String::new();
    let mut template = String::new();
    for n in 0..SECRETS {
        write!(
            more,
            "[[secret]]\npath = \"prod/payments/s{n}\"\nprovider = \"local\"\nref = \"s{n}\"\nttl = \"10m\"\n\
             max_ttl = \"1h\"\nrotation = {{ strategy = \"generate\" }}\n\n"
        )
        .unwrap();
        write!(
            sidecar,
            "[[secret]]\nname = \"s{n}\"\npath = \"prod/payments/s{n}\"\n\
             [[file]]\nname = \"s{n}\"\nsecret = \"s{n}\"\n"
        )
        .unwrap();
        writeln!(template, "S{n}={{{{ secrets.s{n}.value | dotenv }}}}").unwrap();
    }
    let site = Site::new(Plan { more, ..Plan::default() });
    site.write("policies/20-rotation.cedar", POLICY);
    site.write(
        "sidecar.toml",
        &format!(
            "[broker]\naddresses = \"{}\"\ncertificate = \"tls/workload.pem\"\nkey = \"tls/workload.key\"\n\
             trust_bundle = \"tls/clients.pem\"\n[files]\ndir = \"run\"\n{sidecar}\
             [[file]]\nname = \"all.env\"\ntemplate_text = '''{template}'''\n",
            site.address
        ),
    );
    site
}
