//! Which leases a call is about.

use leasehold_core::{
    Lease, SecretPath, SpiffeId, lease::LeaseState, path::PathPrefix, provider::ProviderName,
    secret::VersionId,
};
use serde::{Deserialize, Serialize};

/// Everything that is given must match, and nothing given matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseFilter {
    /// One holder's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<SpiffeId>,
    /// One secret's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretPath>,
    /// On one version of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionId>,
    /// On the secrets under a prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<PathPrefix>,
    /// Of one back end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderName>,
    /// In one of these states; empty means in any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<StateName>,
}

/// A lease's state without what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StateName {
    /// [`LeaseState::Pending`]
    Pending,
    /// [`LeaseState::Active`]
    Active,
    /// [`LeaseState::Revoking`]
    Revoking,
    /// [`LeaseState::Revoked`]
    Revoked,
    /// [`LeaseState::Expired`]
    Expired,
    /// [`LeaseState::Quarantined`]
    Quarantined,
    /// [`LeaseState::Forgotten`]
    Forgotten,
}

impl LeaseFilter {
    /// Whether the lease is meant.
    pub fn matches(&self, lease: &Lease) -> bool {
        self.holder.as_ref().is_none_or(|holder| *holder == lease.holder)
            && self.secret.as_ref().is_none_or(|secret| *secret == lease.secret)
            && self.version.as_ref().is_none_or(|version| lease.version.as_ref() == Some(version))
            && self.prefix.as_ref().is_none_or(|prefix| prefix.rest_of(&lease.secret).is_some())
            && self.provider.as_ref().is_none_or(|provider| *provider == lease.provider)
            && (self.states.is_empty() || self.states.contains(&StateName::of(&lease.state)))
    }
}

impl StateName {
    /// The state's name.
    pub const fn of(state: &LeaseState) -> Self {
        match state {
            LeaseState::Pending { .. } => Self::Pending,
            LeaseState::Active => Self::Active,
            LeaseState::Revoking { .. } => Self::Revoking,
            LeaseState::Revoked { .. } => Self::Revoked,
            LeaseState::Expired { .. } => Self::Expired,
            LeaseState::Quarantined { .. } => Self::Quarantined,
            LeaseState::Forgotten { .. } => Self::Forgotten,
        }
    }

    /// Whether a lease in this state is over.
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Revoked | Self::Expired | Self::Forgotten)
    }
}
