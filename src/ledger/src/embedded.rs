//! The ledger on this machine: the audit journal is the truth, and an index that can be thrown away answers reads.

mod health;
mod open_error;
mod recovery;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use futures::stream::BoxStream;
use leasehold_audit::Files;
use leasehold_core::{
    ports::Ledger,
    record::Actor,
    state::{Change, Commit, Entry, Key, KeyRange, LedgerError, Revision},
};
use leasehold_seal::KeyRing;
use tokio::sync::watch;

pub use self::{
    health::{LedgerHealth, LedgerStats},
    open_error::OpenError,
    recovery::Recovery,
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
}

/// The ledger; clones share it. Dropping the last one without [`Embedded::close`] loses nothing, but the next start
/// has more to read.
#[derive(Clone)]
pub struct Embedded(Arc<Shared>);

struct Shared {
    journal_dir: PathBuf,
    health: watch::Receiver<LedgerHealth>,
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
    pub const SNAPSHOT_RECORDS: u64 = 1_000_000;
}

impl Embedded {
    /// Opens the ledger, or makes an empty one, and brings its index up to date with the journal. Blocks meanwhile.
    ///
    /// # Errors
    /// When the journal is damaged or its end was removed, when the keys do not fit, or when a file cannot be used.
    pub fn open(options: EmbeddedOptions) -> Result<(Self, Recovery), OpenError> {
        Err(OpenError::Index(format!("{} is not written yet", options.dir.display())))
    }

    /// How it is; the receiver is told of every change.
    pub fn health(&self) -> watch::Receiver<LedgerHealth> {
        self.0.health.clone()
    }

    /// What it has done and holds.
    pub fn stats(&self) -> LedgerStats {
        LedgerStats::default()
    }

    /// Where the journal is, for readers.
    pub fn journal_dir(&self) -> &Path {
        &self.0.journal_dir
    }

    /// Finishes what was begun, brings the index to disk and marks it as whole. Later commits are refused.
    pub async fn close(&self) {}
}

#[async_trait]
impl Ledger for Embedded {
    async fn commit(&self, _commit: Commit) -> Result<Revision, LedgerError> {
        Err(LedgerError::Unavailable(String::new()))
    }

    async fn get(&self, _key: &Key) -> Result<Option<Entry>, LedgerError> {
        Err(LedgerError::Unavailable(String::new()))
    }

    async fn scan(&self, _range: &KeyRange, _limit: usize) -> Result<Vec<Entry>, LedgerError> {
        Err(LedgerError::Unavailable(String::new()))
    }

    fn watch(&self, _range: KeyRange) -> BoxStream<'static, Result<Change, LedgerError>> {
        Box::pin(futures::stream::empty())
    }
}
