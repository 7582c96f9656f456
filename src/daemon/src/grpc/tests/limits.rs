//! What a principal sees who asks too often or holds too much.

use std::{num::NonZeroU32, time::Duration};

use leasehold_core::record::{Kind, Outcome};
use leasehold_proto::v1;
use tonic::{Code, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt;

use super::kit::{ADMIN, API, Edge, OTHER, SECRET, reason};
use crate::grpc::{Rate, Rates, Settings};

fn edge(burst: u32) -> Edge {
    let rate = |burst| Rate {
        per_second: NonZeroU32::new(2).unwrap(),
        burst: NonZeroU32::new(burst).unwrap(),
        in_flight: 100,
    };
    Edge::within(Settings::default(), Rates { workloads: rate(burst), operators: rate(1) })
}

fn issue() -> v1::IssueLeaseRequest {
    v1::IssueLeaseRequest { secret: SECRET.into(), ..Default::default() }
}

/// The limit that was met, and when to come again.
fn told(status: &Status) -> (String, Duration) {
    assert_eq!((status.code(), reason(status).as_str()), (Code::ResourceExhausted, "RATE_LIMITED"));
    let limit = status.get_details_error_info().unwrap().metadata["limit"].clone();
    (limit, status.get_details_retry_info().unwrap().retry_delay.unwrap())
}

#[tokio::test(start_paused = true)]
async fn who_asks_too_often_is_told_by_which_limit_and_when_to_come_again() {
    let edge = edge(2);
    let mut client = edge.leases(API);
    let lease = client.issue_lease(issue()).await.unwrap().into_inner().lease.unwrap();
    client.get_lease(v1::GetLeaseRequest { lease_id: lease.id.clone() }).await.unwrap();
    let (limit, delay) = told(&client.issue_lease(issue()).await.unwrap_err());
    assert_eq!((limit.as_str(), delay), ("limits.requests_per_principal", Duration::from_millis(500)));
    // Whatever is asked; and nothing of it was decided or written down.
    told(&client.get_lease(v1::GetLeaseRequest { lease_id: lease.id }).await.unwrap_err());
    let records = edge.ledger.records().len();
    told(&edge.leases(API).issue_lease(issue()).await.unwrap_err());
    let mut health = HealthClient::new(edge.channel(API));
    told(&health.check(HealthCheckRequest::default()).await.unwrap_err());
    assert_eq!(edge.ledger.records().len(), records);
    // Others come through, and so does whoever waits as told.
    let denied = edge.leases(OTHER).issue_lease(issue()).await.unwrap_err();
    assert_eq!(reason(&denied), "DENIED_OR_NOT_FOUND");
    tokio::time::advance(delay).await;
    client.issue_lease(issue()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn operators_have_a_limit_of_their_own() {
    let edge = edge(2);
    let mut client = edge.operators(ADMIN);
    client.get_status(v1::GetStatusRequest {}).await.unwrap();
    let (limit, _) = told(&client.get_status(v1::GetStatusRequest {}).await.unwrap_err());
    assert_eq!(limit, "limits.operator_requests_per_principal");
    HealthClient::new(edge.channel(ADMIN)).check(HealthCheckRequest::default()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_one_record_a_minute_and_is_counted() {
    let edge = edge(1);
    let mut client = edge.leases(API);
    client.issue_lease(issue()).await.unwrap();
    for _ in 0..500 {
        told(&client.issue_lease(issue()).await.unwrap_err());
    }
    let limited = |edge: &Edge| {
        let records = edge.ledger.records().into_iter().filter(|record| record.kind == Kind::RequestLimited);
        records.collect::<Vec<_>>()
    };
    assert!(limited(&edge).is_empty());
    assert!(edge.rates.totals().contains(&("limits.requests_per_principal", 500)));
    tokio::time::sleep(Duration::from_secs(61)).await;
    let records = limited(&edge);
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].actor.id.as_str(), records[0].details["requests"].as_str()), (API, "500"));
    assert_eq!(records[0].outcome, Outcome::Failed { reason: "RATE_LIMITED".into() });
    // And none for a minute in which nobody was turned away.
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(limited(&edge).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_counted_when_the_broker_ends_is_written_down() {
    let edge = edge(1);
    let mut client = edge.leases(API);
    client.issue_lease(issue()).await.unwrap();
    told(&client.issue_lease(issue()).await.unwrap_err());
    edge.stop.send_replace(true);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(edge.ledger.records().last().unwrap().kind, Kind::RequestLimited);
}

#[tokio::test(start_paused = true)]
async fn a_request_of_a_workload_is_short() {
    let edge = Edge::new();
    let request = v1::IssueLeaseRequest { secret: "x".repeat(20 << 10), ..Default::default() };
    let refused = edge.leases(API).issue_lease(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
}
