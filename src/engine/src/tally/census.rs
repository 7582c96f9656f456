//! The count of the leases that an earlier process left, while this one makes and ends some. It goes through them in the
//! order of their keys; whatever happens to a lease at whatever moment, it is counted once.

use std::collections::{HashMap, HashSet};

use leasehold_core::{LeaseId, state::Key};

/// A count that is under way, with what must be known of the leases that it has still to come to.
#[derive(Default)]
pub(super) struct Census {
    /// The last key that was looked at.
    cursor: Option<Key>,
    /// All have been looked at.
    finished: bool,
    /// Made by this process, so counted already when the count comes to them.
    made: HashSet<LeaseId>,
    /// Ended by this process before the count has come to them: they may have been read already as they were.
    ended: HashSet<LeaseId>,
    /// Those whose end is on its way into the ledger.
    ending: HashMap<LeaseId, Ending>,
}

#[derive(Default)]
struct Ending {
    /// So many commits try it; all but one will fail.
    commits: u32,
    /// The count has found it ended before the one who ends it was told.
    found: bool,
}

/// What is to be done about a lease's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It was counted: it is to be taken off.
    Counted,
    /// It was not, and will not be.
    Nothing,
}

impl Census {
    /// This process takes a place for a new lease.
    pub(super) fn made(&mut self, lease: LeaseId) {
        if !self.is_behind(lease) {
            self.made.insert(lease);
        }
    }

    /// It gave the place back.
    pub(super) fn not_made(&mut self, lease: LeaseId) {
        self.made.remove(&lease);
    }

    /// A commit that ends the lease begins.
    pub(super) fn ending(&mut self, lease: LeaseId) {
        let ending = self.ending.entry(lease).or_default();
        ending.commits = ending.commits.saturating_add(1);
    }

    /// It is over.
    pub(super) fn ended(&mut self, lease: LeaseId, committed: bool) -> Told {
        let mut found = false;
        if let Some(ending) = self.ending.get_mut(&lease) {
            found = ending.found;
            ending.commits = ending.commits.saturating_sub(1);
            if ending.commits == 0 {
                self.ending.remove(&lease);
            }
        }
        if !committed || found {
            return Told::Nothing;
        }
        if self.made.contains(&lease) || self.is_behind(lease) {
            return Told::Counted;
        }
        self.ended.insert(lease);
        Told::Nothing
    }

    /// The count comes to a lease, as it was read; says whether it counts.
    pub(super) fn counts(&mut self, lease: LeaseId, live: bool) -> bool {
        // What is made after the end of the count was counted when it was made.
        if self.finished || self.made.remove(&lease) {
            return false;
        }
        if live {
            return !self.ended.remove(&lease);
        }
        if !self.ended.remove(&lease)
            && let Some(ending) = self.ending.get_mut(&lease)
        {
            ending.found = true;
        }
        false
    }

    /// The count has come to the end of what was read.
    pub(super) fn passed(&mut self, last: Option<&Key>, finished: bool) {
        if let Some(last) = last {
            self.cursor = Some(last.clone());
        }
        self.finished |= finished;
    }

    /// Whether it has nothing left to say.
    pub(super) fn is_over(&self) -> bool {
        self.finished && self.ending.values().all(|ending| !ending.found)
    }

    /// Whether the count has come past this lease.
    fn is_behind(&self, lease: LeaseId) -> bool {
        self.finished || self.cursor.as_ref().is_some_and(|cursor| Key::lease(lease) <= *cursor)
    }
}
