//! What is held at one moment: the seam between who keeps the leases and who uses the values.

use std::{collections::BTreeMap, sync::Arc};

use leasehold_client::Holding;
use leasehold_core::{LeaseId, SecretPath, SecretValue, Timestamp, secret::VersionId};

use crate::name::Name;

/// Every secret of the configuration, as far as it is held. Cheap to clone within an `Arc`; values are not copied.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Grows by one with each snapshot that is told.
    pub generation: u64,
    /// Which reading of the configuration it is of; 0 is that of the start.
    pub edition: u64,
    /// What is held, by the name that the configuration gives it. Also what is not wanted any more, until nobody uses it.
    pub secrets: BTreeMap<Name, Arc<Loan>>,
    /// What cannot be had, or cannot be renewed, now; also names that are in `secrets`.
    pub troubles: BTreeMap<Name, Trouble>,
    /// Every name of the configuration, held or not.
    pub wanted: Arc<[Name]>,
}

/// One secret as it is held.
#[derive(Clone, Debug)]
pub struct Loan {
    /// The secret.
    pub path: SecretPath,
    /// The lease that it is held by.
    pub lease: LeaseId,
    /// The version; a credential that was made for this lease alone may have none.
    pub version: Option<VersionId>,
    /// When the lease ends unless it is renewed, in the broker's words: for people.
    pub expires_at: Timestamp,
    /// The same by the sidecar's own clock, which only runs: what the lease is judged by.
    pub ends: Timestamp,
    /// Whether it may be relied on.
    pub standing: Standing,
    held: Held,
}

/// Where a value comes from.
#[derive(Clone, Debug)]
enum Held {
    /// The guard of its lease.
    Leased(Arc<Holding>),
    /// The cache: the lease was had by a sidecar before this one.
    Kept(Arc<SecretValue>),
}

/// Whether a value may be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The lease is kept.
    Fresh,
    /// The lease could not be renewed yet; the value is good until its end.
    Failing,
    /// The lease has ended: the broker may have made the value unusable.
    Expired,
}

/// Why a secret cannot be had or its lease cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// For people, without a value.
    pub message: Box<str>,
    /// Since when.
    pub since: Timestamp,
}

impl Snapshot {
    /// Whether every secret of the configuration is held, whatever its standing.
    pub fn is_complete(&self) -> bool {
        self.wanted.iter().all(|name| self.secrets.contains_key(name))
    }

    /// Whether every secret of the configuration is held by a lease that has not ended.
    pub fn is_sound(&self) -> bool {
        self.wanted
            .iter()
            .all(|name| self.secrets.get(name).is_some_and(|loan| loan.standing != Standing::Expired))
    }

    /// The names that are not held.
    pub fn missing(&self) -> impl Iterator<Item = &Name> {
        self.wanted.iter().filter(|name| !self.secrets.contains_key(*name))
    }

    /// The names whose lease has ended.
    pub fn expired(&self) -> impl Iterator<Item = &Name> {
        self.secrets.iter().filter(|(_, loan)| loan.standing == Standing::Expired).map(|(name, _)| name)
    }

    /// What the configuration wants, as far as it is held.
    pub fn wanted(&self) -> impl Iterator<Item = (&Name, &Arc<Loan>)> {
        self.wanted.iter().filter_map(|name| Some((name, self.secrets.get(name)?)))
    }
}

impl Loan {
    /// What a guard holds at `now`.
    pub fn leased(holding: Arc<Holding>, standing: Standing, now: Timestamp) -> Self {
        let lease = &holding.lease;
        Self {
            ends: now.checked_add(holding.left()).unwrap_or(Timestamp::MAX),
            path: lease.secret.clone(),
            lease: lease.id,
            version: lease.version.clone(),
            expires_at: lease.expires_at,
            standing,
            held: Held::Leased(holding),
        }
    }

    /// What was kept on disk, and ends then.
    pub fn kept(
        path: SecretPath,
        lease: LeaseId,
        version: Option<VersionId>,
        ends: Timestamp,
        value: SecretValue,
    ) -> Self {
        Self {
            path,
            lease,
            version,
            expires_at: ends,
            ends,
            standing: Standing::Failing,
            held: Held::Kept(Arc::new(value)),
        }
    }

    /// The value. Wiped with the last that has it, never printed.
    pub fn value(&self) -> &SecretValue {
        match &self.held {
            Held::Leased(holding) => holding.value(),
            Held::Kept(value) => value,
        }
    }

    /// The same with another standing.
    #[must_use]
    pub fn with_standing(&self, standing: Standing) -> Self {
        Self { standing, ..self.clone() }
    }

    /// What the guard is told when it is used.
    pub(crate) fn holding(&self) -> Option<&Arc<Holding>> {
        match &self.held {
            Held::Leased(holding) => Some(holding),
            Held::Kept(_) => None,
        }
    }

    /// Whether it is the same value as another: by lease and version, never by looking at it.
    pub fn is_same_value(&self, other: &Self) -> bool {
        self.lease == other.lease && self.version == other.version
    }
}
