//! Orphans as operators see them: credentials at a back end that carry the broker's tag and that no lease stands for.

use leasehold_core::{LeaseId, Timestamp, provider::ProviderName, record::Actor};

/// Look for orphans, and end those that are orphans for longer than the grace period.
#[derive(Clone, Debug)]
pub struct SweepOrphans {
    /// Who asks; policy decides `SweepOrphans` on the broker.
    pub actor: Actor,
    /// Of one back end; of all that can list what they made when absent.
    pub provider: Option<ProviderName>,
    /// Whether nothing is to be ended.
    pub dry_run: bool,
}

/// What a sweep came to.
#[derive(Clone, Debug, Default)]
pub struct OrphanSweep {
    /// What was found, by back end.
    pub orphans: Vec<Orphan>,
    /// The back ends that could not be asked, each with why.
    pub failures: Vec<(ProviderName, String)>,
}

/// One orphan.
#[derive(Clone, Debug)]
pub struct Orphan {
    /// The back end.
    pub provider: ProviderName,
    /// The back end's own name for it.
    pub name: String,
    /// The lease that it was made for, as its tag says.
    pub lease: LeaseId,
    /// When this process saw it first.
    pub first_seen: Timestamp,
    /// What was done with it.
    pub state: OrphanState,
}

/// What was done with an orphan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrphanState {
    /// It is left alone until the grace period is over.
    InGrace,
    /// It was ended.
    Revoked,
    /// It could not be ended, and why; the next sweep tries again.
    Failed(String),
    /// Nothing: nothing was to be ended, or the broker is on hold.
    Left,
}

/// What became of the credentials that a back end was told to end, beside the calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndingCounts {
    /// Orphans that the last sweep found and that are not ended; not since the start, but now.
    pub orphans: u64,
    /// Orphans that were ended.
    pub orphans_revoked: u64,
    /// Attempts to end an orphan that failed.
    pub orphans_failed: u64,
    /// Credentials that the back end said it had ended, and that were seen to work on.
    pub still_valid: u64,
}
