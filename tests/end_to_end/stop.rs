//! The end: what was begun is finished, what waits is told, and the journal is whole.

use std::{
    sync::{Mutex, atomic::Ordering::SeqCst, mpsc},
    time::Duration,
};

use leasehold_client::{Error, LeaseState};
use leasehold_provider_conformance::scripted::{Reply, ScriptedServer};
use leasehold_tests::{
    daemon::{self, Daemon},
    site::{Plan, SECRET, Site},
    wait::until,
};
use rustix::process::Signal;
use tokio::{net::TcpStream, time::Instant};

use crate::kit::{aws, aws_value, issue, lease, leasehold};

/// A site whose secret lives in an AWS that answers by script.
fn site(aws_at: &ScriptedServer, limits: &str) -> Site {
    let plan = Plan { more: aws(&aws_at.url()), limits: limits.into(), ..Plan::default() };
    let site = Site::new(plan);
    site.write("aws.key", "not-a-real-secret-key\n");
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_flight_is_finished_and_its_lease_kept() {
    let (open, gate) = mpsc::channel();
    let gate = Mutex::new(gate);
    let upstream = ScriptedServer::start(move |_, _| {
        let _ = tokio::task::block_in_place(|| gate.lock().unwrap().recv());
        aws_value("hunter2")
    });
    let upstream = upstream.await.unwrap();
    let site = site(&upstream, "");
    let mut daemon = Daemon::start(&site).await;
    let client = daemon::workload(&site).await;
    let mut watch = client.watch_leases(None).await.unwrap();
    let asking = tokio::spawn({
        let client = client.clone();
        async move { client.issue_lease(issue(SECRET)).await }
    });
    // The call is counted when its script begins to wait.
    until("the back end is asked", async || upstream.calls().load(SeqCst) == 1).await;

    daemon.signal(Signal::TERM);
    until("nobody else is let in", async || TcpStream::connect(site.address).await.is_err()).await;
    let told = watch.next().await.expect_err("the watch is told");
    assert_eq!(told.reason(), Some("BROKER_STOPPING"), "{told}");
    assert!(!asking.is_finished());

    open.send(()).unwrap();
    let issued = asking.await.unwrap().expect("what was begun is finished");
    assert_eq!(issued.value.fields.values().next().unwrap().expose(), b"hunter2");
    let status = daemon.ended().await;
    assert_eq!(status.code(), Some(0), "{}", daemon.log());
    assert!(daemon.log().contains("every request is finished"), "{}", daemon.log());

    let state = site.state().display().to_string();
    let verified = leasehold(&site, "operator", &format!("audit verify {state}"));
    assert_eq!(verified.code, 0, "{}", verified.err);
    let tail = leasehold(&site, "operator", &format!("audit tail -n 2 -o jsonl --dir {state}"));
    let kinds: Vec<String> = tail
        .out
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["kind"].as_str().unwrap().into())
        .collect();
    assert_eq!(kinds, ["lease.issued", "broker.stopped"], "{}", tail.out);

    let _again = Daemon::start(&site).await;
    let lease = daemon::workload(&site).await.get_lease(issued.lease.id).await.unwrap();
    assert_eq!(lease.state, LeaseState::Active);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_does_not_end_is_waited_for_only_so_long() {
    let upstream = ScriptedServer::start(|_, _| Reply::Silence).await.unwrap();
    let site = site(&upstream, "drain_timeout = \"1s\"");
    let mut daemon = Daemon::start(&site).await;
    let client = daemon::workload(&site).await;
    let asking = tokio::spawn(async move { client.issue_lease(issue(SECRET)).await });
    until("the back end is asked", async || upstream.calls().load(SeqCst) == 1).await;
    let began = Instant::now();
    daemon.signal(Signal::TERM);
    let status = daemon.ended().await;
    assert_eq!(status.code(), Some(0), "{}", daemon.log());
    assert!(began.elapsed() >= Duration::from_secs(1), "it was not waited for: {:?}", began.elapsed());
    let failed = asking.await.unwrap().expect_err("nothing was disclosed");
    assert!(matches!(failed, Error::Unavailable { .. } | Error::Failed { .. }), "{failed:?}");
}

#[tokio::test]
async fn both_signals_end_it_in_order() {
    let site = Site::new(Plan::default());
    for signal in [Signal::TERM, Signal::INT] {
        let mut daemon = Daemon::start(&site).await;
        daemon::put(&site, SECRET, "one").await;
        lease(&daemon::workload(&site).await).await;
        daemon.signal(signal);
        assert_eq!(daemon.ended().await.code(), Some(0), "{}", daemon.log());
    }
    let state = site.state().display().to_string();
    let stops =
        leasehold(&site, "operator", &format!("audit query --kind broker.stopped -o jsonl --dir {state}"));
    let reasons: Vec<_> = stops.out.lines().map(|line| line.contains("SIGTERM")).collect();
    assert_eq!(reasons, [true, false], "{}", stops.out);
}
