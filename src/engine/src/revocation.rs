//! StartRevocation, WatchRevocation and ListRevocations: many leases are ended by a job that the ledger has, so that it
//! outlives its caller and this process.

mod course;
mod job;
mod jobs;
mod sight;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use futures::stream::{self, BoxStream, StreamExt};
use leasehold_core::{
    RevocationId, SpiffeId,
    access::Action,
    record::{Actor, Kind},
    state::{Commit, Condition, Key, KeyRange},
};
use tokio::{sync::Notify, time::sleep};

use self::{
    job::{Job, record},
    sight::Sight,
};
use crate::{
    access::why,
    engine::Engine,
    error::EngineError,
    request::{Page, Revocation, RevocationCounts, RevocationFigures, RevocationState, StartRevocation},
};

/// The jobs that this process knows of.
#[derive(Default)]
pub(crate) struct Revocations {
    /// As they are now, which is ahead of what the ledger has of them.
    running: Mutex<BTreeMap<RevocationId, Job>>,
    /// Those that nobody works on yet.
    waiting: Mutex<VecDeque<Job>>,
    news: Notify,
    /// Whose previews are being counted.
    counted: Mutex<Vec<SpiffeId>>,
    /// The leases that were given up since the start.
    pub(crate) forgotten: AtomicU64,
}

/// So many may go on at once: each is a person's.
const MOST_RUNNING: usize = 64;
/// So many of one principal, who may be anybody: policy is asked for each secret that is met, and not before.
const MOST_OF_ONE: usize = 16;
/// One principal has so many previews counted at once: that may be a look at every lease there is, and goes on without
/// whoever asked.
const MOST_COUNTED: usize = 2;
/// Who watches is told no more often than this.
const TOLD_EVERY: Duration = Duration::from_millis(200);
/// No page is longer than this.
const LONGEST_PAGE: usize = 1000;

impl Engine {
    /// Begins to end every lease that the filter matches and that was issued until now, or says what that would do.
    ///
    /// # Errors
    /// [`EngineError::Denied`] when the filter names a secret on which policy does not allow it; secrets that it does not
    /// name are left out. Otherwise as [`EngineError`] says; whatever was decided or failed has been recorded.
    pub async fn start_revocation(
        self: &Arc<Self>,
        request: StartRevocation,
    ) -> Result<Revocation, EngineError> {
        // Two requests with one id that meet: the second time, the later one finds the first one's job.
        self.shielded(request, Self::begin_revocation).await
    }

    async fn begin_revocation(
        self: &Arc<Self>,
        request: &StartRevocation,
    ) -> Result<Revocation, EngineError> {
        let kind = if request.dry_run { Kind::RevocationPreviewed } else { Kind::RevocationStarted };
        let now = self.now();
        let mut record = record(now, kind, &request.actor, &request.filter, &request.reason);
        record.request_id = request.request_id.clone();
        if request.rotate {
            record.details.insert("rotate".to_owned(), "true".to_owned());
        }
        if let Some(secret) = &request.filter.secret {
            let decision = self.decide_on(&request.actor, Action::RevokeLease, secret, BTreeMap::new());
            let allowed = decision.is_allowed();
            record.decision = Some(decision);
            if !allowed {
                return self.deny(record, why::POLICY).await;
            }
        }
        if request.dry_run {
            let Some(_turn) = self.revocations.counting(&request.actor.id) else {
                let enough = EngineError::RateLimited {
                    limit: "previews of revocations at once of one principal (2)",
                    retry_after: Duration::from_secs(1),
                };
                return self.fail(record, enough).await;
            };
            let mut sight = Sight::of(&request.actor, &request.reason, None);
            let total = self.count_meant(&request.filter, now, &mut sight).await?;
            record.details.insert("total".to_owned(), total.to_string());
            self.ledger.commit(Commit::record_only(record)).await?;
            return Ok(Revocation {
                id: None,
                filter: request.filter.clone(),
                reason: request.reason.clone(),
                actor: request.actor.id.clone(),
                state: RevocationState::Previewed,
                started_at: now,
                ended_at: None,
                counts: RevocationCounts { total, ..RevocationCounts::default() },
            });
        }
        if self.held().is_some() {
            return self.fail(record, EngineError::OnHold).await;
        }
        let mut conditions = Vec::new();
        if let Some(id) = &request.request_id {
            let key = Key::revocation_request(&request.actor.id, id);
            if let Some(job) = self.job_named_by(&key).await? {
                let same = job.filter == request.filter
                    && job.reason == request.reason
                    && job.rotate == request.rotate;
                return if same {
                    Ok(job.view())
                } else {
                    self.fail(record, EngineError::RequestIdReused).await
                };
            }
            conditions.push(Condition::Absent(key));
        }
        let running = self.ledger.scan(&KeyRange::running_revocations(), MOST_RUNNING).await?.len();
        let reached = if running >= MOST_RUNNING {
            Some("revocations at once (64)")
        } else if self.revocations.of(&request.actor.id) >= MOST_OF_ONE {
            Some("revocations at once of one principal (16)")
        } else {
            None
        };
        if let Some(limit) = reached {
            let enough = EngineError::RateLimited { limit, retry_after: Duration::from_secs(10) };
            return self.fail(record, enough).await;
        }
        let mut bits = [0; 16];
        self.entropy.fill(&mut bits)?;
        let job = Job::new(RevocationId::from_bits(bits), request, now);
        record.details.insert("revocation".to_owned(), job.id.to_string());
        self.ledger.commit(Commit { record, conditions, writes: job.begin()? }).await?;
        let view = job.view();
        self.revocations.take_up(job);
        Ok(view)
    }

    /// How far a revocation has come, now and then and at its end; the stream ends with it.
    ///
    /// # Errors
    /// [`EngineError::Denied`] also when there is no such revocation: it is for whoever began it, and for callers whom
    /// policy allows `ReadStatus`.
    pub async fn watch_revocation(
        self: &Arc<Self>,
        actor: Actor,
        id: RevocationId,
    ) -> Result<BoxStream<'static, Result<Revocation, EngineError>>, EngineError> {
        let own = self.job(id).await?.is_some_and(|job| job.actor.id == actor.id);
        if !own {
            let details = BTreeMap::from([("revocation".to_owned(), id.to_string())]);
            self.authorize_broker(Kind::StatusRead, Action::ReadStatus, &actor, details).await?;
        }
        if self.job(id).await?.is_none() {
            return Err(EngineError::denied());
        }
        let told: Option<Revocation> = None;
        let progress = stream::unfold(Some((self.clone(), told)), move |state| async move {
            let (engine, told) = state?;
            if told.is_some() {
                sleep(TOLD_EVERY).await;
            }
            loop {
                let now = match engine.job(id).await {
                    Ok(Some(job)) => job.view(),
                    // It was purged: whoever watches has been told of its end, or was away for a day.
                    Ok(None) => return None,
                    Err(problem) => return Some((Err(problem), None)),
                };
                if told.as_ref() != Some(&now) {
                    let ended = now.state == RevocationState::Finished;
                    let next = (!ended).then(|| (engine, Some(now.clone())));
                    return Some((Ok(now), next));
                }
                sleep(TOLD_EVERY).await;
            }
        });
        Ok(progress.boxed())
    }

    /// A page of the revocations of the last day, the newest first.
    ///
    /// # Errors
    /// [`EngineError::Denied`], [`EngineError::BadPageToken`], or when the ledger cannot be read.
    pub async fn list_revocations(
        &self,
        actor: Actor,
        page_size: usize,
        page_token: Option<String>,
    ) -> Result<Page<Revocation>, EngineError> {
        let mut range = KeyRange::revocations();
        if let Some(token) = page_token {
            let last = Key::from_stored(&token);
            if !range.contains(&last) {
                return Err(EngineError::BadPageToken);
            }
            range = range.after(&last);
        }
        let details = BTreeMap::from([("listed".to_owned(), "revocations".to_owned())]);
        self.authorize_broker(Kind::StatusRead, Action::ReadStatus, &actor, details).await?;
        let size = page_size.clamp(1, LONGEST_PAGE);
        let entries = self.ledger.scan(&range, size).await?;
        let next_page_token =
            entries.last().filter(|_| entries.len() == size).map(|last| last.key.as_str().to_owned());
        let mut items = Vec::with_capacity(entries.len());
        for id in entries.iter().filter_map(|entry| entry.key.revocation_id()) {
            items.extend(self.job(id).await?.map(|job| job.view()));
        }
        Ok(Page { items, next_page_token })
    }

    /// What came of revocations, for the broker's own figures.
    pub fn revocation_figures(&self) -> RevocationFigures {
        let running = self.revocations.running().len();
        RevocationFigures {
            running: u64::try_from(running).unwrap_or(u64::MAX),
            forgotten: self.revocations.forgotten.load(std::sync::atomic::Ordering::Relaxed),
        }
    }

    /// The job as it is now.
    async fn job(&self, id: RevocationId) -> Result<Option<Job>, EngineError> {
        let running = self.revocations.running().get(&id).cloned();
        if running.is_some() {
            return Ok(running);
        }
        match self.ledger.get(&Key::revocation(id)).await? {
            Some(entry) => Ok(Some(Job::decode(&entry.value)?)),
            None => Ok(None),
        }
    }

    async fn job_named_by(&self, key: &Key) -> Result<Option<Job>, EngineError> {
        let Some(entry) = self.ledger.get(key).await? else { return Ok(None) };
        let id = std::str::from_utf8(entry.value.expose()).ok().and_then(|id| id.parse().ok());
        match id {
            Some(id) => self.job(id).await,
            None => Ok(None),
        }
    }
}

impl Revocations {
    /// Has somebody work on the job.
    fn take_up(&self, job: Job) {
        self.running().insert(job.id, job.clone());
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push_back(job);
        self.news.notify_one();
    }

    /// A turn to have a preview counted, until it is dropped.
    fn counting<'a>(&'a self, principal: &'a SpiffeId) -> Option<Counting<'a>> {
        let mut counted = self.counted();
        if counted.iter().filter(|one| *one == principal).count() >= MOST_COUNTED {
            return None;
        }
        counted.push(principal.clone());
        Some(Counting { revocations: self, principal })
    }

    fn counted(&self) -> MutexGuard<'_, Vec<SpiffeId>> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many of them are this principal's.
    fn of(&self, principal: &SpiffeId) -> usize {
        self.running().values().filter(|job| job.actor.id == *principal).count()
    }

    fn next(&self) -> Option<Job> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<RevocationId, Job>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One preview that is being counted.
struct Counting<'a> {
    revocations: &'a Revocations,
    principal: &'a SpiffeId,
}

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        let mut counted = self.revocations.counted();
        if let Some(at) = counted.iter().position(|one| one == self.principal) {
            counted.swap_remove(at);
        }
    }
}
