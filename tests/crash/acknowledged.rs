//! What clients were told, and whether it is still so.

use leasehold_client::{Lease, LeaseState};
pub(crate) use leasehold_tests::evidence::{Fact, list, one_lease_a_request, recorded, verified};

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
