//! What workloads get: leases and values, as typed as in the domain.

use leasehold_core::{
    LeaseId, SecretPath, SecretValue, SpiffeId, Timestamp,
    provider::{ProviderName, Verification},
    secret::{FieldName, VersionId},
};

/// One principal's time-bounded hold on one version of a secret, without the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its name; it grants nothing.
    pub id: LeaseId,
    /// Whose it is.
    pub holder: SpiffeId,
    /// The secret.
    pub secret: SecretPath,
    /// The version held; absent while a dynamic credential is being made.
    pub version: Option<VersionId>,
    /// Where the secret lives.
    pub provider: ProviderName,
    /// Whether the value was made for this lease alone.
    pub dynamic: bool,
    /// The fields that were asked for; empty means all.
    pub fields: Vec<FieldName>,
    /// Where it is in its life, as the broker saw it when it answered.
    pub state: LeaseState,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it ends unless renewed: the value is not used after that.
    pub expires_at: Timestamp,
    /// When it ends at the latest.
    pub max_expires_at: Timestamp,
    /// How often it was renewed.
    pub renewals: u32,
    /// When the back end last confirmed the value, if it was served past its freshness.
    pub stale_since: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why it ended or is to end.
    pub end_cause: Option<EndCause>,
    /// Present when nothing can end the credential before its time: it works until then, even after a revocation.
    pub irrevocable_until: Option<Timestamp>,
    /// Whether the credential is dead, once its back end said that it ended it.
    pub verification: Option<Verification>,
    /// How far the broker has come with ending the credential, while the lease is `Revoking` or `Quarantined`.
    pub ending: Option<Ending>,
}

/// How far the broker has come with ending a credential at its back end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// How often it was tried in vain.
    pub failed_attempts: u32,
    /// When it is tried next.
    pub next_attempt_at: Option<Timestamp>,
}

/// Where a lease is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LeaseState {
    /// The intent is durable; the credential may or may not exist yet.
    Pending,
    /// Held.
    Active,
    /// Being ended at the back end.
    Revoking,
    /// Ended before its time.
    Revoked,
    /// Ended at its time.
    Expired,
    /// Could not be ended at the back end yet.
    Quarantined,
    /// Given up by an operator: whether its credential still works is unknown.
    Forgotten,
    /// Something that this version does not know.
    Unknown,
}

/// Why a lease ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndCause {
    /// Its time came.
    Expiry,
    /// Its holder gave it back.
    Holder,
    /// An operator took it.
    Operator,
    /// It was begun and never confirmed.
    Abandoned,
    /// The back end ended its credential without being asked.
    Upstream,
    /// Something that this version does not know.
    Unknown,
}

/// A lease with its value.
#[derive(Debug)]
pub struct IssuedLease {
    /// The lease.
    pub lease: Lease,
    /// The fields that were asked for. Wiped when dropped, never printed.
    pub value: SecretValue,
}

/// A lease that was renewed, and moved if it was on an older version.
#[derive(Debug)]
pub struct RenewedLease {
    /// The lease.
    pub lease: Lease,
    /// The fields that were asked for, at the lease's new version; absent when it is on the same one as before.
    pub value: Option<SecretValue>,
}

/// Something that happened to one of the caller's leases.
#[derive(Clone, Debug)]
pub struct Notice {
    /// Where a watch can be resumed once this has been handled.
    pub resume_token: String,
    /// What happened.
    pub change: LeaseChange,
    /// The lease after that.
    pub lease: Lease,
    /// The version that is current; of [`LeaseChange::Rotated`] only.
    pub current_version: Option<VersionId>,
    /// Until when the lease's version works at the latest; of [`LeaseChange::Draining`] only.
    pub drain_deadline: Option<Timestamp>,
}

/// What can happen to a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LeaseChange {
    /// Nothing: it was there when the watch began.
    Snapshot,
    /// It was issued.
    Issued,
    /// Its end was moved.
    Renewed,
    /// It was ended before its time, or is being ended: the value is not used any more.
    Revoked,
    /// It ended at its time: the value is not used any more.
    Expired,
    /// Its credential could not be ended at the back end yet.
    Quarantined,
    /// Little of its time is left: renew it or take a new one.
    ExpiringSoon,
    /// The secret has another current version: this one still works.
    Rotated,
    /// The lease was moved to the current version.
    Moved,
    /// The version that the lease is on is retired when nobody holds it any more, and at the deadline whoever holds it.
    Draining,
    /// The version that the lease is on is of no use any more: the value is not used any more.
    Retired,
    /// Something that this version does not know.
    Unknown,
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// What is on it; it may be empty and not be the last.
    pub items: Vec<T>,
    /// How to get the next one; absent on the last.
    pub next_page_token: Option<String>,
}

impl LeaseState {
    /// The state's name, as the command line and the audit journal have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Revoking => "revoking",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Quarantined => "quarantined",
            Self::Forgotten => "forgotten",
            Self::Unknown => "unknown",
        }
    }
}

impl EndCause {
    /// The cause's name, as the command line and the audit journal have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expiry => "expiry",
            Self::Holder => "holder",
            Self::Operator => "operator",
            Self::Abandoned => "abandoned",
            Self::Upstream => "upstream",
            Self::Unknown => "unknown",
        }
    }
}
