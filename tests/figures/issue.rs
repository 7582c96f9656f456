//! IssueLease on a cached static secret, durable, audited and decided by Cedar with 100 policies loaded, against a bare
//! tonic mTLS echo of the same message sizes.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use leasehold_proto::v1::{
    GetStatusRequest, GetStatusResponse, IssueLeaseRequest, IssueLeaseResponse, LedgerStatus,
};
use leasehold_tests::{
    cpu::CpuTimes,
    daemon::{self, Daemon},
    echo,
    load::{Call, Connection, closed_loop, open_loop},
    site::{OPERATOR, Plan, SECRET, Site, WORKLOAD, client_tls},
};
use prost::Message;
use rustls::ClientConfig;

use crate::figure::{Report, Target, median};

pub(crate) const ECHO: &str = "__echo";

const POLICIES: usize = 100;
/// Every workload has a connection of its own and a few requests on it at a time.
const STREAMS: usize = 8;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(3);

/// The echo's side of the run: reads what it needs from `folder`, says its address there, serves until it is killed.
pub(crate) fn run_echo(folder: &str) {
    let folder = Path::new(folder);
    let response = IssueLeaseResponse::decode(fs::read(folder.join("response")).unwrap().as_slice()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (listener, address) = echo::listen().await.unwrap();
        fs::write(folder.join("echo-address.new"), address.to_string()).unwrap();
        fs::rename(folder.join("echo-address.new"), folder.join("echo-address")).unwrap();
        echo::serve(listener, echo::server_tls(folder), response).await.unwrap();
    });
}

pub(crate) async fn all(report: &mut Report, wants: impl Fn(&str) -> bool) {
    let site = Site::new(Plan { idle_policies: POLICIES, ..Plan::default() });
    let broker = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "a-password-of-32-characters-long").await;
    let tls = site.tls(Some(&site.identity(WORKLOAD)));
    // No two in a row are alike, so that no answer can be remembered as a whole. The policies look at none of the difference,
    // so that one decision of Cedar serves them all, as it does for workloads that ask again. And none ends during the
    // run, so that issuing alone is measured.
    let calls: Arc<[Call]> = (0..600)
        .map(|seconds| {
            let ttl = Some(prost_types::Duration { seconds: 600 + seconds, nanos: 0 });
            let request =
                IssueLeaseRequest { secret: SECRET.to_owned(), ttl, ..IssueLeaseRequest::default() };
            Call::new("leasehold.v1.LeaseService/IssueLease", &request)
        })
        .collect();
    let mut connections = connect(site.address, &tls, 1).await;
    let sample = echo::sample(&mut connections[0], &calls[0]).await.unwrap();
    let baseline = Baseline::start(&site, &sample).await;

    let mut best = 0.0_f64;
    for in_flight in [128, 512] {
        connections = connect(site.address, &tls, in_flight / STREAMS).await;
        let echoing = connect(baseline.address, &tls, in_flight / STREAMS).await;
        let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        let before = ledger(&site).await;
        let (mut issued, mut spent, mut asking) = (0, CpuTimes::default(), CpuTimes::default());
        for _ in 0..ROUNDS {
            let echoed = closed_loop(&echoing, &calls, in_flight, ROUND).await.unwrap();
            let cpu = [broker.id(), std::process::id()].map(CpuTimes::of);
            let leased = closed_loop(&connections, &calls, in_flight, ROUND).await.unwrap();
            spent.add(&CpuTimes::of(broker.id()).since(&cpu[0]));
            asking.add(&CpuTimes::of(std::process::id()).since(&cpu[1]));
            issued += leased.calls;
            ours.push(leased.per_second());
            theirs.push(echoed.per_second());
            ratios.push(leased.per_second() / echoed.per_second());
        }
        let after = ledger(&site).await;
        best = best.max(median(&mut ours));
        Report::note(&format!(
            "{in_flight} in flight on {} connections: {:.0} leases/s, echo {:.0}/s, ratios {ratios:.3?}",
            connections.len(),
            median(&mut ours),
            median(&mut theirs)
        ));
        Report::note(&format!(
            "microseconds of processor a lease: {} (the load: {})",
            spent.per_call(issued),
            asking.per_call(issued)
        ));
        if wants("issue_vs_echo") {
            let name = format!("issue_vs_echo_{in_flight}");
            report.figure(&name, median(&mut ratios), "ratio", Target::AtLeast(0.40));
        }
        if wants("durable_check") {
            durable(report, in_flight, issued, &before, &after);
        }
    }
    if wants("issue_p99_at_half_load") {
        let span = Duration::from_secs(5);
        let histogram = open_loop(&connections, &calls, best / 2.0, span).await.unwrap();
        let p99 = histogram.value_at_quantile(0.99) as f64 / 1000.0;
        Report::note(&format!(
            "{:.0} leases/s offered, p50 {:.2} ms, max {:.2} ms",
            best / 2.0,
            histogram.value_at_quantile(0.5) as f64 / 1000.0,
            histogram.max() as f64 / 1000.0
        ));
        report.figure("issue_p99_at_half_load", p99, "ms", Target::AtMost(20.0));
    }
    if wants("durable_check") {
        evidence(report, &site, broker).await;
    } else {
        broker.stop().await;
    }
}

/// Every acknowledged lease is behind an fsync: as many commits became durable as leases were answered.
fn durable(report: &mut Report, in_flight: usize, issued: u64, before: &LedgerStatus, after: &LedgerStatus) {
    let commits = after.commit_count - before.commit_count;
    let fsyncs = after.fsync_count - before.fsync_count;
    let span = ROUND.as_secs_f64() * ROUNDS as f64;
    let name = |what: &str| format!("durable_check_{what}_{in_flight}");
    report.figure(&name("fsyncs_per_second"), fsyncs as f64 / span, "1/s", Target::AtLeast(1.0));
    report.figure(&name("leases_per_fsync"), issued as f64 / fsyncs as f64, "leases", Target::AtLeast(1.0));
    report.figure(
        &name("durable_per_acknowledged"),
        commits as f64 / issued as f64,
        "ratio",
        Target::AtLeast(1.0),
    );
}

/// Kills the broker the moment after an answer and looks for that answer's lease in the journal.
async fn evidence(report: &mut Report, site: &Site, broker: Daemon) {
    let client = daemon::workload(site).await;
    let mut found = 0;
    let issue = leasehold_client::Issue {
        secret: SECRET.parse().unwrap(),
        ttl: None,
        fields: Vec::new(),
        request_id: None,
    };
    let lease = client.issue_lease(issue).await.unwrap().lease.id;
    broker.kill();
    for entry in leasehold_audit::read(&site.state().join("journal"), 1).unwrap() {
        if entry.unwrap().record.lease == Some(lease) {
            found += 1;
        }
    }
    report.figure("durable_check_after_kill", f64::from(found), "records", Target::Exactly(1.0));
}

struct Baseline {
    child: Child,
    address: SocketAddr,
}

impl Baseline {
    async fn start(site: &Site, response: &IssueLeaseResponse) -> Self {
        let folder = site.path("echo");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("response"), response.encode_to_vec()).unwrap();
        for name in ["clients.pem", "server.pem", "server.key"] {
            fs::copy(site.path("tls").join(name), folder.join(name)).unwrap();
        }
        let child = Command::new(std::env::current_exe().unwrap())
            .arg(ECHO)
            .arg(&folder)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let address: SocketAddr = loop {
            if let Ok(text) = fs::read_to_string(folder.join("echo-address")) {
                break text.parse().unwrap();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        Self { child, address }
    }
}

impl Drop for Baseline {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn connect(address: SocketAddr, tls: &Arc<ClientConfig>, count: usize) -> Vec<Connection> {
    let mut connections = Vec::new();
    for _ in 0..count {
        connections.push(Connection::open(address, tls.clone()).await.unwrap());
    }
    connections
}

async fn ledger(site: &Site) -> LedgerStatus {
    let tls = client_tls(&site.authority, Some(&site.identity(OPERATOR)), &[&rustls::version::TLS13]);
    let mut connection = Connection::open(site.address, tls).await.unwrap();
    let call = Call::new("leasehold.v1.OperatorService/GetStatus", &GetStatusRequest {});
    let status = GetStatusResponse::decode(connection.call(&call).await.unwrap()).unwrap();
    status.status.unwrap().ledger.unwrap()
}
