//! How many long streams may be open: in all, and by one principal.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use leasehold_core::SpiffeId;

use super::status::EdgeError;

/// The seats of one kind of stream.
#[derive(Clone)]
pub(super) struct Seats(Arc<Hall>);

/// One stream's seat; free again when dropped.
pub(super) struct Seat {
    hall: Arc<Hall>,
    principal: SpiffeId,
}

struct Hall {
    total: usize,
    each: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    count: usize,
    by: HashMap<SpiffeId, usize>,
}

impl Seats {
    pub(super) fn new(total: usize, each: usize) -> Self {
        Self(Arc::new(Hall { total, each, taken: Mutex::default() }))
    }

    /// A seat for `principal`, while there is one.
    pub(super) fn take(&self, principal: &SpiffeId) -> Result<Seat, EdgeError> {
        let mut taken = self.0.lock();
        let own = taken.by.get(principal).copied().unwrap_or_default();
        if taken.count >= self.0.total || own >= self.0.each {
            return Err(EdgeError::TooManyStreams);
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
        let seats = Seats::new(3, 2);
        let id = |name| format!("spiffe://example.org/{name}").parse::<SpiffeId>().unwrap();
        let first = seats.take(&id("a")).unwrap();
        let _second = seats.take(&id("a")).unwrap();
        assert!(seats.take(&id("a")).is_err());
        let third = seats.take(&id("b")).unwrap();
        assert!(seats.take(&id("c")).is_err());
        drop(third);
        drop(first);
        assert!(seats.take(&id("a")).is_ok());
        assert_eq!(seats.0.lock().by.len(), 1);
    }
}
