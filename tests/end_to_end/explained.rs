//! Who is told why they were denied: whom policy lets know, and nobody else.

use std::collections::BTreeMap;

use leasehold_proto::v1::{IssueLeaseRequest, RevokeLeaseRequest, WriteSecretRequest};
use leasehold_tests::{
    daemon::{self, Daemon},
    raw::{Raw, reason},
    site::{OPERATOR, Plan, SECRET, STRANGER, Site, WORKLOAD},
};
use tonic::Status;
use tonic_types::StatusExt;

use crate::kit::{issue, leasehold, raw};

const ABSENT: &str = "prod/payments/nothing";
const EXPLAIN: &str = r#"
@id("test.explain")
permit (principal is Operator, action == Action::"ExplainDenial", resource in SecretPath::"prod");
"#;

/// What is said of why.
fn why(status: &Status) -> BTreeMap<String, String> {
    assert_eq!(reason(status), "DENIED_OR_NOT_FOUND", "{status:?}");
    assert_eq!(status.message(), "not allowed, or no such thing");
    status.get_details_error_info().unwrap().metadata.into_iter().collect()
}

async fn denied(raw: &Raw, secret: &str) -> Status {
    let request = IssueLeaseRequest { secret: secret.into(), ..Default::default() };
    raw.leases().issue_lease(request).await.unwrap_err()
}

/// What an answer says, to the byte, but for the broker's own name of the call.
fn bytes(status: &Status) -> Vec<u8> {
    let call = status.get_details_request_info().unwrap().request_id;
    let bytes = status.details().to_vec();
    let at = bytes.windows(call.len()).position(|part| part == call.as_bytes()).unwrap();
    let (before, rest) = bytes.split_at(at);
    [before, rest.split_at(call.len()).1].concat()
}

#[tokio::test]
async fn a_denied_operator_sees_what_would_have_allowed_it_only_where_policy_explains_it() {
    let site = Site::new(Plan::default());
    let daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "one").await;
    let (operator, stranger, workload) =
        (raw(&site, OPERATOR).await, raw(&site, STRANGER).await, raw(&site, WORKLOAD).await);
    let silent = denied(&operator, SECRET).await;
    assert_eq!(why(&silent), BTreeMap::new(), "nobody is told without a policy");
    let silent = bytes(&silent);
    assert_eq!(bytes(&denied(&operator, ABSENT).await), silent);
    let ran = leasehold(&site, "operator", &format!("lease get {SECRET}"));
    assert!(ran.code == 3 && ran.err.lines().count() == 1, "{ran:?}");
    assert!(ran.err.contains("leasehold policy explain"), "it says whom to ask: {ran:?}");

    site.write("policies/20-explain.cedar", EXPLAIN);
    daemon.signal(rustix::process::Signal::HUP);
    daemon.says("reloaded: ").await;
    let told = denied(&operator, SECRET).await;
    let said = why(&told);
    assert_eq!(said["policy_grounds"], "NOT_PERMITTED");
    assert!(
        said["policies"].starts_with("permit test.lease (10-tests.cedar:2) is for other principals: "),
        "{said:?}"
    );
    assert!(said["policy_principal"].starts_with("Operator::\"spiffe://example.org/operator/admin\""));
    assert_eq!(why(&denied(&operator, ABSENT).await), said, "it says nothing of what there is");
    assert!(told.details().len() < 4096, "it has to fit into the trailers of every client");

    // Beyond what policy explains to the operator, and to all others, it is as it was.
    assert_eq!(bytes(&denied(&operator, "dev/payments/db").await), silent);
    for (who, secret) in [(&stranger, SECRET), (&stranger, ABSENT), (&workload, ABSENT)] {
        assert_eq!(bytes(&denied(who, secret).await), silent, "{secret}");
    }
    // Nor does a lease's id lead to its secret.
    let held = IssueLeaseRequest { secret: SECRET.into(), ..Default::default() };
    let held = workload.leases().issue_lease(held).await.unwrap().into_inner().lease.unwrap();
    let revoke = RevokeLeaseRequest { lease_id: held.id, ..Default::default() };
    assert_eq!(bytes(&stranger.leases().revoke_lease(revoke).await.unwrap_err()), silent);

    // Who would be served is told that there is nothing: had there been something, they would have it.
    let write = WriteSecretRequest {
        path: ABSENT.into(),
        value: Some(leasehold_proto::v1::SecretValue {
            fields: [("value".to_owned(), b"x".to_vec())].into(),
            content_type: String::new(),
        }),
        ..Default::default()
    };
    let nothing = operator.operators().write_secret(write).await.unwrap_err();
    assert_eq!(why(&nothing)["policy_grounds"], "PERMITTED");
}

#[tokio::test]
async fn the_sdk_the_command_line_and_the_journal_have_the_explanation() {
    let site = Site::new(Plan::default());
    site.write("policies/20-explain.cedar", EXPLAIN);
    let _daemon = Daemon::start(&site).await;
    daemon::put(&site, SECRET, "one").await;
    let error =
        site.client("operator").connect().await.unwrap().issue_lease(issue(SECRET)).await.unwrap_err();
    let explanation = error.explanation().expect("policy lets the operator know");
    assert_eq!(explanation.grounds, "NOT_PERMITTED");
    assert!(explanation.policies[0].contains("test.lease"), "{explanation:?}");
    let stranger = site.client("stranger").connect().await.unwrap();
    assert_eq!(stranger.issue_lease(issue(SECRET)).await.unwrap_err().explanation(), None);

    let ran = leasehold(&site, "operator", &format!("lease get {SECRET}"));
    assert_eq!(ran.code, 3, "{ran:?}");
    let lines: Vec<_> = ran.err.lines().collect();
    assert!(
        lines[0].ends_with("; no policy permits it, and these would but for one thing:")
            && lines[0].contains("[DENIED_OR_NOT_FOUND] (request call-"),
        "{ran:?}"
    );
    assert!(
        lines[1].starts_with("  permit test.lease (10-tests.cedar:2) is for other principals"),
        "{ran:?}"
    );
    assert!(ran.err.contains("\n  you are Operator::") && ran.err.contains("\n  next: "), "{ran:?}");

    let found = leasehold(&site, "operator", "audit query --outcome denied -o jsonl");
    let explained: Vec<_> = found.out.lines().map(|line| line.contains("\"explained\":\"true\"")).collect();
    assert_eq!(explained, [true, false, true], "{found:?}");
}
