//! What people ask of rotations, and what they get.

use std::sync::Arc;

use leasehold_core::{
    RequestId, SecretPath, Timestamp,
    path::PathPrefix,
    record::Actor,
    rotation::{Plan, Rotation, Stage},
};

pub use crate::rotation::{RotationPreview, VersionHolder};

/// Rotate a secret now.
#[derive(Clone, Debug)]
pub struct RotateSecret {
    /// Who asks; policy decides `RotateSecret`.
    pub actor: Actor,
    /// The secret.
    pub secret: SecretPath,
    /// Only say what would be done, and whether it could be.
    pub dry_run: bool,
    /// A person's reason, for the records.
    pub reason: Option<String>,
    /// The client's name for this request, for the records.
    pub request_id: Option<RequestId>,
}

/// What came of asking for a rotation.
#[derive(Clone, Debug)]
pub struct RotateAnswer {
    /// The rotation as it is now.
    pub rotation: RotationReport,
    /// Of a dry run: what would be done.
    pub preview: Option<RotationPreview>,
}

/// Pause or resume a secret's rotation, or take it back.
#[derive(Clone, Debug)]
pub struct SteerRotation {
    /// Who asks; policy decides `RotateSecret`.
    pub actor: Actor,
    /// The secret.
    pub secret: SecretPath,
    /// A person's reason, for the record.
    pub reason: Option<String>,
    /// The client's name for this request, for the record.
    pub request_id: Option<RequestId>,
}

/// List the secrets that are rotated, a page at a time, in the order of their paths.
#[derive(Clone, Debug)]
pub struct ListRotations {
    /// Who asks; policy decides `DescribeSecret` on each.
    pub actor: Actor,
    /// Which.
    pub filter: RotationFilter,
    /// At most so many; 1 to 1000.
    pub page_size: usize,
    /// Where the last page ended; opaque to clients.
    pub page_token: Option<String>,
}

/// Everything that is given must match, and nothing given matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RotationFilter {
    /// The secrets under a prefix.
    pub prefix: Option<PathPrefix>,
    /// Where the rotation is, one of these; `None` stands for none under way. Empty means anywhere.
    pub stages: Vec<Option<Stage>>,
    /// Only those that have a failure, are late, or are paused.
    pub attention: bool,
}

/// A secret's rotation as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationReport {
    /// What is known of it.
    pub rotation: Rotation,
    /// How it is rotated by the configuration in force; absent when that does not say.
    pub plan: Option<Arc<Plan>>,
    /// When something is done about it next.
    pub next: Option<Timestamp>,
    /// Why it is not done although its time has come.
    pub late: Option<String>,
    /// How many live leases are on other versions than the current one.
    pub old_leases: u64,
    /// Of one that is under way: who holds the version that it replaces, when that was asked for.
    pub holders: Holders,
}

/// Who holds a version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holders {
    /// How many live leases are on it.
    pub total: u64,
    /// Some of them.
    pub some: Vec<VersionHolder>,
}
