//! What holders are told, handed to each from the one reading of the ledger's changes.

use std::{collections::HashMap, sync::Arc};

use leasehold_core::{
    Lease, SecretPath, SpiffeId,
    lease::LeaseState,
    ports::Ledger,
    rotation::{Rotation, Told},
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
    /// This happened to the versions of a secret: whoever holds one that it concerns is told.
    Told(Arc<Telling>),
}

/// What one record tells the holders of a secret.
pub(crate) struct Telling {
    pub(super) secret: SecretPath,
    pub(super) revision: Revision,
    pub(super) told: Vec<Told>,
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

    async fn news(ledger: &dyn Ledger, change: Change) -> Option<News> {
        if let Some(secret) = change.key.rotation_of() {
            return telling(ledger, secret, &change).await.map(|telling| News::Told(Arc::new(telling)));
        }
        lease_of(&change).map(|lease| News::Lease(change.revision, Arc::new(lease)))
    }

    fn tell(&mut self, news: News) {
        match &news {
            News::Told(_) => self.0.retain(|_, watchers| watchers.tell(&news)),
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

/// What a step of a rotation tells; `None` when that is nothing, or concerns nobody, so that nobody looks at all its leases
/// for nothing.
async fn telling(ledger: &dyn Ledger, secret: SecretPath, change: &Change) -> Option<Telling> {
    let rotation = Rotation::decode(change.value.as_ref()?).ok()?;
    let mut told = Vec::new();
    for notice in rotation.news() {
        let range = match &notice.told {
            Told::Rotated { .. } => KeyRange::on_secret(&secret),
            Told::Draining { version, .. } | Told::Retired { version } => {
                KeyRange::on_version(&secret, version)
            }
        };
        // Who cannot be asked about is told.
        if ledger.scan(&range, 1).await.is_ok_and(|held| held.is_empty()) {
            continue;
        }
        told.push(notice.told.clone());
    }
    (!told.is_empty()).then_some(Telling { secret, revision: change.revision, told })
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

impl From<Told> for LeaseChange {
    fn from(told: Told) -> Self {
        match told {
            Told::Rotated { version } => Self::Rotated { current: version },
            Told::Draining { deadline, .. } => Self::Draining { deadline },
            Told::Retired { .. } => Self::Retired,
        }
    }
}
