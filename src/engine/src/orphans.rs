//! Orphans: credentials that carry the broker's tag and that no lease stands for, such as one that was made while the
//! broker died. Each back end that can is asked for what it made, at the start and now and then; what
//! belongs to a lease that is known and over is ended at once, and what no lease is known of when it is an orphan for longer
//! than the grace period. What is remembered of them is only since when this process knows them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::{StreamExt, future::join_all, stream};
use leasehold_core::{
    LeaseId, Timestamp,
    access::Action,
    lease::LeaseState,
    provider::{ErrorClass, ProviderError, RevokeCredential, Tagged, Verification},
    record::{Kind, Outcome, Record},
    state::{Commit, Key},
    ttl::after,
};
use tokio::{sync::watch, task::coop};
use tracing::{debug, error, info, warn};

use crate::{
    engine::Engine,
    error::EngineError,
    request::{Orphan, OrphanState, OrphanSweep, SweepOrphans},
    shield::shield,
    upstream::Upstream,
};

/// Since when this process knows the orphans of one back end, by the back end's own names.
pub(crate) type Known = BTreeMap<String, Timestamp>;

/// One sweep takes so many; the next one finds the others.
const MOST: usize = 10_000;
/// So many are ended at once at one back end: its own callers come first.
const AT_ONCE: usize = 2;
/// So many records of what was found are under way at once: they share the journal's group commits.
const RECORDS_AT_ONCE: usize = 16;
/// So many that it cannot end in a row, and it is not asked for more this time.
const MOST_IN_VAIN: usize = 3;
/// A back end that could not be asked is asked again after this, or after the period if that is shorter.
const RETRY: Duration = Duration::from_secs(60);

/// What the ledger says of a tagged credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A lease stands for it, or somebody ends it already.
    Held,
    /// A person gave it up, so nobody tries to end it.
    GivenUp,
    /// Its lease is over.
    Over,
    /// Nothing stands for it.
    Orphan,
}

/// What a sweep found.
struct Found {
    credential: Tagged,
    /// Whether it is known to be over: there is nothing that its grace could wait for.
    over: bool,
}

/// Why a back end was not swept.
enum Unswept {
    Provider(ProviderError),
    Engine(EngineError),
}

impl Engine {
    /// Sweeps each back end that can list what it made, at the start and as often as its limits say, until `stop` says
    /// true.
    pub async fn sweep_orphans_always(self: Arc<Self>, stop: watch::Receiver<bool>) {
        let able = self
            .upstreams
            .values()
            .filter(|upstream| upstream.capabilities().tagged)
            .filter(|upstream| !upstream.limits.orphan_sweep.is_zero());
        join_all(able.map(|upstream| self.sweep_always(upstream, stop.clone()))).await;
    }

    /// Looks for orphans now, and ends those that are ones for longer than the grace period unless nothing is to be ended
    /// or the broker is on hold.
    ///
    /// # Errors
    /// [`EngineError::Denied`], [`EngineError::NoSuchProvider`], or when the ledger does not answer. A back end that cannot
    /// be asked is told beside what was found.
    pub async fn sweep_orphans(self: &Arc<Self>, request: SweepOrphans) -> Result<OrphanSweep, EngineError> {
        let engine = self.clone();
        shield(async move { engine.sweep_for(&request).await }).await
    }

    /// What the ledger says of a credential that was listed after `listed_since`. The list comes first: of what is being
    /// made the lease is written down before, and what ends meanwhile ended later than that.
    pub(crate) async fn standing(
        &self,
        id: LeaseId,
        listed_since: Timestamp,
    ) -> Result<Standing, EngineError> {
        let Some((lease, _)) = self.load(id).await? else {
            let given_up = self.ledger.get(&Key::forgotten(id)).await?.is_some();
            return Ok(if given_up { Standing::GivenUp } else { Standing::Orphan });
        };
        Ok(match lease.state {
            LeaseState::Forgotten { .. } => Standing::GivenUp,
            LeaseState::Revoked { at, .. } | LeaseState::Expired { at } if at < listed_since => {
                Standing::Over
            }
            _ => Standing::Held,
        })
    }

    async fn sweep_for(self: &Arc<Self>, request: &SweepOrphans) -> Result<OrphanSweep, EngineError> {
        let mut details = BTreeMap::from([("dry_run".to_owned(), request.dry_run.to_string())]);
        if let Some(provider) = &request.provider {
            details.insert("provider".to_owned(), provider.to_string());
        }
        self.authorize_broker(Kind::OrphanSwept, Action::SweepOrphans, &request.actor, details).await?;
        let chosen: Vec<_> = match &request.provider {
            Some(name) => {
                let found = self.upstreams.get(name);
                vec![found.ok_or_else(|| EngineError::NoSuchProvider(name.clone()))?.clone()]
            }
            None => {
                let able = self.upstreams.values().filter(|upstream| upstream.capabilities().tagged);
                able.cloned().collect()
            }
        };
        let sweeping: Vec<_> = chosen
            .into_iter()
            .map(|upstream| {
                let (engine, only_look) = (self.clone(), request.dry_run);
                async move {
                    let swept = engine.sweep_upstream(&upstream, only_look).await;
                    (upstream, swept)
                }
            })
            .collect();
        let mut sweep = OrphanSweep::default();
        for (upstream, swept) in join_all(sweeping).await {
            match swept {
                Ok(found) => sweep.orphans.extend(found),
                Err(Unswept::Provider(problem)) => {
                    sweep.failures.push((upstream.name.clone(), problem.to_string()));
                }
                Err(Unswept::Engine(problem)) => return Err(problem),
            }
        }
        Ok(sweep)
    }

    async fn sweep_always(self: &Arc<Self>, upstream: &Arc<Upstream>, mut stop: watch::Receiver<bool>) {
        let mut hold = self.hold_changes();
        let period = upstream.limits.orphan_sweep;
        while !*stop.borrow_and_update() {
            hold.mark_unchanged();
            let swept = tokio::select! {
                swept = self.sweep_upstream(upstream, false) => swept,
                _ = stop.changed() => return,
            };
            let next = match swept {
                Ok(found) => {
                    let graces = found.iter().filter(|orphan| orphan.state == OrphanState::InGrace);
                    let graces = graces.map(|orphan| after(orphan.first_seen, upstream.limits.orphan_grace));
                    graces.chain([after(self.now(), period)]).min().unwrap_or(Timestamp::MAX)
                }
                Err(problem) => {
                    match problem {
                        Unswept::Provider(problem) => warn!(provider = %upstream.name, error = %problem,
                            "a back end could not be asked for orphans; tried again later"),
                        Unswept::Engine(problem) => warn!(provider = %upstream.name, error = %problem,
                            "orphans could not be looked for; tried again later"),
                    }
                    after(self.now(), period.min(RETRY))
                }
            };
            while self.now() < next {
                tokio::select! {
                    () = self.clock.sleep_until(next) => {}
                    // What was only looked at while the broker was on hold is ended now.
                    _ = hold.changed() => break,
                    changed = stop.changed() => {
                        if changed.is_err() || *stop.borrow() {
                            return;
                        }
                    }
                }
            }
        }
    }

    /// One sweep of one back end; two never sweep it at the same time.
    async fn sweep_upstream(
        self: &Arc<Self>,
        upstream: &Upstream,
        only_look: bool,
    ) -> Result<Vec<Orphan>, Unswept> {
        let mut known = upstream.orphans.lock().await;
        let began = self.now();
        let tagged = upstream.tagged().await.map_err(Unswept::Provider)?;
        let (mut found, mut given_up) = (Vec::new(), 0_u64);
        for credential in tagged {
            coop::consume_budget().await;
            match self.standing(credential.lease, began).await? {
                standing @ (Standing::Over | Standing::Orphan) if found.len() < MOST => {
                    found.push(Found { credential, over: standing == Standing::Over });
                }
                Standing::GivenUp => given_up = given_up.saturating_add(1),
                Standing::Over | Standing::Orphan | Standing::Held => {}
            }
        }
        if given_up > 0 {
            debug!(provider = %upstream.name, given_up, "credentials that were given up are left alone");
        }
        let all = || found.iter().map(|one| &one.credential);
        let new: Vec<_> = all().filter(|one| !known.contains_key(&one.name)).collect();
        self.note_found(upstream, &new).await?;
        // Only what is still there is remembered.
        *known =
            all().map(|one| (one.name.clone(), known.get(&one.name).copied().unwrap_or(began))).collect();
        let orphans = self.act(upstream, found, &known, only_look).await?;
        let left = orphans.iter().filter(|orphan| orphan.state != OrphanState::Revoked).count();
        upstream.note_orphans(left);
        Ok(orphans)
    }

    async fn note_found(&self, upstream: &Upstream, new: &[&Tagged]) -> Result<(), EngineError> {
        let mut commits = Vec::with_capacity(new.len());
        for one in new {
            warn!(provider = %upstream.name, name = one.name, lease = %one.lease,
                "a credential was found for which no lease stands");
            commits.push(Commit::record_only(self.record_of(Kind::OrphanFound, upstream, one)));
        }
        let mut noting =
            stream::iter(commits).map(|commit| self.ledger.commit(commit)).buffer_unordered(RECORDS_AT_ONCE);
        while let Some(noted) = noting.next().await {
            noted?;
        }
        Ok(())
    }

    /// Ends those whose grace is over, or who need none.
    async fn act(
        &self,
        upstream: &Upstream,
        found: Vec<Found>,
        known: &Known,
        only_look: bool,
    ) -> Result<Vec<Orphan>, EngineError> {
        let now = self.now();
        let only_look = only_look || self.held().is_some();
        let (mut orphans, mut over) = (Vec::with_capacity(found.len()), Vec::new());
        for Found { credential, over: is_over } in found {
            let first_seen = known.get(&credential.name).copied().unwrap_or(now);
            let in_grace = !is_over && now < after(first_seen, upstream.limits.orphan_grace);
            let orphan = |state| Orphan {
                provider: upstream.name.clone(),
                name: credential.name.clone(),
                lease: credential.lease,
                first_seen,
                state,
            };
            match (in_grace, only_look) {
                (true, _) => orphans.push(orphan(OrphanState::InGrace)),
                (false, true) => orphans.push(orphan(OrphanState::Left)),
                (false, false) => over.push((orphan(OrphanState::Left), credential)),
            }
        }
        let in_vain = AtomicUsize::new(0);
        let in_vain = &in_vain;
        let mut ending = stream::iter(over)
            .map(|(orphan, credential)| async move {
                if in_vain.load(Relaxed) >= MOST_IN_VAIN {
                    let why = "not tried: others could not be ended";
                    return Ok(Orphan { state: OrphanState::Failed(why.to_owned()), ..orphan });
                }
                let state = self.end_orphan(upstream, &credential).await?;
                match state {
                    OrphanState::Failed(_) => drop(in_vain.fetch_add(1, Relaxed)),
                    _ => in_vain.store(0, Relaxed),
                }
                Ok::<_, EngineError>(Orphan { state, ..orphan })
            })
            .buffer_unordered(AT_ONCE);
        while let Some(ended) = ending.next().await {
            orphans.push(ended?);
        }
        Ok(orphans)
    }

    /// Ends one orphan and writes down how that went.
    async fn end_orphan(&self, upstream: &Upstream, orphan: &Tagged) -> Result<OrphanState, EngineError> {
        let request = RevokeCredential { lease: orphan.lease, handle: orphan.handle.as_ref() };
        let ended = upstream.end(request).await;
        let mut record = self.record_of(Kind::OrphanRevoked, upstream, orphan);
        if let Ok(verification) = &ended {
            record.details.insert("verification".to_owned(), verification.name().to_owned());
        }
        let problem = match ended {
            Ok(Verification::Verified | Verification::Unverifiable) => {
                info!(provider = %upstream.name, name = orphan.name, lease = %orphan.lease, "an orphan was ended");
                None
            }
            Ok(Verification::StillValid) => {
                error!(provider = %upstream.name, name = orphan.name, lease = %orphan.lease,
                    "an orphan works on although its back end says that it ended it");
                Some("the back end says that it ended the credential, and it still works".to_owned())
            }
            Err(problem) => {
                let denied = matches!(problem.class, ErrorClass::Denied | ErrorClass::Permanent);
                warn!(provider = %upstream.name, name = orphan.name, lease = %orphan.lease, error = %problem, denied,
                    "an orphan could not be ended and is tried again by the next sweep");
                Some(problem.to_string())
            }
        };
        upstream.note_orphan_ended(problem.is_none());
        if let Some(problem) = &problem {
            record.outcome = Outcome::Failed { reason: "UPSTREAM_REVOCATION_FAILED".to_owned() };
            record.details.insert("error".to_owned(), problem.clone());
        }
        self.ledger.commit(Commit::record_only(record)).await?;
        Ok(problem.map_or(OrphanState::Revoked, OrphanState::Failed))
    }

    fn record_of(&self, kind: Kind, upstream: &Upstream, orphan: &Tagged) -> Record {
        let mut record = self.record(kind, &self.broker);
        record.provider = Some(upstream.name.clone());
        record.lease = Some(orphan.lease);
        record.details.insert("name".to_owned(), orphan.name.clone());
        record
    }
}

impl From<EngineError> for Unswept {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}
