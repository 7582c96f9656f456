//! The open connections, and who has how many.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use leasehold_core::{SpiffeId, Timestamp};
use tokio::time::Instant;

use super::{
    admission::{self, Admission, Bounds, Counts, Refused},
    connection::Connection,
    refusal::Ending,
};

/// The open connections within their bounds.
pub(crate) struct Registry {
    bounds: Bounds,
    state: Mutex<State>,
}

/// One connection's place; dropped when it has closed.
pub(crate) struct Place {
    registry: Arc<Registry>,
    number: u64,
}

#[derive(Default)]
struct State {
    closed: bool,
    next: u64,
    open: HashMap<u64, Open>,
    holders: HashMap<SpiffeId, usize>,
}

struct Open {
    connection: Arc<Connection>,
    /// When it was last known to be in use.
    used: Instant,
}

/// So many verifications are done before other tasks get their turn; each takes some 100 microseconds.
const VERIFICATIONS_AT_A_TIME: usize = 8;

impl Registry {
    pub(crate) fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self { bounds, state: Mutex::default() })
    }

    /// Takes a place, possibly at another connection's cost.
    pub(crate) fn admit(self: &Arc<Self>, connection: &Arc<Connection>) -> Result<Place, Refused> {
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.closed {
            return Err(Refused::Stopping);
        }
        let principal = connection.peer().principal();
        let own = state.holders.get(principal).copied().unwrap_or(0);
        let principals = state.holders.len().saturating_add(usize::from(own == 0));
        match admission::decide(Counts { total: state.open.len(), own, principals }, self.bounds) {
            Admission::Admit => {}
            Admission::Displace => state.displace().ok_or(Refused::Full)?,
            Admission::Refuse(why) => return Err(why),
        }
        let number = state.next;
        state.next = number.saturating_add(1);
        match state.holders.get_mut(principal) {
            Some(count) => *count = count.saturating_add(1),
            None => {
                state.holders.insert(principal.clone(), 1);
            }
        }
        state.open.insert(number, Open { connection: Arc::clone(connection), used: Instant::now() });
        Ok(Place { registry: Arc::clone(self), number })
    }

    /// Ends the connections that are no longer trusted, and those that have been idle for too long.
    pub(crate) async fn sweep(&self, now: Timestamp, idle_timeout: Duration) {
        let mut unsettled = Vec::new();
        {
            let at = Instant::now();
            for open in self.lock().open.values_mut() {
                if open.connection.take_used() {
                    open.used = at;
                } else if at.saturating_duration_since(open.used) >= idle_timeout {
                    open.connection.end(Ending::Idle);
                }
                if !open.connection.guard().is_settled(now) {
                    unsettled.push(Arc::clone(&open.connection));
                }
            }
        }
        for some in unsettled.chunks(VERIFICATIONS_AT_A_TIME) {
            for connection in some {
                if let Err(why) = connection.check(now) {
                    let peer = connection.peer();
                    tracing::info!(principal = %peer.principal(), reason = why.reason(), "ended a connection: {why}");
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// Ends all of them, and lets no more in.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        for open in state.open.values() {
            open.connection.end(Ending::Stopping);
        }
    }

    /// Open connections, and principals who have some.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let state = self.lock();
        (state.open.len(), state.holders.len())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Ends a connection of the principal with the most: the longest idle one, or the longest unused when all are in use,
    /// since keeping connections busy must not be a way to lock the others out.
    fn displace(&mut self) -> Option<()> {
        let (most, _) = self.holders.iter().max_by_key(|(_, count)| **count)?;
        let theirs = self.open.iter().filter(|(_, open)| open.connection.peer().principal() == most);
        let number =
            *theirs.min_by_key(|(number, open)| (open.connection.has_streams(), open.used, **number))?.0;
        self.remove(number)?.end(Ending::Displaced);
        Some(())
    }

    fn remove(&mut self, number: u64) -> Option<Arc<Connection>> {
        let connection = self.open.remove(&number)?.connection;
        let principal = connection.peer().principal();
        if let Some(count) = self.holders.get_mut(principal) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.holders.remove(principal);
            }
        }
        Some(connection)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.registry.lock().remove(self.number);
    }
}
