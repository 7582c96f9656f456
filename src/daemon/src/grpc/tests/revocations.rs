//! The revocation of many leases, as operators ask for it.

use leasehold_core::LeaseId;
use leasehold_proto::v1;
use tonic::Code;

use super::kit::{ADMIN, API, Edge, OTHER, SECRET, reason};

async fn issued(edge: &Edge) -> String {
    let request = v1::IssueLeaseRequest { secret: SECRET.into(), ..Default::default() };
    edge.leases(API).issue_lease(request).await.unwrap().into_inner().lease.unwrap().id
}

fn start(filter: v1::LeaseFilter) -> v1::StartRevocationRequest {
    v1::StartRevocationRequest { filter: Some(filter), reason: "it leaked".into(), ..Default::default() }
}

#[tokio::test(start_paused = true)]
async fn many_leases_are_previewed_ended_watched_and_listed() {
    let edge = Edge::new();
    tokio::spawn(edge.engine.clone().reconcile(edge.stop.subscribe()));
    for _ in 0..5 {
        issued(&edge).await;
    }
    let mut client = edge.operators(ADMIN);
    let filter = v1::LeaseFilter { secret_prefix: "prod/".into(), ..Default::default() };
    let preview = v1::StartRevocationRequest { dry_run: true, ..start(filter.clone()) };
    let preview = client.start_revocation(preview).await.unwrap().into_inner().revocation.unwrap();
    assert_eq!(preview.state(), v1::RevocationState::Previewed);
    assert_eq!((preview.id.as_str(), preview.total_count, preview.filter.as_ref()), ("", 5, Some(&filter)));

    let begun = client.start_revocation(start(filter)).await.unwrap().into_inner().revocation.unwrap();
    assert_eq!((begun.state(), begun.actor.as_str()), (v1::RevocationState::Running, ADMIN));
    let watch = v1::WatchRevocationRequest { revocation_id: begun.id.clone() };
    let mut progress = client.watch_revocation(watch.clone()).await.unwrap().into_inner();
    let mut last = None;
    while let Some(told) = progress.message().await.unwrap() {
        last = told.revocation;
    }
    let last = last.unwrap();
    assert_eq!((last.state(), last.total_count, last.done_count), (v1::RevocationState::Finished, 5, 5));
    assert!(last.end_time.is_some());
    let listed = client.list_revocations(v1::ListRevocationsRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.revocations, [last]);

    let stranger = edge.operators(OTHER).watch_revocation(watch).await.unwrap_err();
    assert_eq!(stranger.code(), Code::PermissionDenied);
    let boundless = client.start_revocation(start(v1::LeaseFilter::default())).await.unwrap_err();
    assert_eq!(reason(&boundless), "INVALID_REQUEST");
}

#[tokio::test(start_paused = true)]
async fn a_listing_is_narrowed_by_all_that_a_filter_has() {
    let edge = Edge::new();
    let id = issued(&edge).await;
    let list = |filter| {
        let mut client = edge.operators(ADMIN);
        async move {
            let request = v1::OperatorServiceListLeasesRequest { filter: Some(filter), ..Default::default() };
            let page = client.list_leases(request).await.unwrap().into_inner();
            page.leases.into_iter().map(|lease| lease.id).collect::<Vec<_>>()
        }
    };
    let version = |version: &str| v1::LeaseFilter {
        secret: SECRET.into(),
        version: version.into(),
        ..Default::default()
    };
    assert_eq!(list(version("v1")).await, [id.as_str()]);
    assert!(list(version("v2")).await.is_empty());
    let provider = |provider: &str| v1::LeaseFilter { provider: provider.into(), ..Default::default() };
    assert_eq!(list(provider("main")).await, [id.as_str()]);
    assert!(list(provider("other")).await.is_empty());
    let state = |state: v1::LeaseState| v1::LeaseFilter { states: vec![state.into()], ..Default::default() };
    assert_eq!(list(state(v1::LeaseState::Active)).await, [id.as_str()]);
    assert!(list(state(v1::LeaseState::Quarantined)).await.is_empty());
    let own = v1::ListLeasesRequest { filter: Some(version("v2")), ..Default::default() };
    assert!(edge.leases(API).list_leases(own).await.unwrap().into_inner().leases.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_on_its_way_out_is_neither_tried_again_nor_given_up() {
    let edge = Edge::new();
    let lease_id = issued(&edge).await;
    let mut client = edge.operators(ADMIN);
    let retry = v1::RetryLeaseRequest { lease_id: lease_id.clone(), ..Default::default() };
    let refused = client.retry_lease(retry.clone()).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "LEASE_NOT_REVOKING"));
    let forget = v1::ForgetLeaseRequest { lease_id, reason: "gone".into(), ..Default::default() };
    assert_eq!(reason(&client.forget_lease(forget.clone()).await.unwrap_err()), "LEASE_NOT_REVOKING");
    let silent = v1::ForgetLeaseRequest { reason: String::new(), ..forget.clone() };
    assert_eq!(client.forget_lease(silent).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(edge.operators(API).retry_lease(retry).await.unwrap_err().code(), Code::PermissionDenied);
    let nobodys = LeaseId::from_bits([9; 16]).to_string();
    let nothing = v1::ForgetLeaseRequest { lease_id: nobodys, ..forget };
    assert_eq!(client.forget_lease(nothing).await.unwrap_err().code(), Code::PermissionDenied);
}
