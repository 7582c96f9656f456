//! Whether a principal feels that another one floods the broker: the p99 of its leases beside a flood of fifty times what
//! one may ask, against the p99 alone.
//!
//! The flood comes from a process of its own, so that it costs the other's clock nothing but the machine's time.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use leasehold_proto::v1::IssueLeaseRequest;
use leasehold_tests::{
    cpu::CpuTimes,
    daemon::{self, Daemon},
    load::{Call, CallError, Connection, open_loop},
    site::{Plan, SECRET, Site, WORKLOAD},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{task::JoinSet, time::Instant};

use crate::figure::{Report, Target, median};

pub(crate) const FLOOD: &str = "__flood";

/// Requests a second that one principal may make, and what comes at once after a pause: the broker's defaults.
const QUOTA: u32 = 200;
const BURST: u32 = 2000;
/// The flood, in quotas.
const TIMES: u32 = 50;
/// What the other principal asks for: less than its quota.
const RATE: f64 = 150.0;
const SPAN: Duration = Duration::from_secs(4);
const ROUNDS: usize = 5;
const CONNECTIONS: usize = 8;
/// A principal with a secret of its own, which policy allows.
const FLOODER: &str = "spiffe://example.org/prod/team-0/api";
const ITS_SECRET: &str = "prod/team-0/db";

pub(crate) async fn fairness(report: &mut Report) {
    let plan = Plan::default();
    let own = format!("[[secret]]\npath = \"{ITS_SECRET}\"\nprovider = \"local\"\nref = \"team-db\"\n");
    let site = Site::new(Plan {
        idle_policies: 100,
        limits: format!("requests_per_principal = {QUOTA}\nrequest_burst = {BURST}"),
        more: plan.more.clone() + &own,
        ..plan
    });
    site.install("flooder", &site.identity(FLOODER));
    let broker = Daemon::start(&site).await;
    for secret in [SECRET, ITS_SECRET] {
        daemon::put(&site, secret, "a-password-of-32-characters-long").await;
    }
    let tls = site.tls(Some(&site.identity(WORKLOAD)));
    let mut connections = Vec::new();
    for _ in 0..4 {
        connections.push(Connection::open(site.address, tls.clone()).await.unwrap());
    }
    let calls: Arc<[Call]> = [issue(SECRET)].into();
    let p99 = async || {
        let latencies = open_loop(&connections, &calls, RATE, SPAN).await.unwrap();
        latencies.value_at_quantile(0.99) as f64 / 1000.0
    };
    p99().await;
    let (mut alone, mut beside, mut spent) = (Vec::new(), Vec::new(), CpuTimes::default());
    let (mut issued, mut limited) = (0, 0);
    for _ in 0..ROUNDS {
        alone.push(p99().await);
        let before = CpuTimes::of(broker.id());
        let flood = Flood::start(&site);
        beside.push(p99().await);
        let [granted, refused] = flood.end();
        spent.add(&CpuTimes::of(broker.id()).since(&before));
        issued += granted;
        limited += refused;
    }
    Report::note(&format!(
        "p99 alone {alone:.2?} ms, beside the flood {beside:.2?} ms; the flood had {issued} leases and was turned away {limited} \
         times; microseconds of processor a request of it: {}",
        spent.per_call(issued + limited)
    ));
    let offered = f64::from(QUOTA * TIMES) * SPAN.as_secs_f64() * ROUNDS as f64;
    assert!((issued + limited) as f64 > 0.8 * offered, "no flood: {issued} and {limited} of {offered}");
    assert!(limited > issued, "nothing was turned away");
    report.figure("flood_fairness", median(&mut beside) / median(&mut alone), "", Target::AtMost(2.0));
    broker.stop().await;
}

fn issue(secret: &str) -> Call {
    let request = IssueLeaseRequest { secret: secret.to_owned(), ..IssueLeaseRequest::default() };
    Call::new("leasehold.v1.LeaseService/IssueLease", &request)
}

/// A flood that goes on until it is told to end.
struct Flood<'a> {
    site: &'a Site,
    child: Child,
}

impl<'a> Flood<'a> {
    fn start(site: &'a Site) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .arg(FLOOD)
            .arg(site.dir.path())
            .arg(site.address.to_string())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        while !site.path("flooding").exists() {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        Self { site, child }
    }

    /// How many leases it got, and how often it was turned away.
    fn end(mut self) -> [u64; 2] {
        fs::remove_file(self.site.path("flooding")).unwrap();
        assert!(self.child.wait().unwrap().success());
        let counts = fs::read_to_string(self.site.path("flooded")).unwrap();
        let mut counts = counts.split(' ').map(|count| count.parse().unwrap());
        [counts.next().unwrap(), counts.next().unwrap()]
    }
}

/// The flood's side of the run: as long as the file is there that it makes when it begins.
pub(crate) fn run_flood(folder: &str, address: &str) {
    let (folder, address): (&Path, SocketAddr) = (Path::new(folder), address.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let [issued, limited] = runtime.block_on(flood(folder, address));
    fs::write(folder.join("flooded"), format!("{issued} {limited}")).unwrap();
}

async fn flood(folder: &Path, address: SocketAddr) -> [u64; 2] {
    let tls = tls(folder);
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(Connection::open(address, tls.clone()).await.unwrap());
    }
    let (marker, call) = (folder.join("flooding"), issue(ITS_SECRET));
    fs::write(&marker, "").unwrap();
    let (start, mut sent, mut counts, mut tasks) = (Instant::now(), 0_u32, [0; 2], JoinSet::new());
    let mut count = |done: Result<(), CallError>| match done {
        Ok(()) => counts[0] += 1,
        // RESOURCE_EXHAUSTED
        Err(CallError::Status(8)) => counts[1] += 1,
        Err(other) => panic!("the flood met {other}"),
    };
    while marker.exists() {
        let due = (start.elapsed().as_secs_f64() * f64::from(QUOTA * TIMES)) as u32;
        while sent < due {
            let (mut connection, call) = (connections[sent as usize % CONNECTIONS].clone(), call.clone());
            tasks.spawn(async move { connection.call(&call).await.map(drop) });
            sent += 1;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
        while let Some(done) = tasks.try_join_next() {
            count(done.unwrap());
        }
    }
    while let Some(done) = tasks.join_next().await {
        count(done.unwrap());
    }
    counts
}

fn tls(folder: &Path) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(folder.join("tls/clients.pem")).unwrap() {
        roots.add(root.unwrap()).unwrap();
    }
    let chain = CertificateDer::pem_file_iter(folder.join("tls/flooder.pem")).unwrap();
    let chain: Vec<_> = chain.collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("tls/flooder.key")).unwrap();
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}
