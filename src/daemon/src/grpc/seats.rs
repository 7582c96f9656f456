//! How many long streams may be open: in all, and by one principal.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use leasehold_core::SpiffeId;

use super::status::EdgeError;

/// How many seats there are.
#[derive(Clone, Copy)]
pub(super) struct Room {
    /// In all.
    pub(super) total: usize,
    /// For one principal.
    pub(super) each: usize,
    /// Their names, as whoever is turned away is told them.
    pub(super) names: [&'static str; 2],
}

/// The seats of one kind of stream.
#[derive(Clone)]
pub(super) struct Seats(Arc<Hall>);

/// One stream's seat; free again when dropped.
pub(super) struct Seat {
    hall: Arc<Hall>,
    principal: SpiffeId,
}

struct Hall {
    room: Room,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    count: usize,
    by: HashMap<SpiffeId, usize>,
}

impl Seats {
    pub(super) fn new(room: Room) -> Self {
        Self(Arc::new(Hall { room, taken: Mutex::default() }))
    }

    /// A seat for `principal`, while there is one.
    pub(super) fn take(&self, principal: &SpiffeId) -> Result<Seat, EdgeError> {
        let mut taken = self.0.lock();
        let own = taken.by.get(principal).copied().unwrap_or_default();
        let Room { total, each, names: [in_all, by_one] } = self.0.room;
        // That there is room for others helps nobody who has taken all of his own.
        if own >= each {
            return Err(EdgeError::TooManyStreams { limit: by_one });
        }
        if taken.count >= total {
            return Err(EdgeError::TooManyStreams { limit: in_all });
        }
        taken.count = taken.count.saturating_add(1);
        taken.by.insert(principal.clone(), own.saturating_add(1));
        Ok(Seat { hall: self.0.clone(), principal: principal.clone() })
    }
}

impl Hall {
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.hall.lock();
        taken.count = taken.count.saturating_sub(1);
        if let Some(own) = taken.by.get_mut(&self.principal) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                taken.by.remove(&self.principal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_limited_in_all_and_for_each_and_come_back() {
        let seats = Seats::new(Room { total: 3, each: 2, names: ["all", "each"] });
        let refused = |seat: Result<Seat, EdgeError>| match seat {
            Err(EdgeError::TooManyStreams { limit }) => Some(limit),
            _ => None,
        };
        let id = |name| format!("spiffe://example.org/{name}").parse::<SpiffeId>().unwrap();
        let first = seats.take(&id("a")).unwrap();
        let _second = seats.take(&id("a")).unwrap();
        assert_eq!(refused(seats.take(&id("a"))), Some("each"));
        let third = seats.take(&id("b")).unwrap();
        assert_eq!(refused(seats.take(&id("c"))), Some("all"));
        drop(third);
        drop(first);
        assert!(seats.take(&id("a")).is_ok());
        assert_eq!(seats.0.lock().by.len(), 1);
    }
}
