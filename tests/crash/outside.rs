//! What the broker looks like from outside while it can write nothing, and when it can again.

use std::{collections::HashSet, time::Duration};

use leasehold_client::{Error, Issue, IssuedLease, LeaseState, Write, proto::LedgerHealth};
use leasehold_core::{SecretValue, record::Kind};
use leasehold_tests::{
    daemon,
    site::{SECRET, Site},
};
use tokio::time::{Instant, sleep};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{acknowledged::Held, traffic::Workload};

/// Whether it says that it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Serving {
    Yes,
    No,
}

/// Waits until the health service says so of the broker and of each service. It asks nothing else, so that the broker must
/// find out by itself.
pub(crate) async fn becomes(site: &Site, wanted: Serving) {
    let mut client = HealthClient::new(daemon::operator(site).await.channel());
    let wanted = match wanted {
        Serving::Yes => ServingStatus::Serving,
        Serving::No => ServingStatus::NotServing,
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let mut found = HashSet::new();
        for name in ["", "leasehold.v1.LeaseService", "leasehold.v1.OperatorService"] {
            let request = HealthCheckRequest { service: name.to_owned() };
            found.insert(client.check(request).await.expect("health is told").into_inner().status());
        }
        if found == HashSet::from([wanted]) {
            return;
        }
        assert!(Instant::now() < deadline, "health is {found:?}, not {wanted:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// A lease, as the workload asks for it.
pub(crate) async fn issue(site: &Site) -> Result<IssuedLease, Error> {
    let issue = Issue {
        secret: SECRET.parse().expect("a path"),
        ttl: Some(Duration::from_secs(1000)),
        fields: Vec::new(),
        request_id: None,
    };
    daemon::workload(site).await.issue_lease(issue).await
}

/// Checks that the broker does nothing that it would have to write down, and says so; returns why, as the status tells it.
pub(crate) async fn refuses(
    site: &Site,
    workloads: &[Workload],
    reason: &str,
    health: LedgerHealth,
) -> String {
    assert!(issue(site).await.is_err(), "a lease was issued though nothing can be written");
    becomes(site, Serving::No).await;
    let (client, operator) = (daemon::workload(site).await, daemon::operator(site).await.operator());
    let mut held = workloads.iter().flat_map(|workload| &workload.held);
    let held = held.find(|held| held.lease.state == LeaseState::Active).expect("some lease is active");
    let id = held.lease.id;
    let secret = SECRET.parse().expect("a path");
    let value = SecretValue::plain("another value".to_owned());
    let write = Write { secret, value, expected: None, request_id: None };
    let refusals = [
        issue(site).await.map(drop),
        client.renew_lease(id, Some(Duration::from_secs(3500))).await.map(drop),
        client.revoke_lease(id, None).await.map(drop),
        operator.revoke_leases(&[id], None).await.map(|all| assert!(all[0].outcome.is_err())),
        operator.write_secret(write).await.map(drop),
    ];
    for (n, refusal) in refusals.into_iter().enumerate() {
        match refusal {
            Err(error) => assert_eq!(error.reason(), Some(reason), "call {n}: {error:?}"),
            Ok(()) => assert_eq!(n, 3, "call {n} was answered though nothing can be written"),
        }
    }
    assert_eq!(client.get_lease(id).await.expect("what is known can be read"), held.lease);
    let status = operator.status().await.expect("the status is told above all now").ledger.expect("a ledger");
    assert_eq!(status.health(), health, "{}", status.health_message);
    status.health_message
}

/// Issues, renews and revokes, each of which must work.
pub(crate) async fn works(site: &Site, workloads: &mut [Workload]) {
    let client = daemon::workload(site).await;
    let mut taken = |lease: leasehold_client::Lease, kinds: &[Kind]| {
        let facts = kinds.iter().map(|kind| {
            let end = (*kind != Kind::LeaseRevoked).then_some(lease.expires_at);
            (*kind, lease.id, end)
        });
        workloads[0].facts.extend(facts);
        workloads[0].held.push(Held { lease, asked: None });
    };
    let lease = issue(site).await.expect("it works").lease;
    let renewed = client.renew_lease(lease.id, Some(Duration::from_secs(3000))).await.expect("it works");
    assert!(renewed.expires_at > lease.expires_at);
    taken(renewed, &[Kind::LeaseRenewed]);
    let lease = issue(site).await.expect("it works").lease;
    let revoked = client.revoke_lease(lease.id, None).await.expect("it works");
    assert_eq!(revoked.state, LeaseState::Revoked);
    taken(revoked, &[Kind::LeaseIssued, Kind::LeaseRevoked]);
}
