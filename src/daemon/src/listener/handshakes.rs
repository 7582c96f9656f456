//! Handshakes that are going on: strangers' connections, so bounded in number and in time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::AbortHandle,
    time::{Instant, sleep_until},
};

/// The handshakes in progress. When there are too many, accepting waits until one ends or the oldest has had a
/// second, which an honest one does not need; that one is cut. So stalled peers delay others by little, and a crowd
/// that comes back at once is served in turn.
pub(crate) struct Handshakes {
    limit: usize,
    freed: Notify,
    state: Mutex<State>,
}

/// One handshake's place; dropped when it ends.
pub(crate) struct Place {
    handshakes: Arc<Handshakes>,
    number: u64,
}

#[derive(Default)]
struct State {
    next: u64,
    going: BTreeMap<u64, Going>,
}

struct Going {
    began: Instant,
    /// Absent for the moment between taking the place and starting the task.
    task: Option<AbortHandle>,
}

const GRACE: Duration = Duration::from_secs(1);

impl Handshakes {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit: limit.max(1), freed: Notify::new(), state: Mutex::default() })
    }

    /// Returns when there is room for one more; the answer says whether a stalled one was cut for it.
    pub(crate) async fn room(&self) -> bool {
        loop {
            let oldest = {
                let state = self.lock();
                match state.going.first_key_value() {
                    Some((number, going)) if state.going.len() >= self.limit => (*number, going.began),
                    _ => return false,
                }
            };
            let until = oldest.1.checked_add(GRACE).unwrap_or(oldest.1);
            tokio::select! {
                () = self.freed.notified() => {}
                () = sleep_until(until) => {
                    let cut = self.lock().going.remove(&oldest.0);
                    if let Some(task) = cut.and_then(|going| going.task) {
                        task.abort();
                        return true;
                    }
                }
            }
        }
    }

    /// Takes a place.
    pub(crate) fn enter(self: &Arc<Self>) -> Place {
        let mut state = self.lock();
        let number = state.next;
        state.next = number.saturating_add(1);
        state.going.insert(number, Going { began: Instant::now(), task: None });
        Place { handshakes: Arc::clone(self), number }
    }

    /// Names the task that a place belongs to.
    pub(crate) fn started(&self, number: u64, task: AbortHandle) {
        if let Some(going) = self.lock().going.get_mut(&number) {
            going.task = Some(task);
        }
    }

    /// Cuts all of them.
    pub(crate) fn abort_all(&self) {
        for going in std::mem::take(&mut self.lock().going).into_values() {
            if let Some(task) = going.task {
                task.abort();
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().going.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.handshakes.lock().going.remove(&self.number);
        self.handshakes.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stalled_handshake_makes_room_after_its_grace() {
        let handshakes = Handshakes::new(2);
        let mut tasks = Vec::new();
        for _ in 0..2 {
            assert!(!handshakes.room().await);
            let place = handshakes.enter();
            let number = place.number();
            let task = tokio::spawn(async move {
                let _place = place;
                pending::<()>().await;
            });
            handshakes.started(number, task.abort_handle());
            tasks.push(task);
        }
        let before = Instant::now();
        assert!(handshakes.room().await, "the oldest is cut");
        assert_eq!(before.elapsed(), GRACE);
        assert!(tasks.remove(0).await.unwrap_err().is_cancelled());
        assert_eq!(handshakes.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_ends_makes_room_at_once() {
        let handshakes = Handshakes::new(1);
        let place = handshakes.enter();
        let before = Instant::now();
        let (cut, ()) = tokio::join!(handshakes.room(), async { drop(place) });
        assert!(!cut);
        assert_eq!(before.elapsed(), Duration::ZERO);
    }
}
