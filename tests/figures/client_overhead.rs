//! What the Rust client costs beside a bare generated stub: the same lease, over the same kind of connection, by turns.

use leasehold_client::Issue;
use leasehold_proto::v1::{IssueLeaseRequest, lease_service_client::LeaseServiceClient};
use leasehold_tests::{
    daemon::{self, Daemon},
    site::{Plan, SECRET, Site},
};
use tokio::time::Instant;

use crate::figure::{Report, Target, median};

const PAIRS: usize = 3_000;
const WARM_UP: usize = 300;

pub(crate) async fn ratio(report: &mut Report) {
    let site = Site::new(Plan::default());
    let broker = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "a-password-of-32-characters-long").await;
    let client = site.client("workload").retries(true).connect().await.unwrap();
    // A connection of its own, made by the same hand: what is compared is what stands above it.
    let other = site.client("workload").connect().await.unwrap();
    let mut stub = LeaseServiceClient::new(other.channel());
    let secret: leasehold_core::SecretPath = SECRET.parse().unwrap();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for number in 0..WARM_UP + PAIRS {
        // The stub's caller names its requests, too: that is what makes them safe to repeat, and the broker's work is alike.
        let request_id = format!("of-the-stub-{number:014}");
        let request = IssueLeaseRequest { secret: SECRET.to_owned(), request_id, ..Default::default() };
        let issue = Issue { secret: secret.clone(), ttl: None, fields: Vec::new(), request_id: None };
        // Who is first changes, too.
        for turn in 0..2 {
            let begin = Instant::now();
            if (number + turn) % 2 == 0 {
                let issued = client.issue_lease(issue.clone()).await.unwrap();
                ours.push(begin.elapsed().as_secs_f64());
                drop(issued);
            } else {
                let issued = stub.issue_lease(request.clone()).await.unwrap();
                theirs.push(begin.elapsed().as_secs_f64());
                drop(issued);
            }
        }
    }
    broker.stop().await;
    let (ours, theirs) = (median(&mut ours[WARM_UP..]), median(&mut theirs[WARM_UP..]));
    Report::note(&format!(
        "a lease takes {:.3} ms by the client, {:.3} ms by the stub",
        ours * 1e3,
        theirs * 1e3
    ));
    report.figure("client_lease_overhead", ours / theirs, "ratio", Target::AtMost(1.1));
}
