//! The thread behind the commits: it brings recent writes to disk, merges runs and writes snapshots, one step at a time.
//! Nothing waits for it, except when memory is full.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    thread::{self, Thread},
    time::Duration,
};

use jiff::Timestamp;
use leasehold_audit::Head;
use leasehold_core::{
    record::{Actor, Kind, Record},
    state::LedgerError,
};
use tokio::sync::watch;

use super::{
    archivist::Archivist,
    marker::Marker,
    queue::{Queue, Request},
    snapshot::{Snapshot, Snapshots},
};
use crate::index::{Index, IndexError, Merging};

/// A snapshot is due after as many records as this part of the keys: after about as many as there are leases.
const SHARE: u64 = 5;
/// So much sooner while nobody commits.
const QUIET: u64 = 10;
const QUIET_SHARE: u64 = SHARE * QUIET;
/// How often it looks while there is nothing to do.
const LOOK: Duration = Duration::from_secs(3);

/// How long it waits before it tries again what did not work.
const RETRY: Duration = Duration::from_secs(1);

/// How long it leaves the processor to others after each piece of a merge.
const PAUSE: Duration = Duration::from_millis(1);

/// What others tell the thread, and it them.
#[derive(Default)]
pub(crate) struct Indexer {
    talk: Mutex<Talk>,
    thread: OnceLock<Thread>,
}

#[derive(Default)]
struct Talk {
    trouble: Option<LedgerError>,
    last_time: Option<Timestamp>,
    /// Set when there will be no more commits; with the last record when the index is to be finished.
    end: Option<Option<Head>>,
    snapshots: u64,
    /// How many groups were committed.
    groups: u64,
}

/// The thread's own.
pub(crate) struct IndexWork {
    pub(crate) indexer: Arc<Indexer>,
    pub(crate) archivist: Arc<Archivist>,
    pub(crate) index: Arc<Index>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) snapshots: Snapshots,
    pub(crate) marker: Marker,
    pub(crate) actor: Actor,
    /// Where the snapshots are, for the record of one.
    pub(crate) due: SnapshotRule,
    pub(crate) closed: watch::Sender<bool>,
    pub(crate) calm: Calm,
}

/// Whether anybody commits, as one sees it who looks now and then.
#[derive(Default)]
pub(crate) struct Calm {
    groups: u64,
    looks: u32,
}

/// When the next snapshot is due.
pub(crate) struct SnapshotRule {
    /// The record of the last one.
    pub(crate) last: u64,
    /// How many records later at the earliest.
    pub(crate) every: u64,
}

/// What takes more than one step.
enum Job {
    Merge(Box<Merging>),
    Snapshot(Box<Snapshot>),
}

impl Indexer {
    pub(crate) fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// The thread to wake.
    pub(crate) fn done_by(&self, thread: Thread) {
        let _ = self.thread.set(thread);
    }

    /// Why the index does not come after, if it does not.
    pub(crate) fn trouble(&self) -> Result<(), LedgerError> {
        self.lock().trouble.clone().map_or(Ok(()), Err)
    }

    /// Notes the latest time in the journal.
    pub(crate) fn saw(&self, time: Timestamp) {
        let mut talk = self.lock();
        talk.last_time = talk.last_time.max(Some(time));
        talk.groups = talk.groups.saturating_add(1);
    }

    /// The latest time in the journal.
    pub(crate) fn last_time(&self) -> Option<Timestamp> {
        self.lock().last_time
    }

    /// There will be no more commits. With a head, the index is brought to disk up to it. The first call counts.
    pub(crate) fn end(&self, finish: Option<Head>) {
        self.lock().end.get_or_insert(finish);
        self.wake();
    }

    /// How many snapshots were written.
    pub(crate) fn snapshots(&self) -> u64 {
        self.lock().snapshots
    }

    fn lock(&self) -> MutexGuard<'_, Talk> {
        self.talk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Calm {
    fn look(&mut self, groups: u64) {
        let same = std::mem::replace(&mut self.groups, groups) == groups;
        self.looks = if same { self.looks.saturating_add(1) } else { 0 };
    }

    /// The first look may be early: somebody may have woken it for what is done already. The second one has waited.
    const fn is_long(&self) -> bool {
        self.looks >= 2
    }
}

impl IndexWork {
    pub(crate) fn run(mut self) {
        let mut job = None;
        loop {
            let end = self.indexer.lock().end;
            if let Some(end) = end {
                drop(job);
                return self.finish(end);
            }
            let done = self.step(&mut job);
            self.report(done.as_ref().err());
            match done {
                Ok(true) => {}
                Ok(false) => {
                    thread::park_timeout(LOOK);
                    self.calm.look(self.indexer.lock().groups);
                }
                Err(_) => {
                    job = None;
                    thread::park_timeout(RETRY);
                }
            }
        }
    }

    /// Does what is most urgent; false when there is nothing to do.
    fn step(&mut self, job: &mut Option<Job>) -> Result<bool, IndexError> {
        if self.index.is_frozen() {
            self.index.write_out()?;
            self.queue.wake();
            return Ok(true);
        }
        match job.take() {
            Some(Job::Merge(work)) => {
                *job = self.index.merge_on(*work)?.map(|work| Job::Merge(Box::new(work)));
                if job.is_some() && !self.index.is_behind() {
                    // A merge is in no hurry, and whoever is waited for needs the processor: it goes evenly, not at once.
                    thread::park_timeout(PAUSE);
                }
            }
            Some(Job::Snapshot(snapshot)) => *job = self.snapshot_on(snapshot).map(Job::Snapshot),
            None => {
                self.index.sweep()?;
                *job = match self.index.begin_merge()? {
                    Some(work) => Some(Job::Merge(Box::new(work))),
                    None => self.begin_snapshot().map(Job::Snapshot),
                };
                return Ok(job.is_some());
            }
        }
        Ok(true)
    }

    fn begin_snapshot(&mut self) -> Option<Box<Snapshot>> {
        let extent = self.index.extent();
        // A snapshot writes the whole state: the larger it is, the rarer, so that it stays cheap for each record. While
        // nobody commits, it is in nobody's way.
        let (every, share) = match self.calm.is_long() {
            true => (self.due.every.div_euclid(QUIET), QUIET_SHARE),
            false => (self.due.every, SHARE),
        };
        let due = self.due.last.saturating_add(every.max(extent.keys.div_euclid(share)).max(1));
        if extent.indexed < due {
            return None;
        }
        self.due.last = extent.indexed;
        match self.index.whole().and_then(|whole| self.snapshots.begin(whole, extent.keys)) {
            Ok(snapshot) => Some(Box::new(snapshot)),
            Err(why) => {
                tracing::warn!(%why, "no snapshot was written; the journal has everything");
                None
            }
        }
    }

    /// A snapshot that fails is no trouble for anybody: the next one comes when it is due.
    fn snapshot_on(&mut self, snapshot: Box<Snapshot>) -> Option<Box<Snapshot>> {
        match snapshot.step() {
            Ok(Ok(more)) => Some(Box::new(more)),
            Ok(Err(written)) => {
                self.record(&written.path, written.head, &written.digest, written.keys);
                if let Err(why) = self.snapshots.prune() {
                    tracing::warn!(%why, "old snapshots stay");
                }
                self.archivist.wake();
                None
            }
            Err(why) => {
                tracing::warn!(%why, "no snapshot was written; the journal has everything");
                None
            }
        }
    }

    fn record(&self, path: &Path, head: Head, digest: &str, keys: u64) {
        let time = {
            let mut talk = self.indexer.lock();
            talk.snapshots = talk.snapshots.saturating_add(1);
            talk.last_time.unwrap_or(Timestamp::UNIX_EPOCH)
        };
        // The ledger has no clock: its own records carry the time of the last one before them.
        let mut record = Record::new(time, Kind::JournalSnapshot, self.actor.clone());
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        record.details.extend([
            ("file".to_owned(), file),
            ("sha256".to_owned(), digest.to_owned()),
            ("as_of".to_owned(), head.seq.to_string()),
            ("keys".to_owned(), keys.to_string()),
        ]);
        let (conditions, writes) = (Vec::new(), Vec::new());
        // Without the record, the snapshot is still good: its seal holds, and it follows from the chain.
        let request = Request { record, conditions, writes, sealed: None, reply: None };
        let _ = self.queue.push(Box::new(request));
    }

    fn finish(self, end: Option<Head>) {
        if let Some(head) = end {
            let finished = self.index.finish(head).map_err(|why| why.to_string());
            if let Err(why) = finished.and_then(|()| self.marker.set_clean().map_err(|why| why.to_string())) {
                tracing::warn!(%why, "the index was not finished; the next start reads the journal instead");
            }
        }
        self.closed.send_replace(true);
    }

    fn report(&self, error: Option<&IndexError>) {
        let mut talk = self.indexer.lock();
        if let Some(why) = error
            && talk.trouble.is_none()
        {
            tracing::warn!(%why, "the index does not come after the journal");
        }
        talk.trouble =
            error.map(|why| LedgerError::Unavailable(format!("the index cannot be written: {why}")));
    }
}

impl Drop for IndexWork {
    /// Also when the thread panics, nobody waits for it in vain.
    fn drop(&mut self) {
        let gone = LedgerError::Unavailable("the index is no longer written: restart".to_owned());
        self.indexer.lock().trouble = Some(gone);
        self.queue.wake();
    }
}
