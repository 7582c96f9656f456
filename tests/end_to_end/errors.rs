//! What a caller is told when something is wrong: the code, the stable reason, the fields, and when to try again.

use std::time::Duration;

use leasehold_proto::v1::{
    IssueLeaseRequest, ListLeasesRequest, QueryAuditRequest, RenewLeaseRequest, RevokeLeaseRequest,
    SecretValue, WriteSecretRequest,
};
use leasehold_provider_conformance::scripted::{Answer, Reply, ScriptedServer};
use leasehold_tests::{
    daemon::{self, Daemon},
    raw::reason,
    site::{OPERATOR, Plan, SECRET, STRANGER, Site, WORKLOAD},
    wait::until,
};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::kit::{aws, raw};

fn assert_told(status: &Status, code: Code, expected: &str) {
    assert_eq!((status.code(), reason(status).as_str()), (code, expected), "{status:?}");
    assert_eq!(status.get_details_error_info().unwrap().domain, "leasehold.dev");
}

#[tokio::test]
async fn every_field_that_is_wrong_is_named_at_once() {
    let site = Site::new(Plan::default());
    let _daemon = Daemon::start(&site).await;
    let raw = raw(&site, WORKLOAD).await;
    let request = IssueLeaseRequest {
        secret: "prod/../db".into(),
        ttl: Some(prost_types::Duration { seconds: 0, nanos: 5 }),
        fields: vec!["a/b".into()],
        request_id: "a b".into(),
    };
    let status = raw.leases().issue_lease(request).await.unwrap_err();
    assert_told(&status, Code::InvalidArgument, "INVALID_REQUEST");
    let violations = status.get_details_bad_request().unwrap().field_violations;
    let fields: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["secret", "ttl", "fields[0]", "request_id"], "{violations:?}");
    assert!(violations.iter().all(|violation| !violation.description.is_empty()));
}

#[tokio::test]
async fn what_is_denied_and_what_is_not_there_are_one_answer() {
    let site = Site::new(Plan::default());
    let _daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "one").await;
    let (workload, stranger) = (raw(&site, WORKLOAD).await, raw(&site, STRANGER).await);
    let issue = |secret: &str| IssueLeaseRequest { secret: secret.into(), ..Default::default() };
    let denied = stranger.leases().issue_lease(issue(SECRET)).await.unwrap_err();
    let absent = stranger.leases().issue_lease(issue("prod/payments/nothing")).await.unwrap_err();
    let unknown = workload.leases().issue_lease(issue("prod/payments/nothing")).await.unwrap_err();
    assert_told(&denied, Code::PermissionDenied, "DENIED_OR_NOT_FOUND");
    for other in [absent, unknown] {
        assert_eq!(told(&other), told(&denied));
    }
    let held = workload.leases().issue_lease(issue(SECRET)).await.unwrap().into_inner().lease.unwrap();
    let nobodys = "lease-aeaqcaibaeaqcaibaeaqcaibae";
    for lease_id in [held.id.as_str(), nobodys] {
        let request = RevokeLeaseRequest { lease_id: lease_id.into(), ..Default::default() };
        let status = stranger.leases().revoke_lease(request).await.unwrap_err();
        assert_eq!(told(&status), told(&denied));
    }
}

/// What a status says, but for the broker's own name of the call.
fn told(status: &Status) -> (String, String) {
    let mut details = status.get_error_details();
    let call = details.request_info().unwrap().request_id.clone();
    assert!(call.starts_with("call-") && call.len() == 31, "{call}");
    details.set_request_info("", "");
    (status.message().to_owned(), format!("{details:?}"))
}

#[tokio::test]
async fn what_the_state_does_not_allow_has_its_reason() {
    let site = Site::new(Plan::default());
    let _daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "one").await;
    let raw = raw(&site, WORKLOAD).await;
    let mut leases = raw.leases();
    let fields = vec!["password".to_owned()];
    let request = IssueLeaseRequest { secret: SECRET.into(), fields, ..Default::default() };
    let status = leases.issue_lease(request).await.unwrap_err();
    assert_told(&status, Code::InvalidArgument, "FIELD_NOT_FOUND");
    assert_eq!(status.get_details_error_info().unwrap().metadata["field"], "password");

    let request = ListLeasesRequest { page_token: "made-up".into(), ..Default::default() };
    let status = leases.list_leases(request).await.unwrap_err();
    assert_told(&status, Code::InvalidArgument, "PAGE_TOKEN_INVALID");

    let request = IssueLeaseRequest { secret: SECRET.into(), ..Default::default() };
    let lease_id = leases.issue_lease(request).await.unwrap().into_inner().lease.unwrap().id;
    let revoke = RevokeLeaseRequest { lease_id: lease_id.clone(), ..Default::default() };
    for _ in 0..2 {
        leases.revoke_lease(revoke.clone()).await.expect("a second time is a success");
    }
    let renew = RenewLeaseRequest { lease_id, ..Default::default() };
    let status = leases.renew_lease(renew).await.unwrap_err();
    assert_told(&status, Code::FailedPrecondition, "LEASE_REVOKED");
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let site = Site::new(Plan::default());
    let _daemon = Daemon::start(&site).await;
    let raw = raw(&site, OPERATOR).await;
    let write = |bytes: usize| WriteSecretRequest {
        path: SECRET.into(),
        value: Some(SecretValue {
            fields: [("value".to_owned(), vec![b'x'; bytes])].into(),
            content_type: String::new(),
        }),
        ..Default::default()
    };
    let status = raw.operators().write_secret(write(600 << 10)).await.unwrap_err();
    assert_told(&status, Code::InvalidArgument, "INVALID_REQUEST");
    let status = raw.operators().write_secret(write(2 << 20)).await.unwrap_err();
    assert!(matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted), "{status:?}");
    raw.operators().write_secret(write(64 << 10)).await.unwrap();
}

#[tokio::test]
async fn streams_have_a_limit_that_says_when_to_try_again() {
    let site = Site::new(Plan::default());
    let _daemon = Daemon::start(&site).await;
    let raw = raw(&site, OPERATOR).await;
    let follow = QueryAuditRequest { follow: true, ..Default::default() };
    let mut streams = Vec::new();
    let refused = loop {
        match raw.operators().query_audit(follow.clone()).await {
            Ok(stream) => streams.push(stream.into_inner()),
            Err(status) => break status,
        }
        assert!(streams.len() < 100, "there is no limit");
    };
    assert_told(&refused, Code::ResourceExhausted, "TOO_MANY_STREAMS");
    assert!(refused.get_details_retry_info().and_then(|info| info.retry_delay).is_some());
    // Those that were there go on, and one that ends makes room.
    for stream in &mut streams {
        assert!(stream.message().await.unwrap().is_some());
    }
    streams.pop();
    until("there is room again", async || raw.operators().query_audit(follow.clone()).await.is_ok()).await;
}

#[tokio::test]
async fn what_a_back_end_cannot_do_is_said() {
    let upstream = ScriptedServer::start(|_, _| Reply::Cut).await.unwrap();
    let site = Site::new(Plan { more: aws(&upstream.url()), ..Plan::default() });
    site.write("aws.key", "not-a-real-secret-key\n");
    let _daemon = Daemon::start(&site).await;
    let request = WriteSecretRequest {
        path: SECRET.into(),
        value: Some(SecretValue {
            fields: [("value".to_owned(), b"x".to_vec())].into(),
            content_type: String::new(),
        }),
        ..Default::default()
    };
    let status = raw(&site, OPERATOR).await.operators().write_secret(request).await.unwrap_err();
    assert_told(&status, Code::Unimplemented, "PROVIDER_UNSUPPORTED");
    assert_eq!(upstream.calls().load(std::sync::atomic::Ordering::SeqCst), 0, "it was asked nonetheless");
}

#[tokio::test]
async fn a_back_ends_failure_has_its_class_and_says_when_to_try_again() {
    let failure = |status, code: &str| {
        Answer::json(status, format!("{{\"__type\":\"{code}\",\"message\":\"because of db-7\"}}"))
    };
    let cases = [
        (
            failure(400, "ThrottlingException").header("retry-after", "7"),
            Code::ResourceExhausted,
            "PROVIDER_THROTTLED",
            Some(7),
        ),
        (failure(503, "ServiceUnavailable"), Code::Unavailable, "PROVIDER_UNAVAILABLE", Some(1)),
        (failure(400, "AccessDeniedException"), Code::FailedPrecondition, "PROVIDER_DENIED_BROKER", None),
        (failure(400, "ResourceNotFoundException"), Code::FailedPrecondition, "PROVIDER_SECRET_ABSENT", None),
    ];
    for (answer, code, expected, seconds) in cases {
        let upstream = ScriptedServer::start(move |_, _| Reply::Answer(answer.clone())).await.unwrap();
        let site = Site::new(Plan { more: aws(&upstream.url()), ..Plan::default() });
        site.write("aws.key", "not-a-real-secret-key\n");
        let _daemon = Daemon::start(&site).await;
        let raw = raw(&site, WORKLOAD).await;
        let request = IssueLeaseRequest { secret: SECRET.into(), ..Default::default() };
        let status = raw.leases().issue_lease(request).await.unwrap_err();
        assert_told(&status, code, expected);
        let retry = status.get_details_retry_info().and_then(|info| info.retry_delay);
        assert_eq!(retry, seconds.map(Duration::from_secs), "{expected}");
        assert!(!format!("{status:?}").contains("db-7"), "{status:?}");
    }
}
