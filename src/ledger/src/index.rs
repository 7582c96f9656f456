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
mod looked;
mod memtable;
mod merge;
mod run;
mod slot;
mod store;
mod table_key;
mod tiers;
mod voids;
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
    looked::Looked,
    memtable::Memtable,
    merge::{Copied, Merge, RunRows, Source},
    run::Run,
    store::{Manifest, Store},
    voids::Voids,
};

/// How many rows a scan takes from memory at a time.
const CHUNK: usize = 512;
/// And how many at least, however few are asked for.
const LEAST: usize = 32;

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
    looked: Looked,
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
    /// Where nothing is.
    voids: Voids,
}

/// What a scan needs of one moment.
struct Moment {
    /// The piece that it covers.
    piece: KeyRange,
    recent: Vec<Row>,
    frozen: Option<Arc<Frozen>>,
    runs: Vec<Arc<Run>>,
    /// Up to which record the runs went.
    indexed: u64,
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
        let state = RwLock::new(State { active, frozen, runs, manifest, retired, voids: Voids::default() });
        Ok(Self { store: Arc::new(store), limits, state, looked: Looked::default() })
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

    /// Makes one record's writes visible, all at once. Takes their values, and leaves the keys to whoever made them.
    pub(crate) fn apply(&self, revision: Revision, writes: &mut [Write]) {
        let mut state = self.write();
        self.looked.forget(writes.iter().map(|write| &write.key));
        for write in writes {
            if write.value.is_some() {
                state.voids.put(&write.key);
            }
            state.active.insert(&write.key, Slot { revision, value: write.value.take() });
        }
    }

    /// The record that wrote `key` last; `None` when it does not exist.
    pub(crate) fn revision(&self, key: &Key) -> Result<Option<Revision>, IndexError> {
        if let Some(revision) = self.looked.take(key) {
            return Ok(Some(revision));
        }
        let slot = self.slot(key)?;
        Ok(slot.filter(|slot| slot.value.is_some()).map(|slot| slot.revision))
    }

    pub(crate) fn get(&self, key: &Key) -> Result<Option<Entry>, IndexError> {
        let Some(Slot { revision, value: Some(value) }) = self.slot(key)? else { return Ok(None) };
        Ok(Some(Entry { key: key.clone(), value, revision }))
    }

    fn slot(&self, key: &Key) -> Result<Option<Slot>, IndexError> {
        let (runs, indexed) = {
            let state = self.read();
            if let Some(slot) = state.recent(key) {
                return Ok(Some(slot.clone()));
            }
            let hash = bloom::hash(key.as_str());
            if !state.runs.iter().any(|run| run.may_contain(hash)) {
                return Ok(None);
            }
            (state.runs.clone(), state.manifest.seq)
        };
        let hash = bloom::hash(key.as_str());
        for run in &runs {
            if let Some(slot) = run.get(&self.store, key, hash)? {
                let state = self.read();
                // Nobody writes while this is held: what was found is still the newest.
                if slot.value.is_some() && state.manifest.seq == indexed && state.recent(key).is_none() {
                    self.looked.saw(key, slot.revision);
                }
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
            let Moment { piece, recent, frozen, runs, indexed } =
                self.moment(&rest, limit.saturating_sub(found.len()));
            rest.from = piece.to.clone();
            if piece.from >= piece.to {
                continue;
            }
            let mut sources: Vec<Box<dyn Source + '_>> = vec![Box::new(Copied::new(recent))];
            if let Some(frozen) = &frozen {
                sources.push(Box::new(merge::Rows::new(frozen.rows(&piece))));
            }
            for run in runs {
                let store = Arc::clone(&self.store);
                sources.push(Box::new(RunRows::new(store, run, Some(&piece.from), Some(&piece.to))?));
            }
            let mut merge = Merge::new(sources);
            let (mut deleted, mut first) = (0_usize, None);
            while found.len() < limit
                && let Some(row) = merge.next()?
            {
                match row.slot.value {
                    Some(value) => {
                        first.get_or_insert_with(|| row.key.clone());
                        found.push(Entry { key: row.key, value, revision: row.slot.revision });
                    }
                    None => deleted = deleted.saturating_add(usize::from(first.is_none())),
                }
            }
            if deleted >= voids::WORTH {
                let to = first.unwrap_or(piece.to);
                self.note_void(KeyRange { from: piece.from, to }, indexed);
            }
        }
        Ok(found)
    }

    /// What a scan of the start of `rest` for `wanted` entries needs, of one moment.
    fn moment(&self, rest: &KeyRange, wanted: usize) -> Moment {
        let state = self.read();
        let mut piece = rest.clone();
        state.voids.narrow(&mut piece);
        let mut entries = state.active.range(&piece);
        let recent: Vec<Row> = entries.by_ref().take(wanted.clamp(LEAST, CHUNK)).map(memtable::row).collect();
        if let Some((next, _)) = entries.next() {
            piece.to = next.to_key();
        }
        Moment {
            piece,
            recent,
            frozen: state.frozen.clone(),
            runs: state.runs.clone(),
            indexed: state.manifest.seq,
        }
    }

    /// A scan found nothing in `range`, with the runs up to `indexed`: that holds unless something came since.
    fn note_void(&self, range: KeyRange, indexed: u64) {
        let mut state = self.write();
        let is_empty = |table: &Memtable| table.range(&range).all(|(_, slot)| slot.value.is_none());
        let still = state.manifest.seq == indexed
            && is_empty(&state.active)
            && state.frozen.as_ref().is_none_or(|frozen| is_empty(&frozen.table));
        if still {
            state.voids.note(range);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        // Every change under the lock is made of steps that cannot fail half way.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The last write to `key`, if that is not in a run.
    fn recent(&self, key: &Key) -> Option<&Slot> {
        self.active.get(key).or_else(|| self.frozen.as_ref()?.table.get(key))
    }
}

impl Frozen {
    fn rows<'a>(&'a self, range: &KeyRange) -> impl Iterator<Item = Row> + use<'a> {
        self.table.range(range).map(memtable::row)
    }
}
