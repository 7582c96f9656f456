//! What another reading of the configuration wants, leased before it is in force.

use std::{mem, sync::Arc};

use leasehold_client::Leased;
use leasehold_core::Timestamp;

use super::loan_of;
use crate::{config::Secret, name::Name, snapshot::Snapshot};

/// Secrets that were leased and are used by nobody yet: given back when this is dropped.
#[derive(Debug, Default)]
pub struct Staged(Vec<(Secret, Leased)>);

impl Staged {
    pub(super) fn put(&mut self, secret: Secret, guard: Leased) {
        self.0.push((secret, guard));
    }

    pub(super) fn take(&mut self) -> Vec<(Secret, Leased)> {
        mem::take(&mut self.0)
    }

    /// Makes of what is held what `wanted` wants. What is not wanted any more stays until nobody uses it.
    pub(super) fn enter(&self, snapshot: &mut Snapshot, wanted: &[Secret], edition: u64, now: Timestamp) {
        snapshot.edition = edition;
        snapshot.wanted = wanted.iter().map(|secret| secret.name.clone()).collect();
        let is_here = |name: &Name| self.0.iter().any(|(secret, _)| secret.name == *name);
        let wanted = Arc::clone(&snapshot.wanted);
        snapshot.troubles.retain(|name, _| wanted.contains(name) && !is_here(name));
        for (secret, guard) in &self.0 {
            let (loan, _) = loan_of(guard, now);
            snapshot.secrets.insert(secret.name.clone(), Arc::new(loan));
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        for (secret, guard) in self.take() {
            // Where there is no runtime any more, it ends at its time.
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(async move {
                    if let Err(error) = guard.close().await {
                        tracing::warn!(secret = %secret.name, %error, "its lease is not given back, and ends at its time");
                    }
                });
            }
        }
    }
}
