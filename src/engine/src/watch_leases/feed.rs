//! What holders are told, handed to each from the one reading of the ledger's changes.

use std::{collections::HashMap, sync::Arc};

use leasehold_core::{
    Lease, SecretPath, SpiffeId,
    lease::LeaseState,
    ports::Ledger,
    secret::VersionId,
    state::{Change, Key, KeyRange, Revision},
};
use tokio::sync::mpsc;

use crate::{desk::Audience, request::LeaseChange};

/// How many notices one watch may be behind. Room for them is made as they come: most watches wait for months.
const BUFFER: usize = 256;

/// Who watches, by holder.
#[derive(Default)]
pub(crate) struct LeaseWatchers(HashMap<SpiffeId, Watchers>);

/// What a holder's watch may have to tell.
#[derive(Clone)]
pub(crate) enum News {
    /// One of its leases was changed by this record.
    Lease(Revision, Arc<Lease>),
    /// This record gave a secret another current version: whoever holds another one is told.
    Rotated(Arc<Rotation>),
}

/// A secret has another current version.
pub(crate) struct Rotation {
    pub(super) secret: SecretPath,
    pub(super) version: VersionId,
    pub(super) revision: Revision,
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

impl LeaseWatchers {
    pub(super) fn listen(&mut self, holder: &SpiffeId) -> mpsc::Receiver<News> {
        let (sender, receiver) = mpsc::channel(BUFFER);
        let watchers = self.0.entry(holder.clone()).or_default();
        watchers.sweep();
        watchers.0.push(sender);
        receiver
    }
}

impl Audience for LeaseWatchers {
    type News = News;

    fn range() -> KeyRange {
        KeyRange::leases_and_rotations()
    }

    async fn news(_: &dyn Ledger, change: Change) -> Option<News> {
        if let Some(rotation) = rotation_of(&change) {
            return Some(News::Rotated(Arc::new(rotation)));
        }
        lease_of(&change).map(|lease| News::Lease(change.revision, Arc::new(lease)))
    }

    fn tell(&mut self, news: News) {
        match &news {
            News::Rotated(_) => self.0.retain(|_, watchers| watchers.tell(&news)),
            News::Lease(_, lease) => {
                if self.0.get_mut(&lease.holder).is_some_and(|watchers| !watchers.tell(&news)) {
                    self.0.remove(&lease.holder);
                }
            }
        }
    }

    fn sweep(&mut self) {
        self.0.retain(|_, watchers| watchers.sweep());
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
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
