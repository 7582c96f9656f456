//! Ten thousand who watch one secret, each over a connection of its own: how soon all of them are told that it has another
//! version, and what one of them costs the broker.
//!
//! `LEASEHOLD_FIGURES_WATCHERS` says another number than ten thousand, to try these out; the figures keep their names.

use std::{fs, sync::Arc, time::Duration};

use leasehold_client::Write;
use leasehold_core::SecretValue;
use leasehold_proto::v1::{IssueLeaseRequest, WatchLeasesRequest, WatchSecretRequest};
use leasehold_tests::{
    cpu::CpuTimes,
    daemon::{self, Daemon},
    load::{Call, Connection},
    site::{Plan, SECRET, Site},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::ClientConfig;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{
    figure::{Report, Target},
    scale::ISSUE,
};

pub(crate) const NAMES: [&str; 2] = ["rotation_fanout_10k_p99", "rotation_fanout_rss_per_watcher"];

const WATCH_SECRET: &str = "leasehold.v1.LeaseService/WatchSecret";
const WATCH_LEASES: &str = "leasehold.v1.LeaseService/WatchLeases";
/// So many rotations are told.
const ROUNDS: usize = 7;
/// Whoever is not told by then is not told.
const LATEST: Duration = Duration::from_secs(60);
/// So many connections are opened at once.
const AT_A_TIME: usize = 64;
/// So many more go before them: what the first ones cost the broker is what everybody shares.
const FIRST: usize = 16;

/// What each watcher hands over: when it was told.
type Told = mpsc::UnboundedReceiver<Instant>;

struct Crowd {
    site: Site,
    broker: Daemon,
    told: Told,
    watchers: usize,
    /// What they cost the broker, in KiB each.
    each: f64,
}

pub(crate) async fn all(report: &mut Report) {
    let watchers = std::env::var("LEASEHOLD_FIGURES_WATCHERS").map_or(10_000, |n| n.parse().unwrap());
    raise_file_limit();
    let watch =
        Call::new(WATCH_SECRET, &WatchSecretRequest { secret: SECRET.to_owned(), ..Default::default() });
    let crowd = Crowd::gather(watchers, 10, &[], watch).await;
    let each = crowd.each;
    let p99 = crowd.rotate("who watch the secret").await;
    report.figure("rotation_fanout_10k_p99", p99, "s", Target::AtMost(1.0));
    report.figure("rotation_fanout_rss_per_watcher", each, "KiB", Target::AtMost(64.0));

    // The same news for those who watch their leases: each is told of its own.
    let ttl = Some(prost_types::Duration { seconds: 3600, nanos: 0 });
    let issue = IssueLeaseRequest { secret: SECRET.to_owned(), ttl, ..Default::default() };
    let watch = Call::new(WATCH_LEASES, &WatchLeasesRequest::default());
    let crowd = Crowd::gather(watchers, watchers + FIRST, &[Call::new(ISSUE, &issue)], watch).await;
    crowd.rotate("who watch their leases").await;
}

impl Crowd {
    /// So many watchers under so many names, who make these calls before they watch.
    async fn gather(watchers: usize, names: usize, calls: &[Call], watch: Call) -> Self {
        let site = Site::new(Plan {
            limits: format!(
                "connections = {}\nidle_timeout = \"1h\"\nkeepalive_interval = \"1h\"",
                watchers + 2 * FIRST
            ),
            ..Plan::default()
        });
        site.write("policies/20-crowd.cedar", CROWD);
        let broker = Daemon::start(&site).await;
        daemon::put(&site, SECRET, "a-password-of-32-characters-long").await;
        let principal = |n: usize| format!("spiffe://example.org/prod/crowd/{n}");
        let tls: Vec<_> = (0..names).map(|n| site.tls(Some(&site.identity(&principal(n))))).collect();
        let (tell, mut told) = mpsc::unbounded_channel();
        let first = tls.iter().rev().cloned().cycle().take(FIRST).collect();
        let first = Self::open(&site, first, calls, &watch, &mpsc::unbounded_channel().0).await;
        let (before, began) = (resident_kib(&broker), Instant::now());
        let each = tls.iter().cloned().cycle().take(watchers).collect();
        let held = Self::open(&site, each, calls, &watch, &tell).await;
        Report::note(&format!("{held} watchers have begun within {:.1} s", began.elapsed().as_secs_f64()));
        // What a watch begins with.
        for _ in 0..watchers {
            timeout(LATEST, told.recv()).await.expect("a watch begins with something").unwrap();
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        while told.try_recv().is_ok() {}
        let each = (resident_kib(&broker) - before) / watchers as f64;
        assert_eq!((first, held), (FIRST, watchers));
        Self { site, broker, told, watchers, each }
    }

    /// Opens a connection for each of these, and a watch on it; returns how many there are.
    async fn open(
        site: &Site,
        tls: Vec<Arc<ClientConfig>>,
        calls: &[Call],
        watch: &Call,
        tell: &mpsc::UnboundedSender<Instant>,
    ) -> usize {
        let (address, turns) = (site.address, Arc::new(Semaphore::new(AT_A_TIME)));
        let (calls, watch): (Arc<[Call]>, _) = (calls.into(), Arc::new(watch.clone()));
        let mut opening = JoinSet::new();
        for tls in tls {
            let (turns, calls, watch, tell) = (turns.clone(), calls.clone(), watch.clone(), tell.clone());
            opening.spawn(async move {
                let turn = turns.acquire_owned().await.unwrap();
                let mut connection = Connection::open(address, tls).await.unwrap();
                for call in calls.iter() {
                    connection.call(call).await.unwrap();
                }
                let mut messages = connection.watch(&watch).await.unwrap();
                drop(turn);
                tokio::spawn(async move {
                    let _open = connection;
                    while let Ok(Some(_)) = messages.next().await {
                        let _ = tell.send(Instant::now());
                    }
                });
            });
        }
        opening.join_all().await.len()
    }

    /// Gives the secret other versions, and says how long it took to tell nearly everybody, in seconds.
    async fn rotate(mut self, who: &str) -> f64 {
        let (mut all, mut last) = (Vec::with_capacity(ROUNDS * self.watchers), Vec::new());
        let operator = daemon::operator(&self.site).await.operator();
        let cpu = CpuTimes::of(self.broker.id());
        for round in 0..ROUNDS {
            let write = Write {
                secret: SECRET.parse().unwrap(),
                value: SecretValue::plain(format!("another-password-of-its-own-{round}")),
                expected: None,
                request_id: None,
            };
            let began = Instant::now();
            operator.write_secret(write).await.unwrap();
            let mut latest = Duration::ZERO;
            for n in 0..self.watchers {
                let told = timeout(LATEST, self.told.recv()).await;
                let told =
                    told.unwrap_or_else(|_| panic!("only {n} were told\n{}", self.broker.log())).unwrap();
                let after = told.saturating_duration_since(began);
                latest = latest.max(after);
                all.push(after.as_secs_f64());
            }
            last.push(latest.as_secs_f64());
        }
        all.sort_by(f64::total_cmp);
        let p99 = all[all.len() * 99 / 100];
        Report::note(&format!(
            "{} {who}: told within {:.3} s at the median, p99 {p99:.3} s, the last ones of each rotation {last:.3?} s; \
             {:.1} KiB each with their connections; microseconds of the broker's processor for each that was told: {}",
            self.watchers,
            all[all.len() / 2],
            self.each,
            CpuTimes::of(self.broker.id()).since(&cpu).per_call(all.len() as u64),
        ));
        self.broker.stop().await;
        p99
    }
}

fn resident_kib(broker: &Daemon) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", broker.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// As many descriptors as this process may have; the broker inherits that.
fn raise_file_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("the soft limit may be raised");
}

const CROWD: &str = r#"
@id("test.crowd")
permit (principal in SpiffePath::"spiffe://example.org/prod/crowd", action in [Action::"IssueLease", Action::"RenewLease"],
        resource in SecretPath::"prod/payments");
"#;
