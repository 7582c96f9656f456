//! The hold as operators see it.

use leasehold_core::{RequestId, Timestamp, provider::ProviderName, record::Actor};
use serde::{Deserialize, Serialize};

/// Since when and why the broker ends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Since when.
    pub since: Timestamp,
    /// Why.
    pub reason: HoldReason,
}

/// Why the broker is on hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HoldReason {
    /// It was started so.
    Requested,
    /// Its state was restored from a backup: what happened since the backup is not in it.
    Restored,
}

/// End the hold.
#[derive(Clone, Debug)]
pub struct ReleaseHold {
    /// Who asks; policy decides `ReleaseHold` on the broker.
    pub actor: Actor,
    /// A person's reason, for the record.
    pub reason: String,
    /// The client's name for this request, for the record.
    pub request_id: Option<RequestId>,
}

/// What a broker on hold would do.
#[derive(Clone, Debug)]
pub struct HoldReport {
    /// The hold.
    pub held: Held,
    /// Static leases that are over and not written down as such.
    pub due_static_leases: u64,
    /// What would be ended at each back end that makes credentials, in the order of their names.
    pub providers: Vec<HeldProvider>,
}

/// What would be ended at one back end.
#[derive(Clone, Debug)]
pub struct HeldProvider {
    /// Its name.
    pub name: ProviderName,
    /// Credentials whose leases are over, abandoned or being revoked.
    pub due_credentials: u64,
    /// Credentials with the broker's tag for which no lease stands.
    pub orphans: u64,
    /// Live leases whose credentials are not there any more.
    pub missing: u64,
    /// Why the back end could not be compared.
    pub problem: Option<String>,
}

impl HoldReason {
    /// Its name in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Restored => "restored",
        }
    }
}
