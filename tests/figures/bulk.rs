//! The revocation of a hundred thousand leases at once: how long it takes, and whether who asks for a new lease meanwhile
//! feels it.

use std::{sync::Arc, time::Duration};

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

pub(crate) async fn all(report: &mut Report) {
    let old = format!(
        "[[secret]]\npath = \"{OLD}\"\nprovider = \"local\"\nref = \"payments-old\"\nttl = \"1h\"\nmax_ttl = \"1h\"\n"
    );
    let scene = Scene::with("", &old).await;
    leasehold_tests::daemon::put(&scene.site, OLD, "another-password-of-32-characters").await;
    let tls = scene.site.tls(Some(&scene.site.identity(OPERATOR)));
    let mut operator = Connection::open(scene.site.address, tls).await.unwrap();
    let calls: Arc<[Call]> = [Call::new(ISSUE, &issue(SECRET))].into();
    let p99 = async |span: Duration| {
        let latencies = open_loop(&scene.connections, &calls, RATE, span).await.unwrap();
        latencies.value_at_quantile(0.99) as f64 / 1000.0
    };
    let (mut times, mut ratios) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        scene.issue(LEASES, || Call::new(ISSUE, &issue(OLD))).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let alone = p99(Duration::from_secs(4)).await;
        let began = Instant::now();
        operator.call(&start(round)).await.unwrap();
        // As long as the revocation goes on, and each time a second of it.
        let (mut during, mut taken): (f64, _) = (0.0, None);
        while taken.is_none() {
            let (seen, end) = tokio::join!(p99(Duration::from_secs(1)), finished(&scene.site, began));
            (during, taken) = (during.max(seen), end);
            assert!(began.elapsed() < Duration::from_secs(90), "the revocation does not end");
        }
        let taken = taken.unwrap().as_secs_f64();
        Report::note(&format!(
            "{LEASES} leases revoked in {taken:.2} s, {:.0} a second; {RATE} new ones a second have p99 {alone:.2} ms \
             alone and {during:.2} ms in the worst second meanwhile",
            LEASES as f64 / taken,
        ));
        times.push(taken);
        ratios.push(during / alone);
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
    let request = StartRevocationRequest { filter, dry_run: false, reason, request_id };
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
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    None
}
