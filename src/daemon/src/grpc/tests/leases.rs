//! What workloads see.

use std::sync::atomic::Ordering::SeqCst;

use futures::StreamExt;
use leasehold_core::{
    LeaseId,
    record::{Kind, Outcome},
};
use leasehold_proto::v1::{self, lease_service_client::LeaseServiceClient, watch_leases_response::Event};
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;
use tower::ServiceExt;

use super::kit::{API, Channel, Edge, OTHER, SECRET, VALUE, reason, told};
use crate::grpc::Settings;

fn issue(secret: &str) -> v1::IssueLeaseRequest {
    v1::IssueLeaseRequest { secret: secret.into(), ..v1::IssueLeaseRequest::default() }
}

async fn issued(client: &mut LeaseServiceClient<Channel>) -> v1::Lease {
    client.issue_lease(issue(SECRET)).await.unwrap().into_inner().lease.unwrap()
}

/// What happens next, passing over that a lease ends soon.
async fn happened(watch: &mut Streaming<v1::WatchLeasesResponse>) -> (String, v1::LeaseChange, v1::Lease) {
    loop {
        let told = event(watch.next().await);
        if told.1 != v1::LeaseChange::ExpiringSoon {
            return told;
        }
    }
}

fn event(response: Option<Result<v1::WatchLeasesResponse, Status>>) -> (String, v1::LeaseChange, v1::Lease) {
    let response = response.unwrap().unwrap();
    let Some(Event::LeaseEvent(event)) = response.event else { panic!("no event") };
    (response.resume_token, event.change(), event.lease.unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_lease_lives_from_issue_to_revocation() {
    let edge = Edge::new();
    let mut client = edge.leases(API);
    let answer = client.issue_lease(issue(SECRET)).await.unwrap().into_inner();
    let value = answer.value.as_ref().unwrap();
    assert_eq!(value.fields["value"], VALUE.as_bytes());
    assert_eq!(value.content_type, "text/plain");
    assert!(!format!("{answer:?}").contains(VALUE));
    let lease = answer.lease.unwrap();
    assert_eq!((lease.holder.as_str(), lease.version.as_str()), (API, "v1"));

    let ttl = Some(prost_types::Duration { seconds: 300, nanos: 0 });
    let renew = v1::RenewLeaseRequest { lease_id: lease.id.clone(), ttl, ..Default::default() };
    let renewed = client.renew_lease(renew).await.unwrap().into_inner().lease.unwrap();
    assert!(renewed.expire_time.unwrap().seconds > lease.expire_time.unwrap().seconds);
    assert_eq!(renewed.renewal_count, 1);

    let get = v1::GetLeaseRequest { lease_id: lease.id.clone() };
    let seen = client.get_lease(get).await.unwrap().into_inner().lease.unwrap();
    assert_eq!(seen, renewed);

    let revoke = v1::RevokeLeaseRequest { lease_id: lease.id.clone(), ..Default::default() };
    let revoked = client.revoke_lease(revoke).await.unwrap().into_inner().lease.unwrap();
    assert_eq!((revoked.state(), revoked.end_cause()), (v1::LeaseState::Revoked, v1::LeaseEndCause::Holder));

    let renew = v1::RenewLeaseRequest { lease_id: lease.id, ..Default::default() };
    let refused = client.renew_lease(renew).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "LEASE_REVOKED"));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_allowed_and_what_is_not_there_look_the_same() {
    let edge = Edge::new();
    let denied = edge.leases(OTHER).issue_lease(issue(SECRET)).await.unwrap_err();
    let absent = edge.leases(API).issue_lease(issue("prod/payments/nothing")).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    assert_eq!(reason(&denied), "DENIED_OR_NOT_FOUND");
    assert_eq!(told(&denied), told(&absent));

    let lease_id = issued(&mut edge.leases(API)).await.id;
    let others = edge.leases(OTHER).get_lease(v1::GetLeaseRequest { lease_id }).await.unwrap_err();
    let lease_id = LeaseId::from_bits([9; 16]).to_string();
    let nobodys = edge.leases(OTHER).get_lease(v1::GetLeaseRequest { lease_id }).await.unwrap_err();
    assert_eq!(told(&others), told(&nobodys));
    assert_eq!(told(&others), told(&denied));
}

#[tokio::test(start_paused = true)]
async fn whoever_is_refused_is_told_by_which_name_the_audit_log_has_it() {
    let edge = Edge::new();
    let call = |status: &Status| status.get_details_request_info().unwrap().request_id;
    let denied = edge.leases(OTHER).issue_lease(issue(SECRET)).await.unwrap_err();
    let record = edge.ledger.records().pop().unwrap();
    assert_eq!((record.outcome, record.details["call"].clone()), (Outcome::Denied, call(&denied)));
    edge.facts.failing.store(true, SeqCst);
    let failed = edge.leases(API).issue_lease(issue(SECRET)).await.unwrap_err();
    let record = edge.ledger.records().pop().unwrap();
    assert!(matches!(record.outcome, Outcome::Failed { .. }));
    assert_eq!(record.details["call"], call(&failed));
    assert_ne!(call(&denied), call(&failed));
    let watch = v1::WatchSecretRequest { secret: SECRET.into(), ..Default::default() };
    let watched = edge.leases(OTHER).watch_secret(watch).await.unwrap_err();
    let status = edge.operators(OTHER).get_status(v1::GetStatusRequest {}).await.unwrap_err();
    assert!(call(&watched).starts_with("call-") && call(&status).starts_with("call-"));
    edge.facts.failing.store(false, SeqCst);
    issued(&mut edge.leases(API)).await;
    let record = edge.ledger.records().pop().unwrap();
    assert!(!record.details.contains_key("call"), "who was not refused has nothing to ask about");
}

#[tokio::test(start_paused = true)]
async fn a_bad_request_never_reaches_the_engine() {
    let edge = Edge::new();
    let refused = edge.leases(API).issue_lease(issue("../etc/passwd")).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "INVALID_REQUEST"));
    assert_eq!(refused.get_details_bad_request().unwrap().field_violations[0].field, "secret");
    assert_eq!(edge.ledger.records().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn without_an_identity_there_is_no_answer() {
    let edge = Edge::new();
    let mut client = LeaseServiceClient::new(edge.routes.clone().boxed_clone());
    let refused = client.issue_lease(issue(SECRET)).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unauthenticated, "IDENTITY_MISSING"));
}

#[tokio::test(start_paused = true)]
async fn pages_follow_one_another_and_filters_hold() {
    let edge = Edge::new();
    let mut client = edge.leases(API);
    let mut expected = Vec::new();
    for _ in 0..5 {
        expected.push(issued(&mut client).await.id);
    }
    expected.sort();
    let revoke = v1::RevokeLeaseRequest { lease_id: expected[0].clone(), ..Default::default() };
    client.revoke_lease(revoke).await.unwrap();

    let filter = v1::LeaseFilter { states: vec![v1::LeaseState::Active.into()], ..Default::default() };
    let mut request = v1::ListLeasesRequest { page_size: 2, filter: Some(filter), ..Default::default() };
    let mut seen = Vec::new();
    loop {
        let page = client.list_leases(request.clone()).await.unwrap().into_inner();
        assert!(page.leases.len() <= 2);
        seen.extend(page.leases.into_iter().map(|lease| lease.id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(seen, expected[1..]);

    for page_token in ["lease/x", "bGVhc2UveA"] {
        let request = v1::ListLeasesRequest { page_token: page_token.into(), ..Default::default() };
        let refused = client.list_leases(request).await.unwrap_err();
        assert_eq!(reason(&refused), "PAGE_TOKEN_INVALID", "{page_token}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_tells_what_is_and_what_happens_and_can_be_resumed() {
    let edge = Edge::new();
    let mut client = edge.leases(API);
    let first = issued(&mut client).await;
    let mut watch = client.watch_leases(v1::WatchLeasesRequest::default()).await.unwrap().into_inner();
    let (_, change, lease) = happened(&mut watch).await;
    assert_eq!((change, lease.id.as_str()), (v1::LeaseChange::Snapshot, first.id.as_str()));
    // A minute is all that it has.
    let (_, change, lease) = event(watch.next().await);
    assert_eq!((change, lease.id.as_str()), (v1::LeaseChange::ExpiringSoon, first.id.as_str()));

    let second = issued(&mut client).await;
    let (place, change, lease) = happened(&mut watch).await;
    assert_eq!((change, lease.id.as_str()), (v1::LeaseChange::Issued, second.id.as_str()));
    drop(watch);

    let revoke = v1::RevokeLeaseRequest { lease_id: first.id.clone(), ..Default::default() };
    client.revoke_lease(revoke).await.unwrap();
    let resume = v1::WatchLeasesRequest { resume_token: place };
    let mut watch = client.watch_leases(resume).await.unwrap().into_inner();
    let (_, change, lease) = happened(&mut watch).await;
    assert_eq!((change, lease.id), (v1::LeaseChange::Revoked, first.id));

    let bad = v1::WatchLeasesRequest { resume_token: "7".into() };
    let refused = client.watch_leases(bad).await.unwrap_err();
    assert_eq!(refused.get_details_bad_request().unwrap().field_violations[0].field, "resume_token");
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_does_not_read_is_told_that_it_lags() {
    let edge = Edge::new();
    let mut client = edge.leases(API);
    let mut watch = client.watch_leases(v1::WatchLeasesRequest::default()).await.unwrap().into_inner();
    for _ in 0..2000 {
        issued(&mut client).await;
    }
    let mut last = None;
    while let Some(response) = watch.next().await {
        last = Some(response);
    }
    let refused = last.unwrap().unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Aborted, "WATCH_LAGGED"));
}

#[tokio::test(start_paused = true)]
async fn watches_are_limited_and_their_places_come_back() {
    let edge = Edge::with(Settings { max_watches_per_principal: 1, ..Settings::default() });
    let mut client = edge.leases(API);
    let held = client.watch_leases(v1::WatchLeasesRequest::default()).await.unwrap();
    let refused = client.watch_leases(v1::WatchLeasesRequest::default()).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::ResourceExhausted, "TOO_MANY_STREAMS"));
    assert!(refused.get_details_retry_info().is_some());
    let limit = refused.get_details_error_info().unwrap().metadata["limit"].clone();
    assert_eq!(limit, "limits.watches_per_principal");
    assert!(refused.message().contains(&limit), "{refused:?}");
    drop(held);
    client.watch_leases(v1::WatchLeasesRequest::default()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_request_id_makes_a_retry_the_same_lease() {
    let edge = Edge::new();
    let mut client = edge.leases(API);
    let request = v1::IssueLeaseRequest { request_id: "r-1".into(), ..issue(SECRET) };
    let first = client.issue_lease(request.clone()).await.unwrap().into_inner();
    let again = client.issue_lease(request.clone()).await.unwrap().into_inner();
    assert_eq!(first.lease.unwrap().id, again.lease.unwrap().id);
    let other = v1::IssueLeaseRequest { fields: vec!["value".into()], ..request };
    let refused = client.issue_lease(other).await.unwrap_err();
    assert_eq!(reason(&refused), "REQUEST_ID_REUSED");
    let issued = edge.ledger.records().into_iter().filter(|record| record.kind == Kind::LeaseIssued);
    assert!(issued.count() >= 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_too_large_is_refused_before_it_is_read() {
    let edge = Edge::with(Settings { max_request_bytes: 100, ..Settings::default() });
    let refused = edge.leases(API).issue_lease(issue(&"a".repeat(101))).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
}
