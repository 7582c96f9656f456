//! Secrets that exist in the back end: their versions, and what can be done to them.

use std::fmt;

use jiff::Timestamp;

use crate::secret::{SecretValue, VersionId};

/// Asks for a static secret.
#[derive(Clone, Debug)]
pub struct Fetch<'a> {
    /// The back end's own name of it.
    pub reference: &'a str,
    /// A certain version, or the current one.
    pub version: Option<&'a VersionId>,
}

/// A static secret's value at one version.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The value.
    pub value: SecretValue,
    /// The version that it is.
    pub version: VersionId,
    /// When the back end made this version, when it says so.
    pub created_at: Option<Timestamp>,
}

/// Asks to write a new version. Idempotent by `token`.
#[derive(Clone, Debug)]
pub struct WriteVersion<'a> {
    /// The back end's own name of the secret.
    pub reference: &'a str,
    /// The value.
    pub value: &'a SecretValue,
    /// A token (such as a UUID) that makes a repeated write the same write.
    pub token: &'a str,
    /// The version that must be current, so that nobody's change is overwritten unseen; `None` writes whatever is there.
    pub expected: Option<&'a VersionId>,
    /// Whether it becomes current at once.
    pub stage: Stage,
}

/// Where a new version comes to stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// It is current from now on.
    #[default]
    Current,
    /// It waits until [`Change::Promote`] makes it current; only where the back end can stage.
    Pending,
}

/// One version, without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionFacts {
    /// Its id.
    pub version: VersionId,
    /// When it was made, when the back end says so.
    pub created_at: Option<Timestamp>,
    /// Whether it can be read.
    pub state: VersionState,
    /// Whether it is what is read when no version is named.
    pub current: bool,
    /// The back end's own labels of it, such as `AWSPREVIOUS`.
    pub labels: Vec<Box<str>>,
}

/// Whether a version can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VersionState {
    /// It can.
    Enabled,
    /// Not now; it can be enabled again.
    Disabled,
    /// Deleted, and can be brought back.
    Deleted,
    /// Its value is gone for good.
    Destroyed,
}

/// Asks to change what exists. A change that has happened already is a success.
#[derive(Clone, Copy, Debug)]
pub struct ChangeSecret<'a> {
    /// The back end's own name of the secret.
    pub reference: &'a str,
    /// The version; present if and only if [`Change::is_of_version`] says so.
    pub version: Option<&'a VersionId>,
    /// What to do.
    pub change: Change,
    /// Of [`Change::Promote`] where the back end can stage: the version that must be current, so that nobody's change is
    /// undone unseen. `None` promotes whatever is.
    pub expected: Option<&'a VersionId>,
}

/// What can be done to a version, or to a secret with all its versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// Makes a pending or older version the current one.
    Promote,
    /// Makes a version unreadable until it is enabled.
    Disable,
    /// Makes a disabled version readable.
    Enable,
    /// Removes a version's value for good.
    Destroy,
    /// Deletes the secret in a way from which it can be restored for a time.
    Delete,
    /// Brings a deleted secret back.
    Restore,
    /// Removes a deleted secret for good.
    Purge,
}

impl Change {
    /// Every change there is.
    pub const ALL: [Self; 7] =
        [Self::Promote, Self::Disable, Self::Enable, Self::Destroy, Self::Delete, Self::Restore, Self::Purge];

    /// Whether it is done to one version; otherwise to the secret as a whole.
    pub const fn is_of_version(self) -> bool {
        matches!(self, Self::Promote | Self::Disable | Self::Enable | Self::Destroy)
    }

    /// Its name: a verb.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::Disable => "disable",
            Self::Enable => "enable",
            Self::Destroy => "destroy",
            Self::Delete => "delete",
            Self::Restore => "restore",
            Self::Purge => "purge",
        }
    }
}

impl VersionState {
    /// The state's name, as lists show it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::Deleted => "deleted",
            Self::Destroyed => "destroyed",
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for VersionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
