//! What the crowd was told, and what it asked without being told.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use leasehold_client::Lease;
use leasehold_core::{LeaseId, Timestamp, record::Kind};
use leasehold_tests::evidence::Fact;

/// Shared by the crowd and whoever judges.
#[derive(Clone, Default)]
pub(crate) struct Book(Arc<Mutex<Entries>>);

#[derive(Default)]
pub(crate) struct Entries {
    /// Every lease that somebody was given.
    pub(crate) held: HashMap<LeaseId, Held>,
    /// When operators wanted every user's lease to end that was issued until then.
    pub(crate) sweeping: Vec<Sweeping>,
    /// What the journal must have.
    pub(crate) facts: Vec<Fact>,
    /// How many calls for a lease ended without one: each may have led to a lease, and to one only.
    pub(crate) in_vain: usize,
    /// How often each kind of call was answered, and how often it failed for which reason.
    pub(crate) answers: BTreeMap<String, u64>,
    /// What no answer may be.
    pub(crate) wrong: Vec<String>,
}

/// One lease, as its holder knows it.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// As it was in the last answer.
    pub(crate) lease: Lease,
    /// The user and its password; absent for a static secret.
    pub(crate) user: Option<(String, String)>,
    /// Somebody asked to end it.
    pub(crate) to_end: bool,
    /// And was told that it ends.
    pub(crate) given_back: bool,
    /// Somebody asked for more time and was not answered.
    pub(crate) more_time: bool,
}

/// The revocation of every lease on a user.
#[derive(Clone, Debug)]
pub(crate) struct Sweeping {
    /// Its id; absent when nobody answered, so that it may have begun or not.
    pub(crate) id: Option<String>,
    /// Leases that were issued later are not meant, by the broker's clock.
    pub(crate) until: Timestamp,
}

impl Book {
    pub(crate) fn open(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the entry of a lease.
    pub(crate) fn of(&self, id: LeaseId, change: impl FnOnce(&mut Held)) {
        change(self.open().held.get_mut(&id).expect("a lease that was given"));
    }
}

impl Entries {
    /// Whether somebody asked for the lease's end; and whether it was said that it ends.
    pub(crate) fn is_to_end(&self, held: &Held) -> (bool, bool) {
        let meant = |sweeping: &&Sweeping| held.lease.dynamic && held.lease.issued_at <= sweeping.until;
        let sweeping: Vec<_> = self.sweeping.iter().filter(meant).collect();
        let sure = held.given_back || sweeping.iter().any(|sweeping| sweeping.id.is_some());
        (held.to_end || !sweeping.is_empty(), sure)
    }

    /// Somebody was given a lease.
    pub(crate) fn given(&mut self, lease: Lease, user: Option<(String, String)>) {
        self.facts.push((Kind::LeaseIssued, lease.id, Some(lease.expires_at)));
        let id = lease.id;
        let held = Held { lease, user, to_end: false, given_back: false, more_time: false };
        if self.held.insert(id, held).is_some() {
            self.wrong.push(format!("{id} was given twice"));
        }
    }

    pub(crate) fn count(&mut self, what: String) {
        *self.answers.entry(what).or_default() += 1;
    }
}
