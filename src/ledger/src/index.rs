//! The index: the state as of some record of the journal, made for reading and rebuilt whenever it is in doubt.
//!
//! Recent writes are in memory; a second thread writes them out as sorted runs, and merges runs, behind the commits
//! (a log-structured merge tree: O'Neil et al., 1996). It may lag, because the journal has everything: after a crash what
//! was only in memory is read from there. Reads see memory and runs as one.
//!
//! Not here: the journal, conditions, and when to write out.

mod block;
mod bloom;
mod error;
mod memtable;
mod merge;
mod run;
mod slot;
mod store;
mod tiers;
mod work;

use std::{
    path::Path,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use leasehold_audit::Head;
use leasehold_core::state::{Entry, Key, KeyRange, Revision, Write};
use leasehold_seal::KeyRing;

pub(crate) use self::{
    block::{BlockBuilder, BlockCursor},
    error::IndexError,
    slot::{Row, Slot},
    work::{Merging, Whole},
};
use self::{
    memtable::Memtable,
    merge::{Copied, Merge, RunRows, Source},
    run::Run,
    store::{Manifest, Store},
};

/// How many rows a scan takes from memory at a time.
const CHUNK: usize = 512;

/// How much is kept in memory before it is written out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Twice that is the most there ever is.
    pub(crate) bytes: usize,
    /// What a restart after a crash reads from the journal at most, twice.
    pub(crate) records: u64,
}

/// The state, for reading by any thread and writing by one.
pub(crate) struct Index {
    store: Arc<Store>,
    limits: Limits,
    state: RwLock<State>,
}

struct State {
    /// Writes since the last freeze.
    active: Memtable,
    /// Writes that are being written out.
    frozen: Option<Arc<Frozen>>,
    /// What is on disk, the newest first.
    runs: Vec<Arc<Run>>,
    /// What the disk's manifest says.
    manifest: Manifest,
    /// Runs that were merged into others and may still be read.
    retired: Vec<Arc<Run>>,
}

struct Frozen {
    table: Memtable,
    head: Head,
}

/// How large the index is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extent {
    pub(crate) keys: u64,
    pub(crate) bytes: u64,
    pub(crate) runs: u64,
    pub(crate) indexed: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 8 * 1024 * 1024, records: 65_536 }
    }
}

impl Index {
    /// Opens the index in `dir`; a new one begins before the first record.
    pub(crate) fn open(
        dir: &Path,
        keys: Arc<KeyRing>,
        identity: [u8; 16],
        limits: Limits,
    ) -> Result<Self, IndexError> {
        let (store, manifest) = Store::open(dir, keys)?;
        let manifest = manifest.unwrap_or_else(|| Manifest::empty(identity));
        let open = |facts: &store::RunFacts| Run::open(&store, manifest.index, *facts).map(Arc::new);
        let runs = manifest.runs.iter().map(open).collect::<Result<_, _>>()?;
        store.remove_strangers(&manifest)?;
        let (active, frozen, retired) = (Memtable::default(), None, Vec::new());
        let state = RwLock::new(State { active, frozen, runs, manifest, retired });
        Ok(Self { store: Arc::new(store), limits, state })
    }

    /// Whether the index in `dir` is known to be damaged: only a new one helps.
    pub(crate) fn is_doubtful(dir: &Path) -> bool {
        Store::is_doubtful(dir)
    }

    /// The last record that the disk has.
    pub(crate) fn indexed(&self) -> Head {
        self.read().manifest.head()
    }

    pub(crate) fn extent(&self) -> Extent {
        let state = self.read();
        let frozen = state.frozen.as_ref().map_or(0, |frozen| frozen.table.len());
        let recent = state.active.len().saturating_add(frozen) as u64;
        let facts = &state.manifest.runs;
        Extent {
            keys: facts.iter().map(|run| run.keys).fold(recent, u64::saturating_add),
            bytes: facts.iter().map(|run| run.bytes).fold(0, u64::saturating_add),
            runs: facts.len() as u64,
            indexed: state.manifest.seq,
        }
    }

    /// Makes one record's writes visible, all at once.
    pub(crate) fn apply(&self, revision: Revision, writes: impl IntoIterator<Item = Write>) {
        let mut state = self.write();
        for write in writes {
            state.active.insert(write.key, Slot { revision, value: write.value });
        }
    }

    /// The record that wrote `key` last; `None` when it does not exist.
    pub(crate) fn revision(&self, key: &Key) -> Result<Option<Revision>, IndexError> {
        let slot = self.slot(key)?;
        Ok(slot.filter(|slot| slot.value.is_some()).map(|slot| slot.revision))
    }

    pub(crate) fn get(&self, key: &Key) -> Result<Option<Entry>, IndexError> {
        let Some(Slot { revision, value: Some(value) }) = self.slot(key)? else { return Ok(None) };
        Ok(Some(Entry { key: key.clone(), value, revision }))
    }

    fn slot(&self, key: &Key) -> Result<Option<Slot>, IndexError> {
        let runs = {
            let state = self.read();
            let frozen = || state.frozen.as_ref()?.table.get(key);
            if let Some(slot) = state.active.get(key).or_else(frozen) {
                return Ok(Some(slot.clone()));
            }
            let hash = bloom::hash(key.as_str());
            if !state.runs.iter().any(|run| run.may_contain(hash)) {
                return Ok(None);
            }
            state.runs.clone()
        };
        let hash = bloom::hash(key.as_str());
        for run in &runs {
            if let Some(slot) = run.get(&self.store, key, hash)? {
                return Ok(Some(slot));
            }
        }
        Ok(None)
    }

    /// Up to `limit` entries of a range in order. Each commit is seen whole within a piece of `CHUNK` rows; a commit that
    /// comes while a long scan is under way may be in its later part only.
    pub(crate) fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<Entry>, IndexError> {
        let mut found = Vec::new();
        let mut rest = range.clone();
        while found.len() < limit && rest.from < rest.to {
            let mut piece = rest.clone();
            let mut frozen = None;
            let mut runs = Vec::new();
            let recent = self.recent(&mut piece, &mut frozen, &mut runs);
            let mut sources: Vec<Box<dyn Source + '_>> = vec![Box::new(Copied::new(recent))];
            if let Some(frozen) = &frozen {
                sources.push(Box::new(merge::Rows::new(frozen.rows(&piece))));
            }
            for run in runs {
                let store = Arc::clone(&self.store);
                sources.push(Box::new(RunRows::new(store, run, Some(&piece.from), Some(&piece.to))?));
            }
            let mut merge = Merge::new(sources);
            while found.len() < limit
                && let Some(row) = merge.next()?
            {
                if let Some(value) = row.slot.value {
                    found.push(Entry { key: row.key, value, revision: row.slot.revision });
                }
            }
            rest.from = piece.to;
        }
        Ok(found)
    }

    /// What a scan of the start of `piece` needs, of one moment; shortens `piece` to what the rows from memory cover.
    fn recent(
        &self,
        piece: &mut KeyRange,
        frozen: &mut Option<Arc<Frozen>>,
        runs: &mut Vec<Arc<Run>>,
    ) -> Vec<Row> {
        let state = self.read();
        let row = |(key, slot): (&Key, &Slot)| Row { key: key.clone(), slot: slot.clone() };
        let mut entries = state.active.range(piece);
        let recent: Vec<Row> = entries.by_ref().take(CHUNK).map(row).collect();
        if let Some((next, _)) = entries.next() {
            piece.to = next.clone();
        }
        frozen.clone_from(&state.frozen);
        runs.clone_from(&state.runs);
        recent
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        // Every change under the lock is made of steps that cannot fail half way.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Frozen {
    fn rows<'a>(&'a self, range: &KeyRange) -> impl Iterator<Item = Row> + use<'a> {
        self.table.range(range).map(|(key, slot)| Row { key: key.clone(), slot: slot.clone() })
    }
}
