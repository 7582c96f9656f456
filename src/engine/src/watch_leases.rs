//! WatchLeases: a holder is told what happens to its leases.
//!
//! One task reads the ledger's changes for all watchers and hands each holder its own; it runs while somebody watches.
//! Every buffer is bounded: who does not keep up is told so, and starts again from a snapshot.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use leasehold_core::{
    Lease, LeaseId, SpiffeId,
    lease::LeaseState,
    record::Actor,
    state::{Change, Key, KeyRange, Revision},
};
use tokio::{
    sync::broadcast::{self, error::RecvError},
    task::coop,
};

use crate::{
    engine::Engine,
    error::EngineError,
    request::{LeaseChange, LeaseNotice},
};

/// How many notices one holder's watch may be behind.
const BUFFER: usize = 256;
/// After so many changes, holders who watch no more are forgotten.
const SWEEP: u32 = 1024;

/// Where watchers wait, by holder.
#[derive(Default)]
pub(crate) struct Feed {
    desk: Arc<Mutex<Desk>>,
}

#[derive(Default)]
struct Desk {
    holders: HashMap<SpiffeId, broadcast::Sender<LeaseNotice>>,
    staffed: bool,
}

impl Engine {
    /// The caller's leases as they are, then every change of them. With `after`, only what changed behind that position.
    ///
    /// The stream ends with [`EngineError::WatchLagged`] when the watcher does not keep up.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn watch_leases(
        &self,
        actor: Actor,
        after: Option<Revision>,
    ) -> Result<BoxStream<'static, Result<LeaseNotice, EngineError>>, EngineError> {
        // First listen, then read: what changes in between is seen twice and told once.
        let notices = self.feed.listen(self, &actor.id);
        let snapshot = self.snapshot(&actor.id, after).await?;
        let told: HashMap<LeaseId, Revision> =
            snapshot.iter().map(|notice| (notice.lease.id, notice.revision)).collect();
        let floor = after.unwrap_or_default();
        let changes = stream::unfold(Some(notices), |notices| async {
            let mut notices = notices?;
            match notices.recv().await {
                Ok(notice) => Some((Ok(notice), Some(notices))),
                Err(RecvError::Lagged(_) | RecvError::Closed) => Some((Err(EngineError::WatchLagged), None)),
            }
        })
        .filter(move |notice| {
            let news = notice.as_ref().map_or(true, |notice| {
                notice.revision > told.get(&notice.lease.id).copied().unwrap_or(floor)
            });
            std::future::ready(news)
        });
        Ok(stream::iter(snapshot.into_iter().map(Ok)).chain(changes).boxed())
    }

    async fn snapshot(
        &self,
        holder: &SpiffeId,
        after: Option<Revision>,
    ) -> Result<Vec<LeaseNotice>, EngineError> {
        const PAGE: usize = 1000;
        let mut range = KeyRange::held_by(holder);
        let mut notices = Vec::new();
        // The latest record that is known to be in all that is read here. Of a later one only a part may be: leases that
        // were read before it changed them.
        let mut whole = None;
        loop {
            let page = self.ledger.scan(&range, PAGE).await?;
            let seen = || page.iter().map(|entry| entry.revision).chain(after).max().unwrap_or_default();
            let whole = *whole.get_or_insert_with(seen);
            for entry in &page {
                coop::consume_budget().await;
                let Some(id) = entry.key.lease_id() else { continue };
                let Some((lease, revision)) = self.load(id).await? else { continue };
                let change = match after {
                    Some(after) if revision <= after => continue,
                    Some(_) => change_of(&lease),
                    None if lease.is_ended() => continue,
                    None => LeaseChange::Snapshot,
                };
                notices.push(LeaseNotice {
                    revision,
                    resume: revision.min(whole),
                    change,
                    lease: Arc::new(lease),
                });
            }
            match page.last() {
                Some(last) if page.len() == PAGE => range = range.after(&last.key),
                _ => break,
            }
        }
        notices.sort_by_key(|notice| notice.revision);
        Ok(notices)
    }
}

impl Feed {
    fn listen(&self, engine: &Engine, holder: &SpiffeId) -> broadcast::Receiver<LeaseNotice> {
        let mut desk = lock(&self.desk);
        let receiver =
            desk.holders.entry(holder.clone()).or_insert_with(|| broadcast::channel(BUFFER).0).subscribe();
        if !desk.staffed {
            desk.staffed = true;
            let changes = engine.ledger.watch(KeyRange::leases());
            tokio::spawn(hand_out(self.desk.clone(), changes));
        }
        receiver
    }
}

/// Hands changes to their holders until nobody listens, or until it falls behind itself: then every watcher is cut off
/// and starts again.
async fn hand_out(
    desk: Arc<Mutex<Desk>>,
    mut changes: BoxStream<'static, Result<Change, leasehold_core::state::LedgerError>>,
) {
    let mut since_sweep = 0_u32;
    while let Some(Ok(change)) = changes.next().await {
        let mut desk = lock(&desk);
        if let Some(notice) = notice_of(&change)
            && let Some(sender) = desk.holders.get(&notice.lease.holder)
            && let Err(nobody) = sender.send(notice)
        {
            desk.holders.remove(&nobody.0.lease.holder);
        }
        since_sweep = since_sweep.saturating_add(1);
        if since_sweep >= SWEEP {
            since_sweep = 0;
            desk.holders.retain(|_, sender| sender.receiver_count() > 0);
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

fn notice_of(change: &Change) -> Option<LeaseNotice> {
    let lease = Lease::decode(change.value.as_ref()?).ok()?;
    if change.key != Key::lease(lease.id) || matches!(lease.state, LeaseState::Pending { .. }) {
        return None;
    }
    let (revision, told) = (change.revision, change_of(&lease));
    Some(LeaseNotice { revision, resume: revision, change: told, lease: Arc::new(lease) })
}

fn change_of(lease: &Lease) -> LeaseChange {
    match lease.state {
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
