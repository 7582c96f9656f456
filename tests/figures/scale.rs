//! A million live leases on one broker: what they cost in memory and on disk, how fast it starts again with them, whether
//! it issues as fast as without, and whether they end in time.
//!
//! `LEASEHOLD_FIGURES_LEASES` says another number than a million, to try these out; the figures keep their names.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use leasehold_proto::v1::{GetStatusRequest, GetStatusResponse, IssueLeaseRequest};
use leasehold_tests::{
    binaries,
    cpu::CpuTimes,
    daemon::{self, Daemon},
    load::{Call, Connection, closed_loop},
    site::{OPERATOR, Plan, SECRET, Site, WORKLOAD},
};
use prost::Message;
use tokio::{task::JoinSet, time::Instant};

use crate::{
    expiries::Expiries,
    figure::{Report, Target, median},
};

pub(crate) const NAMES: [&str; 5] = [
    "leases_1m_rss",
    "leases_1m_disk_per_lease",
    "leases_1m_restart",
    "issue_vs_echo_with_1m",
    "expiry_lateness_p99",
];

pub(crate) const ISSUE: &str = "leasehold.v1.LeaseService/IssueLease";
const IN_FLIGHT: usize = 512;
const CONNECTIONS: usize = 64;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);
const RESTARTS: usize = 5;
/// So many seconds without work, and the broker has noticed that nobody commits, and done what it keeps for then.
const CALM: u32 = 12;
/// All leases of the expiry figure end within this.
const SPAN: Duration = Duration::from_secs(60);

/// A broker with connections to it.
pub(crate) struct Scene {
    pub(crate) site: Site,
    pub(crate) broker: Daemon,
    pub(crate) connections: Vec<Connection>,
}

pub(crate) async fn all(report: &mut Report, wants: impl Fn(&str) -> bool) {
    let leases = std::env::var("LEASEHOLD_FIGURES_LEASES").map_or(1_000_000, |n| n.parse().unwrap());
    let mut rate = None;
    if NAMES.iter().any(|name| wants(name) && *name != "expiry_lateness_p99") {
        rate = Some(standing(report, &wants, leases).await);
    }
    if wants("expiry_lateness_p99") {
        expiry(report, leases, rate.unwrap_or(12_000.0)).await;
    }
}

/// The figures of leases that stay; returns how many a second were made.
async fn standing(report: &mut Report, wants: impl Fn(&str) -> bool, leases: u64) -> f64 {
    let scene = Scene::start(ARCHIVED).await;
    let hour = || call(Duration::from_secs(3600));
    let cpu = CpuTimes::of(scene.broker.id());
    let began = Instant::now();
    scene.issue(leases, hour).await;
    let rate = leases as f64 / began.elapsed().as_secs_f64();
    Report::note(&format!(
        "{leases} leases at {rate:.0}/s; microseconds of processor a lease: {}; memory at most {:.0} MiB meanwhile",
        CpuTimes::of(scene.broker.id()).since(&cpu).per_call(leases),
        memory(&scene.broker, "VmHWM:"),
    ));
    scene.settled().await;
    if wants("leases_1m_disk_per_lease") {
        scene.disk(report, leases).await;
    }
    if wants("issue_vs_echo_with_1m") {
        scene.beside_an_empty_one(report).await;
    }
    if wants("leases_1m_rss") {
        // After all that was asked of it, and while it is asked.
        let calls = calls();
        let mut under_load: f64 = 0.0;
        for _ in 0..10 {
            closed_loop(&scene.connections, &calls, 128, Duration::from_millis(200)).await.unwrap();
            under_load = under_load.max(memory(&scene.broker, "VmRSS:"));
        }
        Report::note(&format!("memory at most {:.0} MiB in all", memory(&scene.broker, "VmHWM:")));
        report.figure("leases_1m_rss", under_load, "MiB", Target::AtMost(200.0));
    }
    if wants("leases_1m_restart") {
        scene.restarts(report).await;
    } else {
        scene.broker.stop().await;
    }
    rate
}

impl Scene {
    async fn start(ledger: &str) -> Self {
        Self::with(ledger, "").await
    }

    /// A broker with this inside `[ledger]` and these secrets besides the usual one.
    pub(crate) async fn with(ledger: &str, secrets: &str) -> Self {
        let (ledger, limits) = (ledger.to_owned(), UNLIMITED.to_owned());
        let more = Plan::default().more + secrets;
        let plan = Plan { idle_policies: 100, ledger, limits, more, ..Plan::default() };
        let site = Site::new(plan);
        let broker = Daemon::start(&site).await;
        daemon::put(&site, SECRET, "a-password-of-32-characters-long").await;
        let connections = connect(&site).await;
        Self { site, broker, connections }
    }

    /// Makes `count` leases, each by what `next` gives then.
    pub(crate) async fn issue(&self, count: u64, next: impl Fn() -> Call + Clone + Send + 'static) {
        let left = Arc::new(AtomicU64::new(count));
        let mut tasks = JoinSet::new();
        for n in 0..IN_FLIGHT {
            let (mut connection, left) = (self.connections[n % CONNECTIONS].clone(), left.clone());
            let next = next.clone();
            tasks.spawn(async move {
                while left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
                    connection.call(&next()).await.unwrap();
                }
            });
        }
        tasks.join_all().await;
    }

    /// Waits until the broker has nothing left to do behind the commits.
    async fn settled(&self) {
        let used = || CpuTimes::of(self.broker.id());
        let deadline = Instant::now() + Duration::from_secs(90);
        let mut calm = 0;
        while Instant::now() < deadline {
            let before = used();
            tokio::time::sleep(Duration::from_secs(1)).await;
            calm = if used().since(&before).total() < Duration::from_millis(20) { calm + 1 } else { 0 };
            if calm == CALM {
                return;
            }
        }
        Report::note("the broker is still at work behind the commits after a minute and a half");
    }

    async fn disk(&self, report: &mut Report, leases: u64) {
        let status = status(&self.site).await;
        let size = |folder: &str| bytes(&self.site.state().join(folder));
        let total = bytes(&self.site.state());
        Report::note(&format!(
            "state {} MiB: journal {}, index {}, snapshots {} ({} written); archived {} MiB",
            total >> 20,
            size("journal") >> 20,
            size("index") >> 20,
            size("snapshots") >> 20,
            status,
            bytes(&self.site.path("archive")) >> 20,
        ));
        report.figure(
            "leases_1m_disk_per_lease",
            total as f64 / leases as f64 / 1024.0,
            "KiB",
            Target::AtMost(1.0),
        );
    }

    /// As `issue_vs_echo`, divided by the same of a broker that began empty: the echo cancels out.
    async fn beside_an_empty_one(&self, report: &mut Report) {
        let empty = Self::start("").await;
        let calls = calls();
        let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let without = closed_loop(&empty.connections, &calls, IN_FLIGHT, ROUND).await.unwrap();
            let with = closed_loop(&self.connections, &calls, IN_FLIGHT, ROUND).await.unwrap();
            ours.push(with.per_second());
            theirs.push(without.per_second());
            ratios.push(with.per_second() / without.per_second());
        }
        Report::note(&format!(
            "{IN_FLIGHT} in flight: {:.0} leases/s with them, {:.0}/s without, ratios {ratios:.3?}",
            median(&mut ours),
            median(&mut theirs)
        ));
        report.figure("issue_vs_echo_with_1m", median(&mut ratios), "ratio", Target::AtLeast(0.9));
        empty.broker.stop().await;
    }

    /// Kills the broker in the middle of its work and starts it again, several times.
    async fn restarts(self, report: &mut Report) {
        let Self { site, mut broker, mut connections } = self;
        let calls = calls();
        let mut times = Vec::new();
        for _ in 0..RESTARTS {
            let load = {
                let (connections, calls) = (connections.clone(), calls.clone());
                tokio::spawn(async move {
                    // It ends with the broker.
                    let _ = closed_loop(&connections, &calls, IN_FLIGHT, Duration::from_secs(60)).await;
                })
            };
            tokio::time::sleep(Duration::from_millis(700 + 230 * times.len() as u64)).await;
            broker.kill();
            load.await.unwrap();
            let tls = site.tls(Some(&site.identity(WORKLOAD)));
            let began = Instant::now();
            broker = Daemon::spawn(&site, Command::new(binaries::leaseholdd()));
            loop {
                if let Ok(mut connection) = Connection::open(site.address, tls.clone()).await
                    && connection.call(&calls[0]).await.is_ok()
                {
                    break;
                }
                assert!(began.elapsed() < Duration::from_secs(60), "it does not serve:\n{}", broker.log());
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            times.push(began.elapsed().as_secs_f64());
            connections = connect(&site).await;
        }
        Report::note(&format!("seconds from the start of the process to the first lease: {times:.3?}"));
        report.figure("leases_1m_restart", median(&mut times), "s", Target::AtMost(1.0));
        broker.stop().await;
    }
}

/// When leases are over, seen from outside: when their records appear in the journal.
async fn expiry(report: &mut Report, leases: u64, rate: f64) {
    let scene = Scene::start("").await;
    let making = Duration::from_secs_f64(leases as f64 / rate * 1.4 + 6.0);
    let begins = Instant::now() + making;
    let spread = Arc::new(AtomicU64::new(0));
    let next = move || {
        // A stride that is prime to the span, so that ends come evenly and in no order.
        let at = spread.fetch_add(7_919, Relaxed) % SPAN.as_millis() as u64;
        call(begins.saturating_duration_since(Instant::now()) + Duration::from_millis(at))
    };
    scene.issue(leases, next).await;
    let spare = begins.saturating_duration_since(Instant::now());
    Report::note(&format!(
        "{leases} leases are there {:.1} s before the first of them ends",
        spare.as_secs_f64()
    ));
    assert!(!spare.is_zero(), "the machine is too slow for so many leases in so short a time");
    let until = begins + SPAN + Duration::from_secs(60);
    let cpu = CpuTimes::of(scene.broker.id());
    let journal = scene.site.state().join("journal");
    let seen = tokio::task::spawn_blocking(move || Expiries::watch(&journal, leases, until)).await.unwrap();
    Report::note(&format!(
        "{} of {leases} ended, {:.0} a second, at most {} in one; lateness p50 {:.1} ms, p99.9 {:.1} ms, max {:.1} ms, \
         none earlier than {:.1} ms; \
         microseconds of processor a lease: {}; memory at most {:.0} MiB",
        seen.count(),
        seen.count() as f64 / SPAN.as_secs_f64(),
        seen.most_in_a_second(),
        seen.millis(0.5),
        seen.millis(0.999),
        seen.millis(1.0),
        seen.earliest_millis(),
        CpuTimes::of(scene.broker.id()).since(&cpu).per_call(seen.count().max(1)),
        memory(&scene.broker, "VmHWM:"),
    ));
    assert_eq!(seen.count(), leases, "not all of them ended");
    report.figure("expiry_lateness_p99", seen.millis(0.99), "ms", Target::AtMost(100.0));
    scene.broker.stop().await;
}

async fn connect(site: &Site) -> Vec<Connection> {
    let tls = site.tls(Some(&site.identity(WORKLOAD)));
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(Connection::open(site.address, tls.clone()).await.unwrap());
    }
    connections
}

fn call(ttl: Duration) -> Call {
    let ttl = Some(prost_types::Duration { seconds: ttl.as_secs() as i64, nanos: ttl.subsec_nanos() as i32 });
    Call::new(ISSUE, &IssueLeaseRequest { secret: SECRET.to_owned(), ttl, ..IssueLeaseRequest::default() })
}

/// Calls of which no two in a row are alike.
fn calls() -> Arc<[Call]> {
    (0..600).map(|seconds| call(Duration::from_secs(1800 + seconds))).collect()
}

/// MiB by a line of the process's status.
fn memory(broker: &Daemon, line: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", broker.id())).unwrap();
    let line = status.lines().find(|found| found.starts_with(line)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// What a folder takes on disk. A file that goes away meanwhile takes nothing.
fn bytes(folder: &Path) -> u64 {
    let size = |path: &Path| match path.symlink_metadata() {
        Ok(found) if found.is_dir() => bytes(path),
        Ok(found) => found.blocks() * 512,
        Err(_) => 0,
    };
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| size(&entry.path())).sum()
}

/// How many snapshots were written.
async fn status(site: &Site) -> i64 {
    let tls = site.tls(Some(&site.identity(OPERATOR)));
    let mut connection = Connection::open(site.address, tls).await.unwrap();
    let call = Call::new("leasehold.v1.OperatorService/GetStatus", &GetStatusRequest {});
    let answer = GetStatusResponse::decode(connection.call(&call).await.unwrap()).unwrap();
    answer.status.unwrap().ledger.unwrap().snapshot_count
}

/// All of them are one workload's, on one secret, asked for as fast as they come.
const UNLIMITED: &str = "requests_per_principal = 1000000\nrequest_burst = 1000000\n\
    leases_per_principal = 100000000\nleases_per_secret = 100000000";
/// What an operator would say who wants to keep all evidence, elsewhere.
const ARCHIVED: &str = r#"compress = "zstd"
archive = { directory = "archive", after_age = "1m", after_size = "64MiB" }"#;
