//! Many leases ended at once, as operators do it in an incident.

use std::time::Duration;

use leasehold_client::{LeaseFilter, StartRevocation, proto};
use leasehold_tests::{
    daemon::{self, Daemon},
    site::{Plan, SECRET, Site, WORKLOAD},
    wait::until,
};
use serde_json::Value;

use crate::kit::{Ran, lease, leasehold, records};

fn lines(ran: &Ran) -> Vec<Value> {
    ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn json(ran: &Ran) -> Value {
    assert_eq!(ran.code, 0, "{ran:?}");
    serde_json::from_str(&ran.out).unwrap()
}

async fn live(site: &Site) -> i64 {
    daemon::operator(site).await.operator().status().await.unwrap().live_lease_count
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secrets_leases_are_previewed_and_ended_by_one_command() {
    let site = Site::new(Plan::default());
    let _daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "one").await;
    let client = daemon::workload(&site).await;
    for _ in 0..30 {
        lease(&client).await;
    }
    let which = format!("lease revoke --secret {SECRET} --reason leaked");
    let preview = json(&leasehold(&site, "operator", &format!("{which} --dry-run -o json")));
    assert_eq!((&preview["state"], &preview["total"]), (&"previewed".into(), &30.into()));
    let unasked = leasehold(&site, "operator", &which);
    assert_eq!(unasked.code, 2, "{unasked:?}");
    assert!(unasked.err.contains("30 leases") && unasked.err.contains("--yes"), "{unasked:?}");
    assert_eq!(live(&site).await, 30);

    let ended = leasehold(&site, "operator", &format!("{which} --yes -o jsonl"));
    assert_eq!(ended.code, 0, "{ended:?}");
    let told = lines(&ended);
    let last = told.last().unwrap();
    assert_eq!((&last["state"], &last["total"], &last["done"]), (&"finished".into(), &30.into(), &30.into()));
    assert_eq!(live(&site).await, 0);
    let ended = records(&site, "lease.revoked").await;
    assert_eq!(ended.len(), 30);
    assert!(ended.iter().all(|record| record.details["reason"] == "leaked"), "{ended:?}");

    let id = last["id"].as_str().unwrap();
    let listed = lines(&leasehold(&site, "operator", "revocation list -o jsonl"));
    assert_eq!((listed.len(), &listed[0]["id"]), (1, &id.into()));
    let watched = leasehold(&site, "operator", &format!("revocation watch {id}"));
    assert!(watched.code == 0 && watched.out.contains("finished"), "{watched:?}");
    assert_eq!(leasehold(&site, "workload", "revocation list").code, 3);
    let nothing =
        leasehold(&site, "operator", "lease revoke --prefix prod/other/ --reason leaked --yes -o json");
    assert_eq!(json(&nothing)["total"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_live_is_neither_tried_again_nor_forgotten() {
    let site = Site::new(Plan::default());
    let forget = r#"@id("test.forget")
        permit (principal is Operator, action == Action::"ForgetLease", resource);"#;
    site.write("policies/20-forget.cedar", forget);
    let _daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "one").await;
    let id = lease(&daemon::workload(&site).await).await.lease.id;
    for line in [format!("lease retry {id}"), format!("lease forget {id} --reason gone --yes")] {
        let refused = leasehold(&site, "operator", &line);
        assert_eq!(refused.code, 7, "{refused:?}");
        assert!(refused.err.contains("[LEASE_NOT_REVOKING]"), "{refused:?}");
        assert_eq!(leasehold(&site, "stranger", &line).code, 3);
    }
    let unasked = leasehold(&site, "operator", &format!("lease forget {id} --reason gone"));
    assert!(unasked.code == 2 && unasked.err.contains("--yes"), "{unasked:?}");
    let aside =
        leasehold(&site, "operator", "lease list --all --state quarantined --state forgotten -o json");
    assert_eq!(json(&aside), Value::Array(Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_goes_on_after_a_kill() {
    const LEASES: usize = 800;
    let site = Site::new(Plan::default());
    let killed = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "one").await;
    let client = daemon::workload(&site).await;
    let taking = (0..8).map(|_| {
        let client = client.clone();
        tokio::spawn(async move {
            for _ in 0..LEASES / 8 {
                lease(&client).await;
            }
        })
    });
    for taken in taking.collect::<Vec<_>>() {
        taken.await.unwrap();
    }
    let start = StartRevocation {
        filter: LeaseFilter { holder: Some(WORKLOAD.parse().unwrap()), ..LeaseFilter::default() },
        dry_run: false,
        reason: "the laptop was stolen".into(),
        request_id: None,
        rotate: false,
    };
    let operator = daemon::operator(&site).await.operator();
    let begun = operator.start_revocation(start).await.unwrap();
    until("some leases are ended", async || live(&site).await < 790).await;
    killed.kill();

    let _daemon = Daemon::start(&site).await;
    let operator = daemon::operator(&site).await.operator();
    let mut progress = operator.watch_revocation(begun.id.parse().unwrap()).await.unwrap();
    let mut last = None;
    let watching = async {
        while let Some(told) = progress.next().await.unwrap() {
            last = Some(told);
        }
    };
    tokio::time::timeout(Duration::from_secs(60), watching).await.unwrap();
    let last = last.unwrap();
    assert_eq!(last.state(), proto::RevocationState::Finished);
    assert_eq!((last.total_count, last.done_count), (800, 800));
    assert_eq!(live(&site).await, 0);
    assert_eq!(records(&site, "lease.revoked").await.len(), LEASES, "each has its record, and one");
    let verified = leasehold(&site, "operator", &format!("audit verify {}", site.state().display()));
    assert_eq!(verified.code, 0, "{verified:?}");
}
