//! What people see.

use std::collections::BTreeMap;

use leasehold_core::{LeaseId, record::Kind};
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
