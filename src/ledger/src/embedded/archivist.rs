//! The thread that looks after the journal's closed segments: what is behind the last snapshot is packed and archived, as
//! the operator wants it. Nothing waits for it, and what fails is tried again.

use std::{
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use leasehold_audit::{ArchiveError, Archived, Closed, Files, link_archive};
use leasehold_core::record::{Actor, Kind, Record};

use super::{
    courier::Reply,
    indexer::Indexer,
    queue::{Queue, Request},
    snapshot::Snapshots,
};

/// How often it looks, if nobody wakes it: segments grow old while nothing else happens.
const LOOK: Duration = Duration::from_secs(60);

/// What becomes of the journal's segments when they are closed and the live state no longer needs them: when a snapshot
/// has what they hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClosedSegments {
    /// Whether they are compressed.
    pub pack: bool,
    /// Where they are moved to, and when. Without a rule they stay.
    pub archive: Option<ArchiveRule>,
}

/// When closed segments are moved to an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveRule {
    /// A directory that is this broker's own; made when it does not exist.
    pub directory: PathBuf,
    /// A segment goes when its last record is so old, counted up to the journal's latest.
    pub after_age: Duration,
    /// The oldest go while the closed segments take more bytes than this together.
    pub after_bytes: u64,
}

/// What others tell the thread, and it them.
#[derive(Default)]
pub(crate) struct Archivist {
    thread: OnceLock<Thread>,
    ended: AtomicBool,
    archived: AtomicU64,
}

/// The thread's own.
pub(crate) struct ArchiveWork {
    pub(crate) archivist: Arc<Archivist>,
    pub(crate) rule: ClosedSegments,
    pub(crate) journal: PathBuf,
    pub(crate) files: Arc<dyn Files>,
    pub(crate) snapshots: Snapshots,
    pub(crate) indexer: Arc<Indexer>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) actor: Actor,
}

/// Why a look ended early.
enum Stop {
    /// The ledger is being closed.
    Ended,
    /// A segment could not be put away.
    Failed(String),
}

impl Archivist {
    /// There is a new snapshot.
    pub(crate) fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// The thread to wake.
    pub(crate) fn done_by(&self, thread: Thread) {
        let _ = self.thread.set(thread);
    }

    /// What is under way is finished, and then no more is done.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.wake();
    }

    /// How many segments were archived.
    pub(crate) fn archived(&self) -> u64 {
        self.archived.load(Ordering::Relaxed)
    }
}

impl ArchiveWork {
    pub(crate) fn run(self) {
        let mut said = None;
        while !self.archivist.ended.load(Ordering::Acquire) {
            match self.look() {
                Ok(()) => said = None,
                Err(Stop::Ended) => return,
                Err(Stop::Failed(why)) => {
                    if said.as_ref() != Some(&why) {
                        tracing::warn!(%why, "closed segments of the journal stay where they are for now");
                    }
                    said = Some(why);
                }
            }
            thread::park_timeout(LOOK);
        }
    }

    fn look(&self) -> Result<(), Stop> {
        if self.rule.pack {
            for closed in self.closed()?.iter().filter(|closed| !closed.is_packed()) {
                closed.pack(&*self.files)?;
                self.go_on()?;
            }
        }
        if let Some(rule) = &self.rule.archive {
            link_archive(&self.journal, &rule.directory)?;
            let closed = self.closed()?;
            let mut bytes = closed.iter().map(Closed::bytes).fold(0, u64::saturating_add);
            for closed in &closed {
                if !self.is_due(rule, closed, bytes) {
                    break;
                }
                let archived = closed.copy_to(&rule.directory, &*self.files)?;
                self.record(&archived)?;
                closed.remove(&*self.files)?;
                self.archivist.archived.fetch_add(1, Ordering::Relaxed);
                bytes = bytes.saturating_sub(closed.bytes());
                self.go_on()?;
            }
        }
        Ok(())
    }

    /// The closed segments that the live state no longer needs, the oldest first.
    fn closed(&self) -> Result<Vec<Closed>, Stop> {
        let snapshot = self.snapshots.last().map_err(|why| Stop::Failed(why.to_string()))?;
        let mut closed = Closed::list(&self.journal)?;
        closed.retain(|closed| closed.last() <= snapshot);
        Ok(closed)
    }

    fn is_due(&self, rule: &ArchiveRule, closed: &Closed, bytes: u64) -> bool {
        let age = self.now().duration_since(closed.until());
        bytes > rule.after_bytes
            || age >= SignedDuration::try_from(rule.after_age).unwrap_or(SignedDuration::MAX)
    }

    /// The ledger has no clock: it goes by what its records say.
    fn now(&self) -> Timestamp {
        self.indexer.last_time().unwrap_or(Timestamp::UNIX_EPOCH)
    }

    fn go_on(&self) -> Result<(), Stop> {
        if self.archivist.ended.load(Ordering::Acquire) { Err(Stop::Ended) } else { Ok(()) }
    }

    /// Says in the journal where the segment has gone. Returns when that is durable: only then may it go.
    fn record(&self, archived: &Archived) -> Result<(), Stop> {
        let mut record = Record::new(self.now(), Kind::JournalArchived, self.actor.clone());
        record.details.extend([
            ("file".to_owned(), archived.path.display().to_string()),
            ("first".to_owned(), archived.first.to_string()),
            ("last".to_owned(), archived.last.to_string()),
            ("bytes".to_owned(), archived.bytes.to_string()),
            ("sha256".to_owned(), archived.sha256.clone()),
        ]);
        let (reply, outcome) = Reply::direct();
        let (conditions, writes) = (Vec::new(), Vec::new());
        let request = Request { record, conditions, writes, sealed: None, reply: Some(reply) };
        if !self.queue.push(Box::new(request)) {
            return Err(Stop::Ended);
        }
        match outcome.blocking_recv() {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(why)) => Err(Stop::Failed(why.to_string())),
            Err(_) => Err(Stop::Ended),
        }
    }
}

impl From<ArchiveError> for Stop {
    fn from(error: ArchiveError) -> Self {
        Self::Failed(error.to_string())
    }
}
