//! The revisions of keys that were read a moment ago. Who changes a lease reads it first, and commits on condition that it
//! has not changed since: to find that out, the block that it is in need not be opened a second time.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use leasehold_core::state::{Key, Revision};

/// So many are remembered; then all are forgotten, so that nothing has to be found out about their age.
const KEPT: usize = 4096;

/// Revisions as they are in the runs.
#[derive(Default)]
pub(crate) struct Looked(Mutex<HashMap<Key, Revision>>);

impl Looked {
    /// `key` was found in a run, and nothing newer is anywhere.
    pub(crate) fn saw(&self, key: &Key, revision: Revision) {
        let mut looked = self.lock();
        if looked.len() >= KEPT {
            looked.clear();
        }
        looked.insert(key.clone(), revision);
    }

    /// These are written to: what the runs say of them no longer counts.
    pub(crate) fn forget<'a>(&self, keys: impl Iterator<Item = &'a Key>) {
        let mut looked = self.lock();
        if !looked.is_empty() {
            keys.for_each(|key| {
                looked.remove(key);
            });
        }
    }

    /// Gives the revision of `key`, once: it is about to be written to.
    pub(crate) fn take(&self, key: &Key) -> Option<Revision> {
        self.lock().remove(key)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Revision>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
