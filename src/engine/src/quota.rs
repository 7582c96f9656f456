//! How many leases there may be: a place is taken before anything is made for a lease, so that the limits hold exactly
//! however many ask at once.

use std::{sync::Arc, time::Duration};

use leasehold_core::{
    LeaseId, SecretPath, SpiffeId,
    catalog::Entry,
    lease::Parties,
    record::{Actor, Kind, Outcome},
    state::{Commit, KeyRange},
    ttl::after,
};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::{
    engine::Engine,
    error::EngineError,
    tally::{Bounds, Place},
    upstream::Upstream,
};

/// So many leases are read at once while they are counted, with so much silence behind them: others are not held up.
const PAGE: usize = 256;
const SILENCE: Duration = Duration::from_millis(3);
/// After the ledger refused, the count waits this long.
const PAUSE: Duration = Duration::from_secs(1);
/// When whoever met a limit of leases may come again. A lease may be given back at any time, and which one ends next is
/// not known without reading them all.
const COME_AGAIN: Duration = Duration::from_secs(1);

impl Engine {
    /// Takes a place for a new lease, with the id that it is going to have.
    pub(crate) fn take_place<'a>(
        &'a self,
        holder: &'a SpiffeId,
        secret: &'a SecretPath,
        entry: &Entry,
        upstream: &'a Upstream,
    ) -> Result<Place<'a>, EngineError> {
        let lease: LeaseId = self.new_lease_id()?;
        let parties =
            Parties { holder: holder.as_str(), secret: secret.as_str(), provider: upstream.name.as_str() };
        let bounds = Bounds {
            holder: (self.settings.leases_per_principal, "limits.leases_per_principal"),
            secret: match entry.max_leases {
                Some(most) => (most, "secret.max_leases"),
                None => (self.settings.leases_per_secret, "limits.leases_per_secret"),
            },
            provider: upstream.limits.max_leases.map(|most| (most, "provider.max_leases")),
        };
        self.tally
            .take(lease, parties, bounds)
            .map_err(|limit| EngineError::QuotaExceeded { limit, retry_after: COME_AGAIN })
    }

    /// Counts the leases that an earlier process left, until it is through or `stop` says true.
    pub async fn count_leases(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut range = KeyRange::leases();
        let mut read = 0_usize;
        while !*stop.borrow_and_update() {
            let pause = match self.ledger.scan(&range, PAGE).await {
                Ok(page) => {
                    let last = page.len() < PAGE;
                    self.tally.count(&page, last);
                    read = read.saturating_add(page.len());
                    if last {
                        info!(leases = read, "the leases of earlier processes are counted");
                        return;
                    }
                    if let Some(entry) = page.last() {
                        range = range.after(&entry.key);
                    }
                    SILENCE
                }
                Err(problem) => {
                    warn!(error = %problem, "the leases could not all be counted yet; tried again");
                    PAUSE
                }
            };
            tokio::select! {
                () = self.clock.sleep_until(after(self.now(), pause)) => {}
                _ = stop.changed() => {}
            }
        }
    }

    /// How many leases were refused, by the limits that forbade them.
    pub fn refused_leases(&self) -> Vec<(&'static str, u64)> {
        self.tally.refused()
    }

    /// Records that requests of `actor` were turned away before anything was decided on them: one record for many.
    ///
    /// # Errors
    /// When the journal cannot take it.
    pub async fn note_limited(&self, actor: Actor, limit: &str, requests: u64) -> Result<(), EngineError> {
        let mut record = self.record(Kind::RequestLimited, &actor);
        record.outcome = Outcome::Failed { reason: "RATE_LIMITED".to_owned() };
        record.details.insert("limit".to_owned(), limit.to_owned());
        record.details.insert("requests".to_owned(), requests.to_string());
        self.ledger.commit(Commit::record_only(record)).await?;
        Ok(())
    }
}
