//! The writes that are not in a run yet, ordered by key.

use std::collections::BTreeMap;

use leasehold_core::{
    SecretBytes,
    state::{Key, KeyRange},
};

use super::slot::Slot;

/// What an entry takes besides its key and value: two boxes, the slot, its share of the tree's node.
const OVERHEAD: usize = 96;

/// Recent writes.
#[derive(Default)]
pub(crate) struct Memtable {
    slots: BTreeMap<Key, Slot>,
    bytes: usize,
}

impl Memtable {
    pub(crate) fn insert(&mut self, key: Key, slot: Slot) {
        let size = |key: &Key, slot: &Slot| {
            let value = slot.value.as_ref().map_or(0, SecretBytes::len);
            key.as_str().len().saturating_add(value).saturating_add(OVERHEAD)
        };
        self.bytes = self.bytes.saturating_add(size(&key, &slot));
        match self.slots.entry(key) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(slot);
            }
            std::collections::btree_map::Entry::Occupied(mut entry) => {
                self.bytes = self.bytes.saturating_sub(size(entry.key(), entry.get()));
                entry.insert(slot);
            }
        }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Slot> {
        self.slots.get(key)
    }

    /// The entries of a range in order; a range that ends before it begins has none.
    pub(crate) fn range<'a>(
        &'a self,
        range: &KeyRange,
    ) -> impl Iterator<Item = (&'a Key, &'a Slot)> + use<'a> {
        let to = if range.from < range.to { &range.to } else { &range.from };
        self.slots.range(&range.from..to)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Key, &Slot)> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overwrite_is_counted_once() {
        let mut table = Memtable::default();
        let key = Key::from_stored("lease/1");
        let slot = |length| Slot { revision: 1, value: Some(SecretBytes::new(vec![0; length])) };
        table.insert(key.clone(), slot(1000));
        table.insert(key.clone(), slot(10));
        let small = table.bytes();
        assert!(small < 300, "{small}");
        table.insert(key, Slot { revision: 2, value: None });
        assert_eq!((table.len(), table.bytes()), (1, small - 10));
    }

    #[test]
    fn a_range_that_ends_before_it_begins_is_empty() {
        let mut table = Memtable::default();
        table.insert(Key::from_stored("b"), Slot { revision: 1, value: None });
        let range = KeyRange { from: Key::from_stored("c"), to: Key::from_stored("a") };
        assert_eq!(table.range(&range).count(), 0);
    }
}
