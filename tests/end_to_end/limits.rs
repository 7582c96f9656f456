//! Limits, as those who meet them and those who look after them see them.

use std::net::{SocketAddr, TcpListener};

use leasehold_provider_conformance::http::Call;
use leasehold_tests::{
    daemon::{self, Daemon},
    site::{Plan, SECRET, Site, WORKLOAD},
};

use crate::kit::{issue, lease, leasehold};

fn site(limits: &str, more: &str) -> Site {
    let plan = Plan::default();
    Site::new(Plan { limits: limits.to_owned(), more: more.to_owned() + &plan.more, ..plan })
}

#[tokio::test]
async fn a_principal_has_so_many_leases_and_gets_another_for_one_that_it_gives_back() {
    let site = site("leases_per_principal = 2", "");
    let mut daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "one").await;
    let client = daemon::workload(&site).await;
    let first = lease(&client).await.lease.id;
    lease(&client).await;
    let refused = client.issue_lease(issue(SECRET)).await.unwrap_err();
    assert_eq!(refused.reason(), Some("QUOTA_EXCEEDED"));
    assert!(refused.retry_after().is_some());
    let ran = leasehold(&site, "workload", &format!("lease get {SECRET}"));
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.err.contains("`limits.leases_per_principal`"), "{ran:?}");
    assert!(ran.err.contains("try again in 1 s"), "{ran:?}");

    let held = leasehold(&site, "operator", &format!("lease list --holder {WORKLOAD} --output jsonl"));
    assert_eq!((held.code, held.out.lines().count()), (0, 2), "{held:?}");
    // A restart gives nobody more.
    assert!(daemon.stop().await.success());
    daemon = Daemon::start(&site).await;
    daemon.says("the leases of earlier processes are counted").await;
    let client = daemon::workload(&site).await;
    assert_eq!(client.issue_lease(issue(SECRET)).await.unwrap_err().reason(), Some("QUOTA_EXCEEDED"));
    let revoked = leasehold(&site, "workload", &format!("lease revoke {first}"));
    assert_eq!(revoked.code, 0, "{revoked:?}");
    lease(&client).await;
    assert_eq!(client.issue_lease(issue(SECRET)).await.unwrap_err().reason(), Some("QUOTA_EXCEEDED"));
    assert!(daemon.stop().await.success());
}

#[tokio::test]
async fn a_secrets_limit_changes_with_a_reload() {
    let site = site("", "");
    let daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "one").await;
    let client = daemon::workload(&site).await;
    lease(&client).await;
    let text = std::fs::read_to_string(site.path("leasehold.toml")).unwrap();
    site.write("leasehold.toml", &text.replace("ttl = \"10m\"", "max_leases = 2\nttl = \"10m\""));
    assert!(daemon.reload(&site).await.rejection.is_empty());
    lease(&client).await;
    let ran = leasehold(&site, "workload", &format!("lease get {SECRET}"));
    assert!(ran.code == 4 && ran.err.contains("`secret.max_leases`"), "{ran:?}");
    assert!(daemon.stop().await.success());
}

#[tokio::test]
async fn a_flood_is_turned_away_counted_and_told_in_one_record() {
    let address: SocketAddr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let metrics = format!("[metrics]\naddress = \"{address}\"\n\n");
    let site = site("requests_per_principal = 1\nrequest_burst = 3", &metrics);
    let daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "one").await;
    let client = daemon::workload(&site).await;
    let mut refused = 0_u32;
    for _ in 0..60 {
        match client.issue_lease(issue(SECRET)).await {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.reason(), Some("RATE_LIMITED"), "{error}");
                let delay = error.retry_after().unwrap();
                assert!(!delay.is_zero() && delay.as_secs() <= 1, "{delay:?}");
                refused += 1;
            }
        }
    }
    assert!(refused > 30, "{refused}");
    // An operator is not concerned by what workloads do.
    assert_eq!(leasehold(&site, "operator", "status").code, 0);
    let answer = Call::new("GET", format!("http://{address}/metrics")).send().await.unwrap();
    let shown = String::from_utf8(answer.body).unwrap();
    let line =
        format!("leasehold_requests_limited_total{{limit=\"limits.requests_per_principal\"}} {refused}");
    assert!(shown.lines().any(|shown| shown == line), "nothing of {line} in\n{shown}");
    assert!(daemon.stop().await.success());

    // Written down when the broker ends, if its minute was not over.
    let dir = site.state().display().to_string();
    let query = format!("audit query --kind request.limited --actor {WORKLOAD} --output jsonl --dir {dir}");
    let ran = leasehold(&site, "operator", &query);
    assert_eq!((ran.code, ran.out.lines().count()), (0, 1), "{ran:?}");
    assert!(ran.out.contains(&format!("\"requests\":\"{refused}\"")), "{ran:?}");
}
