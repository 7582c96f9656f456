//! When a holder is to be told that its leases end soon. Nothing of this is written down: it follows from the leases.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use leasehold_core::{Lease, LeaseId, Timestamp, ttl};

/// So many alarms of one watch are in memory: the first ones. The others are looked up when these are over.
const MOST: usize = 4096;
/// A lease that has less than this left ends soon, however short it is.
const AT_LEAST: Duration = Duration::from_secs(60);

/// The next alarms of one holder's leases.
pub(super) struct Alarms {
    order: BTreeSet<(Timestamp, LeaseId)>,
    times: HashMap<LeaseId, Timestamp>,
    /// Alarms from here on are not all known; `None` when all are.
    known_to: Option<Timestamp>,
    most: usize,
}

/// What is to be done about a watch's alarms.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing, until something changes.
    Nothing,
    /// This lease is to be told at that time.
    Tell(Timestamp, LeaseId),
    /// At that time the holder's leases are to be looked at again.
    LookAgain(Timestamp),
}

/// When the end of a lease is near: less than a tenth of its time is left, or less than a minute.
pub(super) fn soon_at(lease: &Lease) -> Timestamp {
    let life = ttl::until(lease.issued_at, lease.expires_at);
    let notice = life.checked_div(10).unwrap_or_default().max(AT_LEAST).min(life);
    // What is left of the life before the notice; to the millisecond, as positions have it.
    let soon = ttl::after(lease.issued_at, life.saturating_sub(notice));
    Timestamp::from_millisecond(soon.as_millisecond()).unwrap_or(soon)
}

impl Default for Alarms {
    fn default() -> Self {
        Self::of_at_most(MOST)
    }
}

impl Alarms {
    fn of_at_most(most: usize) -> Self {
        Self { order: BTreeSet::new(), times: HashMap::new(), known_to: None, most }
    }

    /// Sets the one alarm of a lease.
    pub(super) fn set(&mut self, lease: LeaseId, at: Timestamp) {
        self.cancel(lease);
        if self.known_to.is_some_and(|known_to| known_to <= at) {
            return;
        }
        self.order.insert((at, lease));
        self.times.insert(lease, at);
        if self.order.len() <= self.most {
            return;
        }
        // All of the last moment's go, so that what is known ends between two moments.
        while let Some((last, lease)) = self.order.pop_last() {
            self.times.remove(&lease);
            self.known_to = Some(last);
            if self.order.last().is_none_or(|(before, _)| *before < last) {
                break;
            }
        }
    }

    /// A lease needs no alarm any more.
    pub(super) fn cancel(&mut self, lease: LeaseId) {
        if let Some(at) = self.times.remove(&lease) {
            self.order.remove(&(at, lease));
        }
    }

    /// What comes next.
    pub(super) fn next(&self) -> Next {
        match (self.order.first(), self.known_to) {
            (Some(&(at, lease)), _) => Next::Tell(at, lease),
            (None, Some(known_to)) => Next::LookAgain(known_to),
            (None, None) => Next::Nothing,
        }
    }

    /// Forgets what is not known: the holder's leases are about to be looked at. Answers where those alarms begin.
    pub(super) fn look_again(&mut self) -> Timestamp {
        self.known_to.take().unwrap_or(Timestamp::MIN)
    }

    /// Everything before this has been told, at `now`.
    pub(super) fn warned(&self, now: Timestamp) -> Timestamp {
        let next = self.order.first().map(|(at, _)| *at).into_iter().chain(self.known_to).min();
        match next.and_then(|next| Timestamp::from_millisecond(next.as_millisecond().saturating_sub(1)).ok())
        {
            Some(before) => before.min(now),
            None => now,
        }
    }
}

#[cfg(test)]
mod tests {
    use leasehold_core::ttl::TtlLimits;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn id(n: u8) -> LeaseId {
        LeaseId::from_bits([n; 16])
    }

    fn lease(seconds: u64) -> Lease {
        let limits = TtlLimits::new(Duration::from_secs(seconds), Duration::from_secs(seconds)).unwrap();
        Lease::new_static(
            id(1),
            "spiffe://example.org/prod/api".parse().unwrap(),
            "prod/db".parse().unwrap(),
            "main".parse().unwrap(),
            "v1".parse().unwrap(),
            limits.term(None, at(1_000)),
            at(1_000),
        )
    }

    #[test]
    fn an_end_is_near_a_tenth_or_a_minute_before_it() {
        assert_eq!(soon_at(&lease(36_000)), at(1_000 + 32_400));
        assert_eq!(soon_at(&lease(300)), at(1_000 + 240));
        assert_eq!(soon_at(&lease(60)), at(1_000));
        assert_eq!(soon_at(&lease(5)), at(1_000));
    }

    #[test]
    fn a_lease_has_one_alarm() {
        let mut alarms = Alarms::default();
        alarms.set(id(1), at(10));
        alarms.set(id(2), at(20));
        alarms.set(id(1), at(30));
        assert_eq!(alarms.next(), Next::Tell(at(20), id(2)));
        assert_eq!(alarms.warned(at(25)), Timestamp::from_millisecond(19_999).unwrap());
        alarms.cancel(id(2));
        assert_eq!(alarms.next(), Next::Tell(at(30), id(1)));
        assert_eq!(alarms.warned(at(25)), at(25));
        alarms.cancel(id(1));
        assert_eq!(alarms.next(), Next::Nothing);
    }

    #[test]
    fn only_the_first_are_in_memory_and_the_others_are_looked_up() {
        let mut alarms = Alarms::of_at_most(3);
        for n in [5, 3, 9, 7, 1, 3] {
            alarms.set(id(n), at(n.into()));
        }
        // One more at the last moment that is known: that whole moment is left out.
        alarms.set(id(2), at(3));
        let mut told = Vec::new();
        while let Next::Tell(at, lease) = alarms.next() {
            told.push((at, lease));
            alarms.cancel(lease);
        }
        assert_eq!(told, [(at(1), id(1)), (at(3), id(2)), (at(3), id(3))]);
        assert_eq!(alarms.next(), Next::LookAgain(at(5)));
        assert_eq!(alarms.look_again(), at(5));
        alarms.set(id(9), at(9));
        assert_eq!(alarms.next(), Next::Tell(at(9), id(9)));
    }
}
