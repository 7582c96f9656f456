//! The narrow face of Google Cloud that the provider needs.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use leasehold_core::{
    SecretBytes, Timestamp,
    provider::{Change, VersionState},
};

use crate::{error::Failure, reference::Secret, roles::GcpRole};

/// What the provider asks of Google Cloud. Each call has its deadline and its repetitions behind this.
#[async_trait]
pub(crate) trait CloudClient: Send + Sync {
    /// `versions.access`, the payload's checksum compared. `version` is a number or an alias.
    async fn access(&self, secret: &Secret<'_>, version: &str) -> Result<Payload, Failure>;

    /// `secrets.addVersion`, with a checksum. Made once.
    async fn add(&self, secret: &Secret<'_>, value: &SecretBytes) -> Result<u64, Failure>;

    /// `versions.get`. `version` is a number or an alias.
    async fn version(&self, secret: &Secret<'_>, version: &str) -> Result<Version, Failure>;

    /// `versions.list`, all of its pages.
    async fn versions(&self, secret: &Secret<'_>) -> Result<Vec<Version>, Failure>;

    /// The aliases of `secrets.get`.
    async fn aliases(&self, secret: &Secret<'_>) -> Result<BTreeMap<String, i64>, Failure>;

    /// `versions.disable`, `enable` or `destroy`, only if the version still has this etag.
    async fn set_state(
        &self,
        secret: &Secret<'_>,
        version: &Version,
        change: StateChange,
    ) -> Result<(), Failure>;

    /// `secrets.testIamPermissions`: those of `asked` that the broker has.
    async fn permitted(&self, secret: &Secret<'_>, asked: &[&str]) -> Result<Vec<String>, Failure>;

    /// `generateAccessToken`.
    async fn access_token(&self, name: &str, role: &GcpRole, lifetime: Duration) -> Result<Token, Failure>;

    /// `generateIdToken`.
    async fn id_token(&self, name: &str, role: &GcpRole) -> Result<Token, Failure>;
}

/// A version's value.
pub(crate) struct Payload {
    /// Its number.
    pub(crate) number: u64,
    /// The bytes, as they were added.
    pub(crate) bytes: SecretBytes,
}

/// A version without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) number: u64,
    pub(crate) state: VersionState,
    pub(crate) created_at: Option<Timestamp>,
    /// When a version that was destroyed late (`version_destroy_ttl`) will be gone.
    pub(crate) destroyed_at: Option<Timestamp>,
    pub(crate) etag: String,
}

/// What can be done to a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StateChange {
    Disable,
    Enable,
    Destroy,
}

/// A token of a service account.
pub(crate) struct Token {
    pub(crate) value: SecretBytes,
    pub(crate) expires_at: Timestamp,
}

impl StateChange {
    /// Of what can be done to a secret, what can be done here.
    pub(crate) const fn of(change: Change) -> Option<Self> {
        match change {
            Change::Disable => Some(Self::Disable),
            Change::Enable => Some(Self::Enable),
            Change::Destroy => Some(Self::Destroy),
            _ => None,
        }
    }
}
