//! What people see.

use std::{collections::BTreeMap, sync::atomic::Ordering::SeqCst};

use leasehold_core::{LeaseId, provider::Change, record::Kind};
use leasehold_proto::v1::{self, revoke_lease_result::Outcome};
use tonic::Code;

use super::kit::{ADMIN, API, Edge, SECRET, VALUE, reason};

async fn issued(edge: &Edge) -> v1::Lease {
    let request = v1::IssueLeaseRequest { secret: SECRET.into(), ..Default::default() };
    edge.leases(API).issue_lease(request).await.unwrap().into_inner().lease.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_operator_sees_and_takes_anybodys_leases() {
    let edge = Edge::new();
    let lease = issued(&edge).await;
    let mut client = edge.operators(ADMIN);
    let filter = v1::LeaseFilter { holder: API.into(), secret: SECRET.into(), ..Default::default() };
    let request = v1::OperatorServiceListLeasesRequest { filter: Some(filter), ..Default::default() };
    let page = client.list_leases(request).await.unwrap().into_inner();
    assert_eq!(page.leases, std::slice::from_ref(&lease));

    let nobodys = LeaseId::from_bits([9; 16]).to_string();
    let request = v1::RevokeLeasesRequest {
        lease_ids: vec![lease.id.clone(), nobodys.clone()],
        reason: "the laptop was stolen".into(),
        ..Default::default()
    };
    let results = client.revoke_leases(request).await.unwrap().into_inner().results;
    assert_eq!([&results[0].lease_id, &results[1].lease_id], [&lease.id, &nobodys]);
    let Some(Outcome::Lease(revoked)) = &results[0].outcome else { panic!("{results:?}") };
    assert_eq!(revoked.end_cause(), v1::LeaseEndCause::Operator);
    let Some(Outcome::Failure(failure)) = &results[1].outcome else { panic!("{results:?}") };
    assert_eq!(failure.reason(), v1::ErrorReason::DeniedOrNotFound);
}

#[tokio::test(start_paused = true)]
async fn a_workload_sees_nobodys_leases_but_its_own() {
    let edge = Edge::new();
    issued(&edge).await;
    let request = v1::OperatorServiceListLeasesRequest::default();
    let page = edge.operators(API).list_leases(request).await.unwrap().into_inner();
    assert!(page.leases.is_empty());
    for refused in [
        edge.operators(API).get_status(v1::GetStatusRequest {}).await.map(drop),
        edge.operators(API).query_audit(v1::QueryAuditRequest::default()).await.map(drop),
        edge.operators(API).get_secret(v1::GetSecretRequest { path: SECRET.into() }).await.map(drop),
    ] {
        assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    }
}

#[tokio::test(start_paused = true)]
async fn secrets_are_listed_described_and_written_without_their_values() {
    let edge = Edge::new();
    issued(&edge).await;
    let mut client = edge.operators(ADMIN);
    let request = v1::ListSecretsRequest { prefix: "prod/".into(), ..Default::default() };
    let listed = client.list_secrets(request).await.unwrap().into_inner().secrets;
    let request = v1::GetSecretRequest { path: SECRET.into() };
    let secret = client.get_secret(request).await.unwrap().into_inner().secret.unwrap();
    assert_eq!(listed, std::slice::from_ref(&secret));
    assert_eq!(secret.live_lease_count, 1);
    assert_eq!(secret.description, "the payments database");
    let reference = v1::StaticSource { reference: "db".into() };
    assert_eq!(secret.source, Some(v1::secret::Source::StaticSource(reference)));

    let value = v1::SecretValue {
        fields: BTreeMap::from([("value".to_owned(), VALUE.as_bytes().to_vec())]),
        content_type: String::new(),
    };
    let request = v1::WriteSecretRequest { path: SECRET.into(), value: Some(value), ..Default::default() };
    assert_eq!(client.write_secret(request).await.unwrap().into_inner().version, "v2");
    let records = edge.ledger.records();
    assert!(records.iter().any(|record| record.kind == Kind::SecretWritten));
    assert!(!format!("{records:?}").contains(VALUE));
}

#[tokio::test(start_paused = true)]
async fn status_joins_what_engine_and_composition_know() {
    let edge = Edge::new();
    issued(&edge).await;
    let answer = edge.operators(ADMIN).get_status(v1::GetStatusRequest {}).await.unwrap();
    let status = answer.into_inner().status.unwrap();
    assert_eq!((status.live_lease_count, status.secret_count), (1, 1));
    assert_eq!((status.node.as_str(), status.trust_domain.as_str()), ("a", "example.org"));
    assert_eq!(status.ledger.unwrap().health(), v1::LedgerHealth::Ok);
    assert_eq!(status.providers[0].name, "main");
    assert_eq!(status.policies.unwrap().digest, "d1");
}

#[tokio::test(start_paused = true)]
async fn a_page_token_of_another_call_is_refused() {
    let edge = Edge::new();
    let request = v1::ListSecretsRequest { page_token: "Li4v".into(), ..Default::default() };
    let refused = edge.operators(ADMIN).list_secrets(request).await.unwrap_err();
    assert_eq!(reason(&refused), "PAGE_TOKEN_INVALID");
}

#[tokio::test(start_paused = true)]
async fn versions_are_listed_with_their_leases_and_changed() {
    let edge = Edge::new();
    issued(&edge).await;
    let mut client = edge.operators(ADMIN);
    let request = v1::ListSecretVersionsRequest { path: SECRET.into(), page_size: 1, ..Default::default() };
    let page = client.list_secret_versions(request.clone()).await.unwrap().into_inner();
    let [newest] = page.versions.as_slice() else { panic!("{page:?}") };
    assert_eq!((newest.version.as_str(), newest.live_lease_count, newest.current), ("v1", 1, true));
    assert_eq!(newest.state(), v1::SecretVersionState::Enabled);
    let next = v1::ListSecretVersionsRequest { page_token: page.next_page_token, ..request };
    let page = client.list_secret_versions(next).await.unwrap().into_inner();
    assert_eq!(page.versions[0].state(), v1::SecretVersionState::Destroyed);
    assert_eq!(page.next_page_token, "");

    let disable = v1::ChangeSecretRequest {
        path: SECRET.into(),
        change: v1::SecretChange::Disable.into(),
        version: "v1".into(),
        reason: "it leaked".into(),
        ..Default::default()
    };
    client.change_secret(disable.clone()).await.unwrap();
    assert_eq!(*edge.facts.changed.lock().unwrap(), [(Change::Disable, Some("v1".parse().unwrap()))]);
    let record = edge.ledger.records().pop().unwrap();
    assert_eq!((record.kind, record.details["reason"].as_str()), (Kind::SecretChanged, "it leaked"));
    let refused = edge.operators(API).change_secret(disable.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let faulty = v1::ChangeSecretRequest { version: String::new(), ..disable };
    assert_eq!(client.change_secret(faulty).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(start_paused = true)]
async fn a_back_end_is_tried_and_says_what_is_missing() {
    let edge = Edge::new();
    let mut client = edge.operators(ADMIN);
    let all = client.check_provider(v1::CheckProviderRequest::default()).await.unwrap().into_inner();
    assert_eq!((all.checks.len(), all.checks[0].provider.as_str()), (1, "main"));
    assert_eq!(all.checks[0].findings[0].message, "2 demands");
    edge.facts.failing.store(true, SeqCst);
    let one = v1::CheckProviderRequest { provider: "main".into() };
    let tried = client.check_provider(one.clone()).await.unwrap().into_inner();
    let failed = &tried.checks[0].findings[1];
    assert_eq!((failed.verdict(), failed.grant.as_str()), (v1::ProviderVerdict::Failed, "allow read"));
    let other = v1::CheckProviderRequest { provider: "other".into() };
    let missing = client.check_provider(other).await.unwrap_err();
    assert_eq!((missing.code(), reason(&missing).as_str()), (Code::NotFound, "PROVIDER_NOT_FOUND"));
    let refused = edge.operators(API).check_provider(one).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}

#[tokio::test(start_paused = true)]
async fn the_status_says_how_each_back_end_does() {
    let edge = Edge::new();
    edge.facts.failing.store(true, SeqCst);
    edge.facts.credentials_end.store(500, SeqCst);
    let request = v1::ListSecretVersionsRequest { path: SECRET.into(), ..Default::default() };
    for _ in 0..6 {
        let failed = edge.operators(ADMIN).list_secret_versions(request.clone()).await.unwrap_err();
        assert_eq!(reason(&failed), "PROVIDER_UNAVAILABLE");
    }
    let answer = edge.operators(ADMIN).get_status(v1::GetStatusRequest {}).await.unwrap();
    let provider = answer.into_inner().status.unwrap().providers.remove(0);
    assert_eq!(provider.circuit(), v1::CircuitState::Open);
    assert!(provider.unavailable_reason.contains("given a rest"), "{}", provider.unavailable_reason);
    assert_eq!((provider.call_count, provider.failure_count, provider.turned_away_count), (5, 5, 1));
    assert_eq!(provider.circuit_open_count, 1);
    assert_eq!(provider.credential_expire_time.map(|time| time.seconds), Some(500));
    assert_eq!(provider.sign_in_problem, "refused");
}
