//! A run: entries in key order in one file that never changes once it is written.

use std::{fs::File, sync::Arc};

use leasehold_core::{SecretBytes, state::Key};

use super::{
    block::{BlockBuilder, BlockCursor},
    bloom::Bloom,
    error::IndexError,
    slot::Slot,
    store::{Place, RunFacts, Store},
};

/// A run that is read.
pub(crate) struct Run {
    pub(crate) facts: RunFacts,
    index: [u8; 16],
    file: File,
    filter: Bloom,
}

/// A run that is being written.
pub(crate) struct RunWriter {
    store: Arc<Store>,
    index: [u8; 16],
    id: u64,
    file: File,
    block: BlockBuilder,
    filter: Bloom,
    keys: u64,
    deleted: u64,
    bytes: u64,
    /// Blocks that have their place in the file and are not written yet.
    unwritten: Vec<u8>,
}

/// So much is written at a time: the system takes pages from the heap and locks them a few at once instead of one by one.
const WRITE_BYTES: usize = 256 * 1024;

impl Run {
    pub(crate) fn open(store: &Store, index: [u8; 16], facts: RunFacts) -> Result<Self, IndexError> {
        store.check_catalogue(&facts)?;
        let file = store.open_run(facts.id)?;
        let place = Place { at: facts.bytes, length: facts.filter };
        let filter = store.read(&file, &index, facts.id, place)?;
        let filter = Bloom::decode(filter.expose())
            .ok_or_else(|| IndexError::Damaged(format!("the filter of run {}", facts.id)))?;
        Ok(Self { facts, index, file, filter })
    }

    /// False only when the run has no key of this hash.
    pub(crate) fn may_contain(&self, hash: u64) -> bool {
        self.filter.may_contain(hash)
    }

    /// The last write to `key` in this run; `hash` is the key's.
    pub(crate) fn get(&self, store: &Store, key: &Key, hash: u64) -> Result<Option<Slot>, IndexError> {
        if !self.filter.may_contain(hash) {
            return Ok(None);
        }
        let Some(place) = store.find(self.facts.id, key)? else { return Ok(None) };
        let block = BlockCursor::new(self.read(store, place)?);
        block.find(key).map_err(|_| self.malformed())
    }

    pub(crate) fn read(&self, store: &Store, place: Place) -> Result<SecretBytes, IndexError> {
        store.read(&self.file, &self.index, self.facts.id, place)
    }

    pub(crate) fn malformed(&self) -> IndexError {
        IndexError::Damaged(format!("a block of run {} is malformed", self.facts.id))
    }
}

impl RunWriter {
    /// Begins run `id` for about `keys` entries.
    pub(crate) fn create(store: Arc<Store>, index: [u8; 16], id: u64, keys: u64) -> Result<Self, IndexError> {
        store.remove_run(id)?;
        let file = store.create_run(id)?;
        Ok(Self {
            store,
            index,
            id,
            file,
            block: BlockBuilder::default(),
            filter: Bloom::with_room_for(keys),
            keys: 0,
            deleted: 0,
            bytes: 0,
            unwritten: Vec::new(),
        })
    }

    /// Adds an entry; keys come in order, each once.
    pub(crate) fn push(&mut self, key: &str, slot: &Slot) -> Result<(), IndexError> {
        self.block.push(key, slot.revision, slot.value.as_ref().map(SecretBytes::expose));
        self.filter.insert(super::bloom::hash(key));
        self.keys = self.keys.saturating_add(1);
        self.deleted = self.deleted.saturating_add(u64::from(slot.value.is_none()));
        if self.block.is_full() { self.write_block() } else { Ok(()) }
    }

    /// How long its blocks are so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Completes the run; it counts when a manifest names it. `None`, and no file, when it has no entries.
    pub(crate) fn finish(mut self) -> Result<Option<Run>, IndexError> {
        self.write_block()?;
        if self.keys == 0 {
            self.store.remove_run(self.id)?;
            return Ok(None);
        }
        let filter = self.store.seal(&self.index, self.id, self.bytes, &self.filter.encode())?;
        self.write()?;
        self.store.write(&self.file, self.id, self.bytes, &filter)?;
        let facts = RunFacts {
            id: self.id,
            keys: self.keys,
            deleted: self.deleted,
            bytes: self.bytes,
            filter: length(&filter)?,
        };
        Ok(Some(Run { facts, index: self.index, file: self.file, filter: self.filter }))
    }

    fn write_block(&mut self) -> Result<(), IndexError> {
        let Some((first, plain)) = self.block.take() else { return Ok(()) };
        let sealed = self.store.seal(&self.index, self.id, self.bytes, plain.expose())?;
        let place = Place { at: self.bytes, length: length(&sealed)? };
        self.store.place(self.id, &first, place)?;
        self.bytes = self.bytes.saturating_add(u64::from(place.length));
        self.unwritten.extend_from_slice(&sealed);
        if self.unwritten.len() >= WRITE_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), IndexError> {
        let at = self.bytes.saturating_sub(self.unwritten.len() as u64);
        self.store.write(&self.file, self.id, at, &self.unwritten)?;
        self.unwritten.clear();
        Ok(())
    }
}

fn length(sealed: &[u8]) -> Result<u32, IndexError> {
    u32::try_from(sealed.len()).map_err(|_| IndexError::Damaged("a block is longer than 4 GiB".to_owned()))
}
