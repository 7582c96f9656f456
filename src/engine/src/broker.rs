//! The broker's own events and state: notes for the journal, status, and leave to read the journal.

use std::collections::BTreeMap;

use leasehold_core::{
    access::{Action, Resource},
    record::{Actor, Kind, Outcome, Record},
    state::{Commit, KeyRange},
};

use tracing::warn;

use crate::{
    access::{Context, why},
    engine::Engine,
    error::EngineError,
    request::{EngineStatus, LeaseCounts, ProviderStatus},
};

impl Engine {
    /// Records something that the broker itself did or met, such as a reload.
    ///
    /// # Errors
    /// When the journal cannot take it.
    pub async fn note(
        &self,
        kind: Kind,
        outcome: Outcome,
        details: BTreeMap<String, String>,
    ) -> Result<(), EngineError> {
        let mut record = self.record(kind, &self.broker);
        record.outcome = outcome;
        record.details = details;
        self.ledger.commit(Commit::record_only(record)).await?;
        Ok(())
    }

    /// Asks policy whether `actor` may read the audit journal, and records that it did, with the query.
    ///
    /// # Errors
    /// [`EngineError::Denied`], or when the journal cannot take the record.
    pub async fn authorize_audit(
        &self,
        actor: Actor,
        query: BTreeMap<String, String>,
    ) -> Result<(), EngineError> {
        self.authorize_broker(Kind::AuditRead, Action::ReadAudit, &actor, query).await
    }

    /// The broker's state, for operators: also while the journal takes no records, since that is when they ask. It holds
    /// nothing secret.
    ///
    /// # Errors
    /// [`EngineError::Denied`], or when the ledger cannot be read.
    pub async fn status(&self, actor: Actor) -> Result<EngineStatus, EngineError> {
        match self.authorize_broker(Kind::StatusRead, Action::ReadStatus, &actor, BTreeMap::new()).await {
            Err(problem @ (EngineError::JournalFull(_) | EngineError::Unavailable(_)))
                if self
                    .decide(&actor, Action::ReadStatus, &Resource::Broker, Context::new())
                    .is_allowed() =>
            {
                warn!(error = %problem, actor = %actor.id, "the status is shown without a record of it");
            }
            authorized => authorized?,
        }
        let leases = self.lease_counts().await?;
        let catalog = self.catalog();
        Ok(EngineStatus {
            now: self.now(),
            live_leases: leases.live,
            quarantined_leases: leases.quarantined,
            secrets: catalog.secrets().count(),
            mounts: catalog.mounts().count(),
            providers: self.provider_states(),
            on_hold: self.held().is_some(),
            orphans: self.upstreams.values().map(|upstream| upstream.status().endings.orphans).sum(),
        })
    }

    /// How many leases there are, for the broker's own figures: it reads a key for each.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn lease_counts(&self) -> Result<LeaseCounts, EngineError> {
        let quarantined = self.count(KeyRange::quarantined()).await?;
        let live = self.count(KeyRange::live()).await?.saturating_sub(quarantined);
        Ok(LeaseCounts { live, quarantined })
    }

    /// The back ends' state in the order of their names, for the broker's own figures. Asks nobody.
    pub fn provider_states(&self) -> Vec<ProviderStatus> {
        self.upstreams.values().map(|upstream| upstream.status()).collect()
    }

    /// How many keys a range holds.
    pub(crate) async fn count(&self, mut range: KeyRange) -> Result<u64, EngineError> {
        const PAGE: usize = 1000;
        let mut count = 0_u64;
        loop {
            let page = self.ledger.scan(&range, PAGE).await?;
            // The ledger answers at once: others get their turn between two pages.
            tokio::task::yield_now().await;
            count = count.saturating_add(u64::try_from(page.len()).unwrap_or(u64::MAX));
            match page.last() {
                Some(last) if page.len() == PAGE => range = range.after(&last.key),
                _ => return Ok(count),
            }
        }
    }

    /// Asks policy about the broker itself, and records that it was allowed before anything is done.
    pub(crate) async fn authorize_broker(
        &self,
        kind: Kind,
        action: Action,
        actor: &Actor,
        details: BTreeMap<String, String>,
    ) -> Result<(), EngineError> {
        let record = self.allowed_on_broker(kind, action, actor, details).await?;
        self.ledger.commit(Commit::record_only(record)).await?;
        Ok(())
    }

    /// Asks policy about the broker itself; gives the record of what is allowed, for whoever has more to write with it.
    pub(crate) async fn allowed_on_broker(
        &self,
        kind: Kind,
        action: Action,
        actor: &Actor,
        details: BTreeMap<String, String>,
    ) -> Result<Record, EngineError> {
        let decision = self.decide(actor, action, &Resource::Broker, Context::new());
        let allowed = decision.is_allowed();
        let mut record = self.record(kind, actor);
        record.decision = Some(decision);
        record.details = details;
        if !allowed {
            return self.deny(record, why::POLICY).await;
        }
        Ok(record)
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("providers", &self.upstreams.keys()).finish_non_exhaustive()
    }
}
