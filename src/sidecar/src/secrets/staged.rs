//! What another reading of the configuration wants, leased before it is in force.

use std::{mem, sync::Arc};

use leasehold_client::Leased;
use leasehold_core::Timestamp;
use tokio_util::task::TaskTracker;

use super::{give_back, shared::loan_of};
use crate::{config::Secret, name::Name, snapshot::Snapshot};

/// Secrets that were leased and are used by nobody yet: given back when this is dropped.
#[derive(Debug)]
pub struct Staged {
    leased: Vec<(Secret, Leased)>,
    partings: TaskTracker,
}

impl Staged {
    /// Nothing yet. What is to be given back is so in `partings`.
    pub(super) fn new(partings: &TaskTracker) -> Self {
        Self { leased: Vec::new(), partings: partings.clone() }
    }

    pub(super) fn one(secret: Secret, guard: Leased, partings: &TaskTracker) -> Self {
        Self { leased: vec![(secret, guard)], partings: partings.clone() }
    }

    pub(super) fn add(&mut self, mut other: Self) {
        self.leased.append(&mut other.leased);
    }

    pub(super) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.leased.iter().map(|(secret, _)| secret)
    }

    pub(super) fn take(&mut self) -> Vec<(Secret, Leased)> {
        mem::take(&mut self.leased)
    }

    /// Makes of what is held what `wanted` wants. What is not wanted any more stays until nobody uses it.
    pub(super) fn enter(&self, snapshot: &mut Snapshot, wanted: &[Secret], edition: u64, now: Timestamp) {
        snapshot.edition = edition;
        snapshot.wanted = wanted.iter().map(|secret| secret.name.clone()).collect();
        let is_here = |name: &Name| self.secrets().any(|secret| secret.name == *name);
        let wanted = Arc::clone(&snapshot.wanted);
        snapshot.troubles.retain(|name, _| wanted.contains(name) && !is_here(name));
        for (secret, guard) in &self.leased {
            let (loan, _) = loan_of(guard, now);
            snapshot.secrets.insert(secret.name.clone(), Arc::new(loan));
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        for (secret, guard) in self.take() {
            give_back(secret.name, guard, &self.partings);
        }
    }
}
