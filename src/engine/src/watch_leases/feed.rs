//! One task reads the ledger's changes for all watchers and hands each holder its own; it runs while somebody watches.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{StreamExt, stream::BoxStream};
use leasehold_core::{
    Lease, SecretPath, SpiffeId,
    lease::LeaseState,
    secret::VersionId,
    state::{Change, Key, KeyRange, LedgerError, Revision},
};
use tokio::sync::mpsc;

use crate::{engine::Engine, request::LeaseChange};

/// How many notices one watch may be behind. Room for them is made as they come: most watches wait for months.
const BUFFER: usize = 256;
/// After so many changes, holders who watch no more are forgotten.
const SWEEP: u32 = 1024;

/// Where watchers wait, by holder.
#[derive(Default)]
pub(crate) struct Feed {
    desk: Arc<Mutex<Desk>>,
}

/// What a holder's watch may have to tell.
#[derive(Clone)]
pub(super) enum News {
    /// One of its leases was changed by this record.
    Lease(Revision, Arc<Lease>),
    /// This record gave a secret another current version: whoever holds another one is told.
    Rotated(Arc<Rotation>),
}

/// A secret has another current version.
pub(super) struct Rotation {
    pub(super) secret: SecretPath,
    pub(super) version: VersionId,
    pub(super) revision: Revision,
}

#[derive(Default)]
struct Desk {
    holders: HashMap<SpiffeId, Watchers>,
    staffed: bool,
}

/// One holder's watches.
#[derive(Default)]
struct Watchers(Vec<mpsc::Sender<News>>);

impl Watchers {
    /// Tells all of them, and forgets those who have left or do not keep up; false when none is left.
    fn tell(&mut self, news: &News) -> bool {
        self.0.retain(|watcher| watcher.try_send(news.clone()).is_ok());
        !self.0.is_empty()
    }

    /// Forgets those who have left; false when none is left.
    fn sweep(&mut self) -> bool {
        self.0.retain(|watcher| !watcher.is_closed());
        !self.0.is_empty()
    }
}

impl Feed {
    pub(super) fn listen(&self, engine: &Engine, holder: &SpiffeId) -> mpsc::Receiver<News> {
        let mut desk = lock(&self.desk);
        let (sender, receiver) = mpsc::channel(BUFFER);
        let watchers = desk.holders.entry(holder.clone()).or_default();
        watchers.sweep();
        watchers.0.push(sender);
        if !desk.staffed {
            desk.staffed = true;
            let changes = engine.ledger.watch(KeyRange::leases_and_rotations());
            tokio::spawn(hand_out(self.desk.clone(), changes));
        }
        receiver
    }
}

/// Hands changes to their holders until nobody listens, or until it falls behind itself: then every watcher is cut off
/// and starts again.
async fn hand_out(desk: Arc<Mutex<Desk>>, mut changes: BoxStream<'static, Result<Change, LedgerError>>) {
    let mut since_sweep = 0_u32;
    while let Some(Ok(change)) = changes.next().await {
        let mut desk = lock(&desk);
        desk.tell(&change);
        since_sweep = since_sweep.saturating_add(1);
        if since_sweep >= SWEEP {
            since_sweep = 0;
            desk.holders.retain(|_, watchers| watchers.sweep());
        }
        if desk.holders.is_empty() {
            desk.staffed = false;
            return;
        }
    }
    let mut desk = lock(&desk);
    desk.staffed = false;
    desk.holders.clear();
}

impl Desk {
    fn tell(&mut self, change: &Change) {
        if let Some(rotation) = rotation_of(change) {
            let news = News::Rotated(Arc::new(rotation));
            self.holders.retain(|_, watchers| watchers.tell(&news));
        } else if let Some(lease) = lease_of(change)
            && let Some(watchers) = self.holders.get_mut(&lease.holder)
        {
            let lease = Arc::new(lease);
            if !watchers.tell(&News::Lease(change.revision, lease.clone())) {
                self.holders.remove(&lease.holder);
            }
        }
    }
}

fn lease_of(change: &Change) -> Option<Lease> {
    let lease = Lease::decode(change.value.as_ref()?).ok()?;
    let told = change.key == Key::lease(lease.id) && !matches!(lease.state, LeaseState::Pending { .. });
    told.then_some(lease)
}

fn rotation_of(change: &Change) -> Option<Rotation> {
    let secret = change.key.current_of()?;
    let version = std::str::from_utf8(change.value.as_ref()?.expose()).ok()?.parse().ok()?;
    Some(Rotation { secret, version, revision: change.revision })
}

/// What has happened to a lease that is like this now.
pub(super) fn change_of(lease: &Lease) -> LeaseChange {
    match lease.state {
        LeaseState::Active if lease.moved => LeaseChange::Moved,
        LeaseState::Pending { .. } | LeaseState::Active if lease.renewals == 0 => LeaseChange::Issued,
        LeaseState::Pending { .. } | LeaseState::Active => LeaseChange::Renewed,
        LeaseState::Revoking { .. } | LeaseState::Revoked { .. } | LeaseState::Forgotten { .. } => {
            LeaseChange::Revoked
        }
        LeaseState::Expired { .. } => LeaseChange::Expired,
        LeaseState::Quarantined { .. } => LeaseChange::Quarantined,
    }
}

fn lock(desk: &Mutex<Desk>) -> MutexGuard<'_, Desk> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}
