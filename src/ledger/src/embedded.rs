//! The ledger on this machine: the audit journal is the truth, and an index that can be thrown away answers reads.

mod archivist;
mod courier;
mod health;
mod indexer;
mod marker;
mod open;
mod open_error;
mod publisher;
mod queue;
mod recovery;
mod snapshot;
mod writer;
mod writes;

#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    thread::{self, JoinHandle},
};

use async_trait::async_trait;
use futures::{future, stream::BoxStream};
use leasehold_audit::Files;
use leasehold_core::{
    ports::Ledger,
    record::Actor,
    state::{Change, Commit, Entry, Key, KeyRange, LedgerError, Revision},
};
use leasehold_seal::KeyRing;
use tokio::sync::{oneshot, watch};

pub use self::{
    archivist::{ArchiveRule, ClosedSegments},
    health::{LedgerHealth, LedgerStats},
    open_error::OpenError,
    recovery::Recovery,
};
use self::{
    archivist::{ArchiveWork, Archivist},
    courier::{Couriers, Outcome},
    indexer::{Calm, IndexWork, Indexer, SnapshotRule},
    publisher::{Publisher, Stage},
    queue::{Closed, Queue, Request},
    writer::{Counts, Writer},
};
use crate::{
    index::{Index, Limits},
    watchers::Watchers,
};

/// Where and how the ledger is kept.
#[derive(Clone)]
pub struct EmbeddedOptions {
    /// The state directory. In it: `journal/`, `index/` and `snapshots/`.
    pub dir: PathBuf,
    /// This node's name, written into every record.
    pub node: String,
    /// What seals the state.
    pub keys: Arc<KeyRing>,
    /// How long a segment of the journal is, in bytes.
    pub segment_bytes: u64,
    /// The file layer under the journal.
    pub files: Arc<dyn Files>,
    /// Which run of the kernel this is; see [`boot_id`].
    pub boot_id: String,
    /// In whose name the ledger's own records are made: the broker's.
    pub actor: Actor,
    /// After how many records a snapshot is written.
    pub snapshot_records: u64,
    /// What becomes of the journal's older segments.
    pub closed: ClosedSegments,
}

/// The ledger; clones share it. Dropping the last one without [`Embedded::close`] loses nothing, but the next start
/// has more to read.
#[derive(Clone)]
pub struct Embedded(Arc<Shared>);

struct Shared {
    node: String,
    keys: Arc<KeyRing>,
    journal_dir: PathBuf,
    couriers: Couriers,
    queue: Arc<Queue>,
    index: Arc<Index>,
    indexer: Arc<Indexer>,
    archivist: Arc<Archivist>,
    watchers: Arc<Watchers>,
    counts: Arc<Counts>,
    health: watch::Receiver<LedgerHealth>,
    closed: watch::Receiver<bool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// The kernel's name for its present run, from `/proc/sys/kernel/random/boot_id`.
///
/// # Errors
/// When it cannot be read; nothing is known of the last shutdown then.
pub fn boot_id() -> std::io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

impl EmbeddedOptions {
    /// After how many records a snapshot is written when nobody says otherwise.
    pub const SNAPSHOT_RECORDS: u64 = 500_000;
}

impl Embedded {
    /// Opens the ledger, or makes an empty one, and brings its index up to date with the journal. Blocks meanwhile.
    ///
    /// # Errors
    /// When the journal is damaged or its end was removed, when the keys do not fit, or when a file cannot be used.
    pub fn open(options: EmbeddedOptions) -> Result<(Self, Recovery), OpenError> {
        Self::open_with(options, Limits::default())
    }

    fn open_with(options: EmbeddedOptions, limits: Limits) -> Result<(Self, Recovery), OpenError> {
        let state = open::open(&options, limits)?;
        let (queue, indexer, counts) = <(Arc<Queue>, Arc<Indexer>, Arc<Counts>)>::default();
        let (index, watchers) = (Arc::new(state.index), Arc::<Watchers>::default());
        let (health_sender, health) = watch::channel(LedgerHealth::Ok);
        let (closed_sender, closed) = watch::channel(false);
        counts.head.store(state.recovery.head.seq, Ordering::Relaxed);
        if let Some(time) = state.recovery.last_time {
            indexer.saw(time);
        }
        let last = state.snapshots.last().map_err(|why| OpenError::Index(why.to_string()))?;
        let archivist = Arc::<Archivist>::default();
        let journal_dir = options.dir.join("journal");
        let archiving = ArchiveWork {
            archivist: Arc::clone(&archivist),
            rule: options.closed,
            journal: journal_dir.clone(),
            files: options.files,
            snapshots: state.snapshots.clone(),
            indexer: Arc::clone(&indexer),
            queue: Arc::clone(&queue),
            actor: options.actor.clone(),
        };
        let work = IndexWork {
            indexer: Arc::clone(&indexer),
            archivist: Arc::clone(&archivist),
            index: Arc::clone(&index),
            queue: Arc::clone(&queue),
            snapshots: state.snapshots,
            marker: state.marker,
            actor: options.actor,
            due: SnapshotRule { last, every: options.snapshot_records.max(1) },
            closed: closed_sender,
            calm: Calm::default(),
        };
        let stage = Stage {
            index: Arc::clone(&index),
            indexer: Arc::clone(&indexer),
            watchers: Arc::clone(&watchers),
            counts: Arc::clone(&counts),
        };
        let (publisher, publishing) = Publisher::new(stage, Arc::clone(&queue));
        let writer = Writer {
            journal: state.journal,
            queue: Arc::clone(&queue),
            publisher,
            index: Arc::clone(&index),
            indexer: Arc::clone(&indexer),
            watchers: Arc::clone(&watchers),
            health: health_sender,
            counts: Arc::clone(&counts),
        };
        let indexing = || {
            // It works behind the commits: who is waited for goes first. Not by much, since in the end commits wait for it, too.
            let _ = rustix::process::nice(5);
            work.run();
        };
        let archive = move || {
            let _ = rustix::process::nice(10);
            archiving.run();
        };
        let threads = vec![
            spawn("ledger-index", indexing)?,
            spawn("ledger-journal", || writer.run())?,
            spawn("ledger-archive", archive)?,
            spawn("ledger-publish", || publishing.run())?,
        ];
        let [indexing, writing, archiving] =
            [0, 1, 2].map(|n| threads.get(n).map(|t: &JoinHandle<()>| t.thread().clone()));
        indexing.into_iter().for_each(|thread| indexer.done_by(thread));
        writing.into_iter().for_each(|thread| queue.served_by(thread));
        archiving.into_iter().for_each(|thread| archivist.done_by(thread));
        let shared = Shared {
            node: options.node,
            keys: options.keys,
            journal_dir,
            couriers: Couriers::default(),
            queue,
            index,
            indexer,
            archivist,
            watchers,
            counts,
            health,
            closed,
            threads: Mutex::new(threads),
        };
        Ok((Self(Arc::new(shared)), state.recovery))
    }

    /// How it is; the receiver is told of every change.
    pub fn health(&self) -> watch::Receiver<LedgerHealth> {
        self.0.health.clone()
    }

    /// What it has done and holds.
    pub fn stats(&self) -> LedgerStats {
        let counts = &self.0.counts;
        let extent = self.0.index.extent();
        LedgerStats {
            head: counts.head.load(Ordering::Relaxed),
            commits: counts.commits.load(Ordering::Relaxed),
            fsyncs: counts.fsyncs.load(Ordering::Relaxed),
            conflicts: counts.conflicts.load(Ordering::Relaxed),
            journal_bytes: counts.bytes.load(Ordering::Relaxed),
            segments: counts.segments.load(Ordering::Relaxed),
            index_keys: extent.keys,
            index_bytes: extent.bytes,
            index_runs: extent.runs,
            indexed: extent.indexed,
            snapshots: self.0.indexer.snapshots(),
            archived: self.0.archivist.archived(),
        }
    }

    /// Where the journal is, for readers.
    pub fn journal_dir(&self) -> &Path {
        &self.0.journal_dir
    }

    /// Finishes what was begun, brings the index to disk and marks it as whole. Later commits are refused; reads go on.
    pub async fn close(&self) {
        self.0.archivist.end();
        self.0.queue.close(Closed::InOrder);
        // An error means that the thread is gone: there is nothing more to wait for.
        let _ = self.0.closed.clone().wait_for(|closed| *closed).await;
    }
}

#[async_trait]
impl Ledger for Embedded {
    // Written out, so that nothing of the commit is carried along by who only waits for its answer.
    fn commit<'a, 'f>(
        &'a self,
        commit: Commit,
    ) -> Pin<Box<dyn Future<Output = Result<Revision, LedgerError>> + Send + 'f>>
    where
        'a: 'f,
    {
        match self.0.post(commit) {
            Ok(outcome) => Box::pin(async move { outcome.await.unwrap_or_else(|_| Err(closed())) }),
            Err(why) => Box::pin(future::ready(Err(why))),
        }
    }

    async fn get(&self, key: &Key) -> Result<Option<Entry>, LedgerError> {
        Ok(self.0.index.get(key)?)
    }

    async fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<Entry>, LedgerError> {
        Ok(self.0.index.scan(range, limit)?)
    }

    fn watch(&self, range: KeyRange) -> BoxStream<'static, Result<Change, LedgerError>> {
        self.0.watchers.watch(range)
    }
}

impl Shared {
    /// Seals a commit and hands it to the writer; its outcome comes by what is returned.
    fn post(&self, commit: Commit) -> Result<oneshot::Receiver<Outcome>, LedgerError> {
        let Commit { record, conditions, writes } = commit;
        let sealed = match writes.as_slice() {
            [] => None,
            writes => Some(
                writes::seal(&self.keys, &self.node, &record, writes)
                    .map_err(|why| LedgerError::Unavailable(why.to_string()))?,
            ),
        };
        let (reply, outcome) = self.couriers.reply();
        let request = Box::new(Request { record, conditions, writes, sealed, reply: Some(reply) });
        if self.queue.push(request) { Ok(outcome) } else { Err(closed()) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.archivist.end();
        self.queue.close(Closed::Abandoned);
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            // A thread that panicked has said so already, and its files are closed all the same.
            let _ = thread.join();
        }
    }
}

fn closed() -> LedgerError {
    LedgerError::Unavailable("the ledger is closed".to_owned())
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    let io = |source| OpenError::Io { path: PathBuf::from(name), verb: "started as a thread", source };
    thread::Builder::new().name(name.to_owned()).spawn(work).map_err(io)
}
