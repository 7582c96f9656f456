//! The revocation of a hundred thousand leases at once: how long it takes, and whether who asks for a new lease meanwhile
//! feels it.

use std::{sync::Arc, time::Duration};

use hdrhistogram::Histogram;
use leasehold_proto::v1::{
    IssueLeaseRequest, LeaseFilter, ListRevocationsRequest, ListRevocationsResponse, Revocation,
    RevocationState, StartRevocationRequest,
};
use leasehold_tests::{
    load::{Call, Connection, open_loop},
    site::{OPERATOR, SECRET, Site},
};
use prost::Message;
use tokio::time::Instant;

use crate::{
    figure::{Report, Target, median},
    scale::{ISSUE, Scene},
};

pub(crate) const NAMES: [&str; 2] = ["bulk_revoke_100k", "issue_p99_during_bulk_ratio"];

const LEASES: u64 = 100_000;
/// The leases that are taken; new ones are on [`SECRET`] meanwhile.
const OLD: &str = "prod/payments/old";
/// New leases a second: a busy day of a large site, and a small part of what the machine could do.
const RATE: f64 = 1000.0;
const ROUNDS: usize = 3;
/// So many seconds without a revocation, to compare with.
const ALONE: usize = 12;

/// How long those who asked for leases waited.
struct Seen {
    all: Histogram<u64>,
    /// The p99 of the worst second, in milliseconds.
    worst: f64,
}

impl Default for Seen {
    fn default() -> Self {
        Self { all: Histogram::new(3).unwrap(), worst: 0.0 }
    }
}

impl Seen {
    fn add(&mut self, second: &Histogram<u64>) {
        self.all.add(second).unwrap();
        self.worst = self.worst.max(p99(second));
    }

    fn p99(&self) -> f64 {
        p99(&self.all)
    }
}

fn p99(latencies: &Histogram<u64>) -> f64 {
    latencies.value_at_quantile(0.99) as f64 / 1000.0
}

pub(crate) async fn all(report: &mut Report) {
    let old = format!(
        "[[secret]]\npath = \"{OLD}\"\nprovider = \"local\"\nref = \"payments-old\"\nttl = \"1h\"\nmax_ttl = \"1h\"\n"
    );
    let scene = Scene::with("", &old).await;
    leasehold_tests::daemon::put(&scene.site, OLD, "another-password-of-32-characters").await;
    let tls = scene.site.tls(Some(&scene.site.identity(OPERATOR)));
    let mut operator = Connection::open(scene.site.address, tls).await.unwrap();
    let calls: Arc<[Call]> = [Call::new(ISSUE, &issue(SECRET))].into();
    let second = async || open_loop(&scene.connections, &calls, RATE, Duration::from_secs(1)).await.unwrap();
    let (mut times, mut ratios) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        scene.issue(LEASES, || Call::new(ISSUE, &issue(OLD))).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        // Both for some ten seconds or more, a second at a time.
        let (mut alone, mut during) = (Seen::default(), Seen::default());
        for _ in 0..ALONE {
            alone.add(&second().await);
        }
        let began = Instant::now();
        operator.call(&start(round)).await.unwrap();
        let mut taken = None;
        while taken.is_none() {
            let (seen, end) = tokio::join!(second(), finished(&scene.site, began));
            during.add(&seen);
            taken = end;
            assert!(began.elapsed() < Duration::from_secs(90), "the revocation does not end");
        }
        let taken = taken.unwrap().as_secs_f64();
        Report::note(&format!(
            "{LEASES} leases revoked in {taken:.2} s, {:.0} a second; {RATE} new ones a second have p99 {:.2} ms \
             alone ({:.2} in the worst second) and {:.2} ms meanwhile ({:.2} in the worst second)",
            LEASES as f64 / taken,
            alone.p99(),
            alone.worst,
            during.p99(),
            during.worst,
        ));
        times.push(taken);
        ratios.push(during.p99() / alone.p99());
    }
    report.figure("bulk_revoke_100k", median(&mut times), "s", Target::AtMost(30.0));
    report.figure("issue_p99_during_bulk_ratio", median(&mut ratios), "ratio", Target::AtMost(2.0));
    scene.broker.stop().await;
}

fn issue(secret: &str) -> IssueLeaseRequest {
    let ttl = Some(prost_types::Duration { seconds: 1800, nanos: 0 });
    IssueLeaseRequest { secret: secret.to_owned(), ttl, ..IssueLeaseRequest::default() }
}

fn start(round: usize) -> Call {
    let filter = Some(LeaseFilter { secret: OLD.to_owned(), ..LeaseFilter::default() });
    let (reason, request_id) = ("a figure".to_owned(), format!("bulk-{round}"));
    let request = StartRevocationRequest { filter, dry_run: false, reason, request_id, rotate: false };
    Call::new("leasehold.v1.OperatorService/StartRevocation", &request)
}

/// Waits at most a second for every revocation to end; how long that took since `began`.
async fn finished(site: &Site, began: Instant) -> Option<Duration> {
    let tls = site.tls(Some(&site.identity(OPERATOR)));
    let mut operator = Connection::open(site.address, tls).await.unwrap();
    let list = ListRevocationsRequest { page_size: 10, page_token: String::new() };
    let list = Call::new("leasehold.v1.OperatorService/ListRevocations", &list);
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until {
        let answer = ListRevocationsResponse::decode(operator.call(&list).await.unwrap()).unwrap();
        let is_over = |one: &Revocation| one.state() == RevocationState::Finished;
        if !answer.revocations.is_empty() && answer.revocations.iter().all(is_over) {
            let done: i64 = answer.revocations.iter().map(|one| one.done_count).sum();
            assert_eq!(done, LEASES as i64 * answer.revocations.len() as i64, "{:?}", answer.revocations);
            return Some(began.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    None
}
