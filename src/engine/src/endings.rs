//! The credentials that are about to be ended, in a line for each back end: however many leases end at once, a back end
//! is asked by a few tasks, and what waits costs no more than its id.
//!
//! The lines are kept in memory alone. Every lease in one has claimed its turn in the ledger, so what a crash forgets, or
//! what finds no room, is found by the reconciler when that claim is over.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use leasehold_core::{Lease, LeaseId, Timestamp, lease::LeaseState, provider::ProviderName, ttl::after};
use tracing::warn;

use crate::engine::Engine;

/// Who stands in line, by back end.
#[derive(Default)]
pub(crate) struct Endings {
    lines: Mutex<HashMap<ProviderName, Line>>,
}

/// Where in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Somebody asked for this one.
    First,
    /// Its time came, or it is one of many.
    Last,
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<LeaseId>,
    known: HashSet<LeaseId>,
    runners: usize,
}

/// Whoever finds the line as long as this is found by the reconciler again.
const LONGEST: usize = 65_536;
/// What one ending is taken to last, to tell how long the last in line will wait.
const USUALLY: Duration = Duration::from_millis(100);
/// For back ends that are no longer configured: each ending fails at once.
const FOR_NOBODY: usize = 2;

impl Engine {
    /// Ends the lease's credential as soon as its back end's turns allow. One that is in line already stays there.
    pub(crate) fn end_soon(self: &Arc<Self>, lease: &Lease, place: Place) {
        let most = self.runners(&lease.provider);
        if self.endings.enter(&lease.provider, lease.id, place, most) {
            tokio::spawn(self.clone().serve_line(lease.provider.clone()));
        }
    }

    /// Lets a claimed attempt last until its turn can have come: a lease in a long line is not claimed anew meanwhile.
    pub(crate) fn claim_for_the_wait(&self, lease: &mut Lease, now: Timestamp) {
        let ahead = self.endings.length(&lease.provider);
        let rounds = ahead.checked_div(self.runners(&lease.provider)).unwrap_or_default();
        let wait = USUALLY.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX));
        if wait > Duration::ZERO
            && let LeaseState::Revoking { next_try, .. } | LeaseState::Quarantined { next_try, .. } =
                &mut lease.state
        {
            *next_try = after(now, Lease::ATTEMPT.saturating_add(wait));
        }
    }

    async fn serve_line(self: Arc<Self>, provider: ProviderName) {
        while let Some(id) = self.endings.next(&provider) {
            match self.load(id).await {
                Ok(Some((lease, revision))) if is_to_be_ended(&lease) => {
                    self.clone().end_upstream(lease, revision).await;
                }
                Ok(_) => {}
                Err(problem) => {
                    warn!(lease = %id, error = %problem, "a revocation could not be read and is tried again");
                }
            }
        }
    }

    fn runners(&self, provider: &ProviderName) -> usize {
        self.upstreams.get(provider).map_or(FOR_NOBODY, |upstream| upstream.endings_at_once())
    }
}

impl Endings {
    /// How many wait.
    fn length(&self, provider: &ProviderName) -> usize {
        self.lines().get(provider).map_or(0, |line| line.waiting.len())
    }

    /// Whether whoever entered has to serve the line, too.
    fn enter(&self, provider: &ProviderName, id: LeaseId, place: Place, most: usize) -> bool {
        let mut lines = self.lines();
        let line = lines.entry(provider.clone()).or_default();
        let full = line.waiting.len() >= LONGEST && place == Place::Last;
        if full || !line.known.insert(id) {
            return false;
        }
        match place {
            Place::First => line.waiting.push_front(id),
            Place::Last => line.waiting.push_back(id),
        }
        let needed = line.runners < most;
        if needed {
            line.runners = line.runners.saturating_add(1);
        }
        needed
    }

    /// Who is next; `None` also takes whoever asks off the line's service.
    fn next(&self, provider: &ProviderName) -> Option<LeaseId> {
        let mut lines = self.lines();
        let line = lines.get_mut(provider)?;
        let next = line.waiting.pop_front();
        match next {
            Some(id) => drop(line.known.remove(&id)),
            None => {
                line.runners = line.runners.saturating_sub(1);
                if line.runners == 0 {
                    lines.remove(provider);
                }
            }
        }
        next
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<ProviderName, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it was not ended, given up or found to end by itself while it waited.
fn is_to_be_ended(lease: &Lease) -> bool {
    let on_its_way = matches!(lease.state, LeaseState::Revoking { .. } | LeaseState::Quarantined { .. });
    on_its_way && lease.irrevocable_until.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_served_by_a_few_in_order_and_forgotten() {
        let endings = Endings::default();
        let main = "main".parse().unwrap();
        let id = |n| LeaseId::from_bits([n; 16]);
        assert!(endings.enter(&main, id(1), Place::Last, 2));
        assert!(endings.enter(&main, id(2), Place::Last, 2));
        assert!(!endings.enter(&main, id(3), Place::Last, 2), "two serve it already");
        assert!(!endings.enter(&main, id(3), Place::First, 2), "it is in line already");
        assert!(!endings.enter(&main, id(4), Place::First, 2));
        assert_eq!(endings.length(&main), 4);
        let served: Vec<_> = std::iter::from_fn(|| endings.next(&main)).collect();
        assert_eq!(served, [id(4), id(1), id(2), id(3)]);
        assert_eq!(endings.next(&main), None);
        assert!(endings.lines().is_empty());
    }

    #[test]
    fn a_line_has_an_end_and_who_is_asked_for_finds_room_all_the_same() {
        let endings = Endings::default();
        let main = "main".parse().unwrap();
        let id = |n: usize| LeaseId::from_bits((n as u128).to_be_bytes());
        for n in 0..LONGEST {
            endings.enter(&main, id(n), Place::Last, 1);
        }
        endings.enter(&main, id(LONGEST), Place::Last, 1);
        assert_eq!(endings.length(&main), LONGEST);
        endings.enter(&main, id(LONGEST), Place::First, 1);
        assert_eq!(endings.next(&main), Some(id(LONGEST)));
    }
}
