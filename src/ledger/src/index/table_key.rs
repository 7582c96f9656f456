//! A key as recent writes have it: compared without following a pointer, mostly, and short.
//!
//! Keys of one kind are alike but for their ends: the leases of a holder, or on a version, differ in their ids alone. So the
//! last bytes of a key lie in the tree itself, as words, and what is before them is there once for all keys that begin so.

use std::{cmp::Ordering, collections::HashSet, sync::Arc};

use leasehold_core::state::Key;

/// So many words hold a key's end, and in their last byte how long it is.
const WORDS: usize = 5;
/// An id with a few bytes before it: of what orders leases by their time, the last digits.
const TAIL: usize = WORDS * 8 - 1;

/// One key; ordered as its text is.
#[derive(Clone, Debug)]
pub(crate) struct TableKey {
    stem: Arc<[u8]>,
    /// The end, zeros behind it, and its length: words in big-endian order compare as the bytes do.
    tail: [u64; WORDS],
}

/// The beginnings of keys, each once.
#[derive(Debug, Default)]
pub(crate) struct Stems(HashSet<Arc<[u8]>>);

impl Stems {
    /// The key with its beginning shared from now on; and how many bytes were kept for that.
    pub(crate) fn keep(&mut self, key: &Key) -> (TableKey, usize) {
        let (stem, tail) = split(key);
        if let Some(known) = self.0.get(stem) {
            return (TableKey { stem: Arc::clone(known), tail }, 0);
        }
        let new: Arc<[u8]> = stem.into();
        self.0.insert(Arc::clone(&new));
        (TableKey { stem: new, tail }, stem.len())
    }

    /// The key, to look for it.
    pub(crate) fn find(&self, key: &Key) -> TableKey {
        let (stem, tail) = split(key);
        TableKey { stem: self.0.get(stem).map_or_else(|| stem.into(), Arc::clone), tail }
    }
}

impl TableKey {
    /// The key's text, in a buffer that is used again for the next one.
    pub(crate) fn read<'a>(&self, buffer: &'a mut Vec<u8>) -> &'a str {
        let tail = self.tail_bytes();
        buffer.clear();
        buffer.extend_from_slice(&self.stem);
        buffer.extend_from_slice(used(&tail));
        // INVARIANT: it was made of text, and cut in two only to be put together here.
        std::str::from_utf8(buffer).unwrap_or_default()
    }

    /// The key by itself.
    pub(crate) fn to_key(&self) -> Key {
        Key::from_stored(self.read(&mut Vec::with_capacity(self.stem.len().saturating_add(TAIL))))
    }

    fn tail_bytes(&self) -> [u8; WORDS * 8] {
        let mut bytes = [0; WORDS * 8];
        for (eight, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(self.tail) {
            *eight = word.to_be_bytes();
        }
        bytes
    }

    /// Compares the texts from byte `from` on, which is not behind either stem.
    fn cmp_from(&self, other: &Self, from: usize) -> Ordering {
        let (mine, others) = (self.tail_bytes(), other.tail_bytes());
        let stems = [self, other].map(|key| key.stem.get(from..).unwrap_or_default());
        stems[0].iter().chain(used(&mine)).cmp(stems[1].iter().chain(used(&others)))
    }
}

impl Ord for TableKey {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.stem, &other.stem) {
            return self.tail.cmp(&other.tail);
        }
        let both = self.stem.len().min(other.stem.len());
        let starts = [&self.stem, &other.stem].map(|stem| stem.get(..both).unwrap_or_default());
        starts[0].cmp(starts[1]).then_with(|| self.cmp_from(other, both))
    }
}

impl PartialOrd for TableKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for TableKey {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for TableKey {}

/// What is shared of a key, and its end.
fn split(key: &Key) -> (&[u8], [u64; WORDS]) {
    let text = key.as_str().as_bytes();
    // The kind is always in the stem: keys of different kinds are told apart there.
    let kind = memchr::memchr(b'/', text).map_or(0, |at| at.saturating_add(1));
    let (stem, end) = text.split_at_checked(kind.max(text.len().saturating_sub(TAIL))).unwrap_or_default();
    let mut bytes = [0; WORDS * 8];
    if let Some((length, room)) = bytes.split_last_mut() {
        room.iter_mut().zip(end).for_each(|(to, from)| *to = *from);
        *length = u8::try_from(end.len()).unwrap_or_default();
    }
    let mut tail = [0; WORDS];
    for (word, eight) in tail.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_be_bytes(*eight);
    }
    (stem, tail)
}

/// The bytes before the zeros.
fn used(tail: &[u8; WORDS * 8]) -> &[u8] {
    let length = tail.last().copied().unwrap_or_default();
    tail.get(..usize::from(length)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_of_a_kind_share_their_beginning() {
        let mut stems = Stems::default();
        let key = |id: u8| Key::from_stored(&format!("holder/spiffe://example.org/prod/api lease-{id:026}"));
        let (_, first) = stems.keep(&key(1));
        let (_, second) = stems.keep(&key(2));
        assert!(first > 0 && second == 0, "{first} and {second}");
        assert_eq!(size_of::<TableKey>(), 56);
    }

    proptest! {
        #[test]
        fn keys_are_ordered_as_their_texts_are(
            one in "[a\0é ]{0,3}[ab]{0,50}[a\0é ]{0,3}", other in "[a\0é ]{0,3}[ab]{0,50}[a\0é ]{0,3}", cut in 0..60_usize,
        ) {
            // Some begin alike.
            let alike: String = one.chars().take(cut).chain(other.chars().skip(cut)).collect();
            let mut stems = Stems::default();
            for (a, b) in [(&one, &other), (&one, &alike), (&one, &one)] {
                let [a, b] = [a, b].map(|text| Key::from_stored(text));
                let (kept, found, other) = (stems.keep(&a).0, stems.find(&a), stems.find(&b));
                prop_assert_eq!(kept.cmp(&other), a.cmp(&b));
                prop_assert_eq!(other.cmp(&found), b.cmp(&a));
                prop_assert_eq!(kept.to_key(), a);
            }
        }
    }
}
