//! The lease: one principal's time-bounded hold on one version of a secret, and everything that can happen to it.
//!
//! [`Lease::step`] is the only way in which a lease changes. It is pure: it takes an event and the time, and gives the
//! next lease and what the outside must do. Static leases hold a version that the broker only read, so they end at
//! once; dynamic ones hold a credential that was made for them, so they end when the back end has ended it.

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test that meets one of these has failed")]
mod explore;
mod index;
mod parties;
mod step;
mod stored;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::{
    parties::Parties,
    step::{Effects, Event, StepError},
};
use crate::{
    id::LeaseId,
    path::SecretPath,
    principal::SpiffeId,
    provider::{ProviderName, Verification},
    secret::{FieldName, SecretBytes, VersionId},
    ttl::Term,
};

/// One principal's hold on one version of one secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lease {
    /// Its name.
    pub id: LeaseId,
    /// Whose it is.
    pub holder: SpiffeId,
    /// The secret.
    pub secret: SecretPath,
    /// Where the secret lives.
    pub provider: ProviderName,
    /// The version held; absent while a dynamic credential is being made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionId>,
    /// Whether the value existed before the lease, or was made for it.
    pub kind: LeaseKind,
    /// The fields that were asked for; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldName>,
    /// Where it is in its life.
    pub state: LeaseState,
    /// When it began.
    pub issued_at: Timestamp,
    /// When it ends unless renewed.
    pub expires_at: Timestamp,
    /// When it ends whatever happens.
    pub max_expires_at: Timestamp,
    /// How often it was renewed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub renewals: u32,
    /// Whether the last thing that happened to it was a move to another version.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub moved: bool,
    /// When the value was last confirmed by the back end, if it was served past its freshness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale_since: Option<Timestamp>,
    /// What ends a dynamic credential, or what was reserved for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<RevocationHandle>,
    /// Present when the lease began to end before its credential was known: until then that may still come to be, by a
    /// request that was held up on its way, so what was ended earlier is ended once more then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsettled_until: Option<Timestamp>,
    /// Present when nothing can end the credential before its time: it works until then, whatever happens to the lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub irrevocable_until: Option<Timestamp>,
    /// Whether the credential is dead, once the back end said that it ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
}

/// Whether the value existed before the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LeaseKind {
    /// A version that others may hold too.
    Static,
    /// A credential made for this lease alone.
    Dynamic,
}

/// Where a lease is in its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum LeaseState {
    /// The intent is durable; the credential may or may not exist yet.
    Pending {
        /// When it is taken for abandoned.
        until: Timestamp,
    },
    /// Held.
    Active,
    /// Being ended at the back end.
    Revoking {
        /// Why.
        cause: Cause,
        /// How often it was tried in vain.
        attempts: u32,
        /// When it is tried next.
        next_try: Timestamp,
    },
    /// Ended before its time.
    Revoked {
        /// Why.
        cause: Cause,
        /// When.
        at: Timestamp,
    },
    /// Ended at its time.
    Expired {
        /// When.
        at: Timestamp,
    },
    /// Could not be ended within the retry budget, or works on although its back end says that it ended it: tried on,
    /// slowly, and never dropped.
    Quarantined {
        /// Why it was to end.
        cause: Cause,
        /// How often it was tried in vain.
        attempts: u32,
        /// When it is tried next.
        next_try: Timestamp,
    },
    /// Given up by an operator while its credential could not be ended: whether that still works is unknown.
    Forgotten {
        /// When.
        at: Timestamp,
    },
}

/// Why a lease ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// Its time came.
    Expiry,
    /// Its holder gave it back.
    Holder,
    /// An operator took it.
    Operator,
    /// It was begun and never confirmed.
    Abandoned,
    /// The back end ended its credential.
    Upstream,
}

/// What a provider needs to end a credential: it names a real one, so it is kept like a secret.
#[derive(Clone, Debug)]
pub struct RevocationHandle(SecretBytes);

/// A stored lease that cannot be read back.
#[derive(Debug, Error)]
#[error("the stored lease cannot be read: {0}")]
pub struct Undecodable(#[from] serde_json::Error);

impl Lease {
    /// A lease on a static version: the value is at hand, so it begins active.
    pub fn new_static(
        id: LeaseId,
        holder: SpiffeId,
        secret: SecretPath,
        provider: ProviderName,
        version: VersionId,
        term: Term,
        now: Timestamp,
    ) -> Self {
        // As if it had been intended, and made at once.
        Self {
            version: Some(version),
            kind: LeaseKind::Static,
            state: LeaseState::Active,
            ..Self::new_pending(id, holder, secret, provider, term, now, now)
        }
    }

    /// The intent to make a credential: pending until the back end has answered, abandoned at `until`. By then the request
    /// is done, or never will be.
    pub fn new_pending(
        id: LeaseId,
        holder: SpiffeId,
        secret: SecretPath,
        provider: ProviderName,
        term: Term,
        now: Timestamp,
        until: Timestamp,
    ) -> Self {
        Self {
            id,
            holder,
            secret,
            provider,
            version: None,
            kind: LeaseKind::Dynamic,
            fields: Vec::new(),
            state: LeaseState::Pending { until },
            issued_at: now,
            expires_at: term.expires_at,
            max_expires_at: term.max_expires_at,
            renewals: 0,
            moved: false,
            stale_since: None,
            handle: None,
            unsettled_until: None,
            irrevocable_until: None,
            verification: None,
        }
    }

    /// Whether the holder may still use what it got, at `now`: an active lease whose end has come is over even before
    /// the reconciler has written so.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.state == LeaseState::Active && now < self.expires_at
    }

    /// Whether it is over for good.
    pub fn is_ended(&self) -> bool {
        matches!(
            self.state,
            LeaseState::Revoked { .. } | LeaseState::Expired { .. } | LeaseState::Forgotten { .. }
        )
    }
}

impl LeaseState {
    /// The state's name, as lists and records show it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Pending { .. } => "pending",
            Self::Active => "active",
            Self::Revoking { .. } => "revoking",
            Self::Revoked { .. } => "revoked",
            Self::Expired { .. } => "expired",
            Self::Quarantined { .. } => "quarantined",
            Self::Forgotten { .. } => "forgotten",
        }
    }
}

impl Cause {
    /// The cause's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expiry => "expiry",
            Self::Holder => "holder",
            Self::Operator => "operator",
            Self::Abandoned => "abandoned",
            Self::Upstream => "upstream",
        }
    }
}

impl fmt::Display for LeaseState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl RevocationHandle {
    /// Takes over what the provider will need.
    pub fn new(bytes: SecretBytes) -> Self {
        Self(bytes)
    }

    /// What the provider made it of.
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

// Written only within a lease's durable form, which the ledger seals.
impl Serialize for RevocationHandle {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&data_encoding::BASE64.encode(self.expose()))
    }
}

impl<'de> Deserialize<'de> for RevocationHandle {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let bytes = data_encoding::BASE64.decode(text.as_bytes()).map_err(serde::de::Error::custom)?;
        Ok(Self(SecretBytes::new(bytes)))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}
