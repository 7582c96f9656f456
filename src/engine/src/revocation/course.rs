//! The course of one revocation: pass after pass over what its filter matches, until nothing is left to end, and then the
//! wait for what its back ends are still ending.
//!
//! It may be cut off anywhere and taken up again: to end what is over is a success, and what it has counted so far goes
//! into the ledger with every so many leases. It keeps itself from being in anybody's way: few leases are ended at once,
//! and it rests for as long as it works.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use leasehold_core::{
    Lease, LeaseId, Timestamp,
    lease::{Cause, Event, LeaseState},
    record::{Decision, Kind, Record},
    state::{Commit, Entry, Key, Revision, Write},
};
use tokio::{
    task::coop,
    time::{Instant, sleep},
};
use tracing::{error, info, warn};

use super::{
    job::{Job, record},
    sight::Sight,
};
use crate::{
    endings::Place, engine::Engine, error::EngineError, find_leases::Walk, request::RevocationCounts,
    revoke_lease::Ending,
};

/// One revocation on its way.
pub(crate) struct Course {
    engine: Arc<Engine>,
    job: Job,
    /// Those that are being ended at their back ends, or were put aside.
    open: BTreeSet<LeaseId>,
    /// Those that found no room there: the next pass meets them again.
    left_out: u64,
    /// How many were met so far.
    met: u64,
    /// Whether an earlier process counted a part of them.
    resumed: bool,
}

/// So many are looked at together.
const PAGE: usize = 32;
/// So many are ended at once: they share the journal's group commits.
const AT_ONCE: usize = 8;
/// After so many pages, how far it has come goes into the ledger.
const SAVED_EVERY: u32 = 32;
/// So many leases that are being ended are kept track of.
const MOST_OPEN: usize = 250_000;
/// What is being ended is looked at no more often than this, and no less.
const SOONEST: Duration = Duration::from_millis(100);
const LATEST: Duration = Duration::from_secs(5);
/// To look takes at most this part of the time.
const LOOK_SHARE: u32 = 20;
/// After the ledger refused, it waits this long.
const PAUSE: Duration = Duration::from_secs(1);
/// A lease that changes all the time is met again by the next pass.
const TRIES: usize = 3;

/// A lease that is meant.
struct Meant {
    lease: Lease,
    revision: Revision,
    decision: Arc<Decision>,
    /// Whether its secret is to be rotated because its caller asked for that, and may.
    rotate: bool,
}

/// What became of it.
enum Became {
    /// It is over.
    Over,
    /// Its back end is being asked, since now or since before.
    Open { since_now: bool },
    /// It was over already, or somebody else changed it.
    Neither,
}

impl Course {
    pub(crate) fn of(engine: Arc<Engine>, job: Job) -> Self {
        let resumed = job.counts != RevocationCounts::default() || job.behind.is_some();
        Self { engine, job, open: BTreeSet::new(), left_out: 0, met: 0, resumed }
    }

    /// Goes on to the end. What the ledger refuses is tried until it does not.
    pub(crate) async fn run(mut self) {
        while let Err(problem) = self.go_on().await {
            warn!(revocation = %self.job.id, error = %problem, "a revocation of many leases is held up and goes on later");
            sleep(PAUSE).await;
        }
        self.engine.revocations.running().remove(&self.job.id);
    }

    async fn go_on(&mut self) -> Result<(), EngineError> {
        if self.job.counts.total == 0 {
            let mut sight = Sight::of(&self.job.actor, &self.job.reason, None);
            let total = self.engine.count_meant(&self.job.filter, self.job.started_at, &mut sight).await?;
            self.job.counts.total = total;
            self.tell();
        }
        let mut first = true;
        loop {
            let ended = self.pass(first).await?;
            self.wait().await?;
            // A pass that finds nothing says that nothing slipped by the one before.
            if !ended && self.left_out == 0 {
                return self.finish().await;
            }
            first = false;
        }
    }

    /// Ends what the filter matches; says whether there was anything.
    async fn pass(&mut self, first: bool) -> Result<bool, EngineError> {
        let (engine, actor, reason) = (self.engine.clone(), self.job.actor.clone(), self.job.reason.clone());
        let mut sight = Sight::of(&actor, &reason, Some(self.job.id));
        let mut walk = Walk::of(&self.job.filter, &engine.catalog());
        if let Some(behind) = self.job.behind.as_deref().filter(|_| first) {
            walk.go_on_behind(&Key::from_stored(behind));
        }
        // They are met again.
        self.met = self.met.saturating_sub(std::mem::take(&mut self.left_out));
        // How many they are goes into the ledger with the first that is ended.
        let (mut any, mut unsaved) = (false, SAVED_EVERY);
        while !walk.is_over() {
            let began = Instant::now();
            let page = walk.page(&*engine.ledger, PAGE).await?;
            let last = page.last().map(|entry| entry.key.clone());
            let meant = self.meant(page, &walk, &mut sight).await?;
            let save = (unsaved >= SAVED_EVERY && !meant.is_empty()).then(|| self.job.write()).transpose()?;
            unsaved = if save.is_some() { 0 } else { unsaved.saturating_add(1) };
            let job = &self.job;
            // With the first of the page goes what was counted before it.
            let also = std::iter::once(save).chain(std::iter::repeat_with(|| None));
            let ending: Vec<_> =
                meant.into_iter().zip(also).map(|(meant, also)| end_one(&engine, job, meant, also)).collect();
            let became: Vec<_> = stream::iter(ending).buffer_unordered(AT_ONCE).collect().await;
            let mut problem = None;
            for outcome in became {
                match outcome {
                    Ok((id, became)) => any |= self.note(id, &became),
                    Err(why) => problem = Some(why),
                }
            }
            self.count();
            if let Some(problem) = problem {
                return Err(problem);
            }
            self.job.behind = last.map(|key| key.as_str().into());
            self.tell();
            sleep(began.elapsed()).await;
        }
        self.job.behind = None;
        Ok(any)
    }

    /// Which of these are meant and allowed.
    async fn meant(
        &self,
        page: Vec<Entry>,
        walk: &Walk,
        sight: &mut Sight<'_>,
    ) -> Result<Vec<Meant>, EngineError> {
        let mut meant = Vec::with_capacity(page.len());
        for entry in page {
            coop::consume_budget().await;
            let Some(id) = entry.key.lease_id() else { continue };
            let Some((lease, revision)) = self.engine.load(id).await? else { continue };
            if !is_meant(&self.job, &lease) || walk.meets_twice(&entry.key, &lease) {
                continue;
            }
            let decision = self.engine.may_revoke(sight, &lease.secret).await?;
            if decision.is_allowed() {
                let rotate = self.job.rotate && self.engine.may_rotate(sight, &lease).await?;
                meant.push(Meant { lease, revision, decision, rotate });
            }
        }
        Ok(meant)
    }

    /// Counts what became of a lease; says whether it was this revocation's doing.
    fn note(&mut self, id: LeaseId, became: &Became) -> bool {
        let (new, done) = match became {
            Became::Neither => return false,
            Became::Over => (true, true),
            Became::Open { since_now } => {
                let room = self.open.len() < MOST_OPEN;
                let known = if room { !self.open.insert(id) } else { self.open.contains(&id) };
                if !room && !known {
                    self.left_out = self.left_out.saturating_add(1);
                }
                (!known, *since_now)
            }
        };
        self.met = self.met.saturating_add(u64::from(new));
        done
    }

    /// Waits until each is over or put aside.
    async fn wait(&mut self) -> Result<(), EngineError> {
        while !self.open.is_empty() {
            let began = Instant::now();
            let mut counts = RevocationCounts::default();
            let mut over = Vec::new();
            for id in &self.open {
                coop::consume_budget().await;
                let lease = self.engine.load(*id).await?;
                match lease.map(|(lease, _)| lease.state) {
                    Some(LeaseState::Quarantined { .. }) => {
                        counts.quarantined = counts.quarantined.saturating_add(1);
                    }
                    Some(LeaseState::Revoking { attempts, .. }) => {
                        counts.failed = counts.failed.saturating_add(u64::from(attempts > 0));
                    }
                    _ => over.push(*id),
                }
            }
            for id in over {
                self.open.remove(&id);
            }
            (self.job.counts.failed, self.job.counts.quarantined) = (counts.failed, counts.quarantined);
            self.count();
            self.tell();
            if u64::try_from(self.open.len()).unwrap_or(u64::MAX) == counts.quarantined {
                break;
            }
            sleep(began.elapsed().saturating_mul(LOOK_SHARE).clamp(SOONEST, LATEST)).await;
        }
        Ok(())
    }

    /// What is met and not open is done. Of what an earlier process did, only the total tells.
    fn count(&mut self) {
        let open = u64::try_from(self.open.len()).unwrap_or(u64::MAX).saturating_add(self.left_out);
        let counts = &mut self.job.counts;
        counts.total = counts.total.max(self.met);
        let seen = self.met.saturating_sub(open);
        counts.done = if self.resumed { counts.done.max(seen) } else { seen };
    }

    async fn finish(&mut self) -> Result<(), EngineError> {
        let engine = self.engine.clone();
        let mut job = self.job.clone();
        if !self.resumed {
            job.counts.total = self.met;
        }
        let RevocationCounts { total, quarantined, .. } = job.counts;
        job.counts =
            RevocationCounts { total, done: total.saturating_sub(quarantined), failed: 0, quarantined };
        let now = engine.now();
        (job.ended_at, job.behind) = (Some(now), None);
        let mut record = record(now, Kind::RevocationFinished, &engine.broker, &job.filter, &job.reason);
        let details = [
            ("revocation", job.id.to_string()),
            ("total", total.to_string()),
            ("done", job.counts.done.to_string()),
            ("quarantined", quarantined.to_string()),
        ];
        record.details.extend(details.map(|(name, what)| (name.to_owned(), what)));
        let writes = vec![job.write()?, Write::delete(Key::revocation_running(job.id))];
        engine.ledger.commit(Commit { record, conditions: Vec::new(), writes }).await?;
        if quarantined > 0 {
            error!(revocation = %job.id, total, quarantined,
                "a revocation of many leases has ended, and some credentials could not be ended");
        } else {
            info!(revocation = %job.id, total, "a revocation of many leases has ended");
        }
        self.job = job;
        Ok(())
    }

    /// Lets those who ask see how far it has come.
    fn tell(&self) {
        self.engine.revocations.running().insert(self.job.id, self.job.clone());
    }
}

/// Ends one lease as RevokeLease does; `also` becomes durable with it.
async fn end_one(
    engine: &Arc<Engine>,
    job: &Job,
    meant: Meant,
    also: Option<Write>,
) -> Result<(LeaseId, Became), EngineError> {
    let Meant { mut lease, mut revision, decision, rotate } = meant;
    let id = lease.id;
    for _ in 0..TRIES {
        match &lease.state {
            LeaseState::Pending { .. } | LeaseState::Active => {}
            LeaseState::Revoking { attempts, .. } => {
                // Whoever began with it may not be there any more.
                if *attempts == 0 && lease.irrevocable_until.is_none() {
                    engine.end_soon(&lease, Place::Last);
                }
                return Ok((id, Became::Open { since_now: false }));
            }
            LeaseState::Quarantined { .. } => return Ok((id, Became::Open { since_now: false })),
            _ => return Ok((id, Became::Neither)),
        }
        let record = record_of(engine.now(), job, &lease, &decision);
        let (next, effects) = lease.clone().step(Event::Revoke { cause: Cause::Operator }, record.time)?;
        let asked_by = rotate.then_some(&job.actor.id);
        let consequence = engine.consequence_of(&lease, asked_by, record.time).await?;
        let ending = Ending { record, next, effects, place: Place::Last, also: also.clone(), consequence };
        match engine.end(ending, &lease, revision).await {
            Ok(next) if next.is_ended() => return Ok((id, Became::Over)),
            Ok(_) => return Ok((id, Became::Open { since_now: true })),
            Err(EngineError::Conflict) => match engine.load(id).await? {
                Some(found) => (lease, revision) = found,
                None => return Ok((id, Became::Neither)),
            },
            Err(problem) => return Err(problem),
        }
    }
    // It changed under every try; another pass follows, since this counts as having been met.
    Ok((id, Became::Open { since_now: true }))
}

fn record_of(now: Timestamp, job: &Job, lease: &Lease, decision: &Decision) -> Record {
    let mut record = Record::new(now, Kind::LeaseRevoked, job.actor.clone());
    record.lease = Some(lease.id);
    record.secret = Some(lease.secret.clone());
    record.version.clone_from(&lease.version);
    record.provider = Some(lease.provider.clone());
    record.decision = Some(decision.clone());
    record.request_id.clone_from(&job.request_id);
    record.details.insert("reason".to_owned(), job.reason.clone());
    record.details.insert("revocation".to_owned(), job.id.to_string());
    record
}

fn is_meant(job: &Job, lease: &Lease) -> bool {
    !lease.is_ended() && lease.issued_at <= job.started_at && job.filter.matches(lease)
}
