//! The hold: the broker serves what it reads and ends nothing (no lease, no credential, no orphan) until an operator has
//! looked at what it would do. It is durable: a restart does not end it.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, PoisonError},
};

use futures::future::join_all;
use leasehold_core::{
    Lease, LeaseId,
    access::Action,
    lease::{LeaseKind, Undecodable},
    provider::ProviderName,
    record::{Actor, Kind},
    secret::SecretBytes,
    state::{Commit, Key, KeyRange, Write},
};
use tokio::{sync::watch, task::coop};
use tracing::{info, warn};

use crate::{
    engine::Engine,
    error::EngineError,
    orphans::Standing,
    request::{Held, HeldProvider, HoldReason, HoldReport, ReleaseHold},
    shield::shield,
    upstream::Upstream,
};

/// So many keys are read at once.
const PAGE: usize = 512;

impl Engine {
    /// Takes up what the process before this one left: its hold, and the intents that nobody will confirm any more.
    /// With a reason, a hold begins. To be called once, before anybody is served.
    ///
    /// # Errors
    /// When the ledger cannot be read; or when it cannot be written, and then the hold is in force until this process ends.
    pub async fn take_up(&self, reason: Option<HoldReason>) -> Result<(), EngineError> {
        let stored = match self.ledger.get(&Key::hold()).await? {
            Some(entry) => {
                Some(serde_json::from_slice::<Held>(entry.value.expose()).map_err(Undecodable::from)?)
            }
            None => None,
        };
        self.inherit().await?;
        // That the state was restored stays true, whatever was asked for later.
        let stands =
            |held: &Held| reason.is_none_or(|new| held.reason == new || held.reason == HoldReason::Restored);
        if let Some(held) = stored.filter(stands) {
            self.hold.send_replace(Some(held));
            warn!(since = %held.since, reason = held.reason.name(), "the broker is still on hold: it ends nothing");
            return Ok(());
        }
        match reason {
            Some(reason) => self.begin_hold(reason).await,
            None => Ok(()),
        }
    }

    /// Since when and why the broker ends nothing; absent when it is not on hold.
    pub fn held(&self) -> Option<Held> {
        *self.hold.borrow()
    }

    /// Tells of the hold's end.
    pub fn hold_changes(&self) -> watch::Receiver<Option<Held>> {
        self.hold.subscribe()
    }

    /// Ends the hold; what is due is ended from now on. To end none is a success.
    ///
    /// # Errors
    /// [`EngineError::Denied`], or when the journal cannot take it: the hold stays then.
    pub async fn release_hold(self: &Arc<Self>, request: ReleaseHold) -> Result<(), EngineError> {
        let engine = self.clone();
        shield(async move { engine.release(&request).await }).await
    }

    /// What would be done if the broker were not on hold; `None` when it is not. Asks the back ends what they have.
    ///
    /// # Errors
    /// [`EngineError::Denied`], or when the ledger does not answer.
    pub async fn hold_report(&self, actor: Actor) -> Result<Option<HoldReport>, EngineError> {
        let details = BTreeMap::from([("of".to_owned(), "hold".to_owned())]);
        self.authorize_broker(Kind::StatusRead, Action::ReadStatus, &actor, details).await?;
        let Some(held) = self.held() else { return Ok(None) };
        let Due { static_leases, mut credentials } = self.due().await?;
        let makers = self.upstreams.values().filter(|upstream| upstream.provider.issuer().is_some());
        let asked = makers.map(|upstream| {
            let due = credentials.remove(&upstream.name).unwrap_or_default();
            self.compare(upstream, due)
        });
        let asked: Vec<_> = asked.collect();
        let mut providers = join_all(asked).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        providers.extend(credentials.into_iter().map(|(name, due_credentials)| HeldProvider {
            problem: Some("it is no longer configured, or makes no credentials".to_owned()),
            ..HeldProvider::of(name, due_credentials)
        }));
        providers.retain(|provider| provider.due_credentials > 0 || self.makes_credentials(&provider.name));
        providers.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Some(HoldReport { held, due_static_leases: static_leases, providers }))
    }

    /// Refuses what would make or end a credential while the broker is on hold.
    pub(crate) fn unless_on_hold(&self) -> Result<(), EngineError> {
        if self.held().is_some() { Err(EngineError::OnHold) } else { Ok(()) }
    }

    /// Returns when the broker is not on hold.
    pub(crate) async fn released(&self) {
        // An error would mean that the engine is gone, and with it whoever waits.
        let _ = self.hold.subscribe().wait_for(Option::is_none).await;
    }

    async fn begin_hold(&self, reason: HoldReason) -> Result<(), EngineError> {
        let mut record = self.record(Kind::HoldBegan, &self.broker);
        let held = Held { since: record.time, reason };
        // In force before it is durable: what cannot be written down is not ended either.
        self.hold.send_replace(Some(held));
        warn!(reason = reason.name(), "the broker is on hold: it ends nothing until an operator releases it");
        record.details.insert("reason".to_owned(), reason.name().to_owned());
        let bytes = serde_json::to_vec(&held).map_err(Undecodable::from)?;
        let writes = vec![Write::put(Key::hold(), SecretBytes::new(bytes))];
        self.ledger.commit(Commit { record, conditions: Vec::new(), writes }).await?;
        Ok(())
    }

    async fn release(&self, request: &ReleaseHold) -> Result<(), EngineError> {
        let mut details = BTreeMap::from([("reason".to_owned(), request.reason.clone())]);
        let held = self.held();
        if held.is_none() {
            details.insert("already".to_owned(), "released".to_owned());
        }
        let mut record =
            self.allowed_on_broker(Kind::HoldReleased, Action::ReleaseHold, &request.actor, details).await?;
        record.request_id = request.request_id.clone();
        let writes = held.map(|_| Write::delete(Key::hold())).into_iter().collect();
        self.ledger.commit(Commit { record, conditions: Vec::new(), writes }).await?;
        if held.is_some() {
            self.hold.send_replace(None);
            info!(actor = %request.actor.id, "the hold is released: what is due is ended from now on");
            self.expect_at(self.now());
        }
        Ok(())
    }

    /// Notes the intents of an earlier process: nobody else makes credentials over this ledger, so nobody confirms them.
    async fn inherit(&self) -> Result<(), EngineError> {
        let mut range = KeyRange::making();
        let mut inherited = Vec::new();
        loop {
            let page = self.ledger.scan(&range, PAGE).await?;
            inherited.extend(page.iter().filter_map(|entry| entry.key.lease_id()));
            match page.last() {
                Some(last) if page.len() == PAGE => range = range.after(&last.key),
                _ => break,
            }
        }
        *self.inherited.lock().unwrap_or_else(PoisonError::into_inner) = inherited;
        Ok(())
    }

    /// What the reconciler would end now.
    async fn due(&self) -> Result<Due, EngineError> {
        let mut range = KeyRange::due_until(self.now());
        let mut due = Due::default();
        loop {
            let page = self.ledger.scan(&range, PAGE).await?;
            let full = page.len() == PAGE;
            for entry in page {
                coop::consume_budget().await;
                range = range.after(&entry.key);
                let Some(id) = entry.key.lease_id() else { continue };
                match self.load(id).await? {
                    Some((lease, _)) if !lease.is_ended() => due.add(&lease),
                    _ => {}
                }
            }
            if !full {
                return Ok(due);
            }
        }
    }

    /// Holds what a back end has against the ledger.
    async fn compare(&self, upstream: &Upstream, due_credentials: u64) -> Result<HeldProvider, EngineError> {
        let mut report = HeldProvider::of(upstream.name.clone(), due_credentials);
        if !upstream.capabilities().tagged {
            report.problem = Some("it cannot list what it made for the broker".to_owned());
            return Ok(report);
        }
        let began = self.now();
        let tagged = match upstream.tagged().await {
            Ok(tagged) => tagged,
            Err(problem) => {
                report.problem = Some(problem.to_string());
                return Ok(report);
            }
        };
        let mut there = HashSet::with_capacity(tagged.len());
        for credential in tagged {
            coop::consume_budget().await;
            if matches!(self.standing(credential.lease, began).await?, Standing::Over | Standing::Orphan) {
                report.orphans = report.orphans.saturating_add(1);
            }
            there.insert(credential.lease);
        }
        report.missing = self.missing(upstream, &there).await?;
        Ok(report)
    }

    /// How many live leases have no credential among these.
    async fn missing(&self, upstream: &Upstream, there: &HashSet<LeaseId>) -> Result<u64, EngineError> {
        let mut range = KeyRange::made_by(&upstream.name);
        let mut missing = 0_u64;
        loop {
            let page = self.ledger.scan(&range, PAGE).await?;
            let full = page.len() == PAGE;
            for entry in page {
                coop::consume_budget().await;
                range = range.after(&entry.key);
                let Some(id) = entry.key.lease_id().filter(|id| !there.contains(id)) else { continue };
                let live = self.load(id).await?.is_some_and(|(lease, _)| lease.is_live(self.now()));
                missing = missing.saturating_add(u64::from(live));
            }
            if !full {
                return Ok(missing);
            }
        }
    }

    fn makes_credentials(&self, name: &ProviderName) -> bool {
        self.upstreams.get(name).is_some_and(|upstream| upstream.capabilities().issue)
    }
}

/// What is due, as far as it would change anything.
#[derive(Default)]
struct Due {
    static_leases: u64,
    credentials: BTreeMap<ProviderName, u64>,
}

impl Due {
    fn add(&mut self, lease: &Lease) {
        match lease.kind {
            // Nobody ends what ends by itself.
            _ if lease.irrevocable_until.is_some() => {}
            LeaseKind::Static => self.static_leases = self.static_leases.saturating_add(1),
            LeaseKind::Dynamic => {
                let count = self.credentials.entry(lease.provider.clone()).or_default();
                *count = count.saturating_add(1);
            }
        }
    }
}

impl HeldProvider {
    fn of(name: ProviderName, due_credentials: u64) -> Self {
        Self { name, due_credentials, orphans: 0, missing: 0, problem: None }
    }
}
