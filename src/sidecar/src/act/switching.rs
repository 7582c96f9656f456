//! Which secrets everybody has switched. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{name::Name, snapshot::Snapshot};

/// Who has still to be told of which secret.
#[derive(Debug, Default)]
pub(super) struct Switching {
    /// By secret, and by the number of what is to be done: the generation that it must have reached.
    open: BTreeMap<Name, BTreeMap<usize, u64>>,
    latest: Arc<Snapshot>,
}

impl Switching {
    /// Something was published, and these are to be told, each for these secrets. What of it everybody uses at once.
    pub(super) fn published(
        &mut self,
        snapshot: &Arc<Snapshot>,
        told: &[(usize, BTreeSet<Name>)],
    ) -> Option<Snapshot> {
        self.latest = snapshot.clone();
        for (number, secrets) in told {
            for secret in secrets {
                self.open.entry(secret.clone()).or_default().insert(*number, snapshot.generation);
            }
        }
        self.close()
    }

    /// One was told of everything up to this generation. What everybody uses now.
    pub(super) fn done(&mut self, number: usize, generation: u64) -> Option<Snapshot> {
        let mut any = false;
        for waiting in self.open.values_mut() {
            if waiting.get(&number).is_some_and(|needed| *needed <= generation) {
                waiting.remove(&number);
                any = true;
            }
        }
        if any { self.close() } else { None }
    }

    /// One is not told of anything any more.
    pub(super) fn forget(&mut self, number: usize) {
        for waiting in self.open.values_mut() {
            waiting.remove(&number);
        }
    }

    /// Without those secrets that somebody has still to be told of: nothing is said of them.
    fn close(&mut self) -> Option<Snapshot> {
        self.open.retain(|_, waiting| !waiting.is_empty());
        let mut all_use = Snapshot::clone(&self.latest);
        all_use.secrets.retain(|name, _| !self.open.contains_key(name));
        (!all_use.secrets.is_empty()).then_some(all_use)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::tests::snapshot;

    fn names(names: &[&str]) -> BTreeSet<Name> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn used(snapshot: Option<Snapshot>) -> Vec<String> {
        snapshot.iter().flat_map(|snapshot| snapshot.secrets.keys()).map(ToString::to_string).collect()
    }

    #[test]
    fn without_anybody_to_tell_all_is_switched_at_once() {
        let mut switching = Switching::default();
        let first = snapshot(1, &["db", "key"]);
        assert_eq!(used(switching.published(&first, &[])), ["db", "key"]);
    }

    #[test]
    fn a_secret_is_switched_when_the_last_one_was_told_of_its_newest_change() {
        let mut switching = Switching::default();
        switching.published(&snapshot(1, &["db", "key"]), &[]);
        let both = [(0, names(&["db"])), (1, names(&["db"]))];
        let second = switching.published(&snapshot(2, &["db", "key"]), &both);
        assert_eq!(used(second), ["key"]);
        assert_eq!(used(switching.done(0, 2)), ["key"]);
        // It changes again before the other one comes to it.
        assert_eq!(used(switching.published(&snapshot(3, &["db", "key"]), &both)), ["key"]);
        assert_eq!(used(switching.done(1, 2)), [""; 0], "what was told is old already");
        assert_eq!(used(switching.done(1, 3)), ["key"]);
        assert_eq!(used(switching.done(0, 3)), ["db", "key"]);
    }

    #[test]
    fn who_is_not_told_any_more_is_not_waited_for() {
        let mut switching = Switching::default();
        assert_eq!(used(switching.published(&snapshot(1, &["db"]), &[(0, names(&["db"]))])), [""; 0]);
        switching.forget(0);
        assert_eq!(used(switching.published(&snapshot(2, &["db"]), &[])), ["db"]);
    }
}
