//! One watch of the caller's leases for all guards of a client, and who of them is to hear what.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use leasehold_core::LeaseId;
use tokio::sync::{Notify, watch};

use super::WhyEnded;
use crate::{Client, LeaseChange, LeaseState, Notice, backoff::Backoff};

/// What the broker has told of one lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// The secret has another current version.
    pub(crate) rotated: bool,
    /// The lease is not to be used any more.
    pub(crate) ended: Option<WhyEnded>,
}

/// Who listens.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    state: Mutex<State>,
    left: Notify,
}

#[derive(Debug, Default)]
struct State {
    listeners: HashMap<LeaseId, watch::Sender<Heard>>,
    /// So many leases are being asked for whose ids are not known yet.
    expected: usize,
    /// What was told while some were, of leases that nobody listens for: it may be one of those.
    unclaimed: VecDeque<(LeaseId, Heard)>,
    watching: bool,
}

/// A lease that is being asked for: what is told of it before its id is known is not lost.
#[derive(Debug)]
pub(crate) struct Expecting {
    hub: Arc<Hub>,
}

/// Somebody who listens for one lease; until it is dropped.
#[derive(Debug)]
pub(crate) struct Listening {
    hub: Arc<Hub>,
    lease: LeaseId,
    heard: watch::Receiver<Heard>,
}

/// Of leases that nobody listens for, so many notices are kept at most.
const UNCLAIMED: usize = 1024;
/// The watch is kept for so long when nobody needs it.
const LINGER: Duration = Duration::from_secs(10);
const AGAIN: Backoff = Backoff { first: Duration::from_millis(100), most: Duration::from_secs(15) };

impl Hub {
    /// Announces a lease whose id is not known yet.
    pub(crate) fn expect(self: &Arc<Self>) -> Expecting {
        let mut state = self.state();
        state.expected = state.expected.saturating_add(1);
        Expecting { hub: Arc::clone(self) }
    }

    /// Hands what was told of a lease to whom it concerns.
    pub(crate) fn tell(&self, lease: LeaseId, heard: Heard) {
        let mut state = self.state();
        if let Some(listener) = state.listeners.get(&lease) {
            listener.send_if_modified(|known| known.add(heard));
        } else if state.expected > 0 {
            if state.unclaimed.len() >= UNCLAIMED {
                state.unclaimed.pop_front();
            }
            state.unclaimed.push_back((lease, heard));
        }
    }

    /// Whether a watch has to be begun, for nobody keeps one.
    fn begin(&self) -> bool {
        !std::mem::replace(&mut self.state().watching, true)
    }

    fn is_needed(&self) -> bool {
        let state = self.state();
        state.expected > 0 || !state.listeners.is_empty()
    }

    /// Whether the watch may end; it has then.
    fn end(&self) -> bool {
        let mut state = self.state();
        let over = state.expected == 0 && state.listeners.is_empty();
        state.watching &= !over;
        over
    }

    /// Returns when nobody has needed it for a while.
    async fn unneeded(&self) {
        loop {
            while self.is_needed() {
                self.left.notified().await;
            }
            tokio::time::sleep(LINGER).await;
            if !self.is_needed() {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heard {
    /// Adds what is new, and whether there was anything.
    fn add(&mut self, other: Self) -> bool {
        let before = *self;
        self.rotated |= other.rotated;
        self.ended = self.ended.or(other.ended);
        *self != before
    }
}

impl Expecting {
    /// Listens for the lease that it was, hearing first what was told of it before.
    pub(crate) fn listen(self, lease: LeaseId) -> Listening {
        let mut known = Heard::default();
        let mut state = self.hub.state();
        for (_, heard) in state.unclaimed.iter().filter(|(id, _)| *id == lease) {
            known.add(*heard);
        }
        let (sender, mut heard) = watch::channel(known);
        // What was told before is news, too.
        if known != Heard::default() {
            heard.mark_changed();
        }
        state.listeners.insert(lease, sender);
        drop(state);
        Listening { hub: Arc::clone(&self.hub), lease, heard }
    }
}

impl Drop for Expecting {
    fn drop(&mut self) {
        let mut state = self.hub.state();
        state.expected = state.expected.saturating_sub(1);
        if state.expected == 0 {
            state.unclaimed = VecDeque::new();
        }
        drop(state);
        self.hub.left.notify_one();
    }
}

impl Listening {
    /// What is told next; waits for ever when nothing is.
    pub(crate) async fn next(&mut self) -> Heard {
        match self.heard.changed().await {
            Ok(()) => *self.heard.borrow_and_update(),
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.hub.state().listeners.remove(&self.lease);
        self.hub.left.notify_one();
    }
}

impl Client {
    /// Announces a lease, and has the watch going.
    pub(crate) fn expect_lease(&self) -> Expecting {
        let expecting = self.hub().expect();
        if self.hub().begin() {
            tokio::spawn(watch_for_all(self.clone()));
        }
        expecting
    }
}

/// Watches the caller's leases for as long as a guard needs it: from where it was, on whatever connection there is.
async fn watch_for_all(client: Client) {
    let hub = Arc::clone(client.hub());
    let mut replaced = client.calls().transport.replaced();
    let mut place = None;
    let mut failures = 0_u32;
    loop {
        let watched = tokio::select! {
            () = hub.unneeded() => None,
            watched = watch_once(&client, &hub, &mut place, &mut replaced) => Some(watched),
        };
        match watched {
            None => {
                if hub.end() {
                    return;
                }
            }
            // The connection was replaced: the watch goes on where it was on the new one.
            Some(Ok(())) => failures = 0,
            Some(Err(Lost { error, told })) => {
                failures = if told { 1 } else { failures.saturating_add(1) };
                // A place that the broker does not know is begun anew.
                if error.as_ref().is_some_and(|error| matches!(error, crate::Error::Invalid { .. })) {
                    place = None;
                }
                let asked = error.as_ref().and_then(crate::Error::retry_after).unwrap_or_default();
                let wait = AGAIN.after(failures, client.calls().random.chance()).max(asked);
                tracing::debug!(?error, "the watch of leases was lost and is begun again");
                tokio::time::sleep(wait).await;
            }
        }
    }
}

/// A watch that has ended.
struct Lost {
    error: Option<crate::Error>,
    /// Whether it had told anything.
    told: bool,
}

async fn watch_once(
    client: &Client,
    hub: &Hub,
    place: &mut Option<String>,
    replaced: &mut watch::Receiver<u64>,
) -> Result<(), Lost> {
    replaced.mark_unchanged();
    let mut told = false;
    let mut watch =
        client.watch_leases_once(place.clone()).await.map_err(|error| Lost { error: Some(error), told })?;
    loop {
        let notice = tokio::select! {
            notice = watch.next() => notice,
            // Its sender lives as long as the client.
            _ = replaced.changed() => return Ok(()),
        };
        match notice {
            Ok(Some(notice)) => {
                if let Some(heard) = heard(&notice) {
                    hub.tell(notice.lease.id, heard);
                }
                told = true;
                *place = Some(notice.resume_token);
            }
            Ok(None) => return Err(Lost { error: None, told }),
            Err(error) => return Err(Lost { error: Some(error), told }),
        }
    }
}

/// What a notice says of its lease; nothing when it says that all is well.
fn heard(notice: &Notice) -> Option<Heard> {
    let ended = |why| Some(Heard { ended: Some(why), ..Heard::default() });
    match notice.change {
        LeaseChange::Rotated | LeaseChange::Moved => Some(Heard { rotated: true, ended: None }),
        LeaseChange::Revoked | LeaseChange::Quarantined => ended(WhyEnded::Revoked),
        LeaseChange::Expired => ended(WhyEnded::Expired),
        LeaseChange::Draining => Some(Heard { rotated: true, ended: None }),
        LeaseChange::Retired => ended(WhyEnded::Retired),
        _ => match notice.lease.state {
            LeaseState::Pending | LeaseState::Active | LeaseState::Unknown => None,
            LeaseState::Expired => ended(WhyEnded::Expired),
            _ => ended(WhyEnded::Revoked),
        },
    }
}
