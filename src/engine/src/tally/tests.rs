use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use leasehold_core::{
    Lease, Timestamp,
    lease::{Cause, LeaseState},
    state::Key,
    ttl::TtlLimits,
};
use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds = Bounds {
    holder: (2, "limits.holder"),
    secret: (3, "limits.secret"),
    provider: Some((4, "limits.provider")),
};
const FREE: Bounds = Bounds { holder: (u64::MAX, ""), secret: (u64::MAX, ""), provider: None };

fn of<'a>(holder: &'a str, secret: &'a str) -> Parties<'a> {
    Parties { holder, secret, provider: "main" }
}

fn id(n: u8) -> LeaseId {
    LeaseId::from_bits([n.wrapping_mul(37); 16])
}

#[test]
fn each_limit_holds_by_itself_and_what_was_not_kept_comes_back() {
    let tally = Tally::default();
    let take = |n, holder, secret| tally.take(id(n), of(holder, secret), BOUNDS);
    let first = take(1, "a", "x").unwrap();
    take(2, "a", "y").unwrap().keep();
    assert_eq!(take(3, "a", "z").err(), Some("limits.holder"));
    drop(first);
    take(3, "b", "y").unwrap().keep();
    take(4, "c", "y").unwrap().keep();
    assert_eq!(take(5, "d", "y").err(), Some("limits.secret"));
    take(5, "d", "z").unwrap().keep();
    assert_eq!(take(6, "e", "w").err(), Some("limits.provider"));
    tally.ended(id(5), of("d", "z"), true);
    take(6, "e", "w").unwrap().keep();
    let refused: BTreeMap<_, _> = tally.refused().into_iter().collect();
    assert_eq!(refused, BTreeMap::from([("limits.holder", 1), ("limits.secret", 1), ("limits.provider", 1)]));
}

#[test]
fn who_has_nothing_is_not_remembered() {
    let tally = Tally::default();
    for n in 0..100 {
        let (holder, secret) = (format!("h{n}"), format!("s{n}"));
        tally.take(id(n), of(&holder, &secret), FREE).unwrap().keep();
        tally.ended(id(n), of(&holder, &secret), true);
        drop(tally.take(id(n), of(&holder, &secret), FREE).unwrap());
    }
    let state = tally.lock();
    assert_eq!(
        (state.total, state.holders.0.len(), state.secrets.0.len(), state.providers.0.len()),
        (0, 0, 0, 0)
    );
}

/// A ledger of leases of one holder, with those who change it half way through: as they are interleaved by chance.
#[derive(Default)]
struct World {
    tally: Tally,
    /// What the ledger shows: whether the lease is live.
    shown: BTreeMap<Key, (LeaseId, bool)>,
    /// Places of leases that are not in the ledger yet.
    taken: BTreeSet<u8>,
    /// Ends that the ledger shows, of which the tally has not heard.
    untold: BTreeSet<u8>,
    /// Commits under way that end a lease, and are not to be seen.
    begun: BTreeSet<u8>,
    read: Option<(Vec<Entry>, bool)>,
    cursor: Option<Key>,
}

impl World {
    fn new(old: &[(u8, bool)]) -> Self {
        let shown = old.iter().map(|(n, live)| (Key::lease(id(*n)), (id(*n), *live))).collect();
        Self { tally: Tally::of_what_is_there(), shown, ..Self::default() }
    }

    fn entry(key: &Key, lease: LeaseId, live: bool) -> Entry {
        let at = Timestamp::UNIX_EPOCH;
        let limits = TtlLimits::new(Duration::from_secs(60), Duration::from_secs(60)).unwrap();
        let (holder, secret) = ("spiffe://example.org/a".parse().unwrap(), "prod/db".parse().unwrap());
        let (provider, term) = ("main".parse().unwrap(), limits.term(None, at));
        let mut stored = Lease::new_pending(lease, holder, secret, provider, term, at, at);
        stored.state =
            if live { LeaseState::Active } else { LeaseState::Revoked { cause: Cause::Holder, at } };
        Entry { key: key.clone(), value: stored.encode().unwrap(), revision: 1 }
    }

    fn act(&mut self, action: u8, n: u8) {
        let parties = of("spiffe://example.org/a", "prod/db");
        let (key, live) = (Key::lease(id(n)), self.shown.get(&Key::lease(id(n))).map(|(_, live)| *live));
        match action {
            // A new lease: its place, then itself, or not.
            0 if live.is_none() && self.taken.insert(n) => {
                self.tally.take(id(n), parties, FREE).unwrap().keep();
            }
            1 if self.taken.remove(&n) => {
                self.shown.insert(key, (id(n), true));
            }
            2 if self.taken.remove(&n) => {
                drop(Place { tally: &self.tally, lease: id(n), parties, kept: false });
            }
            // An end: begun, shown, told.
            3 if live == Some(true) && self.begun.insert(n) => self.tally.ending(id(n)),
            4 if self.begun.remove(&n) => {
                self.shown.insert(key, (id(n), false));
                self.untold.insert(n);
            }
            5 if self.untold.remove(&n) => self.tally.ended(id(n), parties, true),
            // Somebody else tries the same end in vain.
            6 if live.is_some() => {
                self.tally.ending(id(n));
                self.tally.ended(id(n), parties, false);
            }
            // The count: reads, then takes in what it read.
            7 if self.read.is_none() => {
                let next =
                    self.shown.iter().filter(|(key, _)| self.cursor.as_ref().is_none_or(|at| *key > at));
                let page: Vec<_> =
                    next.take(2).map(|(key, (id, live))| Self::entry(key, *id, *live)).collect();
                let last = page.len() < 2;
                self.read = Some((page, last));
            }
            8 => {
                if let Some((page, last)) = self.read.take() {
                    self.tally.count(&page, last);
                    self.cursor = page.last().map(|entry| entry.key.clone()).or(self.cursor.take());
                }
            }
            _ => {}
        }
    }

    /// Lets everything that was begun come to its end, and the count to its.
    fn settle(&mut self) {
        for n in 0..=u8::MAX {
            [1, 4, 5].into_iter().for_each(|action| self.act(action, n));
        }
        while self.tally.lock().census.is_some() {
            self.act(7, 0);
            self.act(8, 0);
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_while_they_are_counted_each_lease_counts_once(
        old in proptest::collection::vec((0_u8..12, any::<bool>()), 0..12),
        actions in proptest::collection::vec((0_u8..9, 0_u8..16), 0..120),
    ) {
        let mut world = World::new(&old);
        for (action, n) in actions {
            world.act(action, n);
            let (shown, counted) = (world.shown.values().filter(|(_, live)| *live).count(), world.tally.lock().total);
            let most: usize = [shown, world.taken.len(), world.untold.len(), world.begun.len()].iter().sum();
            prop_assert!(counted <= most as u64, "{counted} of at most {most}");
        }
        world.settle();
        let live = world.shown.values().filter(|(_, live)| *live).count() as u64;
        let state = world.tally.lock();
        prop_assert_eq!(state.total, live);
        prop_assert_eq!(state.holders.0.values().sum::<u64>(), live);
    }
}
