//! What may be asked of the broker, in the words in which policies are written.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{path::SecretPath, principal::SpiffeId};

/// An action, named as in the Cedar schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Action {
    /// Take a lease on a secret.
    IssueLease,
    /// Move one's own lease's end.
    RenewLease,
    /// See somebody else's lease.
    ReadLease,
    /// End somebody else's lease.
    RevokeLease,
    /// Give up a lease whose credential cannot be ended.
    ForgetLease,
    /// See that a secret exists, its provider and its limits; never its value.
    DescribeSecret,
    /// Write a new version through the broker.
    WriteSecret,
    /// Promote, disable, enable, destroy, delete, restore or purge what exists.
    ChangeSecret,
    /// Rotate a secret, on schedule or at once; pause, resume and roll back its rotation.
    RotateSecret,
    /// See the broker's state.
    ReadStatus,
    /// Have the broker try what its back ends allow it.
    CheckProvider,
    /// Look for credentials that no lease stands for, and end them.
    SweepOrphans,
    /// Let a broker on hold end leases and credentials again.
    ReleaseHold,
    /// Read the audit journal.
    ReadAudit,
    /// Learn why one was denied. It is never asked for by itself: it is decided on what was denied.
    ExplainDenial,
}

impl Action {
    /// Every action there is.
    pub const ALL: [Self; 15] = [
        Self::IssueLease,
        Self::RenewLease,
        Self::ReadLease,
        Self::RevokeLease,
        Self::ForgetLease,
        Self::DescribeSecret,
        Self::WriteSecret,
        Self::ChangeSecret,
        Self::RotateSecret,
        Self::ReadStatus,
        Self::CheckProvider,
        Self::SweepOrphans,
        Self::ReleaseHold,
        Self::ReadAudit,
        Self::ExplainDenial,
    ];

    /// The action's name in policies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IssueLease => "IssueLease",
            Self::RenewLease => "RenewLease",
            Self::ReadLease => "ReadLease",
            Self::RevokeLease => "RevokeLease",
            Self::ForgetLease => "ForgetLease",
            Self::DescribeSecret => "DescribeSecret",
            Self::WriteSecret => "WriteSecret",
            Self::ChangeSecret => "ChangeSecret",
            Self::RotateSecret => "RotateSecret",
            Self::ReadStatus => "ReadStatus",
            Self::CheckProvider => "CheckProvider",
            Self::SweepOrphans => "SweepOrphans",
            Self::ReleaseHold => "ReleaseHold",
            Self::ReadAudit => "ReadAudit",
            Self::ExplainDenial => "ExplainDenial",
        }
    }

    /// Whether it is about a secret, the broker itself, or either.
    pub const fn concerns(self) -> Concern {
        match self {
            Self::IssueLease
            | Self::RenewLease
            | Self::ReadLease
            | Self::RevokeLease
            | Self::ForgetLease
            | Self::DescribeSecret
            | Self::WriteSecret
            | Self::ChangeSecret
            | Self::RotateSecret => Concern::Secret,
            Self::ReadStatus
            | Self::CheckProvider
            | Self::SweepOrphans
            | Self::ReleaseHold
            | Self::ReadAudit => Concern::Broker,
            Self::ExplainDenial => Concern::Either,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an action can be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concern {
    /// A secret.
    Secret,
    /// The broker itself.
    Broker,
    /// Either of them.
    Either,
}

/// What an action is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A secret, whether it exists or not.
    Secret(SecretPath),
    /// The broker itself: its status and its journal.
    Broker,
}

/// One question to the [`Authorizer`](crate::ports::Authorizer).
#[derive(Clone, Debug)]
pub struct AccessRequest<'a> {
    /// Who asks.
    pub principal: &'a SpiffeId,
    /// What they want to do.
    pub action: Action,
    /// To what.
    pub resource: &'a Resource,
    /// What else policies may look at, with the names and types that the schema gives the action's context:
    /// `ttl_seconds` (an integer; absent when none was asked for), `fields` (a list of strings; empty means all).
    pub context: BTreeMap<String, serde_json::Value>,
}
