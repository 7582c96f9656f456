//! How many leases there are that are not over: of each principal, on each secret, at each back end. Every lease counts
//! from its place, which is taken before anything is made for it, to the commit that ends it.
//!
//! What an earlier process left is counted in the background, so that a start does not wait for it: until then the counts
//! are too low, and never too high.

mod census;
mod ledger;

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use leasehold_core::{LeaseId, lease::Parties, state::Entry};

use self::census::{Census, Told};
pub(crate) use self::ledger::Tallied;

/// The counts.
#[derive(Default)]
pub(crate) struct Tally(Mutex<State>);

#[derive(Default)]
struct State {
    holders: Counts,
    secrets: Counts,
    providers: Counts,
    total: u64,
    census: Option<Census>,
    refused: HashMap<&'static str, u64>,
}

/// What is counted by its name; what is not there is not remembered.
#[derive(Default)]
struct Counts(HashMap<Box<str>, u64>);

/// How many there may be, with the limits' names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) holder: (u64, &'static str),
    pub(crate) secret: (u64, &'static str),
    pub(crate) provider: Option<(u64, &'static str)>,
}

/// One lease's place; given back when it is dropped before it is kept.
pub(crate) struct Place<'a> {
    tally: &'a Tally,
    lease: LeaseId,
    parties: Parties<'a>,
    kept: bool,
}

impl Tally {
    /// A tally of a ledger in which an earlier process may have left leases: [`Tally::count`] gets to know them.
    pub(crate) fn of_what_is_there() -> Self {
        Self(Mutex::new(State { census: Some(Census::default()), ..State::default() }))
    }

    /// Takes a place for a lease that is about to be made, or says which limit forbids it.
    pub(crate) fn take<'a>(
        &'a self,
        lease: LeaseId,
        parties: Parties<'a>,
        bounds: Bounds,
    ) -> Result<Place<'a>, &'static str> {
        let mut state = self.lock();
        let taken = state.take(parties, bounds);
        if let Err(limit) = taken {
            let refused = state.refused.entry(limit).or_default();
            *refused = refused.saturating_add(1);
            return Err(limit);
        }
        if let Some(census) = &mut state.census {
            census.made(lease);
        }
        drop(state);
        Ok(Place { tally: self, lease, parties, kept: false })
    }

    /// A commit that ends this lease is about to be made.
    fn ending(&self, lease: LeaseId) {
        if let Some(census) = &mut self.lock().census {
            census.ending(lease);
        }
    }

    /// Such a commit was made, or was refused.
    fn ended(&self, lease: LeaseId, parties: Parties<'_>, committed: bool) {
        let mut state = self.lock();
        let told = match &mut state.census {
            Some(census) => census.ended(lease, committed),
            None if committed => Told::Counted,
            None => Told::Nothing,
        };
        if told == Told::Counted {
            state.remove(parties);
        }
        if state.census.as_ref().is_some_and(Census::is_over) {
            state.census = None;
        }
    }

    /// Counts the next leases of the ledger, in the order of their keys; `last` says that there are no more.
    pub(crate) fn count(&self, leases: &[Entry], last: bool) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let Some(census) = &mut state.census else { return };
        for entry in leases {
            // What cannot be read is nobody's: whoever loads it says so.
            let read = Parties::read(&entry.value);
            let (Some(lease), Ok((parties, ended))) = (entry.key.lease_id(), read) else { continue };
            if census.counts(lease, !ended) {
                state.holders.add(parties.holder);
                state.secrets.add(parties.secret);
                state.providers.add(parties.provider);
                state.total = state.total.saturating_add(1);
            }
        }
        census.passed(leases.last().map(|entry| &entry.key), last);
        if census.is_over() {
            state.census = None;
        }
    }

    /// How many leases were refused, by the limits that forbade them.
    pub(crate) fn refused(&self) -> Vec<(&'static str, u64)> {
        self.lock().refused.iter().map(|(limit, count)| (*limit, *count)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing between lock and unlock can leave the counts half changed but for a lack of memory.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, parties: Parties<'_>, bounds: Bounds) -> Result<(), &'static str> {
        let Parties { holder, secret, provider } = parties;
        self.holders.add_within(holder, bounds.holder)?;
        if let Err(limit) = self.secrets.add_within(secret, bounds.secret) {
            self.holders.remove(holder);
            return Err(limit);
        }
        if let Err(limit) = self.providers.add_within(provider, bounds.provider.unwrap_or((u64::MAX, ""))) {
            self.holders.remove(holder);
            self.secrets.remove(secret);
            return Err(limit);
        }
        self.total = self.total.saturating_add(1);
        Ok(())
    }

    fn remove(&mut self, parties: Parties<'_>) {
        self.holders.remove(parties.holder);
        self.secrets.remove(parties.secret);
        self.providers.remove(parties.provider);
        self.total = self.total.saturating_sub(1);
    }
}

impl Counts {
    fn add_within(&mut self, name: &str, (most, limit): (u64, &'static str)) -> Result<(), &'static str> {
        match self.0.get_mut(name) {
            Some(count) if *count >= most => return Err(limit),
            Some(count) => *count = count.saturating_add(1),
            None if most == 0 => return Err(limit),
            None => {
                self.0.insert(name.into(), 1);
            }
        }
        Ok(())
    }

    /// Adds what is there already, whatever the limits are by now.
    fn add(&mut self, name: &str) {
        let _ = self.add_within(name, (u64::MAX, ""));
    }

    fn remove(&mut self, name: &str) {
        if let Some(count) = self.0.get_mut(name) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.0.remove(name);
            }
        }
    }
}

impl Place<'_> {
    /// The lease that it is for.
    pub(crate) fn lease(&self) -> LeaseId {
        self.lease
    }

    /// The lease is in the ledger: its end gives the place back.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let mut state = self.tally.lock();
        state.remove(self.parties);
        if let Some(census) = &mut state.census {
            census.not_made(self.lease);
        }
    }
}

#[cfg(test)]
mod tests;
