//! What callers ask of the engine, and what they get: plain types, parsed before they come here.

mod filter;
mod hold;
mod orphan;
mod revocation;
mod rotation;
mod watch_secret;

use std::{sync::Arc, time::Duration};

use leasehold_core::{
    Lease, LeaseId, RequestId, SecretPath, SecretValue, Timestamp,
    catalog::Source,
    path::PathPrefix,
    provider::{Capabilities, Change, Finding, ProviderName, SignIn, VersionFacts},
    record::Actor,
    secret::{FieldName, VersionId},
    state::Revision,
    ttl::TtlLimits,
};

pub use self::{
    filter::{LeaseFilter, StateName},
    hold::{Held, HeldProvider, HoldReason, HoldReport, ReleaseHold},
    orphan::{EndingCounts, Orphan, OrphanState, OrphanSweep, SweepOrphans},
    revocation::{
        ForgetLease, RetryLease, Revocation, RevocationCounts, RevocationFigures, RevocationState,
        StartRevocation,
    },
    rotation::{
        Holders, ListRotations, RotateAnswer, RotateSecret, RotationFilter, RotationPreview, RotationReport,
        SteerRotation, VersionHolder,
    },
    watch_secret::{SecretNews, SecretNotice, WatchSecret},
};
pub use crate::rotation::{RotationFigures, Standing};
pub use crate::watch_leases::{Left, WatchPosition};

/// Take a lease on a secret.
#[derive(Clone, Debug)]
pub struct IssueLease {
    /// Who asks, as the TLS session proved it.
    pub actor: Actor,
    /// The secret.
    pub secret: SecretPath,
    /// How long it is wanted; the secret's default when absent, and never more than its maximum.
    pub ttl: Option<Duration>,
    /// The fields wanted; empty means all.
    pub fields: Vec<FieldName>,
    /// The client's name for this request: a retry within ten minutes gets the same lease.
    pub request_id: Option<RequestId>,
}

/// A lease with its value.
#[derive(Debug)]
pub struct IssuedLease {
    /// The lease.
    pub lease: Lease,
    /// The fields that were asked for.
    pub value: SecretValue,
}

/// Move a lease's end.
#[derive(Clone, Debug)]
pub struct RenewLease {
    /// Who asks: the holder, nobody else.
    pub actor: Actor,
    /// The lease.
    pub lease: LeaseId,
    /// How long from now; the secret's default when absent.
    pub ttl: Option<Duration>,
    /// Whether a static lease is moved to its secret's current version.
    pub accept_rotation: bool,
    /// The client's name for this request, for the record.
    pub request_id: Option<RequestId>,
}

/// A lease whose end was moved.
#[derive(Debug)]
pub struct Renewed {
    /// The lease.
    pub lease: Lease,
    /// The fields that were asked for, when the lease was moved to another version.
    pub value: Option<SecretValue>,
}

/// End a lease.
#[derive(Clone, Debug)]
pub struct RevokeLease {
    /// Who asks: the holder, or somebody whom policy allows `RevokeLease` on the secret.
    pub actor: Actor,
    /// The lease.
    pub lease: LeaseId,
    /// A person's reason, for the record.
    pub reason: Option<String>,
    /// The client's name for this request, for the record.
    pub request_id: Option<RequestId>,
    /// Whether its secret is rotated, if it is a static one; policy decides `RotateSecret`.
    pub rotate: bool,
}

/// List leases, a page at a time, in the order of their ids' keys.
#[derive(Clone, Debug)]
pub struct ListLeases {
    /// Who asks.
    pub actor: Actor,
    /// Whose.
    pub scope: LeaseScope,
    /// Which of them.
    pub filter: LeaseFilter,
    /// At most so many; 1 to 1000.
    pub page_size: usize,
    /// Where the last page ended; opaque to clients.
    pub page_token: Option<String>,
}

/// Whose leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseScope {
    /// The caller's own; needs no policy.
    Own,
    /// Everybody's that policy lets the caller `ReadLease`.
    All,
}

/// One page.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// How to get the next one; absent on the last.
    pub next_page_token: Option<String>,
}

/// What happened to a lease, as its holder's watch tells it.
#[derive(Clone, Debug)]
pub struct LeaseNotice {
    /// The record by which it happened.
    pub revision: Revision,
    /// Where a watch can be resumed when this and everything before it has been told.
    pub resume: WatchPosition,
    /// What happened.
    pub change: LeaseChange,
    /// The lease as it is now.
    pub lease: Arc<Lease>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseChange {
    /// It was there when the watch began.
    Snapshot,
    /// It was issued.
    Issued,
    /// Its end was moved.
    Renewed,
    /// It ended before its time, or is about to.
    Revoked,
    /// It ended at its time.
    Expired,
    /// Its credential could not be revoked yet.
    Quarantined,
    /// Less than a tenth of its time is left, or less than a minute.
    ExpiringSoon,
    /// Its secret has another current version.
    Rotated {
        /// That one.
        current: VersionId,
    },
    /// The version that it is on is retired when nobody holds it any more, and at the deadline whoever holds it.
    Draining {
        /// The latest end.
        deadline: Timestamp,
    },
    /// The version that it is on is of no use any more.
    Retired,
    /// It was moved to the current version.
    Moved,
}

/// A secret as operators see it: never its value.
#[derive(Clone, Debug)]
pub struct SecretDescription {
    /// A path of the catalog, or of the mount that it was found under.
    pub path: SecretPath,
    /// The back end.
    pub provider: ProviderName,
    /// What the back end can do.
    pub capabilities: Capabilities,
    /// Where it comes from.
    pub source: Source,
    /// The limits of its leases.
    pub limits: TtlLimits,
    /// The mount, if it has no entry of its own.
    pub mount: Option<PathPrefix>,
    /// How many leases are live on it.
    pub live_leases: u64,
    /// A sentence for people.
    pub description: Option<Box<str>>,
}

/// Write a new version of a secret of a back end that can be written.
#[derive(Debug)]
pub struct WriteSecret {
    /// Who asks; policy decides `WriteSecret`.
    pub actor: Actor,
    /// The secret.
    pub secret: SecretPath,
    /// Its new value.
    pub value: SecretValue,
    /// The version that must be current, so that nobody's change is overwritten unseen.
    pub expected: Option<VersionId>,
    /// Makes a repeated write the same write.
    pub request_id: Option<RequestId>,
}

/// What the engine knows of itself, for `status`.
#[derive(Clone, Debug)]
pub struct EngineStatus {
    /// By the broker's clock.
    pub now: Timestamp,
    /// Leases that are active.
    pub live_leases: u64,
    /// Leases that could not be revoked.
    pub quarantined_leases: u64,
    /// Configured secrets and mounts.
    pub secrets: usize,
    /// Mounts.
    pub mounts: usize,
    /// Each back end with what it can do and whether its circuit is open.
    pub providers: Vec<ProviderStatus>,
    /// Whether the broker ends nothing.
    pub on_hold: bool,
    /// Credentials without a lease that the last sweeps found and that are not ended yet.
    pub orphans: u64,
}

/// How many leases there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseCounts {
    /// Leases that are active.
    pub live: u64,
    /// Leases that could not be revoked.
    pub quarantined: u64,
}

/// One back end's state.
#[derive(Clone, Debug)]
pub struct ProviderStatus {
    /// Its name.
    pub name: ProviderName,
    /// What it can do.
    pub capabilities: Capabilities,
    /// How the broker itself stands with it.
    pub sign_in: SignIn,
    /// Why it is not being asked just now; absent when it is.
    pub unavailable: Option<String>,
    /// Whether calls go through.
    pub circuit: CircuitState,
    /// What was asked of it since the start.
    pub calls: CallCounts,
    /// Calls that wait for their turn just now.
    pub waiting: usize,
    /// What became of credentials that were to be ended.
    pub endings: EndingCounts,
}

/// Whether calls to a back end go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CircuitState {
    /// They do.
    Closed,
    /// It keeps failing and is given a rest.
    Open,
    /// The rest is over: one call tries whether it is back.
    HalfOpen,
}

/// What was asked of a back end since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// Calls that were made.
    pub calls: u64,
    /// Of those, the ones that were not answered, or failed inside.
    pub failures: u64,
    /// Of those, the ones that were answered with: asked too often.
    pub throttled: u64,
    /// Calls that were not made, because of a limit, a rest or a hint.
    pub turned_away: u64,
    /// How often the circuit opened.
    pub circuit_opened: u64,
}

/// One version of a secret as operators see it: never its value.
#[derive(Clone, Debug)]
pub struct SecretVersion {
    /// What the back end says of it.
    pub facts: VersionFacts,
    /// How many leases are live on it.
    pub live_leases: u64,
}

/// List the versions of a static secret, the newest first.
#[derive(Clone, Debug)]
pub struct ListVersions {
    /// Who asks; policy decides `DescribeSecret`.
    pub actor: Actor,
    /// The secret.
    pub secret: SecretPath,
    /// At most so many; 1 to 1000.
    pub page_size: usize,
    /// Where the last page ended; opaque to clients.
    pub page_token: Option<String>,
}

/// Change a version, or a secret with all its versions, in its back end.
#[derive(Clone, Debug)]
pub struct ChangeSecret {
    /// Who asks; policy decides `ChangeSecret`.
    pub actor: Actor,
    /// The secret.
    pub secret: SecretPath,
    /// What to do.
    pub change: Change,
    /// The version; present if and only if the change is of one.
    pub version: Option<VersionId>,
    /// A person's reason, for the record.
    pub reason: Option<String>,
    /// The client's name for this request, for the record.
    pub request_id: Option<RequestId>,
}

/// What came of trying a back end.
#[derive(Clone, Debug)]
pub struct ProviderCheck {
    /// The back end.
    pub name: ProviderName,
    /// Each step, in the order in which they were tried.
    pub findings: Vec<Finding>,
}
