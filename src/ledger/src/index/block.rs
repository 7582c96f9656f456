//! A block: some dozens of entries in key order, sealed and read as one.
//!
//! An entry is how many bytes its key shares with the key before it, the rest of the key, the revision, and the value's
//! length plus one with the value, or 0 when the key was deleted.

use leasehold_core::{
    SecretBytes,
    bytes::{Reader, put_bytes, put_number},
    state::{Key, Revision},
};

use super::slot::{Row, Slot};

/// A block is closed when it has this many bytes: who looks one lease up opens all of it.
pub(crate) const BLOCK_BYTES: usize = 8 * 1024;

/// Puts a block together.
#[derive(Default)]
pub(crate) struct BlockBuilder {
    bytes: Vec<u8>,
    first: Option<Key>,
    last: String,
}

impl BlockBuilder {
    /// Adds an entry; keys come in order.
    pub(crate) fn push(&mut self, key: &str, revision: Revision, value: Option<&[u8]>) {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(BLOCK_BYTES.saturating_mul(2));
        }
        let text = key.as_bytes();
        let shared = shared(self.last.as_bytes(), text);
        put_number(&mut self.bytes, shared as u64);
        put_bytes(&mut self.bytes, text.get(shared..).unwrap_or_default());
        put_number(&mut self.bytes, revision);
        match value {
            None => put_number(&mut self.bytes, 0),
            Some(value) => {
                put_number(&mut self.bytes, (value.len() as u64).saturating_add(1));
                self.bytes.extend_from_slice(value);
            }
        }
        self.last.clear();
        self.last.push_str(key);
        if self.first.is_none() {
            self.first = Some(Key::from_stored(key));
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= BLOCK_BYTES
    }

    /// The first key and the block, which starts anew; `None` when it is empty.
    pub(crate) fn take(&mut self) -> Option<(Key, SecretBytes)> {
        let first = self.first.take()?;
        self.last.clear();
        Some((first, SecretBytes::new(std::mem::take(&mut self.bytes))))
    }
}

/// How many bytes both begin with.
fn shared(one: &[u8], other: &[u8]) -> usize {
    let pairs = one.as_chunks::<8>().0.iter().zip(other.as_chunks::<8>().0);
    let words = pairs.take_while(|(a, b)| a == b).count().saturating_mul(8);
    let tail = one.iter().skip(words).zip(other.iter().skip(words));
    words.saturating_add(tail.take_while(|(a, b)| a == b).count())
}

/// Walks through a block.
pub(crate) struct BlockCursor {
    block: SecretBytes,
    at: usize,
    key: Vec<u8>,
}

/// An entry as it lies in a block.
pub(crate) struct RawEntry<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) revision: Revision,
    pub(crate) value: Option<&'a [u8]>,
}

/// The block is not what was built, though its seal holds: a fault of this program.
#[derive(Debug)]
pub(crate) struct Malformed;

impl BlockCursor {
    pub(crate) fn new(block: SecretBytes) -> Self {
        Self { block, at: 0, key: Vec::new() }
    }

    /// The next entry, or `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<RawEntry<'_>>, Malformed> {
        let rest = self.block.expose().get(self.at..).ok_or(Malformed)?;
        if rest.is_empty() {
            return Ok(None);
        }
        let mut reader = Reader::new(rest);
        let (revision, value) = read_entry(&mut reader, &mut self.key).ok_or(Malformed)?;
        self.at = self.block.len().saturating_sub(reader.rest().len());
        Ok(Some(RawEntry { key: &self.key, revision, value }))
    }

    /// The next entry as a row of its own.
    pub(crate) fn next_row(&mut self) -> Result<Option<Row>, Malformed> {
        let Some(entry) = self.next()? else { return Ok(None) };
        let key = Key::from_stored(std::str::from_utf8(entry.key).map_err(|_| Malformed)?);
        let value = entry.value.map(|value| SecretBytes::new(value.to_vec()));
        Ok(Some(Row { key, slot: Slot { revision: entry.revision, value } }))
    }

    /// The last write to `key` in this block.
    pub(crate) fn find(mut self, key: &Key) -> Result<Option<Slot>, Malformed> {
        while let Some(entry) = self.next()? {
            match entry.key.cmp(key.as_str().as_bytes()) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Greater => return Ok(None),
                std::cmp::Ordering::Equal => {
                    let value = entry.value.map(|value| SecretBytes::new(value.to_vec()));
                    return Ok(Some(Slot { revision: entry.revision, value }));
                }
            }
        }
        Ok(None)
    }
}

fn read_entry<'a>(reader: &mut Reader<'a>, key: &mut Vec<u8>) -> Option<(Revision, Option<&'a [u8]>)> {
    let shared = usize::try_from(reader.number()?).ok()?;
    if shared > key.len() {
        return None;
    }
    key.truncate(shared);
    key.extend_from_slice(reader.bytes()?);
    let revision = reader.number()?;
    let value = match reader.number()?.checked_sub(1) {
        None => None,
        Some(length) => Some(reader.take(length)?),
    };
    Some((revision, value))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_block_gives_back_what_was_pushed(
            entries in prop::collection::btree_map("[a-c/é]{0,6}", (any::<u64>(), prop::option::of("[x-z]{0,4}")), 1..20)
        ) {
            let entries: BTreeMap<String, (u64, Option<String>)> = entries;
            let mut builder = BlockBuilder::default();
            for (key, (revision, value)) in &entries {
                builder.push(key, *revision, value.as_ref().map(|v| v.as_bytes()));
            }
            let (first, block) = builder.take().unwrap();
            prop_assert_eq!(first.as_str(), entries.keys().next().unwrap());
            let mut cursor = BlockCursor::new(block.clone());
            let mut seen = BTreeMap::new();
            while let Some(row) = cursor.next_row().unwrap() {
                let value = row.slot.value.map(|v| String::from_utf8(v.into_exposed()).unwrap());
                seen.insert(row.key.to_string(), (row.slot.revision, value));
            }
            prop_assert_eq!(&seen, &entries);
            for (key, (revision, _)) in &entries {
                let found = BlockCursor::new(block.clone()).find(&Key::from_stored(key)).unwrap().unwrap();
                prop_assert_eq!(found.revision, *revision);
            }
            prop_assert!(BlockCursor::new(block).find(&Key::from_stored("d")).unwrap().is_none());
        }

        #[test]
        fn anything_can_be_walked_without_harm(noise: Vec<u8>) {
            let length = noise.len();
            let mut cursor = BlockCursor::new(SecretBytes::new(noise));
            let mut steps = 0usize;
            while let Ok(Some(_)) = cursor.next() {
                steps = steps.saturating_add(1);
            }
            prop_assert!(steps <= length);
        }
    }
}
