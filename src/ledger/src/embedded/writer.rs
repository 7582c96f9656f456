//! The one thread that commits: it takes all commits that wait, checks their conditions in order, and makes them durable
//! together with one write and one fsync.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use leasehold_audit::{Journal, JournalError};
use leasehold_core::state::{Key, LedgerError, Revision};
use tokio::sync::watch;

use super::{
    health::LedgerHealth,
    indexer::Indexer,
    publisher::{Group, Publisher, answer},
    queue::{Closed, Posted, Queue, Request, Taken},
};
use crate::{conditions, index::Index, watchers::Watchers};

/// How often the journal's file is looked at while nobody commits.
const LOOK: Duration = Duration::from_secs(5);
/// The same, while it is not as it should be.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// How long commits wait for the index before they are looked at again.
const BACK_PRESSURE: Duration = Duration::from_millis(20);

pub(crate) struct Writer {
    pub(crate) journal: Journal,
    pub(crate) queue: Arc<Queue>,
    pub(crate) publisher: Publisher,
    pub(crate) index: Arc<Index>,
    pub(crate) indexer: Arc<Indexer>,
    pub(crate) watchers: Arc<Watchers>,
    pub(crate) health: watch::Sender<LedgerHealth>,
    pub(crate) counts: Arc<Counts>,
}

/// What was done, for others to read.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) head: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) conflicts: AtomicU64,
    pub(crate) fsyncs: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) segments: AtomicU64,
}

impl Writer {
    /// Commits until the queue is closed; then tells the indexer how it ended.
    pub(crate) fn run(mut self) {
        let mut group = Vec::new();
        let how = loop {
            match self.queue.take(&mut group) {
                Taken::Requests => self.commit(std::mem::take(&mut group)),
                Taken::Nothing => self.wait(),
                Taken::End(how) => break how,
            }
        };
        let published = self.publisher.settle();
        self.watchers.end(&LedgerError::Unavailable("the ledger was closed".to_owned()));
        self.indexer.end((published && how == Closed::InOrder).then(|| self.journal.head()));
    }

    fn wait(&mut self) {
        let healthy = *self.health.borrow() == LedgerHealth::Ok;
        thread::park_timeout(if healthy { LOOK } else { LOOK_AGAIN });
        let poisoned = matches!(*self.health.borrow(), LedgerHealth::Poisoned(_));
        if !poisoned {
            let found = self.journal.probe().map_err(|why| refusal(&why));
            let overfull = self.index.is_overfull();
            self.say(found.and_then(|()| if overfull { self.indexer.trouble() } else { Ok(()) }));
        }
    }

    fn commit(&mut self, requests: Vec<Posted>) {
        if let Err(why) = self.wait_for_index() {
            self.say(Err(why.clone()));
            return answer(requests, std::iter::repeat_with(|| Err(why.clone())));
        }
        let mut outcomes = self.stage(&requests);
        if outcomes.iter().all(Result::is_err) {
            return answer(requests, outcomes);
        }
        match self.journal.commit() {
            Ok(head) => {
                self.say(Ok(()));
                self.count();
                self.publisher.publish(Group { requests, outcomes, head }, self.queue.is_waited_for());
            }
            Err(why) => {
                let why = refusal(&why);
                outcomes.iter_mut().filter(|o| o.is_ok()).for_each(|o| *o = Err(why.clone()));
                self.say(Err(why));
                answer(requests, outcomes);
            }
        }
    }

    fn count(&self) {
        let stats = self.journal.stats();
        self.counts.fsyncs.store(stats.commits, Ordering::Relaxed);
        self.counts.bytes.store(stats.bytes, Ordering::Relaxed);
        self.counts.segments.store(stats.segments, Ordering::Relaxed);
    }

    /// Checks the group in order and stages what may be committed. What one commit writes, the next one's conditions see.
    fn stage(&mut self, group: &[Posted]) -> Vec<Result<Revision, LedgerError>> {
        let conditional = group.iter().any(|request| !request.conditions.is_empty());
        // Conditions are looked up in the index, which must have all that was written before.
        if conditional && !self.publisher.settle() {
            let gone = || Err(LedgerError::Unavailable("the ledger was closed".to_owned()));
            return group.iter().map(|_| gone()).collect();
        }
        let Self { journal, index, counts, .. } = self;
        let mut written: HashMap<&Key, Option<Revision>> = HashMap::new();
        let mut stage = |request: &'_ Request, written: &HashMap<&Key, Option<Revision>>| {
            conditions::check(&request.conditions, |key| match written.get(key) {
                Some(revision) => Ok(*revision),
                None => Ok(index.revision(key)?),
            })?;
            journal.stage(&request.record, request.sealed.as_deref()).map_err(|why| refusal(&why))
        };
        // Most groups have no condition at all: then nobody asks what was written.
        let asked = conditional && group.len() > 1;
        let mut outcomes = Vec::with_capacity(group.len());
        for request in group {
            let outcome = stage(request, &written);
            match &outcome {
                Ok(revision) if asked => written.extend(
                    request.writes.iter().map(|write| (&write.key, write.value.as_ref().map(|_| *revision))),
                ),
                Err(LedgerError::Conflict(_)) => {
                    counts.conflicts.fetch_add(1, Ordering::Relaxed);
                }
                _ => {}
            }
            outcomes.push(outcome);
        }
        outcomes
    }

    /// Memory is bounded: when the index does not come after, commits wait, and fail when it cannot.
    fn wait_for_index(&self) -> Result<(), LedgerError> {
        while self.index.is_overfull() {
            self.indexer.trouble()?;
            self.indexer.wake();
            thread::park_timeout(BACK_PRESSURE);
        }
        Ok(())
    }

    /// Tells how the ledger is; poison stays.
    fn say(&self, found: Result<(), LedgerError>) {
        let now = match found {
            Ok(()) | Err(LedgerError::Conflict(_)) => LedgerHealth::Ok,
            Err(LedgerError::Full(why)) => LedgerHealth::Full(why),
            Err(LedgerError::Poisoned(why)) => LedgerHealth::Poisoned(why),
            Err(LedgerError::Unavailable(why) | LedgerError::Corrupt(why)) => LedgerHealth::Unavailable(why),
        };
        let changed = self.health.send_if_modified(|health| {
            let changes = *health != now && !matches!(health, LedgerHealth::Poisoned(_));
            if changes {
                health.clone_from(&now);
            }
            changes
        });
        match &now {
            _ if !changed => {}
            LedgerHealth::Ok => tracing::info!("the ledger takes commits again"),
            LedgerHealth::Poisoned(why) => tracing::error!(%why, "the ledger is poisoned"),
            LedgerHealth::Full(why) | LedgerHealth::Unavailable(why) => {
                tracing::warn!(%why, "the ledger takes no commits");
            }
        }
    }
}

impl Drop for Writer {
    /// Also when the thread panics, nobody waits for it in vain.
    fn drop(&mut self) {
        self.queue.abandon();
        self.indexer.end(None);
        let gone = LedgerHealth::Unavailable("the ledger was closed".to_owned());
        self.health.send_if_modified(|health| {
            let was_ok = *health == LedgerHealth::Ok;
            if was_ok {
                *health = gone;
            }
            was_ok
        });
    }
}

/// What a failure of the journal means to who wanted to commit.
fn refusal(why: &JournalError) -> LedgerError {
    let text = with_sources(why);
    match why {
        JournalError::Full { .. } => LedgerError::Full(text),
        JournalError::Poisoned { reason } => LedgerError::Poisoned(reason.clone()),
        JournalError::Damaged { .. } | JournalError::Cut { .. } | JournalError::Diverged { .. } => {
            LedgerError::Corrupt(text)
        }
        JournalError::Removed { .. }
        | JournalError::Replaced { .. }
        | JournalError::Truncated { .. }
        | JournalError::Unwritable(_)
        | JournalError::Io { .. } => LedgerError::Unavailable(text),
    }
}

/// The error with everything that led to it.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
