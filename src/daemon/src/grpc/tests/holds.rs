//! A broker on hold, and orphans, as operators meet them.

use std::time::Duration;

use leasehold_engine::request::HoldReason;
use leasehold_proto::v1;
use tokio::time::sleep;
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::kit::{ADMIN, API, Edge, SECRET, reason};

fn release(reason: &str) -> v1::ReleaseHoldRequest {
    v1::ReleaseHoldRequest { reason: reason.into(), ..Default::default() }
}

async fn health(edge: &Edge, name: &str) -> ServingStatus {
    sleep(Duration::from_millis(1)).await;
    let request = HealthCheckRequest { service: name.to_owned() };
    HealthClient::new(edge.channel(API)).check(request).await.unwrap().into_inner().status()
}

async fn hold(edge: &Edge) -> Option<v1::Hold> {
    edge.operators(ADMIN).get_hold(v1::GetHoldRequest {}).await.unwrap().into_inner().hold
}

#[tokio::test(start_paused = true)]
async fn a_broker_on_hold_says_so_and_is_released_by_whom_policy_lets() {
    let edge = Edge::new();
    assert_eq!(hold(&edge).await, None);
    assert_eq!(health(&edge, "leasehold.hold").await, ServingStatus::Serving);
    edge.engine.take_up(Some(HoldReason::Restored)).await.unwrap();
    assert_eq!(health(&edge, "leasehold.hold").await, ServingStatus::NotServing);
    assert_eq!(health(&edge, "").await, ServingStatus::Serving);
    assert_eq!(hold(&edge).await.unwrap().reason(), v1::HoldReason::Restored);
    let status = edge.operators(ADMIN).get_status(v1::GetStatusRequest {}).await.unwrap().into_inner().status;
    assert!(status.unwrap().on_hold);

    let request = v1::IssueLeaseRequest { secret: SECRET.into(), ..Default::default() };
    let lease = edge.leases(API).issue_lease(request).await.unwrap().into_inner().lease.unwrap();
    let revoke = v1::RevokeLeaseRequest { lease_id: lease.id.clone(), ..Default::default() };
    let refused = edge.leases(API).revoke_lease(revoke.clone()).await.unwrap_err();
    assert_eq!((refused.code(), &*reason(&refused)), (Code::FailedPrecondition, "BROKER_ON_HOLD"));
    sleep(Duration::from_secs(61)).await;
    assert_eq!(hold(&edge).await.unwrap().due_static_lease_count, 1);

    let bad = edge.operators(ADMIN).release_hold(release("")).await.unwrap_err();
    assert_eq!(bad.code(), Code::InvalidArgument);
    let denied = edge.operators(API).release_hold(release("mine")).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    let denied = edge.operators(API).get_hold(v1::GetHoldRequest {}).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    edge.operators(ADMIN).release_hold(release("compared")).await.unwrap();
    assert_eq!(hold(&edge).await, None);
    assert_eq!(health(&edge, "leasehold.hold").await, ServingStatus::Serving);
    edge.leases(API).revoke_lease(revoke).await.unwrap();
    edge.operators(ADMIN).release_hold(release("again")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_back_end_that_makes_nothing_has_no_orphans() {
    let edge = Edge::new();
    let sweep = |provider: &str| v1::SweepOrphansRequest { provider: provider.into(), dry_run: true };
    let swept = edge.operators(ADMIN).sweep_orphans(sweep("")).await.unwrap().into_inner();
    assert_eq!(swept, v1::SweepOrphansResponse::default());
    // Asked for by name, it says that it cannot.
    let swept = edge.operators(ADMIN).sweep_orphans(sweep("main")).await.unwrap().into_inner();
    assert_eq!(swept.failures[0].provider, "main");
    let unknown = edge.operators(ADMIN).sweep_orphans(sweep("other")).await.unwrap_err();
    assert_eq!((unknown.code(), &*reason(&unknown)), (Code::NotFound, "PROVIDER_NOT_FOUND"));
    let denied = edge.operators(API).sweep_orphans(sweep("")).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    let bad = edge.operators(ADMIN).sweep_orphans(sweep("NO")).await.unwrap_err();
    assert_eq!(bad.code(), Code::InvalidArgument);
}
