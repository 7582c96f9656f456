//! The revocation of many leases, and what is done with those that could not be ended.

use leasehold_core::{LeaseId, RequestId, RevocationId, SpiffeId, Timestamp, record::Actor};
use serde::{Deserialize, Serialize};

use super::LeaseFilter;

/// End every lease that a filter matches.
#[derive(Clone, Debug)]
pub struct StartRevocation {
    /// Who asks; policy decides `RevokeLease` on each secret.
    pub actor: Actor,
    /// Which leases.
    pub filter: LeaseFilter,
    /// Only say what would be done.
    pub dry_run: bool,
    /// A person's reason, for the records.
    pub reason: String,
    /// The caller's name for this request: the same one within a day is the same revocation.
    pub request_id: Option<RequestId>,
    /// Whether the secrets of the static leases among them are rotated, each once; policy decides `RotateSecret`.
    pub rotate: bool,
}

/// The revocation of many leases as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Its name; a preview has none.
    pub id: Option<RevocationId>,
    /// Which leases.
    pub filter: LeaseFilter,
    /// Why.
    pub reason: String,
    /// Who wants it.
    pub actor: SpiffeId,
    /// Where it is.
    pub state: RevocationState,
    /// When it began: leases that were issued later are not meant.
    pub started_at: Timestamp,
    /// When it came to its end.
    pub ended_at: Option<Timestamp>,
    /// How far it has come.
    pub counts: RevocationCounts,
}

/// Where a revocation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationState {
    /// It goes on.
    Running,
    /// Every lease is over, or put aside.
    Finished,
    /// It was only asked what it would do.
    Previewed,
}

/// How far a revocation has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevocationCounts {
    /// The leases that it is about; while it runs, as far as they were counted.
    pub total: u64,
    /// Of those, the ones that are over.
    pub done: u64,
    /// Of those, the ones that could not be ended yet and are tried on.
    pub failed: u64,
    /// Of those, the ones that were put aside.
    pub quarantined: u64,
}

/// Try at once what is otherwise tried later.
#[derive(Clone, Debug)]
pub struct RetryLease {
    /// Who asks; policy decides `RevokeLease` on its secret.
    pub actor: Actor,
    /// The lease.
    pub lease: LeaseId,
    /// The client's name for this request, for the record.
    pub request_id: Option<RequestId>,
}

/// Give up a lease that cannot be ended.
#[derive(Clone, Debug)]
pub struct ForgetLease {
    /// Who asks; policy decides `ForgetLease` on its secret.
    pub actor: Actor,
    /// The lease.
    pub lease: LeaseId,
    /// A person's reason, for the record.
    pub reason: String,
    /// The client's name for this request, for the record.
    pub request_id: Option<RequestId>,
}

/// What came of revocations since the start, for the broker's own figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RevocationFigures {
    /// The revocations of many leases that go on.
    pub running: u64,
    /// The leases that were given up.
    pub forgotten: u64,
}
