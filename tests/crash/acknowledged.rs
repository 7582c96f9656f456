//! What clients were told, and whether it is still so.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use leasehold_audit::{Head, VerifyReport, verify_against};
use leasehold_client::{Client, Lease, LeaseState};
use leasehold_core::{
    LeaseId, Timestamp,
    record::{Kind, Outcome},
};

/// One lease as its holder knows it.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// As it was in the last answer.
    pub(crate) lease: Lease,
    /// What was asked since then and not answered: it may have happened or not.
    pub(crate) asked: Option<Ask>,
}

/// What can be asked for a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Renew,
    Revoke,
}

/// An answer, as the journal must have it: what happened to which lease, and its end if that was moved.
pub(crate) type Fact = (Kind, LeaseId, Option<Timestamp>);

impl Held {
    /// Compares the lease with what the broker has of it now, and takes that as the last answer.
    ///
    /// # Panics
    /// When something that was acknowledged is not so.
    pub(crate) fn check(&mut self, found: &Lease) {
        let Self { lease, asked } = self;
        let renewed = Lease {
            renewals: lease.renewals + 1,
            expires_at: found.expires_at.max(lease.expires_at),
            ..lease.clone()
        };
        let revoked = Lease {
            state: LeaseState::Revoked,
            ended_at: found.ended_at,
            end_cause: found.end_cause,
            ..lease.clone()
        };
        let happened = match asked {
            Some(Ask::Renew) => *found == renewed,
            Some(Ask::Revoke) => *found == revoked && found.ended_at.is_some(),
            None => false,
        };
        assert!(
            found == lease || happened,
            "known as {lease:#?},\nthen asked {asked:?},\nfound as {found:#?}"
        );
        *self = Self { lease: found.clone(), asked: None };
    }
}

/// All leases of the client.
pub(crate) async fn list(client: &Client) -> HashMap<LeaseId, Lease> {
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
pub(crate) fn verified(journal: &Path, known: Head) -> VerifyReport {
    let known = (known != Head::START).then_some(known);
    let report = verify_against(journal, known).expect("the journal can be read");
    assert!(report.is_whole(), "{report:#?}");
    report
}

/// Checks that the journal has all of these facts after record `after`.
///
/// # Panics
/// When one is missing.
pub(crate) fn recorded(journal: &Path, after: Head, facts: &[Fact]) {
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
pub(crate) fn one_lease_a_request(journal: &Path) {
    let mut leases = HashMap::new();
    for entry in leasehold_audit::read(journal, 1).expect("the journal can be read") {
        let record = entry.expect("the journal is whole").record;
        let issued = record.kind == Kind::LeaseIssued && record.outcome == Outcome::Ok;
        let (Some(id), Some(lease), true) = (record.request_id, record.lease, issued) else { continue };
        let first = *leases.entry(id.clone()).or_insert(lease);
        assert_eq!(first, lease, "two leases for {id}");
    }
}
