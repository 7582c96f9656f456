//! The writes that are not in a run yet, ordered by key.

use std::collections::{BTreeMap, btree_map::Entry};

use leasehold_core::{
    SecretBytes,
    state::{Key, KeyRange},
};

use super::{
    slot::{Row, Slot},
    table_key::{Stems, TableKey},
};

/// What an entry takes besides its value's bytes: key and slot, in a tree whose nodes are three quarters full.
const OVERHEAD: usize = 128;
/// What is shared by keys, besides its bytes: its place in the set, its counts.
const STEM_OVERHEAD: usize = 64;

/// Recent writes.
#[derive(Default)]
pub(crate) struct Memtable {
    stems: Stems,
    slots: BTreeMap<TableKey, Slot>,
    bytes: usize,
}

impl Memtable {
    pub(crate) fn insert(&mut self, key: &Key, slot: Slot) {
        let size = |slot: &Slot| slot.value.as_ref().map_or(0, SecretBytes::len).saturating_add(OVERHEAD);
        let (key, new) = self.stems.keep(key);
        if new > 0 {
            self.bytes = self.bytes.saturating_add(new).saturating_add(STEM_OVERHEAD);
        }
        self.bytes = self.bytes.saturating_add(size(&slot));
        match self.slots.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(slot);
            }
            Entry::Occupied(mut entry) => {
                self.bytes = self.bytes.saturating_sub(size(entry.get()));
                entry.insert(slot);
            }
        }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Slot> {
        self.slots.get(&self.stems.find(key))
    }

    /// The entries of a range in order; a range that ends before it begins has none.
    pub(crate) fn range<'a>(
        &'a self,
        range: &KeyRange,
    ) -> impl Iterator<Item = (&'a TableKey, &'a Slot)> + use<'a> {
        let to = if range.from < range.to { &range.to } else { &range.from };
        self.slots.range(self.stems.find(&range.from)..self.stems.find(to))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&TableKey, &Slot)> {
        self.slots.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// About how much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

/// An entry as a row of its own.
pub(crate) fn row((key, slot): (&TableKey, &Slot)) -> Row {
    Row { key: key.to_key(), slot: slot.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overwrite_is_counted_once() {
        let mut table = Memtable::default();
        let key = Key::from_stored("lease/1");
        let slot = |length| Slot { revision: 1, value: Some(SecretBytes::new(vec![0; length])) };
        table.insert(&key, slot(1000));
        table.insert(&key, slot(10));
        let small = table.bytes();
        assert!(small < 300, "{small}");
        table.insert(&key, Slot { revision: 2, value: None });
        assert_eq!((table.len(), table.bytes()), (1, small - 10));
    }

    #[test]
    fn a_range_that_ends_before_it_begins_is_empty() {
        let mut table = Memtable::default();
        table.insert(&Key::from_stored("b"), Slot { revision: 1, value: None });
        let range = KeyRange { from: Key::from_stored("c"), to: Key::from_stored("a") };
        assert_eq!(table.range(&range).count(), 0);
    }
}
