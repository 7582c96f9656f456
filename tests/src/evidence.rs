//! What the broker and its journal say when they are asked what they have.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use leasehold_audit::{Head, VerifyReport, verify_against};
use leasehold_client::{Client, Lease};
use leasehold_core::{
    LeaseId, Timestamp,
    record::{Kind, Outcome},
};

/// An answer, as the journal must have it: what happened to which lease, and its end if that was moved.
pub type Fact = (Kind, LeaseId, Option<Timestamp>);

/// All leases of the client, whatever their states.
///
/// # Panics
/// When the broker does not list them.
pub async fn list(client: &Client) -> HashMap<LeaseId, Lease> {
    let (mut all, mut token) = (HashMap::new(), None);
    loop {
        let page = client.list_leases(&[], 1000, token).await.expect("the holder may list its leases");
        all.extend(page.items.into_iter().map(|lease| (lease.id, lease)));
        token = page.next_page_token;
        if token.is_none() {
            return all;
        }
    }
}

/// Checks that the journal is whole and still has the record `known`.
///
/// # Panics
/// When it is not.
pub fn verified(journal: &Path, known: Head) -> VerifyReport {
    let known = (known != Head::START).then_some(known);
    let report = verify_against(journal, known).expect("the journal can be read");
    assert!(report.is_whole(), "{report:#?}");
    report
}

/// Checks that the journal has all of these facts after record `after`.
///
/// # Panics
/// When one is missing.
pub fn recorded(journal: &Path, after: Head, facts: &[Fact]) {
    let entries = leasehold_audit::read(journal, after.seq + 1).expect("the journal can be read");
    let found: HashSet<Fact> = entries
        .map(|entry| entry.expect("the journal is whole").record)
        .filter(|record| record.outcome == Outcome::Ok)
        .filter_map(|record| Some((record.kind, record.lease?, record.expires_at)))
        .collect();
    for fact in facts {
        assert!(found.contains(fact), "acknowledged and not in the journal: {fact:?}");
    }
}

/// Checks that no request id has led to two leases.
///
/// # Panics
/// When one has.
pub fn one_lease_a_request(journal: &Path) {
    let mut leases = HashMap::new();
    for entry in leasehold_audit::read(journal, 1).expect("the journal can be read") {
        let record = entry.expect("the journal is whole").record;
        let issued = record.kind == Kind::LeaseIssued && record.outcome == Outcome::Ok;
        let (Some(id), Some(lease), true) = (record.request_id, record.lease, issued) else { continue };
        let first = *leases.entry(id.clone()).or_insert(lease);
        assert_eq!(first, lease, "two leases for {id}");
    }
}
