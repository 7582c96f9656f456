//! The one background task of revocations: it takes up what the ledger has of them, works on each, and removes those that
//! ended long enough ago.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use leasehold_core::{
    record::Kind,
    state::{Commit, Key, KeyRange},
    ttl::after,
};
use tokio::{sync::watch, time::sleep};
use tracing::{info, warn};

use super::{course::Course, job::Job};
use crate::{engine::Engine, error::EngineError};

/// How long a revocation can still be looked at after its end.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// So many can be looked at; older ones go earlier when there are more.
const MOST_KEPT: usize = 1000;
/// More than may go on at once.
const MOST_FOUND: usize = 1000;
/// One commit removes so many.
const PURGED_AT_ONCE: usize = 100;
/// It looks so often for those that ended long ago.
const PURGE_PERIOD: Duration = Duration::from_secs(600);
/// After the ledger refused, it waits this long.
const PAUSE: Duration = Duration::from_secs(1);

impl Engine {
    /// Works on the revocations of many leases until `stop` says true.
    pub(crate) async fn run_revocations(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let work = async {
            self.released().await;
            while let Err(problem) = self.resume_revocations().await {
                warn!(error = %problem, "the revocations that go on could not be read; tried again");
                sleep(PAUSE).await;
            }
            let mut running = FuturesUnordered::new();
            let mut next_purge = self.now();
            loop {
                if next_purge <= self.now() {
                    if let Err(problem) = self.purge_revocations().await {
                        warn!(error = %problem, "old revocations could not be removed; tried again later");
                    }
                    next_purge = after(self.now(), PURGE_PERIOD);
                }
                while let Some(job) = self.revocations.next() {
                    running.push(Course::of(self.clone(), job).run());
                }
                tokio::select! {
                    _ = running.next(), if !running.is_empty() => {}
                    () = self.revocations.news.notified() => {}
                    () = self.clock.sleep_until(next_purge) => {}
                }
            }
        };
        tokio::select! {
            () = work => {}
            _ = stop.wait_for(|stopping| *stopping) => {}
        }
    }

    /// Takes up what another process left, or this one before the task ran.
    async fn resume_revocations(&self) -> Result<(), EngineError> {
        for entry in self.ledger.scan(&KeyRange::running_revocations(), MOST_FOUND).await? {
            let Some(id) = entry.key.revocation_id() else { continue };
            if self.revocations.running().contains_key(&id) {
                continue;
            }
            if let Some(stored) = self.ledger.get(&Key::revocation(id)).await? {
                info!(revocation = %id, "the revocation of many leases goes on");
                self.revocations.take_up(Job::decode(&stored.value)?);
            }
        }
        Ok(())
    }

    async fn purge_revocations(&self) -> Result<(), EngineError> {
        let now = self.now();
        let mut range = KeyRange::revocations();
        let mut seen = 0_usize;
        let mut old = Vec::new();
        loop {
            let page = self.ledger.scan(&range, PURGED_AT_ONCE).await?;
            for entry in &page {
                seen = seen.saturating_add(1);
                let Some(id) = entry.key.revocation_id() else { continue };
                let Some(stored) = self.ledger.get(&Key::revocation(id)).await? else { continue };
                let job = Job::decode(&stored.value)?;
                let over = job.ended_at.is_some_and(|end| after(end, KEPT) <= now || seen > MOST_KEPT);
                if over {
                    old.push(job);
                }
            }
            if old.len() >= PURGED_AT_ONCE {
                self.remove_revocations(&old).await?;
                old.clear();
            }
            match page.last() {
                Some(last) if page.len() == PURGED_AT_ONCE => range = range.after(&last.key),
                _ => break,
            }
        }
        if old.is_empty() { Ok(()) } else { self.remove_revocations(&old).await }
    }

    async fn remove_revocations(&self, old: &[Job]) -> Result<(), EngineError> {
        let mut record = self.record(Kind::LeasePurged, &self.broker);
        record.details.insert("revocations".to_owned(), old.len().to_string());
        let writes = old.iter().flat_map(Job::purge).collect();
        // No condition: nothing changes a revocation that has ended.
        self.ledger.commit(Commit { record, conditions: Vec::new(), writes }).await?;
        Ok(())
    }
}
